"""An algorithm as a value: what `algo.yml` says once it has been checked (research.md §2). Nothing here computes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from tradeagent.domain.names import ExitReason

Param = Decimal | int | str


class Directions(StrEnum):
    """Which sides an algo may take."""

    LONG = "long"
    SHORT = "short"
    BOTH = "both"


class LevelKind(StrEnum):
    """How a distance from the decision price is written: percent of it, times ATR, quote units, or times the stop's distance."""

    PCT = "pct"
    ATR = "atr"
    ABS = "abs"
    RR = "rr"


class SizingKind(StrEnum):
    """Notional of an entry before leverage; `risk_pct` sizes by the stop's distance."""

    ABS = "abs"
    PCT_OF_EQUITY = "pct_of_equity"
    RISK_PCT = "risk_pct"
    DYNAMIC = "dynamic"


class TimeoutMode(StrEnum):
    """When an algo may enter again after an exit (research.md §2)."""

    COOLDOWN_ONLY = "cooldown_only"
    REGULAR = "regular"
    STRICT = "strict"


@dataclass(frozen=True, slots=True)
class Level:
    """A stop, target or trailing distance. `length` and `ma` belong to `atr`."""

    kind: LevelKind
    value: Decimal
    length: int = 14
    ma: str = "rma"


@dataclass(frozen=True, slots=True)
class BuyBack:
    """After an exit, re-enter by a limit `distance` on the better side of the exit price (trailing: of the best price since)."""

    distance: Level
    trailing: bool = False


@dataclass(frozen=True, slots=True)
class EntryRule:
    """All `required` and, when there are any, one of `optional`. `armed_by`: only after an exit for that reason (stop or target).

    `confidence` is a formula for 0–1, empty when the algo states none.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    state: bool = False
    armed_by: ExitReason | None = None
    buy_back: BuyBack | None = None
    confidence: str = ""


@dataclass(frozen=True, slots=True)
class ExitRule:
    """When a position is closed at the next open, and the levels that leave with its entry. An empty rule never fires.

    It fires on the false→true edge, with `state` on every true bar. `trailing` of kind RR is a multiple of the stop's distance.
    """

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    stop: Level | None = None
    target: Level | None = None
    trailing: Level | None = None
    state: bool = False


@dataclass(frozen=True, slots=True)
class SideRules:
    """One side of an algo."""

    entry: EntryRule
    exit: ExitRule = field(default_factory=ExitRule)


@dataclass(frozen=True, slots=True)
class IndicatorUse:
    """One named indicator. `interval_ms` is None for the algo's own interval, else a multiple of it."""

    kind: str
    params: Mapping[str, Param] = field(default_factory=dict)
    interval_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Sizing:
    """`value` in quote units (abs) or percent; `by` names the indicator output of `dynamic`."""

    kind: SizingKind = SizingKind.PCT_OF_EQUITY
    value: Decimal = Decimal(100)
    by: str = ""
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class Timeout:
    """Bars to wait after an exit, counted from the exit's bar, and the condition under which waiting ends."""

    mode: TimeoutMode = TimeoutMode.COOLDOWN_ONLY
    bars: int = 0


@dataclass(frozen=True, slots=True)
class ParamRange:
    """One dimension of the search space: `low`..`high` (whole numbers when `whole`), or `choices`. A condition is `other.param` = value."""

    low: Decimal | None = None
    high: Decimal | None = None
    step: Decimal | None = None
    log: bool = False
    whole: bool = False
    choices: tuple[Param, ...] = ()
    only_if: tuple[str, Param] | None = None


@dataclass(frozen=True, slots=True)
class AlgoSpec:
    """A checked algorithm. `long` and `short` are None when the direction leaves that side out.

    `market` is empty and `interval_ms` 0 when the text leaves them to the command. `python` holds the source of a Python algorithm (its
    sides then carry levels only). `aliases` are names that set several parameters at once. `text` is what was written, and what is hashed.
    `may_run_unlocked` is no part of it: whether a person lets its Python run where the system cannot lock it up.
    """

    name: str
    market: str
    interval_ms: int
    direction: Directions
    indicators: Mapping[str, IndicatorUse]
    long: SideRules | None
    short: SideRules | None
    sizing: Sizing = field(default_factory=Sizing)
    leverage: int = 1
    timeout: Timeout = field(default_factory=Timeout)
    starting_capital: Decimal = Decimal(1000)
    tie: Decimal = Decimal(0)
    constants: Mapping[str, Decimal] = field(default_factory=dict)
    params: Mapping[str, ParamRange] = field(default_factory=dict)
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    python: str | None = None
    text: str = ""
    may_run_unlocked: bool = False
