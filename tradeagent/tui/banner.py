"""The top of the screen: which money this is, how many agents run, what needs a person, and whether the ledger can be read."""

from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import Static

from tradeagent.domain.errors import TradeAgentError
from tradeagent.tui.text import LIVE_NETWORKS, badge, badge_style, clip, one_line

if TYPE_CHECKING:
    from tradeagent.tui.glance import Glance


class Banner(Static):
    """One line about the whole workspace."""

    def __init__(self, place: str) -> None:
        super().__init__(_waiting("opening the ledger …"), markup=False)
        self._place = place

    def wait(self) -> None:
        """Nothing could be read yet; the notice below says why."""
        self.update(_waiting("waiting for the ledger"), layout=False)

    def show(self, glance: "Glance") -> None:
        """Redraw from a glance at the workspace."""
        networks = {card.network for card in glance.cards} or {glance.network}
        running = sum(card.is_live for card in glance.cards)
        parts: list[Content | str | tuple[str, str]] = [("TradeAgent", "bold"), "  "]
        for network in sorted(networks):
            parts += [(f" {badge(network)} ", badge_style(network)), " "]
        parts += [(" KILL SWITCH ON ", "bold $text-error reverse"), " "] if glance.kill_switch else []
        parts += [f" {_count(len(glance.cards), 'agent')}, {running} running", "  ", _incidents(glance.open_incidents)]
        parts += [] if glance.kill_switch else [("   kill switch off", "dim")]
        room = self.size.width - sum(len(part[0]) if isinstance(part, tuple) else len(part) for part in parts) - 6
        if room > 8:
            parts.append((f"   {clip(one_line(self._place), room)}", "dim"))
        self.set_class(any(network in LIVE_NETWORKS for network in networks), "-live")
        self.update(Content.assemble(*parts), layout=False)


class Notice(Static):
    """What is wrong with the ledger right now, and what to type; not there while nothing is wrong."""

    def __init__(self) -> None:
        super().__init__("", markup=False)

    def say(self, error: TradeAgentError) -> None:
        """Show a named state instead of crashing."""
        names = {"not_found": "NO LEDGER", "busy": "LEDGER BUSY", "data_error": "LEDGER UNREADABLE", "disk_full": "DISK FULL"}
        name = names.get(error.code, "NOT READABLE")
        hint = f"  {one_line(error.hint)}" if error.hint else ""
        shown = Content.assemble((f" {name} ", "bold reverse"), " ", one_line(error.message, 300), (hint, "bold"))
        self.update(shown)
        self.add_class("-shown")

    def clear(self) -> None:
        self.remove_class("-shown")


def _waiting(what: str) -> Content:
    return Content.assemble(("TradeAgent", "bold"), (f"  {what}", "dim"))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _incidents(number: int) -> tuple[str, str]:
    return (f" {_count(number, 'incident')} (i) ", "bold $text-warning reverse") if number else (" no incidents", "dim")
