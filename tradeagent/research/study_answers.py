"""Running a study to its answer: trials recorded as they finish, then the best one judged with what the whole search knows. Yields what
happens for whoever watches; the last thing it yields is the document."""

import time
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from tradeagent.algos.bars import Floats
from tradeagent.domain.clock import iso
from tradeagent.domain.errors import InvalidInput
from tradeagent.ledger import studies, trials
from tradeagent.ledger.trials import idea_of
from tradeagent.research.backtest import Setup
from tradeagent.research.cv import FoldResult, FoldTrial, Validation, pnl_of, summarise, validate
from tradeagent.research.honesty import Searched
from tradeagent.research.metrics import periods_per_year
from tradeagent.research.optimise import Request, Trial, TrialState, best_of, search
from tradeagent.research.plots_of_study import importance
from tradeagent.research.record import Desk, perform
from tradeagent.research.result import data_json, early_warnings, noted
from tradeagent.research.samplers import SamplerKind, grid_size
from tradeagent.research.space import Axis, plain
from tradeagent.research.statistics import PBO_TRIALS, Matrix, dsr, expected_maximum, pbo, psr, variance_of
from tradeagent.research.study import Claimed, Prepared
from tradeagent.research.study_rows import Recorder
from tradeagent.research.workers import Place

TOP = 10
_SHORT = 5


@dataclass(frozen=True, slots=True)
class Stepped:
    """A trial has finished: how many have, of how many at most, and the best score so far (of this fold)."""

    done: int
    total: int
    best: float | None
    fold: int = 0


@dataclass(frozen=True, slots=True)
class Answered:
    """The end: the document that the command prints and the ledger keeps."""

    document: dict[str, Any]


Events = Generator[Stepped | Answered, None, None]


def optimise(desk: Desk, prepared: Prepared, claim: Claimed, place: Place) -> Events:
    """Search, judge the best by a full backtest, and keep the answer. InvalidInput when no trial is valid; the study then says so too."""
    began = time.perf_counter()
    study = claim.row.id
    found = dict(claim.done.get(0, {}))
    daily: dict[int, Floats] = {}
    with Recorder(desk.ledger, study, desk.clock, lambda finished, fold: prepared.counted(study, finished, fold)) as recorder:
        best = _best_score(found)
        for finished in search(prepared.search, place.evaluate, found.copy()):
            recorder.add(finished)
            trial = found[finished.trial.number] = finished.trial
            daily[trial.number] = finished.daily
            best = _better(best, trial)
            yield Stepped(len(found), prepared.total, best)
    try:
        winner = best_of(found.values())
    except InvalidInput as error:
        _finish(desk, study, studies.FAILED, {"id": study, "error": error.as_dict(), **_counts(found)})
        raise
    searched = _searched(study, _matrix(found, daily, place))
    judged = perform(desk, prepared.question.algo, _setup_at(prepared, winner), prepared.loaded.leg.instrument, search=searched)
    document = {
        **_head(prepared, claim),
        "best": {"params": plain(winner.params), "score": winner.score, "number": winner.number, "metrics": judged.document["metrics"]},
        **_counts(found),
        "top": [_trial_json(trial) for trial in _top(found)],
        "notes": _notes(prepared, winner),
        "importance": importance(list(found.values()), prepared.search.space),
        "honesty": judged.document["honesty"],
        "backtest": judged.document["id"],
        "warnings": judged.document["warnings"],
        "elapsed_s": time.perf_counter() - began,
    }
    _finish(desk, study, studies.COMPLETE, document)
    yield Answered(document)


