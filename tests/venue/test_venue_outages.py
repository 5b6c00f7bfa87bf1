"""A bar with volume 0 and one price: nothing fills, orders wait, the last signal counts (execution.md §7)."""

from dataclasses import replace

from venue_driver import ETH, FREE_OF_COST, INTERVAL, Exchange, bar, buy, limit, long_account, order, sell, stop

from tradeagent.domain.names import ExitReason, OrderState, OrderType, Side

CANCELLED = OrderState.CANCELLED


def outage(venue: Exchange, price: float = 2000) -> None:
    venue.bar(price, price, price, price, volume=0)


def test_in_an_outage_an_opposite_signal_replaces_the_order_that_waits():
    venue = Exchange()
    venue.bracket(buy("long"), stop(1900, cloid="long stop"))
    outage(venue)
    venue.bracket(sell("short"), stop(2100, Side.BUY, cloid="short stop"))
    assert {venue.status("long")[0], venue.status("long stop")[0]} == {CANCELLED}
    assert venue.status("long")[1] == "replacedCanceled"
    outage(venue)
    venue.bar(1990, 2000, 1980, 1990)
    assert (venue.prices("long"), venue.prices("short"), venue.position) == ([], [1990], -ETH)
    assert venue.status("short stop") == (OrderState.OPEN, "waitingForTrigger")


def test_the_last_of_several_signals_in_an_outage_counts():
    venue = Exchange()
    outage(venue)
    for each, side in enumerate([Side.BUY, Side.SELL, Side.BUY, Side.SELL]):
        venue.place(order(f"s{each}", side))
        outage(venue)
    venue.bar(2000, 2000, 2000, 2000)
    assert [fill.cloid for fill in venue.fills()] == ["s3"]


def test_signals_of_one_side_and_orders_that_wait_for_a_price_are_not_replaced():
    venue = long_account()
    outage(venue)
    venue.place(limit("dip", Side.BUY, 1950), order("breakout", Side.BUY, OrderType.STOP_MARKET, trigger=2050), buy("one"), buy("two"))
    venue.place(sell("close", reduce_only=True), stop(1900))
    assert {venue.status("one")[0], venue.status("two")[0]} == {CANCELLED}, "a close is a signal too"
    assert {venue.status("dip")[0], venue.status("breakout")[0]} == {OrderState.OPEN}
    venue.place(buy("three"))
    assert venue.status("close")[0] is OrderState.PENDING, "what reduces goes on"
    venue.bar(2000, 2000, 2000, 2000)
    assert [fill.cloid for fill in venue.fills()] == ["entry", "close", "three"]


def test_without_an_outage_orders_of_both_sides_fill_at_the_open():
    venue = Exchange()
    venue.place(buy("a"), sell("b", size=2 * ETH))
    venue.bar(2000, 2000, 2000, 2000)
    assert ([fill.cloid for fill in venue.fills()], venue.position) == (["a", "b"], -ETH)


def test_an_outage_of_one_market_replaces_nothing_in_another_and_ends_with_the_next_trade():
    venue = Exchange()
    flat = (2000, 2000, 2000, 2000)
    venue.bars(bar(1, flat, volume=0), bar(1, flat, market="SOL"))
    assert venue.state.outages == {"ETH": INTERVAL}
    venue.place(buy("eth"), buy("a", market="SOL", size=1000), sell("b", market="SOL", size=500))
    venue.bars(bar(2, flat), bar(2, flat, market="SOL"))
    assert (venue.size("SOL"), venue.state.outages) == (500, {})
    venue.bars(bar(3, flat, volume=0), bar(3, flat, market="SOL", volume=0))
    venue.place(buy("c", market="SOL", size=1000), sell("d"))
    assert venue.status("c")[0] is OrderState.PENDING


def test_an_order_at_the_mark_waits_in_an_outage_as_everything_does():
    venue = long_account()
    outage(venue, 1900)
    venue.place(sell("out", reduce_only=True, at_mark=True, exit_reason=ExitReason.FLATTEN))
    assert venue.status("out") == (OrderState.PENDING, "queued")
    venue.bar(1850, 1850, 1850, 1850)
    assert venue.prices("out") == [1850]


def test_with_fill_no_volume_there_are_no_outages():
    venue = Exchange(replace(FREE_OF_COST, fill_no_volume=True))
    outage(venue)
    venue.place(buy("a"), sell("b", at_mark=True))
    outage(venue)
    assert ([fill.cloid for fill in venue.fills()], venue.state.outages) == (["b", "a"], {})
