"""Slices, levels and rungs: nothing is lost, nothing exceeds its total, and everything that is sent is large enough."""

from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from world import INSTRUMENTS

from tradeagent.domain.money import on_price_grid, on_size_grid
from tradeagent.domain.names import Side
from tradeagent.execution.executors.arithmetic import MAX_CARRY, average, barrier_price, grid_count, grid_rungs, rung, twap_due, twap_slices
from tradeagent.execution.executors.specs import AtPrice, GridSpec
from tradeagent.execution.planning import Unshapely

D = Decimal
BTC = INSTRUMENTS["BTC"]
amounts = st.decimals("10", "100000", places=2)
fractions = st.decimals("0.0005", "0.2", places=4)
durations = st.integers(30, 86_400)


@given(amounts, durations, st.integers(30, 3600))
def test_slices_are_as_many_as_the_intervals_begun_equal_and_add_up(total: Decimal, duration_s: int, interval_s: int) -> None:
    assume(interval_s <= duration_s)
    slices = twap_slices(total, duration_s, interval_s)
    assert len(slices) == -(-duration_s // interval_s)
    assert sum(slices) == total
    assert len(set(slices[:-1])) <= 1
    assert slices[-1] >= slices[0] and slices[-1] - slices[0] < D("0.000001") * len(slices)


@given(amounts, durations, st.integers(30, 3600), st.integers(0, 100_000), st.decimals("0", "1", places=3))
def test_what_is_due_never_passes_the_total_nor_three_slices(
    total: Decimal, duration_s: int, interval_s: int, elapsed_s: int, part: Decimal
) -> None:
    assume(interval_s <= duration_s)
    slices = twap_slices(total, duration_s, interval_s)
    spent = total * part
    due = twap_due(slices, interval_s * 1000, elapsed_s * 1000, spent)
    assert 0 <= due <= MAX_CARRY * slices[0]
    assert spent + due <= max(total, spent)
    begun = min(len(slices), elapsed_s // interval_s + 1)
    assert spent + due <= max(sum(slices[:begun]), spent)


def test_a_slice_that_did_not_fill_is_due_with_the_next() -> None:
    slices = [D(25)] * 4
    assert twap_due(slices, 300_000, 0, D(0)) == 25
    assert twap_due(slices, 300_000, 300_000, D(0)) == 50
    assert twap_due(slices, 300_000, 300_000, D("24.9")) == D("25.1")
    assert twap_due(slices, 300_000, 900_000, D(0)) == 75
    assert twap_due(slices, 300_000, 299_999, D(25)) == 0


def spec(side: str, start: Decimal, width: Decimal, total: Decimal, spread: Decimal) -> GridSpec:
    end = start * (1 + width)
    limit = start / 2 if side == "buy" else end * 2
    return GridSpec(
        market="BTC",
        side=side,  # type: ignore[arg-type]
        start_price=start,
        end_price=end,
        limit_price=limit,
        total_amount_quote=total,
        min_spread=spread,
        take_profit=D("0.01"),
    )


@given(st.sampled_from(["buy", "sell"]), st.decimals("1", "90000", places=1), fractions, amounts, fractions)
def test_a_grid_stays_within_its_total_and_its_range(side: str, start: Decimal, width: Decimal, total: Decimal, spread: Decimal) -> None:
    asked = spec(side, start, width, total, spread)
    try:
        rungs = grid_rungs(asked, BTC)
    except Unshapely:
        return
    assert len(rungs) == grid_count(asked)
    assert sum(made.quote for made in rungs) <= total
    assert all(made.quote >= BTC.min_notional for made in rungs)
    assert all(on_price_grid(BTC, made.price) and on_size_grid(BTC, made.size) for made in rungs)
    prices = [made.price for made in rungs]
    assert prices == sorted(set(prices))
    if side == "buy":
        assert prices[-1] <= asked.end_price
    else:
        assert prices[0] >= asked.start_price
    middle = average(rungs)
    assert prices[0] <= middle + D("1e-11") and middle <= prices[-1]


@pytest.mark.parametrize(
    ("total", "least", "spread", "count"),
    [
        ("100", "12", "0.0005", 8),
        ("96", "12", "0.0005", 8),
        ("95.99", "12", "0.0005", 7),
        ("1000", "12", "0.02", 4),
        ("11.9", "12", "0.0005", 0),
    ],
)
def test_levels_are_the_fewer_of_what_the_total_and_the_range_allow(total: str, least: str, spread: str, count: int) -> None:
    """90 to 98: the range 8 over 2 % of its middle 94 is 4.25 levels."""
    asked = GridSpec(
        market="BTC",
        side="buy",
        start_price=D(90),
        end_price=D(98),
        limit_price=D(80),
        total_amount_quote=D(total),
        min_spread=D(spread),
        min_order_quote=D(least),
        take_profit=D("0.01"),
    )
    assert grid_count(asked) == count
    if count == 0:
        with pytest.raises(Unshapely, match="the grid has no level: total"):
            grid_rungs(asked, BTC)


@given(st.sampled_from(list(Side)), st.decimals("1", "90000", places=2), st.decimals("10", "1000", places=2))
def test_a_rung_never_costs_more_than_its_quote(side: Side, price: Decimal, quote: Decimal) -> None:
    try:
        made = rung(BTC, side, price, quote, "entry 1")
    except Unshapely as error:
        assert "below the minimum of 10" in error.rejection.message
        return
    assert BTC.min_notional <= made.quote <= quote


@given(st.sampled_from(list(Side)), st.decimals("1", "90000", places=2), fractions)
def test_a_barrier_lies_on_its_own_side(side: Side, price: Decimal, fraction: Decimal) -> None:
    stop, target = barrier_price(side, price, fraction, is_stop=True), barrier_price(side, price, fraction, is_stop=False)
    assert (price - stop) * side.sign > 0 and (target - price) * side.sign > 0
    assert stop + target == 2 * price
    assert barrier_price(side, price, AtPrice(price=D(5)), is_stop=True) == 5


def test_a_grid_of_one_level_trades_in_the_middle_of_its_range() -> None:
    spec = GridSpec(
        market="BTC", side="buy", start_price=D(90), end_price=D(110), limit_price=D(80), total_amount_quote=D(20), take_profit=D("0.01")
    )
    assert [(made.price, made.size) for made in grid_rungs(spec, BTC)] == [(D(100), D("0.2"))]
