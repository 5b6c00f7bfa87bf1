"""Partial fills under a volume cap (execution.md §7): whose they are, and what becomes of the rest."""

from dataclasses import replace

from venue_driver import CENT, ETH, FREE_OF_COST, INTERVAL, USDC, Exchange, buy, limit, long_account, order, sell, stop, usd

from tradeagent.domain.names import ExitReason, Liquidity, OrderState, OrderType, Side, Tif
from tradeagent.venue.events import OrderUpdate, Place

REJECTED = OrderState.REJECTED
CANCELLED = OrderState.CANCELLED


HALF = replace(FREE_OF_COST, volume_cap_pct=50)


def test_the_cap_is_a_share_of_the_volume_of_the_bar_rounded_down():
    venue = Exchange(replace(FREE_OF_COST, volume_cap_pct=3))
    venue.place(buy())
    venue.bar(2000, 2000, 2000, 2000, volume=9_999)
    assert [fill.size for fill in venue.fills()] == [299]
    assert venue.status("entry") == (CANCELLED, "canceled"), "what an immediate order does not get is cancelled"


def test_orders_of_one_bar_share_its_volume_in_the_order_they_execute():
    venue = Exchange(HALF)
    venue.place(limit("first", Side.BUY, 1990, size=8_000), limit("second", Side.BUY, 1980, size=8_000), sell("now", size=3_000))
    venue.bar(2000, 2000, 1970, 1975, volume=2 * ETH)
    assert [(fill.cloid, fill.size) for fill in venue.fills()] == [("now", 3_000), ("first", 7_000)]
    assert venue.status("second") == (OrderState.OPEN, "open")
    venue.bar(1975, 1980, 1970, 1975, volume=10 * ETH)
    assert [(fill.cloid, fill.size, fill.price) for fill in venue.fills()][2:] == [
        ("first", 1_000, usd(1990)),
        ("second", 8_000, usd(1980)),
    ]


def test_the_volume_of_a_bar_does_not_carry_over():
    venue = Exchange(HALF)
    venue.place(buy("a", size=1_000))
    venue.bar(2000, 2000, 2000, 2000, volume=ETH)
    assert venue.state.volume_left == {}
    venue.place(buy("b"))
    venue.bar(2000, 2000, 2000, 2000, volume=ETH)
    assert [fill.size for fill in venue.fills("b")] == [5_000]


def test_an_open_sent_apart_spends_the_volume_of_the_same_bar():
    venue = Exchange(HALF)
    venue.place(buy("a", size=3_000))
    venue.open(2000, 2010, 1990, 2000, volume=ETH)
    venue.place(limit("b", Side.BUY, 1995, size=ETH))
    venue.bar(2000, 2010, 1990, 2000, volume=ETH)
    assert [(fill.cloid, fill.size) for fill in venue.fills()] == [("a", 3_000), ("b", 2_000)]


def test_an_order_at_the_mark_takes_no_volume_of_a_bar():
    venue = Exchange(HALF)
    venue.open(2000, 2000, 2000, 2000, volume=ETH)
    venue.place(buy("now", size=3 * ETH, at_mark=True))
    assert (venue.position, venue.state.volume_left) == (3 * ETH, {"ETH": 5_000})


def test_a_liquidation_is_not_capped():
    venue = long_account(HALF, cash=100 * USDC)
    venue.bar(2000, 2000, 1900, 1990, volume=10)
    assert (venue.position, venue.fills()[-1].reason) == (0, ExitReason.LIQUIDATION)


def test_a_partly_filled_ioc_limit_is_cancelled_with_what_it_got():
    venue = Exchange(HALF)
    venue.place(limit("x", Side.BUY, 2010, tif=Tif.IOC))
    venue.bar(2000, 2000, 2000, 2000, volume=ETH)
    update = venue.all(OrderUpdate)[-1]
    assert (update.state, update.reason, update.filled, update.value) == (CANCELLED, "canceled", 5_000, 5_000 * usd(2000))


def test_a_partly_filled_marketable_limit_rests_as_maker():
    venue = Exchange(HALF)
    venue.place(limit("x", Side.BUY, 2010))
    venue.bar(2000, 2005, 1995, 2005, volume=ETH)
    assert venue.status("x") == (OrderState.PARTIALLY_FILLED, "open")
    venue.bar(2020, 2020, 2009.9, 2010, volume=ETH)
    assert [(fill.liquidity, fill.price / CENT) for fill in venue.fills()] == [(Liquidity.TAKER, 2000), (Liquidity.MAKER, 2010)]


def test_a_partly_filled_limit_target_keeps_the_stop_of_the_rest():
    venue = Exchange(HALF)
    tp = order("tp", Side.SELL, OrderType.TAKE_PROFIT_LIMIT, trigger=2050, price=2050, reduce_only=True)
    venue.bracket(buy(at_mark=True), stop(1950), tp)
    venue.bar(2000, 2060, 1990, 2040, volume=6_000)
    assert (venue.position, venue.status("tp")[0], venue.status("stop")[0]) == (7_000, OrderState.PARTIALLY_FILLED, OrderState.OPEN)
    venue.bar(2040, 2040, 1940, 1945, volume=10 * ETH)
    assert (venue.position, [fill.size for fill in venue.fills("stop")]) == (0, [7_000])
    assert venue.status("tp") == (CANCELLED, "siblingFilledCanceled")


def test_a_breakout_entry_without_volume_left_is_refused_and_one_with_some_keeps_that():
    venue = Exchange(HALF)
    venue.place(buy("all", size=5_000), order("x", Side.BUY, OrderType.STOP_MARKET, trigger=2050))
    venue.bar(2000, 2060, 1990, 2055, volume=ETH)
    assert venue.status("x") == (REJECTED, "No liquidity available for market order.")
    venue.place(order("y", Side.BUY, OrderType.STOP_MARKET, trigger=2100))
    venue.bar(2055, 2110, 2050, 2100, volume=ETH)
    assert (venue.fills("y")[0].size, venue.status("y")) == (5_000, (CANCELLED, "canceled"))


def test_a_close_that_gets_only_a_part_says_so():
    venue = long_account(HALF)
    venue.place(sell("close", reduce_only=True, exit_reason=ExitReason.SIGNAL))
    venue.bar(2000, 2000, 2000, 2000, volume=6_000)
    update = venue.all(OrderUpdate)[-1]
    assert (venue.position, update.state, update.filled) == (7_000, CANCELLED, 3_000)


def test_a_placed_group_is_timed_like_any_order():
    venue = Exchange(HALF)
    venue.send(Place((limit("x", Side.BUY, 1990, size=ETH), stop(1900)), "normal_tpsl", INTERVAL + 60_000))
    venue.bar(2000, 2000, 1980, 1985, volume=ETH)
    assert venue.fills() == []
    venue.bar(1985, 1985, 1980, 1985, volume=ETH)
    assert [fill.size for fill in venue.fills()] == [5_000]
