"""Honesty says what it can, and why when it cannot."""

import json
import math
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from run_samples import DAY, HOUR, Terms, bars_at, clock, leg_of, run_of

from tradeagent.algos.store import built_in
from tradeagent.domain.costs import FeeSchedule
from tradeagent.ledger.trials import Tries
from tradeagent.research.honesty import Evidence, Searched, cost_key, honesty, trial_of
from tradeagent.research.sensitivity import sensitivity
from tradeagent.research.statistics import bootstrap, dsr, expected_maximum

WORSE = {
    name: {"total_return_pct": 1.0, "sharpe": 0.5, "max_drawdown_pct": 2.0, "trades": 3, "skipped": 0} for name in ("costs_x2", "delay_1")
}
SEES = {"ok": True, "cuts": 20, "first_difference": None}
KEYS = ["trials", "sharpe_threshold", "psr", "deflated_sharpe", "pbo", "ci", "costs_x2", "delay_1", "lookahead", "limits_impact", "notes"]


def judged(days: int = 200, tries: Tries | None = None, **others):
    daily = np.random.default_rng(1).normal(0.001, 0.01, days)
    return honesty(Evidence(daily, HOUR, days * DAY - 7 * HOUR, tries or Tries(1, (0.1,)), WORSE, SEES, {}, **others)), daily


def test_every_key_is_there_and_is_json() -> None:
    found, daily = judged(tries=Tries(5, (0.1, 0.05, -0.02)))
    assert list(found) == KEYS
    json.dumps(found, allow_nan=False)
    variance = float(np.var([0.1, 0.05, -0.02], ddof=1))
    assert found["sharpe_threshold"] == pytest.approx(expected_maximum(5, variance) * math.sqrt(365))
    assert found["deflated_sharpe"] == dsr(daily, 5, [0.1, 0.05, -0.02])
    assert found["ci"] == bootstrap(daily, DAY, span_ms=200 * DAY - 7 * HOUR).as_dict() != bootstrap(daily, DAY).as_dict()


def test_what_needs_more_says_so() -> None:
    found, _ = judged(12)
    assert found["psr"] is None and "needs 30 days; there are 12" in found["notes"]["deflated_sharpe"] and "12 days" in found["notes"]["ci"]
    assert "2 trials of one search" in found["notes"]["pbo"] and "first try" in found["notes"]["sharpe_threshold"]
    assert judged(tries=Tries(3, (0.1,)))[0]["notes"]["sharpe_threshold"] == "needs two tries whose returns vary"


def test_the_newest_search_gives_its_overfitting_with_a_caution() -> None:
    found, _ = judged(search=Searched("01ABCDEF", 40, 0.25))
    assert found["pbo"] == 0.25 and "0.5 on average" in found["notes"]["pbo"]
    assert found["notes"]["pbo"].startswith("of search …ABCDEF, 40 trials; ")


def test_a_search_too_small_to_judge_itself_says_what_is_missing() -> None:
    found, _ = judged(search=Searched("01ABCDEF", 40, None, days=55))
    assert (found["pbo"], found["notes"]["pbo"]) == (None, "needs 2 distinct trials and 80 days; search …ABCDEF has 40 and 55")


def test_flat_returns_are_no_probability() -> None:
    found = honesty(Evidence(np.zeros(100), HOUR, 100 * DAY, Tries(2, ()), WORSE, SEES, {}))
    assert found["psr"] is None and found["notes"]["psr"] == "needs returns that vary"


def test_all_parameters_count_also_those_left_alone() -> None:
    algo = built_in("sma_cross")
    spec = replace(algo.spec, market="BTC", interval_ms=HOUR)
    costs, daily = cost_key(Terms(), has_funding=True), np.array([0.01, 0.02, -0.01])
    one = trial_of(algo, spec, (0, 10), costs, "a", daily)
    assert one.idea == "sma_cross@BTC" and one.sharpe_daily == pytest.approx(daily.mean() / daily.std(ddof=1))
    from tradeagent.algos.params import with_params

    assert trial_of(algo, with_params(spec, {"fast": 20}), (0, 10), costs, "b", daily).key == one.key
    assert trial_of(algo, with_params(spec, {"fast": 21}), (0, 10), costs, "b", daily).key != one.key


def test_costs_and_delay_are_changed_alone() -> None:
    terms = Terms(fees=FeeSchedule(Decimal("0.001"), Decimal("0.0002")), slippage_bps=Decimal("1.5"), delay_bars=0)
    seen = []

    def simulate(legs, asked):
        seen.append(asked)
        return run_of(np.linspace(1000, 1100, 100), counts={"no_margin": 4})

    legs = [leg_of(bars_at(clock(100)))]
    found = sensitivity(run_of([1000.0] * 100, counts={"no_margin": 1}), legs, terms, simulate)
    assert seen[0] == replace(terms, fees=FeeSchedule(Decimal("0.002"), Decimal("0.0004")), slippage_bps=Decimal("3.0"))
    assert seen[1] == replace(terms, delay_bars=1)
    assert found["costs_x2"]["total_return_pct"] == pytest.approx(10) and found["delay_1"]["skipped"] == 3
