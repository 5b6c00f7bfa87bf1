"""The numbered bar semantics of execution.md §7, one hand-made case per clause."""

from dataclasses import replace

import pytest
from venue_driver import ETH, FREE_OF_COST, HOUR, INTERVAL, USDC, Exchange, bar, buy, limit, order, sell, stop, target, usd

from tradeagent.domain.errors import InvalidInput
from tradeagent.domain.names import ExitReason, Liquidity, OrderState, OrderType, Side
from tradeagent.venue import FundingRow
from tradeagent.venue.events import CloseBars, FundingPaid, Liquidated, Marked, OpenBars, Place

SLIPPED = replace(FREE_OF_COST, slippage_tenth_bps=100)


def held(config=FREE_OF_COST, side=Side.BUY, **levels) -> Exchange:
    """An account that bought (or sold) 1 ETH at 2000, with the given stop and target resting."""
    venue = Exchange(config)
    children = [make(levels[name], side.opposite) for name, make in (("stop", stop), ("target", target)) if name in levels]
    entry = order("entry", side)
    venue.bracket(entry, *children) if children else venue.place(entry)
    venue.bar(2000, 2000, 2000, 2000)
    assert abs(venue.position) == ETH
    return venue


def test_a_market_order_decided_on_the_close_fills_at_the_next_open():
    venue = Exchange()
    venue.place(buy())
    assert venue.status("entry") == (OrderState.PENDING, "queued")
    venue.bar(2010, 2050, 1990, 2040)
    fill = venue.fills("entry")[0]
    assert (fill.price, fill.time_ms, fill.liquidity) == (usd(2010), INTERVAL, Liquidity.TAKER)
    assert venue.all(Marked)[-1].equity == 100_000 * USDC + 30 * USDC


@pytest.mark.parametrize(
    ("tenth_bps", "side", "price"),
    [(0, Side.BUY, 201_000), (100, Side.BUY, 201_201), (100, Side.SELL, 200_799), (1, Side.BUY, 201_003), (1, Side.SELL, 200_997)],
)
def test_slippage_moves_the_open_against_the_trader_and_rounds_against_the_trader(tenth_bps, side, price):
    venue = Exchange(replace(FREE_OF_COST, slippage_tenth_bps=tenth_bps))
    venue.place(order("entry", side))
    venue.bar(2010, 2050, 1990, 2040)
    assert venue.fills("entry")[0].price == price


def test_a_gapped_stop_fills_at_the_open_not_at_its_level():
    venue = held(stop=1950)
    venue.bar(1900, 1990, 1890, 1980)
    fill = venue.fills("stop")[0]
    assert (fill.price, fill.reason, fill.realised) == (usd(1900), ExitReason.STOP, -100 * USDC)


def test_a_gapped_stop_slips_from_the_open():
    venue = held(SLIPPED, stop=1950)
    venue.bar(1900, 1990, 1890, 1980)
    assert venue.prices("stop") == [1898.1]


def test_a_stop_needs_only_a_touch_and_slips_from_its_level():
    venue = held(SLIPPED, stop=1950)
    venue.bar(2000, 2010, 1950, 2000)
    fill = venue.fills("stop")[0]
    assert (fill.price, fill.liquidity, fill.time_ms) == (usd(1948.05), Liquidity.TAKER, venue.index * INTERVAL - 1)


def test_a_stop_one_cent_below_the_low_does_not_fill():
    venue = held(stop=1949.9)
    venue.bar(2000, 2010, 1950, 2000)
    assert venue.position == ETH


@pytest.mark.parametrize(("side", "stop_at", "target_at"), [(Side.BUY, 1950, 2050), (Side.SELL, 2050, 1950)])
def test_a_bar_that_holds_both_stop_and_target_is_a_stop(side, stop_at, target_at):
    venue = held(side=side, stop=stop_at, target=target_at)
    venue.bar(2000, 2060, 1940, 2040)
    assert venue.prices("stop") == [stop_at]
    assert venue.status("target") == (OrderState.CANCELLED, "siblingFilledCanceled")
    assert venue.position == 0


def test_the_nearest_path_takes_the_closer_extreme_first():
    venue = held(replace(FREE_OF_COST, path="nearest"), stop=1950, target=2020)
    venue.bar(2000, 2030, 1940, 1960)
    assert venue.prices("target") == [2020]
    assert venue.status("stop") == (OrderState.CANCELLED, "siblingFilledCanceled")


