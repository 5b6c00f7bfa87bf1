"""Rules that bound size: each says its limit, what this plan would make of it, and the largest size that passes. Equal passes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache

from tradeagent.domain.money import ZERO, plain, size_down
from tradeagent.domain.names import Rule, Side
from tradeagent.domain.order import Rejection
from tradeagent.execution.exposure import exposed_markets, free_margin, open_risk, total_open_risk, total_worst_notional, worst_notional
from tradeagent.execution.planning import Plan
from tradeagent.execution.state import RiskState

_SHOWN = Decimal("0.000001")
_WORST_FILL = Decimal("1.01")


@dataclass(frozen=True, slots=True)
class Cap:
    """One bound on a plan. `value` and `limit` in the unit of `key`; `room` is the largest base size under it."""

    rule: Rule
    key: str
    value: Decimal
    limit: Decimal
    room: Decimal
    message: str

    @property
    def passes(self) -> bool:
        return self.value <= self.limit

    def rejection(self, plan: Plan) -> Rejection:
        most = size_down(plan.instrument, max(ZERO, self.room))
        return Rejection(self.rule, self.message, self.key, shown(self.limit), shown(self.value), plain(most))


@lru_cache(maxsize=1024)
def shown(value: Decimal) -> str:
    """A figure for people: at most six decimals."""
    return plain(value.quantize(_SHOWN, rounding=ROUND_HALF_EVEN)) if abs(value) < Decimal(10) ** 20 else plain(value)


def _percent(part: Decimal, whole: Decimal) -> Decimal:
    return part / whole * 100 if whole > 0 else (ZERO if part == 0 else Decimal("1e9"))


def _room(plan: Plan, state: RiskState, deployment: str | None, others: Decimal, allowed: Decimal) -> Decimal:
    """Largest base size whose worst case, with `others` in other markets, stays at or under `allowed` (quote units)."""
    market, sign = plan.proposal.market, plan.proposal.side.sign
    net = state.net.get(market)
    held = (state.held_by(market, deployment) if deployment else (net.size if net else ZERO)) * sign
    ahead = against = ZERO
    price = max(state.mark(market) or ZERO, plan.entry)
    for _, side, left, at, _ in state.entries_resting(market, deployment):
        price = max(price, at)
        if Side(side) is plan.proposal.side:
            ahead += left
        else:
            against += left
    if abs(held - against) * price + others > allowed:
        return ZERO
    return (allowed - others) / price - (held + ahead)


def single_order(plan: Plan, state: RiskState) -> Iterator[Cap]:
    cap = state.limits.number("max_single_order_quote")
    if cap is not None:
        message = f"order of {shown(plan.notional)} USDC is above max_single_order_quote {shown(cap)}"
        yield Cap(Rule.SINGLE_ORDER, "max_single_order_quote", plan.notional, cap, cap / plan.entry, message)


def position_cap(plan: Plan, state: RiskState) -> Iterator[Cap]:
    market = plan.proposal.market
    worst = worst_notional(state, market, added=plan)
    percent = state.limits.number("max_position_pct")
    if percent is not None:
        value = _percent(worst, state.equity)
        room = _room(plan, state, None, ZERO, state.equity * percent / 100)
        message = f"{market} could reach {shown(worst)} USDC, {shown(value)} % of equity, above max_position_pct {shown(percent)}"
        yield Cap(Rule.POSITION_CAP, "max_position_pct", value, percent, room, message)
    quote = state.limits.number("max_position_size_quote")
    if quote is not None:
        owner = state.scope.owner
        total = total_worst_notional(state, added=plan, deployment=owner)
        others = total - worst_notional(state, market, added=plan, deployment=owner)
        room = _room(plan, state, owner, others, quote)
        message = f"{owner} could hold {shown(total)} USDC, above max_position_size_quote {shown(quote)}"
        yield Cap(Rule.POSITION_CAP, "max_position_size_quote", total, quote, room, message)


def exposure_cap(plan: Plan, state: RiskState) -> Iterator[Cap]:
    yield from _total_exposure(plan, state, Rule.EXPOSURE_CAP, "max_total_exposure_pct", Decimal(100))


def leverage_total(plan: Plan, state: RiskState) -> Iterator[Cap]:
    yield from _total_exposure(plan, state, Rule.LEVERAGE, "max_leverage", Decimal(1))


def _total_exposure(plan: Plan, state: RiskState, rule: Rule, key: str, unit: Decimal) -> Iterator[Cap]:
    cap = state.limits.number(key)
    if cap is None:
        return
    total = total_worst_notional(state, added=plan)
    value = _percent(total, state.equity) / 100 * unit
    others = total - worst_notional(state, plan.proposal.market, added=plan)
    room = _room(plan, state, None, others, state.equity * cap / unit)
    message = f"the wallet could hold {shown(total)} USDC against equity {shown(state.equity)}: {shown(value)} is above {key} {shown(cap)}"
    yield Cap(rule, key, value, cap, room, message)


def margin(plan: Plan, state: RiskState) -> Iterator[Cap]:
    held = state.net.get(plan.proposal.market)
    size = held.size if held else ZERO
    grown = max(ZERO, abs(size + plan.proposal.side.sign * plan.size) - abs(size))
    fee = plan.notional * state.fees.taker
    required = grown * plan.entry / plan.leverage + fee
    free = free_margin(state)
    message = f"needs {shown(required)} USDC of margin and fees, {shown(free)} is free"
    room = free / (plan.entry / plan.leverage + plan.entry * state.fees.taker)
    yield Cap(Rule.MARGIN, "margin", required, free, room, message)


def trade_risk(plan: Plan, state: RiskState) -> Iterator[Cap]:
    if plan.risk is not None:
        yield from trade_risk_of(state, plan.risk, _distance(plan))


def portfolio_risk(plan: Plan, state: RiskState) -> Iterator[Cap]:
    yield from portfolio_risk_with(state, _own_risk(plan, state), _distance(plan))


def market_risk(plan: Plan, state: RiskState) -> Iterator[Cap]:
    yield from market_risk_with(state, plan.proposal.market, _own_risk(plan, state), _distance(plan))


def trade_risk_of(state: RiskState, risk: Decimal, per_unit: Decimal) -> Iterator[Cap]:
    """The cap on what one trade may lose, quote units; a base unit of it loses `per_unit`."""
    percent = state.limits.number("max_risk_per_trade_pct")
    if percent is None:
        return
    value = _percent(risk, state.equity)
    message = f"risks {shown(risk)} USDC, {shown(value)} % of equity, above max_risk_per_trade_pct {shown(percent)}"
    yield Cap(Rule.TRADE_RISK, "max_risk_per_trade_pct", value, percent, state.equity * percent / 100 / per_unit, message)


def portfolio_risk_with(state: RiskState, added: Decimal, per_unit: Decimal) -> Iterator[Cap]:
    """The effective cap on the wallet's open risk with `added` quote units, `per_unit` lost by each base unit of it."""
    base = state.limits.number("max_portfolio_risk_quote")
    if base is None:
        return
    cap = state.penalty.effective_cap(base, state.now_ms)
    before = total_open_risk(state)
    after = before + added
    message = (
        f"open risk would be {shown(after)} USDC, above the effective portfolio cap {shown(cap)} (max_portfolio_risk_quote {shown(base)})"
    )
    yield Cap(Rule.PORTFOLIO_RISK, "max_portfolio_risk_quote", after, cap, (cap - before) / per_unit, message)


