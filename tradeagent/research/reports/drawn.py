"""What a picture of a stored backtest is drawn from: the bars it ran on, its equity, and its trades as marks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from tradeagent.algos.bars import Bars, Floats, Ints
from tradeagent.domain.clock import to_ms
from tradeagent.domain.errors import DataError
from tradeagent.domain.instrument import Instrument
from tradeagent.market.warehouse import Warehouse
from tradeagent.research.backtest import from_config
from tradeagent.research.legs import read_legs
from tradeagent.research.reports.charts import Mark
from tradeagent.research.reports.picture import Tone
from tradeagent.research.reports.words import still_open
from tradeagent.research.result import trades_json
from tradeagent.research.store import Stored


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """One market's bars with what was traded on them, in time order."""

    bars: Bars
    marks: tuple[Mark, ...] = ()

    def between(self, first: int, last: int) -> "Market":
        """The rows `first` up to `last`."""
        bars = self.bars.rows(first, last)
        return Market(bars, tuple(mark for mark in self.marks if bars.time[0] <= mark.time_ms <= bars.time[-1]))


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Bars, and equity in quote units at each bar's close, beginning at `start`; `trades` as `backtest run` tells them, `marks` from
    them in time order. `peak` is the highest equity before the first bar; `others` are further markets of the account on the same clock."""

    bars: Bars
    equity: Floats
    start: float
    trades: Sequence[Mapping[str, Any]] = ()
    marks: tuple[Mark, ...] = ()
    peak: float = 0.0
    others: tuple[Market, ...] = ()

    @property
    def markets(self) -> tuple[Market, ...]:
        """All of them, each with its marks."""
        return (Market(self.bars, self.marks), *self.others)

    @property
    def drawdown_pct(self) -> Floats:
        """≤ 0, in percent of the highest equity so far, `peak` before the first bar included."""
        highest = np.maximum(np.maximum.accumulate(self.equity), max(self.start, self.peak))
        drawn: Floats = (self.equity / highest - 1) * 100
        return drawn

    @property
    def closes(self) -> Ints:
        """When each equity value was, UTC ms."""
        closes: Ints = self.bars.time + self.bars.interval_ms
        return closes

    def between(self, from_ms: int | None, until_ms: int | None) -> "Drawn":
        """The part whose bars open in [from, until). Raises DataError when nothing is left."""
        first = 0 if from_ms is None else int(np.searchsorted(self.bars.time, from_ms))
        last = len(self.bars) if until_ms is None else int(np.searchsorted(self.bars.time, until_ms))
        if first >= last:
            raise DataError("no bars of this backtest are in the asked range", hint="leave out --from and --to to see all of it")
        peak = float(self.equity[:first].max(initial=self.peak))
        own, *others = (market.between(first, last) for market in self.markets)
        return Drawn(own.bars, self.equity[first:last], self.start, self.trades, own.marks, peak, tuple(others))


def drawn_of(warehouse: Warehouse, kept: Stored, instruments: Sequence[Instrument]) -> Drawn:
    """A stored backtest with its bars read again, as of when it ran. DataError when they are gone or are not the bars it ran on."""
    setup = from_config(kept.config)
    span = (setup.from_ms, setup.until_ms)
    bars = [read.bars for read in read_legs(warehouse, setup.keys, instruments, span, kept.created_ms)]
    if not np.array_equal(bars[0].time + setup.interval_ms, kept.closes):
        hint = f"`tradeagent backtest run --again {kept.id}` says what moved; run the backtest anew to draw it"
        raise DataError(f"the stored bars of {setup.name} are no longer those of backtest {kept.id}", hint=hint)
    trades = trades_json(kept.trades, bars[0].time, instruments)
    drawn = [*trades, *still_open(kept.document)]
    own, *others = (Market(each, tuple(marks_of([one for one in drawn if one.get("market", each.market) == each.market]))) for each in bars)
    return Drawn(own.bars, kept.equity / 1e6, float(kept.config["cash"]), trades, own.marks, others=tuple(others))


def marks_of(trades: Sequence[Mapping[str, Any]]) -> list[Mark]:
    """Entries (▲ long, ▼ short) and exits (●); a trade that is still open has no exit."""
    marks = []
    for trade in trades:
        text, tone = ("▲", Tone.UP) if trade["direction"] == "long" else ("▼", Tone.DOWN)
        marks.append(Mark(_ms(trade["entry_time"]), float(trade["entry_price"]), text, tone))
        if trade.get("exit_time"):
            marks.append(Mark(_ms(trade["exit_time"]), float(trade["exit_price"]), "●", Tone.MARK))
    return sorted(marks, key=lambda mark: mark.time_ms)


def _ms(text: str) -> int:
    return to_ms(datetime.fromisoformat(text))
