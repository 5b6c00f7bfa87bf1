"""A study as lines of text: how the search went, which parameters mattered, and the score along each of them, in braille dots."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tradeagent.algos.bars import Floats
from tradeagent.research.optimise import Trial, TrialState
from tradeagent.research.space import Space

_BRAILLE = 0x2800
_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
_LABEL = 10
_GROUPS = 8
_MINIMUM = (32, 4)


def plots(trials: Sequence[Trial], space: Space, width: int = 78, height: int = 8) -> list[str]:
    """History, importance and slices, with headings and a blank line between."""
    found = ["score by trial (dots), best so far (line)", *history(trials, width, height)]
    weights = importance(trials, space)
    if weights:
        longest = max(map(len, weights))
        bars = [f"{name.ljust(longest)}  {'█' * round(30 * weight):<30}  {100 * weight:3.0f} %" for name, weight in weights.items()]
        found += ["", "importance: the share of the score that each parameter explains", *bars]
    for name in weights:
        found += ["", f"score by {name}", *slice_of(trials, space, name, width, height - 2)]
    return found


def history(trials: Sequence[Trial], width: int = 78, height: int = 8) -> list[str]:
    """Every valid score against its number, with the best so far as a line."""
    valid = _valid(trials)
    if not valid:
        return ["no valid trial"]
    numbers = np.array([trial.number for trial in valid], float)
    scores = np.array([trial.score for trial in valid], float)
    last = max(trial.number for trial in trials)
    canvas = _Canvas(width, height, (0.0, float(max(last, 1))), _bounds(scores))
    canvas.dots(numbers, scores)
    steps = np.linspace(0, last, canvas.columns * 2)
    best = np.maximum.accumulate(scores)[np.clip(np.searchsorted(numbers, steps, side="right") - 1, 0, None)]
    reached = steps >= numbers[0]
    canvas.dots(steps[reached], best[reached])
    return [*canvas.lines(), canvas.axis("0", str(last))]


def slice_of(trials: Sequence[Trial], space: Space, name: str, width: int = 78, height: int = 6) -> list[str]:
    """Every valid score against one parameter's place on its ladder."""
    axis = next(axis for axis in space.axes if axis.name == name)
    places = axis.places()
    valid = [trial for trial in _valid(trials) if name in trial.params]
    if not valid:
        return ["no valid trial"]
    scores = np.array([trial.score for trial in valid], float)
    canvas = _Canvas(width, height, (0.0, float(max(len(axis.values) - 1, 1))), _bounds(scores))
    canvas.dots(np.array([places[trial.params[name]] for trial in valid], float), scores)
    return [*canvas.lines(), canvas.axis(str(axis.values[0]), str(axis.values[-1]))]


def importance(trials: Sequence[Trial], space: Space) -> dict[str, float]:
    """How much of the score's variance groups of neighbouring values explain (correlation ratio less what chance would), largest first,
    summing to 1; empty when there are too few valid trials to tell."""
    valid = _valid(trials)
    found: dict[str, float] = {}
    for axis in space.axes:
        places = axis.places()
        seen = [(places[trial.params[axis.name]], trial.score) for trial in valid if axis.name in trial.params]
        if len(seen) >= 2 * _GROUPS and len(axis.values) > 1:
            found[axis.name] = _explained(np.array([place for place, _ in seen]), np.array([score for _, score in seen], float))
    total = sum(found.values())
    return {name: found[name] / total for name in sorted(found, key=lambda each: -found[each])} if total > 0 else {}


def _explained(places: npt.NDArray[np.int64], scores: Floats) -> float:
    """1 − (variance within groups) / (variance), both with their degrees of freedom; not below 0."""
    ranks = np.argsort(np.argsort(scores, kind="stable"), kind="stable").astype(np.float64)
    edges = np.unique(np.quantile(places, np.linspace(0, 1, min(_GROUPS, len(np.unique(places))) + 1)))
    groups = np.clip(np.searchsorted(edges, places, side="right") - 1, 0, max(0, len(edges) - 2))
    used = np.unique(groups)
    if len(used) < 2:
        return 0.0
    within = sum(float(((ranks[groups == group] - ranks[groups == group].mean()) ** 2).sum()) for group in used)
    total = float(((ranks - ranks.mean()) ** 2).sum())
    return max(0.0, 1 - (within / (len(ranks) - len(used))) / (total / (len(ranks) - 1))) if total else 0.0


def _valid(trials: Sequence[Trial]) -> list[Trial]:
    found = [trial for trial in trials if trial.state is TrialState.COMPLETE and trial.score is not None and trial.same_as is None]
    return sorted(found, key=lambda trial: trial.number)


def _bounds(scores: Floats) -> tuple[float, float]:
    low, high = float(scores.min()), float(scores.max())
    pad = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    return low - pad, high + pad


class _Canvas:
    """Dots of 2 × 4 a character, labelled on the left."""

    def __init__(self, width: int, height: int, across: tuple[float, float], up: tuple[float, float]) -> None:
        self.columns, self.rows = max(width, _MINIMUM[0]) - _LABEL - 1, max(height, _MINIMUM[1])
        self._across, self._up = across, up
        self._cells = np.zeros((self.rows, self.columns), np.int64)

    def dots(self, x: Floats, y: Floats) -> None:
        right = _scaled(x, *self._across, 2 * self.columns)
        down = 4 * self.rows - 1 - _scaled(y, *self._up, 4 * self.rows)
        np.bitwise_or.at(self._cells, (down // 4, right // 2), _DOTS[down % 4, right % 2])

    def lines(self) -> list[str]:
        low, high = self._up
        labels = {0: f"{high:.3g}", self.rows - 1: f"{low:.3g}"}
        cells = ["".join(chr(_BRAILLE + cell) if cell else " " for cell in row) for row in self._cells.tolist()]
        return [f"{labels.get(row, '').rjust(_LABEL)} {text}".rstrip() for row, text in enumerate(cells)]

    def axis(self, first: str, last: str) -> str:
        return f"{' ' * _LABEL} {first}{last.rjust(self.columns - len(first))}"


def _scaled(values: Floats, low: float, high: float, places: int) -> npt.NDArray[np.int64]:
    return np.clip(((values - low) / (high - low) * (places - 1)).round().astype(np.int64), 0, places - 1)
