"""Opening a conversation with the assistant for whoever hosts it: its session, model, desk and budget, closed together."""

import os
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, aclosing, closing, contextmanager
from dataclasses import dataclass
from functools import partial

from tradeagent.assistant.memory import Memory
from tradeagent.assistant.sessions import Session, Sessions
from tradeagent.domain.names import Actor, Mode
from tradeagent.llm.contract import Model, TurnEvent, TurnLimits
from tradeagent.llm.gateway import open_model
from tradeagent.llm.settings import model_settings
from tradeagent.market.instruments import instrument
from tradeagent.market.stored_feed import StoredFeed
from tradeagent.market.warehouse import Warehouse
from tradeagent.research.record import Desk
from tradeagent.research.store import FILE_NAME
from tradeagent.runtime.jobs import at_work
from tradeagent.runtime.outside import outside_of_assistant
from tradeagent.runtime.place import Place
from tradeagent.tools.desk import DeskContext
from tradeagent.turns.assistant import AssistantSetup, assistant_turn, recover

DEADLINE_S = 600.0
MAX_TOKENS = 16_000


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A conversation as a person asked for it: `session` None is a new one; the others None leave what it has."""

    session: str | None = None
    mode: str | None = None
    level: str | None = None
    model: str | None = None
    focus: str | None = None


@contextmanager
def opened_chat(place: Place, request: ChatRequest) -> Iterator[AssistantSetup]:
    """A conversation that this process has alone. Errors are the person's: NotFound, BusyError, InvalidInput, ModelError."""
    with ExitStack() as stack:
        asked = {key: value for key in ("mode", "level", "model", "focus") if (value := getattr(request, key)) is not None}
        model_id = asked.get("model") or default_model(place)
        sessions = stack.enter_context(closing(Sessions(place.workspace, place.clock)))
        if request.session is None:
            model = assistant_model(place, model_id)  # before the folder is made: a key that lacks leaves none behind
            session = stack.enter_context(sessions.create(**{**asked, "model": model_id}))
        else:
            session = stack.enter_context(sessions.open(request.session))
            model = assistant_model(place, asked.get("model") or session.settings.model or model_id)
            session.change(**asked)
        memory = stack.enter_context(closing(Memory(place.workspace, place.clock)))
        setup = _setup(place, session, model, memory)
        recover(setup)
        yield setup


async def hosted_turn(place: Place, setup: AssistantSetup, text: str = "") -> AsyncGenerator[TurnEvent, None]:
    """`assistant_turn`, with somebody at work on the jobs that its tools ask for."""
    async with at_work(place), aclosing(assistant_turn(setup, text)) as events:
        async for event in events:
            yield event


def default_model(place: Place) -> str:
    """What config.yml names."""
    return place.config.text("assistant.model") or "offline/assistant"


def assistant_model(place: Place, model_id: str) -> Model:
    """A model for the assistant by id. ModelError names the variable of a key that lacks."""
    tools = (sys.executable, "-m", "tradeagent", "mcp", "serve", "--workspace", str(place.workspace.root))
    settings = model_settings(place.config, os.environ, cache_file=place.workspace.model_cache_file, acp_server=tools)
    return open_model(model_id, settings)


def desk_of(place: Place, memory: Memory | None = None) -> DeskContext:
    """The user's desk in this workspace, in mode research until a turn says otherwise."""
    warehouse = Warehouse(place.workspace.warehouse_dir)
    names = {path[1] for path in place.config.values if path[0] == "instruments"}
    catalogue = {name: place.config.section("instruments", name) for name in sorted(names)}
    research = Desk(
        place.ledger, warehouse, place.workspace.warehouse_dir / FILE_NAME, place.clock, place.config.flag("sandbox.allow_unsafe")
    )
    return DeskContext(
        actor=Actor.MANUAL,
        clock=place.clock,
        ledger=place.ledger,
        feed=StoredFeed(warehouse, partial(instrument, extra=catalogue)),
        mode=Mode.RESEARCH,
        session=None,
        workspace=place.workspace,
        config=place.config,
        research=research,
        catalogue=catalogue,
        memory=memory,
    )


def _setup(place: Place, session: Session, model: Model, memory: Memory) -> AssistantSetup:
    limits = TurnLimits(
        max_tokens=MAX_TOKENS,
        deadline_s=DEADLINE_S,
        first_token_timeout_s=float(place.config.decimal("turn.first_token_timeout_s")),
        idle_timeout_s=float(place.config.decimal("turn.idle_timeout_s")),
    )
    cap = place.config.decimal("assistant.max_cost_per_day_usd")
    return AssistantSetup(session, model, desk_of(place, memory), limits, cap, outside=outside_of_assistant(place))
