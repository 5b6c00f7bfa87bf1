"""Bars and funding on disk: one Parquet file per venue, market, interval and month, read through an in-memory DuckDB.

A month file is replaced whole (temporary file, fsync, rename) under a lock per series, so any number of processes read without
locks while one writes. Nothing here knows about money.
"""

import functools
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import numpy as np
import numpy.typing as npt

from tradeagent.domain.bars import interval_text, parse_duration
from tradeagent.domain.clock import HOUR_MS
from tradeagent.domain.errors import BusyError, DataError, InvalidInput, UserError
from tradeagent.market.series import (
    BAR_COLUMNS,
    FUNDING_COLUMNS,
    BarSeries,
    FundingSeries,
    Ints,
    SeriesKey,
    bar_series,
    funding_series,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LOCK_TIMEOUT_S = 60.0
# Small row groups let a read of the newest bars skip most of its month file.
_ROW_GROUP = 20_480
# `compact` packs months that are over.
_PACKED_ROW_GROUP, _PACKED_LEVEL = 122_880, 12
_LOCKLESS_READS = 5
_FIRST_MS, _LAST_MS = -(2**62), 2**62
_MONTH_FILE = "[0-9][0-9][0-9][0-9]-[0-9][0-9].parquet"
_cursors = threading.local()
Columns = dict[str, npt.NDArray[Any]]
Signature = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class Appended:
    """What one append did: new rows, rows whose open time was there already, and how many of those had other values."""

    written: int
    duplicates: int
    conflicts: int


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What writing a series anew did: files and rows it has now, sizes, rows dropped as duplicates, files of killed writers removed."""

    files: int
    rows: int
    bytes_before: int
    bytes_after: int
    duplicates: int
    leftovers: int


class Warehouse:
    """The stored series under one folder. Cheap to make; safe to share between threads."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, key: SeriesKey) -> Path:
        if key.funding:
            return self.root / "funding" / escape(key.venue, "venue") / escape(key.market, "market")
        return self.root / "bars" / escape(key.venue, "venue") / escape(key.market, "market") / interval_text(key.interval_ms)

    def files(self, key: SeriesKey) -> list[Path]:
        """Month files of a series, oldest first; empty when nothing is stored."""
        return sorted(self.folder(key).glob(_MONTH_FILE))

    def has(self, key: SeriesKey) -> bool:
        return bool(self.files(key))

    def series_keys(self) -> list[SeriesKey]:
        """Every stored series, sorted."""
        found = [key for folder in self.root.glob("bars/*/*/*") if (key := _bar_key(folder)) is not None]
        found += [SeriesKey(unquote(f.parent.name), unquote(f.name), funding=True) for f in self.root.glob("funding/*/*")]
        return sorted(key for key in found if self.has(key))

    def signature(self, key: SeriesKey) -> Signature:
        """A value that differs once any file of the series was replaced, added or removed."""
        return _signature(self.files(key))

    def bars(self, key: SeriesKey, from_ms: int | None = None, until_ms: int | None = None) -> BarSeries:
        """Bars as stored, bad ones included, whose open is in [from, until), in time order."""
        read = self._read(key, BAR_COLUMNS, from_ms, until_ms)
        return bar_series(key, *(read[name] for name in BAR_COLUMNS))

    def funding(self, venue: str, market: str) -> FundingSeries:
        """Every stored funding row of a market; empty when there is none."""
        read = self._read(SeriesKey(venue, market, funding=True), FUNDING_COLUMNS, None, None)
        return funding_series(venue, market, read["ts"], read["funding_rate"])

    def append_bars(self, series: BarSeries) -> Appended:
        """Add the bars whose open time is not stored yet; a stored bar is never changed. BusyError after 60 s of waiting."""
        return self._append(series.key, series.columns(), series.ts)

    def append_funding(self, series: FundingSeries) -> Appended:
        """Add the rows whose hour is not stored yet."""
        return self._append(SeriesKey(series.venue, series.market, funding=True), series.columns(), series.hours)

    def rewrite(self, key: SeriesKey) -> Rewritten:
        """Write each month file anew, packed tightly but for the newest, from which the latest bars are read; a file that would not
        shrink stays. Rows keep their values; of two with the same time the first stays."""
        names = FUNDING_COLUMNS if key.funding else BAR_COLUMNS
        rows = duplicates = before = 0
        with _locked(self.folder(key)) as leftovers:
            files = self.files(key)
            for path in files:
                read = self._select(key, [path], names, _FIRST_MS, _LAST_MS)
                slots = read["ts"] - read["ts"] % HOUR_MS if key.funding else read["ts"]
                _, kept = np.unique(slots, return_index=True)
                rows, duplicates, before = rows + len(kept), duplicates + len(slots) - len(kept), before + path.stat().st_size
                packed = path != files[-1]
                if packed or len(kept) != len(slots):
                    limit = path.stat().st_size if len(kept) == len(slots) else None
                    _replace_parquet(path, {name: values[kept] for name, values in read.items()}, packed=packed, below_bytes=limit)
        after = sum(path.stat().st_size for path in files)
        return Rewritten(len(files), rows, before, after, duplicates, leftovers)

    def delete(self, key: SeriesKey) -> tuple[int, int]:
        """Remove every month file of a series, newest first; how many rows and bytes that were."""
        with _locked(self.folder(key)):
            files = self.files(key)
            size, rows = sum(path.stat().st_size for path in files), self._count(key, files)
            for path in reversed(files):
                path.unlink()
            _sync(self.folder(key), os.O_RDONLY)
        return rows, size

    def _count(self, key: SeriesKey, files: Sequence[Path]) -> int:
        """Rows by the files' footers; 0 for files that cannot be read, which may be deleted all the same."""
        try:
            return len(self._select(key, files, ("ts",), _FIRST_MS, _LAST_MS)["ts"])
        except DataError:
            return 0

    def _read(self, key: SeriesKey, names: Sequence[str], from_ms: int | None, until_ms: int | None) -> Columns:
        """Read without a lock. DuckDB opens a file twice, for its footer and its data, so a month that was replaced meanwhile is
        read again, and in the end under the writers' lock."""
        low = _FIRST_MS if from_ms is None else from_ms
        high = _LAST_MS if until_ms is None else until_ms
        first, last = ("0" if from_ms is None else _month(from_ms)), ("9" if until_ms is None else _month(until_ms))
        for _ in range(_LOCKLESS_READS):
            files = [path for path in self.files(key) if first <= path.stem <= last]
            before = _signature(files)
            try:
                result = self._select(key, files, names, low, high)
            except DataError:
                if _signature(files) == before:
                    raise
            else:
                if _signature(files) == before:
                    return result
        with _locked(self.folder(key)):
            return self._select(key, files, names, low, high)

    def _select(self, key: SeriesKey, files: Sequence[Path], names: Sequence[str], low: int, high: int) -> Columns:
        if not files:
            return {name: np.empty(0, np.int64 if name == "ts" else np.float64) for name in names}
        query = f"SELECT {', '.join(names)} FROM read_parquet(?, hive_partitioning=false) WHERE ts >= ? AND ts < ?"
        try:
            read = _fetched(query, files, low, high)
        except DataError as error:
            raise _unreadable(key, files, query, error) from error
        # DuckDB stores a NaN of an array as NULL, which comes back masked; read it as NaN again.
        result: Columns = {
            name: values.filled(np.nan) if isinstance(values, np.ma.MaskedArray) else values for name, values in read.items()
        }
        # Files and their rows are in order; only a file that another program put there needs sorting.
        if np.any(np.diff(result["ts"]) < 0):
            order = np.argsort(result["ts"], kind="stable")
            result = {name: values[order] for name, values in result.items()}
        return result

    def _append(self, key: SeriesKey, columns: Columns, slots: Ints) -> Appended:
        """Merge into each month touched. `ts` is the first column; `slots` makes two rows the same: open time, or funding hour.

        A month whose stored file cannot be read is left as it is, the others are written, and then DataError names it.
        """
        if not len(slots):
            return Appended(0, 0, 0)
        order = np.argsort(slots, kind="stable")
        months = slots[order].astype("datetime64[ms]").astype("datetime64[M]")
        edges = [0, *(np.flatnonzero(months[1:] != months[:-1]) + 1).tolist(), len(months)]
        parts: list[Appended] = []
        unreadable: DataError | None = None
        with _locked(self.folder(key)):
            for start, stop in pairwise(edges):
                path = self.folder(key) / f"{months[start]}.parquet"
                try:
                    parts.append(self._merge(key, path, {name: values[order[start:stop]] for name, values in columns.items()}))
                except DataError as error:
                    if "file" not in error.details:
                        raise
                    unreadable = unreadable or error
        if unreadable is not None:
            raise unreadable
        return Appended(sum(p.written for p in parts), sum(p.duplicates for p in parts), sum(p.conflicts for p in parts))

    def _merge(self, key: SeriesKey, path: Path, incoming: Columns) -> Appended:
        names = tuple(incoming)
        stored = self._select(key, [path] if path.exists() else [], names, _FIRST_MS, _LAST_MS)
        merged = {name: np.concatenate([stored[name], incoming[name]]) for name in names}
        slot = merged["ts"] - merged["ts"] % HOUR_MS if key.funding else merged["ts"]
        _, kept, owner = np.unique(slot, return_index=True, return_inverse=True)
        fresh = np.arange(len(slot)) >= len(stored["ts"])
        dropped = fresh.copy()
        dropped[kept] = False
        differs = np.zeros(len(slot), np.bool_)
        for name in names[1:]:
            differs |= merged[name] != merged[name][kept[owner]]
        written = int(np.count_nonzero(fresh[kept]))
        if written:
            _replace_parquet(path, {name: values[kept] for name, values in merged.items()})
        return Appended(written, int(np.count_nonzero(dropped)), int(np.count_nonzero(dropped & differs)))


def _fetched(query: str, files: Sequence[Path], low: int, high: int) -> Columns:
    with explained("the stored data cannot be read", hint=""):
        return database().execute(query, [[glob_safe(path) for path in files], low, high]).fetchnumpy()


def _unreadable(key: SeriesKey, files: Sequence[Path], query: str, error: DataError) -> DataError:
    """The error of a whole read as one that names the first month file that cannot be read by itself, so that the others stay."""
    for path in files:
        try:
            _fetched(query, [path], _FIRST_MS, _LAST_MS)
        except DataError as alone:
            reason = alone.message.removeprefix("the stored data cannot be read: ")
            hint = f"move this one file away, then fetch or import its month again: {path}"
            details = {"series": key.text, "file": str(path), "reason": reason}
            return DataError(f"{key.text}: {path.name} cannot be read: {reason}", hint=hint, details=details)
    return DataError(f"{key.text}: {error.message}", hint="try again; `tradeagent data verify` names a file that stays unreadable")


def _signature(files: Sequence[Path]) -> Signature:
    stats = ((path.name, path.stat()) for path in files)
    return tuple((name, stat.st_ino, stat.st_mtime_ns) for name, stat in stats)


def escape(name: str, field: str) -> str:
    """A venue or market name as one path component that cannot leave its folder: `xyz:TSLA` → `xyz%3ATSLA`."""
    if not name.strip():
        raise InvalidInput(f"{field}: the name is empty", hint=f"give a {field} name, like BTC")
    escaped = quote(name, safe="")
    return escaped.replace(".", "%2E", 1) if escaped.startswith(".") else escaped


def glob_safe(path: Path) -> str:
    """A path that DuckDB reads literally: its own wildcards are wrapped in brackets."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in str(path))


def sql_text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


@contextmanager
def explained(what: str, hint: str) -> Iterator[None]:
    """Turn an error of DuckDB into a DataError that says what could not be done and DuckDB's first line."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{what}: {reason}", hint=hint) from error


def database() -> "DuckDBPyConnection":
    """This thread's cursor on the process's in-memory DuckDB, which holds nothing and may not install anything.

    What an earlier question left unread, or an interrupt cut short, is dropped: DuckDB does nothing else on a cursor before that.
    """
    cursor: DuckDBPyConnection | None = getattr(_cursors, "cursor", None)
    if cursor is None:
        cursor = _cursors.cursor = _connection().cursor()
        cursor.execute("SET TimeZone = 'UTC'")
    cursor.abort()
    return cursor


@functools.cache
def _connection() -> "DuckDBPyConnection":
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": "1GB",
        "threads": 2,
        "temp_directory": "",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        # A month file keeps its path when it is replaced; a cached block of the old one would be wrong.
        "enable_external_file_cache": False,
    }
    return duckdb.connect(":memory:", config=settings)


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """The writers' lock of a series; yields how many files of killed writers were removed."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=LOCK_TIMEOUT_S):
            leftovers = list(folder.glob("*.tmp"))
            for leftover in leftovers:
                leftover.unlink()
            yield len(leftovers)
    except Timeout:
        raise BusyError(
            f"{folder}: another process has been writing this series for {LOCK_TIMEOUT_S:.0f} s", hint="try again when its import has ended"
        ) from None


def _replace_parquet(path: Path, columns: Columns, *, packed: bool = False, below_bytes: int | None = None) -> None:
    """Write a month file whole; with `below_bytes` only when it is smaller than that."""
    temporary = path.with_suffix(".tmp")
    cursor = database()
    cursor.register("month_rows", columns)
    try:
        size = f"ROW_GROUP_SIZE {_PACKED_ROW_GROUP}, COMPRESSION_LEVEL {_PACKED_LEVEL}" if packed else f"ROW_GROUP_SIZE {_ROW_GROUP}"
        options = f"FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, {size}"
        with explained(f"{path} cannot be written", hint="check free space and permissions, then import again; nothing is half-written"):
            cursor.execute(f"COPY (SELECT * FROM month_rows) TO {sql_text(str(temporary))} ({options})")
    finally:
        cursor.unregister("month_rows")
    if below_bytes is not None and temporary.stat().st_size >= below_bytes:
        temporary.unlink()
        return
    _sync(temporary, os.O_RDWR)
    temporary.replace(path)
    _sync(path.parent, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _bar_key(folder: Path) -> SeriesKey | None:
    """The series a folder holds, or None for a folder that is not one of ours."""
    try:
        interval_ms = parse_duration(folder.name)
    except UserError:
        return None
    return SeriesKey(unquote(folder.parent.parent.name), unquote(folder.parent.name), interval_ms)


def month_start_ms(path: Path) -> int:
    """First instant (UTC ms) a month file may hold."""
    return int(np.datetime64(path.stem, "ms").astype(np.int64))


def _month(ms: int) -> str:
    return str(np.datetime64(ms, "ms").astype("datetime64[M]"))
