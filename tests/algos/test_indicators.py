"""What every kind of indicator keeps: as long as the bars, NaN for exactly its warm-up, no later row used, gaps survived."""

import subprocess
import sys
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from tests.algos.indicator_bars import broken, flat, walk
from tradeagent.algos.indicators import INDICATORS, Family, compute, table, versions, warmup
from tradeagent.algos.spec import Param
from tradeagent.domain.errors import InvalidInput, UnknownKey

KINDS = sorted(INDICATORS)
ROWS = 700
BARS = walk(ROWS)


def small(kind: str) -> dict[str, Param]:
    """Other parameters than the defaults: every length a little more than half."""
    return {name: value // 2 + 2 for name, value in INDICATORS[kind].defaults.items() if isinstance(value, int)}


def same(left: np.ndarray, right: np.ndarray) -> bool:
    return bool(np.allclose(left, right, rtol=1e-9, atol=1e-9, equal_nan=True))


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_nan_for_exactly_the_warmup(kind: str) -> None:
    for params in ({}, small(kind)):
        rows = warmup(kind, params)
        values = compute(kind, BARS, params)
        assert tuple(values) == INDICATORS[kind].outputs
        for output in values.values():
            assert output.dtype == np.float64 and len(output) == ROWS
            assert np.isnan(output[:rows]).all()
            assert np.isfinite(output[rows:]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_no_row_changes_when_the_future_is_cut(kind: str) -> None:
    whole = compute(kind, BARS, {})
    for cut in (1, 2, warmup(kind, {}) + 1, 301, 650):
        for name, values in compute(kind, BARS.rows(0, cut), {}).items():
            assert same(values, whole[name][:cut]), (name, cut)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_that_is_not_recursive_does_not_remember_where_the_data_began(kind: str) -> None:
    start = 150
    whole, later = compute(kind, BARS, {}), compute(kind, BARS.rows(start, ROWS), {})
    rows = warmup(kind, {})
    alike = all(same(later[name][rows:], values[start + rows :]) for name, values in whole.items())
    assert alike or INDICATORS[kind].recursive


@pytest.mark.parametrize("kind", KINDS)
def test_gaps_poison_no_more_than_the_windows_that_hold_them(kind: str) -> None:
    burst = np.array([300, 301, 302, 305])
    whole, rows = compute(kind, BARS, {}), warmup(kind, {})
    for name, values in compute(kind, broken(BARS, burst), {}).items():
        assert np.isfinite(values[305 + rows + 1 :]).all()
        assert same(values[:300], whole[name][:300])
        if not INDICATORS[kind].recursive:
            assert same(values[305 + rows + 1 :], whole[name][305 + rows + 1 :])


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_moving_few_rows_and_nothing_at_all_are_no_surprise(kind: str) -> None:
    for values in compute(kind, flat(200), {}).values():
        assert len(values) == 200 and not np.isinf(values).any()
    for rows in (0, 1, 2):
        for values in compute(kind, BARS.rows(0, rows), {}).values():
            assert len(values) == rows
            assert np.isnan(values[: warmup(kind, {})]).all()
    for values in compute(kind, broken(BARS, np.arange(ROWS)), {}).values():
        assert np.isnan(values).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_shortest_lengths_are_survived(kind: str) -> None:
    for least in (1, 2):
        params: dict[str, Param] = {name: least for name, value in INDICATORS[kind].defaults.items() if isinstance(value, int)}
        rows = warmup(kind, params)
        for values in compute(kind, BARS.rows(0, 50), params).values():
            assert len(values) == 50 and np.isnan(values[:rows]).all() and not np.isinf(values).any()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if INDICATORS[kind].normalised])
def test_normalised_values_lie_between_0_and_100(kind: str) -> None:
    for bars in (BARS, flat(200)):
        for values in compute(kind, bars, {}).values():
            known = values[np.isfinite(values)]
            assert (known >= -1e-9).all() and (known <= 100 + 1e-9).all()


@pytest.mark.parametrize("kind", ["rsi", "stochastic", "stoch_rsi", "williams_r", "smi"])
def test_an_oscillator_is_neutral_where_nothing_moves(kind: str) -> None:
    for values in compute(kind, flat(100), {}).values():
        assert (values[warmup(kind, {}) :] == 50).all()


