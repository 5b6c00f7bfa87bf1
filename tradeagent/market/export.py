"""`data export`: a stored series as one CSV or Parquet file that `data import` reads back to the same values."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tradeagent.domain.bars import interval_text
from tradeagent.domain.clock import iso
from tradeagent.domain.errors import DataError, InvalidInput, NotFound
from tradeagent.market.replay import import_hint
from tradeagent.market.series import SeriesKey
from tradeagent.market.warehouse import Columns, Warehouse, database, explained, sql_text
from tradeagent.workspace.files import disk_error, sync_directory

_FORMATS = {".csv": "FORMAT csv, HEADER", ".parquet": "FORMAT parquet, COMPRESSION zstd", ".pq": "FORMAT parquet, COMPRESSION zstd"}


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written; `first` and `last` are times of rows (UTC ms)."""

    file: str
    format: str
    venue: str
    market: str
    interval: str
    funding: bool
    rows: int
    bytes: int
    first: int
    last: int

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, times as ISO text."""
        return {**asdict(self), "first": iso(self.first), "last": iso(self.last)}


def export_series(
    warehouse: Warehouse, key: SeriesKey, file: Path, span: tuple[int | None, int | None], *, overwrite: bool = False
) -> ExportReport:
    """Write the rows of `span` (open, or stamp of a payment, in [from, until)) as stored, bad ones included, whole or not at all.

    Raises InvalidInput for a suffix that is no format or a file that is there, NotFound for a series that is not stored, DataError when
    the span holds no row.
    """
    options = _FORMATS.get(file.suffix.lower())
    if options is None:
        raise InvalidInput(f"{file}: {file.suffix or 'no suffix'} is not a format", hint=f"end the name in {', '.join(_FORMATS)}")
    if file.exists() and not overwrite:
        raise InvalidInput(f"{file}: the file is there already", hint="name another file, or repeat with --force")
    if not warehouse.has(key):
        raise NotFound(f"{key.text}: there is nothing of it", hint=import_hint(key))
    columns = _columns(warehouse, key, span)
    times = columns["ts"]
    if not len(times):
        raise DataError(f"{key.text}: none of its rows is in that span", hint="tradeagent data list")
    _write(file, columns, options)
    size = file.stat().st_size
    interval = interval_text(key.interval_ms)
    form = "csv" if file.suffix.lower() == ".csv" else "parquet"
    return ExportReport(str(file), form, key.venue, key.market, interval, key.funding, len(times), size, int(times.min()), int(times.max()))


def _columns(warehouse: Warehouse, key: SeriesKey, span: tuple[int | None, int | None]) -> Columns:
    if not key.funding:
        return dict(warehouse.bars(key, *span).columns())
    paid = warehouse.funding(key.venue, key.market)
    low, high = span
    kept = np.full(len(paid), True)
    if low is not None:
        kept &= paid.ts >= low
    if high is not None:
        kept &= paid.ts < high
    return {name: values[kept] for name, values in paid.columns().items()}


def _write(file: Path, columns: Columns, options: str) -> None:
    temporary = file.with_name(f".{file.name}.tmp")
    cursor = database()
    cursor.register("exported_rows", columns)
    try:
        with explained(f"{file} cannot be written", hint="check that its folder exists, free space and permissions"):
            cursor.execute(f"COPY (SELECT * FROM exported_rows ORDER BY ts) TO {sql_text(str(temporary))} ({options})")
        temporary.replace(file)
        sync_directory(file.parent, durable=True)
    except OSError as error:
        raise disk_error(file, error) from error
    finally:
        cursor.unregister("exported_rows")
        temporary.unlink(missing_ok=True)
