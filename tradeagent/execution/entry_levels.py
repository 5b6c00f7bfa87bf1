"""The rule PROTECTION: what an entry's stop and target must be, and that they can rest beside what others hold."""

from collections.abc import Sequence

from tradeagent.domain.money import plain
from tradeagent.domain.names import Actor, ExecutorType, Rule, Side
from tradeagent.execution.caps import shown
from tradeagent.execution.exposure import liquidation_after
from tradeagent.execution.findings import PASS, Finding, refuse
from tradeagent.execution.planning import Plan, round_trip_cost
from tradeagent.execution.state import MANUAL_CONTROLLER, RiskState
from tradeagent.ledger.trading import NET


def protection(plan: Plan, state: RiskState) -> Finding:
    refused = _other_side(plan, state) or _missing_levels(plan, state) or _wrong_levels(plan)
    return refused or _stop_past_liquidation(plan, state) or _reward_risk(plan, state) or _stop_to_cost(plan, state)


def _other_side(plan: Plan, state: RiskState) -> Finding | None:
    if state.scope.actor in (Actor.MANUAL, Actor.SYSTEM):
        return None
    names = against(state, plan.proposal.market, plan.proposal.side, state.scope.controller_id)
    return refuse(Rule.PROTECTION, on_the_other_side(names, plan.proposal.market)) if names else None


def against(state: RiskState, market: str, side: Side, own: str = NET) -> list[str]:
    """Who but `own` holds the other side of a market, or waits to enter it; an entry would close that at the venue and open nothing.

    What a person has resting bars nobody: it closes what it meets.
    """
    holders = [row.controller_id for row in state.positions if row.market == market and row.size * side.sign < 0]
    waiting = [o.controller_id for o in state.orders if (o.market, o.side, o.leg) == (market, side.opposite.value, "entry")]
    others = holders + [name for name in waiting if name != MANUAL_CONTROLLER]
    return [name for name in others if name not in (NET, own)]


def on_the_other_side(names: Sequence[str], market: str) -> str:
    """Why nothing is entered against them."""
    return (
        f"{', '.join(dict.fromkeys(names))} is on the other side of {market}: the venue nets one position a market, "
        "so the stops of both could not rest; close that first"
    )


def _missing_levels(plan: Plan, state: RiskState) -> Finding | None:
    for key, level in (("require_stops", plan.stop), ("require_targets", plan.target)):
        if key == "require_targets" and (plan.executor == ExecutorType.GRID or state.scope.actor is Actor.EXECUTOR):
            continue  # each level of a grid takes its own profit; what an executor adds to was judged as a whole
        if state.limits.flag(key) and level is None:
            word = "stop" if key == "require_stops" else "target"
            return refuse(Rule.PROTECTION, f"an entry needs a {word} ({key} is on)", key=key, limit="true", value="none")
    return None


def _wrong_levels(plan: Plan) -> Finding | None:
    sign = plan.proposal.side.sign
    for word, level, direction in (("stop", plan.stop, -1), ("target", plan.target, 1)):
        if level is None:
            continue
        distance = (level - plan.entry) * sign * direction
        if distance == 0:
            return refuse(Rule.PROTECTION, f"the {word} {plain(level)} is at the entry {plain(plan.entry)}: zero distance")
        if distance < 0:
            side = "below" if sign * direction < 0 else "above"
            return refuse(Rule.PROTECTION, f"the {word} {plain(level)} must be {side} the entry {plain(plan.entry)}", value=plain(level))
    return None


def _stop_past_liquidation(plan: Plan, state: RiskState) -> Finding | None:
    if plan.stop is None:
        return None
    liquidation = liquidation_after(state, plan)
    if liquidation is None or (plan.stop - liquidation) * plan.proposal.side.sign > 0:
        return None
    return refuse(
        Rule.PROTECTION,
        f"the stop {plain(plan.stop)} is at or beyond the liquidation price {shown(liquidation)} of the resulting account",
        limit=shown(liquidation),
        value=plain(plan.stop),
    )


def _reward_risk(plan: Plan, state: RiskState) -> Finding | None:
    least = state.limits.number("min_reward_risk")
    if least is None or plan.stop is None or plan.target is None or state.scope.actor is Actor.EXECUTOR:
        return None
    ratio = abs(plan.target - plan.entry) / abs(plan.entry - plan.stop)
    if ratio >= least:
        return None
    message = f"reward/risk {shown(ratio)} is below min_reward_risk {shown(least)}"
    return refuse(Rule.PROTECTION, message, key="min_reward_risk", limit=shown(least), value=shown(ratio))


def _stop_to_cost(plan: Plan, state: RiskState) -> Finding:
    least = state.limits.number("min_stop_to_cost")
    if least is None or plan.stop is None:
        return PASS
    cost = round_trip_cost(plan.entry, state)
    if cost == 0:
        return PASS
    ratio = abs(plan.entry - plan.stop) / cost
    if ratio >= least:
        return Finding(shown(ratio), shown(least))
    message = f"the stop distance is {shown(ratio)} × the round-trip cost, below min_stop_to_cost {shown(least)}"
    return refuse(Rule.PROTECTION, message, key="min_stop_to_cost", limit=shown(least), value=shown(ratio))
