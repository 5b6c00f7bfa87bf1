"""Campaign: a model that writes broken calls of every tool there is, thousands of them: nothing crashes, and what is dispatched is valid.

Turns of an agent and turns of the desk alternate, each with its own tools and its own permission check. Each call starts as a valid one
made from the tool's own schema and is then changed in its text or its values. A recording handler stands where the tool would act; what
reaches it is read again from the raw text, by rules written down here and not by the product's parser.
"""

import asyncio
import json
import math
import random
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from figures import Figures

from tradeagent.domain.clock import SystemClock
from tradeagent.llm.contract import Message, ModelDelta, Tool, ToolCall, ToolCallFinished, ToolResult, ToolSpec, TurnFinished, TurnLimits
from tradeagent.llm.loop import run_turn
from tradeagent.tools.registry import DESK, TOOLS, permit_for
from tradeagent.turns.prompt_rules import PRODUCT_RULES

FULL_SIZE = 100_000
CALLS_A_TURN = 12
REGISTRIES: Mapping[str, Mapping[str, Tool]] = {"agent": TOOLS, "desk": DESK}
_REASONS = ("stop", "repeat", "repair_limit")
_SPLICES = [
    *('"quote": 9,', "NaN", "-Infinity", "1e999", "null", '"mode": "live",', '"limits": {"max_leverage": 50},', '{"a": 1}', "true"),
    *("[", "]", "{", "}", '"', "\\", "'", ",", ":", "-", "0x1F", "٣", "\x00", "\ud83d", "\u202e", "\\u0000", "9" * 400, "[" * 2000),
]
_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 2**70, -0.0, 1e308, 0.1, "", " ", "NaN", "Infinity", "1e5", "٣", "x" * 700, [], {}, [[]], {"x": 1}),
    *("BTC", "btc", "../../etc/passwd", "\u202elive", "9" * 50, ["BTC"], {"$ref": "#"}, "0", "-5", "<untrusted>", PRODUCT_RULES[:50]),
]


@dataclass(frozen=True, slots=True)
class Arrived:
    """One call that reached a handler."""

    tool: str
    arguments: Any


class Seat:
    """Whose turn it is: the tools on its list, each with a handler that only writes down what it got."""

    def __init__(self, who: str, registry: Mapping[str, Tool]) -> None:
        self.who, self.registry = who, registry
        self.arrived: list[Arrived] = []
        self.tools = [replace(tool, handler=_recorder(name, self.arrived)) for name, tool in registry.items()]


class Wild:
    """A model whose one answer is a list of calls."""

    id = "test/wild"
    is_rule_based = True

    def __init__(self, calls: Sequence[tuple[str, str]]) -> None:
        self.calls = calls
        self.asked = 0

    async def estimate_usd(self, messages: Sequence[Message], max_tokens: int, tools: Sequence[ToolSpec] = ()) -> Decimal | None:
        return Decimal(0)

    async def stream(self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, max_tokens: int) -> AsyncGenerator[ModelDelta, None]:
        self.asked += 1
        if self.asked == 1:
            for number, (name, arguments) in enumerate(self.calls):
                yield ModelDelta(tool_call=ToolCall(f"c{number}", name, arguments))
        yield ModelDelta(done="stop")


def run(seed: int = 1, size: int = FULL_SIZE) -> Figures:
    """`size` calls, twelve to a turn, the turns by turns an agent's and the desk's."""
    figures = Figures("tool_calls", seed)
    figures.counts |= {"calls": 0, "dispatched": 0, "refused": 0, "tools": len(TOOLS | DESK)}
    for who, tools in REGISTRIES.items():
        figures.counts |= {f"{who} tools": len(tools), f"{who} calls": 0, f"{who} dispatched": 0}
    asyncio.run(_play(figures, random.Random(seed), size))
    return figures


