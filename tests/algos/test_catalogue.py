"""Built-ins and templates: they parse, they speak on real bars, and the built-ins' confidence and levels are those worked out by hand."""

from pathlib import Path

import numpy as np
import pytest

from tests.algos.test_evaluate import bars_of, walk
from tradeagent.algos import catalogue
from tradeagent.algos.analysis import analyse
from tradeagent.algos.bars import Bars
from tradeagent.algos.checks import warnings_of
from tradeagent.algos.evaluate import Evaluator
from tradeagent.algos.params import with_params
from tradeagent.algos.signals import Code
from tradeagent.algos.spec import Param
from tradeagent.algos.store import built_in
from tradeagent.domain.errors import NotFound


@pytest.mark.parametrize("name", [*catalogue.BUILT_INS, *catalogue.TEMPLATES])
def test_every_one_is_well_written_and_described(name: str) -> None:
    found = built_in(name)
    assert found.name == found.spec.name == found.lineage == name and found.version is None
    assert warnings_of(found.spec) == [] and catalogue.description(found.spec.text).endswith(".")
    assert found.spec.params, "it has something to optimise"
    signals = Evaluator(walk(7, 2000)).signals(found.spec)
    assert (signals.codes & Code.FIRE_LONG).any() and (signals.codes & Code.FIRE_SHORT).any()


def test_a_template_takes_the_name_it_is_copied_under() -> None:
    assert "\nname: mine\n" in catalogue.template_text("dual_rsi", "mine")
    with pytest.raises(NotFound) as caught:
        catalogue.template_text("dual_rsy", "mine")
    assert "did you mean 'dual_rsi'?" in caught.value.hint


def confidence(name: str, bars: Bars, **params: Param) -> tuple[str, float | None]:
    found = analyse(Evaluator(bars), with_params(built_in(name).spec, params))
    return found.signal, found.confidence


def test_sma_cross_is_sixty_percent_sure_when_the_averages_are_two_and_a_half_basis_points_apart() -> None:
    # Averages of the last 1 and of the last 2 closes: 10,000 and 9,997.5 are 2.5 / 10,000 of the price apart.
    bars = bars_of([9_990.0] * 20 + [9_995.0, 10_000.0])
    signal, sure = confidence("sma_cross", bars, fast=1, slow=2)
    assert signal == "long" and sure == pytest.approx(0.5 + 400 * 2.5 / 10_000) == pytest.approx(0.6)
    assert confidence("sma_cross", bars_of([9_990.0] * 20 + [10_000.0, 9_995.0]), fast=1, slow=2)[0] == "short"
    assert confidence("sma_cross", bars_of([9_000.0] * 20 + [9_000.0, 10_000.0]), fast=1, slow=2)[1] == 0.85, "never above 0.85"


def test_rsi_reversal_adds_the_distance_to_its_line() -> None:
    # Wilder's RSI of 2 bars seeded by their mean: gains 1 and 0, losses 0 and 4 → 100 · 0.5 / 2.5 = 20, ten below the line.
    bars = bars_of([100.0] * 15 + [101.0, 97.0])
    evaluator = Evaluator(bars.rows(14, 17))
    spec = with_params(built_in("rsi_reversal").spec, {"length": 2})
    assert evaluator.outputs(spec.indicators["rsi"])["value"][-1] == pytest.approx(20)
    assert float(evaluator.confidence(spec, "long")[-1]) == pytest.approx(0.55 + 10 / 100)
    up = Evaluator(bars_of([100.0, 99.0, 103.0]))
    assert float(up.confidence(spec, "short")[-1]) == pytest.approx(0.55 + 10 / 100)
    falling = Evaluator(bars_of([100.0, 99.0, 98.0]))
    assert float(falling.confidence(spec, "long")[-1]) == pytest.approx(0.82), "RSI 0 is 30 below: 0.85, capped"


def test_breakout_measures_how_far_the_close_went_beyond_the_bars_before() -> None:
    # The highest high of the three bars before is 9_999.2; the close is 0.8 above it, 0.8 basis points of 10,000.
    bars = bars_of([9_990.0] * 18 + [9_998.2, 9_997.0, 10_000.0])
    signal, sure = confidence("breakout", bars, length=3)
    assert signal == "long" and sure == pytest.approx(0.58 + 250 * 0.8 / 10_000) == pytest.approx(0.6)
    assert confidence("breakout", bars_of([9_990.0] * 20 + [11_000.0]), length=3) == ("long", 0.86)
    assert confidence("breakout", bars_of([9_990.0] * 20 + [9_000.0]), length=3) == ("short", 0.86)
    assert confidence("breakout", bars_of([9_990.0] * 20 + [9_990.9]), length=3) == ("none", None), "inside the channel of the bars before"


