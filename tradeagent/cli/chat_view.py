"""How a conversation looks on a terminal: answers as markdown while they are written, a line for each tool call, cards with figures."""

import io
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tradeagent.llm.contract import TextDelta, ToolCallFinished, ToolCallStarted, TurnEvent, TurnFinished
from tradeagent.workspace.plain_text import visible

if TYPE_CHECKING:
    from tradeagent.ledger.cards import CardRow

ARGUMENTS_SHOWN = 90
DETAIL_SHOWN = 160
_BLOCK = re.compile(r"\n[ \t]*\n")
_FENCE = re.compile(r"^\s*(```|~~~)", re.MULTILINE)


class ChatView:
    """Draws the events of turns. `width` is asked for each block, since a terminal changes; None = plain text, as it came."""

    def __init__(self, write: Callable[[str], None], width: Callable[[], int] | None) -> None:
        self._write = write
        self._width = width
        self._text = ""
        self._arguments: dict[str, str] = {}

    def event(self, event: TurnEvent) -> None:
        """Show one event."""
        if isinstance(event, TextDelta):
            self._text += visible(event.text)
            self._show_blocks()
        elif isinstance(event, ToolCallStarted):
            self._arguments[event.call_id] = event.arguments
        elif isinstance(event, ToolCallFinished):
            self._flush()
            self.line(tool_line(event, self._arguments.pop(event.call_id, "{}")), "red" if event.result.is_error else "dim")
        elif isinstance(event, TurnFinished):
            self._flush()
            if event.reason != "stop":
                self.line(f"the turn ended: {event.reason}" + (f", {event.detail}" if event.detail else ""), "yellow")

    def line(self, text: str, style: str = "") -> None:
        """A line of ours; one that is too long for the terminal is cut."""
        if self._width is None:
            self._write(f"{text}\n")
            return
        code = {"dim": "\x1b[2m", "red": "\x1b[31m", "yellow": "\x1b[33m", "bold": "\x1b[1m"}.get(style, "")
        room = max(20, self._width() - 1)
        for each in visible(text).split("\n"):
            cut = each if len(each) <= room else f"{each[: room - 1]}…"
            self._write(f"{code}{cut}\x1b[0m\n" if code else f"{cut}\n")

    def markdown(self, text: str) -> None:
        """A text as markdown."""
        if self._width is None:
            self._write(text.rstrip("\n") + "\n")
            return
        self._write(rendered(text, self._width()))

    def _show_blocks(self) -> None:
        """Draw the paragraphs that are complete: a blank line ends one, outside a code block."""
        end = 0
        for gap in _BLOCK.finditer(self._text):
            if len(_FENCE.findall(self._text[: gap.start()])) % 2 == 0:
                end = gap.end()
        if end:
            self.markdown(self._text[:end])
            self._text = self._text[end:]

    def _flush(self) -> None:
        if self._text.strip():
            self.markdown(self._text)
        self._text = ""


def rendered(text: str, width: int) -> str:
    """Markdown as a terminal shows it, with a blank line after it."""
    from rich.console import Console
    from rich.markdown import Markdown

    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, color_system="standard", width=max(20, width), legacy_windows=False)
    console.print(Markdown(text, hyperlinks=False))
    return drawn.getvalue().rstrip("\n") + "\n\n"


def tool_line(event: ToolCallFinished, arguments: str) -> str:
    """`▸ run_backtest 0.8 s  algo=sma_cross market=BTC`, or why it was refused."""
    seconds = f"{event.duration_ms / 1000:.1f} s" if event.duration_ms >= 100 else f"{event.duration_ms} ms"
    if event.result.is_error:
        told = event.result.content.get("error") or {}
        return f"✗ {event.name} refused: {_one_line(str(told.get('message', '')), DETAIL_SHOWN)}"
    return f"▸ {event.name} {seconds}  {_one_line(_stated(arguments), ARGUMENTS_SHOWN)}".rstrip()


def card_lines(card: "CardRow") -> list[str]:
    """A card in full, as it is to be confirmed."""
    from tradeagent.assistant.cards import card_dict
    from tradeagent.cli.card_text import card_text

    text = card_text(card_dict(card)).split("\n")
    return [f"│ {line}".rstrip() for line in text] + [f"└ y confirms, n dismisses; in a shell: tradeagent confirm {card.id}"]


def arguments_in(text: str) -> dict[str, Any] | str:
    """The arguments of a call; what a model wrote that is no JSON object stays its text."""
    try:
        found = json.loads(text)
        json.dumps(found, allow_nan=False)
    except (ValueError, RecursionError):
        return text
    return found if isinstance(found, dict) else text


def _stated(arguments: str) -> str:
    found = arguments_in(arguments)
    if isinstance(found, str):
        return found
    said = {key: value for key, value in found.items() if value not in (None, "", [], {})}
    return " ".join(f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}" for key, value in said.items())


def _one_line(text: str, limit: int) -> str:
    line = " ".join(visible(text).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
