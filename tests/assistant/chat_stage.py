"""Conversations in a workspace with real bars: asked as a host asks, with every event and what the files and the ledger keep."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from desk_stage import NOW
from loopback import END, ROLE, Reply, chunk, tool_piece

from tradeagent.domain.clock import SimulatedClock
from tradeagent.ledger.store import open_ledger
from tradeagent.llm.contract import Model, ToolCallFinished, ToolCallStarted, TurnEvent, TurnFinished
from tradeagent.runtime.assembly import Place
from tradeagent.runtime.assistant import ChatRequest, hosted_turn, opened_chat
from tradeagent.turns.assistant import AssistantSetup
from tradeagent.workspace.config import load_config
from tradeagent.workspace.paths import Workspace

MODEL = "openai/scripted"
MODEL_KEY, WALLET_KEY = "sk-canary-71f0c9d2aa51", "0x" + "c4a11a57" * 8
# LiteLLM reads pydantic's field tables off instances, and drops a prepared call that is cancelled before it starts
THROUGH_LITELLM = [
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:coroutine 'OpenAIChatCompletion:RuntimeWarning"),
]


@dataclass(frozen=True)
class Said:
    """What one turn came to."""

    events: tuple[TurnEvent, ...]

    @property
    def ended(self) -> TurnFinished:
        last = self.events[-1]
        assert isinstance(last, TurnFinished)
        return last

    @property
    def text(self) -> str:
        return self.ended.text

    @property
    def calls(self) -> list[str]:
        return [event.name for event in self.events if isinstance(event, ToolCallStarted)]

    @property
    def arguments(self) -> dict[str, str]:
        """The newest arguments of each tool, as JSON."""
        return {event.name: event.arguments for event in self.events if isinstance(event, ToolCallStarted)}

    @property
    def refused(self) -> list[str]:
        return [event.name for event in self.events if isinstance(event, ToolCallFinished) and event.result.is_error]


@dataclass(frozen=True)
class ChatStage:
    """One workspace."""

    place: Place

    @property
    def root(self) -> Path:
        return self.place.workspace.root

    async def talk(self, *questions: str, model: Model | None = None, **request: str | None) -> list[Said]:
        """One conversation, question after question. `model` stands in for the one that is configured."""
        with self.opened(model=model, **request) as setup:
            return [await ask(self.place, setup, question) for question in questions]

    def opened(self, *, model: Model | None = None, **request: str | None) -> "_Opened":
        return _Opened(self.place, ChatRequest(**request), model)

    def transcript(self, session: str) -> str:
        return (self.root / "sessions" / session / "transcript.md").read_text()


class _Opened:
    """`with` a conversation that is open."""

    def __init__(self, place: Place, request: ChatRequest, model: Model | None) -> None:
        self._chat = opened_chat(place, request)
        self._model = model

    def __enter__(self) -> AssistantSetup:
        if self._model is None:
            return self._chat.__enter__()
        with mock.patch("tradeagent.runtime.assistant.open_model", lambda *_: self._model):
            return self._chat.__enter__()

    def __exit__(self, *error: object) -> None:
        self._chat.__exit__(*error)  # type: ignore[arg-type]


async def ask(place: Place, setup: AssistantSetup, question: str) -> Said:
    """One turn to its end."""
    if isinstance(place.clock, SimulatedClock):
        place.clock.advance_to(place.clock.now_ms() + 1)
    return Said(tuple([event async for event in hosted_turn(place, setup, question)]))


def opened(root: Path, settings: dict[str, str] | None = None, now_ms: int = NOW) -> ChatStage:
    workspace = Workspace(root)
    config = load_config(workspace.config_file, {}, settings)
    return ChatStage(Place(workspace, config, open_ledger(workspace.ledger_file, durable=False), SimulatedClock(now_ms)))


def calling(*calls: tuple[str, dict[str, Any]], say_first: str = "") -> Reply:
    """A provider's message that calls tools."""
    pieces = [chunk({"content": say_first})] if say_first else []
    for index, (name, arguments) in enumerate(calls):
        text = json.dumps(arguments)
        pieces += [tool_piece(index, text[:5], name, f"call_{index}"), tool_piece(index, text[5:])]
    return Reply((ROLE, *pieces, chunk({}, "tool_calls"), chunk(usage=(900, 40)), END))


async def spoken(chat: ChatStage, *questions: str, **request: str) -> list[Said]:
    """One conversation through the gateway, with the provider that OPENAI_BASE_URL names."""
    with opened_chat(chat.place, ChatRequest(model=MODEL, **request)) as setup:
        return [await ask(chat.place, setup, question) for question in questions]


def steady(text: str) -> str:
    """A transcript without what differs from run to run: ids and durations."""
    text = re.sub(r"\b[0-9A-HJKMNP-TV-Z]{26}\b", "ID", text)
    return re.sub(r"\d+ ms", "N ms", text)


def names(found: Sequence[str]) -> list[str]:
    """Calls without those that look for a tool."""
    return [name for name in found if name != "find_tools"]
