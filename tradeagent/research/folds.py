"""Rolling validation in rows: where each fold trains and tests, and the gap between them, so that no test knows its future or shares a
trade or an indicator's window with its training (López de Prado 2018, ch. 7)."""

from collections.abc import Callable
from dataclasses import dataclass

from tradeagent.algos.spec import Param
from tradeagent.domain.errors import DataError, InvalidInput, TradeAgentError
from tradeagent.research.space import Params, Space

DEFAULT_FOLDS = 5
TRAIN_TO_TEST = 3
_LOOKS = 25


@dataclass(frozen=True, slots=True)
class Layout:
    """Bars of training, testing and stepping, and how many folds. None: chosen so that the bars are used up, training three times as long
    as testing. `anchored` trains from the first bar on, else a window of `train` bars slides."""

    train: int | None = None
    test: int | None = None
    step: int | None = None
    folds: int | None = None
    anchored: bool = False
    embargo: int = 0


@dataclass(frozen=True, slots=True)
class Fold:
    """Rows from a first one up to an end, which is not in it. `owned` ends where the next fold's test begins: overlapping tests give the
    combined result only what is theirs."""

    number: int
    train: tuple[int, int]
    test: tuple[int, int]
    owned: int


def make_folds(first: int, end: int, layout: Layout, purge: int) -> list[Fold]:
    """Folds over the rows `first` up to `end`. `purge` is the longest warm-up over the space, in bars.

    InvalidInput names the length that cannot be; DataError says how many bars the layout needs.
    """
    gap = purge + layout.embargo
    if layout.embargo < 0:
        raise InvalidInput(f"embargo: {layout.embargo} bars is below 0", hint="--embargo 0")
    rows = end - first
    train, test = _lengths(rows, layout, gap)
    step = layout.step or test
    for name, length in (("test", test), ("step", step)):
        if length < 2:
            raise _too_short(name, length, rows, gap, layout)
    if train <= purge:
        raise InvalidInput(
            f"train: {train} bars are not more than the longest warm-up of the space, {purge} bars, so nothing could trade",
            hint=f"--train {max(4 * purge, 2)} or more, smaller lengths in the space, or more bars",
        )
    room = rows - train - gap - test
    if room < 0:
        needed = train + gap + test
        hint = f"shorten --train or --test, or import {needed - rows:,} more bars"
        raise DataError(f"folds: one fold needs {needed:,} bars (train {train}, gap {gap}, test {test}), there are {rows:,}", hint=hint)
    fitting = room // step + 1
    wanted = layout.folds or fitting
    if wanted > fitting:
        hint = f"--folds {fitting}, or shorten --train, --test or --step"
        raise DataError(f"folds: {wanted} folds do not fit into {rows:,} bars, {fitting} do", hint=hint)
    return [_fold(number, first, train, (gap, test, step), anchored=layout.anchored, last=number == wanted - 1) for number in range(wanted)]


def longest_warmup(space: Space, warmup: Callable[[Params], int]) -> int:
    """Bars of the longest warm-up over the space, found axis by axis: a length more never makes it shorter. A point that the algo refuses
    is passed over."""
    point: dict[str, Param] = {axis.name: axis.values[-1] for axis in space.axes}
    best = _warmup_at(space, point, warmup)
    for axis in space.axes:
        last = len(axis.values) - 1
        looks = {round(last * look / _LOOKS) for look in range(_LOOKS + 1)} if axis.ordered and last > _LOOKS else range(last + 1)
        for place in looks:
            changed = {**point, axis.name: axis.values[place]}
            found = _warmup_at(space, changed, warmup)
            if found > best:
                best, point = found, changed
    return best


def _warmup_at(space: Space, point: Params, warmup: Callable[[Params], int]) -> int:
    try:
        return warmup(space.point(point))
    except TradeAgentError:
        return 0


def _lengths(rows: int, layout: Layout, gap: int) -> tuple[int, int]:
    for name, length in (("train", layout.train), ("test", layout.test), ("step", layout.step), ("folds", layout.folds)):
        if length is not None and length < 1:
            raise InvalidInput(f"{name}: {length} is below 1", hint=f"leave --{name} out to have it chosen")
    if layout.train and layout.test:
        return layout.train, layout.test
    if layout.test:
        return TRAIN_TO_TEST * layout.test, layout.test
    if layout.train:
        return layout.train, max(1, layout.train // TRAIN_TO_TEST)
    parts = (layout.folds or DEFAULT_FOLDS) + TRAIN_TO_TEST
    test = max(0, rows - gap) // parts
    return TRAIN_TO_TEST * test, test


def _fold(number: int, first: int, train: int, lengths: tuple[int, int, int], *, anchored: bool, last: bool) -> Fold:
    gap, test, step = lengths
    begin = first + number * step
    trained = begin + train
    tested = trained + gap
    return Fold(number, (first if anchored else begin, trained), (tested, tested + test), tested + (test if last else min(test, step)))


def _too_short(name: str, length: int, rows: int, gap: int, layout: Layout) -> TradeAgentError:
    if getattr(layout, name) is not None:
        return InvalidInput(f"{name}: {length} bar is too short to judge", hint=f"--{name} 2 or more")
    hint = "use fewer --folds, smaller lengths in the space, or more bars"
    return DataError(f"folds: {rows:,} bars, {gap} of them the gap of the longest warm-up, leave {length} for a test", hint=hint)
