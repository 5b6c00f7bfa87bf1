"""Several turns of one agent at once at one door, in an order that the seed decides: what they get together."""

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from decimal import Decimal
from typing import Any
from unittest import mock

from agent_play import BARS, Attack
from books_of_agent import SLUG
from foe import Foe

from tradeagent.domain.clock import SystemClock
from tradeagent.domain.names import Actor, RunMode
from tradeagent.ledger.store import open_ledger
from tradeagent.llm.contract import Message, ModelDelta, ToolSpec, TurnFinished, TurnLimits
from tradeagent.llm.loop import run_turn
from tradeagent.runtime.assembly import Place, Run, RunRequest, assembled
from tradeagent.runtime.ground import Pace
from tradeagent.tools.context import AgentContext, TurnNotes
from tradeagent.tools.registry import permit_for, tools_for
from tradeagent.workspace.config import load_config
from tradeagent.workspace.paths import Workspace

TURNS = 6


class Hesitant(Foe):
    """Lets the others go first now and then."""

    async def stream(self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, max_tokens: int) -> AsyncGenerator[ModelDelta, None]:
        async for delta in super().stream(messages, tools, max_tokens=max_tokens):
            for _ in range(self.chance.randint(0, 5)):
                await asyncio.sleep(0)
            yield delta


def all_at_once(attack: Attack, mode: RunMode) -> None:
    """`TURNS` turns over one assembled run, each with its own script; refusals and breaches go to the attack's model."""
    workspace = Workspace(attack.product.root)
    ledger = open_ledger(workspace.ledger_file)
    place = Place(workspace, load_config(workspace.config_file, {}, None), ledger, SystemClock())
    seeds = [attack.foe.chance.random() for _ in range(TURNS)]
    crowd = [Hesitant(attack.case.script, random.Random(seed), attack.look) for seed in seeds]
    try:
        with (
            mock.patch("tradeagent.runtime.assembly.open_model", lambda *_: attack.foe),
            assembled(place, RunRequest(SLUG, Pace(mode, BARS, speed=Decimal(1)))) as run,
        ):
            asyncio.run(_together(run, crowd))
    finally:
        ledger.close()
    for foe in crowd:
        attack.foe.told += foe.told
        attack.foe.prompts += foe.prompts


async def _together(run: Run, crowd: list[Hesitant]) -> None:
    await asyncio.gather(*(_turn(run, foe) for foe in crowd))


async def _turn(run: Run, foe: Hesitant) -> None:
    tools = tools_for(run.stage.agent.definition.tools or (), entries_barred=False)
    turn = run_turn(foe, [Message("user", "go")], tools, TurnLimits(), permit_for(tools), _context(run), run.stage.clock)
    async with aclosing(turn) as events:
        found: list[Any] = [event async for event in events]
    assert isinstance(found[-1], TurnFinished) and found[-1].defect is None, found[-1]


def _context(run: Run) -> AgentContext:
    return AgentContext(
        actor=Actor.AGENT,
        deployment=run.row.id,
        slug=SLUG,
        markets=run.stage.agent.definition.markets,
        clock=run.stage.clock,
        ledger=run.stage.ledger,
        engine=run.door.engine,
        feed=run.stage.feed,
        notes=TurnNotes(),
        read_journal=lambda: "",
    )
