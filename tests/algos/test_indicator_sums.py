"""Sums over a window: exact on a decimal grid, and the same bits wherever the data begins."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.algos.indicator_bars import walk
from tradeagent.algos.indicators import compute
from tradeagent.algos.indicators.params import frozen
from tradeagent.algos.indicators.windows import deviation, extreme, finest_steps, mean, two_means

WHOLE = st.integers(-(10**7), 10**7)


@settings(max_examples=60, deadline=None)
@given(st.lists(WHOLE, min_size=1, max_size=60), st.integers(0, 6), st.integers(1, 20))
def test_the_mean_of_decimals_is_the_exact_mean_rounded_once(whole: list[int], decimals: int, length: int) -> None:
    values = mean(frozen(np.array(whole) / 10.0**decimals), length)
    for i in range(length - 1, len(whole)):
        assert values[i] == float(Fraction(sum(whole[i - length + 1 : i + 1]), length * 10**decimals))


@settings(max_examples=40, deadline=None)
@given(st.lists(WHOLE, min_size=3, max_size=60), st.integers(0, 5), st.integers(1, 20))
def test_the_deviation_of_decimals_is_that_of_exact_sums(whole: list[int], decimals: int, length: int) -> None:
    x = frozen(np.array(whole) / 10.0**decimals)
    values = deviation(x, frozen(mean(x, length)), length)
    for i in range(length - 1, len(whole)):
        window = [Fraction(value) for value in whole[i - length + 1 : i + 1]]
        middle = sum(window) / length
        variance = sum((value - middle) ** 2 for value in window) / length / 10 ** (2 * decimals)
        assert values[i] == pytest.approx(float(variance) ** 0.5, rel=1e-12)


@pytest.mark.parametrize("decimals", [0, 1, 5, None])
@pytest.mark.parametrize("length", [1, 3, 20, 50, 2_500])
def test_a_mean_has_the_same_bits_wherever_the_data_begins(decimals: int | None, length: int) -> None:
    x = walk(6_000, seed=1, decimals=decimals).close
    whole = mean(frozen(x), length)
    for start in (1, 7, 2_047, 2_999):
        assert (mean(frozen(x[start:]), length)[length - 1 :] == whole[start + length - 1 :]).all()


@pytest.mark.parametrize("decimals", [0, 2, None])
@pytest.mark.parametrize("price", [100.0, 1e12, 1e300])
@pytest.mark.parametrize("lengths", [(1, 7), (2_500, 20), (100, 2_500), (30, 9_000), (5, 5)])
def test_averages_taken_together_are_those_taken_alone(decimals: int | None, price: float, lengths: tuple[int, int]) -> None:
    """At 10¹² with two decimals the sums of the longest no longer fit where those of the shortest do."""
    x = walk(6_000, seed=3, decimals=decimals, price=price).close.copy()
    x[:5] = np.nan
    for length, values in zip(lengths, two_means(frozen(x), *lengths), strict=True):
        assert np.array_equal(values, mean(frozen(x), length), equal_nan=True)


def test_averages_of_one_price_tie_at_any_length() -> None:
    """0.1 has no exact float: added up in floats, averages of different lengths would differ and cross."""
    x = np.full(400, 0.1)
    x[:100] = 1234.5
    fast, slow = mean(frozen(x), 7)[250:], mean(frozen(x), 150)[250:]
    assert (fast == 0.1).all() and (slow == 0.1).all()


def test_a_value_off_the_grid_between_the_samples_is_not_rounded_away() -> None:
    x = np.full(5_000, 100.5)
    x[4_321] = 100.25
    assert finest_steps(frozen(x), 2**50) == 100
    assert mean(frozen(x), 2)[4_321] == 100.375
    x[4_321] = np.pi
    assert finest_steps(frozen(x), 2**50) == 0
    assert mean(frozen(x), 2)[4_321] == pytest.approx((100.5 + np.pi) / 2, rel=1e-15)


def test_prices_too_large_for_whole_numbers_are_still_averaged() -> None:
    x = walk(500, decimals=None, price=1e300).close
    assert mean(frozen(x), 30)[29:] == pytest.approx(np.convolve(x, np.ones(30) / 30, "valid"), rel=1e-12)


def test_the_simple_true_range_of_equal_bars_is_equal() -> None:
    bars = walk(3_000, seed=4)
    values = compute("atr", bars, {"length": 14, "ma": "sma"})["value"]
    exact = [
        Fraction(str(max(high, before))) - Fraction(str(min(low, before)))
        for high, low, before in zip(bars.high[1:].tolist(), bars.low[1:].tolist(), bars.close[:-1].tolist(), strict=True)
    ]
    assert [values[i] for i in range(14, 200)] == [float(sum(exact[i - 14 : i]) / 14) for i in range(14, 200)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(WHOLE.map(float), st.just(float("nan"))), min_size=1, max_size=50), st.integers(1, 12))
def test_extremes_are_those_of_the_window(values: list[float], length: int) -> None:
    x = frozen(np.array(values))
    for sign, wanted in ((1.0, max), (-1.0, min)):
        got = extreme(x, length, sign)
        for i in range(len(values)):
            window = values[max(0, i - length + 1) : i + 1]
            if len(window) < length or any(np.isnan(window)):
                assert np.isnan(got[i])
            else:
                assert got[i] == wanted(window)
