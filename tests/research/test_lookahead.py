"""The look-ahead check finds an indicator that sees the future, and nothing where there is none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_samples import bars_at, clock

from tradeagent.algos.bars import Bars, Floats
from tradeagent.algos.evaluate import Evaluator
from tradeagent.algos.parse import parse_algo
from tradeagent.research import lookahead
from tradeagent.research.lookahead import check

TEXT = """
name: t
market: BTC
interval: 1h
direction: long
indicators: {{one: {{kind: {kind}, length: {length}}}}}
entry: {{long: {{required: ["close > one"]}}}}
"""


def walk(count: int = 600, seed: int = 1) -> Bars:
    return bars_at(clock(count), price=100 * np.cumprod(1 + np.random.default_rng(seed).normal(0, 0.01, count)))


def algo(kind: str = "sma", length: int = 10):
    return parse_algo(TEXT.format(kind=kind, length=length), "t.yml")


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(["sma", "ema", "rma", "rsi"]), st.integers(2, 60), st.integers(0, 99))
def test_what_ships_does_not_see_the_future(kind, length, seed):
    found = check(walk(500, seed), algo(kind, length))
    assert found.ok and found.cuts == 20


class Prophet(Evaluator):
    """Says what it would say of the bars turned around: every value depends on what comes after it."""

    def outputs(self, use) -> dict[str, Floats]:
        bars = self.bars
        later = Evaluator(Bars(bars.market, bars.interval_ms, bars.time, *(column[::-1] for column in columns_of(bars))))
        return {name: values[::-1] for name, values in later.outputs(use).items()}


def columns_of(bars: Bars) -> tuple[Floats, ...]:
    return (bars.open, bars.high, bars.low, bars.close, bars.volume, bars.funding)


def test_an_indicator_that_sees_the_future_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookahead, "Evaluator", Prophet)
    bars = walk()
    found = check(bars, algo())
    assert not found.ok and found.first_difference is not None
    told = found.as_dict()["first_difference"]
    assert told["name"] == "one" and told["cut"] is None and told["whole"] is not None
    assert found.first_difference.time_ms in bars.time


class Peeker(Evaluator):
    """Indicators are honest; only the signals look one bar ahead."""

    def signals(self, spec):
        from dataclasses import replace

        said = super().signals(spec)
        return replace(said, codes=np.append(said.codes[1:], 0).astype(np.uint8))


def test_signals_that_look_ahead_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookahead, "Evaluator", Peeker)
    found = check(walk(), algo())
    assert found.first_difference is not None and found.first_difference.name == "signals"


def test_dependence_on_where_the_data_begins_is_a_size() -> None:
    assert check(walk(), algo("sma")).start_dependence_pct == pytest.approx(0, abs=1e-9)
    recursive = check(walk(), algo("ema", 50)).start_dependence_pct
    assert recursive is not None and 0.001 < recursive < 10
    assert check(walk(60), algo("ema", 50)).start_dependence_pct is None


def test_too_few_bars_have_nothing_to_cut() -> None:
    assert check(walk(5), algo(length=10)).cuts == 0
