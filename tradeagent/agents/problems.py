"""What is wrong with an agent's files: all problems with file, line, field and fix; the first becomes the error."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from tradeagent.agents.definition import EXAMPLES, AgentDefinition
from tradeagent.domain.errors import InvalidConfig, TradeAgentError, UnknownKey
from tradeagent.workspace.yaml_text import KeyPath, YamlDocument

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


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to change."""

    path: KeyPath
    message: str
    hint: str
    is_unknown_key: bool = False


def error_of(problems: Sequence[Problem], document: YamlDocument) -> TradeAgentError:
    """UnknownKey or InvalidConfig of the first problem by line; `details.problems` lists all of them."""
    found = sorted(problems, key=lambda problem: document.line_of(problem.path) or 0)
    rows = [_row(problem, document) for problem in found]
    kind = UnknownKey if found[0].is_unknown_key else InvalidConfig
    first = rows[0]
    place = f"{document.file}:{first['line']}" if first["line"] else str(document.file)
    details = {"file": str(document.file), "line": first["line"], "field": first["field"], "problems": rows}
    return kind(f"{place}: {first['message']}", hint=str(first["hint"]), details=details)


def _row(problem: Problem, document: YamlDocument) -> dict[str, Any]:
    return {
        "line": document.line_of(problem.path),
        "field": ".".join(map(str, problem.path)),
        "message": problem.message,
        "hint": problem.hint,
    }


def problems_of(error: ValidationError) -> list[Problem]:
    """pydantic's findings in this product's words."""
    return [_problem(entry) for entry in error.errors(include_url=False)]


def problem_of_error(path: KeyPath, error: TradeAgentError) -> Problem:
    """A domain error at a key path."""
    return Problem(path, error.message, error.hint, isinstance(error, UnknownKey))


def near(word: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?`, or the list of what is known."""
    options = sorted(known)
    found = difflib.get_close_matches(word, options, n=1)
    return f"did you mean {found[0]!r}?" if found else f"known: {', '.join(options)}"


def _problem(entry: Any) -> Problem:
    path: KeyPath = tuple(entry["loc"])
    field = ".".join(map(str, path))
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
