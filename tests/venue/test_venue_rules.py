"""What the venue refuses by its own rules (hyperliquid.md §1, §3, §4), one hand-made case per line of the specification."""

import json
from dataclasses import replace

import pytest
from venue_driver import ETH, FREE_OF_COST, MARKETS, USDC, Exchange, buy, limit, long_account, order, sell, stop, target

from tradeagent.domain.names import OrderState, OrderType, Side, Tif
from tradeagent.venue import MarketSpec, VenueState
from tradeagent.venue.events import Cancel, SetLeverage
from tradeagent.venue.rules import MOST_OPEN_ORDERS, OPEN_ORDERS, VOLUME_PER_ORDER

NUMBERED = replace(FREE_OF_COST, markets={"ETH": replace(MARKETS["ETH"], asset=4), "SOL": replace(MARKETS["SOL"], asset=5)})
SLIPPED = replace(FREE_OF_COST, slippage_tenth_bps=100)
TOO_FAR = "Order price cannot be more than 80% away from the reference price"
TOO_MANY = "Too many open orders."
NOT_MATCHED = "Order could not immediately match against any resting orders."
REJECTED = OrderState.REJECTED
CANCELLED = OrderState.CANCELLED
MILLION = 10**6 * USDC


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (limit("x", Side.BUY, 0), "Order has invalid price. asset=4"),
        (limit("x", Side.BUY, 1999.99), "Price must be divisible by tick size. asset=4"),
        (buy("x", size=-1), "Order has invalid size. asset=4"),
        (buy("x", size=0), "Order has zero size. asset=4"),
        (buy("x", size=49), "Order must have minimum value of $10. asset=4"),
        (buy("x", size=1020 * ETH), "Insufficient margin to place order. asset=4"),
        (sell("x", reduce_only=True), "Reduce only order would increase position. asset=4"),
        (limit("x", Side.BUY, 2000.1, tif=Tif.ALO), "Post only order would have immediately matched, bbo was 2000@2000. asset=4"),
        (limit("x", Side.BUY, 1995, tif=Tif.IOC, at_mark=True), f"{NOT_MATCHED} asset=4"),
        (order("x", Side.BUY, OrderType.STOP_MARKET, trigger=1990), "Invalid TP/SL price. asset=4"),
        (buy("x", market="SOL", at_mark=True), "No liquidity available for market order. asset=5"),
    ],
)
def test_errors_of_orders_end_with_the_number_of_their_market(wrong, text):
    venue = Exchange(NUMBERED)
    venue.place(wrong)
    assert venue.status("x") == (REJECTED, text)


def test_a_child_that_is_wrong_by_itself_names_the_market_and_a_group_that_is_wrong_does_not():
    venue = Exchange(NUMBERED)
    venue.bracket(buy("a"), stop(1900.01, cloid="b"))
    assert {venue.status("a"), venue.status("b")} == {(REJECTED, "Price must be divisible by tick size. asset=4")}
    venue.bracket(stop(1900, cloid="c"), target(2100, cloid="d"))
    assert {venue.status("c"), venue.status("d")} == {(REJECTED, "Main order cannot be trigger order.")}


def test_a_cancel_names_the_market_it_was_sent_for():
    venue = Exchange(NUMBERED)
    venue.place(limit("x", Side.BUY, 1950))
    venue.send(Cancel("x", market="SOL"))
    assert (venue.refusal, len(venue.state.orders)) == ("Order was never placed, already canceled, or filled. asset=5", 1)
    venue.send(Cancel("x", market="ETH"))
    assert venue.status("x") == (CANCELLED, "canceled")
    venue.send(Cancel(oid=1, market="ETH"))
    assert venue.refusal == "Order was never placed, already canceled, or filled. asset=4"
    venue.send(Cancel(oid=1))
    assert venue.refusal == "Order was never placed, already canceled, or filled."


def test_an_order_that_finds_nothing_at_its_open_names_the_market_too():
    venue = Exchange(replace(NUMBERED, volume_cap_pct=50))
    venue.place(buy("all", size=5_000), buy("late"), limit("ioc", Side.BUY, 2010, tif=Tif.IOC))
    venue.bar(2000, 2000, 2000, 2000, volume=ETH)
    assert venue.status("late") == (REJECTED, "No liquidity available for market order. asset=4")
    assert venue.status("ioc") == (REJECTED, f"{NOT_MATCHED} asset=4")