def cross_validate(desk: Desk, prepared: Prepared, claim: Claimed, place: Place) -> Events:
    """Search and test fold by fold, and keep the answer."""
    began = time.perf_counter()
    study, question = claim.row.id, prepared.question
    plan = Validation(prepared.search, prepared.folds, question.limit_pct)
    tested: list[FoldResult] = []
    found = {fold: dict(known) for fold, known in claim.done.items()}
    count = claim.count
    with Recorder(desk.ledger, study, desk.clock, lambda finished, fold: prepared.counted(study, finished, fold)) as recorder:
        for event in validate(plan, place.evaluate, claim.done):
            if isinstance(event, FoldTrial):
                recorder.add(event.finished, event.fold)
                known = found.setdefault(event.fold, {})
                known[event.finished.trial.number] = event.finished.trial
                count += 1
                yield Stepped(count, prepared.total, _best_score(known), event.fold)
            else:
                tested.append(event)
    with desk.ledger.transaction() as tx:
        tests = [prepared.tried(study, each.best.params, each.fold.test, each.daily) for each in tested if each.best is not None]
        trials.add(tx, tests, desk.clock.now_ms())
    summary = summarise(plan, tested, periods_per_year(prepared.loaded.leg.bars.interval_ms))
    document = {
        **_head(prepared, claim),
        **_counts({(fold, number): trial for fold, known in found.items() for number, trial in known.items()}),
        "layout": _layout(prepared),
        "folds": [_fold_json(prepared, each) for each in tested],
        "summary": _summary_json(asdict(summary)),
        "verdict": summary.verdict,
        "honesty": _honesty(desk, prepared, tested),
        "warnings": early_warnings(prepared.loaded.evaluator, prepared.loaded.data),
        "elapsed_s": time.perf_counter() - began,
    }
    _finish(desk, study, studies.COMPLETE, document)
    yield Answered(document)


def _finish(desk: Desk, study: str, state: str, document: Mapping[str, Any]) -> None:
    with desk.ledger.transaction() as tx:
        studies.finish(tx, study, state, document)


def _setup_at(prepared: Prepared, trial: Trial) -> Setup:
    return replace(prepared.setup, params={**prepared.setup.params, **trial.params})


def _matrix(found: Mapping[int, Trial], daily: Mapping[int, Floats], place: Place) -> Matrix | None:
    """Daily returns of the distinct trials that ran to their end, as columns in trial order, at most as many as PBO takes.

    Trials of an earlier run left no returns behind and are evaluated again.
    """
    ran = [number for number, trial in sorted(found.items()) if trial.same_as is None and trial.metrics]
    if len(ran) > PBO_TRIALS:
        ran = [ran[at] for at in np.linspace(0, len(ran) - 1, PBO_TRIALS).round().astype(int).tolist()]
    if len(ran) < 2:
        return None
    columns = {number: daily[number] for number in ran if number in daily}
    missing = [number for number in ran if number not in columns]
    for at, outcome in place.evaluate([Request(found[number].params) for number in missing]):
        columns[missing[at]] = outcome.daily
    return np.column_stack([columns[number] for number in ran])


def _searched(study: str, matrix: Matrix | None) -> Searched:
    """What only the whole search knows of its best point: the probability of backtest overfitting, None with too little to tell."""
    if matrix is None:
        return Searched(study, 1, None)
    found = pbo(matrix)
    return Searched(study, matrix.shape[1], None if found is None else found.value, days=len(matrix))


def _honesty(desk: Desk, prepared: Prepared, tested: list[FoldResult]) -> dict[str, Any]:
    """The tests' returns against how often the idea was tried."""
    leg = prepared.loaded.leg
    daily = np.concatenate([each.daily for each in tested])
    with desk.ledger.reading() as tx:
        tries = trials.of_idea(tx, idea_of(prepared.question.algo.lineage, leg.spec.market))
    threshold = expected_maximum(tries.count, variance_of(tries.sharpes)) * periods_per_year(leg.bars.interval_ms) ** 0.5
    return {
        "trials": tries.count,
        "sharpe_threshold": threshold,
        "psr": psr(daily),
        "deflated_sharpe": dsr(daily, tries.count, tries.sharpes),
    }


def _head(prepared: Prepared, claim: Claimed) -> dict[str, Any]:
    question = prepared.question
    return {
        "id": claim.row.id,
        "kind": question.kind,
        "algo": question.algo.name,
        "version": question.algo.version,
        "data": data_json([prepared.loaded], prepared.setup),
        "fixed": prepared.setup.as_config()["params"],
        "space": {axis.name: _axis_json(axis) for axis in prepared.search.space.axes},
        "sampler": question.sampler.value,
        "objective": question.objective,
        "min_trades": question.min_trades,
        "max_drawdown_pct": question.max_drawdown_pct,
        "seed": question.seed,
        "n_trials": question.n_trials,
        "resumed_trials": claim.count,
    }


