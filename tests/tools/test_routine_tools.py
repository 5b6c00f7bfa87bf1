"""`run_routine` in a turn: what a tick's end takes away, and that no bar after the tick's instant reaches a routine."""

import asyncio
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tradeagent.agents.routines import Routines
from tradeagent.domain.clock import SimulatedClock
from tradeagent.domain.errors import InvalidInput, NotFound
from tradeagent.domain.names import Actor
from tradeagent.market.series import BarSeries
from tradeagent.tools.context import AgentContext, Resources, TurnNotes
from tradeagent.tools.routines import ListRoutines, RunRoutine, list_routines, run_routine

MINUTE = 60_000
NOW = 40 * MINUTE
HEAD = '"""What it does."""\nfrom pydantic import BaseModel\nclass Config(BaseModel): pass\nasync def run(config, context):\n    '


class Feed:
    """A hundred bars, of which forty have closed at `NOW`."""

    markets = ("BTC",)

    def interval_ms(self, _market: str) -> int:
        return MINUTE

    def history(self, market: str, interval_ms: int, as_of_ms: int, count: int) -> BarSeries:
        ts = np.arange(as_of_ms // interval_ms) * interval_ms
        close = np.ones(len(ts))
        return BarSeries("hyperliquid", market, interval_ms, ts[-count:], *[close[-count:]] * 5)

    def funding(self, _market: str, _after_ms: int, _until_ms: int) -> list[tuple[int, int]]:
        return []


def context(routines: Routines | None) -> AgentContext:
    missing: Any = None
    return AgentContext(
        actor=Actor.AGENT,
        clock=SimulatedClock(NOW),
        ledger=missing,
        feed=Feed(),
        deployment="a_1",
        slug="a",
        markets=("BTC",),
        engine=missing,
        notes=TurnNotes(),
        read_journal=str,
        resources=Resources(routines=routines),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "last.py").write_text(HEAD + "return str(context.bars['BTC']['time'][-1] + context.interval_ms - context.now_ms)")
    (tmp_path / "forever.py").write_text(HEAD + "while True: pass")
    return tmp_path


async def test_the_newest_bar_closes_at_the_instant_of_the_turn(folder: Path) -> None:
    asked = context(Routines([folder]))
    for interval in (None, "1m"):
        found = await run_routine(RunRoutine(name="last", interval=interval, bars=10), asked)
        assert (found.content["text"], found.content["as_of"]) == ("0", "1970-01-01T00:40:00Z")
    assert (await list_routines(ListRoutines(name="last"), asked)).content == {"name": "last", "what": "What it does.", "config": {}}


async def test_a_turn_that_ends_takes_its_routine_with_it_without_blame(folder: Path) -> None:
    routines = Routines([folder])
    begun: list[int] = []
    running = asyncio.create_task(run_routine(RunRoutine(name="forever"), context(routines)))
    while not begun:
        await asyncio.sleep(0.05)
        begun = _children()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    while _children():
        await asyncio.sleep(0.05)
    assert routines.take_broken() == []


def _children() -> list[int]:
    """Processes of routines that this one has started."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            command = (place / "cmdline").read_text()
        except (OSError, ValueError):
            continue
        if parent == os.getpid() and "routine_child.py" in command:
            found.append(int(place.name))
    return found


async def test_what_cannot_be_run_is_said(folder: Path) -> None:
    with pytest.raises(NotFound, match="no routine can be run"):
        await run_routine(RunRoutine(name="last"), context(None))
    with pytest.raises(InvalidInput, match="4000 characters"):
        await run_routine(RunRoutine(name="last", config={"x": "y" * 5_000}), context(Routines([folder])))
    with pytest.raises(InvalidInput, match="interval"):
        await run_routine(RunRoutine(name="last", interval="soon"), context(Routines([folder])))
