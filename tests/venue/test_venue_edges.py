"""Ties, equalities and seldom orders of events, each of which has one answer."""

import json
from dataclasses import replace

import pytest
from venue_driver import (
    ETH,
    FREE_OF_COST,
    HOUR,
    INTERVAL,
    MARKETS,
    USDC,
    Exchange,
    bar,
    buy,
    limit,
    long_account,
    order,
    sell,
    stop,
    target,
    usd,
)

from tradeagent.domain.errors import InvalidInput
from tradeagent.domain.names import ExitReason, OrderState, OrderType, Side
from tradeagent.venue import FundingRow, MarketSpec, VenueState
from tradeagent.venue.events import FundingPaid, Liquidated, Place, SetLeverage
from tradeagent.venue.margin import maintenance_of
from tradeagent.venue.rules import MOST_OPEN_ORDERS, OPEN_ORDERS, VOLUME_PER_ORDER

CANCELLED, REJECTED = OrderState.CANCELLED, OrderState.REJECTED
MILLION = 10**6 * USDC


def test_the_leverage_that_is_set_already_may_be_set_again_whatever_the_margin():
    venue = long_account(cash=100 * USDC)
    venue.bar(2000, 2000, 1990, 1990)
    assert venue.equity == 90 * USDC, "less than the 99.50 that an entry would need"
    assert venue.send(SetLeverage("ETH", 20)) == ()
    venue.send(SetLeverage("ETH", 19))
    assert "leverage" in venue.refusal.lower() and venue.state.leverage["ETH"] == 20


def test_the_figures_of_the_order_count_are_those_of_the_venue():
    assert (OPEN_ORDERS, MOST_OPEN_ORDERS, VOLUME_PER_ORDER) == (1_000, 5_000, 5 * MILLION)


