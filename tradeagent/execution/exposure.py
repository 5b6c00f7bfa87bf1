"""Worst-case exposure of a wallet with a plan added: what is held, resting and reserved, whichever way it would fill."""

from collections.abc import Sequence
from decimal import Decimal

from tradeagent.domain.margin import Account, liquidation_price, maintenance_margin
from tradeagent.domain.money import ZERO
from tradeagent.domain.names import Side
from tradeagent.domain.position import Position, apply_fill
from tradeagent.execution.planning import Plan
from tradeagent.execution.state import RiskState, belongs_to
from tradeagent.ledger.trading import PositionRow


def worst_notional(state: RiskState, market: str, *, added: Plan | None = None, deployment: str | None = None) -> Decimal:
    """max(|q + Σ buys|, |q − Σ sells|) at max(mark, limit) in one market; of one deployment with its executors when named. Quote units."""
    net = state.net.get(market)
    size = state.held_by(market, deployment) if deployment else (net.size if net else ZERO)
    buys = sells = ZERO
    price = state.mark(market) or ZERO
    for _, side, left, at, _ in state.entries_resting(market, deployment):
        price = max(price, at)
        if side == Side.BUY.value:
            buys += left
        else:
            sells += left
    if added is not None and added.proposal.market == market:
        price = max(price, added.entry)
        if added.proposal.side is Side.BUY:
            buys += added.size
        else:
            sells += added.size
    return max(abs(size + buys), abs(size - sells)) * price


def exposed_markets(state: RiskState, deployment: str | None = None) -> set[str]:
    """Markets with inventory or an entry that may still fill."""
    if deployment is None:
        held = set(state.net)
    else:
        held = {row.market for row in state.positions if row.size and belongs_to(row.controller_id, deployment)}
    return held | {entry[0] for entry in state.entries_resting(deployment=deployment)}


def total_worst_notional(state: RiskState, *, added: Plan | None = None, deployment: str | None = None) -> Decimal:
    """Σ over markets; long and short in different markets do not offset. Quote units."""
    markets = exposed_markets(state, deployment) | ({added.proposal.market} if added else set())
    return sum((worst_notional(state, m, added=added, deployment=deployment) for m in markets), ZERO)


def free_margin(state: RiskState) -> Decimal:
    """max(0, equity − initial margin) − resting and reserved entries at limit / leverage. Quote units."""
    resting = sum((size * price / leverage for _, _, size, price, leverage in state.entries_resting()), ZERO)
    return state.account.free - resting


def open_risk(state: RiskState, market: str) -> Decimal:
    """What the positions and pending entries of a market lose at their stops, quote units.

    0 where the stop is at or past the entry; min(notional, equity) for the part that has no stop.
    """
    held = state.net.get(market)
    risk = held_risk(state, held, state.stops(market)) if held is not None else ZERO
    return risk + sum((held.risk for held in state.reservations if held.market == market), ZERO) + _resting_risk(state, market)


def held_risk(state: RiskState, held: PositionRow, stops: Sequence[tuple[Decimal, Decimal]]) -> Decimal:
    """What one position loses at its `stops` (trigger, size), quote units; the loosest covers first."""
    entry, size = held.cost / held.size, abs(held.size)
    sign = 1 if held.size > 0 else -1
    risk = ZERO
    for trigger, covered in sorted(stops, reverse=sign < 0):
        part = min(size, covered)
        risk += max(ZERO, (entry - trigger) * sign) * part
        size -= part
    return risk + min(size * (state.mark(held.market) or entry), max(ZERO, state.equity))


def _resting_risk(state: RiskState, market: str) -> Decimal:
    """Open risk of entries that rest: to their own child stop, or their whole notional without one."""
    reserved = {held.intent_id for held in state.reservations}
    risk = ZERO
    for order in state.orders:
        if order.market != market or order.reduce_only or order.intent_id in reserved:
            continue
        left = order.size - order.filled
        price = order.price or order.trigger or state.mark(market) or ZERO
        stop = next((o.trigger for o in state.orders if o.parent_cloid == order.cloid and o.leg == "stop"), None)
        risk += abs(price - stop) * left if stop is not None else min(price * left, max(ZERO, state.equity))
    return risk


def total_open_risk(state: RiskState) -> Decimal:
    return sum((open_risk(state, market) for market in exposed_markets(state)), ZERO)


def liquidation_after(state: RiskState, plan: Plan) -> Decimal | None:
    """Liquidation price of the account that results when the plan fills at its entry; None when unreachable."""
    market = plan.proposal.market
    held = state.net.get(market)
    before = Position(market, held.size, held.cost, held.leverage) if held else Position(market, leverage=plan.leverage)
    booked = apply_fill(before, plan.proposal.side, plan.size, plan.entry)
    fee = plan.notional * state.fees.taker
    others = tuple(p for p in state.account.positions if p.market != market)
    account = Account(
        state.risk.cash + booked.realised_pnl - fee,
        others,
        state.account.marks,
        state.account.instruments,
    )
    available = account.equity - sum((_maintenance(state, p) for p in others), ZERO)
    return None if booked.position.is_flat else liquidation_price(booked.position, plan.instrument.tiers, available)


def _maintenance(state: RiskState, position: Position) -> Decimal:
    return maintenance_margin(state.markets[position.market].instrument.tiers, position.notional(state.account.marks[position.market]))
