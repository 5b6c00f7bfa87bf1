"""What the tests of the screen share: opening it, waiting for what it shows, and reading it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal

from textual.content import Content
from textual.pilot import Pilot
from textual.widgets import Static

from tradeagent.domain.clock import Clock, SystemClock
from tradeagent.ledger.store import open_ledger
from tradeagent.runtime.assembly import Place, RunRequest, assembled
from tradeagent.runtime.demo import DEMO_AGENT, DEMO_SOURCE
from tradeagent.runtime.ground import Pace
from tradeagent.runtime.runner import Runner
from tradeagent.runtime.stops import StopReason
from tradeagent.tui.account import AccountPane
from tradeagent.tui.app import TradeAgentApp
from tradeagent.tui.stream import TickStream
from tradeagent.tui.trade import TradeScreen
from tradeagent.workspace.config import load_config
from tradeagent.workspace.paths import Workspace

PATIENCE_S = 10.0
POLL_S = 0.05


class Stage:
    """An open screen under test."""

    def __init__(self, app: TradeAgentApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def screen(self) -> TradeScreen:
        screen = self.app.screen_stack[0]
        assert isinstance(screen, TradeScreen)
        return screen

    async def until(self, holds: Callable[[], object], what: str = "") -> None:
        """Wait until something holds, as a person would; fails with what is on screen."""
        for _ in range(int(PATIENCE_S / POLL_S)):
            if holds():
                return
            await asyncio.sleep(POLL_S)
        raise AssertionError(f"{what or 'it'} never came; on screen:\n{self.text()}")

    async def ready(self) -> None:
        """Wait until the chosen deployment's account and ticks are there."""
        await self.until(lambda: self.account() and self.stream(), "the first picture")

    def account(self) -> str:
        return self.screen.query_one(AccountPane).copied_text()

    def stream(self) -> str:
        """Everything the stream shows, as text on screen, not as source."""
        shown = [block.content for block in self.screen.query_one(TickStream).query(Static)]
        return "\n".join(one.plain for one in shown if isinstance(one, Content))

    def list(self) -> str:
        """The left pane of the terminal."""
        return "\n".join(line[:30] for line in self.text().splitlines())

    def toasts(self) -> str:
        return "\n".join(f"{note.title} {note.message}" for note in self.app._notifications)

    def text(self) -> str:
        """The whole terminal."""
        width, height = self.app.size
        lines = self.app.screen._compositor.render_strips(self.app.size)
        return "\n".join(line.crop(0, width).text.rstrip() for line in lines[:height])


@asynccontextmanager
async def opened(workspace: Workspace, *, size: tuple[int, int] = (110, 34), clock: Clock | None = None) -> AsyncIterator[Stage]:
    """The screen on a workspace."""
    app = TradeAgentApp(workspace, load_config(workspace.config_file, {}), clock or SystemClock())
    async with app.run_test(size=size, notifications=True) as pilot:
        yield Stage(app, pilot)


class Running:
    """A real runner as a task of this process, going on where the workspace's wallet stands."""

    def __init__(self, deployment: str, task: "asyncio.Task[StopReason]", interrupt: Callable[[], None]) -> None:
        self.deployment = deployment
        self.task = task
        self.interrupt = interrupt


@asynccontextmanager
async def running(workspace: Workspace, *, speed: int = 300) -> AsyncIterator[Running]:
    """Run the demo's agent; at this speed a tick comes every second."""
    place = Place(workspace, load_config(workspace.config_file, {}), open_ledger(workspace.ledger_file), SystemClock(3))
    try:
        with assembled(place, RunRequest(DEMO_AGENT, Pace(replay=DEMO_SOURCE, speed=Decimal(speed)))) as run:
            runner = Runner(run)
            task = asyncio.create_task(runner.run())
            try:
                yield Running(run.row.id, task, runner.interrupt)
            finally:
                runner.interrupt()
                await task
    finally:
        place.ledger.close()
