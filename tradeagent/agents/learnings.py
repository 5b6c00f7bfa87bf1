"""What an agent learned, shared by all its sessions: dated lines in three sections (agents.md §4). A person's lines stay as they are."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tradeagent.agents.rewrite import EditedFile
from tradeagent.agents.text import one_line
from tradeagent.domain.clock import minute_text
from tradeagent.domain.errors import InvalidInput
from tradeagent.workspace.files import Conflict

NAME = "learnings.md"
KEEP = 20
MAX_OVERLAP = 0.5
MAX_CHARACTERS = 300
_LINE = re.compile(r"- \[\d{4}-\d\d-\d\d \d\d:\d\d\] (.+)")
_WORD = re.compile(r"[^\W_]+")


class LearningSection(StrEnum):
    """Headings of the file; nobody adds to RETIRED, the oldest lines move there."""

    INSIGHTS = "Active insights"
    EXECUTION = "Execution notes"
    RETIRED = "Retired"


ACTIVE = (LearningSection.INSIGHTS, LearningSection.EXECUTION)
EMPTY = "# Learnings\n\n" + "\n\n".join(f"## {name.value}" for name in LearningSection) + "\n"


@dataclass(frozen=True, slots=True)
class Learned:
    """What became of a line: `line` is what was written, empty when it repeats `present`."""

    line: str
    present: str = ""
    conflict: Conflict | None = None


class Learnings:
    """`learnings.md` of one agent. `agent_wrote(line)` says whether a line came from the agent (its hash is in the ledger)."""

    def __init__(self, folder: Path, *, durable: bool, agent_wrote: Callable[[str], bool] | None = None) -> None:
        self._file = EditedFile(folder / NAME, durable=durable)
        self._agent_wrote = agent_wrote

    def read(self) -> str:
        """The whole file; empty when there is none."""
        return self._file.read()

    def active(self) -> str:
        """What the prompt shows: everything but the retired section."""
        kept, section = [], ""
        for line in self.read().split("\n"):
            section = line[3:].strip() if line.startswith("## ") else section
            if section != LearningSection.RETIRED:
                kept.append(line)
        return "\n".join(kept).strip()

    def add(self, section: LearningSection, text: str, at_ms: int) -> Learned:
        """Add one line, unless its words overlap with a line of an active section by more than half.

        Raises InvalidInput for an empty text or the retired section, and the disk errors of `workspace.files`.
        """
        said = one_line(text, MAX_CHARACTERS)
        if not words(said):
            raise InvalidInput("text: a learning needs words", hint="say what was learned", details={"field": "text"})
        if section not in ACTIVE:
            raise InvalidInput(f"section: {section.value!r} takes no new lines", hint=f"use {ACTIVE[0].value!r} or {ACTIVE[1].value!r}")
        line = f"- [{minute_text(at_ms)}] {said}"
        present = ""

        def edit(before: str) -> str:
            nonlocal present
            present = _repeated(before, said)
            return before if present else self._with_line(before or EMPTY, section, line)

        conflict = self._file.rewrite(edit)
        return Learned("" if present else line, present, conflict)

    def _with_line(self, text: str, section: LearningSection, line: str) -> str:
        lines = text.split("\n")
        _insert(lines, section, line)
        for name in ACTIVE:
            while len(mine := self._mine(lines, name)) > KEEP:
                _insert(lines, LearningSection.RETIRED, lines.pop(mine[0]))
        # A retired line is dropped only where the ledger proves that the agent wrote it.
        while self._agent_wrote is not None and len(mine := self._mine(lines, LearningSection.RETIRED)) > KEEP:
            lines.pop(mine[0])
        return "\n".join(lines)

    def _mine(self, lines: list[str], section: LearningSection) -> list[int]:
        """Indices of the agent's lines in a section, oldest first."""
        start, end = _span(lines, section)
        wrote = self._agent_wrote or (lambda _: True)
        return [index for index in range(start, end) if _LINE.fullmatch(lines[index].rstrip("\r")) and wrote(lines[index].rstrip("\r"))]


def words(text: str) -> frozenset[str]:
    """Lower-case words and numbers of a text."""
    return frozenset(_WORD.findall(text.casefold()))


def overlap(first: str, second: str) -> float:
    """|A ∩ B| / min(|A|, |B|) of the two texts' words; 0 when one has none."""
    a, b = words(first), words(second)
    return len(a & b) / min(len(a), len(b)) if a and b else 0.0


def _repeated(text: str, said: str) -> str:
    """A line of an active section that says the same, in whatever form a person wrote it."""
    lines = text.split("\n")
    for section in ACTIVE:
        start, end = _span(lines, section)
        for line in lines[start:end]:
            match = _LINE.fullmatch(line.rstrip("\r"))
            if overlap(match[1] if match else line, said) > MAX_OVERLAP:
                return line
    return ""


def _span(lines: list[str], section: LearningSection) -> tuple[int, int]:
    """Indices from behind a section's heading to the next heading; an empty span at the end when it is missing."""
    start = next((i + 1 for i, line in enumerate(lines) if line.startswith("## ") and line[3:].strip() == section.value), len(lines))
    end = next((i for i in range(start, len(lines)) if lines[i].startswith("## ")), len(lines))
    return start, end


def _insert(lines: list[str], section: LearningSection, line: str) -> None:
    """Put a line at the end of a section, which is made when missing."""
    start, end = _span(lines, section)
    if start == len(lines) and not any(text.startswith("## ") and text[3:].strip() == section.value for text in lines):
        while lines and not lines[-1].strip():
            lines.pop()
        lines += ["", f"## {section.value}", line, ""]
        return
    while end > start and not lines[end - 1].strip():
        end -= 1
    lines.insert(end, line)
