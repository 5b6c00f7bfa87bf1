"""Higher intervals without look-ahead: coarser bars from complete buckets, each visible from the row at whose close it closes."""

from dataclasses import dataclass

import numpy as np

from tradeagent.algos.bars import Bars, Floats, Ints
from tradeagent.domain.bars import interval_text
from tradeagent.domain.errors import InvalidInput


@dataclass(frozen=True, slots=True, eq=False)
class Coarser:
    """Bars of a higher interval, and per row of the finer ones the newest coarser row that has closed by then, −1 for none."""

    bars: Bars
    visible: Ints

    def spread(self, values: Floats) -> Floats:
        """Values of the coarser rows, each repeated over the finer rows that see it; NaN before the first."""
        if not len(values):
            return np.full(len(self.visible), np.nan)
        found = values[self.visible]
        found[: np.searchsorted(self.visible, 0)] = np.nan
        return found

    def first_row(self, coarser_row: int) -> int:
        """The finer row that is the first to see a coarser row; the number of finer rows when none does."""
        return int(np.searchsorted(self.visible, coarser_row))


def buckets(times: Ints, interval_ms: int) -> tuple[Ints, Ints]:
    """First row and number of rows of each bucket of `interval_ms`, aligned to the UTC epoch, that has any of the ascending `times`."""
    bucket = times // interval_ms
    first = np.flatnonzero(np.diff(bucket, prepend=bucket[:1] - 1))
    return first, np.diff(first, append=len(bucket))


def coarser(bars: Bars, interval_ms: int) -> Coarser:
    """Buckets aligned to the UTC epoch; one that misses a bar is left out, and the one before it stays visible.

    Raises InvalidInput when `interval_ms` is not a multiple of the bars' own.
    """
    per_bucket, rest = divmod(interval_ms, bars.interval_ms)
    if per_bucket < 1 or rest:
        raise InvalidInput(
            f"interval: {interval_text(interval_ms)} is not a multiple of {interval_text(bars.interval_ms)}",
            hint=f"run the algo on bars of {interval_text(interval_ms)} or finer, or change the indicator's interval",
        )
    first, size = buckets(bars.time, interval_ms)
    first, last = first[size == per_bucket], (first + size - 1)[size == per_bucket]
    merged = Bars(
        market=bars.market,
        interval_ms=interval_ms,
        time=bars.time[first] // interval_ms * interval_ms,
        open=bars.open[first],
        high=_merged(np.maximum, bars.high, first, per_bucket),
        low=_merged(np.minimum, bars.low, first, per_bucket),
        close=bars.close[last],
        volume=_merged(np.add, bars.volume, first, per_bucket),
        funding=bars.funding[last],
    )
    closes = bars.time + bars.interval_ms
    visible = np.searchsorted(merged.time + interval_ms, closes, side="right") - 1
    return Coarser(merged, visible)


def _merged(join: np.ufunc, values: Floats, first: Ints, count: int) -> Floats:
    """`join` over the `count` rows from each of `first`."""
    edges = np.stack([first, first + count], axis=1).ravel()
    padded = np.append(values, values[-1:])
    found: Floats = join.reduceat(padded, edges)[::2] if len(first) else values[:0]
    return found
