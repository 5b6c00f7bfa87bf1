"""The agent's working picture: four short texts, rewritten by the agent and editable by a person at any time."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tradeagent.agents.rewrite import EditedFile
from tradeagent.domain.errors import InvalidInput
from tradeagent.workspace.files import Conflict, keep_beside
from tradeagent.workspace.plain_text import visible

NAME = "canvas.md"
PARTS = ("thesis", "working", "changed", "questions")
MAX_CHARACTERS = 1_200


@dataclass(frozen=True, slots=True)
class Canvas:
    """What the four parts say; empty where nothing is written."""

    thesis: str = ""
    working: str = ""
    changed: str = ""
    questions: str = ""

    def part(self, name: str) -> str:
        return {"thesis": self.thesis, "working": self.working, "changed": self.changed, "questions": self.questions}[name]


def check_changes(changes: Mapping[str, str]) -> None:
    """Raises InvalidInput naming a part that does not exist or is over 1,200 characters."""
    for name, text in changes.items():
        if name not in PARTS:
            raise InvalidInput(f"canvas: no part {name!r}", hint=f"use {', '.join(PARTS)}", details={"field": name})
        if len(text) > MAX_CHARACTERS:
            hint = f"shorten {name} by {len(text) - MAX_CHARACTERS} characters"
            raise InvalidInput(f"canvas.{name}: {len(text)} characters, at most {MAX_CHARACTERS}", hint=hint, details={"field": name})


class CanvasFile:
    """`canvas.md` of one session."""

    def __init__(self, folder: Path, agent_id: str, *, durable: bool) -> None:
        self._file = EditedFile(folder / NAME, durable=durable)
        self._agent_id = agent_id

    def read(self) -> Canvas:
        """The four parts as they are now."""
        return parse_canvas(self._file.read())

    def update(self, changes: Mapping[str, str], seen: Canvas) -> Conflict | None:
        """Rewrite some parts. A part that is no longer as in `seen` was edited by a person: their text stays, ours is kept beside.

        Raises InvalidInput as `check_changes`, and the disk errors of `workspace.files`.
        """
        check_changes(changes)
        lost: dict[str, str] = {}

        def edit(before: str) -> str:
            now = parse_canvas(before)
            lost.clear()
            lost.update({name: text for name, text in changes.items() if now.part(name) not in (seen.part(name), _clean(text))})
            return _with_parts(before or self._empty(), {name: text for name, text in changes.items() if name not in lost})

        conflict = self._file.rewrite(edit)
        if conflict is None and lost:
            text = _with_parts(self._empty(), lost)
            conflict = Conflict(self._file.path, keep_beside(self._file.path, text, durable=self._file.durable))
        return conflict

    def _empty(self) -> str:
        return f"# Canvas - {self._agent_id}\n\n" + "\n\n".join(f"## {_title(name)}" for name in PARTS) + "\n"


def parse_canvas(text: str) -> Canvas:
    """Read the parts; other sections and words are a person's and belong to none."""
    found = Canvas()
    if not text:
        return found
    lines = text.split("\n")
    for name in PARTS:
        start, end = _span(lines, name)
        found = replace(found, **{name: "\n".join(_unescaped(line) for line in lines[start:end]).strip()})
    return found


def _with_parts(text: str, parts: Mapping[str, str]) -> str:
    lines = text.split("\n")
    for name, content in parts.items():
        start, end = _span(lines, name)
        body = [_escaped(line) for line in _clean(content).split("\n")] if content.strip() else []
        if start == end == len(lines):
            while lines and not lines[-1].strip():
                lines.pop()
            lines += ["", f"## {_title(name)}", *body, ""]
        else:
            lines[start:end] = [*body, ""]
    return "\n".join(lines)


def _span(lines: list[str], name: str) -> tuple[int, int]:
    start = next((i + 1 for i, line in enumerate(lines) if line.startswith("## ") and line[3:].strip() == _title(name)), len(lines))
    end = next((i for i in range(start, len(lines)) if lines[i].startswith("## ")), len(lines))
    return start, end


def _title(name: str) -> str:
    return name.capitalize()


def _clean(text: str) -> str:
    return "\n".join(line.rstrip() for line in visible(text).strip().split("\n"))


def _escaped(line: str) -> str:
    """A heading inside a part would end it."""
    return f"\\{line}" if line.startswith(("## ", "\\## ")) else line


def _unescaped(line: str) -> str:
    return line[1:] if line.startswith(("\\## ", "\\\\## ")) else line