def test_the_nearest_path_with_equal_distances_is_adverse():
    venue = held(replace(FREE_OF_COST, path="nearest"), stop=1950, target=2050)
    venue.bar(2000, 2060, 1940, 1960)
    assert venue.prices("stop") == [1950]


def test_a_market_target_needs_a_touch_and_pays_as_taker():
    venue = held(SLIPPED, target=2050)
    venue.bar(2000, 2050, 1990, 2000)
    fill = venue.fills("target")[0]
    assert (fill.price, fill.liquidity, fill.reason) == (usd(2047.95), Liquidity.TAKER, ExitReason.TARGET)


def test_a_gap_in_favour_fills_a_market_target_at_the_open():
    venue = held(target=2050)
    venue.bar(2080, 2090, 2070, 2085)
    assert venue.prices("target") == [2080]


def limit_target(at: float, **fields):
    return order("target", Side.SELL, OrderType.TAKE_PROFIT_LIMIT, price=at, trigger=at, reduce_only=True, **fields)


def test_a_limit_target_needs_a_trade_through_by_one_tick():
    venue = held()
    venue.place(limit_target(2050))
    venue.bar(2000, 2050.05, 1990, 2000)
    assert venue.status("target") == (OrderState.TRIGGERED, "triggered")
    venue.bar(2000, 2050.1, 1990, 2000)
    fill = venue.fills("target")[0]
    assert (fill.price, fill.liquidity, fill.reason) == (usd(2050), Liquidity.MAKER, ExitReason.TARGET)


def test_a_gap_over_a_limit_target_fills_at_its_own_price():
    venue = held()
    venue.place(limit_target(2050))
    venue.bar(2080, 2090, 2070, 2085)
    assert venue.prices("target") == [2050]


def test_a_resting_limit_is_not_filled_by_a_touch():
    venue = Exchange()
    venue.place(limit("entry", Side.BUY, 1950))
    assert venue.status("entry") == (OrderState.OPEN, "open")
    venue.bar(2000, 2010, 1950, 2000)
    venue.bar(2000, 2010, 1949.91, 2000)
    assert venue.position == 0
    venue.bar(2000, 2010, 1949.9, 2000)
    fill = venue.fills("entry")[0]
    assert (fill.price, fill.liquidity) == (usd(1950), Liquidity.MAKER)


def test_a_resting_limit_that_a_gap_jumps_over_fills_at_its_own_price():
    venue = Exchange()
    venue.place(limit("entry", Side.BUY, 1950))
    venue.bar(1900, 1910, 1890, 1900)
    fill = venue.fills("entry")[0]
    assert (fill.price, fill.liquidity, fill.time_ms) == (usd(1950), Liquidity.MAKER, INTERVAL)


def test_a_market_entry_at_the_open_lives_through_its_whole_bar():
    for children, cloid, price in [((stop(1950),), "stop", 1950), ((target(2050),), "target", 2050)]:
        venue = Exchange()
        venue.bracket(buy(), *children)
        venue.bar(2000, 2060, 1940, 2000)
        assert venue.prices(cloid) == [price]


def test_a_limit_entry_filled_on_the_way_can_be_stopped_on_the_rest_of_its_bar():
    venue = Exchange()
    venue.bracket(limit("entry", Side.BUY, 1980), stop(1950), target(1990))
    venue.bar(2000, 2010, 1940, 2000)
    assert (venue.prices("entry"), venue.prices("stop"), venue.prices("target")) == ([1980], [1950], [])


def test_the_target_of_a_limit_entry_filled_on_the_way_counts_from_the_next_bar():
    venue = Exchange()
    venue.bracket(limit("entry", Side.BUY, 1980), stop(1950), target(2005))
    venue.bar(2000, 2010, 1970, 2000)
    assert (venue.position, venue.prices("target")) == (ETH, [])
    venue.bar(2000, 2005, 1990, 2000)
    assert venue.prices("target") == [2005]


def test_a_held_target_that_the_next_open_has_passed_fills_at_that_open():
    venue = Exchange()
    venue.bracket(limit("entry", Side.BUY, 1980), target(2005))
    venue.bar(2000, 2010, 1970, 2008)
    assert venue.prices("target") == []
    venue.bar(2009, 2009, 1990, 2000)
    assert venue.prices("target") == [2009]


