"""What is wrong with an agent's files, in this product's words."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from tradeagent.agents.definition import EXAMPLES, AgentDefinition
from tradeagent.domain.errors import TradeAgentError, UnknownKey, near
from tradeagent.workspace.problems import Problem, dotted
from tradeagent.workspace.yaml_text import KeyPath

_TYPES: Mapping[str, str] = {
    "int_type": "must be a whole number",
    "tuple_type": "must be a list",
    "dict_type": "must be a section of `key: value`",
    "model_type": "must be a section of `key: value`",
    "decimal_type": "must be a number",
    "is_instance_of": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be a text",
}


def problems_of(error: ValidationError) -> list[Problem]:
    """pydantic's findings in this product's words."""
    return [_problem(entry) for entry in error.errors(include_url=False)]


def problem_of_error(path: KeyPath, error: TradeAgentError) -> Problem:
    """A domain error at a key path."""
    return Problem(path, error.message, error.hint, isinstance(error, UnknownKey))


def _problem(entry: Any) -> Problem:
    path: KeyPath = tuple(entry["loc"])
    field = dotted(path)
    kind, context = entry["type"], entry.get("ctx", {})
    if kind == "extra_forbidden":
        return Problem(path, f"unknown key {field!r}", near(str(path[-1]), _keys_beside(path)), True)
    example = EXAMPLES.get(str(path[0]), "") if path else ""
    if kind == "missing":
        return Problem(path, f"{field} is missing", f"add {example}")
    if kind == "wrong":
        return Problem(path, f"{field}: {context['why']}" if field else context["why"], context["hint"] or f"write {example}")
    if kind == "literal_error":
        return Problem(path, f"{field}: {entry['input']!r} is not allowed", f"write {context['expected']}")
    said = _TYPES.get(kind) or entry["msg"].replace("Input should", "must").replace("a valid ", "a ")
    value = "" if "env" in path else f", not {entry['input']!r}"
    return Problem(path, f"{field} {said}{value}", f"write {example}")


def _keys_beside(path: KeyPath) -> list[str]:
    """Known keys of the section that holds the last part of `path`."""
    model: Any = AgentDefinition
    for part in path[:-1]:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in getattr(annotation, "__args__", ()) if (found := _model_in(inner))), None)
