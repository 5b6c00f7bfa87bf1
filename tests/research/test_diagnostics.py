"""Diagnostics against counts made by hand, bar by bar."""

from dataclasses import replace

import numpy as np
import pytest
from run_samples import BTC, Terms, bars_at, clock, run_of, trades_of

from tradeagent.algos.evaluate import Evaluator
from tradeagent.algos.parse import parse_algo
from tradeagent.algos.signals import Code
from tradeagent.research.diagnostics import diagnose, exit_reasons
from tradeagent.research.run import EXIT_REASONS, Leg

ALGO = """
name: d
market: BTC
interval: 1h
indicators: {fast: {kind: sma, length: 3}, slow: {kind: sma, length: 9}}
entry:
  long: {required: ["fast > slow", "close > 100"], optional: ["close > open", "volume > 5", "low > slow"]}
  short: {required: ["fast < slow"]}
exit:
  long: {required: ["close < slow"]}
timeout: {mode: MODE, bars: 2}
"""


def scene(count: int = 200, mode: str = "cooldown_only"):
    rng = np.random.default_rng(3)
    close = 100 * np.cumprod(1 + rng.normal(0, 0.01, count))
    flat = bars_at(clock(count), price=close)
    bars = replace(flat, open=np.roll(close, 1), volume=rng.integers(0, 10, count).astype(float))
    evaluator = Evaluator(bars)
    spec = parse_algo(ALGO.replace("MODE", mode), "d.yml")
    empty = np.empty(0, np.int64)
    return Leg(BTC, bars, spec, evaluator.signals(spec), empty, empty), evaluator


def test_conditions_are_counted_as_a_person_would() -> None:
    leg, evaluator = scene()
    found = diagnose(run_of(np.full(200, 1000.0)), leg, Terms(), evaluator)
    warm, texts = leg.signals.warmup, ["fast > slow", "close > 100", "close > open", "volume > 5", "low > slow"]
    truths = {text: evaluator.truth(leg.spec, text) for text in texts}
    counts = {text: {"true": 0, "flips": 0, "triggering": 0, "blocking": 0, "others": 0} for text in texts}
    near = {0: 0, 1: 0, 2: 0, 3: 0}
    before = None
    for row in range(warm, 200):
        now = {text: bool(truths[text][row]) for text in texts}
        units = [now[texts[0]], now[texts[1]], any(now[text] for text in texts[2:])]
        near[units.count(False)] += 1
        fired = all(units) and (before is None or not before["units"])
        for place, text in enumerate(texts):
            count, unit = counts[text], min(place, 2)
            count["true"] += now[text]
            count["flips"] += before is not None and before[text] != now[text]
            count["triggering"] += fired and now[text] and (before is None or not before[text])
            others = all(value for other, value in enumerate(units) if other != unit)
            count["others"] += others
            count["blocking"] += others and not units[unit]
        before = {**now, "units": all(units)}
    rows = {row["condition"]: row for row in found["conditions"] if (row["side"], row["part"]) == ("long", "entry")}
    assert list(rows) == texts and {str(k): v for k, v in near.items()} == found["near_misses"]["long"]
    for text, count in counts.items():
        row = rows[text]
        assert (row["flips"], row["triggering"], row["blocking"]) == (count["flips"], count["triggering"], count["blocking"])
        assert row["true_pct"] == pytest.approx(100 * count["true"] / (200 - warm))
        assert row["usefulness"] == pytest.approx(count["blocking"] / count["others"])
    assert sum(row["triggering"] for row in rows.values()) > 0


def test_an_indicator_sums_up_its_conditions() -> None:
    leg, evaluator = scene()
    found = diagnose(run_of(np.full(200, 1000.0)), leg, Terms(), evaluator)
    fast = [row for row in found["conditions"] if "fast" in row["indicators"]]
    assert len(fast) == 2 and found["indicators"]["fast"]["blocking"] == sum(row["blocking"] for row in fast)
    assert set(found["indicators"]) == {"fast", "slow", "close", "open", "volume", "low"}


@pytest.mark.parametrize("mode", ["cooldown_only", "regular", "strict"])
def test_states_are_those_of_the_machine(mode: str) -> None:
    leg, evaluator = scene(60, mode)
    trades = [{"entry_row": 10, "exit_row": 14}, {"direction": -1, "entry_row": 30, "exit_row": 30}, {"entry_row": 40, "exit_row": 41}]
    opened = trades_of([{"direction": -1, "entry_row": 55}])
    states = diagnose(run_of(np.full(60, 1000.0), trades, open_trades=opened), leg, Terms(), evaluator)["states_pct"]
    codes, expected = leg.signals.codes, ["cash"] * 60
    for first, last in ((10, 14), (40, 41)):
        expected[first:last] = ["long"] * (last - first)
    expected[55:] = ["short"] * 5
    for exit_row, own in ((14, Code.HOLDS_LONG), (30, Code.HOLDS_SHORT), (41, Code.HOLDS_LONG)):
        watched = {"cooldown_only": 0, "regular": own, "strict": Code.HOLDS_LONG | Code.HOLDS_SHORT}[mode]
        row = exit_row
        while row < 60 and (row < exit_row + 2 or codes[row] & watched):
            if expected[row] == "cash":
                expected[row] = "timeout"
            row += 1
    assert states == pytest.approx({state: 100 * expected.count(state) / 60 for state in ("long", "short", "timeout", "cash")})


def test_exit_reasons_are_counted_with_their_money() -> None:
    stop, flip = EXIT_REASONS.index("stop"), EXIT_REASONS.index("flip")
    rows = [{"exit_reason": stop, "gross": -5_000_000, "fees": 500_000}, {"exit_reason": flip, "gross": 3_000_000}, {"exit_reason": stop}]
    found = exit_reasons(trades_of(rows))
    assert found == {"stop": {"trades": 2, "pnl_quote": "-5.5"}, "flip": {"trades": 1, "pnl_quote": "3"}}
    assert exit_reasons(trades_of([])) == {}


def test_no_trades_and_no_bars_are_no_error() -> None:
    leg, evaluator = scene(12)
    found = diagnose(run_of(np.full(12, 1000.0)), leg, Terms(first_row=12), evaluator)
    assert found["states_pct"] == {} and found["exit_reasons"] == {}