def test_a_stop_already_passed_when_its_entry_fills_executes_at_once():
    venue = Exchange()
    venue.bracket(buy(), stop(1990), target(2100))
    venue.bar(1980, 2010, 1970, 2000)
    assert (venue.prices("entry"), venue.prices("stop")) == ([1980], [1980])
    assert venue.fills("stop")[0].time_ms == INTERVAL
    assert venue.status("target") == (OrderState.CANCELLED, "siblingFilledCanceled")


def test_a_stop_passed_by_the_gap_that_fills_its_limit_entry_executes_at_the_open():
    venue = Exchange()
    venue.bracket(limit("entry", Side.BUY, 1980), stop(1950))
    venue.bar(1900, 1990, 1890, 1980)
    assert (venue.prices("entry"), venue.prices("stop")) == ([1980], [1900])


def test_a_breakout_entry_can_be_stopped_in_its_own_bar():
    venue = Exchange()
    venue.place(order("entry", Side.BUY, OrderType.STOP_MARKET, trigger=2020))
    venue.bar(2000, 2030, 1990, 2010)
    assert venue.prices("entry") == [2020]
    assert venue.fills("entry")[0].reason is None


def test_the_path_of_a_flat_market_is_adverse_to_the_entry_that_waits():
    venue = Exchange()
    venue.place(limit("first", Side.SELL, 2010), limit("second", Side.BUY, 1990))
    venue.bar(2000, 2015, 1985, 2000)
    assert [fill.cloid for fill in venue.fills()] == ["first", "second"]
    venue = Exchange()
    venue.place(limit("first", Side.BUY, 1990), limit("second", Side.SELL, 2010))
    venue.bar(2000, 2015, 1985, 2000)
    assert [fill.cloid for fill in venue.fills()] == ["first", "second"]


def test_the_path_of_a_flat_market_goes_first_to_a_breakout_entry_that_waits():
    venue = Exchange()
    venue.place(order("breakout", Side.BUY, OrderType.STOP_MARKET, trigger=2010), limit("dip", Side.BUY, 1990))
    venue.bar(2000, 2015, 1985, 2000)
    assert [fill.cloid for fill in venue.fills()] == ["breakout", "dip"]


def test_at_one_price_a_stop_comes_before_an_entry():
    venue = held()
    venue.place(order("reverse", Side.SELL, OrderType.STOP_MARKET, trigger=1950), stop(1950))
    venue.bar(2000, 2000, 1940, 1945)
    assert [fill.cloid for fill in venue.fills()][1:] == ["stop", "reverse"]
    assert venue.position == -ETH


def test_at_one_price_a_target_comes_before_an_entry():
    venue = held()
    venue.place(limit("short", Side.SELL, 2049.9), target(2050))
    venue.bar(2000, 2060, 1990, 2055)
    assert [fill.cloid for fill in venue.fills()][1:] == ["target", "short"]


def test_gapped_levels_execute_before_the_market_orders_that_wait():
    venue = held(stop=1950)
    venue.place(sell("close", reduce_only=True, exit_reason=ExitReason.SIGNAL))
    venue.bar(1900, 1910, 1890, 1900)
    assert venue.prices("stop") == [1900]
    assert venue.status("close") == (OrderState.CANCELLED, "reduceOnlyCanceled")


def test_nothing_fills_in_an_outage_bar_and_orders_wait():
    venue = held(stop=1950)
    venue.place(buy("more"))
    venue.bar(1900, 1900, 1900, 1900, volume=0)
    assert (venue.position, venue.status("more")[0]) == (ETH, OrderState.PENDING)
    assert venue.all(Marked)[-1].equity == 99_900 * USDC
    venue.bar(1890, 1895, 1880, 1890)
    assert (venue.prices("stop"), venue.prices("more")) == ([1890], [1890])


def test_an_outage_at_the_open_queues_what_is_placed_there():
    venue = Exchange()
    venue.open(2000, 2000, 2000, 2000, volume=0)
    venue.place(buy())
    venue.bar(2000, 2000, 2000, 2000, volume=0)
    assert venue.status("entry") == (OrderState.PENDING, "queued")


