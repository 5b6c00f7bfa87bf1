"""What an indicator may be told: its parameters, checked against their defaults, and the column it reads."""

from collections.abc import Mapping
from decimal import Decimal

import numpy as np

from tradeagent.algos.bars import Bars, Floats, read_only
from tradeagent.algos.spec import Param
from tradeagent.domain.errors import InvalidInput, UnknownKey, near

SOURCES = ("close", "open", "high", "low", "volume", "funding", "hl2", "hlc3", "ohlc4")
CHOICES: Mapping[str, tuple[str, ...]] = {"source": SOURCES, "ma": ("rma", "sma", "ema")}
_BELOW: Mapping[str, int] = {"volume_factor": 1}
_LONGEST = 1_000_000


class Settings:
    """The parameters of one use of an indicator: every one of its names, with the type of its default."""

    def __init__(self, values: Mapping[str, Param]):
        self._values = values

    def whole(self, name: str) -> int:
        return int(self._values[name])

    def number(self, name: str) -> float:
        return float(self._values[name])

    def text(self, name: str) -> str:
        return str(self._values[name])


def settled(kind: str, defaults: Mapping[str, Param], given: Mapping[str, Param]) -> Settings:
    """`given` over `defaults`. UnknownKey for a name the kind does not have, InvalidInput for a value that cannot be."""
    values = dict(defaults)
    for name, value in given.items():
        if name not in defaults:
            raise UnknownKey(f"indicator {kind} has no parameter {name!r}", hint=near(name, defaults))
        values[name] = _checked(f"{kind}.{name}", name, defaults[name], value)
    return Settings(values)


def _checked(field: str, name: str, default: Param, value: Param) -> Param:
    if isinstance(default, str):
        options = CHOICES[name]
        if value not in options:
            raise InvalidInput(f"{field} {value!r} is not one of {', '.join(options)}", hint=near(str(value), options))
        return value
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise InvalidInput(f"{field} {value!r} is not a number", hint=f"the default is {default}")
    if not Decimal(value).is_finite():
        raise InvalidInput(f"{field} {value} is not a finite number", hint=f"the default is {default}")
    if isinstance(default, int):
        if value != int(value) or not 1 <= value <= _LONGEST:
            raise InvalidInput(f"{field} {value} is not a whole number from 1 to {_LONGEST}", hint=f"the default is {default}")
        return int(value)
    if value <= 0 or value >= _BELOW.get(name, value + 1):
        below = f" and below {_BELOW[name]}" if name in _BELOW else ""
        raise InvalidInput(f"{field} {value} is not above 0{below}", hint=f"the default is {default}")
    return value


def source_of(bars: Bars, name: str) -> Floats:
    """The column `name` of `SOURCES`, as one contiguous read-only array of floats."""
    columns = {"close": bars.close, "open": bars.open, "high": bars.high, "low": bars.low, "volume": bars.volume, "funding": bars.funding}
    if name in columns:
        return frozen(columns[name])
    if name == "hl2":
        return frozen((bars.high + bars.low) / 2)
    if name == "hlc3":
        return frozen((bars.high + bars.low + bars.close) / 3)
    return frozen((bars.open + bars.high + bars.low + bars.close) / 4)


def frozen(x: Floats) -> Floats:
    """A column of floats as `read_only` has it."""
    return read_only(np.asarray(x, np.float64))