def _notes(prepared: Prepared, best: Trial) -> list[str]:
    """What a person would want to know about the best point before using it."""
    found = [noted(warning) for warning in early_warnings(prepared.loaded.evaluator, prepared.loaded.data)]
    found += [] if (best.metrics["total_return_pct"] or 0) > 0 else ["even the best point lost money"]
    for axis in prepared.search.space.axes:
        if axis.ordered and len(axis.values) > 2 and best.params.get(axis.name) in (axis.values[0], axis.values[-1]):
            end = plain({axis.name: best.params[axis.name]})[axis.name]
            found.append(f"{axis.name} = {end} is the end of its range: a wider range may hold a better point")
    tried, size = prepared.question.n_trials, prepared.search.space.size
    if prepared.question.sampler is SamplerKind.GRID and grid_size(prepared.search.space) > tried:
        found.append(f"the grid has {grid_size(prepared.search.space):,} points; {tried:,} of them, chosen by the seed, were tried")
    elif size <= tried:
        found.append(f"the space has {size:,} points in all")
    return found


def _axis_json(axis: Axis) -> list[Any] | dict[str, Any]:
    """The values of a short axis and of choices; else what would be written after `--param NAME=`: ends and step, or ends and log."""
    numbers = [value for value in axis.values if not isinstance(value, str)]
    steps = {other - one for one, other in pairwise(numbers)}
    if len(axis.values) <= _SHORT or (axis.stepped and len(steps) > 1) or len(numbers) < len(axis.values):
        return list(plain({str(place): value for place, value in enumerate(axis.values)}).values())
    ends = {"from": numbers[0], "to": numbers[-1]}
    return {**plain(ends), "log": True} if len(steps) > 1 else plain({**ends, "step": steps.pop()})


def _counts(found: Mapping[Any, Trial]) -> dict[str, Any]:
    states = [trial.state for trial in found.values()]
    return {
        "trials": len(states),
        "valid": states.count(TrialState.COMPLETE),
        "invalid": states.count(TrialState.INVALID),
        "pruned": states.count(TrialState.PRUNED),
        "distinct": sum(trial.same_as is None for trial in found.values()),
    }


def _top(found: Mapping[int, Trial]) -> list[Trial]:
    valid = [trial for trial in found.values() if trial.state is TrialState.COMPLETE and trial.same_as is None]
    return sorted(valid, key=lambda trial: (-(trial.score or 0.0), trial.number))[:TOP]


def _trial_json(trial: Trial) -> dict[str, Any]:
    names = ("sharpe", "trades", "total_return_pct", "max_drawdown_pct")
    return {"number": trial.number, "score": trial.score, "params": plain(trial.params), **{name: trial.metrics[name] for name in names}}


def _layout(prepared: Prepared) -> dict[str, Any]:
    layout, first = prepared.question.layout, prepared.folds[0]
    step = prepared.folds[1].test[0] - first.test[0] if len(prepared.folds) > 1 else first.test[1] - first.test[0]
    lengths = {"train": first.train[1] - first.train[0], "test": first.test[1] - first.test[0], "step": step}
    return {**lengths, "purge": prepared.purge, "embargo": layout.embargo, "anchored": layout.anchored}


def _fold_json(prepared: Prepared, result: FoldResult) -> dict[str, Any]:
    metrics, bars = result.metrics, prepared.loaded.leg.bars

    def span(rows: tuple[int, int]) -> list[str | None]:
        return [iso(int(bars.time[rows[0]])), iso(int(bars.time[rows[1] - 1]) + bars.interval_ms)]

    return {
        "train": span(result.fold.train),
        "test": span(result.fold.test),
        "params": None if result.best is None else plain(result.best.params),
        "train_score": None if result.best is None else result.best.score,
        "trades": metrics.get("trades") or 0,
        "sharpe": metrics.get("sharpe"),
        "pnl": f"{pnl_of(result):.6f}",
        "return_pct": metrics.get("total_return_pct") or 0.0,
        "max_drawdown_pct": metrics.get("max_drawdown_pct") or 0.0,
        "win_rate": metrics.get("win_rate"),
        "reason": result.reason,
    }


def _summary_json(summary: dict[str, Any]) -> dict[str, Any]:
    return summary | {name: f"{summary[name]:.6f}" for name in ("pnl", "worst_pnl")} | {"reasons": list(summary["reasons"])}


def _best_score(found: Mapping[int, Trial]) -> float | None:
    return max((trial.score for trial in found.values() if trial.state is TrialState.COMPLETE and trial.score is not None), default=None)


def _better(best: float | None, trial: Trial) -> float | None:
    if trial.state is not TrialState.COMPLETE or trial.score is None:
        return best
    return trial.score if best is None else max(best, trial.score)
