"""Whether an algo sees the future: signals and indicators computed again on data that ends at a bar must say there what they said before.

Also how much they depend on where the data begins, which is no fault but a size to know (recursive indicators never forget entirely).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tradeagent.algos.bars import Bars, Floats
from tradeagent.algos.evaluate import Evaluator, python_params
from tradeagent.algos.spec import AlgoSpec
from tradeagent.domain.clock import iso

CUTS = 20
_SAME = 1e-9
_WINDOW = 20_000


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where the past changed when the future was cut: the bar's open, what differed, and its two values."""

    time_ms: int
    name: str
    whole: float
    cut: float

    def as_dict(self) -> dict[str, Any]:
        return {"time": iso(self.time_ms), "name": self.name, "whole": _number(self.whole), "cut": _number(self.cut)}


@dataclass(frozen=True, slots=True)
class Lookahead:
    """`start_dependence_pct`: the largest relative change of an indicator, well after its warm-up, when the data begins one warm-up later;
    None when there are too few bars to see it."""

    cuts: int
    first_difference: Difference | None
    start_dependence_pct: float | None

    @property
    def ok(self) -> bool:
        return self.first_difference is None

    def as_dict(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "cuts": self.cuts,
            "first_difference": None if self.first_difference is None else self.first_difference.as_dict(),
            "start_dependence_pct": self.start_dependence_pct,
        }


def check(bars: Bars, spec: AlgoSpec, cuts: int = CUTS) -> Lookahead:
    """Cut the data at `cuts` evenly spaced bars after the warm-up.

    Around each cut only a window of at least 20,000 bars or four warm-ups is computed, before it and (for comparison) beyond it, so that
    the cost does not grow with the data. A Python algorithm is cut as a whole, and InvalidInput `look_ahead` says where it sees the future.
    """
    if spec.python is not None:
        from tradeagent.algos.sandbox import require_no_lookahead

        require_no_lookahead(spec.python, bars, python_params(spec), allow_unsafe=spec.may_run_unlocked)
        return Lookahead(cuts, None, None)
    warm = Evaluator(bars.rows(0, 1)).warmup(spec)
    window = max(_WINDOW, 4 * warm)
    last = len(bars) - 2
    rows = np.unique(np.linspace(warm, last, cuts).round().astype(int)).tolist() if last >= warm else []
    found = next((difference for row in rows if (difference := _difference(bars, spec, row, window)) is not None), None)
    return Lookahead(len(rows), found, _start_dependence(bars.rows(0, min(len(bars), window)), spec, warm))


def worst_of(found: Sequence[Lookahead]) -> Lookahead:
    """The one that speaks for several: the first that failed, else the one that depends most on where the data begins."""
    failed = next((one for one in found if not one.ok), None)
    return failed or max(found, key=lambda one: one.start_dependence_pct or 0.0)


def _difference(bars: Bars, spec: AlgoSpec, row: int, window: int) -> Difference | None:
    """Compare the bars up to `row` alone with the same bars followed by others."""
    first = max(0, row + 1 - window)
    whole, cut = Evaluator(bars.rows(first, min(len(bars), row + 1 + window))), Evaluator(bars.rows(first, row + 1))
    here = row - first
    for name, values in whole.columns(spec).items():
        one, other = float(values[here]), float(cut.columns(spec)[name][here])
        if not _same(one, other):
            return Difference(int(bars.time[row]), name, one, other)
    codes, again = whole.signals(spec).codes[: here + 1], cut.signals(spec).codes
    wrong = np.flatnonzero(codes != again)
    if not len(wrong):
        return None
    place = int(wrong[0])
    return Difference(int(bars.time[first + place]), "signals", float(codes[place]), float(again[place]))


def _start_dependence(bars: Bars, spec: AlgoSpec, warm: int) -> float | None:
    """In percent, the largest change over 20 bars from two warm-ups on."""
    if warm == 0:
        return 0.0
    if len(bars) <= 2 * warm + CUTS:
        return None
    rows = np.linspace(2 * warm, len(bars) - 1, CUTS).round().astype(int)
    early, late = Evaluator(bars).columns(spec), Evaluator(bars.rows(warm, len(bars))).columns(spec)
    return max((_change(values[rows], late[name][rows - warm]) for name, values in early.items()), default=0.0)


def _change(early: Floats, late: Floats) -> float:
    known = np.isfinite(early) & np.isfinite(late) & (early != 0)
    return 100 * float(np.max(np.abs(late[known] / early[known] - 1), initial=0.0))


def _same(one: float, other: float) -> bool:
    if np.isnan(one) or np.isnan(other):
        return bool(np.isnan(one) and np.isnan(other))
    return abs(one - other) <= _SAME * max(1.0, abs(one), abs(other))


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
