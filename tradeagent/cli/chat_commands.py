"""The slash commands of a conversation on the terminal: settings of the session, what it can do, cards, skills, notes, cost."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from tradeagent.assistant.sessions import Sessions
from tradeagent.assistant.skills import Skills, popped, pushed
from tradeagent.cli.chat_view import ChatView, card_lines
from tradeagent.domain.clock import iso
from tradeagent.domain.errors import InvalidInput
from tradeagent.domain.money import plain
from tradeagent.domain.names import CardState, Experience, Mode
from tradeagent.ledger import cards
from tradeagent.runtime.assistant import ChatRequest, assistant_model
from tradeagent.runtime.place import Place
from tradeagent.tools.registry import desk_tools
from tradeagent.turns.assistant import AssistantSetup

if TYPE_CHECKING:
    from prompt_toolkit.completion import Completer

_SHOWN = 15


@dataclass(frozen=True, slots=True)
class Leave:
    """The end of this conversation, and which one comes next."""

    to: ChatRequest | None


@dataclass(frozen=True, slots=True)
class Command:
    """One slash command: what may follow it, and what it does."""

    usage: str
    does: str
    choices: Callable[[], Iterable[str]] = tuple


class Commands:
    """What the lines that begin with `/` do in one conversation."""

    def __init__(self, place: Place, setup: AssistantSetup, view: ChatView, cost: Callable[[], Decimal | None]) -> None:
        self._place = place
        self._setup = setup
        self._view = view
        self._spent = cost
        self._run: Mapping[str, Callable[[str], Awaitable[Leave | None]]] = {name: getattr(self, f"_{name}") for name in self.table()}

    def table(self) -> dict[str, Command]:
        """Every command by name."""
        return {
            "mode": Command("[MODE]", "what the assistant does and sees", lambda: list(Mode)),
            "level": Command("[LEVEL]", "how much it explains", lambda: list(Experience)),
            "model": Command("[ID]", "who answers, from the next turn on", lambda: ["offline/assistant"]),
            "focus": Command("[TEXT]", "what the conversation is about"),
            "session": Command("[ID]", "list conversations, or go on with one", lambda: [each.id for each in self._sessions().all()]),
            "new": Command("", "begin another conversation"),
            "tools": Command("", "what the assistant can call now"),
            "cards": Command("", "prepared actions that wait for you"),
            "confirm": Command("[ID]", "do what a card says", self._waiting_cards),
            "dismiss": Command("[ID]", "throw a card away", self._waiting_cards),
            "skills": Command("[push NAME | pop]", "pages of instructions it follows", lambda: ["push", "pop"]),
            "memory": Command("[PATH]", "notes, or one of them"),
            "cost": Command("", "what this conversation has cost since it was opened"),
            "help": Command("", "this list"),
            "quit": Command("", "leave; what was said is kept"),
        }

    async def run(self, line: str) -> Leave | None:
        """Do what a line says. InvalidInput for a command that is none."""
        name, _, rest = line[1:].partition(" ")
        if name not in self._run:
            raise InvalidInput(f"/{name} is no command", hint=f"one of {', '.join(f'/{each}' for each in self._run)}")
        return await self._run[name](rest.strip())

    async def confirm(self, card: str) -> None:
        """Commit a card through the one function that can, and say what came of it."""
        from tradeagent.cli.card_text import card_text
        from tradeagent.runtime.cards import commit

        with self._place.ledger.reading() as tx:
            shown = cards.get(tx, card)
        done = await asyncio.to_thread(lambda: commit(self._place, shown.id, shown=shown.hash))
        self._view.line(card_text(done))

    async def dismiss(self, card: str) -> None:
        """Throw a card away."""
        from tradeagent.runtime.cards import dismiss

        await asyncio.to_thread(dismiss, self._place, card)
        self._view.line(f"card {card} is dismissed", "dim")

    def completer(self) -> "Completer":
        """Completes command names, and what may follow them."""
        from prompt_toolkit.completion import NestedCompleter, WordCompleter

        def after(command: Command) -> "Completer | None":
            return None if command.choices is tuple else WordCompleter(lambda: [str(each) for each in command.choices()])

        return NestedCompleter({f"/{name}": after(command) for name, command in self.table().items()})

    async def _mode(self, text: str) -> None:
        self._change("mode", text, [mode.value for mode in Mode])

    async def _level(self, text: str) -> None:
        self._change("level", text, [level.value for level in Experience])

    async def _focus(self, text: str) -> None:
        self._setup.session.change(focus=text)
        self._view.line(f"focus: {text or 'none'}", "dim")

    async def _model(self, text: str) -> None:
        if text:
            self._setup.model = assistant_model(self._place, text)
            self._setup.session.change(model=text)
        label = " (rule-based)" if self._setup.model.is_rule_based else ""
        self._view.line(f"model: {self._setup.model.id}{label}", "dim")

    async def _session(self, text: str) -> Leave | None:
        if text:
            return Leave(ChatRequest(session=self._sessions().get(text).id))
        rows = [f"{each.id}  {each.mode}  {each.title}" for each in self._sessions().all()[:_SHOWN]]
        self._view.line("\n".join(rows))
        return None

    async def _new(self, _text: str) -> Leave:
        settings = self._setup.session.settings
        return Leave(ChatRequest(None, settings.mode, settings.level, self._setup.model.id))

    async def _tools(self, _text: str) -> None:
        mode = Mode(self._setup.session.settings.mode)
        rows = [f"{tool.name}: {tool.description}" for tool in desk_tools(mode, self._setup.desk.loaded)]
        self._view.line("\n".join([f"mode {mode.value}; find_tools adds families to these", *rows]))

    async def _cards(self, _text: str) -> None:
        with self._place.ledger.reading() as tx:
            waiting = cards.listed(tx, state=CardState.WAITING)
        lines = [line for card in waiting[:_SHOWN] for line in card_lines(card)]
        self._view.line("\n".join(lines) or "no card waits")

    async def _confirm(self, text: str) -> None:
        await self.confirm(self._one_card(text))

    async def _dismiss(self, text: str) -> None:
        await self.dismiss(self._one_card(text))

    async def _skills(self, text: str) -> None:
        skills, session = Skills(self._place.workspace), self._setup.session
        verb, _, name = text.partition(" ")
        if verb == "push" and name:
            session.change(skills=pushed(session.settings.skills, skills.load(name.strip()).name))
        elif verb == "pop":
            session.change(skills=popped(session.settings.skills)[0])
        elif text:
            raise InvalidInput(f"/skills {text}: say push NAME or pop", hint="/skills alone lists them")
        known, broken = skills.all()
        self._view.line("\n".join(f"{skill.name}: {skill.description} ({skill.tokens} tokens)" for skill in known))
        for each in broken:
            self._view.line(f"{each.name}: {each.error.message}", "red")
        self._view.line(f"active, top first: {', '.join(reversed(session.settings.skills)) or 'none'}", "dim")

    async def _memory(self, text: str) -> None:
        memory = self._setup.desk.memory
        assert memory is not None
        if text:
            self._view.markdown((await asyncio.to_thread(memory.read, text)).text)
            return
        listing = await asyncio.to_thread(memory.notes)
        rows = [f"{entry.path}  {entry.size} bytes  {iso(entry.modified_ms)}" for entry in listing.entries[:50]]
        self._view.line("\n".join(rows) or "no notes yet")

    async def _cost(self, _text: str) -> None:
        cost = self._spent()
        self._view.line(f"cost since this was opened: {'unknown' if cost is None else plain(cost)} USD; all: tradeagent usage", "dim")

    async def _help(self, _text: str) -> None:
        rows = [f"/{name} {command.usage}".ljust(28) + command.does for name, command in self.table().items()]
        self._view.line("\n".join([*rows, "Anything else is a message.", "During a turn it is queued; esc or Ctrl-C interrupts the turn."]))

    async def _quit(self, _text: str) -> Leave:
        return Leave(None)

    def _change(self, key: str, value: str, known: list[str]) -> None:
        if value:
            self._setup.session.change(**{key: value})
        self._view.line(f"{key}: {getattr(self._setup.session.settings, key)} (of {', '.join(known)})", "dim")

    def _one_card(self, text: str) -> str:
        """The card that is named, or the only one that waits."""
        waiting = self._waiting_cards()
        if text or len(waiting) == 1:
            return text or waiting[0]
        problem = "no card waits" if not waiting else f"{len(waiting)} cards wait"
        raise InvalidInput(problem, hint="/cards shows them, /confirm ID takes one")

    def _waiting_cards(self) -> list[str]:
        with self._place.ledger.reading() as tx:
            return [card.id for card in cards.listed(tx, state=CardState.WAITING)]

    def _sessions(self) -> Sessions:
        return Sessions(self._place.workspace, self._place.clock)
