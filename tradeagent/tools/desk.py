"""What a handler gets when the user's own desk asks, the assistant or a program over MCP: everything the user owns to read, and no door."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tradeagent.domain.instrument import Instrument
from tradeagent.domain.names import Mode
from tradeagent.market.event_store import EventStore
from tradeagent.market.instruments import instrument
from tradeagent.tools.context import ToolContext
from tradeagent.workspace.config import Config
from tradeagent.workspace.paths import Workspace
from tradeagent.workspace.settings import Value

if TYPE_CHECKING:
    from tradeagent.assistant.memory import Memory
    from tradeagent.assistant.sessions import Session
    from tradeagent.ledger.jobs import JobRow
    from tradeagent.llm.contract import Tool
    from tradeagent.research.record import Desk  # it loads the kernel's compiler


@dataclass(frozen=True, slots=True)
class DeskContext(ToolContext):
    """One turn at the desk: it reads, researches, drafts and prepares, and cannot trade.

    `catalogue` is the `instruments` section of config.yml. `mode` decides what is seen; `session` is the conversation that drafts, cards
    and scratch notes belong to, None over MCP. `loaded` are the families, and single tools of large ones, that `find_tools` has added to
    the conversation, the newest last; the host keeps them from turn to turn. `conversation` is that session where this process has it open;
    `memory` is what a host keeps open between calls. `outside` are the tools of MCP servers, by server; `watch_job` is told of a job that a
    call waits for, each time it looks.
    """

    mode: Mode
    session: str | None
    workspace: Workspace
    config: Config
    research: "Desk"
    catalogue: Mapping[str, Mapping[str, Value]]
    loaded: list[str] = field(default_factory=list)
    conversation: "Session | None" = None
    memory: "Memory | None" = None
    outside: "Mapping[str, tuple[Tool, ...]]" = field(default_factory=dict)
    watch_job: "Callable[[JobRow], Awaitable[None]] | None" = None

    def instrument(self, venue: str, market: str) -> Instrument:
        """A market of the built-in table or of config.yml, or NotFound."""
        return instrument(venue, market, self.catalogue)

    def venue(self) -> str | None:
        return self.config.text("hyperliquid.url")

    def events(self) -> EventStore | None:
        return EventStore(self.research.warehouse.root)

    @property
    def charts_dir(self) -> Path:
        """Where pictures go; a new one of the same thing replaces the old one."""
        return self.workspace.state_dir / "charts"
