"""From a closed bar to orders: what the state machine decides for one leg is proposed at the door, in a backtest as in a paper run.

Nothing here follows the venue: whoever calls brings the seat as it stands, and hears what became of each proposal.
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple, Protocol

from tradeagent.algos import machine
from tradeagent.algos.levels import is_tighter, level_price
from tradeagent.domain.names import Actor, Direction, ExitReason, IntentKind, OrderType, Side, VerdictKind
from tradeagent.domain.order import Proposal, Verdict
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.execution.protection import cancel_order, move_protection
from tradeagent.ledger import trading
from tradeagent.research.eventfacts import micro
from tradeagent.research.eventseat import Seat
from tradeagent.research.run import Terms


class Closed(NamedTuple):
    """The newest closed bar of a leg in storage units."""

    high: int
    low: int
    close: int


class Listener(Protocol):
    """Who hears what became of a decision. `passed_over` names why an entry was not even proposed."""

    def passed_over(self, why: str) -> None: ...
    def refused(self, verdict: Verdict) -> None: ...
    def left(self, seat: Seat, verdict: Verdict) -> None: ...
    def tightened(self, seat: Seat, verdict: Verdict) -> None: ...
    def accepted(self, seat: Seat, verdict: Verdict, side: int, row: int, limit: int) -> None: ...
    def sent(self) -> None: ...


class Pilot:
    """Decides at a close and carries it out as `controller` at one door. With `has_limits` sizes are wishes that the door may cut."""

    def __init__(self, engine: ExecutionEngine, controller: str, terms: Terms, listener: Listener, *, has_limits: bool) -> None:
        self._engine = engine
        self._controller = controller
        self._terms = terms
        self._told = listener
        self._has_limits = has_limits

    def decide(self, seat: Seat, row: int, bar: Closed) -> None:
        """What the machine wants at the close of `row`, in its order: withdraw, close, enter; else tighten the stop, or keep the buy-back
        limit in place."""
        code = seat.codes[row - self._terms.delay_bars]
        if not code and not seat.memory.waits and not seat.buys_back:
            return
        standing, memory = seat.standing, seat.memory
        actions, waits, is_ambiguous = machine.decide(code, row, standing, memory, seat.rules)
        seat.memory = memory._replace(waits=waits)
        if is_ambiguous:
            self._told.passed_over("ambiguous")
        side = 1 if actions & machine.ENTER_LONG else -1 if actions & machine.ENTER_SHORT else 0
        if actions & machine.WITHDRAW:
            self._withdraw(seat)
        if actions & machine.CLOSE and not self._close(seat, ExitReason.FLIP if side else ExitReason.SIGNAL):
            side = 0  # the venue keeps the position, so nothing opens against it
        if side:
            self._withdraw(seat)
            seat.limit_at = 0
            self._enter(seat, side, row, bar, 0)
        elif actions & machine.TIGHTEN:
            self._tighten(seat, standing.held, row, bar)
        elif standing.held == 0 and standing.entry_waits == 0 and seat.buys_back:
            seat.follow_best(bar.high, bar.low, bar.close, row)
            if machine.may_buy_back(waits, row, memory, seat.rules):
                self._buy_back(seat, row, bar)
        self._told.sent()

    def _tighten(self, seat: Seat, side: int, row: int, bar: Closed) -> None:
        """Move the stop to where an entry at this close would have it, when that is tighter than the one that rests."""
        places = seat.leg.instrument.price_decimals
        stop = seat.stop(side, bar.close, row - self._terms.delay_bars)
        if not is_tighter(stop, self._stop_of(seat, side), bar.close, side):
            return
        out = Side.SELL if side > 0 else Side.BUY
        moved = Proposal(seat.symbol, out, self._controller, kind=IntentKind.UPDATE, stop=Decimal(stop).scaleb(-places))
        verdict = move_protection(self._engine, moved, Actor.ALGO)
        if verdict.kind is VerdictKind.EXECUTED:
            self._told.tightened(seat, verdict)
        else:
            self._told.refused(verdict)

    def _stop_of(self, seat: Seat, side: int) -> int:
        """The tightest stop that rests for what is held, in storage units; 0 without one."""
        with self._engine.ledger.reading() as tx:
            live = trading.live_orders(tx, self._engine.wallet.name)
        own = [order for order in live if (order.market, order.controller_id, order.leg) == (seat.symbol, self._controller, "stop")]
        levels = [int(order.trigger.scaleb(seat.leg.instrument.price_decimals)) for order in own if order.trigger is not None]
        return (max if side > 0 else min)(levels, default=0)

    def _buy_back(self, seat: Seat, row: int, bar: Closed) -> None:
        """Keep the limit that enters the left side again where it belongs after this close."""
        side, decimals = seat.memory.exit_side, seat.leg.instrument.price_decimals
        reach = seat.reaches[side].buy_back.at(row - self._terms.delay_bars)
        limit = level_price(seat.best, -side, int(side < 0), reach, decimals) if reach[1] >= 0 else 0
        if limit <= 0 or limit == seat.limit_at:
            return
        self._withdraw(seat)
        seat.limit_at = limit
        self._enter(seat, side, row, bar, limit)

    def _withdraw(self, seat: Seat) -> None:
        if seat.entry and self._cancelled(seat.entry):
            seat.entry, seat.entry_side = "", 0
        if seat.limit and self._cancelled(seat.limit):
            seat.limit = ""
        self._told.sent()

    def _cancelled(self, cloid: str) -> bool:
        return cancel_order(self._engine, cloid, Actor.ALGO).kind is VerdictKind.EXECUTED

    def _close(self, seat: Seat, reason: ExitReason) -> bool:
        """Send the close of all that is held; whether it was taken."""
        side = Side.SELL if seat.held > 0 else Side.BUY
        closing = Proposal(seat.symbol, side, self._controller, kind=IntentKind.CLOSE, reduce_only=True, exit_reason=reason)
        verdict = self._engine.submit_now(closing, Actor.ALGO)
        if verdict.kind is not VerdictKind.EXECUTED:
            self._told.refused(verdict)
            return False
        seat.close = cloid_of(verdict)
        self._told.left(seat, verdict)
        return True

    def _enter(self, seat: Seat, side: int, row: int, bar: Closed, limit: int) -> None:
        """An entry with its levels; one behind a close that waits is judged as if that was done. `limit` 0 is a market order."""
        known, basis, seen = seat.leg.instrument, limit or bar.close, row - self._terms.delay_bars
        levels = seat.levels(side, basis, seen)
        is_sound = levels is not None and all(level is None or level > 0 for level in levels)
        equity = max(0, micro(self._engine.book.equity()))
        lots = seat.lots(equity, self._free(seat.symbol), basis, levels[0], seen, self._terms) if levels is not None and is_sound else None
        if levels is None or lots is None:
            self._told.passed_over("bad_levels")
            return
        if lots == 0:
            self._told.passed_over("below_minimum")
            return
        stop, target = (None if value is None else value.scaleb(-known.price_decimals) for value in levels)
        trail, trail_rate = seat.trail(side, seen)
        proposal = Proposal(
            seat.symbol,
            Side.BUY if side > 0 else Side.SELL,
            self._controller,
            type=OrderType.LIMIT if limit else OrderType.MARKET,
            size=Decimal(lots).scaleb(-known.size_decimals),
            price=Decimal(limit).scaleb(-known.price_decimals) if limit else None,
            stop=stop,
            target=target,
            leverage=self._terms.leverage or seat.leg.spec.leverage,
            reason=f"{seat.leg.spec.name} {'buy back' if limit else Direction.LONG.value if side > 0 else Direction.SHORT.value}",
            trail=trail,
            trail_rate=trail_rate,
        )
        if self._has_limits and self._terms.fill_qty is None:
            proposal = seat.as_wish(proposal, seen)
        submit = self._engine.admit_behind_close if seat.held else self._engine.submit_now
        verdict = submit(proposal, Actor.ALGO)
        if verdict.kind is VerdictKind.EXECUTED:
            if limit:
                seat.limit = cloid_of(verdict)
            else:
                seat.entry, seat.entry_side = cloid_of(verdict), side
            self._told.accepted(seat, verdict, side, row, limit)
        else:
            self._told.refused(verdict)

    def _free(self, market: str) -> int:
        """What other markets and their resting entries leave free of the equity, 10⁻⁶ quote rounded down; exact, as the kernel has it."""
        with self._engine.ledger.reading() as tx:
            state = self._engine.state(tx, Actor.ALGO)
        account, none = state.account, Fraction(0)
        held = (Fraction(p.notional(account.marks[p.market])) / p.leverage for p in account.positions if p.market != market)
        resting = (Fraction(size * price) / leverage for other, _, size, price, leverage in state.entries_resting() if other != market)
        free = max(none, Fraction(account.equity) - sum(held, none)) - sum(resting, none)
        return max(0, int(free * 10**6))


def cloid_of(verdict: Verdict) -> str:
    """The first order of a verdict that was executed."""
    return str((verdict.order or {})["cloid"])


def closed_bar(columns: Sequence[Sequence[int]], row: int) -> Closed:
    """The high, low and close of a row of open, high, low, close columns."""
    return Closed(columns[1][row], columns[2][row], columns[3][row])
