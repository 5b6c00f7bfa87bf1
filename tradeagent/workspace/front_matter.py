"""Markdown with a strict YAML front matter between two `---` lines; line numbers count from the top of the file."""

from dataclasses import dataclass
from pathlib import Path

from tradeagent.domain.errors import InvalidConfig
from tradeagent.workspace.yaml_text import YamlDocument, read_yaml

FENCE = "---"


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """The parsed head and the text below it."""

    head: YamlDocument
    body: str


def read_front_matter(text: str, file: Path) -> FrontMatter:
    """Split and parse. Raises InvalidConfig with file and line; an empty file or a missing closing fence asks `half-saved?`."""
    lines = text.removeprefix("\ufeff").split("\n")
    if lines[0].rstrip() != FENCE:
        if not text.strip():
            raise _half_saved(file, 1, "the file is empty")
        raise InvalidConfig(
            f"{file}:1: the first line must be `---`, then `key: value` lines, then `---`",
            hint="add the front matter",
            details={"file": str(file), "line": 1},
        )
    end = next((number for number, line in enumerate(lines[1:], 1) if line.rstrip() == FENCE), None)
    if end is None:
        raise _half_saved(file, len(lines), "the front matter has no closing `---`")
    head = "\n".join(lines[1:end]) + "\n"
    return FrontMatter(read_yaml(head, file, first_line=2), "\n".join(lines[end + 1 :]).lstrip("\n"))


def _half_saved(file: Path, line: int, problem: str) -> InvalidConfig:
    return InvalidConfig(
        f"{file}:{line}: {problem}: half-saved?",
        hint="save the file again in your editor, then repeat",
        details={"file": str(file), "line": line},
    )
