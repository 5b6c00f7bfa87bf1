"""The search space: which parameters move, over which values, and under which condition. Every dimension is a finite ladder of values, so
that a trial read back from its row is exactly the one that was tried."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from itertools import pairwise

from tradeagent.algos.spec import Param, ParamRange
from tradeagent.domain.errors import InvalidInput, UnknownKey

Params = Mapping[str, Param]
MAX_VALUES = 100_001
_FINE, _COARSE, _SIGNIFICANT = 1000, 5, 4
_HINT = "write a range like fast.length=5:50:5, 0.001:0.1:log, choices like a,b,c, or one value"


@dataclass(frozen=True, slots=True)
class Axis:
    """One dimension: its values in order. `ordered` is False for choices, between which there is no near and far.

    `only_if` names another parameter and the value it must have for this one to matter.
    """

    name: str
    values: tuple[Param, ...]
    ordered: bool = True
    only_if: tuple[str, Param] | None = None
    stepped: bool = True

    def places(self) -> dict[Param, int]:
        """Each value's place on the ladder; 5 finds 5.0."""
        return {value: place for place, value in enumerate(self.values)}

    def coarse(self) -> tuple[Param, ...]:
        """The values of a grid: all of a stepped axis, five evenly spaced ones of a continuous axis."""
        if self.stepped or len(self.values) <= _COARSE:
            return self.values
        last = len(self.values) - 1
        return tuple(self.values[round(last * step / (_COARSE - 1))] for step in range(_COARSE))


@dataclass(frozen=True, slots=True)
class Space:
    """The axes in the order they are drawn: what a condition looks at comes before what depends on it.

    `fixed` are the values of all parameters that do not move, for conditions on them.
    """

    axes: tuple[Axis, ...]
    fixed: Params

    @property
    def size(self) -> int:
        """Distinct points when no condition holds back any; an upper bound with conditions."""
        return math.prod(len(axis.values) for axis in self.axes)

    def active(self, axis: Axis, chosen: Params) -> bool:
        """Whether an axis matters, given what was chosen for those before it. An inactive parent makes it inactive too."""
        if axis.only_if is None:
            return True
        parent, wanted = axis.only_if
        moves = any(other.name == parent for other in self.axes)
        held = chosen.get(parent) if moves else self.fixed.get(parent)
        return held is not None and same(held, wanted)

    def point(self, params: Params) -> dict[str, Param]:
        """`params` without what does not matter in it, in the order of the axes."""
        chosen: dict[str, Param] = {}
        for axis in self.axes:
            if self.active(axis, chosen):
                chosen[axis.name] = params[axis.name]
        return chosen


def make_space(
    ranges: Mapping[str, ParamRange], known: Params, overrides: Mapping[str, str], aliases: Mapping[str, tuple[str, ...]] | None = None
) -> Space:
    """The algo's own ranges with what the command line says instead.

    `known` holds every parameter of the algo and its present value; a name and its alias are one. An override of one value takes the
    parameter out of the space and fixes it. UnknownKey suggests a name; InvalidInput when nothing is left to search, or a condition
    goes round in a circle.
    """
    targets = aliases or {}
    moving, fixed = dict(ranges), dict(known)
    for name, text in overrides.items():
        check_name(name, [*known, *ranges])
        own = set(targets.get(name, (name,)))
        for other in [other for other in moving if other != name and own & set(targets.get(other, (other,)))]:
            del moving[other]
        parsed = parse_range(name, text)
        if parsed.choices and len(parsed.choices) == 1:
            moving.pop(name, None)
            fixed |= dict.fromkeys([name, *own], parsed.choices[0])
        else:
            moving[name] = replace(parsed, only_if=ranges[name].only_if if name in ranges else None)
    if not moving:
        some = ", ".join(list(known)[:6]) or "none: it has no parameter"
        raise InvalidInput("space: nothing to search, no parameter has a range", hint=f"--param NAME=LOW:HIGH:STEP with one of: {some}")
    for found in moving.values():
        if found.only_if is not None:
            check_name(found.only_if[0], [*known, *ranges])
    return Space(_that_matter(_ordered([axis_of(name, found) for name, found in moving.items()]), fixed), fixed)


def check_name(name: str, names: list[str]) -> None:
    """UnknownKey with the nearest name when there is no such parameter."""
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    said = f"did you mean {near[0]}?" if near else f"parameters: {', '.join(dict.fromkeys(names)) or 'none'}"
    raise UnknownKey(f"param: there is no parameter {name!r}", hint=said)


def fixed_params(overrides: Mapping[str, str]) -> dict[str, Param]:
    """The overrides that hold one value."""
    parsed = {name: parse_range(name, text).choices for name, text in overrides.items()}
    return {name: choices[0] for name, choices in parsed.items() if len(choices) == 1}


def split_param(text: str) -> tuple[str, str]:
    """`NAME=VALUES` of the command line → name and values."""
    name, sign, values = text.partition("=")
    if not sign or not name.strip() or not values.strip():
        raise InvalidInput(f"param: {text!r} is not NAME=VALUES", hint=_HINT)
    return name.strip(), values.strip()


def parse_range(name: str, text: str) -> ParamRange:
    """`LOW:HIGH`, `LOW:HIGH:STEP`, `LOW:HIGH:log`, `a,b,c` or one value. Whole numbers at both ends make it a range of whole numbers."""
    parts = [part.strip() for part in text.split(":")]
    if len(parts) == 1:
        choices = tuple(value_of(part) for part in text.split(",") if part.strip())
        if not choices:
            raise InvalidInput(f"{name}: {text!r} holds no value", hint=_HINT)
        return ParamRange(choices=choices)
    if len(parts) > 3:
        raise InvalidInput(f"{name}: {text!r} is not a range", hint=_HINT)
    low, high = _number(name, parts[0]), _number(name, parts[1])
    log = len(parts) == 3 and parts[2] == "log"
    step = _number(name, parts[2]) if len(parts) == 3 and not log else None
    whole = all(_is_whole(number) and "." not in part for number, part in ((low, parts[0]), (high, parts[1])))
    return ParamRange(low, high, step, log, whole and (step is None or _is_whole(step)))


