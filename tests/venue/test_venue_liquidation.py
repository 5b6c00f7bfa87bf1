"""Liquidation: the exact price, steps, priority, the backstop (hyperliquid.md §6)."""

from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from venue_driver import CENT, ETH, FREE_OF_COST, MARKETS, USDC, Exchange, bar, buy, limit, order, stop, usd

from tradeagent.domain.instrument import Instrument, MarginTier
from tradeagent.domain.margin import Account
from tradeagent.domain.names import ExitReason, Liquidity, OrderState, Side
from tradeagent.domain.position import Position
from tradeagent.venue import VenueState, account, step
from tradeagent.venue.events import Filled, Liquidated, OpenBars, SetLeverage
from tradeagent.venue.margin import is_liquidatable
from tradeagent.venue.state import Holding

INSTRUMENTS = {
    name: Instrument("paper", name, spec.size_decimals, tuple(MarginTier(Decimal(bound).scaleb(-6), lev) for bound, lev in spec.tiers))
    for name, spec in MARKETS.items()
}


def leveraged(cash: int, size: int = ETH, config=FREE_OF_COST) -> Exchange:
    venue = Exchange(config, cash=cash)
    venue.place(order("entry", Side.BUY if size > 0 else Side.SELL, size=abs(size), at_mark=True))
    assert venue.position == size
    return venue


def test_a_long_is_liquidated_at_the_first_price_below_its_liquidation_price():
    venue = leveraged(100 * USDC)
    venue.bar(2000, 2000, 1900, 1990)
    fill = venue.fills()[-1]
    assert (fill.price, fill.reason, fill.cloid, fill.liquidity) == (193_877, ExitReason.LIQUIDATION, "", Liquidity.TAKER)
    assert [(each.market, each.kind, each.amount) for each in venue.all(Liquidated)] == [("ETH", "market", 0)]
    assert venue.equity == 100 * USDC - 61_230_000


def test_liquidation_pays_the_taker_fee_and_the_configured_slippage_only():
    venue = leveraged(110 * USDC, config=replace(FREE_OF_COST, taker_rate=45_000, slippage_tenth_bps=20))
    venue.bar(2000, 2000, 1900, 1990)
    entry, fill = venue.fills()
    assert entry.price == usd(2000.4)
    breach = next(p for p in range(200_000, 0, -1) if (110 * USDC - entry.fee + (p - 200_040) * ETH) * 50 < p * ETH)
    assert fill.price == breach * 99_980 // 100_000
    assert fill.fee == fill.price * ETH * 45_000 // 10**8


def test_liquidation_comes_before_a_stop_at_the_same_price_and_cancels_all_orders():
    venue = leveraged(105_067_100)
    venue.place(limit("other", Side.BUY, 1000, size=100), stop(1933.6))
    venue.bar(2000, 2000, 1930, 1990)
    assert (venue.fills()[-1].price, venue.fills()[-1].reason) == (usd(1933.6), ExitReason.LIQUIDATION)
    assert {venue.status("stop"), venue.status("other")} == {(OrderState.CANCELLED, "liquidatedCanceled")}


def test_a_stop_one_tick_before_the_liquidation_price_saves_the_account():
    venue = leveraged(105_067_100)
    venue.place(stop(1933.7))
    venue.bar(2000, 2000, 1930, 1990)
    assert (venue.fills()[-1].reason, venue.all(Liquidated)) == (ExitReason.STOP, [])


def test_a_gap_through_the_liquidation_price_liquidates_at_the_open_before_its_stop():
    venue = leveraged(100 * USDC)
    venue.place(stop(1950))
    venue.bar(1930, 1990, 1930, 1980)
    assert (venue.fills()[-1].price, venue.fills()[-1].reason) == (usd(1930), ExitReason.LIQUIDATION)
    assert venue.all(Liquidated)[0].kind == "market"


def test_below_two_thirds_of_maintenance_the_venue_takes_the_whole_cross_account():
    venue = leveraged(100 * USDC)
    venue.bar(1925, 1990, 1925, 1980)
    fill = venue.fills()[-1]
    assert (fill.price, fill.fee, fill.reason) == (usd(1925), 0, ExitReason.LIQUIDATION)
    assert [(each.market, each.kind, each.amount) for each in venue.all(Liquidated)] == [(None, "backstop", 25 * USDC)]
    assert (venue.position, venue.state.cash, venue.equity) == (0, 0, 0)


