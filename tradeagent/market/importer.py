"""`data import`: rows of a file into the warehouse, with an account of every row.

Every row is written except duplicates (an open time already seen in the file or already stored; the stored row stays) and rows
that cannot be stored because a number is missing or the time is not on the interval's grid. A row whose prices contradict each
other is written, counted as bad, reported by `data verify`, and never shown to anything that trades.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tradeagent.domain.bars import interval_text, parse_duration
from tradeagent.domain.clock import DAY_MS, HOUR_MS, iso
from tradeagent.domain.errors import DataError
from tradeagent.domain.instrument import Instrument
from tradeagent.market.quality import Holes, bar_holes, funding_holes
from tradeagent.market.series import (
    PRICE_COLUMNS,
    Floats,
    Ints,
    Mask,
    SeriesKey,
    bar_series,
    distinct,
    funding_series,
    round_to_grid,
)
from tradeagent.market.tabular import BAR_ROLES, FUNDING_ROLES, Said, Table, read_table
from tradeagent.market.warehouse import Appended, Warehouse

_USUAL_INTERVALS = frozenset(
    parse_duration(text) for text in ("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "8h", "12h", "1d", "1w")
)


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of a file's rows: rows_read = rows_written + duplicates + skipped.

    `gaps`, `missing_bars`, `first` and `last` (UTC ms) describe the file. `bad_rows` counts contradictory rows and the `skipped`
    ones; `conflicts` are duplicates whose values differ from the row that was kept; `off_grid` rows had a price rounded.
    """

    venue: str
    market: str
    interval: str
    funding: bool
    rows_read: int
    rows_written: int
    duplicates: int
    conflicts: int
    gaps: int
    missing_bars: int
    bad_rows: int
    skipped: int
    off_grid: int
    first: int
    last: int
    columns: dict[str, str]
    time_unit: str

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, times as ISO text."""
        return {**asdict(self), "first": iso(self.first), "last": iso(self.last)}


def import_bars(warehouse: Warehouse, path: Path, key: SeriesKey, instrument: Instrument | None, said: Said | None = None) -> ImportReport:
    """Import bars from a CSV or Parquet file into the series `key`. What is not `said` of its columns is detected.

    Prices are rounded to the grid of `instrument`; None keeps them as they are. Raises DataError naming file, line and column.
    """
    table = read_table(path, BAR_ROLES, said)
    readable = _readable(table)
    placed = readable & _on_time_grid(table, key.interval_ms, readable)
    prices, off_grid = _prices(table, instrument)
    rows = (table.times[placed].astype(np.int64), *(prices[name][placed] for name in PRICE_COLUMNS), table.values["volume"][placed])
    series = bar_series(key, *rows)
    appended = warehouse.append_bars(series)
    skipped = int(np.count_nonzero(~placed))
    bad = skipped + int(np.count_nonzero(~series.valid))
    holes = bar_holes(distinct(series.ts), key.interval_ms)
    return _report(
        table, key, appended, holes, {"bad_rows": bad, "skipped": skipped, "off_grid": int(np.count_nonzero(off_grid & placed))}, series.ts
    )


def import_funding(warehouse: Warehouse, path: Path, venue: str, market: str, said: Said | None = None) -> ImportReport:
    """Import funding rates (fraction of notional per payment, positive = longs pay), one row per payment, stamps kept as they are."""
    table = read_table(path, FUNDING_ROLES, said)
    readable = _readable(table)
    series = funding_series(venue, market, table.times[readable].astype(np.int64), table.values["funding_rate"][readable])
    appended = warehouse.append_funding(series)
    skipped = int(np.count_nonzero(~readable))
    holes = funding_holes(distinct(series.hours))
    key = SeriesKey(venue, market, HOUR_MS, funding=True)
    return _report(table, key, appended, holes, {"bad_rows": skipped, "skipped": skipped, "off_grid": 0}, series.ts)


def _report(table: Table, key: SeriesKey, appended: Appended, holes: Holes, counts: dict[str, int], ts: Ints) -> ImportReport:
    return ImportReport(
        venue=key.venue,
        market=key.market,
        interval=interval_text(key.interval_ms),
        funding=key.funding,
        rows_read=len(table.times),
        rows_written=appended.written,
        duplicates=appended.duplicates,
        conflicts=appended.conflicts,
        gaps=len(holes),
        missing_bars=sum(hole.missing_bars for hole in holes),
        bad_rows=counts["bad_rows"],
        skipped=counts["skipped"],
        off_grid=counts["off_grid"],
        first=int(ts.min()),
        last=int(ts.max()),
        columns=table.columns,
        time_unit=table.time_unit,
    )


def _readable(table: Table) -> Mask:
    """Rows whose time and numbers are all there; DataError when there is none."""
    columns = {"time": table.times, **table.values}
    readable = np.logical_and.reduce([np.isfinite(values) for values in columns.values()])
    if len(table.times) == 0:
        raise DataError(f"{table.path}: has a header and no rows", hint="give a file with at least one row")
    if not readable.any():
        role = next((role for role, values in columns.items() if not np.isfinite(values[0])), "time")
        raise DataError(
            f"{table.path}: no row can be read; {table.line(0)}, column {table.columns[role]!r}: {table.cell(role, 0)!r}",
            hint="write numbers with a decimal point, and times after 1990 as Unix s, ms, us or ns or as ISO text",
            details={"file": str(table.path), "line": table.first_line, "field": role},
        )
    return np.asarray(readable)


def _prices(table: Table, instrument: Instrument | None) -> tuple[dict[str, Floats], Mask]:
    """Prices on the storage grid, and the rows in which one was rounded."""
    off_grid = np.zeros(len(table.times), np.bool_)
    if instrument is None:
        return {name: table.values[name] for name in PRICE_COLUMNS}, off_grid
    prices = {}
    for name in PRICE_COLUMNS:
        prices[name], moved = round_to_grid(table.values[name], instrument.price_decimals)
        off_grid |= moved
    return prices, off_grid


def _on_time_grid(table: Table, interval_ms: int, readable: Mask) -> Mask:
    """Rows whose time is an open time of this interval; DataError when the file plainly holds another interval.

    Weeks may begin on any day; everything shorter than a day is aligned to the UTC epoch.
    """
    times = np.where(readable, table.times, 0).astype(np.int64)
    aligned = readable & (times % min(interval_ms, DAY_MS) == 0)
    asked, column = interval_text(interval_ms), table.columns["time"]
    steps = np.diff(distinct(times[readable]))
    sizes, counts = np.unique(steps, return_counts=True)
    usual = int(sizes[np.argmax(counts)]) if len(steps) else interval_ms
    if usual != interval_ms:
        advice = (
            f"pass --interval {interval_text(usual)}" if usual in _USUAL_INTERVALS else "check the time column, its unit and the interval"
        )
        raise DataError(
            f"{table.path}: column {column!r}: the bars are {_step_text(usual)} apart, not {asked} "
            f"(first {table.line(int(np.argmax(readable)))}; times read as {table.time_unit})",
            hint=advice,
            details={"file": str(table.path), "field": "interval", "interval": asked, "found_ms": usual},
        )
    if 2 * np.count_nonzero(aligned) < np.count_nonzero(readable):
        row = int(np.argmax(readable & ~aligned))
        raise DataError(
            f"{table.path}: {table.line(row)}, column {column!r}: {table.cell('time', row)!r} is not the open of a {asked} bar (UTC)",
            hint="the time column must hold open times in UTC, not close times or local times",
            details={"file": str(table.path), "line": table.first_line + row, "field": "time"},
        )
    return np.asarray(aligned)


def _step_text(step_ms: int) -> str:
    return interval_text(step_ms) if step_ms % 1000 == 0 else f"{step_ms} ms"
