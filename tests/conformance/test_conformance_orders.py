"""Conformance of a broker, first part: every type and time in force, reduce-only, and refusals that are reports."""

from decimal import Decimal
from typing import Any

import pytest
from stage import Stage, buy, fills, held, order, sell, state_of, stop, target

from tradeagent.brokers.protocol import SimulatedBroker
from tradeagent.domain.names import Liquidity, OrderState, OrderType, Side, Tif

D = Decimal
SIDES = pytest.mark.parametrize("side", list(Side))
NEAR = D("0.01")  # no simulated slippage is larger than a cent on a price of 100, no venue's band than 1 %


# --- market orders ------------------------------------------------------------------------------------------------------------


@SIDES
def test_a_market_order_fills_at_the_next_open(stage: Stage, broker: SimulatedBroker, side: Side) -> None:
    (report,) = broker.place([order("0x1", side)])
    assert report.cloid == "0x1" and report.state.is_live and report.filled == 0
    stage.bar(BTC=(101, 102, 100, 101))
    (fill,) = fills(broker)
    assert (fill.side, fill.size, fill.market, fill.liquidity, fill.realised_pnl) == (side, 1, "BTC", Liquidity.TAKER, 0)
    assert 0 <= (fill.price - 101) * side.sign <= 101 * NEAR
    assert held(broker) == side.sign and state_of(broker, "0x1") is OrderState.FILLED


def test_an_order_at_the_mark_fills_at_once(broker: SimulatedBroker) -> None:
    (report,) = broker.place([buy("0x1", at_mark=True)])
    assert report.state is OrderState.FILLED and report.filled == 1
    assert report.average_price is not None and abs(report.average_price - 100) <= 100 * NEAR
    assert held(broker) == 1


