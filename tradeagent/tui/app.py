"""The Textual application: opens the Trade screen on a workspace and knows the themes. Screens and panes live in their own files."""

from typing import TYPE_CHECKING, ClassVar

from textual.app import App
from textual.screen import Screen

from tradeagent.domain.clock import Clock, SystemClock
from tradeagent.tui.palette import ActionCommands
from tradeagent.tui.trade import TradeScreen
from tradeagent.workspace.config import Config
from tradeagent.workspace.paths import Workspace

if TYPE_CHECKING:
    from textual.types import CSSPathType

DARK, LIGHT = "textual-dark", "textual-light"


class TradeAgentApp(App[None]):
    """A client of one workspace. Closing it stops nothing."""

    TITLE = "TradeAgent"
    CSS_PATH: ClassVar["CSSPathType | None"] = "theme.tcss"
    COMMANDS: ClassVar = {ActionCommands}

    def __init__(self, workspace: Workspace, config: Config, clock: Clock) -> None:
        super().__init__()
        self._workspace = workspace
        self._config = config
        self._clock = clock

    def get_default_screen(self) -> Screen[None]:
        return TradeScreen(self._workspace, self._config, self._clock)

    def action_toggle_theme(self) -> None:
        self.theme = LIGHT if self.current_theme.dark else DARK


def open_screen(workspace: Workspace, config: Config) -> None:
    """Open the screen and return when it is closed. Whatever runs goes on running."""
    TradeAgentApp(workspace, config, SystemClock()).run()
