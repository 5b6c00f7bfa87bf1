"""One kind of indicator as a value: its parameters, its outputs, how many rows it needs, and its formula."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from tradeagent.algos.bars import Bars, Floats
from tradeagent.algos.indicators.params import Settings
from tradeagent.algos.spec import Param

Outputs = tuple[Floats, ...]
SINGLE = ("value",)


class Family(StrEnum):
    """What an indicator is about."""

    TREND = "trend"
    MOMENTUM = "momentum"
    VOLATILITY = "volatility"
    VOLUME = "volume"


@dataclass(frozen=True, slots=True)
class Indicator:
    """`warmup` counts the rows before every output has a value. `normalised`: every output lies in 0 to 100. `recursive`: a value rests
    on all rows before it, and so, a little, on where the data begins. `library`: whose code computes it.
    """

    kind: str
    family: Family
    title: str
    defaults: Mapping[str, Param]
    formula: Callable[[Bars, Settings], Outputs]
    warmup: Callable[[Settings], int]
    outputs: tuple[str, ...] = SINGLE
    normalised: bool = False
    recursive: bool = False
    library: str = "tradeagent"
