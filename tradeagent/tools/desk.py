"""What a handler gets when the user's own desk asks, the assistant or a program over MCP: everything the user owns to read, and no door."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tradeagent.domain.names import Mode
from tradeagent.tools.context import ToolContext
from tradeagent.workspace.config import Config
from tradeagent.workspace.paths import Workspace
from tradeagent.workspace.settings import Value

if TYPE_CHECKING:  # it loads the kernel's compiler
    from tradeagent.research.record import Desk


@dataclass(frozen=True, slots=True)
class DeskContext(ToolContext):
    """One turn at the desk: it reads, researches, drafts and prepares, and cannot trade.

    `catalogue` is the `instruments` section of config.yml. `mode` decides what is seen; `session` is the conversation that drafts,
    cards and scratch notes belong to, None over MCP.
    """

    mode: Mode
    session: str | None
    workspace: Workspace
    config: Config
    research: "Desk"
    catalogue: Mapping[str, Mapping[str, Value]]
