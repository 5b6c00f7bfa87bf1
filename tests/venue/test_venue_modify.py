"""Own orders in the way, reduce-only orders in the book, and an order that replaces another (hyperliquid.md §3)."""

from dataclasses import replace

import pytest
from venue_driver import ETH, FREE_OF_COST, INTERVAL, MARKETS, USDC, Exchange, bar, buy, limit, long_account, order, sell, stop, usd

from tradeagent.domain.names import OrderState, OrderType, Side, Tif
from tradeagent.venue.events import Modify, OrderUpdate, Refused

NUMBERED = replace(FREE_OF_COST, markets={"ETH": replace(MARKETS["ETH"], asset=4), "SOL": replace(MARKETS["SOL"], asset=5)})
SLIPPED = replace(FREE_OF_COST, slippage_tenth_bps=100)
TOO_FAR = "Order price cannot be more than 80% away from the reference price"
REJECTED = OrderState.REJECTED
CANCELLED = OrderState.CANCELLED


def test_an_own_resting_order_in_the_way_is_cancelled_and_the_aggressor_goes_on():
    venue = long_account(replace(SLIPPED, maker_rate=15_000, taker_rate=0))
    venue.place(limit("exit", Side.SELL, 2000.1, reduce_only=True), limit("high", Side.SELL, 2010, reduce_only=True, size=100))
    venue.place(buy("more", at_mark=True))
    assert venue.status("exit") == (CANCELLED, "reduceOnlyCanceled"), "two exits are more than the position"
    venue.place(limit("exit2", Side.SELL, 2001, size=ETH), limit("touch", Side.SELL, 2002, size=ETH), buy("again", at_mark=True))
    assert venue.status("exit2") == (CANCELLED, "selfTradeCanceled")
    assert venue.status("touch")[0] is OrderState.OPEN, "at the price itself others stand before it"
    assert venue.prices("again") == [2002]
    assert (venue.fills("exit2"), venue.position) == ([], 3 * ETH)
    venue.place(limit("bid", Side.BUY, 1998), limit("better", Side.BUY, 1998.1), sell("out", at_mark=True))
    assert (venue.prices("out"), venue.status("bid")[0]) == ([1998], OrderState.OPEN)
    assert venue.status("better") == (CANCELLED, "selfTradeCanceled")


def test_a_stop_that_slips_through_an_own_bid_cancels_it():
    venue = long_account(SLIPPED)
    venue.place(limit("dip", Side.BUY, 1940), stop(1950))
    venue.bar(2000, 2000, 1945, 1945)
    assert (venue.prices("stop"), venue.status("dip")[0]) == ([1948.05], OrderState.OPEN)
    venue = long_account(SLIPPED)
    venue.place(limit("dip", Side.BUY, 1949), stop(1950))
    venue.bar(2000, 2000, 1945, 1945)
    assert (venue.prices("stop"), venue.status("dip")) == ([1948.05], (CANCELLED, "selfTradeCanceled"))


def test_an_aggressor_that_gets_nothing_leaves_own_orders_alone():
    venue = Exchange(replace(SLIPPED, volume_cap_pct=50))
    venue.place(limit("ask", Side.SELL, 2001, size=ETH), buy("none"))
    venue.bar(2000, 2000, 2000, 2000, volume=1)
    assert [venue.status(cloid)[0] for cloid in ("ask", "none")] == [OrderState.OPEN, REJECTED]
    venue = Exchange(SLIPPED, cash=103 * USDC)
    venue.place(buy("poor"), limit("ask", Side.SELL, 2102, size=100))
    venue.bar(2100, 2100, 2100, 2100)
    assert (venue.status("poor"), venue.status("ask")[0]) == ((CANCELLED, "marginCanceled"), OrderState.OPEN)


def test_orders_of_other_markets_and_of_the_same_side_are_never_in_the_way():
    venue = Exchange(SLIPPED)
    venue.bars(bar(1, (2000, 2000, 2000, 2000)), bar(1, (2000, 2000, 2000, 2000), market="SOL"))
    venue.place(limit("sol", Side.SELL, 2001, market="SOL", size=1000), limit("bid", Side.BUY, 1999.9), buy("x", at_mark=True))
    assert {venue.status("sol")[0], venue.status("bid")[0]} == {OrderState.OPEN}


def test_of_reduce_only_orders_that_rest_in_the_book_the_older_is_cancelled_whatever_their_types():
    venue = long_account()
    venue.place(order("tp", Side.SELL, OrderType.TAKE_PROFIT_LIMIT, trigger=2050, price=2060, reduce_only=True))
    venue.place(limit("exit", Side.SELL, 2100, reduce_only=True))
    assert {venue.status("tp")[0], venue.status("exit")[0]} == {OrderState.OPEN}, "one waits for its trigger, one rests"
    venue.bar(2000, 2055, 2000, 2050)
    assert venue.status("tp") == (OrderState.TRIGGERED, "triggered")
    assert venue.status("exit") == (CANCELLED, "reduceOnlyCanceled")


