"""From an algo's YAML to an `AlgoSpec`: strict, with every problem named by line, field and fix (research.md §2)."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

from tradeagent.algos.checks import check
from tradeagent.algos.expressions import BAR_NAMES, FUNCTIONS
from tradeagent.algos.fields import Fields, shown
from tradeagent.algos.params import RESERVED, read_aliases, read_params, with_params
from tradeagent.algos.sides import read_side, read_sizing
from tradeagent.algos.spec import AlgoSpec, Directions, IndicatorUse, Param, SideRules, Timeout, TimeoutMode
from tradeagent.domain.bars import parse_duration
from tradeagent.domain.errors import TradeAgentError
from tradeagent.workspace.problems import error_of
from tradeagent.workspace.yaml_text import KeyPath, read_yaml

__all__ = ["KEYS", "NAME", "parse_algo", "with_params"]

NAME = re.compile(r"[A-Za-z0-9_-]{1,48}")
KEYS = (
    "name", "market", "interval", "direction", "indicators", "entry", "exit", "sizing", "leverage", "timeout", "starting_capital",
    "tie", "constants", "params", "aliases", "python",
)  # fmt: skip
MAX_LEVERAGE = 100
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,47}")
_TAKEN = {*BAR_NAMES, *FUNCTIONS, *RESERVED, "and", "or", "not"}
_MOST_BARS = 1_000_000


def parse_algo(text: str, where: str) -> AlgoSpec:
    """The algorithm that `text` describes; `where` names it in errors, like `my.yml`.

    Raises InvalidConfig or UnknownKey of the first problem by line; `details.problems` lists all of them.
    """
    fields = Fields(read_yaml(text, Path(where)))
    spec = _read(fields, text)
    if not fields.problems:
        fields.problems += check(spec)
    if fields.problems:
        raise error_of(fields.problems, fields.document)
    return spec


def _read(fields: Fields, text: str) -> AlgoSpec:
    fields.section((), KEYS, "name: my_algo")
    if fields.get(("name",)) is None:
        fields.wrong(("name",), "is missing", "write name: my_algo")
    name = fields.text(("name",), "algo", "name: my_algo")
    if not NAME.fullmatch(name):
        fields.wrong(("name",), f"{shown(name)} is not a name of 1 to 48 letters, digits, _ and -", "write name: my_algo")
    python = fields.text(("python",), "", "python: |, and the source below it") or None
    direction = fields.choice(("direction",), Directions, Directions.BOTH)
    sides = {side: _side(fields, side, direction, python) for side in ("long", "short")}
    interval = fields.get(("interval",))
    return AlgoSpec(
        name=name,
        market=fields.text(("market",), "", "market: BTC"),
        interval_ms=0 if interval is None else _interval(fields, ("interval",)),
        direction=direction,
        indicators=_indicators(fields),
        long=sides["long"],
        short=sides["short"],
        sizing=read_sizing(fields, ("sizing",)),
        leverage=fields.whole(("leverage",), 1, 1, MAX_LEVERAGE),
        timeout=_timeout(fields),
        starting_capital=fields.number(("starting_capital",), Decimal(1000), above=0, most=1_000_000_000),
        tie=fields.number(("tie",), Decimal(0), least=0, most=1_000_000_000),
        constants=_constants(fields),
        params=read_params(fields),
        aliases=read_aliases(fields),
        python=python,
        text=text,
    )


def _side(fields: Fields, side: str, direction: Directions, python: str | None) -> SideRules | None:
    for part in ("entry", "exit"):
        fields.section((part,), None, f'{part}: {{long: {{required: ["rsi < 30"]}}}}')
        if side == "long":
            fields.section((part,), ("long", "short"), f"{part}: {{long: …}}")
    if direction not in (Directions.BOTH, side):
        for part in ("entry", "exit"):
            if fields.get((part, side)) is not None:
                fields.wrong((part, side), f"is written, and direction is {direction}", "remove it, or write direction: both")
        return None
    if python is None and fields.get(("entry", side)) is None:
        other = "short" if side == "long" else "long"
        hint = f"write it, or direction: {other}" if direction is Directions.BOTH else 'write it: {required: ["rsi < 30"]}'
        fields.wrong(("entry", side), "is missing", hint)
        return None
    return read_side(fields, side, is_python=python is not None)


def _indicators(fields: Fields) -> dict[str, IndicatorUse]:
    example = "rsi: {kind: rsi, length: 14}"
    found: dict[str, IndicatorUse] = {}
    for name in fields.section(("indicators",), None, f"indicators: {{{example}}}"):
        path: KeyPath = ("indicators", name)
        _check_word(fields, path, name)
        written = fields.section(path, None, example)
        kind = fields.text((*path, "kind"), "", example)
        if not kind and not fields.has_problem(path):
            fields.wrong((*path, "kind"), "is missing", f"write {example}")
        interval = None if written.get("interval") is None else _interval(fields, (*path, "interval"))
        params = {key: _param(fields, (*path, key), value) for key, value in written.items() if key not in ("kind", "interval")}
        found[name] = IndicatorUse(kind, params, interval)
    return found


def _param(fields: Fields, path: KeyPath, value: Any) -> Param:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal, str)):
        fields.wrong(path, f"must be a number or a word, not {shown(value)}", f"write {path[-1]}: 14")
        return 0
    return value


def _constants(fields: Fields) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for name in fields.section(("constants",), None, "constants: {adx_floor: 25}"):
        path: KeyPath = ("constants", name)
        _check_word(fields, path, name)
        if fields.get(path) is None:
            fields.wrong(path, "has no value", f"write {name}: 25")
        if name in (fields.get(("indicators",)) or {}):
            fields.wrong(path, f"an indicator is named {name!r} too", "give one of them another name")
        found[name] = fields.number(path, Decimal(0))
    return found


def _check_word(fields: Fields, path: KeyPath, name: str) -> None:
    if not _WORD.fullmatch(name):
        fields.wrong(path, "is not a name that a condition can use", "use letters, digits and _, beginning with a letter")
    elif name in _TAKEN:
        fields.wrong(path, f"{name!r} means something else in conditions", f"call it my_{name}")


def _timeout(fields: Fields) -> Timeout:
    fields.section(("timeout",), ("mode", "bars"), "timeout: {mode: cooldown_only, bars: 3}")
    mode = fields.choice(("timeout", "mode"), TimeoutMode, TimeoutMode.COOLDOWN_ONLY)
    return Timeout(mode, fields.whole(("timeout", "bars"), 0, 0, _MOST_BARS))


def _interval(fields: Fields, path: KeyPath) -> int:
    value = fields.get(path)
    if isinstance(value, int) and not isinstance(value, bool):
        fields.wrong(path, f"{value} has no unit", f"write {value}m or {value}h")
        return 0
    try:
        return parse_duration(fields.text(path, "1h", "interval: 1h"))
    except TradeAgentError as error:
        fields.wrong(path, error.message.partition(": ")[2], error.hint)
        return 0
