"""The search itself: asks a sampler, has points evaluated wherever that happens, and yields trials as they finish. A pure driver: rows,
progress and workers are its caller's."""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from statistics import fmean, median

import numpy as np

from tradeagent.algos.bars import Floats
from tradeagent.algos.spec import Param
from tradeagent.domain.errors import DataError, InvalidInput
from tradeagent.research.metrics import Metrics
from tradeagent.research.objective import Objective
from tradeagent.research.samplers import SamplerKind, Told, make_sampler
from tradeagent.research.space import Params, Space, point_key

BATCH = 8
ENOUGH_TO_PRUNE = 5
_PRUNED = 1e-6


class TrialState(StrEnum):
    """complete: it counts. invalid: a constraint is missed or the score is not defined. pruned: given up after some of its folds."""

    COMPLETE = "complete"
    INVALID = "invalid"
    PRUNED = "pruned"


@dataclass(frozen=True, slots=True)
class Request:
    """One point to evaluate. `medians[k]` is what the mean score of folds 0…k must reach, None where nothing is known yet.

    `rows` (first, end) is the part of the bars to trade on, with the position closed at its last close; None is all of them.
    """

    params: Params
    medians: tuple[float | None, ...] = ()
    rows: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a point gave: its metrics, its daily returns, and the score of each fold that was run (empty without folds).

    `refused` says why the algo cannot be run at this point at all.
    """

    metrics: Metrics
    daily: Floats = field(default_factory=lambda: np.empty(0))
    folds: tuple[float | None, ...] = ()
    pruned: bool = False
    refused: str = ""


Evaluate = Callable[[Sequence[Request]], Iterator[tuple[int, Outcome]]]


@dataclass(frozen=True, slots=True)
class Trial:
    """One finished try. `same_as` is the number of the trial that had the same point, which was not evaluated again."""

    number: int
    params: dict[str, Param]
    state: TrialState
    score: float | None
    metrics: Metrics
    folds: tuple[float | None, ...] = ()
    reason: str = ""
    violation: float = 0.0
    same_as: int | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched and how. `batch` points are asked at a time however many workers there are: they cannot change the result."""

    space: Space
    objective: Objective
    sampler: SamplerKind = SamplerKind.TPE
    n_trials: int = 100
    seed: int = 0
    folds: int = 1
    batch: int = BATCH
    rows: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.n_trials < 1:
            raise InvalidInput(f"n_trials: {self.n_trials} is below 1", hint="--n-trials 100")
        if self.batch < 1:
            raise InvalidInput(f"batch: {self.batch} is below 1", hint="--batch 8")
        if self.seed < 0:
            raise InvalidInput(f"seed: {self.seed} is below 0", hint="--seed 0")
        if self.folds < 1:
            raise InvalidInput(f"folds: {self.folds} is below 1", hint="1 scores all bars at once; 5 scores five parts and takes the mean")


@dataclass(frozen=True, slots=True)
class Finished:
    """A trial that has just been evaluated, with what only this process knows of it."""

    trial: Trial
    daily: Floats


def search(plan: Search, evaluate: Evaluate, done: Mapping[int, Trial]) -> Iterator[Finished]:
    """Run the trials that `done` (of an earlier run, by number) lacks, in any order within a batch. Ends early when the space does.

    DataError when `done` does not belong to this plan.
    """
    sampler = make_sampler(plan.sampler, plan.space, plan.seed, plan.n_trials)
    known = _Known(plan)
    for number, first in enumerate(range(0, plan.n_trials, plan.batch)):
        wanted = range(first, min(first + plan.batch, plan.n_trials))
        if all(place in done for place in wanted):
            batch = [done[place] for place in wanted]
            sampler.remember([_told(trial) for trial in batch])
        else:
            asked = sampler.ask(number, len(wanted))
            if not asked:
                return
            batch = yield from _evaluated(known, evaluate, dict(zip(wanted, asked, strict=False)), done)
            sampler.tell([_told(trial) for trial in batch])
        known.add(batch)
        if len(known.points) >= plan.space.size:
            return