def test_two_thirds_of_maintenance_exactly_is_still_a_market_liquidation():
    for cash, kind in [(520 * USDC, "market"), (520 * USDC - 1, "backstop")]:
        venue = leveraged(cash)
        venue.bar(1500, 1500, 1500, 1500)
        assert venue.all(Liquidated)[0].kind == kind


def test_equity_equal_to_maintenance_is_not_liquidated():
    for cash, is_liquidated in [(530 * USDC, False), (530 * USDC - 1, True)]:
        venue = leveraged(cash)
        venue.bar(1500, 1500, 1500, 1500)
        assert bool(venue.all(Liquidated)) is is_liquidated


def test_a_loss_beyond_the_equity_is_covered_by_the_venue():
    venue = leveraged(100 * USDC)
    venue.bar(1800, 1800, 1800, 1800)
    assert venue.all(Liquidated)[-1].amount == -100 * USDC
    assert venue.equity == 0


def test_a_large_position_is_liquidated_a_fifth_at_a_time_until_margin_is_met():
    venue = leveraged(10_000 * USDC, 100 * ETH)
    venue.bar(2000, 2000, 1938.7, 1990)
    closes = venue.fills()[1:]
    assert [(fill.size, fill.price) for fill in closes] == [(20 * ETH, 193_877)]
    assert venue.position == 80 * ETH
    assert not is_liquidatable(venue.state, venue.config)


def test_further_steps_follow_at_the_same_price_while_margin_is_not_met():
    venue = leveraged(10_000 * USDC, 100 * ETH)
    venue.bar(1930, 1930, 1930, 1930)
    closes = venue.fills()[1:]
    assert [fill.size for fill in closes] == [20 * ETH, 16 * ETH]
    assert {fill.price for fill in closes} == {usd(1930)}
    assert not is_liquidatable(venue.state, venue.config)


@pytest.mark.parametrize(("extra", "sizes"), [(0, [50 * ETH]), (1, [10 * ETH + 1])])
def test_a_position_above_one_hundred_thousand_closes_a_fifth_rounded_up_and_a_smaller_one_at_once(extra, sizes):
    venue = Exchange(cash=4_100 * USDC, mark=2045)
    venue.send(SetLeverage("ETH", 25))
    venue.place(buy(size=50 * ETH + extra, at_mark=True))
    venue.bar(2000, 2000, 2000, 2000)
    assert [fill.size for fill in venue.fills()[1:]][:1] == sizes


def test_an_outage_bar_liquidates_nothing():
    venue = leveraged(100 * USDC)
    venue.bar(1900, 1900, 1900, 1900, volume=0)
    assert (venue.position, venue.all(Liquidated)) == (ETH, [])
    venue.bar(1930, 1930, 1930, 1930)
    assert venue.all(Liquidated)[0].kind == "market"


def test_the_larger_of_two_positions_is_closed_first_and_the_rest_may_stay():
    venue = Exchange(cash=350 * USDC)
    flat = (2000, 2000, 2000, 2000)
    venue.bars(bar(1, flat), bar(1, flat, market="SOL"))
    venue.place(buy("eth", size=2 * ETH, at_mark=True), buy("sol", market="SOL", size=2_500, at_mark=True))
    venue.bars(bar(2, (1868.5, 1868.5, 1868.5, 1868.5)), bar(2, flat, market="SOL"))
    assert [each.market for each in venue.all(Liquidated)] == ["ETH"]
    assert venue.fills()[-1].price == usd(1868.5)
    assert (venue.size("ETH"), venue.size("SOL")) == (0, 2_500)


def test_with_several_moving_positions_liquidation_is_judged_at_the_path_points():
    venue = Exchange(cash=350 * USDC)
    flat = (2000, 2000, 2000, 2000)
    venue.bars(bar(1, flat), bar(1, flat, market="SOL"))
    venue.place(buy("eth", size=2 * ETH, at_mark=True), buy("sol", market="SOL", size=2_500, at_mark=True))
    venue.bars(bar(2, (2000, 2000, 1866, 1990)), bar(2, (2000, 2001, 2000, 2000), market="SOL"))
    assert venue.fills()[-1].price == usd(1866)