def test_at_one_price_the_trailing_stop_comes_before_the_stop_that_is_older():
    venue = long_account()
    trailing = order("trailing", Side.SELL, OrderType.STOP_MARKET, size=ETH // 2, reduce_only=True, trail=usd(100))
    venue.place(stop(1950, cloid="plain", size=ETH // 2), trailing)
    venue.bar(2050, 2050, 2050, 2050)
    venue.bar(2050, 2050, 1940, 1940)
    assert [(fill.cloid, fill.price, fill.reason) for fill in venue.fills()[1:]] == [
        ("trailing", usd(1950), ExitReason.TRAILING_STOP),
        ("plain", usd(1950), ExitReason.STOP),
    ]


def test_payments_of_funding_are_numbered_one_after_the_other():
    venue = long_account()
    for hour in (1, 2, 3):
        while venue.index * INTERVAL < hour * HOUR:
            venue.bar(2000, 2000, 2000, 2000)
        venue.bar(2000, 2000, 2000, 2000, funding=(FundingRow("ETH", hour * HOUR, 125_000, usd(2000)),))
    assert [paid.payment_id for paid in venue.all(FundingPaid)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("notional", "margin"), [(0, 0), (50, 0.5), (100, 1), (200, 3), (250, 4), (300, 5), (400, 15), (1_000, 75)], ids=lambda x: f"{x}M"
)
def test_maintenance_of_three_tiers_has_no_jump_at_a_bound(notional, margin):
    spec = MarketSpec("X", 4, ((0, 50), (100 * MILLION, 25), (300 * MILLION, 5)))
    found, unit = maintenance_of(spec, notional * MILLION)
    assert found == margin * MILLION * unit


def test_a_close_that_slips_so_far_that_the_rest_is_short_of_margin_is_followed_by_the_liquidation_of_the_rest():
    slipping = replace(FREE_OF_COST, slippage_tenth_bps=5_000)
    venue = Exchange(slipping, cash=240 * USDC)
    venue.place(limit("entry", Side.BUY, 1999, size=ETH))
    venue.bar(2000, 2000, 1998, 1998)
    assert (venue.position, venue.prices("entry")) == (ETH, [1999])
    venue.place(stop(1820, size=ETH // 2))
    venue.bar(1998, 1998, 1815, 1990)
    fills = venue.fills()[1:]
    assert [(fill.cloid, fill.price) for fill in fills] == [("stop", usd(1729)), ("", usd(1729))], "both at 1820, less five percent"
    first = venue.all(Liquidated)[0]
    assert (first.market, first.kind, venue.position) == ("ETH", "market", 0)


def test_a_liquidation_ends_an_entry_and_what_waits_for_it_once():
    venue = long_account(cash=110 * USDC)
    venue.bracket(limit("dip", Side.BUY, 1000, size=ETH // 8), stop(900, cloid="its stop", size=ETH // 8))
    venue.bar(2000, 2000, 1925, 1925)
    assert venue.all(Liquidated) and venue.state.orders == {}
    ended = [update.cloid for update in venue.outcomes if getattr(update, "reason", "") == "liquidatedCanceled"]
    assert ended.count("dip") == 1 and venue.status("its stop")[0] is CANCELLED


def test_what_cannot_trade_in_this_bar_is_liquidated_when_it_can():
    venue = Exchange(replace(FREE_OF_COST, slippage_tenth_bps=1_000), cash=360 * USDC)
    flat = (2000, 2000, 2000, 2000)
    venue.bars(bar(1, flat), bar(1, flat, market="SOL"))
    venue.place(buy("eth", size=ETH, at_mark=True), buy("sol", market="SOL", size=10_000, at_mark=True))
    assert venue.size("SOL") == 10_000, "2,000 USDC of each, and one percent lost with each fill"
    low = (1870, 1870, 1870, 1870)
    venue.bars(bar(2, low), bar(2, low, market="SOL", volume=0))
    assert (venue.position, venue.size("SOL")) == (0, 10_000)
    assert [each.market for each in venue.all(Liquidated)] == ["ETH"]
    venue.bars(bar(3, low), bar(3, low, market="SOL"))
    assert venue.size("SOL") == 0


def test_a_group_sent_again_gets_the_answers_of_those_that_are_known():
    venue = Exchange()
    venue.bracket(buy("entry"), stop(1900))
    venue.bar(2000, 2000, 2000, 2000)
    before = len(venue.fills())
    answers = venue.send(Place((buy("entry"), stop(1900), target(2100, cloid="never")), "normal_tpsl"))
    assert [answer.cloid for answer in answers] == ["entry", "stop"]
    assert len(venue.fills()) == before


def test_a_group_in_a_market_that_is_not_there_is_turned_away_whole():
    venue = Exchange()
    venue.bracket(buy("entry", market="NOPE"), stop(1900, market="NOPE"))
    assert venue.status("entry") == (REJECTED, "Unknown market NOPE.")
    assert venue.status("stop")[0] in (REJECTED, CANCELLED) and venue.state.orders == {}


def test_a_bound_on_the_wrong_side_of_its_trigger_is_refused():
    venue = long_account()
    venue.place(stop(1900, cloid="behind", price=1880), stop(1900, cloid="before", price=1910))
    assert venue.status("behind")[0] is OrderState.OPEN
    assert venue.status("before")[0] is REJECTED and "Invalid TP/SL price." in venue.status("before")[1]


def test_a_resting_limit_that_finds_no_volume_goes_on_resting():
    venue = Exchange(replace(FREE_OF_COST, volume_cap_pct=50))
    venue.place(limit("first", Side.BUY, 1990, size=ETH), limit("second", Side.BUY, 1990, size=ETH))
    venue.bar(2000, 2000, 1980, 1985, volume=2 * ETH)
    assert [(fill.cloid, fill.size) for fill in venue.fills()] == [("first", ETH)]
    assert venue.status("second") == (OrderState.OPEN, "open")


def test_a_state_of_another_format_is_refused():
    raw = json.loads(VenueState().to_json()) | {"format": 99}
    with pytest.raises(InvalidInput, match="format 99 is not"):
        VenueState.from_json(json.dumps(raw))


def test_a_sell_slips_down_and_never_to_nothing():
    config = replace(FREE_OF_COST, markets=MARKETS, slippage_tenth_bps=100_000)
    venue = Exchange(config, cash=MILLION)
    venue.place(sell("all", at_mark=True))
    assert venue.fills()[0].price == 1


def test_orders_that_cover_a_position_are_at_most_one_stop_and_one_target():
    venue = long_account()
    three = (stop(1900), target(2100), stop(1890, cloid="another"))
    venue.send(Place(three, "position_tpsl"))
    assert {venue.status(each.cloid) for each in three} == {(REJECTED, "Unexpected number of trigger orders")}
    venue.send(Place((), "position_tpsl"))
    venue.send(Place((replace(stop(1900), cloid="s"), replace(target(2100), cloid="t")), "position_tpsl"))
    assert {venue.status("s")[0], venue.status("t")[0]} == {OrderState.OPEN}
