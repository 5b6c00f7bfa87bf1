"""The stream of an agent's ticks: markdown that grows as the transcript does, a page a tick, the newest pages only."""

import asyncio
from contextlib import nullcontext
from functools import cache
from typing import TYPE_CHECKING

from textual.containers import VerticalScroll
from textual.content import Content

from tradeagent.tui.pages import PageCutter, Piece, newest
from tradeagent.tui.text import entitle, moment, one_line

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_core import StateCore
    from textual.widgets import Markdown

    from tradeagent.tui.glance import AccountPicture, Card

KEEP_PAGES = 12
KEEP_BLOCKS = 70
DRAWS_PER_SECOND = 10
_WIDGETS_PER_BLOCK = 2
_READING_FACTOR = 3


@cache
def _parser() -> "MarkdownIt":
    """CommonMark with tables. HTML shows as it was written, nothing becomes a link by itself, and a new line is one."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    parser.core.ruler.push("keep_line_breaks", _keep_line_breaks)
    return parser


def _keep_line_breaks(state: "StateCore") -> None:
    for token in state.tokens:
        for child in token.children or ():
            if child.type == "softbreak":
                child.type = "hardbreak"


class TickStream(VerticalScroll, can_focus=True):
    """Text goes in through `add`; a worker draws it, at most ten times a second and never more than half of the time.

    What a draw costs grows with what is there (0.1 ms a block, measured), so the newest pages are kept: at most KEEP_PAGES,
    and fewer when they are long.
    """

    def __init__(self) -> None:
        super().__init__()
        self._cutter = PageCutter()
        self._pages: list[Markdown] = []
        self._pending: list[Piece] = []
        self._forget = False
        self._wake = asyncio.Event()

    def on_mount(self) -> None:
        self.run_worker(self._draw(), name="draw ticks", exit_on_error=False)

    def restart(self) -> None:
        """Forget everything shown, for another deployment or a transcript that began anew."""
        self._cutter = PageCutter()
        self._pending.clear()
        self._forget = True
        self._wake.set()

    def add(self, text: str) -> None:
        """Append text of the transcript; of a long backlog only the newest pages are ever drawn."""
        self._pending += self._cutter.feed(text)
        start = newest(self._pending, KEEP_PAGES, KEEP_BLOCKS)
        if start:
            del self._pending[:start]
            self._forget = True
        self._wake.set()

    def show_of(self, card: "Card", picture: "AccountPicture | None" = None) -> None:
        """Say whose ticks these are, whether a model or a rule writes them, and from the ledger how the last one ended."""
        label = "rule-based · " if card.is_rule_based else ""
        title = Content(f"{one_line(card.id, 60)} · {label}{one_line(card.model, 60)}")
        entitle(self, title, Content(" " if picture is None else _last_tick(picture)))

    def copied_text(self) -> str:
        """The newest page as it was written."""
        return self._pages[-1].source if self._pages else ""

    @property
    def page_count(self) -> int:
        return len(self._pages)

    async def _draw(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            began = loop.time()
            taken, forget = self._pending, self._forget
            self._pending, self._forget = [], False
            # Nothing at all is painted in a batch: only where everything changes is that better than a paint a page.
            with self.app.batch_update() if forget else nullcontext():
                if forget:
                    await self._clear()
                for piece in taken:
                    await self._write(piece)
                await self._prune()
            await asyncio.sleep(max(1 / DRAWS_PER_SECOND, loop.time() - began))

    async def _write(self, piece: Piece) -> None:
        from textual.widgets import Markdown  # not at the top: the first paint does without it

        if piece.begins or not self._pages:
            page = Markdown(parser_factory=_parser, open_links=False)
            await self.mount(page)
            self._pages.append(page)
        await self._pages[-1].append(piece.text)

    async def _prune(self) -> None:
        """Drop old pages; while a person reads further up, only when there are far too many."""
        is_reading = self.scroll_offset.y < self.max_scroll_y - 1
        factor = _READING_FACTOR if is_reading else 1
        while len(self._pages) > 1 and (
            len(self._pages) > factor * KEEP_PAGES or self._widgets() > factor * KEEP_BLOCKS * _WIDGETS_PER_BLOCK
        ):
            await self._pages.pop(0).remove()

    def _widgets(self) -> int:
        return sum(len(page.query("MarkdownBlock")) for page in self._pages)

    async def _clear(self) -> None:
        self._pages.clear()
        await self.remove_children()
        self.anchor()


def _last_tick(picture: "AccountPicture") -> str:
    tick, now = picture.last_tick, picture.snapshot.as_of_ms
    waits = f"{picture.directives} directive(s) wait · " if picture.directives else ""
    if tick is None:
        return f"{waits}no tick yet"
    outcome = f"blocked {tick['rule']}: {tick['action']}" if tick.get("rule") else str(tick.get("action", ""))
    return f"{waits}tick {tick['tick']} · {moment(tick['time_ms'], now)} · {one_line(outcome, 60)}"
