"""One turn of the assistant over one conversation: what waits is asked as one question, events go to the transcript and to whoever renders.

It works at the desk, which has no door: no tool that it can reach trades, and none can commit a card.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, closing
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from tradeagent.assistant.facts import Facts
from tradeagent.assistant.memory import Memory
from tradeagent.assistant.sessions import Session
from tradeagent.assistant.skills import Skills
from tradeagent.domain.clock import day_start_ms
from tradeagent.domain.errors import InvalidInput
from tradeagent.domain.names import CardState, Experience, IncidentCode, Level, MessageState, Mode, ThreadKind
from tradeagent.ledger import cards, notes, threads
from tradeagent.llm.contract import (
    Message,
    Model,
    Permit,
    Tool,
    ToolCallFinished,
    TurnEvent,
    TurnFinished,
    TurnLimits,
)
from tradeagent.llm.loop import TurnControl, run_turn
from tradeagent.llm.usage import Budget, Usage
from tradeagent.tools.desk import DeskContext
from tradeagent.tools.mcp_tools import Ask, Outside
from tradeagent.tools.registry import FIND, desk_tools
from tradeagent.turns.assistant_prompt import assistant_prompt
from tradeagent.turns.history import bounded, with_preface
from tradeagent.turns.incidents import TurnIncidents

SLUG = TURN_KIND = "assistant"
MAX_ASKED = 32_000


@dataclass(slots=True)
class AssistantSetup:
    """One conversation that this process has open, with whom it is held and what its turns work with.

    `desk` is completed for each turn with the conversation's mode. Setting `interrupt` ends the turn under way; what was said is kept.
    `cards` are the ids of those that the last turn prepared. `outside` are the MCP servers it may use, `ask` how its host asks the user
    about a call that may change something there, None where nobody can be asked.
    """

    session: Session
    model: Model
    desk: DeskContext
    limits: TurnLimits
    max_cost_per_day_usd: Decimal | None
    interrupt: asyncio.Event = field(default_factory=asyncio.Event)
    cards: list[str] = field(default_factory=list)
    outside: Outside | None = None
    ask: Ask | None = None

    @property
    def thread(self) -> str:
        return self.session.settings.id


def recover(setup: AssistantSetup) -> int:
    """Take over a conversation: a turn that a killed process left is ended as interrupted; how many messages still wait."""
    now = setup.desk.clock.now_ms()
    with setup.desk.ledger.transaction(durable=False) as tx:
        threads.open_thread(tx, setup.thread, ThreadKind.ASSISTANT, now, session=setup.thread)
        threads.interrupt_left(tx, setup.thread, now)
        return len(threads.queued(tx, setup.thread))


def queue_message(setup: AssistantSetup, text: str) -> int:
    """Let a message wait for the next turn; its number. InvalidInput for one without words or too long."""
    if not text.strip():
        raise InvalidInput("message: there are no words in it", hint='tradeagent chat "what runs?"')
    if len(text) > MAX_ASKED:
        raise InvalidInput(f"message: {len(text):,} characters, at most {MAX_ASKED:,}", hint="keep long text in a note, and name the note")
    now = setup.desk.clock.now_ms()
    with setup.desk.ledger.transaction(durable=False) as tx:
        return threads.queue(tx, setup.thread, text, now)


async def assistant_turn(setup: AssistantSetup, text: str = "") -> AsyncGenerator[TurnEvent, None]:
    """Run `text` and whatever waits before it as one question; nothing happens when there is neither. The last event is TurnFinished.

    Closing the generator aborts the turn and leaves it interrupted.
    """
    if text:
        queue_message(setup, text)
    started_ms = setup.desk.clock.now_ms()
    with setup.desk.ledger.transaction(durable=False) as tx:
        waiting = threads.begin(tx, setup.thread, started_ms)
    if not waiting:
        return
    setup.interrupt.clear()
    turn = _Turn(setup, started_ms)
    try:
        setup.session.ask(threads.combined(waiting))
        system, messages = await asyncio.to_thread(turn.prompt)
        budget = Budget(setup.max_cost_per_day_usd, turn.spent, turn.book)
        control = TurnControl(budget, setup.interrupt)
        asked = [Message("system", system), *messages]
        events = run_turn(setup.model, asked, turn.tools, setup.limits, turn.permit, turn.context, setup.desk.clock, control)
        async with aclosing(events):
            async for event in events:
                turn.take(event)
                yield event
    finally:
        turn.close()
        if setup.outside is not None:
            await setup.outside.close()


class _Turn:
    """What one turn works with and leaves behind."""

    def __init__(self, setup: AssistantSetup, started_ms: int) -> None:
        self._setup = setup
        self._started_ms = started_ms
        self._mode = Mode(setup.session.settings.mode)
        outside = {} if setup.outside is None else setup.outside.families()
        settings = setup.session.settings
        self.context = replace(setup.desk, mode=self._mode, session=settings.id, conversation=setup.session, outside=outside)
        self.tools: list[Tool] = self._shown()
        self._calls: list[dict[str, Any]] = []
        self._defects: list[str] = []
        self._ended: TurnFinished | None = None

    def _shown(self) -> list[Tool]:
        return list(desk_tools(self._mode, self.context.loaded, self.context.outside))

    def prompt(self) -> tuple[str, tuple[Message, ...]]:
        """The rules, and the conversation with what is known of the user before it."""
        settings = self._setup.session.settings
        skills, _ = Skills(self.context.workspace).active(settings.skills)
        system = assistant_prompt(self._mode, Experience(settings.level), settings.focus, skills)
        return system, with_preface(bounded(self._setup.session.messages()), self._facts())

    def _facts(self) -> str:
        if self.context.memory is not None:
            return Facts(self.context.memory, self.context.clock).for_prompt()
        with closing(Memory(self.context.workspace, self.context.clock)) as memory:
            return Facts(memory, self.context.clock).for_prompt()

    @property
    def permit(self) -> Permit:
        """Only what is on the list as it is now, with what to do about it."""

        def permit(name: str, _arguments: dict[str, Any]) -> str | None:
            if name in {tool.name for tool in self.tools}:
                return None
            return f"{name} is not on the list of mode {self._mode.value}; {FIND} adds a family of tools, the user changes the mode"

        outside = self._setup.outside
        return permit if outside is None else outside.guarded(permit, self._setup.ask)

    def take(self, event: TurnEvent) -> None:
        """Record an event, and look at the list of tools again when a family was added."""
        self._setup.session.take(event)
        if isinstance(event, ToolCallFinished):
            status = "refused" if event.result.is_error else "ok"
            self._calls.append({"name": event.name, "status": status, "duration_ms": event.duration_ms})
            if event.name == FIND:
                self.tools[:] = self._shown()
        if isinstance(event, (ToolCallFinished, TurnFinished)) and event.defect:
            self._defects.append(event.defect)
        if isinstance(event, TurnFinished):
            self._ended = event

    def spent(self) -> Decimal:
        """Recorded spend of the assistant on this UTC day, USD."""
        with self.context.ledger.reading() as tx:
            return notes.spent_on(tx, SLUG, day_start_ms(self.context.clock.now_ms()))

    def book(self, usage: Usage) -> None:
        """Record one model call at once, so that a killed process has spent nothing unseen."""
        counted = {"calls": 1, "tokens_in": usage.tokens_in, "tokens_out": usage.tokens_out, "cost_usd": usage.cost_usd}
        model = usage.model_id or self._setup.model.id
        whose = {"time_ms": self._started_ms, "slug": SLUG, "deployment": None, "turn_kind": TURN_KIND, "model": model}
        with self.context.ledger.transaction(durable=False) as tx:
            notes.grow_usage(tx, {**whose, **counted})

    def _note_cards(self) -> None:
        """Put the cards that were prepared into the transcript."""
        with self.context.ledger.reading() as tx:
            waiting = cards.listed(tx, state=CardState.WAITING, session=self._setup.thread)
        made = [card for card in reversed(waiting) if card.created_ms >= self._started_ms]
        for card in made:
            self._setup.session.card(card.id, f"{card.kind} {card.target}", card.consequences)
        self._setup.cards = [card.id for card in made]

    def close(self) -> None:
        """End the turn in the files and in the ledger, however it went."""
        setup, ended, now = self._setup, self._ended, self.context.clock.now_ms()
        self._note_cards()
        if ended is None:
            setup.session.interrupted()
        setup.session.finish()
        reason = "interrupted" if ended is None else ended.reason
        state = MessageState.INTERRUPTED if reason == "interrupted" else MessageState.DONE
        answer = {"text": "" if ended is None else ended.text, "reason": reason, "tool_calls": self._calls}
        with setup.desk.ledger.transaction(durable=False) as tx:
            threads.finish(tx, setup.thread, answer, state, now)
            incidents = TurnIncidents(setup.desk.clock, None, None)
            incidents.of_talk(tx, "the assistant", reason, "" if ended is None else ended.detail, now)
            for defect in self._defects:
                told = f"something failed in a turn of the assistant: {defect[-300:]}"
                incidents.add(tx, IncidentCode.TICK_FAILED, Level.ERROR, told, now)
