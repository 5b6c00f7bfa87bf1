"""A conversation on the terminal: one line to type in, answers above it, messages queued while a turn runs, slash commands for the rest."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

from tradeagent.cli.chat import terminal_width
from tradeagent.cli.chat_commands import Commands, Leave
from tradeagent.cli.chat_view import ChatView, card_lines
from tradeagent.cli.session import session
from tradeagent.domain.errors import TradeAgentError
from tradeagent.domain.money import plain
from tradeagent.ledger import cards, threads
from tradeagent.llm.contract import ToolCallFinished, ToolCallStarted, TurnFinished, UsageReported
from tradeagent.runtime.assistant import ChatRequest, hosted_turn, opened_chat
from tradeagent.runtime.place import Place
from tradeagent.turns.assistant import AssistantSetup, queue_message

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

HISTORY = "chat_history"
LEAVE_WITHIN_S = 5.0
MOST_ASKED = 2_000


def converse(place: Place, request: ChatRequest) -> int:
    """Talk until the person leaves; /new and /session open another conversation."""
    wanted: ChatRequest | None = request
    while wanted is not None:
        with opened_chat(place, wanted) as setup:
            wanted = asyncio.run(Repl(place, setup).run())
    return 0


class Repl:
    """One conversation and the line it is typed in."""

    def __init__(self, place: Place, setup: AssistantSetup) -> None:
        self._place = place
        self._setup = setup
        self._view = ChatView(session().output.raw, terminal_width())
        self._commands = Commands(place, setup, self._view, lambda: self._cost)
        self._turn: asyncio.Task[None] | None = None
        self._busy_with = ""
        self._cost: Decimal | None = Decimal(0)
        self._card: str | None = None
        self._redraw: Callable[[], None] = lambda: None
        self._asking: asyncio.Future[bool] | None = None
        setup.ask = self._ask_person

    async def run(self) -> ChatRequest | None:
        """Until the person leaves: None, or which conversation comes next."""
        from prompt_toolkit.patch_stdout import patch_stdout

        prompt = self._prompt()
        self._redraw = prompt.app.invalidate
        with patch_stdout(raw=True):
            self._greet()
            if self._waiting():
                self._start()
            try:
                while True:
                    text = await self._typed(prompt)
                    if text is None:
                        return None
                    leave = await self._take(text)
                    if leave is not None:
                        return leave.to
            finally:
                await self._leave()

    async def _typed(self, prompt: "PromptSession[str]") -> str | None:
        """A line, or None when the person is done."""
        try:
            return (await prompt.prompt_async("› ")).strip()
        except EOFError:
            return None
        except KeyboardInterrupt:
            self._view.line("Ctrl-D or /quit leaves; what was said is kept", "dim")
            return ""

    async def _take(self, text: str) -> Leave | None:
        """One line: a command, the answer to a card, or a message."""
        try:
            if not text:
                return None
            if text.startswith("/"):
                return await self._commands.run(text)
            if self._asking is not None and text in ("y", "n"):
                self._asking.set_result(text == "y")
                return None
            if self._card is not None and text in ("y", "n"):
                card, self._card = self._card, None
                await (self._commands.confirm(card) if text == "y" else self._commands.dismiss(card))
                return None
            queue_message(self._setup, text)
        except TradeAgentError as error:
            self._view.line(f"{error.message}" + (f"\n  fix: {error.hint}" if error.hint else ""), "red")
            return None
        if self._turn is not None:
            self._view.line(f"queued ({self._waiting()} waiting; esc interrupts the turn)", "dim")
        else:
            self._start()
        return None

    async def _ask_person(self, name: str, arguments: dict[str, object]) -> str | None:
        """Ask about one call to a program outside; None when it may be made. The turn bounds how long it waits."""
        stated = " ".join(f"{key}={value}" for key, value in arguments.items())
        self._view.line(f"{name} may change something outside: {stated[:MOST_ASKED]}\ny lets it run this once, n does not", "yellow")
        self._asking = asyncio.get_running_loop().create_future()
        try:
            return None if await self._asking else "the user said no"
        finally:
            self._asking = None

    def _start(self) -> None:
        self._turn = asyncio.create_task(self._run_turns())

    async def _run_turns(self) -> None:
        """Turns, one after the other, until nothing waits."""
        try:
            while self._waiting():
                self._busy_with = "thinking"
                async for event in hosted_turn(self._place, self._setup):
                    self._view.event(event)
                    self._count(event)
                self._show_cards()
        except TradeAgentError as error:
            self._view.line(f"{error.message}" + (f"\n  fix: {error.hint}" if error.hint else ""), "red")
        except Exception as error:  # noqa: BLE001  # the boundary of a turn: a defect is told, and the line to type in stays
            self._view.line(f"a defect in tradeagent: {type(error).__name__}: {error}", "red")
        finally:
            self._turn, self._busy_with = None, ""
            self._redraw()

    def _count(self, event: object) -> None:
        if isinstance(event, ToolCallStarted):
            self._busy_with = event.name
        elif isinstance(event, (ToolCallFinished, TurnFinished)):
            self._busy_with = "thinking"
        elif isinstance(event, UsageReported):
            self._cost = None if self._cost is None or event.usage.cost_usd is None else self._cost + event.usage.cost_usd
        self._redraw()

    def _show_cards(self) -> None:
        """Put what the turn prepared before the person, with its numbers."""
        for card in self._setup.cards:
            with self._place.ledger.reading() as tx:
                row = cards.get(tx, card)
            self._view.line("\n".join(card_lines(row)), "bold")
            self._card = card

    def _waiting(self) -> int:
        with self._place.ledger.reading() as tx:
            return len(threads.queued(tx, self._setup.thread))

    def _greet(self) -> None:
        settings = self._setup.session.settings
        rule = " (rule-based)" if self._setup.model.is_rule_based else ""
        self._view.line(f"{self._setup.model.id}{rule}. /help lists commands, esc interrupts, Ctrl-D leaves.", "dim")
        if settings.title and self._setup.session.messages():
            self._view.line(f"going on with: {settings.title}", "dim")

    async def _leave(self) -> None:
        """End a turn that runs, with what was said."""
        if self._turn is not None:
            self._setup.interrupt.set()
            await asyncio.wait({self._turn}, timeout=LEAVE_WITHIN_S)

    def _prompt(self) -> "PromptSession[str]":
        from prompt_toolkit import PromptSession
        from prompt_toolkit.history import FileHistory

        file = self._place.workspace.state_dir / HISTORY
        file.touch(mode=0o600)
        return PromptSession(
            history=FileHistory(str(file)),
            completer=self._commands.completer(),
            complete_while_typing=False,
            bottom_toolbar=self._toolbar,
            key_bindings=self._keys(),
        )

    def _toolbar(self) -> str:
        settings, waiting = self._setup.session.settings, self._waiting()
        cost = "unknown" if self._cost is None else plain(self._cost)
        parts = [settings.mode, settings.level, self._setup.model.id, f"…{settings.id[-6:]}", f"{cost} USD"]
        parts += [f"{waiting} queued"] if waiting else []
        parts += [f"{self._busy_with} …"] if self._busy_with else []
        return " · ".join(parts)

    def _keys(self) -> "KeyBindings":
        from prompt_toolkit.key_binding import KeyBindings

        keys = KeyBindings()

        @keys.add("escape")
        def _escape(_event: "KeyPressEvent") -> None:
            if self._turn is not None:
                self._setup.interrupt.set()

        @keys.add("c-c")
        def _interrupt(event: "KeyPressEvent") -> None:
            if self._turn is not None:
                self._setup.interrupt.set()
            elif event.app.current_buffer.text:
                event.app.current_buffer.reset()
            else:
                event.app.exit(exception=KeyboardInterrupt)

        return keys