def test_fill_no_volume_trades_through_an_outage():
    venue = Exchange(replace(FREE_OF_COST, fill_no_volume=True))
    venue.place(buy())
    venue.bar(2000, 2000, 2000, 2000, volume=0)
    assert venue.position == ETH


def test_a_bar_of_volume_zero_with_a_range_is_no_outage():
    venue = Exchange()
    venue.place(buy())
    venue.bar(2000, 2001, 2000, 2000, volume=0)
    assert venue.position == ETH


def test_funding_is_paid_at_the_open_on_the_position_carried_in():
    venue = held()
    venue.place(sell("close", reduce_only=True))
    venue.bar(2100, 2100, 2100, 2100, funding=(FundingRow("ETH", 2 * INTERVAL, 125_000, usd(2050)),))
    paid = venue.all(FundingPaid)
    assert [(p.size, p.oracle, p.payment, p.payment_id) for p in paid] == [(ETH, usd(2050), 25_625, 1)]
    assert venue.equity == 100_100 * USDC - 25_625


def test_funding_without_an_oracle_uses_the_open_of_the_bar():
    venue = held(side=Side.SELL)
    venue.bar(2100, 2100, 2100, 2100, funding=(FundingRow("ETH", INTERVAL, 125_001),))
    assert [(p.oracle, p.payment) for p in venue.all(FundingPaid)] == [(usd(2100), -26_250)]


def test_a_position_opened_at_the_funding_open_pays_nothing():
    venue = Exchange()
    venue.place(buy())
    venue.bar(2100, 2100, 2100, 2100, funding=(FundingRow("ETH", INTERVAL, 125_000),))
    assert venue.position == ETH
    assert venue.all(FundingPaid) == []


def test_an_hour_of_funding_is_paid_once_however_often_it_is_sent():
    venue = held()
    row = FundingRow("ETH", 0, 125_000)
    venue.open(2000, 2000, 2000, 2000, funding=(row,))
    venue.bar(2000, 2000, 2000, 2000, funding=(row,))
    venue.bar(2000, 2000, 2000, 2000, funding=(row,))
    assert len(venue.all(FundingPaid)) == 1


def test_several_hours_between_two_opens_are_all_paid():
    venue = held()
    late = bar(2, (2000, 2000, 2000, 2000), interval=2 * HOUR)
    venue.bars(late, funding=(FundingRow("ETH", 3 * HOUR, 100_000), FundingRow("ETH", 4 * HOUR, 100_000)))
    assert [p.payment for p in venue.all(FundingPaid)] == [20_000, 20_000]


def test_funding_after_the_open_is_an_input_error():
    venue = held()
    with pytest.raises(InvalidInput, match="after the open"):
        venue.bar(2000, 2000, 2000, 2000, funding=(FundingRow("ETH", 10 * HOUR, 1),))


def test_market_orders_placed_at_a_current_open_fill_at_that_open_at_once():
    venue = Exchange()
    venue.open(2010, 2050, 1990, 2040)
    venue.place(buy())
    assert venue.prices("entry") == [2010]
    venue.bracket(buy("second"), stop(1995, cloid="s2"))
    assert venue.prices("second") == [2010]
    venue.bar(2010, 2050, 1990, 2040)
    assert (venue.prices("entry"), venue.prices("s2")) == ([2010], [1995])


def test_an_order_placed_after_the_open_has_passed_waits_for_the_next_one():
    venue = Exchange()
    venue.open(2010, 2050, 1990, 2040)
    venue.bar(2010, 2050, 1990, 2040)
    venue.place(buy())
    assert venue.fills() == []


def test_a_bar_that_was_played_changes_nothing_when_it_is_sent_again():
    venue = held(stop=1950)
    before = venue.state
    again = bar(venue.index - 1, (2000, 2100, 1900, 2000))
    assert venue.send(CloseBars(again.close_ms, {"ETH": again})) == ()
    assert venue.send(OpenBars(again.open_ms, {"ETH": again})) == ()
    assert venue.state == before


