"""The numbers of an algo that a person or an optimiser may change without touching its text: their names, ranges and setters."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any

from tradeagent.algos.fields import Fields, shown
from tradeagent.algos.indicators import INDICATORS, warmup
from tradeagent.algos.spec import AlgoSpec, ExitRule, IndicatorUse, Level, LevelKind, Param, ParamRange, SideRules, SizingKind, TimeoutMode
from tradeagent.domain.bars import interval_text, parse_duration
from tradeagent.domain.errors import InvalidInput, near
from tradeagent.workspace.yaml_text import KeyPath

RANGE_KEYS = ("low", "high", "step", "log", "choices", "only_if")
RESERVED = ("entry", "exit", "sizing", "leverage", "timeout", "tie")
_LEVELS: Mapping[str, str] = {"stop_loss": "stop", "take_profit": "target", "trailing": "trailing"}
_EXAMPLE = "rsi.length: [8, 30]"


def with_params(spec: AlgoSpec, values: Mapping[str, Param]) -> AlgoSpec:
    """A copy with some parameters changed: `rsi.length`, a constant, an alias, `exit.long.stop_loss.pct`, `sizing.pct_of_equity`,
    `leverage`, `timeout.bars` and the like; texts are read as numbers where a number belongs.

    Raises InvalidInput for an unknown name (with the nearest) or a value that the parameter cannot take.
    """
    for name, value in values.items():
        for target in spec.aliases.get(name, (name,)):
            spec = _set(spec, target, value)
    return spec


def params_of(spec: AlgoSpec) -> dict[str, Param]:
    """Every parameter by its full name with its present value; aliases last."""
    found: dict[str, Param] = {}
    for name, use in spec.indicators.items():
        found |= {f"{name}.{key}": value for key, value in {**INDICATORS[use.kind].defaults, **use.params}.items()}
        if use.interval_ms is not None:
            found[f"{name}.interval"] = interval_text(use.interval_ms)
    found |= spec.constants
    for side, rules in (("long", spec.long), ("short", spec.short)):
        if rules is not None:
            found |= _levels(side, rules)
    sizing = "sizing.dynamic.pct" if spec.sizing.kind is SizingKind.DYNAMIC else f"sizing.{spec.sizing.kind}"
    found |= {sizing: spec.sizing.value, "leverage": spec.leverage, "tie": spec.tie}
    found |= {"timeout.bars": spec.timeout.bars, "timeout.mode": spec.timeout.mode.value}
    return found | {alias: found[targets[0]] for alias, targets in spec.aliases.items() if targets[0] in found}


def _levels(side: str, rules: SideRules) -> dict[str, Param]:
    found: dict[str, Param] = {}
    buy_back = rules.entry.buy_back
    named = {f"exit.{side}.{key}": getattr(rules.exit, field) for key, field in _LEVELS.items()}
    named[f"entry.{side}.buy_back"] = buy_back.distance if buy_back else None
    for path, level in named.items():
        if level is None or (path.endswith("trailing") and level.kind is LevelKind.RR):
            continue
        found[f"{path}.{level.kind}"] = level.value
        if level.kind is LevelKind.ATR:
            found[f"{path}.length"] = level.length
    return found


def _set(spec: AlgoSpec, name: str, value: Param) -> AlgoSpec:
    head, _, tail = name.partition(".")
    if name in spec.constants:
        return replace(spec, constants={**spec.constants, name: number(name, value)})
    if head in spec.indicators and tail:
        return replace(spec, indicators={**spec.indicators, head: _use(spec.indicators[head], name, tail, value)})
    changed = _in_rules(spec, name, value) if head in ("entry", "exit") else _in_terms(spec, name, value)
    if changed is None:
        raise InvalidInput(
            f"{name!r} is not a parameter of {spec.name}, or {shown(value)} is not one of its values",
            hint=near(name, params_of(spec)),
            details={"field": name},
        )
    return changed


def _in_terms(spec: AlgoSpec, name: str, value: Param) -> AlgoSpec | None:
    """Leverage, tie, timeout and size; None when `name` is none of them."""
    match name.split("."):
        case ["leverage"]:
            return replace(spec, leverage=whole(name, value, 1, 100))
        case ["tie"]:
            return replace(spec, tie=_at_least(name, number(name, value), 0))
        case ["timeout", "bars"]:
            return replace(spec, timeout=replace(spec.timeout, bars=whole(name, value, 0, 1_000_000)))
        case ["timeout", "mode"] if isinstance(value, str) and value in list(TimeoutMode):
            return replace(spec, timeout=replace(spec.timeout, mode=TimeoutMode(value)))
    written = "sizing.dynamic.pct" if spec.sizing.kind is SizingKind.DYNAMIC else f"sizing.{spec.sizing.kind}"
    return replace(spec, sizing=replace(spec.sizing, value=positive(name, value))) if name == written else None


def _in_rules(spec: AlgoSpec, name: str, value: Param) -> AlgoSpec | None:
    """A level of one side; None when the algo has no such level."""
    match name.split("."):
        case [part, "long" | "short" as side, key, what]:
            rules: SideRules | None = getattr(spec, side)
            changed = None if rules is None else _with_level(rules, part, key, lambda level: _level(level, name, what, value))
            return None if changed is None else _with_side(spec, side, changed)
    return None


def _with_side(spec: AlgoSpec, side: str, rules: SideRules) -> AlgoSpec:
    return replace(spec, long=rules) if side == "long" else replace(spec, short=rules)


def _with_level(rules: SideRules, part: str, key: str, change: Callable[[Level], Level | None]) -> SideRules | None:
    if part == "entry":
        buy_back = rules.entry.buy_back
        changed = change(buy_back.distance) if buy_back and key == "buy_back" else None
        return replace(rules, entry=replace(rules.entry, buy_back=replace(buy_back, distance=changed))) if buy_back and changed else None
    present: Level | None = getattr(rules.exit, _LEVELS[key]) if key in _LEVELS else None
    changed = change(present) if present else None
    return replace(rules, exit=_with_exit_level(rules.exit, key, changed)) if changed else None


def _with_exit_level(rule: ExitRule, key: str, level: Level) -> ExitRule:
    match key:
        case "stop_loss":
            return replace(rule, stop=level)
        case "take_profit":
            return replace(rule, target=level)
    return replace(rule, trailing=level)


def _level(level: Level, name: str, what: str, value: Param) -> Level | None:
    if what == level.kind:
        return replace(level, value=positive(name, value))
    if what == "length" and level.kind is LevelKind.ATR:
        return replace(level, length=whole(name, value, 1, 10_000))
    return None


def _use(use: IndicatorUse, name: str, key: str, value: Param) -> IndicatorUse:
    if key == "interval" and isinstance(value, str):
        return replace(use, interval_ms=parse_duration(value, name))
    default = INDICATORS[use.kind].defaults.get(key)
    if default is None:
        raise InvalidInput(f"{name}: {use.kind} has no {key!r}", hint=near(key, INDICATORS[use.kind].defaults), details={"field": name})
    if not isinstance(default, str):
        value = number(name, value)
        value = int(value) if isinstance(default, int) and value == value.to_integral_value() else value
    warmup(use.kind, {**use.params, key: value})
    return replace(use, params={**use.params, key: value})


def number(name: str, value: Param) -> Decimal:
    """A finite number. Raises InvalidInput that names the parameter."""
    try:
        found = Decimal(value)
    except InvalidOperation:
        found = Decimal("nan")
    if not found.is_finite():
        raise InvalidInput(f"{name}: {shown(value)} is not a number", hint=f"give a number, like {name}=14", details={"field": name})
    return found


def positive(name: str, value: Param) -> Decimal:
    """A number above 0."""
    found = number(name, value)
    if found <= 0:
        raise InvalidInput(f"{name}: {found} is not above 0", hint=f"give a number above 0, like {name}=2", details={"field": name})
    return found


def whole(name: str, value: Param, least: int, most: int) -> int:
    """A whole number in a range."""
    found = number(name, value)
    if found != found.to_integral_value() or not least <= found <= most:
        hint = f"give a whole number, {least} to {most:,}"
        raise InvalidInput(f"{name}: {shown(value)} is out of range", hint=hint, details={"field": name})
    return int(found)


def _at_least(name: str, value: Decimal, least: int) -> Decimal:
    if value < least:
        raise InvalidInput(f"{name}: {value} is below {least}", hint=f"give at least {least}", details={"field": name})
    return value


def read_params(fields: Fields) -> dict[str, ParamRange]:
    """The search space as written: `[low, high]`, or a section of low, high, step, log, choices and only_if."""
    return {name: _range(fields, ("params", name)) for name in fields.section(("params",), None, f"params: {{{_EXAMPLE}}}")}


def read_aliases(fields: Fields) -> dict[str, tuple[str, ...]]:
    """Names that set several parameters at once."""
    found = {}
    for alias in fields.section(("aliases",), None, "aliases: {rr: [exit.long.take_profit.rr, exit.short.take_profit.rr]}"):
        found[alias] = fields.lines(("aliases", alias))
        if not found[alias] and not fields.has_problem(("aliases", alias)):
            fields.wrong(("aliases", alias), "sets nothing", f"write {alias}: [rsi.length]")
    return found


def _range(fields: Fields, path: KeyPath) -> ParamRange:
    value = fields.get(path)
    if isinstance(value, list):
        if len(value) != 2 or not all(map(_is_number, value)):
            fields.wrong(path, f"{shown(value)} is not a range", f"write {_EXAMPLE}, or {{choices: [8, 14, 21]}}")
            return ParamRange()
        return _checked(fields, path, ParamRange(Decimal(value[0]), Decimal(value[1]), whole=all(isinstance(end, int) for end in value)))
    written = fields.section(path, RANGE_KEYS, _EXAMPLE)
    only_if = _only_if(fields, (*path, "only_if"))
    if "choices" in written:
        return replace(_choices(fields, (*path, "choices"), written), only_if=only_if)
    for end in ("low", "high"):
        if written.get(end) is None and not fields.has_problem(path):
            fields.wrong((*path, end), "is missing", f"write {path[-1]}: {{low: 8, high: 30}}, or a list of choices")
    if fields.has_problem(path):
        return ParamRange()
    step = fields.number((*path, "step"), Decimal(0), above=0) or None
    is_whole = all(isinstance(written.get(key, 0), int) for key in ("low", "high", "step"))
    low, high = (fields.number((*path, end), Decimal(0)) for end in ("low", "high"))
    return _checked(fields, path, ParamRange(low, high, step, fields.flag((*path, "log")), is_whole, only_if=only_if))


def _checked(fields: Fields, path: KeyPath, found: ParamRange) -> ParamRange:
    low, high = found.low or Decimal(0), found.high or Decimal(0)
    if low >= high:
        fields.wrong(path, f"{low} to {high} is no range", "write the smaller number first")
    if found.log and low <= 0:
        fields.wrong(path, f"log needs numbers above 0, and it begins at {low}", "raise low, or remove log")
    if found.log and found.step:
        fields.wrong(path, "log and step are both given", "keep one of them")
    return found


def _choices(fields: Fields, path: KeyPath, written: Mapping[str, Any]) -> ParamRange:
    values = written["choices"]
    beside = [key for key in ("low", "high", "step", "log") if key in written]
    if beside:
        fields.wrong((*path[:-1], beside[0]), "and choices are both given", "keep one of them")
    if not isinstance(values, list) or not values or not all(_is_number(value) or isinstance(value, str) for value in values):
        fields.wrong(path, f"{shown(values)} is not a list of values", "write choices: [8, 14, 21]")
        return ParamRange()
    return ParamRange(choices=tuple(values))


def _only_if(fields: Fields, path: KeyPath) -> tuple[str, Param] | None:
    written = fields.section(path, None, "only_if: {timeout.mode: strict}")
    if not written:
        return None
    if len(written) > 1:
        fields.wrong(path, "more than one condition", "keep one: only_if: {timeout.mode: strict}")
    name, value = next(iter(written.items()))
    if not _is_number(value) and not isinstance(value, str):
        fields.wrong((*path, name), f"{shown(value)} is not a value", f"write {name}: 14")
        return None
    return name, value


def _is_number(value: object) -> bool:
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool)
