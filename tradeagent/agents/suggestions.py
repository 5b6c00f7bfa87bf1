"""Config changes that an agent proposes and a person decides (agents.md §7): made by a tool, answered by a command, put in config.yml.

The file is written first and the ledger after it. So an open suggestion whose value the file has was being approved when the process
was killed, or a person wrote it there: either way it is approved, and `settle_open` says so.
"""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tradeagent.agents.config_edit import parse_value, set_value, value_text
from tradeagent.agents.definition import Scalar
from tradeagent.agents.folder import CONFIG_NAME, Agent, Known, cap_over, load_agent, merge_configs, parse_agent, parse_config
from tradeagent.agents.head_text import head_lines
from tradeagent.agents.journal import Journal
from tradeagent.agents.journal_lines import DecisionLine
from tradeagent.agents.journal_text import JournalUpdate
from tradeagent.agents.sessions import list_sessions
from tradeagent.agents.text import one_line
from tradeagent.domain.clock import Clock, iso, minute_text
from tradeagent.domain.errors import BusyError, InvalidConfig, RefusedError
from tradeagent.domain.names import Actor, SuggestionState
from tradeagent.ledger import notes, suggestions
from tradeagent.ledger.store import Ledger
from tradeagent.ledger.suggestions import SuggestionRow
from tradeagent.workspace.files import content_hash, read_settled, try_replace, write_atomic
from tradeagent.workspace.yaml_text import read_yaml

COPY = "suggestions.yml"
MAX_OPEN = 20
MAX_TEXT = 80
MAX_REASON = 300
SHOWN = 100


@dataclass(frozen=True, slots=True)
class SuggestionBox:
    """What one turn of an agent may suggest into; `keeps` False = a dry run, which leaves nothing behind."""

    agent: Agent
    ledger: Ledger
    clock: Clock
    deployment: str
    tick: int | None
    keeps: bool = True

    def add(self, key: str, value: Scalar, reason: str) -> dict[str, Any]:
        """Queue a suggestion: `{suggestion, key, old, new, state}`. UnknownKey, InvalidConfig or RefusedError say why not.

        It replaces an open one of the same key. What a person has rejected is not asked again.
        """
        key = key.removeprefix("configs.")
        new = parse_config(key, value, self.agent.definition.configs)
        if isinstance(new, str) and (len(new) > MAX_TEXT or not new.strip() or not new.isprintable()):
            raise InvalidConfig(f"{key}: a text is one line of at most {MAX_TEXT} printable characters", hint="suggest a shorter value")
        if isinstance(new, Decimal) and abs(new.adjusted()) > MAX_TEXT:
            raise InvalidConfig(f"{key}: {new} is out of any range", hint=f"suggest a number near {self.agent.configs[key]}")
        cap = cap_over(key, new, self.agent.limits)
        if cap is not None:
            raise InvalidConfig(f"{key}: {value_text(new)} is above limits.max_{key} {cap}", hint=f"suggest at most {cap}")
        old = self._active()[key]
        if _same(old, new):
            raise InvalidConfig(f"{key} is {value_text(new)} already", hint="suggest another value, or none")
        row = SuggestionRow(
            id=self.clock.new_id(),
            slug=self.agent.slug,
            deployment=self.deployment,
            tick=self.tick,
            key=key,
            old=value_text(old),
            new=value_text(new),
            reason=one_line(reason, MAX_REASON),
            base_version=self.agent.payload_hash,
            state=SuggestionState.OPEN.value,
            created_ms=self.clock.now_ms(),
        )
        if self.keeps:
            self._queue(row)
        return {"suggestion": row.id if self.keeps else None, "key": key, "old": row.old, "new": row.new, "state": row.state}

    def _active(self) -> dict[str, Scalar]:
        """The values in force: a person may have written config.yml since this run began."""
        file = self.agent.folder / CONFIG_NAME
        try:
            text = read_settled(file, content_hash(self.agent.config_text))
        except FileNotFoundError:
            text = ""
        return merge_configs(self.agent.definition.configs, read_yaml(text, file))

    def _queue(self, row: SuggestionRow) -> None:
        with self.ledger.transaction() as tx:
            known = suggestions.of_agent(tx, row.slug)
            _require_new(row, known)
            for other in known:
                if other.is_open and other.key == row.key:
                    suggestions.settle(tx, other, SuggestionState.VOID, f"replaced by {row.id}", row.created_ms, actor=Actor.AGENT)
            suggestions.add(tx, row)
        write_copy(self.ledger, self.agent.folder)


def _require_new(row: SuggestionRow, known: list[SuggestionRow]) -> None:
    """Nothing is asked twice, and no queue grows without end."""
    last = next((other for other in known if other.key == row.key), None)
    if last is not None and last.new == row.new and last.old == row.old:
        if last.is_open:
            raise RefusedError(f"{row.key} {row.new} waits for the user already", hint="go on without it", code="gate_failed")
        if last.state == SuggestionState.REJECTED.value:
            raise RefusedError(
                f"the user rejected {row.key} {row.new}{f': {last.note}' if last.note else ''}",
                hint="do not ask again; suggest another value only for a new reason",
                code="gate_failed",
            )
    if sum(other.is_open and other.key != row.key for other in known) >= MAX_OPEN:
        raise RefusedError(f"{MAX_OPEN} suggestions wait for the user already", hint="go on without it", code="gate_failed")