def test_there_are_four_families_and_the_promised_breadth() -> None:
    assert len(INDICATORS) >= 52
    families = [one.family for one in INDICATORS.values()]
    assert all(families.count(family) >= 8 for family in Family)
    assert {kind for kind in KINDS if INDICATORS[kind].normalised} == {"rsi", "stoch_rsi", "stochastic", "mfi", "uo", "williams_r", "smi"}


def test_the_bars_are_left_as_they_were() -> None:
    bars = walk(200)
    for column in (bars.open, bars.high, bars.low, bars.close, bars.volume):
        column.flags.writeable = False
    for kind in KINDS:
        compute(kind, bars, {})


def test_a_length_beyond_the_data_gives_nothing_and_can_be_told() -> None:
    values = compute("sma", BARS, {"length": ROWS + 1})["value"]
    assert np.isnan(values).all()
    assert warmup("sma", {"length": ROWS + 1}) == ROWS
    assert np.isfinite(compute("sma", BARS, {"length": ROWS})["value"]).sum() == 1


@pytest.mark.parametrize("source", ["open", "high", "low", "volume", "hl2", "hlc3", "ohlc4"])
def test_the_source_decides_what_is_averaged(source: str) -> None:
    columns = {"hl2": ("high", "low"), "hlc3": ("high", "low", "close"), "ohlc4": ("open", "high", "low", "close")}.get(source, (source,))
    column = np.mean([getattr(BARS, name) for name in columns], axis=0)
    expected = np.convolve(column, np.ones(5) / 5, "valid")
    assert compute("sma", BARS, {"length": 5, "source": source})["value"][4:] == pytest.approx(expected)
    expected_dema = compute("dema", replace(BARS, close=column), {})["value"]
    assert same(compute("dema", BARS, {"source": source})["value"], expected_dema)


def test_funding_can_be_averaged_from_its_first_payment_on() -> None:
    funding = np.full(ROWS, np.nan)
    funding[100:] = 0.0000125
    values = compute("sma", replace(BARS, funding=funding), {"length": 10, "source": "funding"})["value"]
    assert np.isnan(values[:109]).all() and (values[109:] == 0.0000125).all()


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        ("sma", {"length": 0}, "sma.length 0"),
        ("sma", {"length": Decimal("2.5")}, "sma.length 2.5"),
        ("sma", {"length": Decimal("NaN")}, "sma.length NaN"),
        ("sma", {"length": "ten"}, "sma.length 'ten'"),
        ("sma", {"length": True}, "sma.length True"),
        ("bollinger", {"stdev": 0}, "bollinger.stdev 0"),
        ("t3", {"volume_factor": Decimal(1)}, "t3.volume_factor 1 is not above 0 and below 1"),
        ("sma", {"source": "median"}, "sma.source 'median'"),
    ],
)
def test_a_parameter_that_cannot_be_is_named(kind: str, params: dict[str, Param], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        compute(kind, BARS, params)
    with pytest.raises(InvalidInput, match=message):
        warmup(kind, params)


def test_unknown_names_come_with_the_nearest_known_one() -> None:
    with pytest.raises(UnknownKey, match="no indicator 'stochastik'") as kind:
        compute("stochastik", BARS, {})
    assert kind.value.hint == "did you mean 'stochastic'?"
    with pytest.raises(UnknownKey, match="rsi has no parameter 'lenght'") as param:
        warmup("rsi", {"lenght": 14})
    assert param.value.hint == "did you mean 'length'?"


def test_whole_decimals_are_lengths() -> None:
    assert same(compute("sma", BARS, {"length": Decimal("14.0")})["value"], compute("sma", BARS, {"length": 14})["value"])


def test_the_table_has_a_row_for_each_kind_and_the_versions_name_the_library() -> None:
    rows = table()
    assert [row["kind"] for row in rows if row["family"] == "trend"] == sorted(k for k in KINDS if INDICATORS[k].family is Family.TREND)
    assert {row["kind"]: row for row in rows}["macd"] == {
        "kind": "macd",
        "family": "momentum",
        "title": "Moving average convergence divergence",
        "params": "fast 12, slow 26, signal 9, source close",
        "outputs": "line, signal, hist",
        "warmup": 33,
        "normalised": False,
        "recursive": True,
        "library": "tradeagent",
    }
    assert {"pandas-ta-classic", "numba", "numpy"} <= set(versions())


def test_the_registry_loads_neither_compiler_nor_library() -> None:
    heavy = {"numba", "pandas", "pandas_ta_classic"}
    script = f"import sys, tradeagent.algos.indicators, tradeagent.algos.sandbox; print(*{heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "\n"
