"""The search: seeded and resumable at any trial with the same result, whoever evaluates; constraints, pruning, and no valid trial."""

import time
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from toy_study import outcome, toy_plan, toy_space

from tradeagent.domain.errors import DataError, InvalidInput
from tradeagent.research.metrics import METRIC_KEYS, Metrics
from tradeagent.research.objective import make_objective
from tradeagent.research.optimise import Outcome, Request, Search, Trial, TrialState, best_of, search
from tradeagent.research.plots_of_study import history, importance, plots, slice_of
from tradeagent.research.samplers import SamplerKind
from tradeagent.research.space import point_key


class Shuffled:
    """Answers in another order each time, as workers do, and counts."""

    def __init__(self, seed: int = 0, folds: int = 1) -> None:
        self._rng, self._folds = np.random.default_rng(seed), folds
        self.evaluated: list[Request] = []

    def __call__(self, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        for place in self._rng.permutation(len(requests)).tolist():
            self.evaluated.append(requests[place])
            yield place, outcome(requests[place], self._folds)


def run(plan: Search, done: dict[int, Trial] | None = None, seed: int = 0) -> dict[int, Trial]:
    return {each.trial.number: each.trial for each in search(plan, Shuffled(seed, plan.folds), done or {})}


@pytest.mark.parametrize("kind", SamplerKind)
@pytest.mark.parametrize("cut", [1, 7, 8, 20, 39])
def test_a_search_cut_at_any_trial_goes_on_to_the_same_result(kind: SamplerKind, cut: int) -> None:
    plan = toy_plan(40, kind)
    whole = run(plan)
    walk = search(plan, Shuffled(cut), {})
    part = {each.trial.number: each.trial for each in (next(walk) for _ in range(cut))}
    assert part | run(plan, part) == whole
    assert not run(plan, whole)


def test_a_long_search_forgets_alike_when_it_is_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("MEMORY", 40), ("BEST_KEPT", 6), ("NEWEST_KEPT", 14)):
        monkeypatch.setattr(f"tradeagent.research.samplers.{name}", value)
    plan = toy_plan(96)
    whole = run(plan)
    for cut in (40, 51, 80):
        part = {number: trial for number, trial in whole.items() if number < cut}
        assert part | run(plan, part) == whole


def test_folds_prune_and_resume_alike() -> None:
    plan = toy_plan(60, folds=4)
    whole = run(plan)
    pruned = [trial for trial in whole.values() if trial.state is TrialState.PRUNED]
    assert pruned and all(1 <= len(trial.folds) < 4 and "median" in trial.reason for trial in pruned)
    assert not any(trial.state is TrialState.PRUNED for number, trial in whole.items() if number < 8)
    part = {number: trial for number, trial in whole.items() if number < 29}
    assert part | run(plan, part, seed=3) == whole
    best = best_of(whole.values())
    assert best.score == pytest.approx(sum(score for score in best.folds if score is not None) / 4)


def test_tpe_finds_more_than_chance() -> None:
    learnt, drawn = (
        [best_of(run(toy_plan(60, kind, seed)).values()).score or 0 for seed in range(4)] for kind in (SamplerKind.TPE, SamplerKind.RANDOM)
    )
    assert np.mean(learnt) > np.mean(drawn) + 0.3


def test_the_same_point_is_evaluated_once_and_the_search_ends_with_its_space() -> None:
    small = toy_space(fast__length="15,17", slow__length="100,120", factor="3", ma="sma")
    plan = Search(small, make_objective("sharpe"), SamplerKind.RANDOM, 100, 1)
    evaluate = Shuffled()
    trials = [each.trial for each in search(plan, evaluate, {})]
    assert len(evaluate.evaluated) == len({point_key(trial.params) for trial in trials}) == 4
    assert 4 < len(trials) < 100
    for trial in trials:
        if trial.same_as is not None:
            twin = next(each for each in trials if each.number == trial.same_as)
            assert (twin.params, twin.score, twin.same_as) == (trial.params, trial.score, None)


def test_a_missed_constraint_never_wins() -> None:
    whole = run(toy_plan(60, min_trades=20))
    best = best_of(whole.values())
    assert best.metrics["trades"] >= 20  # type: ignore[operator]
    assert any(trial.state is TrialState.INVALID and trial.reason == "fewer than 20 trades" for trial in whole.values())
    assert max(trial.score or -9 for trial in whole.values()) > (best.score or 0)


def test_no_valid_trial_says_why() -> None:
    whole = run(toy_plan(12, min_trades=1000))
    with pytest.raises(InvalidInput, match=r"no valid trial among 12: 12 × fewer than 1000 trades") as caught:
        best_of(whole.values())
    assert "--min-trades" in caught.value.hint


def test_trials_of_another_plan_are_refused() -> None:
    part = {number: trial for number, trial in run(toy_plan(8, seed=1)).items() if number < 4}
    with pytest.raises(DataError, match="would have asked for"):
        run(toy_plan(8, seed=2), part)


def test_overhead_of_a_trial() -> None:
    plan = toy_plan(100)
    began = time.process_time()
    run(plan)
    assert (time.process_time() - began) / 100 < 0.015


METRICS: Metrics = {key: 1.0 for key in METRIC_KEYS} | {
    "sharpe": 2.0,
    "max_drawdown_pct": 10.0,
    "calmar": None,
    "trades": 40,
    "sqn": 1.5,
    "total_return_pct": 30.0,
}


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("sharpe", 2.0),
        ("return", 30.0),
        ("drawdown", -10.0),
        ("calmar", None),
        ("sqn", 1.5),
        ("sharpe - 0.1 * max_drawdown_pct", 1.0),
        ("min(sharpe, 5) / max(trades, 1)", 0.05),
        ("sharpe / (trades - 40)", None),
        ("-abs(0 - sharpe)", -2.0),
    ],
)
def test_objectives(text: str, score: float | None) -> None:
    assert make_objective(text).score(METRICS) == score


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("sharp", "no metric 'sharp'", "did you mean 'sharpe'"),
        ("sharpe > 1", "a condition, not a number", "arithmetic"),
        ("highest(sharpe, 5)", "looks at bars", "abs, min or max"),
        ("5", "names no metric", "sharpe"),
        ("__import__('os')", "'", "sharpe, return, drawdown, calmar, sqn, or arithmetic"),
        ("__import__(1)", "is not a function", "sharpe, return, drawdown, calmar, sqn, or arithmetic"),
        ("sharpe +", "it ends too early", "arithmetic"),
        ("return - 1", "no metric 'return'", "known: "),
        ("", "empty", "sharpe"),
    ],
)
def test_an_objective_that_cannot_be(text: str, problem: str, hint: str) -> None:
    with pytest.raises(InvalidInput, match=problem) as caught:
        make_objective(text)
    assert hint in caught.value.hint and "cross_above" not in caught.value.hint
    assert caught.value.message.startswith("--objective: ")
    known = caught.value.hint.removeprefix("known: ").split(", ")
    assert len(known) == len(set(known))


def test_plots_show_the_search_and_what_mattered() -> None:
    plan = toy_plan(80, SamplerKind.RANDOM)
    trials = list(run(plan).values())
    lines = plots(trials, plan.space, width=64, height=6)
    assert all(len(line) <= 64 for line in lines)
    weights = importance(trials, plan.space)
    assert sum(weights.values()) == pytest.approx(1) and next(iter(weights)) in ("fast.length", "factor") and weights["ma"] < 0.15
    assert slice_of(trials, plan.space, "fast.length", 60)[-1].split() == ["5", "50"]
    assert history([], 60) == ["no valid trial"]