@dataclass(frozen=True, slots=True)
class Decider:
    """Where a person answers: the workspace's agents, what they may name, and its ledger."""

    agents_dir: Path
    known: Known
    ledger: Ledger
    clock: Clock

    def listed(self, slug: str) -> list[SuggestionRow]:
        """Every suggestion of an agent, newest first, settled where its file has settled it."""
        settle_open(self.ledger, self.clock, load_agent(self.agents_dir / slug, self.known))
        with self.ledger.reading() as tx:
            return suggestions.of_agent(tx, slug)

    def approve(self, suggestion_id: str) -> SuggestionRow:
        """Put the value in config.yml. RefusedError when it is answered already; InvalidConfig when the agent would not run with it."""
        row, agent = self._open(suggestion_id)
        file = agent.folder / CONFIG_NAME
        text = set_value(agent.config_text, row.key, parse_value(row.new), file)
        parse_agent(agent.folder, agent.agent_text, text, self.known)
        before = content_hash(agent.config_text) if file.exists() else None
        if try_replace(file, before, text, durable=True) is None:
            raise BusyError(f"{file} was edited meanwhile", hint=f"save it, then repeat `tradeagent agent approve {suggestion_id}`")
        settle_open(self.ledger, self.clock, load_agent(agent.folder, self.known))
        return self._get(suggestion_id)

    def reject(self, suggestion_id: str, why: str) -> SuggestionRow:
        """Answer no; the agent is told why."""
        row, agent = self._open(suggestion_id)
        _answer(self.ledger, self.clock, agent, row, SuggestionState.REJECTED, one_line(why, MAX_REASON))
        write_copy(self.ledger, agent.folder)
        return self._get(suggestion_id)

    def _get(self, suggestion_id: str) -> SuggestionRow:
        with self.ledger.reading() as tx:
            return suggestions.get(tx, suggestion_id)

    def _open(self, suggestion_id: str) -> tuple[SuggestionRow, Agent]:
        agent = load_agent(self.agents_dir / self._get(suggestion_id).slug, self.known)
        settle_open(self.ledger, self.clock, agent)
        row = self._get(suggestion_id)
        if not row.is_open:
            why = f" ({row.note})" if row.note else ""
            raise RefusedError(
                f"suggestion {suggestion_id} is {row.state} already{why}",
                hint=f"`tradeagent agent suggestions {row.slug}` lists the open ones",
                code="gate_failed",
                details={"state": row.state, "key": row.key},
            )
        return row, agent


def settle_open(ledger: Ledger, clock: Clock, agent: Agent) -> None:
    """Answer the open suggestions that the agent's files have answered: the value is there, or the key has another one than then."""
    with ledger.reading() as tx:
        rows = suggestions.of_agent(tx, agent.slug, state=SuggestionState.OPEN)
    for row in rows:
        now = agent.configs.get(row.key)
        if now is None:
            _answer(ledger, clock, agent, row, SuggestionState.VOID, f"configs.{row.key} is gone")
        elif _same(now, parse_value(row.new)):
            _answer(ledger, clock, agent, row, SuggestionState.APPROVED, "")
        elif not _same(now, parse_value(row.old)):
            _answer(ledger, clock, agent, row, SuggestionState.VOID, f"{row.key} was changed to {value_text(now)} meanwhile")
    write_copy(ledger, agent.folder)


def suggestion_dict(row: SuggestionRow) -> dict[str, Any]:
    """A suggestion as JSON and its readable copy say it."""
    return {
        "id": row.id,
        "agent": row.slug,
        "deployment": row.deployment,
        "tick": row.tick,
        "key": row.key,
        "old": str(parse_value(row.old)),
        "new": str(parse_value(row.new)),
        "reason": row.reason,
        "state": row.state,
        "time": iso(row.created_ms),
        "decided_at": iso(row.decided_ms),
        "note": row.note,
    }


def write_copy(ledger: Ledger, folder: Path) -> None:
    """`suggestions.yml`: the newest of the ledger's suggestions for people to read; none = no file."""
    with ledger.reading() as tx:
        rows = suggestions.of_agent(tx, folder.name, limit=SHOWN)
    if rows:
        kept = ("key", "old", "new", "reason", "state", "time", "note")
        lines = "".join(head_lines({row.id: {key: suggestion_dict(row)[key] for key in kept}}) for row in rows)
        text = f"# Decided by `tradeagent agent approve ID` or `reject ID`; changes here have no effect.\n{lines}"
        if not (folder / COPY).exists() or read_settled(folder / COPY, content_hash(text)) != text:
            write_atomic(folder / COPY, text, durable=False)


def _answer(ledger: Ledger, clock: Clock, agent: Agent, row: SuggestionRow, state: SuggestionState, note: str) -> None:
    """In the journal of its session, then in the ledger: killed in between, the line may be there twice, never not at all."""
    now = clock.now_ms()
    line = DecisionLine("suggestion", minute_text(now), f"{row.key} {row.old} → {row.new} {state.value}", note or row.reason)
    for session in list_sessions(agent.folder):
        if session.agent_id == row.deployment:
            Journal(session.folder, session.agent_id, durable=True).record(JournalUpdate(decisions=(line,)))
    with ledger.transaction() as tx:
        if suggestions.settle(tx, row, state, note, now) and state is SuggestionState.APPROVED:
            notes.save_version(tx, agent.slug, agent.payload, agent.payload_hash, f"approved suggestion {row.id}", now)


def _same(one: Scalar, other: Scalar) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and one == other
