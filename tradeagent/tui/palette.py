"""The palette (ctrl+p): every action of the screen, and every deployment by name."""

from collections.abc import Awaitable, Callable
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from tradeagent.tui.actions import TRADE_ACTIONS, keys_text
from tradeagent.tui.trade import TradeScreen


class ActionCommands(Provider):
    """Made from the list of actions; what is greyed out in the footer does nothing here either."""

    async def discover(self) -> Hits:
        for title, text, run in self._commands():
            yield DiscoveryHit(title, run, help=text)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for title, text, run in self._commands():
            score = matcher.match(title)
            if score > 0:
                yield Hit(score, matcher.highlight(title), run, text=title, help=text)

    def _commands(self) -> list[tuple[str, str, Callable[[], Awaitable[None]]]]:
        screen = self.screen
        if not isinstance(screen, TradeScreen):
            return []
        actions = [action for action in TRADE_ACTIONS if action.name != "app.command_palette"]
        rows = [(f"{action.label} · {keys_text(action.key)}", action.help, action.name) for action in actions]
        rows += [(card.id, f"choose {card.id} on {card.wallet}", f"choose({card.id!r})") for card in screen.cards]
        rows.append(("Choose a theme", "any of the built-in themes, also for terminals with 16 colours", "app.change_theme"))
        return [(title, text, partial(screen.run_action, name)) for title, text, name in rows]
