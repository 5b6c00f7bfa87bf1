"""Looking after stored series: writing their month files anew in the smallest form, and removing a series on request."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from tradeagent.domain.bars import interval_text
from tradeagent.domain.errors import DataError, NotFound
from tradeagent.hyperliquid.client import INTERVALS, MAX_CANDLES
from tradeagent.market.instruments import HYPERLIQUID
from tradeagent.market.series import SeriesKey
from tradeagent.market.warehouse import Warehouse


@dataclass(frozen=True, slots=True)
class Compacted:
    """One series written anew. `duplicates` are rows dropped because their time was there twice; `leftovers` files of killed writers."""

    venue: str
    market: str
    interval: str
    funding: bool
    files: int
    rows: int
    bytes_before: int
    bytes_after: int
    duplicates: int
    leftovers: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Removed:
    """One series that is gone from the warehouse, and how it could come back."""

    venue: str
    market: str
    interval: str
    funding: bool
    rows: int
    bytes: int
    comes_back: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def compact(warehouse: Warehouse, keys: list[SeriesKey]) -> Iterator[Compacted | tuple[SeriesKey, DataError]]:
    """Write every month file of `keys` anew, one row a time; values stay as they are. A file that would not shrink is left alone.

    Readers see the old month or the new one; BusyError when another process keeps writing a series. Of a series with an unreadable file
    the error is given, and the next series comes.
    """
    for key in keys:
        try:
            written = warehouse.rewrite(key)
        except DataError as error:
            yield key, error
            continue
        yield Compacted(
            key.venue,
            key.market,
            interval_text(key.interval_ms),
            key.funding,
            written.files,
            written.rows,
            written.bytes_before,
            written.bytes_after,
            written.duplicates,
            written.leftovers,
        )


def remove(warehouse: Warehouse, key: SeriesKey) -> Removed:
    """Delete the stored rows of a series. NotFound when there are none."""
    if not warehouse.has(key):
        raise NotFound(f"{key.text}: nothing is stored", hint="tradeagent data list")
    rows, size = warehouse.delete(key)
    return Removed(key.venue, key.market, interval_text(key.interval_ms), key.funding, rows, size, comes_back(key))


def comes_back(key: SeriesKey) -> str:
    """What of a series can be had again, in words for the person who is about to delete it."""
    if key.venue != HYPERLIQUID:
        return "only from the file it was imported from"
    if key.funding:
        return f"tradeagent data fetch --market {key.market} --funding"
    if key.interval_ms not in INTERVALS:
        return "only from the file it was imported from: the venue has no such interval"
    text = interval_text(key.interval_ms)
    return (
        f"the newest {MAX_CANDLES:,} bars by tradeagent data fetch --market {key.market} --interval {text}; "
        "older ones only from a file or a backup"
    )