def best_of(trials: Iterable[Trial]) -> Trial:
    """The highest score, of equals the first. InvalidInput when none is valid says why they were not."""
    found = sorted(trials, key=lambda trial: trial.number)
    valid = [trial for trial in found if trial.state is TrialState.COMPLETE and trial.score is not None]
    if valid:
        return max(valid, key=lambda trial: (trial.score or 0.0, -trial.number))
    reasons = Counter(trial.reason for trial in found).most_common(3)
    why = "; ".join(f"{count} × {reason}" for reason, count in reasons)
    hint = "loosen --min-trades or --max-drawdown, widen the ranges, or search over more bars"
    raise InvalidInput(f"no valid trial among {len(found)}: {why}", hint=hint, details={"reasons": dict(reasons)})


class _Known:
    """What the batches so far have shown."""

    def __init__(self, plan: Search) -> None:
        self.plan = plan
        self.points: dict[str, Trial] = {}
        self._means: list[tuple[float, ...]] = []

    def add(self, batch: Sequence[Trial]) -> None:
        for trial in batch:
            self.points.setdefault(point_key(trial.params), trial)
            scores = [score for score in trial.folds if score is not None]
            if trial.state is TrialState.COMPLETE and trial.same_as is None and len(scores) == self.plan.folds:
                self._means.append(tuple(fmean(scores[: fold + 1]) for fold in range(len(scores))))

    def medians(self) -> tuple[float | None, ...]:
        """Per fold the median of the mean scores up to it, None until enough trials have been through all folds."""
        if self.plan.folds < 2:
            return ()
        if len(self._means) < ENOUGH_TO_PRUNE:
            return (None,) * self.plan.folds
        return tuple(median(means[fold] for means in self._means) for fold in range(self.plan.folds))


def _evaluated(
    known: _Known, evaluate: Evaluate, asked: Mapping[int, dict[str, Param]], done: Mapping[int, Trial]
) -> Generator[Finished, None, list[Trial]]:
    """The trials of one batch in order, each yielded when it is new."""
    batch: dict[int, Trial] = {}
    firsts: dict[str, int] = {}
    twins: dict[int, str] = {}
    fresh: list[int] = []
    for number, params in asked.items():
        key = point_key(params)
        if number in done:
            batch[number] = _checked(done[number], key)
        elif key in known.points or key in firsts:
            twins[number] = key
        else:
            fresh.append(number)
        firsts.setdefault(key, number)
    medians = known.medians()
    for place, outcome in evaluate([Request(asked[number], medians, known.plan.rows) for number in fresh]):
        number = fresh[place]
        batch[number] = judge(known.plan, number, asked[number], outcome)
        yield Finished(batch[number], outcome.daily)
    for number, key in twins.items():
        twin = known.points.get(key) or batch[firsts[key]]
        origin = twin.number if twin.same_as is None else twin.same_as
        batch[number] = replace(twin, number=number, same_as=origin)
        yield Finished(batch[number], np.empty(0))
    return [batch[number] for number in asked]


def judge(plan: Search, number: int, params: dict[str, Param], outcome: Outcome) -> Trial:
    """A trial from what its point gave."""
    objective, metrics = plan.objective, outcome.metrics
    if outcome.refused:
        return Trial(number, params, TrialState.INVALID, None, metrics, reason=outcome.refused, violation=2.0)
    if outcome.pruned:
        reached = [score for score in outcome.folds if score is not None]
        reason = f"below the median after {len(outcome.folds)} of {plan.folds} folds"
        mean = fmean(reached) if reached else None
        return Trial(number, params, TrialState.PRUNED, mean, metrics, outcome.folds, reason, violation=_PRUNED)
    violation, reason = objective.violation(metrics)
    if plan.folds > 1:
        scores = [score for score in outcome.folds if score is not None]
        score = fmean(scores) if len(scores) == plan.folds else None
    else:
        score = objective.score(metrics)
    if violation > 0 or score is None:
        why = reason or f"{objective.text} is not defined"
        return Trial(number, params, TrialState.INVALID, score, metrics, outcome.folds, why, violation=violation or 1.0)
    return Trial(number, params, TrialState.COMPLETE, score, metrics, outcome.folds)


def _told(trial: Trial) -> Told:
    return Told(trial.params, trial.score, trial.violation)


def _checked(trial: Trial, key: str) -> Trial:
    if point_key(trial.params) == key:
        return trial
    raise DataError(
        f"study: trial {trial.number} was {point_key(trial.params)}, and this program would have asked for {key}",
        hint="the study began under another version of tradeagent or optuna: start it anew with --fresh",
    )