async def _play(figures: Figures, chance: random.Random, size: int) -> None:
    seats = [Seat(who, tools) for who, tools in REGISTRIES.items()]
    clock = SystemClock(seed=1)
    for number in range(-(-size // CALLS_A_TURN)):
        seat = seats[number % len(seats)]
        calls = [_wild_call(seat.registry, chance) for _ in range(CALLS_A_TURN)]
        seat.arrived.clear()
        try:
            messages, limits = [Message("user", "go")], TurnLimits(max_tokens=10**6)
            turn = run_turn(Wild(calls), messages, seat.tools, limits, permit_for(seat.tools), None, clock)
            events = [event async for event in turn]
        except Exception as error:  # noqa: BLE001 - a crash is what is looked for
            figures.violations.append(f"crash: {error!r} on {calls!r}"[:2000])
            continue
        figures.violations += _violations(seat.registry, calls, events, seat.arrived)
        for prefix in ("", f"{seat.who} "):
            figures.count(f"{prefix}calls", len(calls))
            figures.count(f"{prefix}dispatched", len(seat.arrived))
        figures.count("refused", sum(isinstance(event, ToolCallFinished) and not event.dispatched for event in events))


def _recorder(name: str, arrived: list[Arrived]) -> Any:
    async def handler(arguments: Any, _context: Any) -> ToolResult:
        arrived.append(Arrived(name, arguments))
        return ToolResult({"done": True})

    return handler


def _violations(
    registry: Mapping[str, Tool], calls: Sequence[tuple[str, str]], events: Sequence[Any], arrived: Sequence[Arrived]
) -> Iterator[str]:
    end = events[-1]
    if not isinstance(end, TurnFinished) or end.reason not in _REASONS or end.defect:
        yield f"the turn ended otherwise: {end!r}"[:500]
    finished = [event for event in events if isinstance(event, ToolCallFinished)]
    dispatched = [event for event in finished if event.dispatched]
    if len(dispatched) != len(arrived):
        yield f"{len(arrived)} calls arrived, {len(dispatched)} were told"
    for event, one in zip(dispatched, arrived, strict=False):
        name, raw = calls[int(event.call_id[1:])]
        if name != one.tool or not isinstance(one.arguments, registry[name].arguments):
            yield f"{name} {raw[:200]!r} arrived at {one.tool} as {type(one.arguments).__name__}"
            continue
        if not all(number.is_finite() for number in one.arguments.model_dump().values() if isinstance(number, Decimal)):
            yield f"{name} {raw[:200]!r} was dispatched with a number that is none"
        yield from (f"{name} {raw[:200]!r} was dispatched: {problem}" for problem in _problems(registry[name], raw))
    for event in finished:
        if not event.dispatched and not (event.result.is_error and event.result.content["error"]["message"]):
            yield f"a refusal says nothing: {event!r}"[:500]


def _problems(tool: Tool, raw: str) -> Iterator[str]:
    """What is wrong with a text that was dispatched as this tool's arguments."""
    schema = dict(tool.spec.parameters)
    pairs = json.loads(raw.strip() or "{}", object_pairs_hook=_Pairs, parse_constant=lambda name: f"constant {name}")
    if not isinstance(pairs, _Pairs):
        yield "no object"
        return
    yield from _breaks(schema, pairs, schema.get("$defs", {}))


class _Pairs(list[tuple[str, Any]]):
    """An object as it was written, doubled keys and all."""


def _breaks(schema: dict[str, Any], value: Any, defs: dict[str, Any]) -> list[str]:
    """How a value breaks a JSON schema; what pydantic reads as a number (text, true) counts as one."""
    if "$ref" in schema:
        schema = defs[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        found = [_breaks(option, value, defs) for option in schema["anyOf"]]
        return [] if not all(found) else found[0]
    kind, problems = schema.get("type"), []
    if isinstance(value, _Pairs):
        names = [name for name, _ in value]
        if len(names) != len(set(names)):
            problems.append("a doubled key")
        known = schema.get("properties", {})
        if kind not in ("object", None):
            problems.append(f"an object for a {kind}")
        if schema.get("additionalProperties") is False and not set(names) <= set(known):
            problems.append(f"unknown keys {sorted(set(names) - set(known))}")
        problems += [f"{name} is missing" for name in schema.get("required", ()) if name not in names]
        return problems + [problem for name, item in value if name in known for problem in _breaks(known[name], item, defs)]
    if isinstance(value, list) != (kind == "array") and kind is not None:
        problems.append(f"{type(value).__name__} for a {kind}")
    if isinstance(value, list):
        return problems + [problem for item in value for problem in _breaks(schema.get("items", {}), item, defs)]
    return problems + _scalar_breaks(schema, value)


def _scalar_breaks(schema: dict[str, Any], value: Any) -> list[str]:
    if "enum" in schema and value not in schema["enum"]:
        return [f"{value!r} is none of {schema['enum']}"]
    kind = schema.get("type")
    if (value is None) != (kind == "null") and kind is not None:
        return [f"{value!r} for a {kind}"]
    if kind == "string" and not isinstance(value, str):
        return [f"{value!r} for a text"]
    if isinstance(value, str) and schema.get("type") == "string":
        fits = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
        return [] if fits else [f"a text of {len(value)} characters"]
    if isinstance(value, int | float) and not isinstance(value, bool) and schema.get("type") in ("number", "integer"):
        low, high, above = schema.get("minimum", value), schema.get("maximum", value), schema.get("exclusiveMinimum")
        if not low <= value <= high or (above is not None and value <= above) or not math.isfinite(value):
            return [f"{value} is out of bounds"]
    return []


def _wild_call(registry: Mapping[str, Tool], chance: random.Random) -> tuple[str, str]:
    tool = registry[chance.choice(list(registry))]
    name = tool.name
    if chance.random() < 0.04:
        elsewhere = chance.choice(sorted((TOOLS.keys() | DESK.keys()) - registry.keys()))
        name = chance.choice([name.upper(), f"__{name}", name.replace("o", "о"), "", "x" * 300, elsewhere, elsewhere])
    schema = dict(tool.spec.parameters)
    value = _valid(schema, schema.get("$defs", {}), chance)
    if chance.random() < 0.5:
        value = _changed(value, chance)
    text = json.dumps(value)
    for _ in range(chance.choice((0, 0, 1, 1, 2, 4))):
        text = _edited(text, chance)
    return name, text


def _valid(schema: dict[str, Any], defs: dict[str, Any], chance: random.Random) -> Any:
    """Something the schema takes."""
    if "$ref" in schema:
        return _valid(defs[schema["$ref"].rpartition("/")[2]], defs, chance)
    if "anyOf" in schema:
        return _valid(chance.choice(schema["anyOf"]), defs, chance)
    if "enum" in schema or "const" in schema:
        return chance.choice(schema.get("enum") or [schema["const"]])
    kind = schema.get("type")
    if kind == "object":
        required = set(schema.get("required", ()))
        fields = schema.get("properties", {})
        return {name: _valid(field, defs, chance) for name, field in fields.items() if name in required or chance.random() < 0.3}
    if kind == "array":
        return [_valid(schema.get("items", {}), defs, chance) for _ in range(chance.randint(0, 3))]
    if kind == "integer":
        low = schema.get("minimum", 0)
        return chance.randint(low, schema.get("maximum", low + 10))
    plain: dict[Any, Any] = {"number": round(chance.uniform(0.01, 0.99), 4), "boolean": chance.random() < 0.5, "null": None}
    return plain[kind] if kind in plain else chance.choice(["BTC", "15m", "50", "1.5", "01J0000000000000000000000A"])


def _changed(value: Any, chance: random.Random) -> Any:
    """The object with one value, key or shape replaced."""
    if not isinstance(value, dict):
        return value
    keys = list(value)
    edit = chance.randrange(5)
    if edit == 0 and keys:
        return value | {chance.choice(keys): chance.choice(_VALUES)}
    if edit == 1:
        return value | {chance.choice(["mode", "wallet", "limits", "controller_id", "Market", "market ", "quоte"]): chance.choice(_VALUES)}
    if edit == 2 and keys:
        gone = chance.choice(keys)
        return {name: item for name, item in value.items() if name != gone}
    return chance.choice([[value], json.dumps(value), {"arguments": value}, value, None])


def _edited(text: str, chance: random.Random) -> str:
    """The text cut, spliced, doubled, or with one character replaced."""
    at, to = sorted((chance.randint(0, len(text)), chance.randint(0, len(text))))
    return chance.choice(
        [
            text[:at] + text[min(to, at + 4) :],
            text[:at] + chance.choice(_SPLICES) + text[at:],
            text[:at] + text[at:to] + text[at:],
            text[:to],
            text + text,
            text[:at] + chr(chance.randrange(0x3000)) + text[at + 1 :],
        ]
    )