def value_of(text: str) -> Param:
    """A word of a command line or of JSON → int, Decimal, or the word itself."""
    text = text.strip()
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    if not number.is_finite():
        return text
    return int(number) if _is_whole(number) and "." not in text else number


def axis_of(name: str, found: ParamRange) -> Axis:
    """The ladder of a range; a range of fractions without a step gets about a thousand rungs."""
    if found.choices:
        numbers = all(not isinstance(value, str) for value in found.choices)
        return Axis(name, found.choices, ordered=numbers and _rising(found.choices), only_if=found.only_if)
    low, high = found.low, found.high
    if low is None or high is None:
        raise InvalidInput(f"{name}: a range needs both ends", hint=_HINT)
    if low > high:
        raise InvalidInput(f"{name}: the range {low}:{high} is empty", hint=f"write {name}={high}:{low}")
    if found.step is not None and found.step <= 0:
        raise InvalidInput(f"{name}: the step {found.step} is not above 0", hint=_HINT)
    if found.log and low <= 0:
        raise InvalidInput(f"{name}: a log range starts above 0, not at {low}", hint="leave `log` out, or start higher")
    stepped = found.step is not None or (found.whole and not found.log)
    values = _geometric(low, high, whole=found.whole) if found.log else _even(name, low, high, found)
    return Axis(name, tuple(_clean(value, whole=found.whole) for value in values), only_if=found.only_if, stepped=stepped)


def same(one: Param, other: Param) -> bool:
    """Whether two parameter values are one; 5 and 5.0 are."""
    if isinstance(one, str) or isinstance(other, str):
        return str(one) == str(other)
    return one == other


def plain(params: Params) -> dict[str, str | int]:
    """Parameters as JSON holds them: whole numbers as numbers, others as text, without exponents and trailing zeros."""
    return {name: format(value.normalize(), "f") if isinstance(value, Decimal) else value for name, value in params.items()}


def from_plain(data: Mapping[str, str | int]) -> dict[str, Param]:
    """What `plain` wrote."""
    return {name: value if isinstance(value, int) else value_of(value) for name, value in data.items()}


def point_key(params: Params) -> str:
    """The same text for the same point."""
    return ";".join(f"{name}={value}" for name, value in sorted(plain(params).items()))


def _that_matter(axes: tuple[Axis, ...], fixed: Params) -> tuple[Axis, ...]:
    """Without those whose condition is on a parameter that stands still at another value."""
    names, kept = {axis.name for axis in axes}, dict[str, Axis]()
    for axis in axes:
        parent, wanted = axis.only_if or ("", "")
        stands = parent in fixed and parent not in names and same(fixed[parent], wanted)
        if axis.only_if is None or parent in kept or stands:
            kept[axis.name] = axis
    return tuple(kept.values())


def _ordered(axes: list[Axis]) -> tuple[Axis, ...]:
    names = {axis.name for axis in axes}
    done: list[Axis] = []
    while axes:
        placed = {axis.name for axis in done}
        ready = [axis for axis in axes if axis.only_if is None or axis.only_if[0] in placed or axis.only_if[0] not in names]
        if not ready:
            circle = ", ".join(axis.name for axis in axes)
            raise InvalidInput(f"params: the conditions of {circle} go round in a circle", hint="let one of them have no `only_if`")
        done += ready
        axes = [axis for axis in axes if axis not in ready]
    return tuple(done)


def _even(name: str, low: Decimal, high: Decimal, found: ParamRange) -> list[Decimal]:
    step = found.step or (Decimal(1) if found.whole else _fine_step(high - low))
    count = int((high - low) / step) + 1 if step else 1
    if count > MAX_VALUES:
        raise InvalidInput(f"{name}: {low}:{high} has {count:,} values", hint=f"give a step that leaves at most {MAX_VALUES:,}")
    return [low + step * rung for rung in range(count)]


def _fine_step(width: Decimal) -> Decimal:
    return Decimal(10) ** (width.adjusted() - 3) if width else Decimal(0)


def _geometric(low: Decimal, high: Decimal, *, whole: bool) -> list[Decimal]:
    """Values whose ratios are even, to four significant figures; both ends are in it."""
    start, span = math.log(low), math.log(high) - math.log(low)
    inner = [Decimal(repr(math.exp(start + span * rung / _FINE))) for rung in range(1, _FINE)]
    rounded = [value.quantize(Decimal(1) if whole else Decimal(10) ** (value.adjusted() + 1 - _SIGNIFICANT)) for value in inner]
    return sorted({low, high, *(value for value in rounded if low <= value <= high)})


def _clean(value: Decimal, *, whole: bool) -> Param:
    if whole:
        return int(value)
    return value.normalize().quantize(Decimal(1), ROUND_HALF_EVEN) if value == value.to_integral_value() else value.normalize()


def _rising(values: tuple[Param, ...]) -> bool:
    numbers = [Decimal(value) for value in values]
    return all(one < other for one, other in pairwise(numbers))


def _number(name: str, text: str) -> Decimal:
    value = value_of(text)
    if isinstance(value, str):
        raise InvalidInput(f"{name}: {text!r} is not a number", hint=_HINT)
    return Decimal(value)


def _is_whole(number: Decimal) -> bool:
    return number == number.to_integral_value()
