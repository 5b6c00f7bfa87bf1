"""Reading a CSV or Parquet file of bars or funding: which column is which, which unit the times have, numbers as arrays.

Everything is cast by DuckDB in one query; what cannot be cast becomes NaN and is judged by the importer.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tradeagent.domain.errors import DataError, InvalidInput, NotFound, near
from tradeagent.market.series import Floats
from tradeagent.market.warehouse import database, explained, glob_safe, sql_text
from tradeagent.workspace.files import read_plain

TIME_NAMES = ("ts", "time", "timestamp", "opentime", "unix", "datetime", "date", "opentimestamp", "t", "starttime", "start")
BAR_ROLES: Mapping[str, tuple[str, ...]] = {
    "open": ("open", "o", "openprice"),
    "high": ("high", "h", "highprice"),
    "low": ("low", "l", "lowprice"),
    "close": ("close", "c", "closeprice"),
    "volume": ("volume", "vol", "v", "basevolume", "volumebase"),
}
FUNDING_ROLES: Mapping[str, tuple[str, ...]] = {"funding_rate": ("fundingrate", "funding", "rate", "lastfundingrate")}

# How an index column without a name arrives: from CSV, from Parquet written by pandas.
_UNNAMED = ("column 1", "index", "__index_level_0__")
_DELIMITERS = ",;\t|"
_HEADER_LINES = 10
# Largest median of a numeric time column in s, ms and us; above it is ns. 10¹¹ s is the year 5138, 10¹¹ ms is 1973.
_UNITS = ((1e11, "s"), (1e14, "ms"), (1e17, "us"), (float("inf"), "ns"))
_SCALES = {"s": 1e3, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
ISO = "iso"
TIME_UNITS = (*_SCALES, ISO)
_TIMESTAMP = "timestamp"
_OLDEST_MS = 631_152_000_000
_NEWEST_MS = 4_102_444_800_000
_FIX_HEADER = "give the file a header line like time,open,high,low,close,volume (with --funding: time,funding_rate)"


@dataclass(frozen=True, slots=True)
class Said:
    """What a person says of a file, before anything is detected: the column of a role, and the unit of the times (one of TIME_UNITS)."""

    columns: Mapping[str, str] = field(default_factory=dict)
    time_unit: str | None = None

    def __post_init__(self) -> None:
        if self.time_unit is not None and self.time_unit not in TIME_UNITS:
            raise InvalidInput(f"--time-unit: {self.time_unit!r} is not a unit of times", hint=f"one of {', '.join(TIME_UNITS)}")


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A file's rows in their order: `times` in UTC ms (float, NaN where unreadable), `values` by role, NaN where unreadable.

    `columns` names the file's column of each role; `time_unit` is one of TIME_UNITS, or `timestamp` where the column's type is one;
    `first_line` is the line (CSV) or row (Parquet) number of the first row.
    """

    path: Path
    source: str
    columns: dict[str, str]
    time_unit: str
    first_line: int
    times: Floats
    values: dict[str, Floats]

    def line(self, row: int) -> str:
        return f"{'line' if self.first_line > 1 else 'row'} {self.first_line + row}"

    def cell(self, role: str, row: int) -> str:
        """The text that stands in the file, for error messages."""
        query = f"SELECT {_quoted(self.columns[role])}::VARCHAR FROM {self.source} LIMIT 1 OFFSET {row}"
        found = database().execute(query).fetchone()
        return "" if found is None or found[0] is None else str(found[0])


@dataclass(frozen=True, slots=True)
class _Layout:
    """How DuckDB must open the file, and its column names and types."""

    source: str
    types: dict[str, str]
    first_line: int


