"""Rounding to the grid: it never raises risk, does nothing the second time, and never makes a silent 0."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeagent.domain.errors import InvalidInput
from tradeagent.domain.instrument import Instrument, MarginTier
from tradeagent.domain.money import (
    div_half_even,
    limit_price,
    on_price_grid,
    on_size_grid,
    parse_decimal,
    plain,
    price_ceil,
    price_floor,
    price_step,
    protective_price,
    round_micro,
    share_of_cost,
    size_down,
    trunc_micro,
)
from tradeagent.domain.names import Direction, Side

D = Decimal
INSTRUMENTS = st.integers(0, 5).map(lambda decimals: Instrument("v", "X", decimals, (MarginTier(D(0), 10),)))
PRICES = st.decimals("0.0001", "1000000", places=8).filter(lambda p: p > 0)


@given(instrument=INSTRUMENTS, size=st.decimals("0", "1000000", places=9))
def test_a_size_is_rounded_down_once(instrument: Instrument, size: Decimal) -> None:
    down = size_down(instrument, size)
    assert 0 <= size - down < instrument.lot
    assert size_down(instrument, down) == down and on_size_grid(instrument, down)
    assert on_size_grid(instrument, size) == (size == down)


@given(instrument=INSTRUMENTS, price=PRICES)
def test_floor_and_ceiling_enclose_a_price_and_are_neighbours_on_the_grid(instrument: Instrument, price: Decimal) -> None:
    low, high = price_floor(instrument, price), price_ceil(instrument, price)
    assert low <= price <= high
    assert high - low <= price_step(instrument, high)
    for edge in (low, high):
        if edge > 0:
            assert on_price_grid(instrument, edge)
            assert price_floor(instrument, edge) == edge == price_ceil(instrument, edge)
    assert (low == high) == on_price_grid(instrument, price)


@given(instrument=INSTRUMENTS, price=PRICES, side=st.sampled_from(Side))
def test_a_limit_price_moves_only_to_the_passive_side(instrument: Instrument, price: Decimal, side: Side) -> None:
    assert (limit_price(instrument, side, price) - price) * side.sign <= 0


@given(instrument=INSTRUMENTS, price=PRICES, direction=st.sampled_from(Direction), is_stop=st.booleans())
def test_a_stop_or_target_moves_only_toward_the_entry(instrument: Instrument, price: Decimal, direction: Direction, is_stop: bool) -> None:
    moved = protective_price(instrument, direction, price, is_stop=is_stop) - price
    up = 1 if direction is Direction.LONG else -1
    assert moved * up * (1 if is_stop else -1) >= 0


@pytest.mark.parametrize(
    ("decimals", "price", "step"),
    [
        (5, "64706.5", "1"),
        (5, "9999.95", "0.1"),
        (4, "1869.37", "0.1"),
        (1, "0.120834", "0.00001"),
        (0, "123456", "1"),
        (0, "0.0012345", "0.000001"),
    ],
)
def test_an_order_price_has_five_significant_figures_and_whole_numbers_always_pass(decimals: int, price: str, step: str) -> None:
    assert price_step(Instrument("v", "X", decimals, (MarginTier(D(0), 10),)), D(price)) == D(step)


def test_the_ceiling_across_a_power_of_ten_is_on_the_coarser_grid() -> None:
    instrument = Instrument("v", "X", 2, (MarginTier(D(0), 10),))
    assert price_ceil(instrument, D("9999.96")) == D("10000")
    assert on_price_grid(instrument, D(10000)) and not on_price_grid(instrument, D("10000.5"))


@pytest.mark.parametrize("price", ["0", "-1"])
def test_a_price_that_is_not_positive_has_no_grid(price: str) -> None:
    instrument = Instrument("v", "X", 2, (MarginTier(D(0), 10),))
    with pytest.raises(InvalidInput):
        price_step(instrument, D(price))
    assert not on_price_grid(instrument, D(price))


@given(value=st.decimals("-1000000", "1000000", places=12))
def test_truncation_goes_toward_zero_and_rounding_to_the_nearest(value: Decimal) -> None:
    cut = trunc_micro(value)
    assert abs(cut) <= abs(value) < abs(cut) + D("0.000001")
    assert cut * value >= 0
    assert abs(round_micro(value) - value) <= D("0.0000005")


@given(numerator=st.integers(-(10**15), 10**15), denominator=st.integers(1, 10**6))
def test_half_even_division_is_that_of_decimal(numerator: int, denominator: int) -> None:
    assert div_half_even(numerator, denominator) == round(D(numerator) / D(denominator)) if 2 * numerator % denominator == 0 else True
    assert abs(div_half_even(numerator, denominator) * denominator - numerator) * 2 <= denominator


@given(
    cost=st.decimals("0", "1000000", places=6),
    whole=st.integers(1, 10**9).map(lambda lots: D(lots).scaleb(-5)),
    data=st.data(),
)
def test_shares_of_a_cost_taken_one_by_one_lose_nothing(cost: Decimal, whole: Decimal, data: st.DataObject) -> None:
    left, size = cost, whole
    for _ in range(4):
        part = D(data.draw(st.integers(0, int(size.scaleb(5))))).scaleb(-5)
        share = share_of_cost(left, part, size)
        assert 0 <= share <= left
        left, size = left - share, size - part
        if size == 0:
            break
    else:
        left -= share_of_cost(left, size, size)
    assert left == 0


@pytest.mark.parametrize(
    ("value", "text"), [("0.500", "0.5"), ("64000", "64000"), ("-0.000001", "-0.000001"), ("-0", "0"), ("1E+3", "1000"), ("NaN", "NaN")]
)
def test_plain_text_has_no_exponent_and_no_trailing_zeros(value: str, text: str) -> None:
    assert plain(D(value)) == text


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-inf", "", "one", "1,5", "0x10", "١٢", "1e", "--1", "1_000", "１"])
def test_what_is_no_plain_number_is_refused_and_named(text: str) -> None:
    with pytest.raises(InvalidInput, match="amount"):
        parse_decimal(text, "amount")


@pytest.mark.parametrize(("text", "value"), [("0.25", "0.25"), (" 7 ", "7"), ("1e3", "1000"), (".5", "0.5"), ("-2", "-2")])
def test_plain_numbers_are_read_exactly(text: str, value: str) -> None:
    assert parse_decimal(text, "amount") == D(value)
