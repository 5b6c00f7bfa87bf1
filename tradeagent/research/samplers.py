"""Which points are tried next: TPE and random from optuna, and a grid. What a batch proposes depends on the seed, the batch's number and
the trials of the batches before it, and on nothing else, so a resumed study goes on as if it had never stopped."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tradeagent.algos.spec import Param
from tradeagent.domain.errors import InvalidInput
from tradeagent.research.space import Axis, Params, Space, point_key

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

STARTUP = 10
MEMORY, BEST_KEPT, NEWEST_KEPT = 300, 50, 100
MAX_GRID = 1_000_000


class SamplerKind(StrEnum):
    """How points are chosen: learning from earlier trials, by chance, or all of a grid."""

    TPE = "tpe"
    RANDOM = "random"
    GRID = "grid"


@dataclass(frozen=True, slots=True)
class Told:
    """What a sampler learns of a trial. `score` None: not valid, `violation` > 0 says how badly."""

    params: Params
    score: float | None
    violation: float = 0.0


class Sampler(Protocol):
    """Batches must be asked or remembered in order, each exactly once."""

    def ask(self, number: int, size: int) -> list[dict[str, Param]]:
        """The points of batch `number`; fewer than `size` when there are no more."""

    def tell(self, results: Sequence[Told]) -> None:
        """How the points of the batch just asked did, in its order."""

    def remember(self, results: Sequence[Told]) -> None:
        """A batch of an earlier run, in place of asking and telling it."""


def make_sampler(kind: SamplerKind, space: Space, seed: int, n_trials: int) -> Sampler:
    """A sampler that has seen nothing yet."""
    return GridSampler(space, seed, n_trials) if kind is SamplerKind.GRID else OptunaSampler(kind, space, seed)


class GridSampler:
    """Every combination in order; a seeded choice of `n_trials` of them when there are more."""

    def __init__(self, space: Space, seed: int, n_trials: int) -> None:
        self._points = _grid(space, seed, n_trials)
        self._next = 0

    def ask(self, number: int, size: int) -> list[dict[str, Param]]:
        del number
        asked = self._points[self._next : self._next + size]
        self._next += len(asked)
        return asked

    def tell(self, results: Sequence[Told]) -> None:
        del results

    def remember(self, results: Sequence[Told]) -> None:
        self._next += len(results)


def grid_size(space: Space) -> int:
    """Combinations of the grid before conditions are applied."""
    size = 1
    for axis in space.axes:
        size *= len(axis.coarse())
    return size


def _grid(space: Space, seed: int, n_trials: int) -> list[dict[str, Param]]:
    size = grid_size(space)
    if size > MAX_GRID:
        raise InvalidInput(f"grid: the space has {size:,} combinations, more than {MAX_GRID:,}", hint="use larger steps, or --sampler tpe")
    ladders = [(axis.name, axis.coarse()) for axis in space.axes]
    order = range(size) if size <= n_trials else np.random.default_rng(seed).permutation(size).tolist()
    found: dict[str, tuple[int, dict[str, Param]]] = {}
    for place in order:
        point = space.point(_combination(ladders, place))
        found.setdefault(point_key(point), (place, point))
        if len(found) == n_trials:
            break
    return [point for _, point in sorted(found.values(), key=lambda each: each[0])]


def _combination(ladders: Sequence[tuple[str, tuple[Param, ...]]], place: int) -> dict[str, Param]:
    params: dict[str, Param] = {}
    for name, values in reversed(ladders):
        place, rung = divmod(place, len(values))
        params[name] = values[rung]
    return params


class OptunaSampler:
    """TPE or random search in memory. An ordered axis is drawn as a real number and rounded to a place on its ladder: TPE is several times
    faster on reals. What was drawn is dropped, and what was tried is added in its place, by the same call that a resumed study uses.

    Asking takes as long as there are trials to learn from, so of more than `MEMORY` only the best and the newest are kept.
    """

    def __init__(self, kind: SamplerKind, space: Space, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._kind, self._space, self._seed = kind, space, seed
        self._known: list[Told] = []
        self._places = {axis.name: axis.places() for axis in space.axes}
        self._distributions = {axis.name: _distribution(axis) for axis in space.axes}
        self._study = self._empty()
        self._asked: list[optuna.Trial] = []

    def ask(self, number: int, size: int) -> list[dict[str, Param]]:
        self._study.sampler = self._fresh(number)
        self._asked = [self._study.ask() for _ in range(size)]
        return [self._drawn(trial) for trial in self._asked]

    def tell(self, results: Sequence[Told]) -> None:
        from optuna.trial import TrialState

        for trial in self._asked:
            self._study.tell(trial, state=TrialState.FAIL)
        self.remember(results)

    def remember(self, results: Sequence[Told]) -> None:
        self._known += results
        if len(self._known) <= MEMORY:
            self._add(results)
            return
        older = self._known[:-NEWEST_KEPT]
        best = sorted(range(len(older)), key=lambda place: (-_worth(older[place]), place))[:BEST_KEPT]
        self._known = [older[place] for place in sorted(best)] + self._known[-NEWEST_KEPT:]
        self._study = self._empty()
        self._add(self._known)

    def _empty(self) -> "optuna.Study":
        import optuna

        return optuna.create_study(direction="maximize", pruner=optuna.pruners.NopPruner())

    def _add(self, results: Sequence[Told]) -> None:
        from optuna.trial import TrialState, create_trial

        for result in results:
            invalid = result.score is None or result.violation > 0
            axes = [axis for axis in self._space.axes if axis.name in result.params]
            self._study.add_trial(
                create_trial(
                    state=TrialState.PRUNED if invalid else TrialState.COMPLETE,
                    value=None if invalid else result.score,
                    params={axis.name: self._places[axis.name][result.params[axis.name]] for axis in axes},
                    distributions={axis.name: self._distributions[axis.name] for axis in axes},
                    constraints={"valid": max(result.violation, 1e-9)} if invalid else None,
                )
            )

    def _fresh(self, number: int) -> "optuna.samplers.BaseSampler":
        import optuna

        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        if self._kind is SamplerKind.RANDOM:
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)

    def _drawn(self, trial: "optuna.Trial") -> dict[str, Param]:
        chosen: dict[str, Param] = {}
        for axis in self._space.axes:
            if not self._space.active(axis, chosen):
                continue
            if axis.ordered:
                half = len(axis.values) - 0.5
                chosen[axis.name] = axis.values[min(len(axis.values) - 1, max(0, round(trial.suggest_float(axis.name, -0.5, half))))]
            else:
                chosen[axis.name] = axis.values[int(trial.suggest_categorical(axis.name, list(range(len(axis.values)))))]
        return chosen


def _worth(result: Told) -> float:
    return -math.inf if result.score is None or result.violation > 0 else result.score


def _distribution(axis: Axis) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if axis.ordered:
        return FloatDistribution(-0.5, len(axis.values) - 0.5)
    return CategoricalDistribution(list(range(len(axis.values))))