def test_bars_of_different_times_or_unknown_markets_are_an_input_error():
    venue = Exchange()
    with pytest.raises(InvalidInput, match="another time"):
        venue.bars(bar(1, (2000,) * 4), bar(2, (2000,) * 4, market="SOL"))
    with pytest.raises(InvalidInput, match="another time"):
        venue.send(OpenBars(7, {"ETH": bar(5, (2000,) * 4)}))
    with pytest.raises(InvalidInput, match="DOGE is not a market"):
        venue.bars(bar(1, (2000,) * 4, market="DOGE"))


def test_stop_limit_rests_when_a_gap_jumps_over_its_limit():
    venue = held()
    venue.place(order("stop", Side.SELL, OrderType.STOP_LIMIT, trigger=1950, price=1940, reduce_only=True))
    venue.bar(1900, 1939, 1890, 1900)
    assert venue.status("stop") == (OrderState.TRIGGERED, "triggered")
    venue.bar(1900, 1940.1, 1890, 1900)
    fill = venue.fills("stop")[0]
    assert (fill.price, fill.liquidity, fill.reason) == (usd(1940), Liquidity.MAKER, ExitReason.STOP)


def test_stop_limit_fills_as_taker_no_worse_than_its_limit():
    venue = held(SLIPPED)
    venue.place(order("stop", Side.SELL, OrderType.STOP_LIMIT, trigger=1950, price=1949, reduce_only=True))
    venue.bar(2000, 2000, 1940, 1950)
    fill = venue.fills("stop")[0]
    assert (fill.price, fill.liquidity) == (usd(1949), Liquidity.TAKER)


def test_a_volume_cap_fills_a_limit_over_several_bars():
    venue = Exchange(replace(FREE_OF_COST, volume_cap_pct=10))
    venue.bracket(limit("entry", Side.BUY, 1950), stop(1900))
    venue.bar(2000, 2000, 1940, 1950, volume=6 * ETH)
    assert (venue.position, venue.status("entry")[0], venue.status("stop")) == (
        6000,
        OrderState.PARTIALLY_FILLED,
        (OrderState.PENDING, "waitingForFill"),
    )
    venue.bar(1950, 1960, 1945, 1950, volume=6 * ETH)
    assert (venue.position, venue.status("entry")[0], venue.status("stop")[0]) == (ETH, OrderState.FILLED, OrderState.OPEN)


def test_a_volume_cap_carries_the_rest_of_a_stop_to_the_next_open():
    venue = held(replace(FREE_OF_COST, volume_cap_pct=50), stop=1950)
    venue.bar(2000, 2000, 1940, 1945, volume=ETH)
    assert (venue.prices("stop"), venue.position) == ([1950], 5000)
    venue.bar(1930, 1935, 1925, 1930, volume=ETH)
    assert (venue.prices("stop"), venue.position) == ([1950, 1930], 0)
    assert [fill.reason for fill in venue.fills("stop")] == [ExitReason.STOP, ExitReason.STOP]


def test_a_volume_cap_cancels_the_rest_of_a_market_order_and_its_children():
    venue = Exchange(replace(FREE_OF_COST, volume_cap_pct=50))
    venue.bracket(buy(), stop(1900))
    venue.bar(2000, 2000, 2000, 2000, volume=ETH)
    assert venue.position == 5000
    assert (venue.status("entry"), venue.status("stop")) == ((OrderState.CANCELLED, "canceled"), (OrderState.CANCELLED, "canceled"))


def test_a_partly_filled_entry_cancelled_for_margin_leaves_its_children_live():
    venue = Exchange(replace(FREE_OF_COST, volume_cap_pct=50), cash=200 * USDC)
    venue.bracket(limit("entry", Side.BUY, 1950, size=2 * ETH), stop(1850))
    venue.bar(2000, 2000, 1940, 1950, volume=2 * ETH)
    venue.bar(1900, 1900, 1900, 1900)
    assert venue.status("entry") == (OrderState.CANCELLED, "marginCanceled")
    assert (venue.position, venue.status("stop")) == (ETH, (OrderState.OPEN, "waitingForTrigger"))
    venue.bar(1850, 1850, 1850, 1850)
    assert (venue.position, venue.prices("stop")) == (0, [1850])