def read_table(path: Path, roles: Mapping[str, tuple[str, ...]], said: Said | None = None) -> Table:
    """Read `path` and find the time column and one column for each of `roles`, where nothing was `said` of them.

    DataError names file, line and column, InvalidInput what was said and cannot be.
    """
    said = said or Said()
    layout = _open(path, said)
    columns = _match(path, list(layout.types), roles, said)
    with explained(f"{path} cannot be read", hint="check that the file is complete and has the same columns on every line"):
        detected = _time_unit(path, layout, columns["time"])
        unit = _agreed(path, columns["time"], detected, said)
        time_sql, scale = _time_expression(columns["time"], unit)
        numbers = [f"coalesce(try_cast({_quoted(columns[role])} AS DOUBLE), 'nan'::DOUBLE) AS role_{role}" for role in roles]
        read = database().execute(f"SELECT {time_sql} AS role_time, {', '.join(numbers)} FROM {layout.source}").fetchnumpy()
    times = np.rint(read["role_time"] * scale)
    times[(times < _OLDEST_MS) | (times > _NEWEST_MS)] = np.nan
    values = {role: np.asarray(read[f"role_{role}"], np.float64) for role in roles}
    table = Table(path, layout.source, columns, unit, layout.first_line, times, values)
    if unit != detected and len(times) and not np.isfinite(times).any():
        raise InvalidInput(
            f"--time-unit: {path}: {table.line(0)}, column {columns['time']!r}: {table.cell('time', 0)!r} is no time of our days in {unit}",
            hint=f"--time-unit {detected}, as it looks, or leave it out",
        )
    return table


def _open(path: Path, said: Said) -> _Layout:
    try:
        head = read_plain(path, 1 << 16)
    except FileNotFoundError:
        raise NotFound(f"{path}: there is no such file", hint="give the path of a CSV or Parquet file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}", hint="give the path of a CSV or Parquet file you may read") from None
    if not head:
        raise DataError(f"{path}: the file is empty", hint=_FIX_HEADER)
    if head.startswith((b"ARROW1", b"FEA1")):
        raise DataError(
            f"{path}: this is a Feather (Arrow) file, which is not read here",
            hint="write it as Parquet where pandas and pyarrow are: "
            f'python -c \'import pandas; pandas.read_feather("{path.name}").to_parquet("bars.parquet")\'',
        )
    if head.startswith(b"PAR1") or path.suffix.lower() in (".parquet", ".pq"):
        return _open_parquet(path)
    return _open_csv(path, head, said)


def _open_parquet(path: Path) -> _Layout:
    source = f"read_parquet({sql_text(glob_safe(path))}, hive_partitioning=false)"
    with explained(f"{path} cannot be read", hint="check that the file is complete Parquet"):
        described = database().execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    return _Layout(source, {str(row[0]): str(row[1]) for row in described}, 1)


