"""A conversation with a running agent, beside its ticks: its prompt, its tools, its wallet and its door answer what a person has typed.

Without a runner the same turn only reads. Conversations of one agent share the budget of its ticks.
"""

from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from tradeagent.domain.names import Actor, MessageState
from tradeagent.execution.state import RiskState
from tradeagent.ledger import notes, suggestions, threads
from tradeagent.ledger.threads import ASSISTANT, MessageRow
from tradeagent.llm.contract import Message, TextDelta, Tool, ToolCallFinished, ToolCallStarted, TurnEvent, TurnFinished
from tradeagent.llm.loop import TurnControl, run_turn
from tradeagent.llm.offline.context import MESSAGE_SECTION
from tradeagent.llm.untrusted import free_text
from tradeagent.llm.usage import Usage
from tradeagent.tools.context import AgentContext, TurnNotes
from tradeagent.tools.journal import UPDATE_REFLECTION
from tradeagent.tools.mcp_tools import joined
from tradeagent.tools.registry import tools_for
from tradeagent.turns.executors import live_lines
from tradeagent.turns.history import bounded
from tradeagent.turns.incidents import TurnIncidents
from tradeagent.turns.inputs import HistoryReader, Occasion, prompt_inputs, with_resources
from tradeagent.turns.prompt import Prompt, build_prompt
from tradeagent.turns.prompt_inputs import TurnKind
from tradeagent.turns.record import answered
from tradeagent.turns.tick import TickEngine, TickSetup, entries_barred
from tradeagent.workspace.transcript import Transcript

TURN_KIND: TurnKind = "chat"
HISTORY_MESSAGES, HISTORY_TOKENS = 40, 8_000
# What these keep is rendered from the record of a tick, which a chat has not.
_OF_TICKS = frozenset({"add_learning", "update_canvas", UPDATE_REFLECTION})


def thread_of(deployment: str) -> str:
    """The one conversation that a run has with its user."""
    return f"chat-{deployment}"


