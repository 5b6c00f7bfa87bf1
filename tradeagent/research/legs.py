"""Bars of the markets of one account: read for the span that was asked for and, when there are several, cut to the bars they share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from tradeagent.algos.bars import Bars, Ints
from tradeagent.domain.bars import interval_text
from tradeagent.domain.clock import iso
from tradeagent.domain.errors import DataError
from tradeagent.domain.instrument import Instrument
from tradeagent.market.quality import bar_holes
from tradeagent.market.readers import SpanReport, columns
from tradeagent.market.series import SeriesKey
from tradeagent.market.warehouse import Warehouse


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """One market's bars, what they are made of, and how many of the span were left out because another market has none at that time."""

    bars: Bars
    report: SpanReport
    dropped: int = 0


def read_legs(
    warehouse: Warehouse, keys: Sequence[SeriesKey], instruments: Sequence[Instrument], span: tuple[int | None, int | None], as_of_ms: int
) -> list[Read]:
    """The bars of each key that have closed by `as_of_ms`, all on one clock; `span` is (from, until), UTC ms, None = open.

    DataError names the market without bars in the span, or the spans that do not meet.
    """
    wanted = list(zip(keys, instruments, strict=True))
    found = [columns(warehouse, key, *span, known, as_of_ms=as_of_ms) for key, known in wanted]
    for key, (bars, report) in zip(keys, found, strict=True):
        if not len(bars):
            raise _no_bars(warehouse, key, span, report.unclosed)
    if len(found) == 1:
        return [Read(*found[0])]
    lengths = [len(bars) for bars, _ in found]
    shared = _shared([bars for bars, _ in found])
    first, end = int(shared[0]), int(shared[-1]) + keys[0].interval_ms
    # Read again for the span they share, so that each report speaks of that span alone; what is left out at its end is known from before.
    cut = [_cut(*columns(warehouse, key, first, end, known), shared) for key, known in wanted]
    return [
        Read(bars, replace(report, unclosed=whole.unclosed), length - len(bars))
        for (bars, report), length, (_, whole) in zip(cut, lengths, found, strict=True)
    ]


def _shared(several: Sequence[Bars]) -> Ints:
    """Opens that every market has."""
    shared: Ints = reduce(np.intersect1d, [bars.time for bars in several])
    if len(shared):
        return shared
    spans = "; ".join(f"{bars.market} from {iso(int(bars.time[0]))} to {iso(int(bars.time[-1]) + bars.interval_ms)}" for bars in several)
    raise DataError(
        f"{' and '.join(bars.market for bars in several)} have no {interval_text(several[0].interval_ms)} bar in common: {spans}",
        hint="import bars of one span for all of them, or run them one by one",
    )


def _cut(bars: Bars, report: SpanReport, shared: Ints) -> tuple[Bars, SpanReport]:
    """Only the shared rows. The fingerprint stays that of the span's stored bars."""
    kept = np.isin(bars.time, shared)
    if kept.all():
        return bars, report
    prices = (bars.open, bars.high, bars.low, bars.close, bars.volume, bars.funding)
    left = Bars(bars.market, bars.interval_ms, bars.time[kept], *(column[kept] for column in prices))
    holes, silent = bar_holes(left.time, left.interval_ms), left.volume == 0
    changed = replace(
        report,
        bars=len(left),
        gaps=len(holes),
        missing_bars=sum(hole.missing_bars for hole in holes),
        zero_volume=int(np.count_nonzero(silent)),
        backfilled=len(left) if silent.all() else int(np.argmin(silent)),
    )
    return left, changed


def _no_bars(warehouse: Warehouse, key: SeriesKey, wanted: tuple[int | None, int | None], unclosed: int) -> DataError:
    everything = warehouse.bars(key) if warehouse.has(key) else None
    span = f"from {iso(wanted[0]) or 'the beginning'} to {iso(wanted[1]) or 'the end'}"
    name = f"{key.market} {interval_text(key.interval_ms)}"
    if unclosed:
        said = f"no bars of {name} {span}: the {unclosed:,} that are stored have not closed yet"
        return DataError(said, hint="give an earlier span, or check the times of the file they came from: `tradeagent data verify`")
    if everything is None or not len(everything):
        return DataError(f"no bars of {name} {span}", hint="`tradeagent data list` shows what is stored")
    first, last = iso(int(everything.ts[0])), iso(int(everything.ts[-1]) + key.interval_ms)
    return DataError(f"no bars of {name} {span}: they run from {first} to {last}", hint=f"--from {first} --to {last}")
