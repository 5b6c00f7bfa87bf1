"""Trigger orders: their prices, their entries, and those that cover a whole position (hyperliquid.md §3.1)."""

from dataclasses import replace

import pytest
from venue_driver import ETH, FREE_OF_COST, USDC, Exchange, buy, limit, long_account, order, sell, stop, target, usd

from tradeagent.domain.names import ExitReason, Liquidity, OrderState, OrderType, Side, Tif
from tradeagent.venue.events import OrderUpdate, Place

SLIPPED = replace(FREE_OF_COST, slippage_tenth_bps=100)
BAD_TRIGGER = "Invalid TP/SL price."
NOT_MATCHED = "Order could not immediately match against any resting orders."
REJECTED = OrderState.REJECTED
CANCELLED = OrderState.CANCELLED
HALF = replace(FREE_OF_COST, volume_cap_pct=50)


@pytest.mark.parametrize("tif", list(Tif))
def test_a_trigger_has_no_time_in_force_and_its_limit_rests_until_cancelled(tif):
    venue = long_account()
    venue.place(order("stop", Side.SELL, OrderType.STOP_LIMIT, trigger=1950, price=1940, reduce_only=True, tif=tif))
    assert [live.tif for live in venue.state.orders.values()] == [Tif.GTC]
    venue.bar(1900, 1939, 1890, 1900)
    assert venue.status("stop") == (OrderState.TRIGGERED, "triggered")
    venue.bar(1900, 1940.1, 1890, 1900)
    assert (venue.prices("stop"), venue.fills("stop")[0].liquidity) == ([1940], Liquidity.MAKER)


def test_the_rest_of_a_triggered_limit_that_took_what_there_was_goes_on_whatever_tif_it_stated():
    venue = long_account(replace(FREE_OF_COST, volume_cap_pct=50))
    venue.place(order("stop", Side.SELL, OrderType.STOP_LIMIT, trigger=1950, price=1940, reduce_only=True, tif=Tif.IOC))
    venue.bar(2000, 2000, 1945, 1945, volume=6_000)
    assert (venue.status("stop")[0], venue.position) == (OrderState.PARTIALLY_FILLED, 7_000)


@pytest.mark.parametrize(
    ("side", "kind", "trigger", "price", "is_taken"),
    [
        (Side.SELL, OrderType.STOP_MARKET, 1950, 1950, True),
        (Side.SELL, OrderType.STOP_MARKET, 1950, 1950.1, False),
        (Side.BUY, OrderType.STOP_MARKET, 2050, 2050, True),
        (Side.BUY, OrderType.STOP_MARKET, 2050, 2049.9, False),
        (Side.SELL, OrderType.TAKE_PROFIT_MARKET, 2050, 2040, True),
        (Side.SELL, OrderType.TAKE_PROFIT_MARKET, 2050, 2051, False),
        (Side.SELL, OrderType.STOP_LIMIT, 1950, 1960, True),
    ],
)
def test_the_worst_price_of_a_market_trigger_lies_behind_its_trigger(side, kind, trigger, price, is_taken):
    venue = Exchange()
    venue.place(order("x", side, kind, trigger=trigger, price=price))
    assert venue.status("x") == ((OrderState.OPEN, "waitingForTrigger") if is_taken else (REJECTED, BAD_TRIGGER))


def test_the_worst_price_of_a_market_trigger_is_an_order_price():
    venue = Exchange()
    for cloid, price, text in [("off", 1900.01, "Price must be divisible by tick size."), ("zero", 0, "Order has invalid price.")]:
        venue.place(order(cloid, Side.SELL, OrderType.STOP_MARKET, trigger=1950, price=price))
        assert venue.status(cloid) == (REJECTED, text)


def test_a_market_trigger_never_executes_beyond_its_worst_price():
    venue = long_account(SLIPPED)
    venue.place(stop(1950, price=1949))
    venue.bar(2000, 2000, 1940, 1945)
    assert venue.prices("stop") == [1949]


def test_a_market_trigger_that_a_gap_has_carried_beyond_its_worst_price_is_immediate_or_cancel():
    venue = long_account()
    venue.place(stop(1950, price=1940))
    venue.bar(1930, 1990, 1920, 1980)
    assert (venue.status("stop"), venue.position) == ((REJECTED, NOT_MATCHED), ETH)


def test_the_rest_of_a_market_trigger_that_is_beyond_its_worst_price_at_the_next_open_is_cancelled():
    venue = long_account(replace(FREE_OF_COST, volume_cap_pct=50))
    venue.place(stop(1950, price=1940))
    venue.bar(2000, 2000, 1945, 1945, volume=ETH)
    assert venue.status("stop") == (OrderState.PARTIALLY_FILLED, "queued")
    venue.bar(1930, 1950, 1930, 1945, volume=ETH)
    assert (venue.status("stop"), venue.position) == ((CANCELLED, "canceled"), 5_000)


def test_a_market_order_states_no_price():
    venue = Exchange()
    venue.place(buy("x", price=1))
    venue.bar(2000, 2000, 2000, 2000)
    assert venue.prices("x") == [2000]


