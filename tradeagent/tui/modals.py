"""Small screens on top: a question, a directive to write, the open incidents, the keys."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from tradeagent.domain.clock import minute_text
from tradeagent.tui.actions import Action, help_lines
from tradeagent.tui.text import one_line

if TYPE_CHECKING:
    from tradeagent.tui.glance import IncidentRow

MAX_DIRECTIVE = 2_000
_NOTES = (
    "Commands go to the runner as rows of the ledger; the answer with its latency shows below right.",
    "Select text with the mouse and press y, or hold shift to use your terminal's own selection. y copies over ssh, too (OSC 52).",
    "PnL: net = after fees and funding, gross = before. Dimmed figures are out of date; the first line of the account says since when.",
)


class Confirm(ModalScreen[bool]):
    """A question whose safe answer has the focus; only `y` or the button says yes."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "answer(True)", "Yes"), Binding("escape,n", "answer(False)", "No")]

    def __init__(self, question: str, consequence: str, yes: str) -> None:
        super().__init__()
        self._question = question
        self._consequence = consequence
        self._yes = yes

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content(self._question), classes="question", markup=False)
            yield Static(Content(self._consequence), markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Keep (esc)", id="no")
                yield Button(Content(f"{self._yes} (y)"), variant="error", id="yes")

    def action_answer(self, is_yes: bool) -> None:
        self.dismiss(is_yes)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")


class Directive(ModalScreen[str]):
    """One line for the next tick; an empty result means nothing is sent."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss('')", "Cancel")]

    def __init__(self, deployment: str) -> None:
        super().__init__()
        self._deployment = deployment

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content(f"Directive to {self._deployment}"), classes="question", markup=False)
            yield Input(placeholder="stay flat over the weekend", max_length=MAX_DIRECTIVE)
            yield Static(Content("Enter sends it to the next tick, once, and the journal keeps it. Esc cancels."), markup=False)

    @on(Input.Submitted)
    def _send(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip())


class Reading(ModalScreen[None]):
    """Something to read and close."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter,i,question_mark", "dismiss", "Close")]

    def __init__(self, title: str, content: Content) -> None:
        super().__init__()
        self._title = title
        self._content = content

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog -reading") as scroll:
            scroll.border_title = Content(self._title)
            scroll.border_subtitle = Content("esc closes")
            yield Static(self._content, markup=False)


def incidents_page(incidents: "tuple[IncidentRow, ...]", total: int) -> Reading:
    """The open incidents, newest first."""
    parts: list[str | tuple[str, str]] = []
    for row in incidents:
        style = "bold $text-error" if row.level in ("error", "critical") else "bold $text-warning"
        parts += [(f"{row.level} {row.code}", style), f"  {one_line(row.where, 40)}  ", (f"{minute_text(row.time_ms)}\n", "dim")]
        parts += [f"  {one_line(row.message, 600)}\n\n"]
    if total > len(incidents):
        parts.append(f"and {total - len(incidents)} more: tradeagent incidents\n")
    return Reading(f"open incidents: {total}", Content.assemble(*parts) if parts else Content("No incident is open.\n"))


def help_page(actions: Iterable[Action]) -> Reading:
    """Every action with its keys, from the one list of actions."""
    parts: list[str | tuple[str, str]] = []
    for group, keys, meaning in help_lines(actions):
        parts += [(f"{group}\n", "bold $text-accent")] if group else []
        parts += [(f"  {keys:<12}", "bold"), f" {meaning}\n"]
    parts += [(f"\n{note}\n", "$foreground 65%") for note in _NOTES]
    return Reading("keys", Content.assemble(*parts))
