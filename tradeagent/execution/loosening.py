"""What takes protection away: a looser stop, or a stop that goes. It is judged by the caps on risk, as the wallet would stand after it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal

from tradeagent.domain.money import ZERO, plain
from tradeagent.domain.names import Actor, OrderType, Rule
from tradeagent.domain.order import Rejection, RuleCheck
from tradeagent.execution.caps import Cap, market_risk_with, portfolio_risk_with, shown, trade_risk_of
from tradeagent.execution.exposure import held_risk, open_risk
from tradeagent.execution.orders import order_rows
from tradeagent.execution.planning import Plan
from tradeagent.execution.state import RiskState
from tradeagent.ledger.trading import NET, OrderRow


def levels_in_place(state: RiskState, market: str) -> list[OrderRow]:
    """What protects the caller's inventory, for a person everybody's; an executor keeps its own levels, wherever a person's are."""
    own, actor = state.scope.controller_id, state.scope.actor
    if actor is Actor.EXECUTOR:
        return [order for order in state.levels(market) if order.controller_id == own]
    return state.levels_of(market, NET if actor in (Actor.MANUAL, Actor.SYSTEM) else own)


def judge_change(state: RiskState, market: str, orders: Iterable[OrderRow]) -> tuple[Rejection | None, list[RuleCheck]]:
    """The caps on risk over the wallet with `orders` in place of its own; nothing is checked where open risk does not grow.

    An executor was judged as a whole when it was created.
    """
    after = replace(state, orders=tuple(orders))
    if state.scope.actor in (Actor.EXECUTOR, Actor.SYSTEM) or open_risk(after, market) <= open_risk(state, market):
        return None, []
    rejection: Rejection | None = None
    checks = []
    for cap in _caps(state, after, market):
        limit, value = shown(cap.limit), shown(cap.value)
        checks.append(RuleCheck(cap.rule, cap.passes, value, limit))
        if not cap.passes:
            rejection = rejection or Rejection(cap.rule, cap.message, cap.key, limit, value)
    return rejection, checks


def judge_stop_order(plan: Plan, state: RiskState) -> tuple[Rejection | None, list[RuleCheck]]:
    """A reduce-only stop order, for which the venue cancels older stops when they exceed the position together."""
    new = order_rows("", plan, state.wallet.name, state.scope, state.now_ms)[0]
    gone = _displaced(state, new)
    sign = -plan.proposal.side.sign
    tighter = [old.trigger for old in gone if old.trigger and plan.trigger and (old.trigger - plan.trigger) * sign > 0]
    if state.limits.flag("require_stops") and tighter and plan.trigger:
        rejection = only_tightens(plan.trigger, tighter[0])
        return rejection, [RuleCheck(Rule.PROTECTION, ok=False, value=rejection.value, limit=rejection.limit)]
    return judge_change(state, plan.proposal.market, [*(order for order in state.orders if order not in gone), new])


def bare_without(state: RiskState, order: OrderRow, must: Callable[[str], bool]) -> list[str]:
    """Controllers that `must` have stops and would lack one if an order went."""
    net = state.net.get(order.market)
    if net is None or order not in state.levels(order.market) or not OrderType(order.type).is_stop:
        return []
    rows = [row for row in state.positions if row.market == order.market and row.size and row.controller_id != NET]
    needing = [row for row in rows if must(row.controller_id)]
    needed = min(abs(net.size), sum((abs(row.size) for row in needing), ZERO))
    left = sum((size for _, size in state.stops(order.market)), ZERO) - (order.size - order.filled)
    return [row.controller_id for row in needing] if left < needed else []


def only_tightens(stop: Decimal, present: Decimal) -> Rejection:
    """Why a stop that must not loosen is refused."""
    message = f"a stop only tightens: {plain(stop)} is looser than {plain(present)}"
    return Rejection(Rule.PROTECTION, message, "require_stops", plain(present), plain(stop))


def _caps(state: RiskState, after: RiskState, market: str) -> Iterator[Cap]:
    risk = _trade(after, market)
    if risk > _trade(state, market):
        yield from trade_risk_of(after, risk, Decimal(1))
    yield from portfolio_risk_with(after, ZERO, Decimal(1))
    yield from market_risk_with(after, market, ZERO, Decimal(1))


def _trade(state: RiskState, market: str) -> Decimal:
    """What the caller's inventory loses at its stops, quote units."""
    is_persons = state.scope.actor is Actor.MANUAL
    held = state.net.get(market) if is_persons else state.row(market, state.scope.controller_id)
    if held is None or not held.size:
        return ZERO
    levels = levels_in_place(state, market)
    return held_risk(state, held, [(o.trigger, o.size - o.filled) for o in levels if o.trigger and OrderType(o.type).is_stop])


def _displaced(state: RiskState, new: OrderRow) -> Sequence[OrderRow]:
    """The stops that the venue cancels for a new one: the oldest, until they and it cover the position at most."""
    held = state.net.get(new.market)
    stops = [order for order in state.levels(new.market) if OrderType(order.type).is_stop]
    excess = new.size + sum((order.size - order.filled for order in stops), ZERO) - (abs(held.size) if held else ZERO)
    gone = []
    for order in sorted(stops, key=lambda stop: stop.oid or 0):
        if excess <= 0:
            break
        excess -= order.size - order.filled
        gone.append(order)
    return gone