def market_risk_with(state: RiskState, market: str, added: Decimal, per_unit: Decimal) -> Iterator[Cap]:
    """The share of the effective cap that one market may have, with `added` quote units, `per_unit` lost by each base unit of it."""
    base, percent = state.limits.number("max_portfolio_risk_quote"), state.limits.number("max_market_risk_pct")
    if base is None or percent is None:
        return
    cap = state.penalty.effective_cap(base, state.now_ms) * percent / 100
    before = open_risk(state, market)
    after = before + added
    message = f"open risk in {market} would be {shown(after)} USDC, above {shown(percent)} % of the effective cap = {shown(cap)}"
    yield Cap(Rule.MARKET_RISK, "max_market_risk_pct", after, cap, (cap - before) / per_unit, message)


def _own_risk(plan: Plan, state: RiskState) -> Decimal:
    return plan.risk if plan.risk is not None else min(plan.notional, max(ZERO, state.equity))


def _distance(plan: Plan) -> Decimal:
    """Quote units lost per base unit at the stop; the whole price without one (or with a stop at the entry)."""
    return (abs(plan.entry - plan.stop) if plan.stop is not None else ZERO) or plan.entry


def open_positions(plan: Plan, state: RiskState) -> Iterator[Cap]:
    markets = state.limits.number("max_open_positions")
    market = plan.proposal.market
    if markets is not None:
        held = exposed_markets(state) | {market}
        message = f"{len(held)} markets would be open, above max_open_positions {shown(markets)}"
        yield Cap(Rule.OPEN_POSITIONS, "max_open_positions", Decimal(len(held)), markets, ZERO, message)
    entries = state.limits.number("max_positions_per_market")
    if entries is not None:
        value = Decimal(_entries_in(state, market) + 1)
        message = f"{value} entries would hold inventory in {market}, above max_positions_per_market {shown(entries)}"
        yield Cap(Rule.OPEN_POSITIONS, "max_positions_per_market", value, entries, ZERO, message)


def _entries_in(state: RiskState, market: str) -> int:
    """Entries that hold inventory in a market or may still fill; an executor is one, whatever its child orders."""
    sent = {order.intent_id for order in state.orders}
    held = {row.controller_id: row.entries for row in state.positions if row.market == market and row.size and row.controller_id}
    waiting = [order.controller_id for order in state.orders if order.market == market and not order.reduce_only]
    waiting += [kept.controller_id for kept in state.reservations if kept.market == market and kept.intent_id not in sent]
    executors = {controller for controller in (*held, *waiting) if "/" in controller}
    entries = sum(count for controller, count in held.items() if "/" not in controller)
    return len(executors) + entries + sum("/" not in controller for controller in waiting)


def open_executors(plan: Plan, state: RiskState) -> Iterator[Cap]:
    most = state.limits.number("max_open_executors")
    if most is not None and plan.executor is not None:
        value = Decimal(state.live_executors + 1)
        message = f"{value} executors would be alive, above max_open_executors {shown(most)}"
        yield Cap(Rule.OPEN_EXECUTORS, "max_open_executors", value, most, ZERO, message)


SIZE_CAPS: tuple[Callable[[Plan, RiskState], Iterator[Cap]], ...] = (
    single_order,
    position_cap,
    exposure_cap,
    leverage_total,
    margin,
    trade_risk,
    portfolio_risk,
    market_risk,
)


def largest_size(plan: Plan, state: RiskState) -> tuple[Decimal, str | None]:
    """The largest base size under every size cap and the limit that binds; the plan's own size when none does.

    Under the margin cap it is what the account still carries when the entry fills one per cent worse than decided.
    """
    most, bound_by = plan.size, None
    for caps in SIZE_CAPS:
        for cap in caps(plan, state):
            room = cap.room / _WORST_FILL if cap.rule is Rule.MARGIN else cap.room
            if room < most:
                most, bound_by = room, cap.key
    return most, bound_by