def test_liquidation_uses_the_exact_price_when_only_one_of_the_positions_moves():
    venue = Exchange(cash=350 * USDC)
    flat = (2000, 2000, 2000, 2000)
    venue.bars(bar(1, flat), bar(1, flat, market="SOL"))
    venue.place(buy("eth", size=2 * ETH, at_mark=True), buy("sol", market="SOL", size=2_500, at_mark=True))
    venue.bars(bar(2, (2000, 2000, 1800, 1990)))
    breach = next(p for p in range(200_000, 0, -1) if (350 * USDC + 2 * (p - 200_000) * ETH) * 200 < 8 * p * ETH + 2_500 * 200_000 * 5)
    assert venue.fills()[-1].price == breach


sizes = st.integers(-500 * ETH, 500 * ETH).filter(bool)
prices = st.integers(1_000, 1_000_000)


def decimal_account(state: VenueState) -> Account:
    spec = MARKETS
    positions = tuple(
        Position(name, spec[name].size_out(held.size), Decimal(held.cost).scaleb(-6), state.leverage.get(name, 20))
        for name, held in state.holdings.items()
    )
    marks = {name: spec[name].price_out(mark) for name, mark in state.marks.items()}
    return Account(Decimal(state.cash).scaleb(-6), positions, marks, INSTRUMENTS)


def micro_up(value: Decimal) -> int:
    return int(value.scaleb(6).quantize(Decimal("1e-9")).to_integral_value(ROUND_CEILING))


@st.composite
def states(draw, markets=("ETH", "SOL")) -> VenueState:
    holdings, marks, leverage = {}, {}, {}
    for name in markets:
        size = draw(sizes)
        holdings[name] = Holding(size, size * draw(prices) + draw(st.integers(-5, 5)))
        marks[name] = draw(prices)
        leverage[name] = draw(st.integers(1, 20))
    return VenueState(cash=draw(st.integers(-(10**12), 10**13)), holdings=holdings, marks=marks, leverage=leverage)


@given(states())
def test_margins_equal_the_domain_account(state):
    view, expected = account(state, FREE_OF_COST), decimal_account(state)
    assert Decimal(view.equity).scaleb(-6) == expected.equity
    assert Decimal(view.notional).scaleb(-6) == expected.notional
    assert view.initial_margin == micro_up(expected.initial_margin)
    assert view.maintenance == micro_up(expected.maintenance)
    assert view.free == max(0, view.equity - view.initial_margin)
    assert is_liquidatable(state, FREE_OF_COST) == expected.is_liquidatable


@settings(max_examples=300)
@given(states(markets=("ETH",)), st.booleans())
def test_the_price_of_a_liquidation_is_the_domain_liquidation_price(state, with_other):
    if with_other:
        state = replace(state, holdings={**state.holdings, "SOL": Holding(100, 100 * 2000)}, marks={**state.marks, "SOL": 2100})
    if is_liquidatable(state, FREE_OF_COST):
        return
    long = state.holdings["ETH"].size > 0
    end = 1 if long else 10**9
    mark = state.marks["ETH"] / CENT
    after, outcomes = step(state, OpenBars(0, {"ETH": bar(0, (mark,) * 4)}), FREE_OF_COST)
    assert outcomes == ()
    venue = Exchange()
    venue.state, venue.outcomes = after, []
    low, high = (end, state.marks["ETH"]) if long else (state.marks["ETH"], end)
    exact = decimal_account(state).liquidation_price("ETH")
    venue.index = 0
    venue.bar(mark, high / CENT, low / CENT, mark)
    fills = [fill for fill in venue.all(Filled) if fill.market == "ETH"]
    if exact is None or exact.scaleb(2) > 10**9 or (long and exact.scaleb(2) <= 1):
        assert fills == []
        return
    cents = exact.scaleb(2)
    expected = cents.to_integral_value(ROUND_CEILING) - 1 if long else cents.to_integral_value(ROUND_FLOOR) + 1
    assert fills[0].price == expected


@pytest.mark.parametrize("notional", [99_999_999, 100_000_000, 100_000_001])
def test_at_a_tier_bound_the_higher_tier_applies(notional):
    size, price = notional, 100
    state = VenueState(holdings={"ETH": Holding(size * ETH, size * ETH * price)}, marks={"ETH": price})
    assert account(state, FREE_OF_COST).maintenance == micro_up(decimal_account(state).maintenance)
