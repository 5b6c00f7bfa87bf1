"""Everything a person can do on the Trade screen, once: keys, footer, palette and help are all made from this list."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from textual.binding import Binding, BindingType


@dataclass(frozen=True, slots=True)
class Action:
    """`name` is the method `action_<name>` of the screen (or `app.<name>`); `label` is for the footer, `help` says what it does."""

    key: str
    name: str
    label: str
    help: str
    group: str
    in_footer: bool = True
    needs_deployment: bool = False


TRADE_ACTIONS: tuple[Action, ...] = (
    Action("j,down", "next_deployment", "Next", "choose the next deployment", "Move", in_footer=False),
    Action("k,up", "previous_deployment", "Previous", "choose the previous deployment", "Move", in_footer=False),
    Action("enter", "focus_stream", "Stream", "read the stream: arrows scroll, End follows again", "Move", in_footer=False),
    Action("escape", "focus_list", "List", "back to the list of deployments", "Move", in_footer=False),
    Action("a", "toggle_account", "Account", "show the account instead of the stream (narrow terminals)", "Move"),
    Action("s", "stop", "Stop", "end the run after its tick; positions stay with their stops", "Command", needs_deployment=True),
    Action("p", "pause", "Pause", "pause: no model turns and no new exposure; again to resume", "Command", needs_deployment=True),
    Action("f", "flatten", "Flatten", "cancel all orders, close all positions, pause; asks first", "Command", needs_deployment=True),
    Action("K", "kill", "Kill", "kill: latch the wallet at once, then cancel and close; asks first", "Command", needs_deployment=True),
    Action("d", "directive", "Directive", "one instruction for the next tick", "Command", needs_deployment=True),
    Action("i", "incidents", "Incidents", "what is open and needs a person", "Look"),
    Action("r", "refresh", "Refresh", "read everything again now", "Look", in_footer=False),
    Action("y", "copy", "Copy", "copy the selected text, or what has the focus", "Look", in_footer=False),
    Action("question_mark", "help", "Help", "this page", "Look"),
    Action("ctrl+t", "app.toggle_theme", "Theme", "dark or light", "Look", in_footer=False),
    Action("q", "app.quit", "Quit (agents run on)", "close the screen; quitting stops nothing: runners are processes of their own", "Look"),
    Action("ctrl+p", "app.command_palette", "Palette", "every action and every deployment by name", "Look"),
)


def bindings(actions: Iterable[Action]) -> list[BindingType]:
    """Key bindings of a screen, in footer order."""
    return [Binding(action.key, action.name, action.label, show=action.in_footer, tooltip=action.help) for action in actions]


def help_lines(actions: Iterable[Action]) -> list[tuple[str, str, str]]:
    """(group, keys, meaning) for the help page; the group only on its first line."""
    lines = []
    for group, members in groupby(actions, key=lambda action: action.group):
        for number, action in enumerate(members):
            lines.append((group if number == 0 else "", keys_text(action.key), action.help))
    return lines


def keys_text(key: str) -> str:
    """Keys as a person reads them."""
    return " or ".join("?" if name == "question_mark" else name for name in key.split(","))
