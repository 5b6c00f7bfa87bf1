"""Every rule of the door just inside its bound, at it, and just outside: equal passes a cap, equality trips a loss limit."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from world import AGENT, NOON, World, proposal

from tradeagent.domain.clock import MINUTE_MS
from tradeagent.domain.costs import FeeSchedule
from tradeagent.domain.names import Actor, DeploymentState, IntentKind, ReconcilePhase, Rule
from tradeagent.domain.order import Rejection, RuleCheck
from tradeagent.domain.session_hours import parse_session_hours
from tradeagent.execution.caps import largest_size
from tradeagent.execution.entry_times import EntryTimes
from tradeagent.execution.planning import Unshapely, plan
from tradeagent.execution.rules import CHECKS, OF_THE_WHOLE, judge
from tradeagent.execution.state import RiskState, Spend
from tradeagent.ledger.trading import NET, PositionRow, Reservation
from tradeagent.market.event_store import CalendarEvent

D = Decimal
NewWorld = Callable[..., World]


def verdict(state: RiskState, side: str = "buy", **stated: Any) -> tuple[Rejection | None, tuple[RuleCheck, ...]]:
    executor = stated.pop("executor", None)
    try:
        made = replace(plan(proposal(side, **stated), state, lambda draft: largest_size(draft, state)), executor=executor)
    except Unshapely as error:
        return error.rejection, ()
    return judge(made, state)


def rule_of(state: RiskState, side: str = "buy", **stated: Any) -> Rule | None:
    rejection, _ = verdict(state, side, **stated)
    return rejection.rule if rejection else None


def row(market: str, size: str, price: str, controller: str = NET, *, leverage: int = 1, entries: int = 0, **more: Any) -> PositionRow:
    return PositionRow("w", market, controller, D(size), D(size) * D(price), leverage=leverage, entries=entries, **more)


Change = Callable[[RiskState], RiskState]


def same(state: RiskState) -> RiskState:
    return state


def holding(*rows: PositionRow) -> Change:
    return lambda state: replace(state, positions=rows)


def market(**values: Any) -> Change:
    return lambda state: replace(state, markets={**state.markets, "BTC": replace(state.markets["BTC"], **values)})


def risk(**values: Any) -> Change:
    return lambda state: replace(state, risk=replace(state.risk, **values))


def later(ms: int) -> Change:
    return lambda state: replace(state, now_ms=state.now_ms + ms)


def reserved(symbol: str) -> Change:
    """An entry in a market that the door has let through and not sent yet."""
    kept = Reservation("before", "w", symbol, AGENT, AGENT, "buy", D(1), D(50), D(0), 1)
    return lambda state: replace(state, reservations=(kept,))


def both(*changes: Change) -> Change:
    def change(state: RiskState) -> RiskState:
        for one in changes:
            state = one(state)
        return state

    return change


@dataclass
class Bound:
    """One bound: a state and proposal that pass it, and the smallest step over it. A change of state may make the difference."""

    rule: Rule
    limits: dict[str, Any] = field(default_factory=dict)
    state: Change = same
    stated: dict[str, Any] = field(default_factory=lambda: {"size": 1})
    over: dict[str, Any] = field(default_factory=dict)
    over_state: Change = same
    key: str | None = None
    side: str = "buy"
    fees: FeeSchedule | None = None


def at_hours(text: str) -> Change:
    return lambda state: replace(state, entry_times=EntryTimes(parse_session_hours(text, "trading.session_hours")))


def near_news(ahead_ms: int) -> Change:
    """A lockout of 15 minutes, and one event so far ahead of the first instant."""
    event = CalendarEvent("cpi", NOON + ahead_ms, "CPI", 0.9, known=1)
    return lambda state: replace(state, entry_times=EntryTimes(lockout_min=15, events=(event,)))


LOSS = {"size": 1}
BOUNDS = {
    "lease": Bound(Rule.LEASE, over_state=lambda s: replace(s, token_is_current=False)),
    "scope of markets": Bound(Rule.SCOPE, over_state=lambda s: replace(s, scope=replace(s.scope, markets=frozenset({"ETH"})))),
    "scope of controllers": Bound(Rule.SCOPE, over={"controller_id": "somebody"}),
    "live gate": Bound(Rule.LIVE_GATE, over_state=lambda s: replace(s, wallet=replace(s.wallet, network="mainnet"))),
    "kill switch": Bound(Rule.KILL_SWITCH, over_state=lambda s: replace(s, kill_switch=True)),
    "wallet halted": Bound(Rule.HALTED, over_state=risk(halt="daily_loss")),
    "deployment halted": Bound(Rule.HALTED, over_state=lambda s: replace(s, deployment_state=DeploymentState.HALTED)),
    "paused": Bound(Rule.PAUSED, over_state=lambda s: replace(s, deployment_state=DeploymentState.PAUSED)),
    "phase": Bound(Rule.RECONCILING, over_state=lambda s: replace(s, phase=ReconcilePhase.FAILED)),
    "unknown intent here": Bound(
        Rule.RECONCILING,
        state=lambda s: replace(s, unknown_markets=frozenset({"ETH"})),
        over_state=lambda s: replace(s, unknown_markets=frozenset({"BTC"})),
    ),
    "session hours end": Bound(
        Rule.SESSION_HOURS, state=at_hours("06:00-12:01"), over_state=at_hours("06:00-12:00"), key="trading.session_hours"
    ),
    "session hours begin": Bound(
        Rule.SESSION_HOURS, state=at_hours("12:00-21:00"), over_state=at_hours("12:01-21:00"), key="trading.session_hours"
    ),
    "news ahead": Bound(
        Rule.NEWS_LOCKOUT, state=near_news(15 * MINUTE_MS + 1), over_state=near_news(15 * MINUTE_MS), key="trading.news_lockout_min"
    ),
    "news behind": Bound(
        Rule.NEWS_LOCKOUT, state=near_news(-15 * MINUTE_MS), over_state=near_news(1 - 15 * MINUTE_MS), key="trading.news_lockout_min"
    ),
    "unreadable calendar": Bound(
        Rule.NEWS_LOCKOUT,
        state=lambda s: replace(s, entry_times=EntryTimes(is_readable=False)),
        over_state=lambda s: replace(s, entry_times=EntryTimes(lockout_min=1, is_readable=False)),
        key="trading.news_lockout_min",
    ),
    "freshness": Bound(Rule.FRESHNESS, state=later(3 * 5 * MINUTE_MS + 30_000), over_state=later(1)),
    "price band below": Bound(
        Rule.SANITY, {"price_band_pct": 5}, stated={"type": "limit", "size": 1, "price": 95}, over={"price": "94.99"}, key="price_band_pct"
    ),
    "price band above": Bound(
        Rule.SANITY,
        {"price_band_pct": 5},
        stated={"type": "limit", "size": 1, "price": 105},
        over={"price": "105.01"},
        key="price_band_pct",
        side="sell",
    ),
    "bar range": Bound(Rule.SANITY, state=market(bar_range_pct=D(2)), over_state=market(bar_range_pct=D("2.0001"))),
    "stop required": Bound(
        Rule.PROTECTION, {"require_stops": True}, stated={"size": 1, "stop": 99}, over={"stop": None}, key="require_stops"
    ),
    "target required": Bound(
        Rule.PROTECTION, {"require_targets": True}, stated={"size": 1, "target": 101}, over={"target": None}, key="require_targets"
    ),
    "stop on the wrong side": Bound(Rule.PROTECTION, stated={"size": 1, "stop": "99.99"}, over={"stop": "100.01"}),
    "stop at the entry": Bound(Rule.PROTECTION, stated={"size": 1, "stop": "99.99"}, over={"stop": 100}),
    "target on the wrong side": Bound(Rule.PROTECTION, stated={"size": 1, "target": "100.01"}, over={"target": "99.99"}),
    "a short's stop": Bound(Rule.PROTECTION, stated={"size": 1, "stop": "100.01"}, over={"stop": "99.99"}, side="sell"),
    "a short's target": Bound(Rule.PROTECTION, stated={"size": 1, "target": "99.99"}, over={"target": "100.01"}, side="sell"),
    # 1,100 BTC at 100 on 10,000 of cash: liquidation where 10,000 + 1100 (p − 100) = 1100 p / 100, so p = 91.827364…
    "stop past liquidation": Bound(
        Rule.PROTECTION,
        {"max_position_pct": 1000, "max_total_exposure_pct": 1000},
        stated={"size": 990, "stop": "90.82"},
        over={"stop": "90.80"},
    ),
    "reward to risk": Bound(
        Rule.PROTECTION,
        {"min_reward_risk": 2},
        stated={"size": 1, "stop": 98, "target": 104},
        over={"target": "103.99"},
        key="min_reward_risk",
    ),
    # 2 × (0.045 % + 0.02 %) of 100 is 0.13; twice that is 0.26
    "stop to cost": Bound(
        Rule.PROTECTION,
        {"min_stop_to_cost": 2},
        stated={"size": 1, "stop": "99.74"},
        over={"stop": "99.75"},
        key="min_stop_to_cost",
        fees=FeeSchedule(),
    ),
    "confidence": Bound(Rule.CONFIDENCE, {"min_confidence": "0.6"}, stated={"size": 1, "confidence": "0.6"}, over={"confidence": "0.59"}),
    "confidence not stated": Bound(
        Rule.CONFIDENCE, {"min_confidence": "0.6"}, stated={"size": 1, "confidence": 1}, over={"confidence": None}, key="min_confidence"
    ),
    "conviction of a risk trade": Bound(
        Rule.CONFIDENCE,
        {"min_conviction": 60},
        stated={"risk_quote": 5, "stop": 95, "target": 110, "conviction": 60},
        over={"conviction": "59.9"},
        key="min_conviction",
    ),
    "a risk trade without its conviction": Bound(
        Rule.CONFIDENCE,
        {"min_conviction": 60},
        stated={"risk_quote": 5, "stop": 95, "target": 110, "conviction": 100},
        over={"conviction": None},
        key="min_conviction",
    ),
    "single order": Bound(Rule.SINGLE_ORDER, {"max_single_order_quote": 100}, over={"size": "1.001"}, key="max_single_order_quote"),
    "position in one market": Bound(
        Rule.POSITION_CAP, {"max_position_pct": 20}, stated={"size": 20}, over={"size": "20.001"}, key="max_position_pct"
    ),
    "position of the deployment": Bound(
        Rule.POSITION_CAP,
        {"max_position_size_quote": 500},
        state=holding(row("ETH", "4", "50"), row("ETH", "4", "50", AGENT)),
        stated={"size": 3},
        over={"size": "3.001"},
        key="max_position_size_quote",
    ),
    "exposure of the wallet, a short counted too": Bound(
        Rule.EXPOSURE_CAP,
        {"max_total_exposure_pct": 100},
        state=holding(row("ETH", "-100", "50")),
        stated={"size": 50},
        over={"size": "50.001"},
        key="max_total_exposure_pct",
    ),
    "leverage setting": Bound(
        Rule.LEVERAGE, {"max_leverage": 3}, stated={"size": 1, "leverage": 3}, over={"leverage": 4}, key="max_leverage"
    ),
    "leverage of the venue": Bound(
        Rule.LEVERAGE, {"max_leverage": 50}, stated={"size": 1, "leverage": 50}, over={"leverage": 51}, key="max_leverage"
    ),
    "leverage without a limit": Bound(
        Rule.LEVERAGE, {"max_leverage": None}, stated={"size": 1, "leverage": 50}, over={"leverage": 51}, key="max_leverage"
    ),
    "leverage of the whole": Bound(Rule.LEVERAGE, {"max_leverage": 2}, stated={"size": 200}, over={"size": "200.001"}, key="max_leverage"),
    "margin": Bound(Rule.MARGIN, stated={"size": 100, "leverage": 1}, over={"size": "100.001"}, key="margin"),
    "open executors": Bound(
        Rule.OPEN_EXECUTORS,
        {"max_open_executors": 5},
        state=lambda s: replace(s, live_executors=4),
        stated={"size": 1, "executor": "position"},
        over_state=lambda s: replace(s, live_executors=5),
        key="max_open_executors",
    ),
    "entries of executors, one each": Bound(
        Rule.OPEN_POSITIONS,
        {"max_positions_per_market": 3},
        state=holding(row("BTC", "2", "100"), row("BTC", "1", "100", f"{AGENT}/01J", entries=7), row("BTC", "1", "100", AGENT, entries=1)),
        over_state=holding(
            row("BTC", "2", "100"), row("BTC", "1", "100", f"{AGENT}/01J", entries=7), row("BTC", "1", "100", AGENT, entries=2)
        ),
        key="max_positions_per_market",
    ),
    "open positions": Bound(
        Rule.OPEN_POSITIONS,
        {"max_open_positions": 1},
        state=holding(row("BTC", "1", "100")),
        over_state=holding(row("ETH", "1", "50")),
        key="max_open_positions",
    ),
    "entries in a market": Bound(
        Rule.OPEN_POSITIONS,
        {"max_positions_per_market": 3},
        state=holding(row("BTC", "2", "100"), row("BTC", "1", "100", AGENT, entries=1), row("BTC", "1", "100", "manual", entries=1)),
        over_state=holding(row("BTC", "2", "100"), row("BTC", "1", "100", AGENT, entries=2), row("BTC", "1", "100", "manual", entries=1)),
        key="max_positions_per_market",
    ),
    "entries that are about to be sent": Bound(
        Rule.OPEN_POSITIONS,
        {"max_positions_per_market": 1},
        state=reserved("ETH"),
        over_state=reserved("BTC"),
        key="max_positions_per_market",
    ),
    "risk of a trade": Bound(
        Rule.TRADE_RISK,
        {"max_risk_per_trade_pct": "0.5"},
        stated={"size": 10, "stop": 95},
        over={"size": "10.001"},
        key="max_risk_per_trade_pct",
    ),
    "portfolio risk": Bound(
        Rule.PORTFOLIO_RISK,
        {"max_portfolio_risk_quote": 50},
        stated={"size": 10, "stop": 95},
        over={"size": "10.001"},
        key="max_portfolio_risk_quote",
    ),
    "portfolio risk after a loss of 30": Bound(
        Rule.PORTFOLIO_RISK,
        {"max_portfolio_risk_quote": 100},
        state=risk(penalty=D(30), penalty_ms=NOON),
        stated={"size": 14, "stop": 95},
        over={"size": "14.001"},
        key="max_portfolio_risk_quote",
    ),
    "market risk": Bound(
        Rule.MARKET_RISK,
        {"max_portfolio_risk_quote": 50, "max_market_risk_pct": 40},
        stated={"size": 4, "stop": 95},
        over={"size": "4.001"},
        key="max_market_risk_pct",
    ),
    "daily loss in quote": Bound(
        Rule.DAILY_LOSS,
        {"max_daily_loss_quote": 50},
        state=risk(cash=D("9950.000001")),
        over_state=risk(cash=D(9950)),
        key="max_daily_loss_quote",
    ),
    "daily loss in percent": Bound(
        Rule.DAILY_LOSS,
        {"max_daily_loss_pct": 2},
        state=risk(cash=D("9800.000001")),
        over_state=risk(cash=D(9800)),
        key="max_daily_loss_pct",
    ),
    "the tighter daily loss": Bound(
        Rule.DAILY_LOSS,
        {"max_daily_loss_quote": 50, "max_daily_loss_pct": "0.4"},
        state=risk(cash=D("9960.000001")),
        over_state=risk(cash=D(9960)),
        key="max_daily_loss_pct",
    ),
    "drawdown": Bound(
        Rule.DRAWDOWN, {"max_drawdown_pct": 10}, state=risk(cash=D("9000.000001")), over_state=risk(cash=D(9000)), key="max_drawdown_pct"
    ),
    "lockout": Bound(Rule.LOCKOUT, over_state=risk(lockout_ms=NOON)),
    "cooldown": Bound(
        Rule.COOLDOWN,
        {"cooldown_minutes": 30},
        state=holding(row("BTC", "0", "0", flat_ms=NOON - 30 * MINUTE_MS)),
        over_state=holding(row("BTC", "0", "0", flat_ms=NOON - 30 * MINUTE_MS + 1)),
        key="cooldown_minutes",
    ),
    "daily trades": Bound(
        Rule.DAILY_TRADES,
        {"max_daily_trades": 12},
        state=risk(entries_today={"agent": 11, "manual": 40}),
        over_state=risk(entries_today={"agent": 12}),
        key="max_daily_trades",
    ),
    "budget": Bound(
        Rule.BUDGET, state=lambda s: replace(s, spend=Spend(D("0.99"), D(1))), over_state=lambda s: replace(s, spend=Spend(D("1.01"), D(1)))
    ),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_a_rule_passes_at_its_bound_and_refuses_the_smallest_step_beyond(name: str, new_world: NewWorld) -> None:
    bound = BOUNDS[name]
    world = new_world(limits=bound.limits, slippage_bps=D(2) if bound.fees else D(0), **({"fees": bound.fees} if bound.fees else {}))
    inside = bound.state(world.state())
    assert rule_of(inside, bound.side, **bound.stated) is None
    outside = bound.over_state(inside)
    rejection, checks = verdict(outside, bound.side, **{**bound.stated, **bound.over})
    assert rejection is not None
    assert rejection.rule is bound.rule
    assert rejection.message
    if bound.key is not None:
        assert rejection.limit_key == bound.key
        assert rejection.limit is not None
    assert next(c.rule for c in checks if not c.ok) is bound.rule


def test_every_rule_that_is_checked_has_a_bound_in_the_table() -> None:
    assert {rule for rule, _, _ in CHECKS} == {bound.rule for bound in BOUNDS.values()}


def test_the_check_list_is_in_the_canonical_order_and_complete(new_world: NewWorld) -> None:
    rejection, checks = verdict(new_world().state(), size=1)
    order = list(Rule)
    assert rejection is None
    assert [c.rule for c in checks] == sorted((c.rule for c in checks), key=order.index)
    assert {c.rule for c in checks} == {Rule.SHAPE} | {rule for rule, _, _ in CHECKS}


def test_a_child_order_of_an_executor_is_judged_by_all_but_the_rules_of_the_whole(new_world: NewWorld) -> None:
    state = new_world().state()
    child = replace(state, scope=replace(state.scope, actor=Actor.EXECUTOR))
    _, checks = verdict(child, size=1)
    assert {c.rule for c in checks} == {Rule.SHAPE} | {rule for rule, _, _ in CHECKS} - OF_THE_WHOLE
    assert rule_of(replace(child, kill_switch=True), size=1) is Rule.KILL_SWITCH


def test_the_first_rejection_wins_and_the_whole_list_is_kept(new_world: NewWorld) -> None:
    state = replace(new_world(limits={"max_single_order_quote": 100}).state(), kill_switch=True)
    rejection, checks = verdict(state, size=2)
    assert rejection is not None and rejection.rule is Rule.KILL_SWITCH
    assert [c.rule for c in checks if not c.ok] == [Rule.KILL_SWITCH, Rule.SINGLE_ORDER]


ENTRY_ONLY_BREACHES: dict[str, Change] = {
    "kill switch": lambda s: replace(s, kill_switch=True),
    "halt": risk(halt="drawdown"),
    "halted deployment": lambda s: replace(s, deployment_state=DeploymentState.HALTED),
    "paused": lambda s: replace(s, deployment_state=DeploymentState.PAUSED),
    "reconciling": lambda s: replace(s, phase=ReconcilePhase.FAILED, unknown_markets=frozenset({"BTC"})),
    "closed hours": at_hours("13:00-14:00"),
    "news": near_news(0),
    "unreadable calendar": lambda s: replace(s, entry_times=EntryTimes(lockout_min=1, is_readable=False)),
    "stale mark": later(10**9),
    "wild bar": market(bar_range_pct=D(50)),
    "loss and drawdown": risk(cash=D(-5000)),
    "lockout": risk(lockout_ms=NOON),
    "spent": lambda s: replace(s, spend=Spend(D(9), D(1))),
    "traded enough": risk(entries_today={"agent": 10**6}),
}


@pytest.mark.parametrize("name", ENTRY_ONLY_BREACHES)
def test_an_exit_passes_where_an_entry_is_refused(name: str, new_world: NewWorld) -> None:
    world = new_world(default_limits=True, limits={"require_stops": False})
    held = holding(row("BTC", "10", "100"), row("BTC", "10", "100", AGENT, entries=1))
    state = ENTRY_ONLY_BREACHES[name](held(world.state()))
    assert rule_of(state, "buy", size="0.5") is not None
    for stated in ({"kind": IntentKind.CLOSE, "reduce_only": True}, {"size": 4}, {"size": 10}, {"reduce_only": True, "quote": 300}):
        assert rule_of(state, "sell", **stated) is None, stated


@pytest.mark.parametrize("name", ["lease", "scope of markets", "scope of controllers", "live gate"])
def test_an_exit_is_still_bound_by_ownership(name: str, new_world: NewWorld) -> None:
    bound = BOUNDS[name]
    held = holding(row("BTC", "10", "100"), row("BTC", "10", "100", AGENT, entries=1))
    state = bound.over_state(held(new_world().state()))
    stated = {"kind": IntentKind.CLOSE, "reduce_only": True, **bound.over}
    assert rule_of(state, "sell", **stated) is bound.rule


def test_the_budget_allows_exactly_its_cap(new_world: NewWorld) -> None:
    state = replace(new_world().state(), spend=Spend(D(1), D(1)))
    assert rule_of(state, size=1) is None


def test_a_cap_that_is_off_never_refuses(new_world: NewWorld) -> None:
    state = replace(new_world().state(), risk=replace(new_world().state().risk, entries_today={"agent": 500}, penalty=D(9999)))
    assert rule_of(state, size=500, stop=95) is None


def test_costs_of_zero_do_not_divide_by_zero(new_world: NewWorld) -> None:
    assert rule_of(new_world(limits={"min_stop_to_cost": 2}).state(), size=1, stop="99.99") is None


def test_min_conviction_does_not_touch_proposals_without_risk_sizing(new_world: NewWorld) -> None:
    assert rule_of(new_world(limits={"min_conviction": 0}).state(), size=1) is None


# --- max_ok is a promise -------------------------------------------------------------------------------------------------------

CAPS = {
    "max_single_order_quote": st.integers(20, 4000),
    "max_position_size_quote": st.integers(20, 4000),
    "max_position_pct": st.integers(1, 150),
    "max_total_exposure_pct": st.integers(1, 150),
    "max_leverage": st.integers(1, 5),
    "max_risk_per_trade_pct": st.sampled_from(["0.1", "0.5", "3", "5"]),
    "max_portfolio_risk_quote": st.integers(5, 400),
    "max_market_risk_pct": st.integers(10, 100),
}


@st.composite
def crowded_states(draw: st.DrawFn) -> tuple[dict[str, Any], Change, dict[str, Any], str]:
    """Limits, a wallet that holds and reserves something on either side, and a proposal."""
    chosen = {key: draw(values) for key, values in CAPS.items() if draw(st.booleans())}
    size = st.integers(-4000, 4000).map(lambda n: D(n) / 1000)
    btc, own, eth = draw(size), draw(size), draw(size)
    reserved = [
        Reservation(
            f"r{i}",
            "w",
            draw(st.sampled_from(["BTC", "ETH"])),
            draw(st.sampled_from([AGENT, "manual"])),
            AGENT,
            side,
            abs(draw(size)),
            D(at),
            D(1),
            5,
        )
        for i, (side, at) in enumerate(
            draw(st.lists(st.tuples(st.sampled_from(["buy", "sell"]), st.sampled_from([96, 100, 104])), max_size=2))
        )
    ]
    rows = [
        row(m, str(s), "100", c)
        for m, s, c in (("BTC", btc + own, NET), ("BTC", own, AGENT), ("BTC", btc, "manual"), ("ETH", eth, NET))
        if s
    ]
    change: Change = lambda state: replace(state, positions=tuple(rows), reservations=tuple(reserved))  # noqa: E731
    side = draw(st.sampled_from(["buy", "sell"]))
    stated: dict[str, Any] = {"size": D(draw(st.integers(100, 60_000))) / 1000}
    if draw(st.booleans()):
        stated |= {"type": "limit", "price": draw(st.sampled_from([96, 98, 100, 103]))}
    entry = stated.get("price", 100)
    if draw(st.booleans()):
        stated["stop"] = entry - 3 if side == "buy" else entry + 3
    return chosen, change, stated, side


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=crowded_states())
def test_the_largest_size_a_rejection_names_passes_that_rule(case: Any, base_state: RiskState, limits_of: Callable[..., Any]) -> None:
    chosen, change, stated, side = case
    state = replace(change(base_state), limits=limits_of(chosen))
    for _ in range(12):
        rejection, _ = verdict(state, side, **stated)
        if rejection is None or rejection.max_ok is None or rejection.rule is Rule.SHAPE or rejection.rule is Rule.OPEN_POSITIONS:
            return
        most = D(rejection.max_ok)
        assert most < stated["size"]
        again, checks = verdict(state, side, **{**stated, "size": most}) if most > 0 else (None, ())
        if not checks:
            return
        failed = {c.rule for c in checks if not c.ok}
        assert rejection.rule not in failed or (again is not None and again.limit_key != rejection.limit_key)
        more, wider = verdict(state, side, **{**stated, "size": most + D("0.001")})
        assert more is not None or rejection.rule not in {c.rule for c in wider}, "max_ok is the largest"
        stated = {**stated, "size": most}
    raise AssertionError("shrinking never ended")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=crowded_states(), wish=st.sampled_from([("pct_of_equity", 5), ("pct_of_equity", 400), ("risk_per_trade_pct", 2)]))
def test_an_automatic_size_is_cut_until_it_passes_every_size_cap(
    case: Any, wish: Any, base_state: RiskState, limits_of: Callable[..., Any]
) -> None:
    chosen, change, stated, side = case
    state = replace(change(base_state), limits=limits_of(chosen))
    del stated["size"]
    if wish[0] == "risk_per_trade_pct" and "stop" not in stated:
        stated["stop"] = 90 if side == "buy" else 110
    held = state.inventory("BTC")
    rejection, _ = verdict(state, side, **stated, **{wish[0]: wish[1]})
    if rejection is None:
        return
    assert rejection.rule is Rule.SHAPE or held != 0, rejection


@pytest.fixture(scope="module")
def base_state(tmp_path_factory: pytest.TempPathFactory) -> Any:
    world = World(tmp_path_factory.mktemp("rules"))
    yield world.state()
    world.done()


@pytest.fixture(scope="module")
def limits_of() -> Callable[..., Any]:
    from world import OPEN_LIMITS

    from tradeagent.domain.limits import resolve_limits
    from tradeagent.domain.names import LimitKind

    return lambda chosen: resolve_limits(LimitKind.AGENT, {**OPEN_LIMITS, **chosen})