def test_a_resting_reduce_only_order_without_a_position_to_reduce_is_refused_even_far_from_the_market():
    venue = Exchange()
    venue.place(limit("x", Side.SELL, 3000, reduce_only=True))
    assert venue.status("x") == (REJECTED, "Reduce only order would increase position.")


def test_a_modified_order_keeps_its_cloid_and_gets_a_new_number():
    venue = Exchange()
    venue.place(limit("x", Side.BUY, 1950))
    told = venue.send(Modify(limit("ignored", Side.BUY, 1960, size=2 * ETH), cloid="x"))
    assert [(each.oid, each.state) for each in told if isinstance(each, OrderUpdate)] == [(1, CANCELLED), (2, OrderState.OPEN)]
    (live,) = venue.state.orders.values()
    assert (live.oid, live.cloid, live.price, live.size, live.tif) == (2, "x", usd(1960), 2 * ETH, Tif.ALO)
    assert venue.status("x") == (OrderState.OPEN, "open")
    venue.bar(2000, 2000, 1959, 1960)
    assert venue.status("x") == (OrderState.FILLED, "filled")


def test_an_order_is_modified_by_number_too():
    venue = Exchange()
    venue.place(limit("x", Side.BUY, 1950))
    venue.send(Modify(limit("x", Side.BUY, 1960), oid=1))
    assert [live.price for live in venue.state.orders.values()] == [usd(1960)]


@pytest.mark.parametrize("gone", [{"cloid": "x"}, {"oid": 1}, {"cloid": "never"}])
def test_an_order_that_is_gone_cannot_be_modified(gone):
    venue = Exchange()
    venue.place(limit("x", Side.BUY, 1950))
    venue.cancel("x")
    venue.send(Modify(limit("x", Side.BUY, 1960), **gone))
    assert (venue.refusal, venue.state.orders) == ("Cannot modify canceled or filled order", {})


def test_a_gtc_order_that_would_trade_is_modified_into_a_post_only_one_and_refused_after_the_old_one_is_gone():
    venue = Exchange(NUMBERED)
    venue.place(limit("x", Side.BUY, 1950))
    venue.send(Modify(limit("x", Side.BUY, 2001), cloid="x"))
    text = "Post only order would have immediately matched, bbo was 2000@2000. asset=4"
    assert venue.refusal == f"Error placing new order during modify: {text}"
    assert (venue.state.orders, venue.status("x")) == ({}, (CANCELLED, "canceled"))


@pytest.mark.parametrize(
    "wrong", [buy("x"), limit("x", Side.BUY, 1960, tif=Tif.IOC), order("x", Side.BUY, OrderType.STOP_MARKET, trigger=2100)]
)
def test_without_always_place_only_an_order_that_rests_can_come_of_a_modify(wrong):
    venue = Exchange()
    venue.place(limit("x", Side.BUY, 1950))
    before = venue.state
    assert isinstance(venue.send(Modify(wrong, cloid="x"))[0], Refused)
    assert venue.state == before


def test_always_place_moves_a_stop():
    venue = long_account()
    venue.place(stop(1900))
    venue.send(Modify(stop(1950), cloid="stop", always_place=True))
    venue.bar(2000, 2000, 1940, 1945)
    assert venue.prices("stop") == [1950]
    venue = Exchange()
    venue.place(limit("x", Side.BUY, 1950))
    venue.send(Modify(limit("x", Side.BUY, 2001, tif=Tif.GTC), cloid="x", always_place=True, time_ms=INTERVAL))
    venue.bar(2000, 2000, 2000, 2000)
    assert venue.prices("x") == [2000]


def test_a_modify_beyond_the_price_band_leaves_the_old_order_alone():
    venue = Exchange()
    venue.place(limit("x", Side.BUY, 1950))
    venue.send(Modify(limit("x", Side.BUY, 10), cloid="x"))
    assert (venue.refusal, venue.status("x")) == (TOO_FAR, (OrderState.OPEN, "open"))


def test_the_children_of_an_entry_leave_with_it_when_it_is_modified():
    venue = Exchange()
    venue.bracket(limit("entry", Side.BUY, 1950), stop(1900))
    venue.send(Modify(limit("entry", Side.BUY, 1960), cloid="entry"))
    assert venue.status("stop") == (CANCELLED, "canceled")
    assert [live.cloid for live in venue.state.orders.values()] == ["entry"]
