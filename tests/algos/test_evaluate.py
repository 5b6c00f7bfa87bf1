"""From an algo to signals: edges and states, warm-up, levels, higher intervals, and nothing that depends on the future."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from tests.algos.random_algos import random_algo
from tradeagent.algos.align import coarser
from tradeagent.algos.bars import Bars
from tradeagent.algos.evaluate import Evaluator, require_bars, warmup_of
from tradeagent.algos.indicators import INDICATORS, compute
from tradeagent.algos.params import with_params
from tradeagent.algos.parse import parse_algo
from tradeagent.algos.sandbox import Sandbox
from tradeagent.algos.sandbox.sandbox import Params, Said
from tradeagent.algos.signals import Code, Signals
from tradeagent.algos.spec import AlgoSpec, LevelKind
from tradeagent.algos.store import from_file
from tradeagent.domain.errors import DataError, InvalidInput

FIVE = 300_000


def bars_of(closes: list[float], interval_ms: int = FIVE, start: int = 0) -> Bars:
    """Bars around given closes; the open is the close before, high and low are 1 away."""
    close = np.array(closes, np.float64)
    opened = np.concatenate([close[:1], close[:-1]])
    time = (start + np.arange(len(close))) * interval_ms
    high, low = np.maximum(opened, close) + 1, np.minimum(opened, close) - 1
    return Bars("BTC", interval_ms, time, opened, high, low, close, np.full(len(close), 10.0), np.full(len(close), 1e-5))


def walk(seed: int, count: int, interval_ms: int = FIVE) -> Bars:
    """A random walk with some holes, so that rows are not evenly spaced."""
    rng = np.random.default_rng(seed)
    whole = bars_of((1000 * np.exp(np.cumsum(rng.normal(0, 4e-3, count)))).round(1).tolist(), interval_ms, int(rng.integers(0, 50)))
    kept = np.flatnonzero(rng.random(count) > 0.01)
    funding = np.where(rng.random(count) < 0.1, np.nan, rng.normal(0, 1e-5, count))
    columns = (whole.open, whole.high, whole.low, whole.close, whole.volume, funding)
    return Bars("BTC", interval_ms, whole.time[kept], *(column[kept] for column in columns))


def algo(entry: str, exit_: str = "", rest: str = "") -> AlgoSpec:
    """A long-only algo from the insides of its two rules."""
    return parse_algo(f"name: a\ndirection: long\nentry: {{long: {{{entry}}}}}\nexit: {{long: {{{exit_}}}}}\n{rest}", "a.yml")


def fired(spec: AlgoSpec, closes: list[float], code: Code = Code.FIRE_LONG) -> list[int]:
    return np.flatnonzero(Evaluator(bars_of(closes)).signals(spec).codes & code).tolist()


UP_DOWN = [1.0, 6, 7, 2, 8, 8, 8, 1]


def test_an_entry_fires_on_the_edge_and_a_state_entry_on_every_true_bar() -> None:
    assert fired(algo('required: ["close > 5"]'), UP_DOWN) == [1, 4]
    assert fired(algo('required: ["close > 5"], state: true'), UP_DOWN) == [1, 2, 4, 5, 6]
    assert fired(algo('required: ["close > 5"]'), UP_DOWN, Code.HOLDS_LONG) == [1, 2, 4, 5, 6]


def test_an_exit_fires_on_the_edge_and_with_state_on_every_true_bar() -> None:
    spec = algo('required: ["close > 5"]', 'required: ["close < 5"]')
    assert fired(spec, [6.0, 1, 1, 9, 2], Code.EXIT_LONG) == [1, 4]
    assert fired(algo('required: ["close > 5"]', 'required: ["close < 5"], state: true'), [6.0, 1, 1, 9, 2], Code.EXIT_LONG) == [1, 2, 4]
    assert fired(algo('required: ["close > 5"]'), [6.0, 1, 1, 9, 2], Code.EXIT_LONG) == [], "an empty exit never fires"


def test_the_first_valid_bar_can_fire() -> None:
    assert fired(algo('required: ["close > 5"]'), [9.0, 9, 9]) == [0]
    rising = algo('required: ["close > mean"]', rest="indicators: {mean: {kind: sma, length: 3}}")
    assert fired(rising, [1.0, 2, 3, 4, 5]) == [2]


def test_all_required_and_one_optional() -> None:
    spec = algo('required: ["close > 2"], optional: ["close > 9", "open > 4"]')
    assert fired(spec, [3.0, 10, 11, 3, 1, 5], Code.HOLDS_LONG) == [1, 2, 3]
    assert fired(algo('optional: ["close > 9", "open > 4"]'), [3.0, 10, 2, 3], Code.HOLDS_LONG) == [1, 2]


def test_codes_of_both_sides_and_no_code_for_a_side_left_out() -> None:
    text = 'name: a\nentry: {long: {required: ["close > 5"]}, short: {required: ["close > 8"]}}\n'
    codes = Evaluator(bars_of([6.0, 9, 1])).signals(parse_algo(text, "a.yml")).codes.tolist()
    both = Code.HOLDS_LONG | Code.FIRE_SHORT | Code.HOLDS_SHORT
    assert codes == [Code.FIRE_LONG | Code.HOLDS_LONG, both, 0]


def test_levels_carry_distances_and_one_series_for_both_sides() -> None:
    text = """
