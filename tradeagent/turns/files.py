"""The files of a run: what the prompt reads from them, and what a tick writes to them, rendered from its record.

The snapshot is written last: where it is there, everything of that tick is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tradeagent.agents.canvas import canvas_file
from tradeagent.agents.folder import Agent
from tradeagent.agents.journal import Journal
from tradeagent.agents.journal_lines import DecisionLine, SnapshotLine, Summary, TickLine, with_verdict
from tradeagent.agents.journal_text import JournalUpdate
from tradeagent.agents.learnings import Learnings, LearningSection
from tradeagent.agents.pinned import Pinned
from tradeagent.agents.reflection import reflection_file
from tradeagent.agents.sessions import Session, write_experiment
from tradeagent.agents.snapshots import write_snapshot
from tradeagent.domain.clock import minute_text
from tradeagent.domain.names import RunMode
from tradeagent.tools.context import Decision
from tradeagent.turns import prompt_inputs as p
from tradeagent.turns.inputs import Remembered
from tradeagent.turns.record import TickRecord, TickState
from tradeagent.workspace.files import Conflict

RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Written:
    """What writing a tick found: conflicts with a person's edits, in words, and the lines the agent added to its learnings."""

    conflicts: tuple[str, ...] = ()
    learned: tuple[str, ...] = ()


class AgentFiles:
    """Files of one run. A session has a journal, a canvas and snapshots; an experiment leaves one file."""

    def __init__(
        self, agent: Agent, session: Session | None, *, mode: RunMode, keep: int, durable: bool, agent_wrote: Callable[[str], bool]
    ) -> None:
        self._agent = agent
        self._session = session
        self._mode = mode
        self._keep = keep
        self._durable = durable
        self._learnings = Learnings(agent.folder, durable=durable, agent_wrote=agent_wrote)
        self._journal = Journal(session.folder, session.agent_id, durable=durable) if session else None
        self._reflection = reflection_file(agent.folder, durable=durable)
        self._pinned = Pinned(agent.folder)
        self._canvas = canvas_file(session.folder, session.agent_id, durable=durable) if session else None
        self._look()
        self._decisions: tuple[p.DecisionLine, ...] = ()
        self.experiment_file: Path | None = None

    def remembered(self) -> Remembered:
        """What the files say now: a hand edit is in the next prompt."""
        self._look()
        return Remembered(
            learnings=self._learnings.active(),
            status=self._journal.read().section("Summary").strip() if self._journal else "",
            decisions=self._decisions,
            reflection=self._seen_reflection,
            pinned=self._pinned.read(),
            canvas=self._seen_canvas,
        )

    def _look(self) -> None:
        """Read what the agent may rewrite after it has seen it."""
        self._seen_reflection = self._reflection.read()
        self._seen_canvas = self._canvas.read() if self._canvas else {}

    def journal_text(self) -> str:
        return self._journal.read().text if self._journal else ""

    def write(self, record: TickRecord) -> Written:
        """Write a tick. Hand edits win, and every conflict is a sentence for an incident."""
        conflicts: list[Conflict | None] = []
        learned: list[str] = []
        if self._mode is not RunMode.DRY_RUN:
            for section, text in record.learnings:
                added = self._learnings.add(LearningSection(section), text, record.started_ms)
                conflicts.append(added.conflict)
                learned += [added.line] if added.line else []
            if record.reflection:
                conflicts.append(self._reflection.update(record.reflection, self._seen_reflection))
        if self._canvas and record.canvas:
            conflicts.append(self._canvas.update(record.canvas, self._seen_canvas))
        if self._journal:
            conflicts.append(self._journal.record(_journal_update(record)))
        if record.snapshot and self._session:
            write_snapshot(self._session.folder, record.snapshot, keep=self._keep, durable=self._durable)
        elif record.snapshot:
            self.experiment_file = write_experiment(self._agent.folder, record.snapshot, durable=self._durable)
        self._remember(record)
        said = [f"{c.path.name} was edited by hand at the same moment; both texts are kept, ours in {c.kept.name}" for c in conflicts if c]
        return Written(tuple(said), tuple(learned))

    def keeps(self, number: int, newest: int) -> bool:
        """Whether the snapshot of a tick is still kept when `newest` is the last one."""
        return not self._keep or number > newest - self._keep

    def close(self, record: TickRecord, state: str) -> None:
        """Let the summary say how the run ended."""
        if self._journal:
            self._journal.record(JournalUpdate(summary=_summary(record, state)))

    def note(self, mark: str, now_ms: int, text: str, reason: str = "", verdict: str = "") -> None:
        """A journal line about an event between ticks: an error, a command, a directive, what was decided in a chat."""
        if self._journal:
            self._journal.record(JournalUpdate(decisions=(DecisionLine(mark, minute_text(now_ms), text, reason, verdict=verdict),)))

    def _remember(self, record: TickRecord) -> None:
        if record.state is TickState.BLOCKED or not record.decisions:
            return
        last = record.decisions[-1]
        line = p.DecisionLine(record.number, record.started_ms, last.action, last.reasoning, record.answered or "no proposal")
        self._decisions = (*self._decisions, line)[-3:]


def _journal_update(record: TickRecord) -> JournalUpdate:
    minute, figures = minute_text(record.started_ms), record.figures
    blocked, text = record.state is TickState.BLOCKED, _told(record)
    decisions: list[DecisionLine] = [DecisionLine("directive", minute, text) for text in record.directives]
    if blocked:
        decisions.append(DecisionLine("tick_blocked", minute, f"{record.rule}: {record.action}"))
    elif record.state in (TickState.TIMEOUT, TickState.FAILED):
        decisions.append(DecisionLine("error", minute, f"{record.reason}: {record.detail}".rstrip(": ")))
    else:
        verdicts = (*[""] * (len(record.decisions) - 1), record.answered)
        decisions += [_decision_line(record.number, minute, *line) for line in zip(record.decisions, verdicts, strict=False)]
        decisions += [DecisionLine("note", minute, text) for text in record.notes]
    return JournalUpdate(
        summary=_summary(record, RUNNING),
        decisions=tuple(decisions),
        tick=TickLine(record.number, minute, record.actions, text),
        executors=record.executors,
        snapshot=SnapshotLine(minute, figures.pnl, figures.volume, figures.open, figures.exposure),
    )


def _summary(record: TickRecord, state: str) -> Summary:
    figures, minute = record.figures, minute_text(record.started_ms)
    return Summary(record.number, minute, state, figures.pnl, figures.realised, figures.open, figures.exposure, _told(record))


def _told(record: TickRecord) -> str:
    return f"blocked: {record.rule}" if record.state is TickState.BLOCKED else with_verdict(record.action, record.answered)


def _decision_line(number: int, minute: str, decision: Decision, verdict: str) -> DecisionLine:
    return DecisionLine(f"#{number}", minute, decision.action, decision.reasoning, decision.risk_note or "none", verdict)