@dataclass(frozen=True, slots=True)
class ChatEngine:
    """Answers the messages of one deployment. `reads_only`: no runner holds the wallet, so nothing may act."""

    ticks: TickEngine
    transcript: Transcript
    reads_only: bool = False

    @property
    def setup(self) -> TickSetup:
        return self.ticks.setup

    async def answer(self, on_event: "Callable[[TurnEvent], None] | None" = None) -> bool:
        """One turn over everything that waits; False when nothing does."""
        thread = thread_of(self.setup.deployment)
        waiting = await self.setup.engine.alone(lambda: self._begin(thread))
        if not waiting:
            return False
        turn = _Turn(self.setup.model.id)
        try:
            await self._ask(thread, waiting, turn, on_event)
        finally:
            self.transcript.flush()
            self._finish(thread, turn)
        return True

    def _begin(self, thread: str) -> list[MessageRow]:
        with self.setup.ledger.reading() as tx:
            if not threads.queued(tx, thread):
                return []
        with self.setup.ledger.transaction(durable=False) as tx:
            threads.interrupt_left(tx, thread, self._now())
            return threads.begin(tx, thread, self._now())

    async def _ask(self, thread: str, waiting: Sequence[MessageRow], turn: "_Turn", on_event: "Callable[[TurnEvent], None] | None") -> None:
        setup, asked = self.setup, threads.combined(waiting)
        self.transcript.add(f"\n\n## You\n\n{asked}\n\n## {setup.agent.slug}\n\n")
        state, prompt, before = await setup.engine.alone(lambda: self._look(thread))
        question = f"{prompt.user}\n\n{MESSAGE_SECTION}\n{free_text(asked)}"
        messages = [Message("system", prompt.system), *before, Message("user", question)]
        control = TurnControl(self.ticks.budget.beside(lambda usage: self._book(usage, turn)))
        context = self._context(turn.notes)
        async with joined(setup.outside, self._tools(state)) as (tools, permit):
            events = run_turn(setup.model, messages, tools, setup.limits, permit, context, setup.clock, control)
            async with aclosing(events):
                async for event in events:
                    self._take(event, turn)
                    if on_event is not None:
                        on_event(event)

    def _look(self, thread: str) -> tuple[RiskState, Prompt, tuple[Message, ...]]:
        """The wallet as it is, the prompt made from it, and what was said before."""
        setup, now = self.setup, self.setup.clock.now_ms()
        with setup.ledger.reading() as tx:
            state = setup.engine.state(tx, Actor.AGENT)
            history = HistoryReader(setup.deployment).read(tx, now, setup.engine.book.risk.activity_cursor)
            answers = tuple(suggestions.untold(tx, setup.agent.slug))
            executors = live_lines(tx, state)
            said = threads.said(tx, thread, HISTORY_MESSAGES)
        interval_ms = setup.agent.definition.interval_ms or 0
        barred = "no runner holds this wallet: nothing can act" if self.reads_only else entries_barred(state) or ""
        occasion = Occasion(setup.deployment, setup.mode, 0, now, interval_ms, barred, kind=TURN_KIND)
        known = replace(history, executors=executors, answers=answers)
        remembered = with_resources(setup.files.remembered(), setup.agent, setup.resources, now)
        inputs = prompt_inputs(setup.agent, state, known, self.ticks.feed, occasion, remembered, setup.portfolio_strategy)
        return state, build_prompt(inputs), bounded([_as_message(row) for row in said], HISTORY_TOKENS)

    def _tools(self, state: RiskState) -> tuple[Tool, ...]:
        chosen = tools_for(self.setup.agent.definition.tools or (), entries_barred=self.reads_only or bool(entries_barred(state)))
        kept = [tool for tool in chosen if tool.name not in _OF_TICKS]
        return tuple(tool for tool in kept if tool.scope == "read" or not self.reads_only)

    def _context(self, written: TurnNotes) -> AgentContext:
        setup = self.setup
        return AgentContext(
            actor=Actor.AGENT,
            deployment=setup.deployment,
            slug=setup.agent.slug,
            markets=setup.agent.definition.markets,
            clock=setup.clock,
            ledger=setup.ledger,
            engine=setup.engine,
            feed=self.ticks.feed,
            notes=written,
            read_journal=setup.files.journal_text,
            venue_url=setup.venue_url,
            resources=setup.resources,
            waking=setup.engine.waking(),
        )

    def _take(self, event: TurnEvent, turn: "_Turn") -> None:
        if isinstance(event, TextDelta):
            self.transcript.say(event.text)
        elif isinstance(event, ToolCallStarted):
            turn.arguments[event.call_id] = event.arguments
        elif isinstance(event, ToolCallFinished):
            status = "refused" if event.result.is_error else "ok"
            arguments = turn.arguments.pop(event.call_id, "{}")
            turn.calls.append({"name": event.name, "arguments": arguments, "status": status, "duration_ms": event.duration_ms})
            self.transcript.add(f"\n\n> **{event.name}** {status}\n\n")
        elif isinstance(event, TurnFinished):
            turn.ended = event

    def _book(self, usage: Usage, turn: "_Turn") -> None:
        turn.started_ms = turn.started_ms or self._now()
        counted = {"calls": 1, "tokens_in": usage.tokens_in, "tokens_out": usage.tokens_out, "cost_usd": usage.cost_usd}
        whose = {"slug": self.setup.agent.slug, "deployment": self.setup.deployment, "turn_kind": TURN_KIND}
        with self.setup.ledger.transaction(durable=False) as tx:
            notes.grow_usage(tx, {"time_ms": turn.started_ms, **whose, "model": usage.model_id or turn.model, **counted})

    def _finish(self, thread: str, turn: "_Turn") -> None:
        """The answer in the ledger, and what it decided in the journal."""
        ended = turn.ended
        reason = "interrupted" if ended is None else ended.reason
        state = MessageState.INTERRUPTED if ended is None else MessageState.DONE
        answer = {"text": "" if ended is None else ended.text, "reason": reason, "detail": "" if ended is None else ended.detail}
        used = None if ended is None else ended.usage.as_dict()
        with self.setup.ledger.transaction(durable=False) as tx:
            threads.finish(tx, thread, {**answer, "tool_calls": turn.calls, "usage": used}, state, self._now())
            incidents = TurnIncidents(self.setup.clock, self.setup.engine.wallet.name, self.setup.deployment)
            incidents.of_talk(tx, f"the chat with {self.setup.deployment}", reason, answer["detail"], self._now())
        verdict = answered(turn.notes.verdicts)
        for decision in turn.notes.decisions:
            self.setup.files.note("chat", self.setup.clock.now_ms(), decision.action, decision.reasoning, verdict)
        for text in turn.notes.notes:
            self.setup.files.note("note", self.setup.clock.now_ms(), text)

    def _now(self) -> int:
        return self.setup.engine.wall.now_ms()


@dataclass(slots=True)
class _Turn:
    """What one turn came to."""

    model: str
    notes: TurnNotes = field(default_factory=TurnNotes)
    calls: list[dict[str, Any]] = field(default_factory=list)
    arguments: dict[str, str] = field(default_factory=dict)
    ended: TurnFinished | None = None
    started_ms: int = 0


def _as_message(row: MessageRow) -> Message:
    return Message("assistant" if row.role == ASSISTANT else "user", free_text(row.text) or "(nothing)")
