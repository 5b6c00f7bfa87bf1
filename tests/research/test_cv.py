"""Rolling validation over a made-up market: searched on training rows only, resumable, and a verdict that the figures earn."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from toy_study import outcome, toy_plan

from tradeagent.research.cv import FAIL, PASS, FoldResult, FoldTrial, Validation, summarise, validate
from tradeagent.research.folds import Layout, make_folds
from tradeagent.research.optimise import Outcome, Request, Trial

FOLDS = tuple(make_folds(0, 1000, Layout(train=300, test=100), purge=60))


class Market:
    """Remembers which rows it was asked about; every test makes `pnl` and the drawdown `drawdown`."""

    def __init__(self, pnl: Sequence[float] = (5, 5, 5, 5, 5, 5), drawdown: float = 8.0) -> None:
        self._pnl, self._drawdown = pnl, drawdown
        self.rows: list[tuple[int, int]] = []

    def __call__(self, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        for place, request in enumerate(requests):
            assert request.rows is not None
            self.rows.append(request.rows)
            found = outcome(request)
            tests = [fold.test for fold in FOLDS]
            pnl = self._pnl[tests.index(request.rows)] if request.rows in tests else 1.0
            metrics = {**found.metrics, "net_pnl_quote": pnl, "max_drawdown_pct": self._drawdown, "win_rate": 0.5}
            yield place, replace(found, metrics=metrics, daily=np.full(10, pnl / 1000) + np.linspace(-0.001, 0.001, 10))


def ran(
    plan: Validation, market: Market, done: Mapping[int, Mapping[int, Trial]] | None = None
) -> tuple[list[FoldTrial], list[FoldResult]]:
    events = list(validate(plan, market, done or {}))
    return [each for each in events if isinstance(each, FoldTrial)], [each for each in events if isinstance(each, FoldResult)]


def test_a_fold_is_searched_on_its_training_rows_only_and_tested_once() -> None:
    market = Market()
    trained, tested = ran(Validation(toy_plan(16), FOLDS), market)
    assert [each.fold for each in tested] == list(FOLDS)
    assert {rows for rows in market.rows} == {fold.train for fold in FOLDS} | {fold.test for fold in FOLDS}
    assert all(market.rows.count(fold.test) == 1 for fold in FOLDS)
    for fold in FOLDS:
        scores = {each.finished.trial.number: each.finished.trial.score for each in trained if each.fold == fold.number}
        best = tested[fold.number].best
        assert len(scores) == 16 and best is not None and best.score == max(score for score in scores.values() if score is not None)


def test_a_validation_cut_in_its_third_fold_ends_the_same() -> None:
    plan = Validation(toy_plan(16), FOLDS)
    trained, whole = ran(plan, Market())
    done: dict[int, dict[int, Trial]] = {}
    for each in trained[: 2 * 16 + 5]:
        done.setdefault(each.fold, {})[each.finished.trial.number] = each.finished.trial
    again, resumed = ran(plan, Market(), done)
    assert len(again) == len(trained) - 37
    assert [(each.fold, each.best, each.metrics) for each in resumed] == [(each.fold, each.best, each.metrics) for each in whole]
    assert summarise(plan, resumed, 365) == summarise(plan, whole, 365)


@pytest.mark.parametrize(
    ("pnl", "drawdown", "verdict", "reason"),
    [
        ((5, 5, 5, 5, -5, -5), 8, PASS, ""),
        ((5, 5, 5, -5, -5, -5), 8, FAIL, "50 % of the folds made money"),
        ((5, 5, 5, 5, 5, 5), 21, FAIL, "a fold lost 21.0 % from its peak, more than 20 %"),
    ],
)
def test_the_verdict(pnl: Sequence[float], drawdown: float, verdict: str, reason: str) -> None:
    plan = Validation(toy_plan(8), FOLDS)
    _, tested = ran(plan, Market(pnl, drawdown))
    summary = summarise(plan, tested, 365)
    assert summary.verdict == verdict and reason in "; ".join(summary.reasons)
    assert summary.pnl == sum(pnl) and summary.worst_pnl == min(pnl)
    daily = np.concatenate([each.daily for each in tested])
    assert summary.combined_sharpe == pytest.approx(daily.mean() / daily.std(ddof=1) * np.sqrt(365))


def test_a_fold_without_a_valid_trial_trades_nothing_and_counts_as_lost() -> None:
    plan = Validation(toy_plan(8, min_trades=1000), FOLDS)
    market = Market()
    _, tested = ran(plan, market)
    assert all(each.best is None and "no valid trial" in each.reason for each in tested)
    assert not {fold.test for fold in FOLDS} & set(market.rows)
    summary = summarise(plan, tested, 365)
    assert (summary.profitable_pct, summary.combined_sharpe, summary.verdict) == (0.0, None, FAIL)


def test_stability_says_how_far_apart_the_choices_were() -> None:
    plan = Validation(toy_plan(16), FOLDS[:2])
    _, tested = ran(plan, Market())
    same = summarise(plan, [tested[0], tested[0]], 365).stability
    assert set(same.values()) == {1.0}
    best = tested[0].best
    assert best is not None
    far = [replace(tested[0], best=replace(best, params={**best.params, "fast.length": value})) for value in (5, 50)]
    assert summarise(plan, far, 365).stability["fast.length"] == 0.0


def test_overlapping_tests_give_the_combined_result_only_what_is_theirs() -> None:
    folds = tuple(make_folds(0, 1000, Layout(train=300, test=100, step=40, folds=3), purge=60))
    asked: list[tuple[int, int] | None] = []

    def market(requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        for place, request in enumerate(requests):
            asked.append(request.rows)
            yield place, outcome(request)

    list(validate(Validation(toy_plan(1), folds), market, {}))
    tests = [rows for rows in asked if rows not in [fold.train for fold in folds]]
    assert tests == [(360, 460), (360, 400), (400, 500), (400, 440), (440, 540)]
