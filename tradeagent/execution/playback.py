"""Playing market data to a simulated broker: bar by bar, booking what they did, judging every close before the next."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from tradeagent.brokers.protocol import SimulatedBroker
from tradeagent.domain.bars import Bar
from tradeagent.domain.clock import day_start_ms, iso
from tradeagent.domain.money import ZERO
from tradeagent.domain.names import OrderState
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.execution.executors.children import Path
from tradeagent.execution.executors.desk import step_all
from tradeagent.execution.halts import judge_marks
from tradeagent.execution.rules import most_mark_age_ms
from tradeagent.execution.state import MarketState
from tradeagent.ledger.wallets import WALL
from tradeagent.market.feed import MarketFeed


class Playback:
    """Moves one wallet's market clock over a feed. `move_clock` is told every instant before it is judged."""

    def __init__(self, engine: ExecutionEngine, broker: SimulatedBroker, feed: MarketFeed, move_clock: Callable[[int], None]) -> None:
        self._engine = engine
        self._broker = broker
        self._feed = feed
        self._move_clock = move_clock
        self._last_open: dict[str, int] = {}
        self._untraded: set[str] = set()
        self._gaps: list[tuple[str, int, int]] = []
        self._source = WALL
        engine.before_send = self.open_now

    def look(self, now_ms: int) -> None:
        """Show the engine the newest closed bars without playing them: what a dry run and a first start need."""
        for market in self._feed.markets:
            close = self._feed.newest_close(market, now_ms)
            if close is None:
                continue
            interval = self._feed.interval_ms(market)
            bar = self._feed.bars_closing(close - interval, close)[-1].get(market)
            if bar is not None:
                self._see(bar)

    def start(self, now_ms: int, source: str) -> None:
        """Begin at the wallet's own market clock, or here when it never had one: the newest closed bar gives the first marks.

        `source` says what drives the clock from now on, the wall or a replay. A wall clock without bars leaves the wallet as it was.
        """
        self._source = source
        risk = self._engine.book.risk
        begin = risk.market_clock_ms
        if begin is None:
            begin = now_ms
            if self.is_fresh(now_ms):
                day = replace(
                    risk, day_start_ms=day_start_ms(now_ms), day_start_equity=risk.last_equity, day_flows=ZERO, last_equity_ms=now_ms
                )
                self._engine.book.set_risk(replace(day, market_clock_ms=begin, clock_source=source))
        elif source != risk.clock_source and self.is_fresh(now_ms):
            self._engine.book.set_risk(replace(risk, clock_source=source))
        for market in self._feed.markets:
            close = self._feed.newest_close(market, begin)
            if close is not None:
                interval = self._feed.interval_ms(market)
                bar = self._feed.bars_closing(close - interval, close)[-1][market]
                with self._engine.gate.touching():
                    self._broker.play_close(close, {market: bar}, ())
                self._played(bar)
                self._see(bar)

    def advance(self, until_ms: int) -> None:
        """Play every bar that has closed since the wallet's clock, in order.

        By the wall clock, bars that are stale at `until_ms` are left for when the feed is alive again: nothing could be decided on them.
        """
        begin = self._engine.book.risk.market_clock_ms
        if begin is None or (self._source == WALL and not self.is_fresh(until_ms)):
            return
        for bars in self._feed.bars_closing(begin, until_ms):
            self._close(bars)

    def open_now(self) -> None:
        """Let the bars that open at this instant open, so that a market order decided on the last close fills at their open.

        After an outage, one whose market has an entry that waits opens with its close: an opposite signal now still replaces that entry.
        """
        now = self._engine.clock.now_ms()
        bars = {market: bar for market, bar in self._feed.bar_opening_at(now).items() if not self._has_waiting_entry(market)}
        if bars:
            with self._engine.gate.touching():
                self._broker.play_open(now, bars, self._funding(bars))

    def _close(self, bars: dict[str, Bar]) -> None:
        engine = self._engine
        time_ms = next(iter(bars.values())).close_ms
        self._move_clock(time_ms)
        with engine.gate.touching():
            self._broker.play_close(time_ms, bars, self._funding(bars))
        marks = {}
        for market, bar in bars.items():
            self._played(bar)
            marks[market] = self._see(bar)
        activity = engine.news(until_ms=time_ms)
        if activity:
            with engine.transaction() as tx:
                engine.sync(tx, activity)
                engine.book.mark(time_ms, marks)
                engine.book.flush(tx)
        else:
            engine.book.mark(time_ms, marks)
        if activity or engine.is_bare:
            engine.after_fills()
        judge_marks(engine)
        step_all(engine, {market: self._path(bar) for market, bar in bars.items()})

    def is_fresh(self, now_ms: int) -> bool:
        """Whether something can be decided on a market now."""
        return any(self._is_fresh(market, now_ms) for market in self._feed.markets)

    def stale(self, now_ms: int) -> list[str]:
        """Why nothing can be decided on a market now, in words that stay the same while its bars stay away."""
        closes = {market: self._feed.newest_close(market, now_ms) for market in self._feed.markets if not self._is_fresh(market, now_ms)}
        return [
            f"{market} has no bars" if close is None else f"no bar of {market} since the one that closed at {iso(close)}"
            for market, close in closes.items()
        ]

    def take_gaps(self) -> list[tuple[str, int, int]]:
        """(market, from, to) of the bars that were missing between those played since this was last asked."""
        taken, self._gaps = self._gaps, []
        return taken

    def _played(self, bar: Bar) -> None:
        expected = self._last_open.get(bar.market, bar.open_ms - bar.interval_ms) + bar.interval_ms
        if bar.open_ms > expected:
            self._gaps.append((bar.market, expected, bar.open_ms))
        self._last_open[bar.market] = bar.open_ms
        (self._untraded.add if bar.is_outage else self._untraded.discard)(bar.market)

    def _has_waiting_entry(self, market: str) -> bool:
        """Whether an entry waits out bars without a trade (execution.md §7)."""
        if market not in self._untraded:
            return False
        return any(o.market == market and o.state is OrderState.PENDING and not o.reduce_only for o in self._broker.open_orders())

    def _path(self, bar: Bar) -> Path:
        places = -self._engine.markets[bar.market].instrument.price_decimals
        return Path(bar.open_ms, Decimal(bar.low).scaleb(places), Decimal(bar.high).scaleb(places))

    def _is_fresh(self, market: str, now_ms: int) -> bool:
        close = self._feed.newest_close(market, now_ms)
        return close is not None and now_ms - close <= most_mark_age_ms(self._feed.interval_ms(market))

    def _see(self, bar: Bar) -> Decimal:
        known = self._engine.markets[bar.market]
        mark = Decimal(bar.close).scaleb(-known.instrument.price_decimals)
        spread = Decimal((bar.high - bar.low) * 100) / bar.open
        self._engine.markets[bar.market] = MarketState(known.instrument, mark, bar.close_ms, bar.interval_ms, spread)
        self._engine.book.see(bar.market, mark, bar.close_ms)
        return mark

    def _funding(self, bars: dict[str, Bar]) -> list[tuple[str, int, int]]:
        """Payments due in (last open, this open] on markets that hold something."""
        rows = []
        for market, bar in bars.items():
            if self._engine.book.net(market).size:
                after = self._last_open.get(market, bar.open_ms - bar.interval_ms)
                rows += [(market, hour, rate) for hour, rate in self._feed.funding(market, after, bar.open_ms)]
        return rows
