"""What is wrong with a YAML document: every problem with its line, field and fix; the first becomes the error."""

from collections.abc import Sequence
from dataclasses import dataclass

from tradeagent.domain.errors import InvalidConfig, TradeAgentError, UnknownKey
from tradeagent.workspace.yaml_text import KeyPath, YamlDocument


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to change."""

    path: KeyPath
    message: str
    hint: str
    is_unknown_key: bool = False


def dotted(path: KeyPath) -> str:
    return ".".join(map(str, path))


def error_of(problems: Sequence[Problem], document: YamlDocument) -> TradeAgentError:
    """UnknownKey or InvalidConfig of the first problem: unknown keys, which are often what others come of, then by line.

    `details.problems` lists all of them.
    """
    found = sorted(problems, key=lambda problem: (not problem.is_unknown_key, document.line_of(problem.path) or 0))
    rows = [{"line": document.line_of(p.path), "field": dotted(p.path), "message": p.message, "hint": p.hint} for p in found]
    kind = UnknownKey if found[0].is_unknown_key else InvalidConfig
    first = rows[0]
    place = f"{document.file}:{first['line']}" if first["line"] else str(document.file)
    details = {"file": str(document.file), "line": first["line"], "field": first["field"], "problems": rows}
    return kind(f"{place}: {first['message']}", hint=str(first["hint"]), details=details)
