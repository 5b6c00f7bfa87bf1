"""Legs of a backtest as the market feed that a playback reads: bars on the venue's integer grid, funding by the hour."""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from tradeagent.domain.bars import Bar
from tradeagent.domain.errors import Defect, InvalidInput
from tradeagent.market.series import BarSeries
from tradeagent.research.run import Leg


class LegFeed:
    """Closed bars of every leg on one clock. `grid[market]` has open, high, low, close in storage units and volume in lots, as lists.

    InvalidInput when the legs' bars do not open at the same instants, or two legs share a market.
    """

    def __init__(self, legs: Sequence[Leg]) -> None:
        first = legs[0].bars
        for leg in legs[1:]:
            if leg.bars.interval_ms != first.interval_ms or not np.array_equal(leg.bars.time, first.time):
                raise InvalidInput(
                    f"legs: the bars of {leg.instrument.symbol} and {legs[0].instrument.symbol} do not open at the same instants",
                    hint="give every leg the bars of the span that they share",
                )
        if len({leg.instrument.symbol for leg in legs}) < len(legs):
            raise InvalidInput("legs: one market is given twice", hint="an account has one position a market; join the algos or drop one")
        self.interval = first.interval_ms
        self.times: list[int] = first.time.tolist()
        self.grid = {leg.instrument.symbol: _grid(leg) for leg in legs}
        self._rates = {leg.instrument.symbol: (leg.funding_hours.tolist(), leg.funding_rates.tolist()) for leg in legs}

    @property
    def markets(self) -> tuple[str, ...]:
        return tuple(self.grid)

    def interval_ms(self, market: str) -> int:
        return self.interval

    def bars_closing(self, after_ms: int, until_ms: int) -> list[dict[str, Bar]]:
        start, stop = (bisect_right(self.times, ms - self.interval) for ms in (after_ms, until_ms))
        return [self._bars(row) for row in range(start, stop)]

    def bar_opening_at(self, ms: int) -> dict[str, Bar]:
        row = bisect_right(self.times, ms) - 1
        return self._bars(row) if row >= 0 and self.times[row] == ms else {}

    def history(self, market: str, interval_ms: int, as_of_ms: int, count: int) -> BarSeries:
        raise Defect(f"a backtest's signals are computed before it runs; nothing asks for the history of {market}")

    def funding(self, market: str, after_ms: int, until_ms: int) -> list[tuple[int, int]]:
        hours, rates = self._rates[market]
        start, stop = bisect_right(hours, after_ms), bisect_right(hours, until_ms)
        return list(zip(hours[start:stop], rates[start:stop], strict=True))

    def newest_close(self, market: str, as_of_ms: int) -> int | None:
        row = bisect_right(self.times, as_of_ms - self.interval) - 1
        return self.times[row] + self.interval if row >= 0 else None

    def refresh(self) -> bool:
        return False

    def row_at(self, ms: int) -> int:
        """The row of the bar that contains an instant; the last one that opened before it in a gap."""
        return bisect_right(self.times, ms) - 1

    def _bars(self, row: int) -> dict[str, Bar]:
        opened = self.times[row]
        return {market: Bar(market, opened, self.interval, *(column[row] for column in columns)) for market, columns in self.grid.items()}


def _grid(leg: Leg) -> tuple[list[int], ...]:
    """The leg's bars on the grid, as `BarSeries.grid` puts them there."""
    bars, known = leg.bars, leg.instrument
    prices = [np.rint(column * 10.0**known.price_decimals).astype(np.int64) for column in (bars.open, bars.high, bars.low, bars.close)]
    lots = np.maximum(np.rint(bars.volume * 10.0**known.size_decimals).astype(np.int64), (bars.volume > 0).astype(np.int64))
    return tuple(column.tolist() for column in (*prices, lots))