@pytest.mark.parametrize(("price", "is_taken"), [(400, True), (399.9, False), (3600, True), (3600.1, False)])
def test_a_limit_price_may_be_eighty_percent_away_from_the_mark_and_no_further(price, is_taken):
    venue = Exchange()
    venue.place(limit("x", Side.SELL if price > 2000 else Side.BUY, price))
    assert venue.status("x") == ((OrderState.OPEN, "open") if is_taken else (REJECTED, TOO_FAR))


def test_one_price_beyond_the_band_refuses_the_whole_batch_without_a_market_number():
    venue = Exchange(NUMBERED)
    venue.place(limit("near", Side.BUY, 1950), limit("far", Side.BUY, 10))
    assert {venue.status("near"), venue.status("far")} == {(REJECTED, TOO_FAR)}
    venue.bracket(limit("entry", Side.BUY, 10), stop(9))
    assert {venue.status("entry"), venue.status("stop")} == {(REJECTED, TOO_FAR)}


def test_the_band_is_for_order_prices_and_a_trigger_may_wait_anywhere():
    venue = long_account()
    venue.place(stop(100), target(9000), order("buy far", Side.BUY, OrderType.STOP_LIMIT, trigger=8000, price=8010, size=ETH // 10))
    assert all(venue.status(cloid)[0] is OrderState.OPEN for cloid in ("stop", "target", "buy far"))


def test_without_a_mark_there_is_no_band():
    venue = Exchange(mark=None)
    venue.place(limit("x", Side.BUY, 10))
    assert venue.status("x")[0] is OrderState.PENDING


@pytest.mark.parametrize(("leverage", "most"), [(50, 30), (25, 30), (24, 5), (20, 5), (19, 2), (10, 2), (9, 0.5), (3, 0.5)])
def test_the_largest_market_order_follows_from_the_maximum_leverage(leverage, most):
    spec = MarketSpec("ETH", 4, ((0, leverage),))
    assert spec.max_market_notional == most * MILLION
    venue = Exchange(replace(FREE_OF_COST, markets={"ETH": spec}), cash=10_000 * MILLION)
    size = int(most * 10**6) // 2000 * ETH
    venue.place(buy("fits", size=size, at_mark=True), buy("large", size=size + 1, at_mark=True))
    assert venue.status("fits")[0] is OrderState.FILLED
    assert venue.status("large") == (REJECTED, f"Order value too large. Max is ${int(most * 10**6)}.")


def test_a_limit_order_may_be_ten_times_as_large_as_a_market_order():
    venue = Exchange(cash=10_000 * MILLION)
    venue.send(SetLeverage("ETH", 3))
    size = 300_000_000 // 2000 * ETH
    venue.place(limit("fits", Side.SELL, 2000.1, size=size - 10 * ETH), limit("large", Side.SELL, 2000.1, size=size))
    assert venue.status("fits")[0] is OrderState.OPEN
    assert venue.status("large") == (REJECTED, "Order value too large. Max is $300000000.")


BEYOND = "Order would cause position to exceed margin tier limit at current leverage"
TIERED = replace(FREE_OF_COST, markets={"ETH": MarketSpec("ETH", 4, ((0, 25), (1 * MILLION, 15)))})


@pytest.mark.parametrize(("leverage", "size", "is_taken"), [(20, 499, True), (20, 500, False), (15, 500, True), (16, 500, False)])
def test_the_leverage_setting_must_be_allowed_for_the_position_an_order_leads_to(leverage, size, is_taken):
    venue = Exchange(TIERED, cash=MILLION)
    venue.send(SetLeverage("ETH", leverage))
    venue.place(buy("x", size=size * ETH, at_mark=True))
    assert venue.status("x") == ((OrderState.FILLED, "filled") if is_taken else (REJECTED, BEYOND))


def test_the_tier_of_an_order_counts_the_position_it_adds_to():
    venue = long_account(TIERED, 499 * ETH, cash=MILLION)
    venue.place(buy("more", size=ETH), limit("cheap", Side.BUY, 1500, size=150 * ETH), sell("less", size=998 * ETH, at_mark=True))
    assert venue.status("more") == (REJECTED, BEYOND)
    assert venue.status("cheap")[0] is OrderState.OPEN, "valued at its own price"
    assert venue.position == -499 * ETH, "the same size on the other side is in the same tier"
    venue.place(sell("flip", size=ETH, at_mark=True))
    assert venue.status("flip") == (REJECTED, BEYOND)


def test_reducing_a_position_that_has_grown_beyond_its_tier_is_always_possible():
    venue = long_account(TIERED, 499 * ETH, cash=MILLION)
    venue.bar(2100, 2100, 2100, 2100)
    venue.place(stop(1900, size=1500 * ETH), sell("half", size=200 * ETH, at_mark=True))
    assert (venue.position, venue.status("stop")[0]) == (299 * ETH, OrderState.OPEN)
    venue = long_account(TIERED, 499 * ETH, cash=MILLION)
    venue.bar(2100, 2100, 2100, 2100)
    venue.place(sell("flip", size=998 * ETH, at_mark=True))
    assert venue.position == -499 * ETH, "it is no larger than it was"


def crowded(number: int = OPEN_ORDERS, traded: int = 0) -> Exchange:
    """A long account with `number` resting limit orders."""
    venue = long_account(cash=10_000 * MILLION)
    venue.place(*(limit(f"n{each}", Side.BUY, 1000, size=100) for each in range(number)))
    assert len(venue.state.orders) == number
    venue.state = replace(venue.state, traded=traded)
    return venue


def test_a_thousand_orders_may_be_open():
    venue = crowded(OPEN_ORDERS - 1)
    venue.place(limit("last", Side.BUY, 1000, size=100), limit("over", Side.BUY, 1000, size=100))
    assert venue.status("last")[0] is OrderState.OPEN
    assert venue.status("over") == (REJECTED, TOO_MANY)
    venue.cancel("last")
    venue.place(limit("again", Side.BUY, 1000, size=100))
    assert venue.status("again")[0] is OrderState.OPEN


def test_each_five_million_traded_allow_one_order_more():
    venue = crowded(traded=VOLUME_PER_ORDER - 1)
    venue.place(limit("early", Side.BUY, 1000, size=100))
    venue.state = replace(venue.state, traded=VOLUME_PER_ORDER)
    venue.place(limit("last", Side.BUY, 1000, size=100), limit("over", Side.BUY, 1000, size=100))
    assert [venue.status(cloid)[0] for cloid in ("early", "last", "over")] == [REJECTED, OrderState.OPEN, REJECTED]


def test_no_volume_allows_more_than_five_thousand_orders():
    venue = crowded(traded=10_000 * VOLUME_PER_ORDER)
    extra = (limit(f"m{each}", Side.BUY, 1000, size=100) for each in range(MOST_OPEN_ORDERS - OPEN_ORDERS + 1))
    venue.place(*extra)
    assert len(venue.state.orders) == MOST_OPEN_ORDERS
    assert venue.status(f"m{MOST_OPEN_ORDERS - OPEN_ORDERS}") == (REJECTED, TOO_MANY)


def test_from_a_thousand_on_reduce_only_and_trigger_orders_are_refused_however_much_was_traded():
    venue = crowded(traded=10_000 * VOLUME_PER_ORDER)
    venue.place(
        stop(1900),
        order("breakout", Side.BUY, OrderType.STOP_MARKET, trigger=2100, size=100),
        sell("close", reduce_only=True, at_mark=True),
        limit("plain", Side.BUY, 1000, size=100),
    )
    assert {venue.status(cloid) for cloid in ("stop", "breakout", "close")} == {(REJECTED, TOO_MANY)}
    assert venue.status("plain")[0] is OrderState.OPEN
    venue.bracket(buy("parent", size=100), stop(1900, cloid="child", size=100))
    assert {venue.status("parent"), venue.status("child")} == {(REJECTED, TOO_MANY)}


def test_children_that_wait_for_their_entry_are_not_open_orders():
    venue = long_account(cash=10_000 * MILLION)
    for each in range(OPEN_ORDERS // 2):
        venue.bracket(limit(f"e{each}", Side.BUY, 1000, size=100), stop(900, cloid=f"s{each}", size=100))
    assert len(venue.state.orders) == OPEN_ORDERS
    venue.place(stop(1900))
    assert venue.status("stop")[0] is OrderState.OPEN


def test_every_fill_counts_as_volume_and_the_state_keeps_it():
    venue = long_account(SLIPPED)
    venue.place(limit("more", Side.BUY, 1990), sell("close", size=ETH // 2, at_mark=True))
    venue.bar(2000, 2000, 1980, 1985)
    assert venue.state.traded == sum(fill.size * fill.price for fill in venue.fills())
    assert len(venue.fills()) == 3
    assert VenueState.from_json(venue.state.to_json()).traded == venue.state.traded


def test_a_state_from_before_volume_and_outages_were_kept_still_loads():
    venue = long_account()
    raw = json.loads(venue.state.to_json())
    del raw["traded"], raw["outages"]
    assert VenueState.from_json(json.dumps(raw)) == replace(venue.state, traded=0)