def _open_csv(path: Path, head: bytes, said: Said) -> _Layout:
    try:
        lines = head[: head.rfind(b"\n") + 1 or None].decode("utf-8-sig").splitlines()[:_HEADER_LINES]
    except UnicodeDecodeError:
        raise DataError(f"{path}: is neither Parquet nor UTF-8 text", hint="save it as UTF-8 CSV or as Parquet") from None
    sought = _KNOWN.union(map(_plain, said.columns.values()))
    best: tuple[int, int, str, list[str]] = (0, 0, ",", [])
    for number, line in enumerate(lines):
        for delimiter in _DELIMITERS:
            names = [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
            known = len({_plain(name) for name in names} & sought)
            if known > best[0]:
                best = (known, number, delimiter, names)
    known, number, delimiter, names = best
    if known == 0:
        raise DataError(f"{path}: line 1 names no known column: {lines[0][:80] if lines else ''!r}", hint=_FIX_HEADER)
    names = _unique(names)
    declared = ", ".join(f"{sql_text(name)}: 'VARCHAR'" for name in names)
    source = (
        f"read_csv({sql_text(glob_safe(path))}, auto_detect=false, header=false, skip={number + 1}, delim={sql_text(delimiter)}, "
        f"quote='\"', escape='\"', null_padding=true, strict_mode=false, hive_partitioning=false, columns={{{declared}}})"
    )
    return _Layout(source, dict.fromkeys(names, "VARCHAR"), number + 2)


def _unique(names: list[str]) -> list[str]:
    """Column names made distinct (as DuckDB compares them, without case); an unnamed column is `column N`."""
    taken: set[str] = set()
    result = []
    for position, name in enumerate(names):
        chosen = name or f"column {position + 1}"
        while chosen.lower() in taken:
            chosen = f"{chosen} (column {position + 1})"
        taken.add(chosen.lower())
        result.append(chosen)
    return result


def _match(path: Path, names: list[str], roles: Mapping[str, tuple[str, ...]], said: Said) -> dict[str, str]:
    wanted = {"time": TIME_NAMES, **roles}
    for role, name in said.columns.items():
        if role not in wanted:
            raise InvalidInput(f"--columns: {role!r} is no column that is read here", hint=near(role, wanted))
        if name not in names:
            raise InvalidInput(f"--columns: {path} has no column {name!r} for {role}", hint=near(name, names))
    by_plain: dict[str, str] = {}
    for name in names:
        by_plain.setdefault(_plain(name), name)
    found = {}
    for role, accepted in wanted.items():
        if role in said.columns:
            found[role] = said.columns[role]
            continue
        name = next((by_plain[alias] for alias in accepted if alias in by_plain), "")
        if not name and role == "time" and names[0] in _UNNAMED:
            name = names[0]
        if not name:
            raise DataError(
                f"{path}: no column for {role}; the file has {', '.join(names)}",
                hint=f"say which it is: --columns {role}=NAME; or {_FIX_HEADER}",
                details={"file": str(path), "field": role, "columns": names},
            )
        found[role] = name
    return found


def _agreed(path: Path, column: str, detected: str, said: Said) -> str:
    """The unit that was said, else the one that was detected."""
    if said.time_unit is None:
        return detected
    if detected == _TIMESTAMP:
        raise InvalidInput(f"--time-unit: column {column!r} of {path} holds timestamps, which have no unit", hint="leave --time-unit out")
    return said.time_unit


def _time_expression(column: str, unit: str) -> tuple[str, float]:
    """SQL that gives the time column as DOUBLE, and the factor to milliseconds."""
    found = {_TIMESTAMP: f"epoch_ms({_quoted(column)})::DOUBLE", ISO: _as_text(column)}.get(unit, _as_number(column))
    return f"coalesce({found}, 'nan'::DOUBLE)", _SCALES.get(unit, 1.0)


def _as_number(column: str) -> str:
    return f"try_cast({_quoted(column)} AS DOUBLE)"


def _as_text(column: str) -> str:
    return f"epoch_ms(try_cast({_quoted(column)}::VARCHAR AS TIMESTAMPTZ))::DOUBLE"


def _time_unit(path: Path, layout: _Layout, column: str) -> str:
    """What the times look like."""
    if layout.types[column].startswith(("TIMESTAMP", "DATE")):
        return _TIMESTAMP
    quoted, number, text = _quoted(column), _as_number(column), _as_text(column)
    sample = f"(SELECT {quoted} FROM {layout.source} LIMIT 1000)"
    counted = database().execute(f"SELECT count(*), count({number}), count({text}), median({number}) FROM {sample}").fetchone()
    rows, numbers, texts, median = counted or (0, 0, 0, None)
    if rows == 0:
        raise DataError(f"{path}: has a header and no rows", hint="give a file with at least one row")
    if numbers == texts == 0:
        raise DataError(
            f"{path}: {column!r} holds no times that can be read, {'line' if layout.first_line > 1 else 'row'} {layout.first_line}",
            hint="write times as Unix s, ms, us or ns, or as ISO text like 2025-07-01T00:00:00Z",
        )
    return ISO if texts > numbers else next(unit for limit, unit in _UNITS if abs(median) < limit)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


_KNOWN = frozenset(TIME_NAMES).union(*BAR_ROLES.values(), *FUNDING_ROLES.values())
