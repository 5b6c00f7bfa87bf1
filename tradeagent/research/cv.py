"""Rolling validation: search on each fold's training bars only, trade the best point on the test bars that follow, and judge what the tests
say together. A pure driver, as `optimise` is."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import sqrt
from statistics import fmean, pstdev, stdev

import numpy as np

from tradeagent.algos.bars import Floats
from tradeagent.domain.errors import InvalidInput
from tradeagent.research.folds import Fold
from tradeagent.research.metrics import Metrics, sharpe_of
from tradeagent.research.optimise import Evaluate, Finished, Outcome, Request, Search, Trial, best_of, search
from tradeagent.research.space import Axis

ENOUGH_PROFITABLE_PCT = 60.0
PASS, FAIL = "pass", "fail"


@dataclass(frozen=True, slots=True)
class Validation:
    """What is validated: the search to repeat on each fold, the folds, and the deepest drawdown a test may have, in percent."""

    search: Search
    folds: tuple[Fold, ...]
    max_drawdown_pct: float = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class FoldResult:
    """One fold's end: its best training trial (None: no trial was valid, nothing was traded), and the test's metrics and daily returns."""

    fold: Fold
    best: Trial | None
    reason: str = ""
    metrics: Metrics = field(default_factory=dict)
    daily: Floats = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True, slots=True, eq=False)
class FoldTrial:
    """A trial of one fold's search that has just finished."""

    fold: int
    finished: Finished


@dataclass(frozen=True, slots=True)
class Summary:
    """All tests together. Sharpe ratios are annualised; `spread_sharpe` is their deviation between folds; PnL in quote units.

    `stability` per parameter: 1 when every fold chose the same, 0 when the choices are as far apart as the space allows.
    """

    folds: int
    combined_sharpe: float | None
    mean_sharpe: float | None
    spread_sharpe: float | None
    worst_sharpe: float | None
    profitable_pct: float
    pnl: float
    worst_pnl: float
    worst_drawdown_pct: float
    train_sharpe: float | None
    trades: int
    stability: dict[str, float]
    reasons: tuple[str, ...]

    @property
    def verdict(self) -> str:
        return FAIL if self.reasons else PASS


def validate(plan: Validation, evaluate: Evaluate, done: Mapping[int, Mapping[int, Trial]]) -> Iterator[FoldTrial | FoldResult]:
    """Fold by fold: every new training trial, then the test. `done` holds the trials of an earlier run by fold and number."""
    for fold in plan.folds:
        known = done.get(fold.number, {})
        trials = dict(known)
        for finished in search(replace(plan.search, rows=fold.train), evaluate, known):
            trials[finished.trial.number] = finished.trial
            yield FoldTrial(fold.number, finished)
        try:
            best = best_of(trials.values())
        except InvalidInput as error:
            yield FoldResult(fold, None, error.message)
            continue
        yield _tested(fold, best, evaluate)


def _tested(fold: Fold, best: Trial, evaluate: Evaluate) -> FoldResult:
    requests = [Request(best.params, rows=fold.test)]
    if fold.owned < fold.test[1]:
        requests.append(Request(best.params, rows=(fold.test[0], fold.owned)))
    outcomes: dict[int, Outcome] = dict(evaluate(requests))
    return FoldResult(fold, best, metrics=outcomes[0].metrics, daily=outcomes[len(requests) - 1].daily)


def summarise(plan: Validation, tested: Sequence[FoldResult], periods_per_year: float) -> Summary:
    """The figures over all folds; a fold without a valid trial made nothing and is not profitable."""
    sharpes = [value for each in tested if isinstance(value := each.metrics.get("sharpe"), (int, float))]
    pnls = [pnl_of(each) for each in tested]
    drawdowns = [float(each.metrics.get("max_drawdown_pct") or 0) for each in tested]
    trained = [float(value) for each in tested if each.best is not None and (value := each.best.metrics.get("sharpe")) is not None]
    combined = sharpe_of(np.concatenate([each.daily for each in tested])) if tested else None
    profitable_pct = 100.0 * sum(pnl > 0 for pnl in pnls) / len(tested) if tested else 0.0
    worst = max(drawdowns, default=0.0)
    reasons = []
    if profitable_pct < ENOUGH_PROFITABLE_PCT:
        reasons.append(f"{profitable_pct:.0f} % of the folds made money, fewer than {ENOUGH_PROFITABLE_PCT:.0f} %")
    if worst > plan.max_drawdown_pct:
        reasons.append(f"a fold lost {worst:.1f} % from its peak, more than {plan.max_drawdown_pct:g} %")
    return Summary(
        folds=len(tested),
        combined_sharpe=None if combined is None else combined * sqrt(periods_per_year),
        mean_sharpe=fmean(sharpes) if sharpes else None,
        spread_sharpe=stdev(sharpes) if len(sharpes) > 1 else None,
        worst_sharpe=min(sharpes, default=None),
        profitable_pct=profitable_pct,
        pnl=sum(pnls),
        worst_pnl=min(pnls, default=0.0),
        worst_drawdown_pct=worst,
        train_sharpe=fmean(trained) if trained else None,
        trades=sum(int(each.metrics.get("trades") or 0) for each in tested),
        stability=_stability(plan.search.space.axes, [each.best for each in tested if each.best is not None]),
        reasons=tuple(reasons),
    )


def pnl_of(tested: FoldResult) -> float:
    """Net of fees and funding, quote units."""
    return float(tested.metrics.get("net_pnl_quote") or 0)


def _stability(axes: Sequence[Axis], best: Sequence[Trial]) -> dict[str, float]:
    found: dict[str, float] = {}
    for axis in axes:
        chosen = [trial.params[axis.name] for trial in best if axis.name in trial.params]
        if not chosen:
            continue
        if axis.ordered and len(axis.values) > 1:
            places = axis.places()
            found[axis.name] = 1 - pstdev([float(places[value]) for value in chosen]) / ((len(axis.values) - 1) / 2)
        else:
            found[axis.name] = Counter(chosen).most_common(1)[0][1] / len(chosen)
    return found
