"""A markdown file of a few named texts that an agent rewrites and a person may edit at any time: its canvas, its reflection notes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tradeagent.agents.rewrite import EditedFile
from tradeagent.domain.errors import InvalidInput
from tradeagent.workspace.files import Conflict, keep_beside
from tradeagent.workspace.plain_text import visible


@dataclass(frozen=True, slots=True)
class Form:
    """What such a file is called, its heading, its slots in order, and how many characters each may have."""

    name: str
    heading: str
    slots: tuple[str, ...]
    most: int

    def check(self, changes: Mapping[str, str]) -> None:
        """Raises InvalidInput naming a slot that does not exist or is too long."""
        kind = self.heading.lower()
        for name, text in changes.items():
            if name not in self.slots:
                raise InvalidInput(f"{kind}: no part {name!r}", hint=f"use {', '.join(self.slots)}", details={"field": name})
            if len(text) > self.most:
                hint = f"shorten {name} by {len(text) - self.most} characters"
                raise InvalidInput(f"{kind}.{name}: {len(text)} characters, at most {self.most}", hint=hint, details={"field": name})

    def parse(self, text: str) -> dict[str, str]:
        """The slots that say something; other sections and words are a person's and belong to none."""
        found = {}
        lines = text.split("\n")
        for name in self.slots:
            start, end = _span(lines, name)
            if said := "\n".join(_unescaped(line) for line in lines[start:end]).strip():
                found[name] = said
        return found


class SlotFile:
    """One such file of one owner, who is named in its heading."""

    def __init__(self, folder: Path, form: Form, owner: str, *, durable: bool) -> None:
        self._file = EditedFile(folder / form.name, durable=durable)
        self._form = form
        self._owner = owner

    def read(self) -> dict[str, str]:
        """What the slots say now, empty ones left out."""
        return self._form.parse(self._file.read())

    def update(self, changes: Mapping[str, str], seen: Mapping[str, str]) -> Conflict | None:
        """Rewrite some slots. One that is no longer as in `seen` was edited by a person: their text stays, ours is kept beside.

        Raises InvalidInput as `Form.check`, and the disk errors of `workspace.files`.
        """
        self._form.check(changes)
        lost: dict[str, str] = {}

        def edit(before: str) -> str:
            now = self._form.parse(before)
            lost.clear()
            lost.update({name: text for name, text in changes.items() if now.get(name, "") not in (seen.get(name, ""), _clean(text))})
            return _with_slots(before or self._empty(), {name: text for name, text in changes.items() if name not in lost})

        conflict = self._file.rewrite(edit)
        if conflict is None and lost:
            text = _with_slots(self._empty(), lost)
            conflict = Conflict(self._file.path, keep_beside(self._file.path, text, durable=self._file.durable))
        return conflict

    def _empty(self) -> str:
        return f"# {self._form.heading} - {self._owner}\n\n" + "\n\n".join(f"## {_title(name)}" for name in self._form.slots) + "\n"


def _with_slots(text: str, slots: Mapping[str, str]) -> str:
    lines = text.split("\n")
    for name, content in slots.items():
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
    return name.replace("_", " ").capitalize()


def _clean(text: str) -> str:
    return "\n".join(line.rstrip() for line in visible(text).strip().split("\n"))


def _escaped(line: str) -> str:
    """A heading inside a slot would end it."""
    return f"\\{line}" if line.startswith(("## ", "\\## ")) else line


def _unescaped(line: str) -> str:
    return line[1:] if line.startswith(("\\## ", "\\\\## ")) else line
