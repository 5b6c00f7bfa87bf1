"""A backtest through the real door: the algo's state machine decides at each close, the execution engine and a paper account do the rest.

The slow twin of the compiled kernel: the same legs and terms give the same `Run` to the last 10⁻⁶ USDC. With `limits` the door judges
every rule, and what it refuses is counted by rule.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tradeagent.algos import machine
from tradeagent.algos.levels import NONE, tick_of, trail_level
from tradeagent.domain.limits import Limits
from tradeagent.domain.names import Actor, ExitReason, Rule, Side
from tradeagent.domain.order import Fill, FundingPayment, OrderReport, Verdict
from tradeagent.execution.backtest_door import ALGO, Account, BacktestDoor, open_backtest_door
from tradeagent.execution.halts import close_once
from tradeagent.execution.playback import Playback
from tradeagent.ledger import trading
from tradeagent.research.eventfacts import Facts, micro
from tradeagent.research.eventfeed import LegFeed
from tradeagent.research.eventseat import Seat, seat_of
from tradeagent.research.limits_impact import CAP_RULES
from tradeagent.research.pilot import Pilot, cloid_of, closed_bar
from tradeagent.research.run import EXIT_REASONS, STAMPED_AT_CLOSE, Leg, Run, Terms

_NO_MARGIN = ("marginCanceled",)
CAPACITY_PARTS = 20
LEVERAGE_UNIT = 1_000_000


@dataclass(frozen=True, slots=True)
class EventRun:
    """A run through the door. `rejections` counts refused orders by rule (or `VENUE`), `cuts` by rule the entries a cap made smaller.

    The venue does not say from which price a trailing stop slipped: `run.slippage` may be off by `slack` (10⁻⁶), which moves no money.
    """

    run: Run
    rejections: dict[str, int]
    cuts: dict[str, int]
    slack: int = 0


def replay(legs: Sequence[Leg], terms: Terms, limits: Limits | None = None) -> EventRun:
    """Play the legs through the door on one account that nobody keeps. InvalidInput for bars that share no clock."""
    feed = LegFeed(legs)
    account = Account(terms.cash, terms.fees, terms.slippage_bps, terms.path, terms.fill_no_volume)
    instruments = {leg.instrument.symbol: leg.instrument for leg in legs}
    with TemporaryDirectory(prefix="tradeagent-backtest-") as folder:
        door = open_backtest_door(Path(folder), instruments, account, feed.times[0] + feed.interval, limits)
        try:
            return _Replay(feed, door, legs, terms, has_limits=limits is not None).play()
        finally:
            door.close()


class _Replay:
    """The loop over bars: play one, take note of what the venue did, let every leg decide."""

    def __init__(self, feed: LegFeed, door: BacktestDoor, legs: Sequence[Leg], terms: Terms, *, has_limits: bool) -> None:
        self.has_limits = has_limits
        self.feed = feed
        self.door = door
        self.engine = door.engine
        self.terms = terms
        self.seats = {leg.instrument.symbol: seat_of(leg) for leg in legs}
        self.facts = Facts([leg.instrument for leg in legs], int(terms.slippage_bps * 10))
        self.rejections: Counter[str] = Counter()
        self.cuts: Counter[str] = Counter()
        self.stops: dict[str, int] = {}
        self.levels: dict[str, int] = {}
        self.trails: dict[str, tuple[int, int]] = {}
        self.cursor = door.cursor
        self.pilot = Pilot(door.engine, ALGO, terms, self, has_limits=has_limits)

    def play(self) -> EventRun:
        """Every bar in turn. What is decided at a close is with the venue before the next open, so it is sent before that is played."""
        feed, last = self.feed, len(self.feed.times) - 1
        equity = np.full(last + 1, micro(self.terms.cash), dtype=np.int64)
        playback = Playback(self.engine, self.door.paper, feed, self.door.clock.advance_to)
        first = max(self.terms.first_row, self.terms.delay_bars)
        self.engine.before_send = _stay_closed
        playback.start(feed.times[0] + feed.interval, "replay")
        for row in range(last + 1):
            self._wait_through(row)
            playback.advance(feed.times[row] + feed.interval)
            self._take_note()
            equity[row] = micro(self.engine.book.equity())
            self._follow(row, int(equity[row]))
            if first <= row < last:
                for seat in self.seats.values():
                    self.pilot.decide(seat, row, closed_bar(feed.grid[seat.symbol], row))
        if self.terms.close_at_end:
            self._close_at_end()
            equity[-1] = micro(self.engine.book.equity())
        marks = {symbol: columns[3][-1] for symbol, columns in feed.grid.items()}
        return EventRun(self.facts.run(equity, marks), dict(self.rejections), dict(self.cuts), self.facts.slack)

    def _take_note(self) -> None:
        """Follow the venue: fills become trips, an exit becomes the machine's memory."""
        if self.door.cursor == self.cursor:
            return
        for item in self.door.happened_since(self.cursor):
            if isinstance(item, Fill):
                self._filled(item)
            elif isinstance(item, FundingPayment):
                self.facts.pay(item)
            else:
                self._moved(item)
        self.cursor = self.door.cursor

    def _filled(self, fill: Fill) -> None:
        seat, known = self.seats[fill.market], self.seats[fill.market].leg.instrument
        row = self.feed.row_at(fill.time_ms - (fill.reason in STAMPED_AT_CLOSE))
        opened, high, low, close, volume = (column[row] for column in self.feed.grid[fill.market])
        is_at_open = fill.time_ms == self.feed.times[row]
        reference = close if fill.reason in STAMPED_AT_CLOSE else opened if is_at_open else None
        self.facts.fill(fill, row, reference, (self.levels.get(fill.cloid, 0), self.stops.get(fill.cloid, 0)))
        lots, price = int(fill.size.scaleb(known.size_decimals)), int(fill.price.scaleb(known.price_decimals))
        self.facts.counts["over_capacity_fills"] += lots * CAPACITY_PARTS > volume
        before = seat.held
        seat.held += fill.side.sign * lots
        if seat.held == 0:
            side = 1 if before > 0 else -1
            seat.memory = machine.left(row, side, EXIT_REASONS.index(fill.reason or ExitReason.SIGNAL))
            seat.best, seat.limit_at = price, 0
            self.facts.counts["liquidations"] += fill.reason is ExitReason.LIQUIDATION
        elif before == 0 and not is_at_open:
            points = _path_after(self.terms.path, fill.side, (opened, high, low, close))
            reach = self.trails.get(fill.cloid, (NONE, 0))
            mark = price - fill.side.sign * tick_of(price, known.price_decimals)
            follows = trail_level(mark, fill.side.sign, reach) if reach[0] != NONE else 0
            is_out_at_once = reach[0] != NONE and (points[0] - follows) * fill.side.sign <= 0
            self.facts.enter_on_path(fill.market, row, () if is_out_at_once else points)

    def _moved(self, report: OrderReport) -> None:
        """An order changed: forget those that wait once they do not, and count entries the venue had no margin for."""
        if report.state.is_live:
            return
        for seat in self.seats.values():
            if report.cloid in (seat.entry, seat.limit) and report.reason in _NO_MARGIN:
                self.facts.counts["no_margin"] += 1
            if report.cloid == seat.entry:
                seat.entry, seat.entry_side = "", 0
            if report.cloid == seat.limit:
                seat.limit = ""
            if report.cloid == seat.close:
                seat.close = ""

    def _wait_through(self, row: int) -> None:
        """Count the market orders that an outage keeps waiting."""
        for seat in self.seats.values():
            opened, high, low, close, volume = (column[row] for column in self.feed.grid[seat.symbol])
            is_outage = volume == 0 and opened == high == low == close and not self.terms.fill_no_volume
            self.facts.counts["outage_waits"] += is_outage and bool(seat.close or seat.entry or seat.limit_queues)
            seat.limit_queues = seat.limit_queues and is_outage

    def _follow(self, row: int, equity: int) -> None:
        """Excursions of what is held over this bar, time in the market and leverage at the close."""
        notional = 0
        for symbol, trip in self.facts.open.items():
            _, high, low, close, _ = self.feed.grid[symbol]
            trip.hold(row, high[row], low[row])
            notional += trip.size * close[row]
        if notional:
            self.facts.exposed += 1
            if equity > 0:
                self.facts.max_leverage = max(self.facts.max_leverage, notional * LEVERAGE_UNIT // equity)

    def passed_over(self, why: str) -> None:
        self.facts.counts[why] += 1

    def sent(self) -> None:
        self._take_note()

    def left(self, seat: Seat, verdict: Verdict) -> None:
        """The fill will say so."""

    def tightened(self, seat: Seat, verdict: Verdict) -> None:
        """Remember the level of the new stop; the trip keeps its first one."""
        order = verdict.order or {}
        self.levels[cloid_of(verdict)] = int(Decimal(order["trigger"]).scaleb(seat.leg.instrument.price_decimals))
        self.facts.counts["stops_tightened"] += 1

    def accepted(self, seat: Seat, verdict: Verdict, side: int, row: int, limit: int) -> None:
        """Remember the levels that go with an entry, and whether its limit is at the market."""
        cloid, mark = cloid_of(verdict), self.feed.grid[seat.symbol][3][row]
        with self.engine.ledger.reading() as tx:
            family = trading.orders_of_intent(tx, verdict.intent_id or "")
            intent = trading.intent(tx, verdict.intent_id or "") if self.has_limits else None
        if intent is not None and intent["plan"].get("clipped_by"):
            self.cuts[CAP_RULES[intent["plan"]["clipped_by"]].value] += 1
        for order in family:
            if order.trigger is not None:
                self.levels[order.cloid] = int(order.trigger.scaleb(seat.leg.instrument.price_decimals))
                if order.leg == "stop":
                    self.stops[cloid] = self.levels[order.cloid]
        if limit:
            self.trails[cloid] = seat.reaches[side].trailing.at(row - self.terms.delay_bars)
            seat.limit_queues = (limit - mark) * side >= 0

    def refused(self, verdict: Verdict) -> None:
        rule = verdict.rule
        text = verdict.rejection.message if verdict.rejection else verdict.message
        self.rejections[rule.value if rule else "VENUE"] += 1
        if rule is Rule.MARGIN or "Insufficient margin" in text:
            self.facts.counts["no_margin"] += 1
        elif rule is Rule.SHAPE and "below the minimum" in text:
            self.facts.counts["below_minimum"] += 1
        elif rule in (Rule.SHAPE, Rule.PROTECTION) or "TP/SL" in text:
            self.facts.counts["bad_levels"] += 1
        else:
            self.facts.counts["venue_refused"] += 1

    def _close_at_end(self) -> None:
        for seat in self.seats.values():
            if seat.held:
                close_once(self.engine, seat.symbol, Actor.SYSTEM, ExitReason.END)
        self._take_note()


def _path_after(path: str, side: Side, bar: tuple[int, int, int, int]) -> tuple[int, ...]:
    """Path points of a bar after a resting entry of `side` has filled on its way."""
    opened, high, low, close = bar
    toward, beyond = (low, high) if side is Side.BUY else (high, low)
    is_toward_first = path == "adverse" or opened - low == high - opened or (opened - low < high - opened) == (side is Side.BUY)
    return (toward, beyond, close) if is_toward_first else (toward, close)


def _stay_closed() -> None:
    """Orders of a close are sent before the next open is played."""
