"""Trailing stops (execution.md §7): where the level stands, when it may be hit, and at which price."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from venue_driver import CENT, ETH, FREE_OF_COST, INTERVAL, USDC, Exchange, bar, buy, limit, long_account, order, sell, stop, target, usd

from tradeagent.brokers.paper import PaperBroker
from tradeagent.domain.bars import Bar
from tradeagent.domain.clock import SimulatedClock
from tradeagent.domain.instrument import Instrument, MarginTier
from tradeagent.domain.names import ExitReason, OrderState, OrderType, Side, Tif
from tradeagent.domain.order import Fill, OrderRequest
from tradeagent.venue import VenueState, step
from tradeagent.venue.events import CloseBars, Filled, Liquidated, Place

SLIPPED = replace(FREE_OF_COST, slippage_tenth_bps=100)
NEAREST = replace(FREE_OF_COST, path="nearest")
BAD_TRIGGER = "Invalid TP/SL price."


def trail(distance: float, side: Side = Side.SELL, cloid: str = "trail", *, activation: float | None = None, **fields):
    fields = {"reduce_only": True, **fields}
    starts = None if activation is None else usd(activation)
    return order(cloid, side, OrderType.STOP_MARKET, trail=usd(distance), activation=starts, **fields)


def held(config=FREE_OF_COST, side=Side.BUY, *children) -> Exchange:
    """One ETH bought (or sold) at an open of 2000 together with its children; the bar stayed at 2000."""
    venue = Exchange(config)
    venue.bracket(order("entry", side), *children)
    venue.bar(2000, 2000, 2000, 2000)
    assert abs(venue.position) == ETH
    return venue


def level(venue: Exchange, cloid: str = "trail") -> float | None:
    """Where the level of a live stop stands, in dollars."""
    found = next(each for each in venue.state.orders.values() if each.cloid == cloid)
    return None if found.trigger is None else found.trigger / CENT


def exits(venue: Exchange) -> list[tuple[float, ExitReason | None]]:
    return [(fill.price / CENT, fill.reason) for fill in venue.fills() if fill.cloid != "entry"]


def test_a_trailing_stop_starts_at_its_distance_from_the_open_that_filled_its_entry():
    venue = held(SLIPPED, Side.BUY, trail(15))
    assert venue.prices("entry") == [2002]
    assert level(venue) == 1985, "from the market, not from what the entry paid"
    assert venue.status("trail") == (OrderState.OPEN, "waitingForTrigger")


def by_rate(percent: float, side: Side = Side.SELL, **fields):
    """A stop that trails by a share of the best price."""
    return order("trail", side, OrderType.STOP_MARKET, **{"trail_rate": round(percent * 10**6), "reduce_only": True, **fields})


def test_a_trail_by_rate_keeps_its_share_of_the_best_price():
    venue = held(FREE_OF_COST, Side.BUY, by_rate(1))
    assert level(venue) == 1980
    venue.bar(2000, 2050, 1981, 2045)
    assert (exits(venue), level(venue)) == ([], 2029.50), "1 % of 2050"
    venue.bar(2045, 2045, 2020, 2044)
    assert exits(venue) == [(2029.50, ExitReason.TRAILING_STOP)]
    short = held(FREE_OF_COST, Side.SELL, by_rate(1, Side.BUY))
    short.bar(2000, 2019, 1900, 1910)
    assert (exits(short), level(short)) == ([], 1919)
    assert VenueState.from_json(short.state.to_json()) == short.state


def test_a_trail_by_rate_is_rounded_toward_the_market():
    assert level(held(FREE_OF_COST, Side.BUY, by_rate(0.123456))) == 1997.54, "2000 × 0.99876544 = 1997.53088"
    assert level(held(FREE_OF_COST, Side.SELL, by_rate(0.123456, Side.BUY))) == 2002.46, "2000 × 1.00123456 = 2002.46912"


def test_a_trail_by_rate_waits_for_its_activation():
    venue = held(FREE_OF_COST, Side.BUY, by_rate(1, activation=usd(2040), trigger=1900))
    venue.bar(2000, 2039, 1981, 2030)
    assert level(venue) == 1900
    venue.bar(2030, 2040, 2030, 2040)
    assert level(venue) == 2019.60


@pytest.mark.parametrize(
    "wrong",
    [{"trail_rate": 0}, {"trail_rate": -(10**6)}, {"trail": usd(15)}, {"reduce_only": False}, {"activation": 0}, {"activation": -1}],
)
def test_a_trail_by_rate_that_could_not_follow_is_refused(wrong):
    venue = long_account()
    venue.place(by_rate(1, **wrong))
    assert venue.status("trail") == (OrderState.REJECTED, BAD_TRIGGER)
    venue.place(replace(by_rate(1), cloid="right"))
    assert venue.status("right")[0] is OrderState.OPEN


def test_a_new_high_can_stop_out_only_on_the_way_to_the_close_of_its_bar():
    venue = held(FREE_OF_COST, Side.BUY, trail(15))
    venue.bar(2000, 2050, 1986, 2030)
    fill = venue.fills("trail")[0]
    assert (fill.price, fill.reason, fill.time_ms) == (usd(2035), ExitReason.TRAILING_STOP, venue.index * INTERVAL - 1)


def test_a_low_of_the_bar_that_makes_a_new_high_is_measured_from_the_high_before_it():
    venue = held(FREE_OF_COST, Side.BUY, trail(15))
    venue.bar(2000, 2050, 1986, 2045)
    assert (exits(venue), level(venue)) == ([], 2035)


def test_a_new_low_stops_a_short_out_only_on_the_way_to_the_close():
    venue = held(FREE_OF_COST, Side.SELL, trail(15, Side.BUY))
    venue.bar(2000, 2014, 1950, 1960)
    assert (exits(venue), level(venue)) == ([], 1965)
    venue.bar(1960, 1964, 1940, 1958)
    assert exits(venue) == [(1955, ExitReason.TRAILING_STOP)]


def test_the_nearest_path_may_stop_out_on_the_far_extreme_after_the_near_one():
    venue = held(NEAREST, Side.BUY, trail(15))
    venue.bar(2000, 2010, 1990, 2005)
    assert level(venue) == 1995, "distances are equal: adverse"
    venue.bar(2005, 2012, 1990, 2000)
    assert exits(venue) == [(1997, ExitReason.TRAILING_STOP)]


def test_the_level_never_moves_back():
    venue = held(FREE_OF_COST, Side.BUY, trail(50))
    levels = []
    for prices in [(2000, 2030, 1990, 2020), (2020, 2020, 1990, 1990), (1990, 2025, 1985, 2010), (2010, 2040, 2000, 2030)]:
        venue.bar(*prices)
        levels.append(level(venue))
    assert levels == [1980, 1980, 1980, 1990]


def test_an_open_that_is_a_new_high_lifts_the_level_for_the_rest_of_its_bar():
    venue = held(FREE_OF_COST, Side.BUY, trail(15))
    venue.bar(2040, 2045, 2020, 2044)
    assert exits(venue) == [(2025, ExitReason.TRAILING_STOP)]


def test_a_gap_through_the_level_fills_at_the_open():
    venue = held(FREE_OF_COST, Side.BUY, trail(15))
    venue.bar(2000, 2050, 1995, 2045)
    venue.bar(2020, 2050, 2010, 2040)
    fill = venue.fills("trail")[0]
    assert (fill.price, fill.reason, fill.time_ms) == (usd(2020), ExitReason.TRAILING_STOP, (venue.index - 1) * INTERVAL)


def test_a_trailing_stop_slips_from_its_level_and_pays_as_taker():
    venue = held(replace(SLIPPED, taker_rate=45_000), Side.BUY, trail(50))
    venue.bar(2000, 2000, 1950, 1990)
    fill = venue.fills("trail")[0]
    assert (fill.price, fill.fee) == (usd(1948.05), 1948_050_000 * 45 // 100_000)


def test_a_stop_that_never_moved_is_a_stop_and_not_a_trailing_stop():
    venue = held(FREE_OF_COST, Side.BUY, trail(50, trigger=1950))
    assert level(venue) == 1950
    venue.bar(2000, 2000, 1950, 1990)
    assert exits(venue) == [(1950, ExitReason.STOP)]


def test_the_starting_level_holds_until_the_trailing_one_is_tighter():
    venue = held(FREE_OF_COST, Side.BUY, trail(50, trigger=1980))
    venue.bar(2000, 2020, 1990, 2010)
    assert level(venue) == 1980
    venue.bar(2010, 2040, 2005, 2035)
    assert level(venue) == 1990


def test_before_its_activation_a_trailing_stop_stays_at_its_start():
    venue = held(FREE_OF_COST, Side.BUY, trail(10, trigger=1900, activation=2040))
    venue.bar(2000, 2039.9, 1990, 2000)
    assert level(venue) == 1900
    venue.bar(2000, 2040, 1990, 2035)
    assert level(venue) == 2030
    venue.bar(2035, 2036, 2030, 2036)
    assert exits(venue) == [(2030, ExitReason.TRAILING_STOP)]


def test_without_a_start_there_is_no_level_before_activation():
    venue = held(FREE_OF_COST, Side.SELL, trail(10, Side.BUY, activation=1960))
    venue.bar(2000, 2500, 1961, 2400)
    assert (level(venue), exits(venue)) == (None, [])
    venue.bar(2400, 2400, 1955, 1956)
    assert level(venue) == 1965


def test_a_limit_entry_filled_on_the_way_starts_its_trail_there():
    venue = Exchange()
    venue.bracket(limit("entry", Side.BUY, 1980), trail(20))
    assert venue.status("trail") == (OrderState.PENDING, "waitingForFill")
    venue.bar(2000, 2030, 1970, 2015)
    assert (venue.prices("entry"), exits(venue), level(venue)) == ([1980], [], 2010)
    venue = Exchange()
    venue.bracket(limit("entry", Side.BUY, 1980), trail(20))
    venue.bar(2000, 2030, 1950, 2025)
    assert exits(venue) == [(1959.9, ExitReason.TRAILING_STOP)], "one tick through 1980 is the best price so far"


def test_a_passed_start_executes_at_once_when_the_entry_fills():
    venue = Exchange()
    venue.bracket(limit("entry", Side.BUY, 1980), trail(20, trigger=1950))
    venue.bar(1900, 1990, 1890, 1980)
    assert exits(venue) == [(1900, ExitReason.STOP)]


def test_a_trailing_stop_takes_its_target_along():
    venue = held(FREE_OF_COST, Side.BUY, trail(15), target(2100))
    venue.bar(2000, 2050, 1990, 2030)
    assert venue.status("target") == (OrderState.CANCELLED, "siblingFilledCanceled")
    assert venue.state.orders == {}


def test_a_target_reached_before_the_new_level_comes_first():
    venue = held(FREE_OF_COST, Side.BUY, trail(15), target(2050))
    venue.bar(2000, 2060, 1990, 2010)
    assert exits(venue) == [(2050, ExitReason.TARGET)]


def test_at_one_price_a_trailing_stop_comes_before_an_older_stop():
    venue = Exchange()
    venue.place(buy(at_mark=True))
    venue.place(stop(1990, cloid="stop", size=ETH // 2))
    venue.place(trail(10, size=ETH // 2))
    assert (level(venue), level(venue, "stop")) == (1990, 1990)
    venue.bar(2000, 2000, 1985, 1985)
    assert [fill.cloid for fill in venue.fills()] == ["entry", "trail", "stop"]
    assert [fill.reason for fill in venue.fills()][1:] == [ExitReason.TRAILING_STOP, ExitReason.STOP]


def test_at_one_price_a_trailing_stop_comes_before_an_entry_of_its_side():
    venue = Exchange()
    venue.place(buy(at_mark=True))
    venue.place(order("reverse", Side.SELL, OrderType.STOP_MARKET, trigger=1990), trail(10))
    venue.bar(2000, 2000, 1985, 1985)
    assert [fill.cloid for fill in venue.fills()] == ["entry", "trail", "reverse"]


def test_liquidation_comes_before_a_trailing_stop_at_the_same_price():
    venue = Exchange(cash=105_067_100)
    venue.place(buy(at_mark=True))
    venue.place(trail(66.4))
    assert level(venue) == 1933.6
    venue.bar(2000, 2000, 1930, 1990)
    assert exits(venue) == [(1933.6, ExitReason.LIQUIDATION)]
    assert venue.all(Liquidated)


def test_an_outage_moves_no_level():
    venue = held(FREE_OF_COST, Side.BUY, trail(15))
    venue.bar(2100, 2100, 2100, 2100, volume=0)
    assert level(venue) == 1985
    venue.bar(2100, 2100, 2090, 2095)
    assert level(venue) == 2085


def test_a_trailing_stop_placed_while_a_bar_runs_follows_from_the_next_open():
    venue = Exchange()
    venue.place(buy(at_mark=True))
    venue.send(Place((trail(15),), time_ms=INTERVAL + 60_000))
    venue.bar(2000, 2100, 1900, 2050)
    assert (level(venue), exits(venue)) == (1985, [])
    venue.bar(2050, 2050, 2040, 2050)
    assert level(venue) == 2035


def test_only_the_trailing_stops_of_markets_that_moved_follow():
    venue = Exchange()
    flat = (2000, 2000, 2000, 2000)
    venue.bars(bar(1, flat), bar(1, flat, market="SOL"))
    venue.place(buy("eth", at_mark=True), buy("sol", market="SOL", size=5_000, at_mark=True))
    venue.place(trail(50), trail(50, cloid="sol trail", market="SOL", size=5_000))
    venue.bars(bar(2, (2000, 2030, 1990, 2020)))
    assert (level(venue), level(venue, "sol trail")) == (1980, 1950)


def test_a_volume_cap_carries_the_rest_of_a_trailing_stop_with_its_reason():
    venue = held(replace(FREE_OF_COST, volume_cap_pct=50), Side.BUY, trail(50))
    venue.bar(2000, 2000, 1940, 1945, volume=ETH)
    venue.bar(1930, 1935, 1925, 1930, volume=ETH)
    assert exits(venue) == [(1950, ExitReason.TRAILING_STOP), (1930, ExitReason.TRAILING_STOP)]


@pytest.mark.parametrize(
    "wrong",
    [
        trail(0),
        trail(-5),
        trail(15, activation=0),
        trail(15, reduce_only=False),
        trail(15, trigger=2000),
        trail(15, trigger=2050),
        order("trail", Side.SELL, OrderType.STOP_LIMIT, trigger=1950, price=1940, reduce_only=True, trail=1500),
        order("trail", Side.SELL, OrderType.TAKE_PROFIT_MARKET, trigger=2050, reduce_only=True, trail=1500),
        limit("trail", Side.SELL, 2050, reduce_only=True, trail=1500),
        sell("trail", reduce_only=True, trail=1500),
        stop(1950, cloid="trail", activation=usd(2050)),
        trail(15, price=1940),
    ],
)
def test_only_a_reduce_only_stop_market_can_trail_and_its_distance_is_positive(wrong):
    venue = Exchange()
    venue.place(buy(at_mark=True))
    venue.place(wrong)
    assert venue.status("trail") == (OrderState.REJECTED, BAD_TRIGGER)
    assert venue.state.orders == {}


def test_a_group_with_a_trail_that_cannot_be_is_refused_as_a_whole():
    venue = Exchange()
    venue.bracket(buy(), trail(0))
    assert venue.status("entry") == (OrderState.REJECTED, BAD_TRIGGER)


def test_a_plain_stop_without_a_trigger_is_refused():
    venue = Exchange()
    venue.place(buy(at_mark=True))
    venue.place(order("stop", Side.SELL, OrderType.STOP_MARKET, reduce_only=True))
    assert venue.status("stop") == (OrderState.REJECTED, "Order has invalid price.")


def test_a_newer_trailing_stop_for_the_whole_position_replaces_the_fixed_one():
    venue = held(FREE_OF_COST, Side.BUY, stop(1900))
    venue.place(trail(50))
    assert venue.status("stop") == (OrderState.CANCELLED, "reduceOnlyCanceled")
    assert level(venue) == 1950


def test_the_level_survives_the_state_text():
    venue = held(FREE_OF_COST, Side.BUY, trail(15, activation=2010))
    venue.bar(2000, 2050, 1995, 2045)
    again = VenueState.from_json(venue.state.to_json())
    assert again == venue.state
    venue.state = again
    venue.bar(2045, 2045, 2035, 2040)
    assert exits(venue) == [(2035, ExitReason.TRAILING_STOP)]


def test_a_state_from_before_there_were_trailing_stops_still_loads():
    venue = held(FREE_OF_COST, Side.BUY, stop(1900), target(2100))
    raw = json.loads(venue.state.to_json())
    raw["orders"] = [row[:17] for row in raw["orders"]]
    assert VenueState.from_json(json.dumps(raw)) == venue.state


def test_the_paper_broker_passes_a_trail_on(tmp_path):
    instrument = Instrument("paper", "ETH", 4, (MarginTier(Decimal(0), 25),))
    broker = PaperBroker(tmp_path / "paper.db", {"ETH": instrument}, SimulatedClock(0), slippage_bps=Decimal(0), durable=False)
    broker.transfer(Decimal(10_000))
    for index, prices in enumerate([(2000, 2000, 2000, 2000), (2000, 2050, 1995, 2045), (2045, 2045, 2030, 2040)]):
        if index == 1:
            entry = OrderRequest("0x1", "ETH", Side.BUY, OrderType.MARKET, Decimal(1), at_mark=True)
            child = OrderRequest("0x2", "ETH", Side.SELL, OrderType.STOP_MARKET, Decimal(1), reduce_only=True, parent_cloid="0x1")
            broker.place([entry, replace(child, trigger=Decimal(1950), trail=Decimal("10.5"), activation=Decimal(2040))])
        each = bar(index, prices)
        broker.play_close(each.close_ms, {"ETH": each}, ())
    exits = [each.item for each in broker.activity_since(0) if isinstance(each.item, Fill)][1:]
    assert [(fill.price, fill.reason) for fill in exits] == [(Decimal("2039.5"), ExitReason.TRAILING_STOP)]
    broker.close()


@st.composite
def walks(draw) -> list[Bar]:
    """Bars that begin somewhere near the close before."""
    price, made = 200_000, []
    for index in range(1, draw(st.integers(2, 10))):
        opened = max(2_000, price + draw(st.sampled_from([0, 0, -300, 700, -4_000, 4_000])))
        high, low = opened + draw(st.integers(0, 6_000)), max(1, opened - draw(st.integers(0, 6_000)))
        price = draw(st.integers(low, high))
        made.append(Bar("ETH", index * INTERVAL, INTERVAL, opened, high, low, price, 10**9))
    return made


def expected_exit(bars: list[Bar], side: Side, distance: int, activation: int | None, config) -> tuple[int, int] | None:
    """(index, price) of the exit, by the words of the specification and nothing of the venue: a list of points, a best price, a level."""
    long = side is Side.BUY
    best: int | None = None
    for index, each in enumerate(bars):
        low_first = (
            long
            if config.path == "adverse" or each.open - each.low == each.high - each.open
            else each.open - each.low < each.high - each.open
        )
        extremes = (each.low, each.high) if low_first else (each.high, each.low)
        for number, point in enumerate((each.open, *extremes, each.close)):
            stands = best is not None and (activation is None or (best >= activation if long else best <= activation))
            if stands and best is not None:
                at = best - distance if long else best + distance
                if at > 0 and (point <= at if long else point >= at):
                    return index, point if number == 0 else at
            best = point if best is None else max(best, point) if long else min(best, point)
    return None


@settings(max_examples=300, deadline=None)
@given(
    walks(),
    st.sampled_from(list(Side)),
    st.integers(1, 9_000),
    st.one_of(st.none(), st.integers(190_000, 210_000)),
    st.sampled_from([FREE_OF_COST, NEAREST]),
)
def test_every_exit_is_where_the_words_of_the_specification_put_it(bars, side, distance, activation, config):
    entry = order("entry", side, tif=Tif.IOC)
    child = order("trail", side.opposite, OrderType.STOP_MARKET, reduce_only=True, trail=distance, activation=activation)
    venue = Exchange(config, cash=10**6 * USDC)
    venue.bracket(entry, child)
    found = None
    for index, each in enumerate(bars):
        venue.state, outcomes = step(venue.state, CloseBars(each.close_ms, {"ETH": each}), config)
        fills = [outcome for outcome in outcomes if isinstance(outcome, Filled) and outcome.cloid == "trail"]
        if fills:
            found = (index, fills[0].price)
            assert fills[0].reason is ExitReason.TRAILING_STOP
            break
    assert found == expected_exit(bars, side, distance, activation, config)
