"""A journal as a list of sections: apply an update, trim, give the text back. Lines that a person added stay where they are."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from tradeagent.agents.journal_lines import (
    SUMMARY_PATTERNS,
    DecisionLine,
    ExecutorLine,
    SnapshotLine,
    Summary,
    TickLine,
    parse_decision,
    parse_executor,
    parse_snapshot,
    parse_tick,
)

SECTIONS = ("Summary", "Decisions", "Ticks", "Executors", "Snapshots")
KEEP = {"Decisions": 20, "Ticks": 1000, "Executors": 1000, "Snapshots": 1000}
_OURS: dict[str, Callable[[str], object]] = {
    "Decisions": parse_decision,
    "Ticks": parse_tick,
    "Executors": parse_executor,
    "Snapshots": parse_snapshot,
}
_TICK_NUMBER = re.compile(r"- tick#(\d+) ")


@dataclass(frozen=True, slots=True)
class JournalUpdate:
    """What one tick or event adds. With a tick whose number is in the journal, all of it is there already and nothing changes."""

    summary: Summary | None = None
    decisions: tuple[DecisionLine, ...] = ()
    tick: TickLine | None = None
    executors: tuple[ExecutorLine, ...] = ()
    snapshot: SnapshotLine | None = None


@dataclass(slots=True)
class Section:
    """Lines under one heading; `ours[i]` tells whether line i has the form this program writes."""

    heading: str
    lines: list[str] = field(default_factory=list)
    ours: list[bool] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.heading.removeprefix("## ").strip()

    def put(self, index: int, line: str) -> None:
        self.lines.insert(index, line)
        self.ours.insert(index, True)

    def end(self) -> int:
        """Index behind the last line that is not blank."""
        index = len(self.lines)
        while index and not self.lines[index - 1].strip():
            index -= 1
        return index

    def trim(self, keep: int) -> list[str]:
        """Take out the oldest of our lines beyond `keep`."""
        gone = []
        for _ in range(self.ours.count(True) - keep):
            index = self.ours.index(True)
            gone.append(self.lines.pop(index))
            self.ours.pop(index)
        return gone


class JournalText:
    """One journal in memory. `apply` changes it; `text` is what belongs on disk."""

    def __init__(self, text: str, agent_id: str) -> None:
        self._top: list[str] = []
        self._sections: list[Section] = []
        self._by_name: dict[str, Section] = {}
        for line in (text or empty_journal(agent_id)).split("\n"):
            if line.startswith("## "):
                self._open(line)
            elif self._sections:
                self._sections[-1].lines.append(line)
            else:
                self._top.append(line)
        for section in self._sections:
            parse = _OURS.get(section.name) if self._by_name[section.name] is section else None
            section.ours = [parse is not None and parse(line) is not None for line in section.lines]
        for name in SECTIONS:
            if name not in self._by_name:
                self._add_missing(name)
        ticks = self._by_name["Ticks"]
        self._ticks = {int(found[1]) for line in ticks.lines if (found := _TICK_NUMBER.match(line))}
        self._last_tick = max(self._ticks, default=-1)

    @property
    def text(self) -> str:
        lines = list(self._top)
        for section in self._sections:
            lines.append(section.heading)
            lines += section.lines
        return "\n".join(lines)

    def ours(self, name: str) -> list[str]:
        """Lines of one section in this program's form, oldest first."""
        section = self._by_name[name]
        return [line for line, is_ours in zip(section.lines, section.ours, strict=True) if is_ours]

    def section(self, name: str) -> str:
        """All lines of one section, without blank ones at its ends."""
        return "\n".join(self._by_name[name].lines).strip()

    def has_tick(self, tick: int) -> bool:
        """Whether the tick is here, or so old that its line was moved to the archive."""
        if tick > self._last_tick:
            return False
        return tick in self._ticks or (len(self._ticks) >= KEEP["Ticks"] and tick < min(self._ticks))

    def apply(self, update: JournalUpdate, known: Collection[str]) -> list[str] | None:
        """Add an update; None when there is nothing to add.

        Returns the lines that must be in the archive before the new text is on disk: those trimmed, and rewritten ones that
        are not in `known` (a person may have changed them).
        """
        if update.tick is not None and self.has_tick(update.tick.tick):
            return None
        before = self.text if update.tick is None else None
        gone: list[str] = []
        if update.summary is not None:
            gone += self._put_summary(update.summary)
        for executor in update.executors:
            gone += self._put_executor(executor)
        gone = [line for line in gone if line not in known]
        for decision in update.decisions:
            self._add("Decisions", decision.render(), once=update.tick is None)
        if update.tick is not None:
            self._put_tick(update.tick)
        if update.snapshot is not None:
            self._add("Snapshots", update.snapshot.render(), once=update.tick is None)
        for name, keep in KEEP.items():
            gone += self._by_name[name].trim(keep)
        return None if before is not None and before == self.text else gone

    def _open(self, heading: str) -> None:
        section = Section(heading)
        self._sections.append(section)
        self._by_name.setdefault(section.name, section)

    def _add_missing(self, name: str) -> None:
        last = self._sections[-1].lines if self._sections else self._top
        if not last or last[-1].strip():
            last.append("")
            if self._sections:
                self._sections[-1].ours.append(False)
        self._open(f"## {name}")
        self._sections[-1].lines, self._sections[-1].ours = [""], [False]

    def _add(self, name: str, line: str, *, once: bool) -> None:
        section = self._by_name[name]
        if not (once and line in section.lines):
            section.put(section.end(), line)

    def _put_tick(self, tick: TickLine) -> None:
        section = self._by_name["Ticks"]
        index = section.end()
        if tick.tick < self._last_tick:
            numbers = ((i, _TICK_NUMBER.match(line)) for i, line in enumerate(section.lines))
            index = next(i for i, found in numbers if found and int(found[1]) > tick.tick)
        section.put(index, tick.render())
        self._ticks.add(tick.tick)
        self._last_tick = max(self._last_tick, tick.tick)

    def _put_executor(self, executor: ExecutorLine) -> list[str]:
        section = self._by_name["Executors"]
        for index in range(len(section.lines) - 1, -1, -1):
            if section.ours[index] and section.lines[index].startswith(executor.key):
                old, section.lines[index] = section.lines[index], executor.render()
                return [old] if old != section.lines[index] else []
        section.put(section.end(), executor.render())
        return []

    def _put_summary(self, summary: Summary) -> list[str]:
        section = self._by_name["Summary"]
        gone: list[str] = []
        behind = 0
        for pattern, line in zip(SUMMARY_PATTERNS, summary.render(), strict=True):
            index = next((i for i, old in enumerate(section.lines) if pattern.fullmatch(old.rstrip("\r"))), None)
            if index is None:
                section.put(behind, line)
                behind += 1
                continue
            old, section.lines[index] = section.lines[index], line
            behind = index + 1
            if old not in (line, "No ticks yet."):
                gone.append(old)
        return gone


def empty_journal(agent_id: str) -> str:
    """The text of a journal before its first tick."""
    first, *others = SECTIONS
    return f"# Journal - {agent_id}\n\n## {first}\nNo ticks yet.\n\n" + "\n\n".join(f"## {name}" for name in others) + "\n"
