"""The door from proposal to fill: shapes, automatic sizes, flips, dry runs, who owns what, and what a proposal may not smuggle in."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hands import fills_at_most
from world import AGENT, NOON, STEP, WALLET, World, _flat, proposal

from tradeagent.brokers.protocol import Activity, CashFlow
from tradeagent.domain.clock import DAY_MS, HOUR_MS
from tradeagent.domain.costs import FeeSchedule
from tradeagent.domain.errors import VenueError
from tradeagent.domain.names import Actor, EventKind, ExecutorType, ExitReason, IntentKind, IntentState, Rule, VerdictKind
from tradeagent.domain.order import OrderReport, OrderRequest
from tradeagent.execution.executors.admission import Order, create_now
from tradeagent.execution.executors.specs import parse_spec
from tradeagent.execution.exposure import free_margin, open_risk
from tradeagent.ledger import events, notes, runs, trading
from tradeagent.runtime.control import execute_proposal

D = Decimal
NewWorld = Callable[..., World]
EXECUTED, REJECTED, UNKNOWN = VerdictKind.EXECUTED, VerdictKind.REJECTED, VerdictKind.UNKNOWN


# --- SHAPE -----------------------------------------------------------------------------------------------------------------

NOT_NUMBERS = ["NaN", "sNaN", "Infinity", "-Infinity", "-0", "0", "-1", "1e308", "1e-30", "9" * 40]


@pytest.mark.parametrize("name", ["size", "quote", "risk_quote", "pct_of_equity", "risk_per_trade_pct", "price", "stop", "target"])
def test_a_number_that_cannot_be_traded_is_refused_and_never_raises(name: str, new_world: NewWorld) -> None:
    world = new_world()
    for text in NOT_NUMBERS:
        stated: dict[str, Any] = {"size": 1, name: text} if name in ("price", "stop", "target") else {name: text, "stop": 95}
        if name == "price":
            stated["type"] = "limit"
        if (name, text) == ("stop", "1e-30"):
            continue  # a positive number: it rounds up to the smallest price, and the risk rules judge it
        verdict = world.submit(**stated)
        assert verdict.kind is REJECTED, text
        assert verdict.rule in (Rule.SHAPE, Rule.SANITY, Rule.PROTECTION), text
    assert world.orders() == [] and world.held() == 0


SHAPELESS: dict[str, dict[str, Any]] = {
    "no size": {},
    "two sizes": {"size": 1, "quote": 100},
    "off the step": {"size": "1.0005"},
    "below 10 USDC": {"size": "0.099"},
    "quote below 10 USDC": {"quote": "9.99"},
    "a limit without a price": {"size": 1, "type": "limit"},
    "a stop entry without a trigger": {"size": 1, "type": "stop_market"},
    "a market order with a price": {"size": 1, "price": 99},
    "a market order with a trigger": {"size": 1, "trigger": 101},
    "a limit with a trigger": {"size": 1, "type": "limit", "price": 99, "trigger": 101},
    "a stop order with a price": {"size": 1, "type": "stop_market", "trigger": 101, "price": 99},
    "a market order that only rests": {"size": 1, "tif": "alo"},
    "risk without a stop": {"risk_quote": 50},
    "risk with the stop at the entry": {"risk_quote": 50, "stop": 100},
    "unknown market": {"size": 1, "market": "DOGE"},
    "leverage below one": {"size": 1, "leverage": 0},
    "confidence above one": {"size": 1, "confidence": "1.01"},
    "confidence that is no number": {"size": 1, "confidence": "NaN"},
    "nothing to reduce": {"size": 1, "reduce_only": True},
    "an update": {"size": 1, "kind": IntentKind.UPDATE},
}


@pytest.mark.parametrize("name", SHAPELESS)
def test_a_shapeless_proposal_is_refused_with_words(name: str, new_world: NewWorld) -> None:
    verdict = new_world().submit(**SHAPELESS[name])
    assert verdict.rule is Rule.SHAPE
    assert verdict.rejection is not None and verdict.rejection.message
    assert verdict.checks[0].rule is Rule.SHAPE and not verdict.checks[0].ok


@pytest.mark.parametrize(
    ("side", "stated"),
    [
        ("buy", {"type": "limit", "price": "0.0004"}),
        ("sell", {"type": "take_profit_market", "trigger": "0.0004", "reduce_only": True}),
    ],
)
def test_a_price_that_rounds_to_nothing_is_none(side: str, stated: dict[str, Any], new_world: NewWorld) -> None:
    world = new_world()
    if "reduce_only" in stated:
        world.submit(size=1)
    verdict = world.submit(side, size=100_000, **stated)
    assert verdict.rule is Rule.SHAPE and verdict.rejection is not None
    assert verdict.rejection.message.endswith("rounds to 0.000, which is not a price")


def test_exactly_ten_usdc_is_enough(new_world: NewWorld) -> None:
    assert new_world().submit(size="0.1").kind is EXECUTED


def test_an_off_step_size_names_the_size_that_would_pass(new_world: NewWorld) -> None:
    rejection = new_world().submit(size="1.0005").rejection
    assert rejection is not None and rejection.max_ok == "1"


def test_a_market_without_bars_has_no_price_and_is_refused(new_world: NewWorld) -> None:
    world = new_world()
    world.engine.markets["ETH"] = type(world.engine.markets["ETH"])(world.engine.markets["ETH"].instrument)
    assert world.submit(market="ETH", size=1).rule is Rule.SHAPE
    assert world.submit(market="ETH", size=1, type="limit", price=50).rule is Rule.FRESHNESS


def test_a_small_close_is_allowed_when_it_closes_everything(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size="0.15")
    refused = world.submit("sell", size="0.05", reduce_only=True)
    assert refused.rule is Rule.SHAPE
    world.play(BTC=20)
    assert world.held() * world.price() < 10
    assert world.submit("sell", size="0.15", reduce_only=True).kind is EXECUTED
    assert world.held() == 0


def test_levels_are_rounded_toward_the_entry_and_limits_to_the_passive_side(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=1, type="limit", price="99.0099", stop="94.0011", target="110.0099")
    by_leg = {order.leg: order for order in world.orders()}
    assert (by_leg["entry"].price, by_leg["stop"].trigger, by_leg["target"].trigger) == (D("99.009"), D("94.002"), D("110.00"))


# --- sizes -----------------------------------------------------------------------------------------------------------------


def test_quote_and_risk_sizes_are_rounded_down_to_the_step(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(quote="123.456")
    world.submit(market="ETH", risk_quote=10, stop=47)
    assert (world.held("BTC"), world.held("ETH")) == (D("1.234"), D("3.333"))


def test_an_automatic_size_is_cut_to_the_tightest_cap_and_says_so(new_world: NewWorld) -> None:
    world = new_world(limits={"max_single_order_quote": 500, "max_position_pct": 20})
    verdict = world.submit(pct_of_equity=50)
    assert verdict.kind is EXECUTED and world.held() == 5
    with world.ledger.reading() as tx:
        found = trading.intent(tx, str(verdict.intent_id))
    assert found is not None
    assert (found["plan"]["requested"], found["plan"]["final"], found["plan"]["clipped_by"]) == ("50", "5", "max_single_order_quote")


def test_the_whole_equity_without_leverage_is_cut_to_what_the_account_carries_at_a_worse_fill(new_world: NewWorld) -> None:
    world = new_world(limits={"max_position_pct": 1000, "max_total_exposure_pct": 1000})
    equity = world.engine.book.equity()
    verdict = world.submit(pct_of_equity=100, leverage=1)
    assert verdict.kind is EXECUTED
    with world.ledger.reading() as tx:
        found = trading.intent(tx, str(verdict.intent_id))
    assert found is not None and found["plan"]["clipped_by"] == "margin"
    assert D("0.98") < D(found["plan"]["final"]) * 100 / equity < D("0.9901")


def test_the_cooldown_of_a_market_counts_from_the_fill_that_closed_it_and_from_no_other(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=2)
    assert world.engine.book.net("BTC").flat_ms is None
    world.submit("sell", size=1)
    assert world.engine.book.net("BTC").flat_ms is None
    world.submit("sell", size=1)
    assert (world.held(), world.engine.book.net("BTC").flat_ms) == (0, world.now)


def test_an_automatic_size_that_is_cut_below_ten_usdc_is_shapeless(new_world: NewWorld) -> None:
    verdict = new_world(limits={"max_single_order_quote": 9}).submit(pct_of_equity=50)
    assert verdict.rule is Rule.SHAPE
    assert verdict.rejection is not None and "max_single_order_quote" in verdict.rejection.message


def test_an_explicit_size_is_strict(new_world: NewWorld) -> None:
    verdict = new_world(limits={"max_single_order_quote": 500}).submit(quote="500.01", type="limit", price="99.99")
    assert verdict.kind is EXECUTED  # 5.001 lots would be 500.05: rounded down to the step it is 500 or less
    refused = new_world(limits={"max_single_order_quote": 500}).submit(size="5.001")
    assert refused.rule is Rule.SINGLE_ORDER and refused.rejection is not None and refused.rejection.max_ok == "5"


def test_risk_sizing_uses_the_wish_in_percent_of_equity(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(risk_per_trade_pct="0.1", stop=98)
    assert world.held() == 5  # 10 USDC of risk at 2 a unit


def test_a_price_below_one_is_a_price_and_one_that_rounds_to_nothing_is_none(new_world: NewWorld) -> None:
    world = new_world()
    assert world.submit(size=40, type="limit", price="0.5").rule is Rule.SANITY, "far off, and well formed"
    assert world.submit(size=40, type="limit", price="0.0001").rule is Rule.SHAPE


# --- flips -----------------------------------------------------------------------------------------------------------------


def intents(world: World) -> list[tuple[str, str]]:
    with world.ledger.reading() as tx:
        return [(e["data"]["kind"], e["data"]["state"]) for e in events.read(tx, kinds=["intent.state"], limit=1000)]


def test_a_flip_closes_and_then_opens_with_one_intent_each(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=2, stop=90)
    verdict = world.submit("sell", size=5, stop=110)
    assert verdict.kind is EXECUTED and world.held() == -3
    assert intents(world)[2:] == [("close", "pending"), ("close", "executed"), ("open", "pending"), ("open", "executed")]
    assert [f["exit_reason"] for f in world.fills()] == [None, "flip", None]
    said = verdict.as_dict()
    assert (said["closed"]["size"], said["order"]["size"], [fill["size"] for fill in said["fills"]]) == ("2", "3", ["2", "3"])
    assert [(o.leg, o.size) for o in world.orders()] == [("stop", 3)]


def test_a_refused_open_leaves_the_close_of_a_flip_standing(new_world: NewWorld) -> None:
    world = new_world(limits={"max_single_order_quote": 300})
    world.submit(size=3)
    verdict = world.submit("sell", size=7)
    assert verdict.rule is Rule.SINGLE_ORDER
    assert world.held() == 0 and world.trips()[0]["exit_reason"] == "flip"
    said = verdict.as_dict()
    assert (said["verdict"], said["closed"]["size"], [fill["size"] for fill in said["fills"]]) == ("rejected", "3", ["3"])
    assert "closed" not in world.submit(size=1).as_dict()


def test_a_flip_at_the_newest_bar_is_a_close_and_an_open_that_wait_together(new_world: NewWorld) -> None:
    world = new_world(live=True)
    world.submit(size=2)
    world.play()
    assert world.held() == 2
    verdict = world.submit("sell", size=4, stop=110)
    assert verdict.kind is EXECUTED and world.held() == 2
    assert sorted((o.leg, o.size, o.reduce_only) for o in world.orders()) == [("close", 2, True), ("entry", 2, False), ("stop", 2, True)]
    world.play()
    assert world.held() == -2 and world.differences() == []


def test_the_open_of_a_flip_is_judged_as_if_the_close_were_done(new_world: NewWorld) -> None:
    world = new_world(live=True, limits={"max_position_pct": 20})
    world.submit(size=20)
    world.play()
    assert world.submit("sell", size="40.001").rule is Rule.POSITION_CAP
    world.play()
    assert world.held() == 0
    world.submit(size=20)
    world.play()
    assert world.submit("sell", size=40).kind is EXECUTED


def test_the_closing_leg_of_a_flip_does_not_start_a_cooldown_for_its_own_open(new_world: NewWorld) -> None:
    world = new_world(limits={"cooldown_minutes": 30})
    world.submit(size=1)
    assert world.submit("sell", size=2).kind is EXECUTED and world.held() == -1
    world.close()
    assert world.submit(size=1).rule is Rule.COOLDOWN
    world.play_many(6)
    assert world.submit(size=1).kind is EXECUTED


@pytest.mark.parametrize("sized", [{"quote": 500}, {"pct_of_equity": 5}, {"risk_quote": 25, "stop": 105}])
def test_an_opposite_proposal_sized_in_money_reduces_or_flips_like_one_sized_in_base(sized: dict[str, Any], new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=8)
    assert world.submit("sell", **sized).kind is EXECUTED
    assert world.held() == 3 and intents(world)[-1] == ("reduce", "executed")
    assert world.submit("sell", **sized).kind is EXECUTED
    assert world.held() == -2
    assert [f["exit_reason"] for f in world.fills()] == [None, "signal", "flip", None]


def test_a_reduce_only_order_never_flips(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=2)
    assert world.submit("sell", size=9, reduce_only=True).kind is EXECUTED
    assert world.held() == 0


@pytest.mark.parametrize(
    ("stated", "bar", "reason"),
    [
        ({"type": "market"}, "100", "manual"),
        ({"type": "limit", "price": 105}, "110", "manual"),
        ({"type": "stop_market", "trigger": 95}, "90", "stop"),
        ({"type": "stop_limit", "trigger": 95, "price": 80}, "90", "stop"),
        ({"type": "take_profit_market", "trigger": 105}, "110", "target"),
    ],
    ids=lambda value: str(value.get("type")) if isinstance(value, dict) else None,
)
def test_what_a_person_exits_by_hand_is_booked_as_what_it_was(new_world: NewWorld, stated: dict[str, Any], bar: str, reason: str) -> None:
    world = new_world()
    world.submit(size=2)
    asked = proposal("sell", actor=Actor.MANUAL, size=2, reduce_only=True, kind=IntentKind.REDUCE, **stated)
    assert execute_proposal(world.engine, asked).kind is EXECUTED
    world.play(BTC=bar)
    assert world.held() == 0 and [f["exit_reason"] for f in world.fills()] == [None, reason]


# --- who owns what -----------------------------------------------------------------------------------------------------------


def test_an_agent_cannot_close_what_a_person_holds(new_world: NewWorld) -> None:
    world = new_world()
    world.manual(size=5)
    assert world.close().rule is Rule.SHAPE
    assert world.submit("sell", kind=IntentKind.CLOSE, reduce_only=True).rule is Rule.SHAPE
    world.submit(size=2)
    assert world.submit("sell", size=7, reduce_only=True).kind is EXECUTED
    assert (world.held(), world.held(controller="manual"), world.held(controller=AGENT)) == (5, 5, 0)


def test_a_person_closes_the_whole_and_each_trade_goes_to_its_owner(new_world: NewWorld) -> None:
    world = new_world(fees=FeeSchedule())
    world.submit(size="1.003")
    world.play(BTC=102)
    world.manual(size="2.001")
    world.play(BTC=101)
    assert world.close(actor=Actor.MANUAL).kind is EXECUTED
    assert world.held() == 0
    trips = {t["controller_id"]: t for t in world.trips()}
    assert trips[AGENT]["realised_pnl"] == D("1.003") and trips["manual"]["realised_pnl"] == D("-2.001")
    assert trips[AGENT]["deployment"] == AGENT
    risk = world.engine.book.risk
    assert sum(t["pnl"] for t in trips.values()) == risk.realised - risk.fees == world.equity - 10_000


def test_a_persons_limits_and_an_agents_limits_count_one_wallet(new_world: NewWorld) -> None:
    world = new_world(limits={"max_position_pct": 20}, manual={"max_position_pct": 30})
    assert world.manual(size=15).kind is EXECUTED
    refused = world.submit(size=6)
    assert refused.rule is Rule.POSITION_CAP and refused.rejection is not None and refused.rejection.max_ok == "5"
    assert world.submit(size=5).kind is EXECUTED
    assert world.manual(size="10.001").rule is Rule.POSITION_CAP
    assert world.manual(size=10).kind is EXECUTED


def test_the_size_of_a_deployment_is_its_own_with_its_executors_and_nobody_elses(new_world: NewWorld) -> None:
    world = new_world(limits={"max_position_size_quote": 500, "max_single_order_quote": None})
    world.manual(size=9)
    world.manual(market="ETH", size=4)
    assert world.submit(size=2).kind is EXECUTED, "what a person holds is not the agent's"
    order = Order(
        ExecutorType.ORDER, parse_spec(ExecutorType.ORDER, {"market": "ETH", "side": "buy", "amount": "2", "strategy": "market"}), ""
    )
    assert create_now(world.engine, order, Actor.AGENT)[1] is not None
    refused = world.submit(size="2.001")
    assert refused.rejection is not None
    assert (refused.rule, refused.rejection.value, refused.rejection.max_ok) == (Rule.POSITION_CAP, "500.1", "2")
    assert world.submit(size=2).kind is EXECUTED, "equal passes"


def test_resting_entries_of_both_sides_count_at_their_worst(new_world: NewWorld) -> None:
    world = new_world(limits={"max_position_pct": 20, "max_single_order_quote": 2000})
    assert world.submit(size="19.8", type="limit", price=99).kind is EXECUTED
    assert world.submit("sell", size=19, type="limit", price=101).kind is EXECUTED
    assert world.submit(size="0.3", type="limit", price=99).rule is Rule.POSITION_CAP
    refused = world.submit("sell", size=1, type="limit", price=101)
    assert refused.rule is Rule.POSITION_CAP and refused.rejection is not None and refused.rejection.max_ok == "0.801"


def test_an_entry_counts_once_in_its_market_however_many_fills_it_takes(new_world: NewWorld) -> None:
    world = new_world(limits={"max_positions_per_market": 2})
    fills_at_most(world, 2)
    assert world.submit(size=4, type="limit", price=99).kind is EXECUTED
    world.play(BTC=("100", "100", "98", "99"))
    fills_at_most(world, 2)
    world.play(BTC=("99", "99", "98", "99"))
    fills_at_most(world, None)
    assert (world.held(), len(world.fills())) == (4, 2)
    assert world.submit(size=1).kind is EXECUTED, "the second"
    world.play()
    refused = world.submit(size=1)
    assert refused.rejection is not None
    assert (refused.rule, refused.rejection.limit_key) == (Rule.OPEN_POSITIONS, "max_positions_per_market")
    assert world.close().kind is EXECUTED
    world.play()
    assert world.submit(size=1).kind is EXECUTED, "a flat market begins anew"


def test_entries_that_rest_take_their_margin_from_what_is_free(new_world: NewWorld) -> None:
    world = new_world(cash=1_000, limits={"max_leverage": 10})
    assert free_margin(world.state()) == 1_000
    assert world.submit(size=20, type="limit", price=90).kind is EXECUTED
    assert world.submit("sell", "ETH", size=10, type="limit", price=55).kind is EXECUTED
    assert free_margin(world.state()) == 1_000 - 20 * 90 / D(10) - 10 * 55 / D(10)


def test_many_orders_just_under_the_single_cap_stop_at_the_position_cap(new_world: NewWorld) -> None:
    world = new_world(default_limits=True, limits={"max_positions_per_market": 20, "max_market_risk_pct": 100, "max_daily_trades": 100})
    accepted = 0
    for _ in range(20):
        accepted += world.submit(size="0.99", stop=99).kind is EXECUTED
    assert accepted == 5 and world.held() * 100 <= 500


@pytest.mark.parametrize(("side", "sign"), [("buy", 1), ("sell", -1)])
def test_open_risk_is_what_is_lost_at_the_stops_and_all_of_what_has_none(side: str, sign: int, new_world: NewWorld) -> None:
    world = new_world(cash=2_000)
    assert world.submit(side, size=10, leverage=10).kind is EXECUTED
    assert open_risk(world.state(), "BTC") == 1_000, "nothing stops it"
    other = "sell" if sign > 0 else "buy"
    world.submit(other, size=4, type="stop_market", trigger=100 - 5 * sign, reduce_only=True)
    assert open_risk(world.state(), "BTC") == 4 * 5 + 600
    world.submit(other, size=3, type="stop_market", trigger=100 - 2 * sign, reduce_only=True)
    assert open_risk(world.state(), "BTC") == 4 * 5 + 3 * 2 + 300
    world.play(BTC=100 + 3 * sign)
    assert open_risk(world.state(), "BTC") == 4 * 5 + 3 * 2 + 3 * (100 + 3 * sign), "the bare part at the mark"
    world.submit(other, size=3, type="stop_market", trigger=100 + sign, reduce_only=True)
    assert open_risk(world.state(), "BTC") == 4 * 5 + 3 * 2, "a stop past the entry risks nothing"
    assert open_risk(world.state(), "ETH") == 0
    poor = new_world(cash=100)
    poor.submit(side, size=10, leverage=20)
    assert open_risk(poor.state(), "BTC") == 100, "no more than there is"


def test_the_feed_tells_how_a_position_opens_changes_and_closes(new_world: NewWorld) -> None:
    world = new_world()
    for side, size in (("buy", 2), ("buy", 1), ("sell", 2), ("sell", 1)):
        assert world.submit(side, size=size, reduce_only=side == "sell").kind is EXECUTED
    with world.ledger.reading() as tx:
        kinds = ["position.opened", "position.changed", "position.closed"]
        found = events.read(tx, wallet=WALLET, kinds=kinds, limit=100)
    assert [(event["kind"], event["data"]["size"]) for event in found] == [
        ("position.opened", "2"),
        ("position.changed", "3"),
        ("position.changed", "1"),
        ("position.closed", "0"),
    ]
    assert {(event["subject"], event["deployment"], event["data"]["price"]) for event in found} == {("BTC", AGENT, "100")}


def test_the_feed_tells_a_refusal_with_the_rule_its_limit_and_what_would_pass(new_world: NewWorld) -> None:
    world = new_world(limits={"max_single_order_quote": 100})
    verdict = world.submit(size=2)
    with world.ledger.reading() as tx:
        [event] = events.read(tx, wallet=WALLET, kinds=["proposal.rejected"], limit=100)
    assert event["subject"] == verdict.intent_id and (event["actor"], event["deployment"]) == ("agent", AGENT)
    told = {key: event["data"][key] for key in ("market", "side", "rule", "limit_key", "limit", "value", "max_ok")}
    assert told == {
        "market": "BTC",
        "side": "buy",
        "rule": "SINGLE_ORDER",
        "limit_key": "max_single_order_quote",
        "limit": "100",
        "value": "200",
        "max_ok": "1",
    }


@pytest.mark.parametrize(("stop", "warns"), [("99.742", False), ("99.743", True), ("98", False), ("100.25", True), ("100.26", False)])
def test_a_stop_nearer_than_twice_the_round_trip_cost_is_warned_about(stop: str, warns: bool, new_world: NewWorld) -> None:
    """2 × (0.045 % + 0.0195 %) of 100 is 0.129; twice that 0.258."""
    world = new_world(dry_run=True, fees=FeeSchedule(D("0.00045"), D(0)), slippage_bps=D("1.95"))
    order = world.submit("buy" if D(stop) < 100 else "sell", size=1, stop=stop).order or {}
    words = f"stop distance {abs(100 - D(stop))} is under 2 × the round-trip cost 0.129"
    assert order["warnings"] == ([words] if warns else [])
    strict = new_world(dry_run=True, fees=FeeSchedule(D("0.00045"), D(0)), slippage_bps=D("1.95"), limits={"min_stop_to_cost": 2})
    judged = strict.submit("buy" if D(stop) < 100 else "sell", size=1, stop=stop)
    assert judged.rule is (Rule.PROTECTION if warns else Rule.DRY_RUN), "where the limit is on, it is a rule"


def test_a_waiting_entrys_stop_does_not_cover_what_is_held_without_one(new_world: NewWorld) -> None:
    world = new_world(limits={"max_portfolio_risk_quote": 1000})
    world.manual(size=8)  # no stop: 800 at risk
    assert world.submit(size=10, type="limit", price=99, stop=98).kind is EXECUTED  # 10 more
    refused = world.submit(size=1, stop=100 - 50, market="ETH", type="limit", price=49)
    assert refused.rule is Rule.PROTECTION  # the wrong side, named first
    refused = world.submit(market="ETH", size=200, stop=49)
    assert refused.rule is Rule.PORTFOLIO_RISK
    assert refused.rejection is not None and refused.rejection.max_ok == "190"


# --- dry runs, leases, unknown outcomes -----------------------------------------------------------------------------------------


def rows(world: World) -> int:
    with world.ledger.reading() as tx:
        tables = ("intents", "orders", "fills", "events", "reservations", "incidents")
        return sum(int(tx.exec_driver_sql(f"SELECT count(*) FROM {t}").scalar_one()) for t in tables)


def test_a_dry_run_judges_but_sends_and_records_nothing(new_world: NewWorld) -> None:
    world = new_world(dry_run=True)
    before = rows(world)
    assert world.submit(size=1).rule is Rule.DRY_RUN
    assert world.submit(size="0.01").rule is Rule.SHAPE
    assert world.submit(size=1, leverage=99).rule is Rule.LEVERAGE
    assert rows(world) == before
    assert world.paper.account().positions == {} and not world.paper.account().open_cloids


def test_a_door_whose_lease_was_taken_cannot_send(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=1, stop=95)
    with world.ledger.transaction() as tx:
        runs.take_lease(tx, WALLET, "somebody else", None, world.now)
    assert world.submit(size=1).rule is Rule.LEASE
    assert world.close().rule is Rule.LEASE
    assert world.held() == 1


class Flaky:
    """A broker whose answers get lost: before the order arrived, or after."""

    def __init__(self, inner: Any, *, arrives: bool) -> None:
        self._inner = inner
        self._arrives = arrives

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def place(self, orders: list[OrderRequest]) -> list[OrderReport]:
        if self._arrives:
            self._inner.place(orders)
        raise VenueError("connection reset")


@pytest.mark.parametrize("arrives", [True, False])
def test_an_unknown_outcome_blocks_the_market_until_the_venue_is_asked(arrives: bool, new_world: NewWorld) -> None:
    world = new_world(limits={"max_total_exposure_pct": 20, "max_daily_trades": 12})
    world.engine.broker = Flaky(world.paper, arrives=arrives)
    verdict = world.submit(size=10, stop=95)
    assert verdict.kind is UNKNOWN
    world.engine.broker = world.paper
    assert world.submit(size=1).rule is Rule.RECONCILING
    over = world.submit(market="ETH", size="20.001")
    assert over.rule is Rule.EXPOSURE_CAP, "what is unknown keeps its reservation"
    assert world.restart().value == "consistent"
    assert world.held() == (10 if arrives else 0)
    with world.ledger.reading() as tx:
        found = trading.intent(tx, str(verdict.intent_id))
        assert trading.active_reservations(tx, WALLET) == []
        assert [i["code"] for i in notes.list_incidents(tx, only_open=True)] == []
    assert found is not None and found["state"] == (IntentState.EXECUTED if arrives else IntentState.CANCELLED).value
    assert world.engine.book.risk.entries_today.get("agent", 0) == (1 if arrives else 0)
    assert len(world.orders(leg="stop")) == (1 if arrives else 0)
    assert world.submit(size=1).kind is EXECUTED


@pytest.mark.parametrize("arrives", [True, False])
def test_a_crash_between_intent_and_outcome_is_resolved_at_the_next_start(arrives: bool, new_world: NewWorld) -> None:
    world = new_world()

    class Crash(Exception):
        pass

    def crash(*_: Any, **__: Any) -> None:
        raise Crash

    if arrives:
        world.engine.sync = crash  # type: ignore[method-assign]
    else:
        world.engine.before_send = crash
    with pytest.raises(Crash):
        world.submit(size=3, stop=95, target=110)
    with world.ledger.reading() as tx:
        assert [i["state"] for i in trading.open_intents(tx, WALLET)] == ["pending"]
    assert world.restart().value == "consistent"
    assert world.held() == (3 if arrives else 0)
    assert world.differences() == []
    assert {o.leg for o in world.orders()} == ({"stop", "target"} if arrives else set())


def test_a_venues_no_is_a_rejection_that_holds_nothing(new_world: NewWorld) -> None:
    world = new_world(slippage_bps=D(100))
    verdict = world.submit(size=100, leverage=1)
    assert verdict.kind is REJECTED and verdict.rejection is None and "margin" in verdict.message.lower()
    with world.ledger.reading() as tx:
        found = trading.intent(tx, str(verdict.intent_id))
        assert trading.active_reservations(tx, WALLET) == [] and trading.live_orders(tx, WALLET) == []
    assert found is not None and found["state"] == "venue_rejected"
    assert world.engine.book.risk.entries_today == {}


def test_leverage_one_really_reaches_the_venue(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=50, leverage=1)
    assert world.paper.free() == 5000
    assert world.state().account.free == 5000


# --- the ledger follows the venue ------------------------------------------------------------------------------------------------


def test_the_same_news_twice_or_late_is_booked_once(new_world: NewWorld) -> None:
    world = new_world(fees=FeeSchedule())
    world.submit(size=4, stop=95)
    world.play(BTC=("100", "100", "94", "94"))
    cash, fills, trips = world.engine.book.risk.cash, world.fills(), world.trips()
    everything = world.paper.activity_since(0)
    assert len(fills) == 2 and len(trips) == 1
    for order in (everything, everything[::-1]):
        with world.engine.transaction() as tx:
            world.engine.sync(tx, order)
            world.engine.book.flush(tx)
    assert world.engine.book.risk.cash == cash and world.fills() == fills and world.trips() == trips
    assert world.held() == 0 and world.differences() == []


def test_news_of_a_bar_never_skips_older_news_that_is_stamped_later(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=1)
    start = world.engine.book.risk.activity_cursor
    world.play(BTC=101)
    world.paper.transfer(D(5))
    world.play(BTC=102)
    assert world.engine.book.risk.activity_cursor == start + 1
    assert world.differences() == []
    assert [item.seq for item in world.engine.news(until_ms=0)] == []


def test_a_failed_transaction_leaves_the_book_as_the_ledger_has_it(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=2, stop=95)
    before = (world.engine.book.risk, world.engine.book.rows)
    world.paper.place([OrderRequest("0x99", "BTC", proposal("sell").side, proposal().type, D(2), reduce_only=True, at_mark=True)])
    with pytest.raises(RuntimeError), world.engine.transaction() as tx:
        world.engine.sync(tx)
        assert world.held() == 0
        raise RuntimeError("the disk is gone")
    assert (world.engine.book.risk, world.engine.book.rows) == before
    with world.engine.transaction() as tx:
        world.engine.sync(tx)
        world.engine.book.flush(tx)
    assert world.differences() == [] and len(world.fills()) == 2


def test_a_fill_without_an_owner_is_unmanaged(new_world: NewWorld) -> None:
    world = new_world()
    world.paper.place([OrderRequest("0x1", "BTC", proposal().side, proposal().type, D(1), at_mark=True)])
    world.play()
    assert world.held(controller="unmanaged") == 1 and world.differences() == []


def test_funding_is_paid_at_the_hour_and_split_by_inventory(new_world: NewWorld) -> None:
    world = new_world()
    world.feed.rates["BTC"] = [(NOON + HOUR_MS, 100_000), (NOON + 2 * HOUR_MS, -50_000)]  # 0.001 % and −0.0005 %
    world.submit(size=3)
    world.manual(size=1)
    world.play_many(13)
    assert world.engine.book.risk.funding == D("0.004") and world.equity == D(10_000) - D("0.004")
    assert world.engine.book.net("BTC").funding == D("0.004"), "what the open position has paid so far"
    world.close()
    world.close(actor=Actor.MANUAL)
    assert {t["controller_id"]: t["funding"] for t in world.trips()} == {AGENT: D("0.003"), "manual": D("0.001")}
    assert [t["pnl"] for t in world.trips()] == [D("-0.003"), D("-0.001")]
    world.play_many(12)
    assert world.engine.book.risk.funding == D("0.004"), "a flat account pays nothing"


def test_a_short_receives_a_positive_rate(new_world: NewWorld) -> None:
    world = new_world()
    world.feed.rates["ETH"] = [(NOON + HOUR_MS, 100_000)]
    world.submit("sell", market="ETH", size=2)
    world.play_many(13)
    assert world.equity == D("10000.001") and world.differences() == []


def test_daily_trades_count_entries_and_start_again_at_midnight(new_world: NewWorld) -> None:
    world = new_world(limits={"max_daily_trades": 2}, start_ms=NOON + 12 * HOUR_MS - 2 * STEP)
    assert [world.submit(size=1).kind for _ in range(2)] == [EXECUTED, EXECUTED]
    world.submit("sell", size=1, reduce_only=True)
    assert world.submit(size=1).rule is Rule.DAILY_TRADES
    world.play()
    assert world.submit(size=1).rule is Rule.DAILY_TRADES
    world.play()
    assert world.now % DAY_MS == 0
    assert world.submit(size=1).kind is EXECUTED
    assert world.engine.book.risk.entries_today == {"agent": 1}


def test_a_persons_entries_do_not_use_up_an_agents(new_world: NewWorld) -> None:
    world = new_world(limits={"max_daily_trades": 1})
    world.manual(size=1)
    world.manual(size=1)
    assert world.submit(size=1).kind is EXECUTED and world.submit(size=1).rule is Rule.DAILY_TRADES


async def test_submit_off_the_loop_is_one_at_a_time(new_world: NewWorld) -> None:
    import asyncio

    world = new_world(limits={"max_position_pct": 10})
    world.engine._in_thread = True
    verdicts = await asyncio.gather(*(world.engine.submit(proposal(size=3), Actor.AGENT) for _ in range(6)))
    assert [v.kind for v in verdicts].count(EXECUTED) == 3 and world.held() == 9


def test_a_liquidation_is_booked_once_with_an_incident(new_world: NewWorld) -> None:
    world = new_world(cash=1000, fees=FeeSchedule())
    world.submit(size=100, leverage=20)
    world.play(BTC=("100", "100", "90", "90"))
    assert world.held() == 0 and world.differences() == []
    assert {f["exit_reason"] for f in world.fills()} >= {ExitReason.LIQUIDATION.value}
    with world.ledger.reading() as tx:
        assert "liquidation" in [i["code"] for i in notes.list_incidents(tx)]
    assert world.restart().value == "consistent"


def test_a_ledger_that_differs_from_the_venue_fails_and_blocks_entries(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=1)
    with world.ledger.transaction() as tx:
        tx.exec_driver_sql("UPDATE risk_state SET cash = '9999.999999'")
        tx.exec_driver_sql("UPDATE positions SET size = '1.5' WHERE controller_id = ''")
    assert world.restart().value == "failed"
    assert len(world.differences()) == 2
    assert world.submit(size=1).rule is Rule.RECONCILING
    assert world.close().kind is EXECUTED


def test_the_largest_size_is_counted_at_the_highest_price_an_order_rests_at(new_world: NewWorld) -> None:
    world = new_world(limits={"max_position_pct": 20})
    world.manual("sell", size=1, type="limit", price=105)
    refused = world.submit(size=20)
    assert refused.rule is Rule.POSITION_CAP and refused.rejection is not None and refused.rejection.max_ok == "19.047"  # 2,000 / 105
    assert world.submit(size="19.047").kind is EXECUTED


def test_news_waits_behind_older_news_of_a_later_instant(new_world: NewWorld) -> None:
    world = new_world()

    class Unsorted:
        def activity_since(self, cursor: int) -> list[Activity]:
            return [Activity(9, CashFlow(NOON + 600, D(1))), Activity(10, CashFlow(NOON + 300, D(1)))]

    world.engine.broker = Unsorted()  # type: ignore[assignment]
    assert world.engine.news(until_ms=NOON + 400) == [], "taking the second alone would skip the first for ever"
    assert len(world.engine.news(until_ms=NOON + 600)) == 2


def test_funding_due_at_the_open_of_the_only_bar_that_is_stored_is_paid(new_world: NewWorld) -> None:
    world = new_world(live=True)
    world.submit(size=3)
    world.play_many(12)
    world.feed.bars["BTC"], world.feed.rates["BTC"] = [], [(NOON, 100_000), (NOON + HOUR_MS, 100_000)]
    world.restart()
    world.feed.bars["BTC"] = [_flat("BTC", NOON + HOUR_MS, 100_000)]
    world.clock.advance_to(world.now + STEP)
    world.playback.advance(world.now)
    assert world.engine.book.risk.funding == D("0.003"), "the hour before is not this bar's"


def test_funding_belongs_to_the_deployment_that_alone_held_it(new_world: NewWorld) -> None:
    world = new_world()
    world.feed.rates["BTC"] = [(NOON + hour * HOUR_MS, 100_000) for hour in (1, 2, 3)]
    world.submit(size=3)
    world.play_many(13)
    world.manual(size=1)
    world.play_many(12)
    world.close()
    world.play_many(12)
    with world.ledger.reading() as tx:
        told = [event["deployment"] for event in events.read(tx, kinds=(EventKind.FUNDING.value,))]
    assert told == [AGENT, None, None], "alone, together with a person, and a person alone"


def test_the_parts_of_a_funding_payment_add_up_to_it(new_world: NewWorld) -> None:
    world = new_world()
    world.feed.rates["BTC"] = [(NOON + HOUR_MS, 125_017)]
    world.submit(size="1.003")
    world.manual(size="2.001")
    world.play_many(13)
    world.close()
    world.close(actor=Actor.MANUAL)
    assert world.engine.book.risk.funding == D("0.003755")
    assert {t["controller_id"]: t["funding"] for t in world.trips()} == {AGENT: D("0.001253"), "manual": D("0.002502")}


def test_a_backstop_takes_the_account_and_the_ledger_says_so(new_world: NewWorld) -> None:
    world = new_world(cash=1000)
    world.submit(size=100, leverage=20)
    world.play()
    world.play(BTC=("85", "85", "85", "85"))
    assert world.held() == 0 and world.equity == 0 and world.differences() == []
    assert world.restart().value == "consistent" and world.differences() == []


def test_an_order_the_venue_lost_is_closed_in_the_ledger(new_world: NewWorld) -> None:
    world = new_world()
    verdict = world.submit(size=1, type="limit", price=90)
    with world.ledger.transaction() as tx:
        tx.exec_driver_sql("UPDATE orders SET cloid = '0xnobody'")
    assert world.restart().value == "consistent"
    assert verdict.kind is EXECUTED and verdict.order is not None
    [order] = world.orders()
    assert (order.cloid, order.controller_id) == (verdict.order["cloid"], "unmanaged"), "the one that rests is nobody's any more"


def test_a_resting_entry_holds_the_margin_of_the_leverage_it_was_sent_with(new_world: NewWorld) -> None:
    """160 × 99 at 2x are 7,920 of 10,000 USDC."""
    world = new_world()
    assert world.submit(size=160, type="limit", price=99, leverage=2, stop=90).kind is EXECUTED
    refused = world.submit(market="ETH", size=42, leverage=1, stop=45)
    assert refused.rule is Rule.MARGIN and refused.rejection is not None and "2080" in refused.rejection.message.replace(",", "")
    assert world.submit(market="ETH", size=41, leverage=1, stop=45).kind is EXECUTED


def test_a_limit_beyond_what_is_held_rests_as_a_close_and_opens_nothing_behind_it(new_world: NewWorld) -> None:
    world = new_world()
    assert world.submit("sell", size=10, stop=110).kind is EXECUTED
    verdict = world.submit(size=18, type="limit", price=95, stop=90)
    assert verdict.kind is EXECUTED and "not sent until it has filled" in verdict.message
    assert [(order.leg, order.size, order.reduce_only) for order in world.orders() if order.type == "limit"] == [("close", D(10), True)]
    world.play(BTC=("100", "100", "94", "94"))
    assert (world.held(), world.orders()) == (0, [])