def test_a_market_order_that_meets_no_trading_waits(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place([buy("0x1")])
    stage.bar(volume=0)
    assert state_of(broker, "0x1").is_live and fills(broker) == []
    stage.bar()
    assert state_of(broker, "0x1") is OrderState.FILLED


def test_an_order_placed_while_a_bar_runs_is_not_in_that_bar(stage: Stage, broker: SimulatedBroker) -> None:
    stage.clock.advance_to(stage.clock.now_ms() + 150_000)
    broker.place([buy("0x1")])
    stage.bar(BTC=(101, 103, 99, 102))
    assert fills(broker) == []
    stage.bar(BTC=105)
    (fill,) = fills(broker)
    assert abs(fill.price - 105) <= 105 * NEAR


# --- limit orders -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "price"), [(Side.BUY, 95), (Side.SELL, 105)])
def test_a_passive_limit_rests(stage: Stage, broker: SimulatedBroker, side: Side, price: int) -> None:
    (report,) = broker.place([order("0x1", side, price=price)])
    assert report.state is OrderState.OPEN and report.oid is not None
    stage.bar(BTC=(100, 101, 99, 100))
    assert state_of(broker, "0x1") is OrderState.OPEN and "0x1" in broker.account().open_cloids


@pytest.mark.parametrize(("side", "price", "through"), [(Side.BUY, 95, (100, 100, 94, 96)), (Side.SELL, 105, (100, 106, 100, 104))])
def test_a_limit_traded_through_fills_as_maker_at_its_price(
    stage: Stage, broker: SimulatedBroker, side: Side, price: int, through: Any
) -> None:
    broker.place([order("0x1", side, price=price)])
    stage.bar(BTC=through)
    (fill,) = fills(broker)
    assert (fill.price, fill.size, fill.liquidity) == (price, 1, Liquidity.MAKER)
    assert state_of(broker, "0x1") is OrderState.FILLED


def test_a_limit_that_is_only_touched_does_not_fill(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place([buy("0x1", price=95)])
    stage.bar(BTC=(100, 100, 95, 96))
    assert fills(broker) == [] and state_of(broker, "0x1") is OrderState.OPEN


@pytest.mark.parametrize(("side", "price"), [(Side.BUY, 110), (Side.SELL, 90)])
def test_a_marketable_limit_fills_at_the_market_and_never_past_its_price(
    stage: Stage, broker: SimulatedBroker, side: Side, price: int
) -> None:
    broker.place([order("0x1", side, price=price)])
    stage.bar(BTC=101)
    (fill,) = fills(broker)
    assert (price - fill.price) * side.sign >= 0 and abs(fill.price - 101) <= 101 * NEAR


def test_a_limit_that_a_gap_jumps_over_fills_at_its_own_price(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place([buy("0x1", price=95)])
    stage.bar(BTC=(90, 91, 89, 90))
    assert [fill.price for fill in fills(broker)] == [95]


def test_an_ioc_limit_that_cannot_trade_ends_at_the_open(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place([buy("0x1", price=95, tif=Tif.IOC)])
    stage.bar(BTC=(100, 101, 90, 92))
    assert not state_of(broker, "0x1").is_live and fills(broker) == []
    assert broker.account().open_cloids == frozenset()


def test_an_ioc_limit_that_can_trade_does(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place([buy("0x1", price=102, tif=Tif.IOC)])
    stage.bar(BTC=101)
    (fill,) = fills(broker)
    assert 101 <= fill.price <= 102 and state_of(broker, "0x1") is OrderState.FILLED


def test_a_post_only_order_rests_and_fills_as_maker(stage: Stage, broker: SimulatedBroker) -> None:
    assert broker.place([buy("0x1", price=99, tif=Tif.ALO)])[0].state is OrderState.OPEN
    stage.bar(BTC=(100, 100, 98, 99))
    assert [fill.liquidity for fill in fills(broker)] == [Liquidity.MAKER]


@pytest.mark.parametrize(("side", "price"), [(Side.BUY, 101), (Side.SELL, 99), (Side.BUY, 100)])
def test_a_post_only_order_that_would_trade_is_refused(broker: SimulatedBroker, side: Side, price: int) -> None:
    (report,) = broker.place([order("0x1", side, price=price, tif=Tif.ALO)])
    assert (report.state, report.oid) == (OrderState.REJECTED, None) and report.reason.startswith("Post only order")


# --- triggers -----------------------------------------------------------------------------------------------------------------


def test_a_stop_waits_and_fills_at_its_level_or_worse(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place([buy("0x1", at_mark=True), stop("0x2", 95)])
    stage.bar(BTC=(100, 101, 96, 98))
    assert state_of(broker, "0x2") is OrderState.OPEN
    stage.bar(BTC=(98, 98, 94, 94))
    (fill,) = fills(broker, "0x2")
    assert 0 <= 95 - fill.price <= 95 * NEAR and fill.liquidity is Liquidity.TAKER and fill.reason == "stop"
    assert held(broker) == 0


def test_a_stop_of_a_short_waits_above(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place([sell("0x1", at_mark=True), buy("0x2", type=OrderType.STOP_MARKET, trigger=105, reduce_only=True)])
    stage.bar(BTC=(100, 106, 100, 104))
    (fill,) = fills(broker, "0x2")
    assert 0 <= fill.price - 105 <= 105 * NEAR and held(broker) == 0


def test_a_stop_is_executed_by_touch(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place([buy("0x1", at_mark=True), stop("0x2", 95)])
    stage.bar(BTC=(100, 100, 95, 97))
    assert held(broker) == 0


def test_a_stop_that_is_gapped_fills_at_the_open(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place([buy("0x1", at_mark=True), stop("0x2", 95)])
    stage.bar(BTC=(90, 99, 89, 92))
    (fill,) = fills(broker, "0x2")
    assert 0 <= 90 - fill.price <= 90 * NEAR


def test_a_target_fills_at_its_level(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place([buy("0x1", at_mark=True), target("0x2", 105)])
    stage.bar(BTC=(100, 105, 100, 103))
    (fill,) = fills(broker, "0x2")
    assert abs(fill.price - 105) <= 105 * NEAR and fill.reason == "target" and held(broker) == 0


def test_a_stop_limit_is_no_worse_than_its_limit(stage: Stage, broker: SimulatedBroker) -> None:
    request = sell("0x2", type=OrderType.STOP_LIMIT, trigger=95, price=94, reduce_only=True)
    broker.place([buy("0x1", at_mark=True), request])
    stage.bar(BTC=(100, 100, 93, 93))
    (fill,) = fills(broker, "0x2")
    assert 94 <= fill.price <= 95 and held(broker) == 0


def test_a_stop_limit_that_is_gapped_past_its_limit_rests(stage: Stage, broker: SimulatedBroker) -> None:
    request = sell("0x2", type=OrderType.STOP_LIMIT, trigger=95, price=94, reduce_only=True)
    broker.place([buy("0x1", at_mark=True), request])
    stage.bar(BTC=(90, 92, 89, 90))
    assert state_of(broker, "0x2") is OrderState.TRIGGERED and held(broker) == 1
    stage.bar(BTC=(90, 96, 90, 96))
    assert [fill.price for fill in fills(broker, "0x2")] == [94] and held(broker) == 0


def test_a_target_limit_fills_at_its_limit_or_better(stage: Stage, broker: SimulatedBroker) -> None:
    request = sell("0x2", type=OrderType.TAKE_PROFIT_LIMIT, trigger=105, price=106, reduce_only=True)
    broker.place([buy("0x1", at_mark=True), request])
    stage.bar(BTC=(100, "105.5", 100, 105))
    assert held(broker) == 1
    stage.bar(BTC=(105, 107, 105, 106))
    assert [fill.price for fill in fills(broker, "0x2")] == [106]


def test_a_stop_can_open_a_position(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place([buy("0x1", type=OrderType.STOP_MARKET, trigger=105)])
    stage.bar(BTC=(100, 106, 100, 104))
    assert held(broker) == 1 and fills(broker)[0].reason is None


@pytest.mark.parametrize(
    "request_",
    [
        sell("0x2", type=OrderType.STOP_MARKET, trigger=105, reduce_only=True),
        sell("0x2", type=OrderType.TAKE_PROFIT_MARKET, trigger=95, reduce_only=True),
        buy("0x2", type=OrderType.STOP_MARKET, trigger=95),
        buy("0x2", type=OrderType.STOP_LIMIT, trigger=95, price=96),
    ],
    ids=["stop above a long", "target below a long", "buy stop below", "buy stop limit below"],
)
def test_a_trigger_that_is_reached_already_is_refused(broker: SimulatedBroker, request_: Any) -> None:
    broker.place([buy("0x1", at_mark=True)])
    (report,) = broker.place([request_])
    assert (report.state, report.reason) == (OrderState.REJECTED, "Invalid TP/SL price.")
    assert held(broker) == 1


# --- reduce-only --------------------------------------------------------------------------------------------------------------


@SIDES
def test_reduce_only_on_a_flat_market_is_refused(broker: SimulatedBroker, side: Side) -> None:
    (report,) = broker.place([order("0x1", side, reduce_only=True, at_mark=True)])
    assert (report.state, report.reason) == (OrderState.REJECTED, "Reduce only order would increase position.")


@SIDES
def test_reduce_only_on_the_side_of_the_position_is_refused(broker: SimulatedBroker, side: Side) -> None:
    broker.place([order("0x1", side, at_mark=True)])
    assert broker.place([order("0x2", side, reduce_only=True)])[0].state is OrderState.REJECTED
    assert held(broker) == side.sign


@SIDES
def test_reduce_only_larger_than_the_position_never_flips(broker: SimulatedBroker, side: Side) -> None:
    broker.place([order("0x1", side, at_mark=True)])
    (report,) = broker.place([order("0x2", side.opposite, 5, reduce_only=True, at_mark=True)])
    assert report.filled == 1 and not report.state.is_live
    assert broker.account().positions == {}


def test_reduce_only_that_waits_is_cancelled_when_the_position_goes(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place([buy("0x1", at_mark=True), stop("0x2", 90), target("0x3", 110), sell("0x4", price=108, reduce_only=True)])
    broker.place([sell("0x5", at_mark=True)])
    for cloid in ("0x2", "0x3", "0x4"):
        report = broker.order_status(cloid)
        assert report is not None and (report.state, report.reason) == (OrderState.CANCELLED, "reduceOnlyCanceled"), cloid
    stage.bar(BTC=(100, 115, 80, 100))
    assert held(broker) == 0


def test_reduce_only_that_waits_is_cancelled_when_the_position_flips(broker: SimulatedBroker) -> None:
    broker.place([buy("0x1", at_mark=True), stop("0x2", 90)])
    broker.place([sell("0x3", 3, at_mark=True)])
    assert held(broker) == -2 and state_of(broker, "0x2") is OrderState.CANCELLED


def test_a_new_stop_over_the_whole_replaces_the_older(broker: SimulatedBroker) -> None:
    broker.place([buy("0x1", at_mark=True), stop("0x2", 90), stop("0x3", 92)])
    assert state_of(broker, "0x2") is OrderState.CANCELLED and state_of(broker, "0x3") is OrderState.OPEN


def test_two_stops_that_share_the_position_both_stay(broker: SimulatedBroker) -> None:
    broker.place([buy("0x1", 2, at_mark=True), stop("0x2", 90), stop("0x3", 92)])
    assert {"0x2", "0x3"} <= broker.account().open_cloids


def test_a_position_below_the_minimum_order_can_be_closed_whole(broker: SimulatedBroker) -> None:
    broker.place([buy("0x1", "0.15", at_mark=True)])
    broker.place([sell("0x2", "0.1", reduce_only=True, at_mark=True)])
    assert held(broker) == D("0.05") or state_of(broker, "0x2") is OrderState.FILLED
    (report,) = broker.place([sell("0x3", held(broker), reduce_only=True, at_mark=True)])
    assert report.state is OrderState.FILLED and held(broker) == 0


# --- refusals are reports -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (buy("0x1", 10_000), "Insufficient margin to place order."),
        (buy("0x1", "0.05"), "Order must have minimum value of $10."),
        (buy("0x1", 0), "Order has zero size."),
        (buy("0x1", price="105.001"), "Price must be divisible by tick size."),
        (buy("0x1", price=0), "Order has invalid price."),
        (buy("0x1", price=-5), "Order has invalid price."),
        (buy("0x1", -1), "Order has invalid size."),
        (buy("0x1", type=OrderType.LIMIT), "Order has invalid price."),
        (buy("0x1", type=OrderType.STOP_MARKET), "Order has invalid price."),
    ],
    ids=["margin", "minimum", "zero size", "off the tick", "zero price", "negative price", "negative size", "no price", "no trigger"],
)
def test_what_the_venue_will_not_take_is_a_report_with_its_words(stage: Stage, broker: SimulatedBroker, request_: Any, words: str) -> None:
    before = broker.account()
    (report,) = broker.place([request_])
    assert (report.cloid, report.state, report.oid, report.filled) == ("0x1", OrderState.REJECTED, None, 0)
    assert report.reason == words
    stage.bar(BTC=(100, 110, 90, 100))
    assert broker.account() == before and state_of(broker, "0x1") is OrderState.REJECTED


def test_a_bad_order_among_good_ones_spoils_only_itself(stage: Stage, broker: SimulatedBroker) -> None:
    reports = broker.place([buy("0x1"), buy("0x2", 0), buy("0x3", price=95)])
    assert [report.cloid for report in reports] == ["0x1", "0x2", "0x3"]
    assert [report.state.is_live for report in reports] == [True, False, True]
    stage.bar()
    assert held(broker) == 1 and broker.account().open_cloids == {"0x3"}


def test_placing_nothing_answers_nothing(broker: SimulatedBroker) -> None:
    before = broker.account(), list(broker.activity_since(0))
    assert broker.place([]) == []
    assert (broker.account(), list(broker.activity_since(0))) == before


def test_money_that_is_gone_by_the_open_cancels_instead_of_filling(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place([buy("0x1", 900)])
    broker.transfer(D(-9000))
    stage.bar()
    report = broker.order_status("0x1")
    assert report is not None and not report.state.is_live and report.filled == 0
    assert held(broker) == 0
