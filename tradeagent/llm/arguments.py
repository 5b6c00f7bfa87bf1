"""From the text a model sent as arguments to a validated value, or the error it is told. Nothing invalid gets past this page."""

import json
import math
from collections.abc import Iterable
from typing import Any, NoReturn

from pydantic import BaseModel, ValidationError

from tradeagent.llm.contract import Tool, ToolResult

MAX_ARGUMENT_BYTES = 256 * 1024
_MAX_PROBLEMS = 5


class _RefusedArgumentsError(ValueError):
    """Well-formed or not, the text is no acceptable JSON object; the message says why."""


def read_arguments(tool: Tool, raw: str) -> BaseModel | ToolResult:
    """Validate `raw` against the tool's argument model; a ToolResult is the error to answer with.

    Refused: over 256 kB, broken JSON, duplicate keys, NaN and infinities, anything but an object (null, lists, JSON inside a
    string), empty text for a tool that takes arguments, unknown keys, wrong types.
    """
    text = raw if raw.strip() or tool.arguments.model_fields else "{}"
    try:
        _parse_object(text)
        value = tool.arguments.model_validate_json(text)
        if not all(map(math.isfinite, _floats(value.model_dump()))):
            raise _RefusedArgumentsError("a number is NaN or infinite")
    except ValidationError as error:
        return _invalid(tool, _problems(error))
    except (ValueError, RecursionError) as error:
        return _invalid(tool, str(error) if isinstance(error, _RefusedArgumentsError) else "the arguments are not valid JSON")
    return value


def canonical(value: BaseModel) -> str:
    """One text per meaning: JSON with sorted keys and defaults filled in."""
    return json.dumps(value.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


def _parse_object(text: str) -> None:
    if not text.strip():
        raise _RefusedArgumentsError("the arguments are empty")
    if len(text) > MAX_ARGUMENT_BYTES or len(text.encode()) > MAX_ARGUMENT_BYTES:
        raise _RefusedArgumentsError(f"the arguments are larger than {MAX_ARGUMENT_BYTES} bytes")
    parsed = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
    if isinstance(parsed, str):
        raise _RefusedArgumentsError("the arguments are a JSON string; send the object itself, not encoded twice")
    if not isinstance(parsed, dict):
        kind = "null" if parsed is None else "a list" if isinstance(parsed, list) else "a single value"
        raise _RefusedArgumentsError(f"the arguments are {kind}, not a JSON object")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _RefusedArgumentsError(f"the key {twice[:60]!r} appears twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise _RefusedArgumentsError(f"{name} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _RefusedArgumentsError(f"{text[:40]} is not finite")
    return value


def _floats(value: Any) -> Iterable[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _floats(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _floats(item)


def _problems(error: ValidationError) -> str:
    found = [
        f"{'.'.join(map(str, item['loc'])) or 'arguments'}: {item['msg']}" for item in error.errors(include_url=False, include_input=False)
    ]
    more = f"; and {len(found) - _MAX_PROBLEMS} more" if len(found) > _MAX_PROBLEMS else ""
    return "; ".join(text[:200] for text in found[:_MAX_PROBLEMS]) + more


def _invalid(tool: Tool, message: str) -> ToolResult:
    return ToolResult.error("invalid_arguments", message, f"{tool.name} expects {_expected(tool.arguments)}")


def _expected(arguments: type[BaseModel]) -> str:
    """`a JSON object with market (required), side (required), size`."""
    if not arguments.model_fields:
        return "an empty JSON object {}"
    names = [f"{name} (required)" if info.is_required() else name for name, info in arguments.model_fields.items()]
    return f"a JSON object with {', '.join(names)}"