def test_a_trigger_entry_waits_for_the_mark_and_checks_its_margin_when_it_fires():
    venue = Exchange(cash=220 * USDC)
    venue.place(order("entry", Side.SELL, OrderType.STOP_MARKET, trigger=1990))
    assert venue.status("entry") == (OrderState.OPEN, "waitingForTrigger")
    venue.bar(2000, 2100, 1990.1, 2000)
    assert venue.fills() == []
    venue.place(sell("other", size=2 * ETH, at_mark=True))
    venue.bar(2000, 2000, 1980, 1985)
    assert venue.status("entry") == (CANCELLED, "marginCanceled")


def test_a_trigger_entry_below_its_margin_is_refused_when_it_is_placed():
    venue = Exchange(cash=102 * USDC)
    venue.place(order("entry", Side.BUY, OrderType.STOP_MARKET, trigger=2050))
    assert venue.status("entry") == (REJECTED, "Insufficient margin to place order.")


def test_a_trigger_entry_cannot_bring_its_own_stop():
    venue = Exchange()
    venue.bracket(order("entry", Side.BUY, OrderType.STOP_MARKET, trigger=2050), stop(1990))
    assert {venue.status("entry"), venue.status("stop")} == {(REJECTED, "Main order cannot be trigger order.")}


def cover(venue: Exchange, *orders) -> None:
    venue.send(Place(orders, "position_tpsl"))


def sizes(venue: Exchange) -> dict[str, int]:
    return {live.cloid: live.size for live in venue.state.orders.values()}


def test_a_stop_of_the_position_has_its_size_and_follows_it():
    venue = long_account()
    cover(venue, stop(1900, size=0), target(2100, size=7))
    assert venue.status("stop") == venue.status("target") == (OrderState.OPEN, "waitingForTrigger")
    assert sizes(venue) == {"stop": ETH, "target": ETH}
    venue.place(buy("more", size=2 * ETH, at_mark=True))
    assert sizes(venue) == {"stop": 3 * ETH, "target": 3 * ETH}
    venue.place(sell("less", size=ETH, at_mark=True))
    assert sizes(venue) == {"stop": 2 * ETH, "target": 2 * ETH}
    venue.bar(2000, 2000, 1890, 1895)
    assert ([fill.size for fill in venue.fills("stop")], venue.position) == ([2 * ETH], 0)
    assert venue.status("target") == (CANCELLED, "reduceOnlyCanceled")


def test_a_stop_of_the_position_leaves_with_it_when_that_closes_or_flips():
    for size in (ETH, 3 * ETH):
        venue = long_account()
        cover(venue, stop(1900, size=0))
        venue.place(sell("out", size=size, at_mark=True))
        assert (venue.status("stop"), venue.state.orders) == ((CANCELLED, "reduceOnlyCanceled"), {})
        told = [(update.state, update.size) for update in venue.all(OrderUpdate) if update.cloid == "stop"]
        assert told == [(OrderState.OPEN, ETH), (CANCELLED, ETH)], "it ends as it was"


def test_a_partly_filled_stop_of_the_position_keeps_what_is_left_of_it():
    venue = long_account(HALF)
    cover(venue, stop(1950, size=0))
    venue.bar(2000, 2000, 1940, 1945, volume=ETH)
    (live,) = venue.state.orders.values()
    assert (live.size, live.filled, venue.position) == (ETH, 5_000, 5_000)
    assert {(told.size, told.filled) for told in venue.all(OrderUpdate) if told.cloid == "stop"} == {(ETH, 0), (ETH, 5_000)}
    venue.place(buy("more", size=1_000, at_mark=True))
    (live,) = venue.state.orders.values()
    assert (live.size, live.remaining) == (11_000, 6_000)
    venue.bar(1945, 1945, 1940, 1945, volume=10 * ETH)
    assert (venue.position, venue.status("stop")) == (0, (OrderState.FILLED, "filled"))


@pytest.mark.parametrize(
    ("orders", "text"),
    [
        ((stop(1900), stop(1800, cloid="b")), "Unexpected number of trigger orders"),
        ((stop(1900), target(2100), stop(1800, cloid="b")), "Unexpected number of trigger orders"),
        ((limit("b", Side.SELL, 2100, reduce_only=True),), BAD_TRIGGER),
        ((stop(1900), order("b", Side.SELL, OrderType.TAKE_PROFIT_MARKET, trigger=2100)), BAD_TRIGGER),
        ((stop(2100),), BAD_TRIGGER),
    ],
)
def test_only_reduce_only_triggers_one_of_a_kind_cover_a_position(orders, text):
    venue = long_account()
    cover(venue, *orders)
    assert {venue.status(each.cloid) for each in orders} == {(REJECTED, text)}


def test_a_stop_of_a_position_that_is_not_there_is_refused():
    venue = Exchange()
    cover(venue, stop(1900))
    assert venue.status("stop") == (REJECTED, "Reduce only order would increase position.")


def test_a_trailing_stop_can_cover_a_position_too():
    venue = long_account()
    cover(venue, stop(1900, size=0, trail=usd(50)))
    venue.place(buy("more", at_mark=True))
    venue.bar(2000, 2030, 1990, 2020)
    venue.bar(2020, 2020, 1970, 1975)
    assert [(fill.size, fill.price, fill.reason) for fill in venue.fills("stop")] == [(2 * ETH, usd(1980), ExitReason.TRAILING_STOP)]