def test_orders_find_no_liquidity_once_the_volume_is_used_up():
    venue = held(replace(FREE_OF_COST, volume_cap_pct=50), stop=1950)
    venue.place(buy("all", size=5000), buy("late"))
    venue.bar(2000, 2000, 1940, 1945, volume=ETH)
    assert venue.status("late") == (OrderState.REJECTED, "No liquidity available for market order.")
    assert venue.status("stop") == (OrderState.TRIGGERED, "queued")
    venue.bar(1930, 1935, 1925, 1930)
    assert venue.prices("stop") == [1930]


CALM = (2000, 2000, 2000, 2000)


@pytest.mark.parametrize(
    ("eth", "sol", "is_liquidated"),
    [
        ((2000, 2010, 1850, 2000), CALM, False),
        (CALM, (2000, 2100, 1990, 2000), False),
        ((2000, 2010, 1850, 2000), (2000, 2100, 1990, 2000), True),
    ],
)
def test_several_markets_reach_their_adverse_extremes_together(eth, sol, is_liquidated):
    venue = Exchange(cash=300 * USDC)
    venue.bars(bar(1, CALM), bar(1, CALM, market="SOL"))
    venue.place(buy("eth"), sell("sol", market="SOL", size=10_000))
    venue.bars(bar(2, CALM), bar(2, CALM, market="SOL"))
    assert (venue.size("ETH"), venue.size("SOL")) == (ETH, -10_000)
    venue.bars(bar(3, eth), bar(3, sol, market="SOL"))
    assert bool(venue.all(Liquidated)) is is_liquidated


LATE = INTERVAL + FREE_OF_COST.latency_ms + 1


def test_a_market_order_placed_while_a_bar_runs_waits_for_the_next_open():
    venue = Exchange()
    venue.send(Place((buy(),), time_ms=LATE))
    venue.bar(2010, 2050, 1990, 2040)
    assert not venue.fills()
    assert venue.status("entry") == (OrderState.PENDING, "queued")
    venue.bar(2045, 2045, 2045, 2045)
    assert venue.fills("entry")[0].price == usd(2045)


def test_what_was_decided_on_a_close_may_arrive_a_moment_after_it():
    venue = Exchange()
    venue.send(Place((buy(),), time_ms=LATE - 1))
    venue.bar(2010, 2050, 1990, 2040)
    assert venue.fills("entry")[0].price == usd(2010)


def test_a_limit_placed_while_a_bar_runs_gets_nothing_of_its_path():
    venue = Exchange()
    venue.send(Place((limit("entry", Side.BUY, 1950),), time_ms=LATE))
    venue.bar(2010, 2050, 1900, 2040)
    assert not venue.fills()
    venue.bar(2040, 2040, 1900, 2000)
    assert len(venue.fills()) == 1


def test_a_stop_placed_while_a_bar_runs_guards_from_the_next_open():
    venue = held()
    venue.send(Place((stop(1950),), time_ms=2 * INTERVAL + 60_000))
    venue.bar(2000, 2000, 1900, 1940)
    assert venue.position == ETH
    venue.bar(1930, 1990, 1930, 1980)
    assert venue.prices("stop") == [1930]


def test_an_order_at_the_mark_does_not_wait_for_any_bar():
    venue = held()
    venue.send(Place((replace(order("out", Side.SELL), at_mark=True),), time_ms=2 * INTERVAL + 60_000))
    assert venue.prices("out") == [2000]
    assert venue.position == 0


def test_an_order_after_an_open_that_was_played_alone_waits_too():
    venue = Exchange()
    venue.open(2010, 2010, 2010, 2010)
    venue.send(Place((buy(),), time_ms=LATE))
    assert not venue.fills()
    venue.bar(2010, 2050, 1990, 2040)
    assert not venue.fills()


@pytest.mark.parametrize("other", [bar(0, (20, 20, 20, 20), market="SOL", interval=2 * INTERVAL), bar(0, (20, 20, 20, 20), market="SOL")])
def test_bars_of_two_intervals_are_not_played_together(other):
    venue = Exchange(mark=None)
    before = venue.state
    own = bar(1, (2000, 2000, 2000, 2000))
    with pytest.raises(InvalidInput, match="opens or closes at another time"):
        venue.send(CloseBars(own.close_ms, {"ETH": own, "SOL": other}))
    assert venue.state == before
    venue.bars(bar(0, (2000, 2000, 2000, 2000)), bar(0, (20, 20, 20, 20), market="SOL"))
    assert set(venue.state.marks) == {"ETH", "SOL"}