def test_levels_are_one_mean_true_range_and_its_multiple_from_the_close() -> None:
    closes = [100.0] * 20 + [101.0, 103.0]
    bars = bars_of(closes)
    found = analyse(Evaluator(bars), with_params(built_in("sma_cross").spec, {"fast": 1, "slow": 2}))
    ranges = [2.0] * 12 + [3.0, 4.0]  # open = close before: high − low is 2, plus the step of the last two bars
    atr = np.mean(ranges)
    assert found.entry == 103 and found.atr == pytest.approx(atr)
    assert found.stop == pytest.approx(103 - atr) and found.target == pytest.approx(103 + 2 * atr)
    assert found.fires and found.reasons == ("fast > slow (103 against 102)",)
    assert found.params["rr"] == "2.0" and found.values == {"fast": 103.0, "slow": 102.0}
    down = analyse(Evaluator(bars_of([100.0] * 20 + [99.0, 97.0])), with_params(built_in("sma_cross").spec, {"fast": 1, "slow": 2}))
    assert down.stop == pytest.approx(97 + atr) and down.target == pytest.approx(97 - 2 * atr)


def test_too_few_bars_are_no_signal_and_never_nan() -> None:
    for name in catalogue.BUILT_INS:
        for count in (0, 1, 13):
            told = analyse(Evaluator(walk(1, 60).rows(0, count)), built_in(name).spec).as_dict()
            assert told["signal"] == "none" and told["confidence"] is None and "too few bars" in told["reasons"][0]
            assert "nan" not in str(told).lower()


def test_no_signal_says_what_is_missing_and_both_say_so() -> None:
    told = analyse(Evaluator(walk(1, 200)), with_params(built_in("rsi_reversal").spec, {"oversold": 1, "overbought": 99}))
    assert told.signal == "none" and told.entry is None
    assert [reason.partition(" is not true")[0] for reason in told.reasons] == ["long: rsi < oversold", "short: rsi > overbought"]
    both = analyse(Evaluator(walk(1, 200)), with_params(built_in("rsi_reversal").spec, {"oversold": 99, "overbought": 1}))
    assert both.signal == "none" and "both sides" in both.reasons[0]


@pytest.mark.real_data
@pytest.mark.parametrize("name", [*catalogue.BUILT_INS, *catalogue.TEMPLATES])
def test_every_one_speaks_on_real_bars(name: str, real: Bars) -> None:
    spec = built_in(name).spec
    evaluator = Evaluator(real)
    codes = evaluator.signals(spec).codes
    fires = np.flatnonzero(codes & (Code.FIRE_LONG | Code.FIRE_SHORT))
    assert len(fires) > 10
    told = analyse(evaluator, spec, int(fires[-1]))
    assert told.fires and told.signal in ("long", "short") and told.stop is not None and told.reasons
    assert (told.confidence is not None) == (name in catalogue.BUILT_INS)
    assert told.confidence is None or 0.5 <= told.confidence <= 0.86


@pytest.fixture(scope="module")
def real(shared_data: Path) -> Bars:
    """Hourly BTC with its funding."""
    import duckdb

    table = duckdb.execute("SELECT * FROM read_parquet(?) ORDER BY 1", [str(shared_data / "hyperliquid_BTC_1h.parquet")]).fetchnumpy()
    paid = duckdb.execute(
        "SELECT * FROM read_parquet(?) ORDER BY 1", [str(shared_data / "hyperliquid_BTC_funding_1h.parquet")]
    ).fetchnumpy()
    time = table["ts"].astype(np.int64)
    newest = np.searchsorted(paid["ts"].astype(np.int64), time + 3_600_000, side="right") - 1
    rates = np.append(paid["funding_rate"].astype(np.float64), np.nan)[newest]
    columns = (np.asarray(table[name], np.float64) for name in ("open", "high", "low", "close", "volume"))
    return Bars("BTC", 3_600_000, time, *columns, rates)