name: a
entry: {long: {required: ["close > 5"], buy_back: {pct: 1}}, short: {required: ["close < 5"]}}
exit:
  long: {stop_loss: {atr: 2, length: 3, ma: sma}, take_profit: {rr: 3}, trailing: true}
  short: {stop_loss: {atr: 1, length: 3, ma: sma}, take_profit: {abs: 7}, trailing: {pct: 1}}
"""
    bars = bars_of([10.0, 11, 12, 20, 12, 11])
    signals = Evaluator(bars).signals(parse_algo(text, "a.yml"))
    stop, target = signals.long.stop, signals.long.target
    assert stop and target and signals.short.stop and signals.short.target and signals.short.trailing and signals.long.buy_back
    assert (stop.kind, stop.value, target.kind, target.value) == (LevelKind.ATR, 2, LevelKind.RR, 3)
    assert signals.long.trailing == stop, "trailing: true has the stop's distance"
    assert stop.series is signals.short.stop.series and stop.series is not None
    true_range = [np.nan, 3, 3, 10, 10, 3]
    np.testing.assert_allclose(stop.series[3:], [np.mean(true_range[i - 2 : i + 1]) for i in (3, 4, 5)])
    assert signals.warmup == 3, "an entry without its stop's distance cannot be made"
    assert (signals.short.target.value, signals.short.trailing.value, signals.long.buy_back.value) == (7, 1, 1)


def test_dynamic_size_follows_the_indicator_or_its_complement() -> None:
    rest = "indicators: {rsi: {kind: rsi, length: 3}}\nsizing: {dynamic: {pct: 50, by: rsi, inverted: false}}"
    spec, bars = algo('required: ["close > 5"]', rest=rest), walk(3, 60)
    rsi = compute("rsi", bars, {"length": 3})["value"]
    signals = Evaluator(bars).signals(spec)
    assert signals.warmup == 3
    np.testing.assert_allclose(signals.scale, rsi / 100)  # type: ignore[arg-type]
    inverted = replace(spec, sizing=replace(spec.sizing, inverted=True))
    np.testing.assert_allclose(Evaluator(bars).signals(inverted).scale, 1 - rsi / 100)  # type: ignore[arg-type]


def test_a_higher_interval_is_seen_from_its_close_and_from_complete_buckets_only() -> None:
    bars = bars_of([float(i) for i in range(12)], start=1)
    higher = coarser(bars, 3 * FIVE)
    assert (higher.bars.time // FIVE).tolist() == [3, 6, 9], "the bucket that the data begins and ends in is incomplete"
    assert higher.bars.close.tolist() == [4, 7, 10] and higher.bars.open.tolist() == [1, 4, 7]
    assert higher.bars.high.tolist() == [5, 8, 11] and higher.bars.low.tolist() == [0, 3, 6] and higher.bars.volume.tolist() == [30, 30, 30]
    np.testing.assert_array_equal(higher.spread(higher.bars.close), [np.nan] * 4 + [4] * 3 + [7] * 3 + [10] * 2)
    kept = np.array([0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11])
    holed = Bars("BTC", FIVE, *(getattr(bars, n)[kept] for n in ("time", "open", "high", "low", "close", "volume", "funding")))
    assert (coarser(holed, 3 * FIVE).bars.time // FIVE).tolist() == [3, 9], "a bucket with a hole is left out"


def test_an_interval_that_is_no_multiple_is_an_error() -> None:
    spec = algo('required: ["close > mean"]', rest="indicators: {mean: {kind: sma, length: 2, interval: 7m}}")
    with pytest.raises(InvalidInput, match="7m is not a multiple of 5m"):
        Evaluator(bars_of([1.0] * 9)).signals(spec)


def test_indicators_are_computed_once_and_forgotten_when_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def counted(kind: str, bars: Bars, params: dict[str, int]) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
        asked.append(f"{kind}{params.get('length')}")
        return compute(kind, bars, params)

    monkeypatch.setattr("tradeagent.algos.evaluate.compute", counted)
    spec = algo('required: ["close > a", "close > b"]', rest="indicators: {a: {kind: sma, length: 3}, b: {kind: sma, length: 3}}")
    evaluator = Evaluator(walk(1, 100))
    evaluator.signals(spec)
    evaluator.signals(with_params(spec, {"a.length": 4}))
    evaluator.columns(with_params(spec, {"b.length": 4}))
    assert asked == ["sma3", "sma4"]
    asked.clear()
    small = Evaluator(walk(1, 100), memory_bytes=1)
    for length in (3, 4, 3):
        small.signals(with_params(spec, {"a.length": length, "b.length": length}))
    assert asked == ["sma3", "sma4", "sma3"]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_several_averages_of_one_column_are_those_of_each_alone(count: int) -> None:
    names = [f"a{place}" for place in range(count)]
    uses = ", ".join(f"{name}: {{kind: sma, length: {3 + 4 * place}}}" for place, name in enumerate(names))
    spec = algo(f'required: ["close > {" + ".join(names)}"]', rest=f"indicators: {{{uses}}}")
    bars = walk(1, 200)
    evaluator = Evaluator(bars)
    evaluator.signals(spec)
    for name in names:
        together, alone = evaluator.columns(spec)[name], Evaluator(bars).columns(spec)[name]
        assert np.array_equal(together, alone, equal_nan=True)


def test_columns_are_named_by_indicator_and_output() -> None:
    rest = "indicators: {rsi: {kind: rsi, length: 3}, bb: {kind: bollinger, length: 4}}"
    found = Evaluator(walk(1, 50)).columns(algo('required: ["rsi > bb.upper"]', rest=rest))
    assert list(found) == ["rsi", *(f"bb.{output}" for output in INDICATORS["bollinger"].outputs)]


def test_too_few_bars_are_no_signal_and_named_when_asked() -> None:
    spec = algo('required: ["close > a"]', rest="indicators: {a: {kind: sma, length: 30}}")
    signals = Evaluator(walk(1, 20)).signals(spec)
    assert not signals.codes.any() and signals.warmup == len(signals.codes)
    with pytest.raises(DataError, match="needs more than 29 bars of 5m"):
        require_bars(spec, walk(1, 20))
    assert not len(Evaluator(walk(1, 20).rows(0, 0)).signals(spec).codes)


def test_zero_divisions_are_counted() -> None:
    signals = Evaluator(bars_of([1.0, 2, 2, 3])).signals(algo('required: ["close / (close - open) > 1"]'))
    assert signals.zero_divisions == 2 and np.flatnonzero(signals.codes).tolist() == [1, 3]


@pytest.mark.parametrize("seed", range(12))
def test_the_past_does_not_change_when_the_future_is_cut(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bars = walk(seed, 300)
    for _ in range(4):
        spec = random_algo(rng, "BTC", FIVE)
        whole, columns = Evaluator(bars).signals(spec), Evaluator(bars).columns(spec)
        assert whole.warmup <= warmup_of(spec) + 3 * 4, "holes may delay a complete bucket"
        for cut in rng.integers(1, len(bars), 4).tolist():
            evaluator = Evaluator(bars.rows(0, cut))
            same(evaluator.signals(spec), whole, cut)
            for name, values in evaluator.columns(spec).items():
                np.testing.assert_allclose(values, columns[name][:cut], rtol=1e-12, err_msg=name)


def same(part: Signals, whole: Signals, cut: int) -> None:
    np.testing.assert_array_equal(part.codes, whole.codes[:cut])
    for one, other in ((part.long, whole.long), (part.short, whole.short)):
        for mine, theirs in ((one.stop, other.stop), (one.target, other.target), (one.trailing, other.trailing)):
            if mine is not None and theirs is not None and mine.series is not None and theirs.series is not None:
                np.testing.assert_allclose(mine.series, theirs.series[:cut], rtol=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_codes_follow_from_the_truth_of_the_rules(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    evaluator = Evaluator(walk(seed, 250))
    for _ in range(10):
        spec = random_algo(rng, "BTC", FIVE)
        signals = evaluator.signals(spec)
        for rules, holds, fires in ((spec.long, 16, 1), (spec.short, 32, 2)):
            if rules is None:
                assert not (signals.codes & (holds | fires)).any()
                continue
            entry = rules.entry
            required = [evaluator.truth(spec, text) for text in entry.required]
            optional = [evaluator.truth(spec, text) for text in entry.optional]
            expected = np.all(required, axis=0) & (np.any(optional, axis=0) if optional else True)
            expected[: signals.warmup] = False
            before = np.concatenate([[False], expected[:-1]])
            np.testing.assert_array_equal((signals.codes & holds) > 0, expected)
            np.testing.assert_array_equal((signals.codes & fires) > 0, expected if entry.state else expected & ~before)


def test_a_python_algorithm_fires_on_a_change_and_leaves_when_it_no_longer_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Mapping[str, object]] = []

    class Counted(Sandbox):
        def signals(self, params: Params, rows: int | None = None) -> Said:
            said.append(params)
            return super().signals(params, rows)

    monkeypatch.setattr("tradeagent.algos.sandbox.Sandbox", Counted)
    file = tmp_path / "turn.py"
    file.write_text("def signals(bars, **params):\n    return [1, 1, 0, 1, -1, -1, 0]\n")
    constants = {"length": Decimal(20), "k": Decimal("0.5")}
    spec = replace(from_file(file).spec, constants=constants, may_run_unlocked=True)
    evaluator = Evaluator(bars_of([1.0] * 7))
    codes = evaluator.signals(spec).codes
    assert np.flatnonzero(codes & Code.FIRE_LONG).tolist() == [0, 3] and np.flatnonzero(codes & Code.FIRE_SHORT).tolist() == [4]
    assert np.flatnonzero(codes & Code.HOLDS_LONG).tolist() == [0, 1, 3] and np.flatnonzero(codes & Code.HOLDS_SHORT).tolist() == [4, 5]
    assert np.flatnonzero(codes & Code.EXIT_LONG).tolist() == [2, 4, 5, 6] and np.flatnonzero(codes & Code.EXIT_SHORT).tolist() == [
        0,
        1,
        2,
        3,
        6,
    ]
    evaluator.signals(spec)
    assert said == [{"length": 20, "k": 0.5}], "asked once, whole numbers as such"
    assert not (evaluator.signals(replace(spec, short=None)).codes & (2 | 8 | 32)).any()
