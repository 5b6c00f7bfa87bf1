"""What an algorithm says about each bar, as arrays: the only thing the state machine and the backtest kernel are given of it."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntFlag

import numpy as np
import numpy.typing as npt

from tradeagent.algos.bars import Floats
from tradeagent.algos.spec import LevelKind

Codes = npt.NDArray[np.uint8]


class Code(IntFlag):
    """One bar. FIRE: the entry fires now (its false→true edge, or every true bar of a `state` entry); HOLDS: the entry condition is true.

    Warm-up and NaN are false, so the first valid bar can fire.
    """

    FIRE_LONG = 1
    FIRE_SHORT = 2
    EXIT_LONG = 4
    EXIT_SHORT = 8
    HOLDS_LONG = 16
    HOLDS_SHORT = 32


@dataclass(frozen=True, slots=True, eq=False)
class Distance:
    """How far a level is from the decision price. The others need only `value`; ATR is `value` times the row of `series`,
    which holds one ATR in quote units (NaN: no entry)."""

    kind: LevelKind
    value: Decimal
    series: Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """The levels that leave with an entry of one side."""

    stop: Distance | None = None
    target: Distance | None = None
    trailing: Distance | None = None
    buy_back: Distance | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """One algo on one market's bars. `codes` has one `Code` a row; rows before `warmup` are 0.

    `scale` is the normalised 0–1 factor of `dynamic` sizing per row (NaN: no entry), else None. Row i is known at the close of bar i and
    acts at the open of bar i + 1. `zero_divisions` counts the rows on which a condition divided by zero, which makes it false.
    """

    codes: Codes
    warmup: int
    long: Levels = field(default_factory=Levels)
    short: Levels = field(default_factory=Levels)
    scale: Floats | None = None
    zero_divisions: int = 0
