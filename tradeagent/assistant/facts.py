"""Short facts about the user that every conversation starts with: one line each in `memory/user/facts.md`, which a person may edit.

They are data to a model and enter its prompt as such: a line can claim anything, so nothing is allowed because of one.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from tradeagent.agents.text import one_line
from tradeagent.assistant.memory import Memory
from tradeagent.domain.clock import Clock, to_datetime
from tradeagent.domain.errors import BusyError, InvalidInput, NotFound
from tradeagent.llm.untrusted import untrusted

PATH = "user/facts.md"
MAX_FACTS = 100
MAX_CHARACTERS = 300
ATTEMPTS = 5
ID_LENGTH = 6
_HEAD = "# Facts\n\nWhat the assistant should know about you, one line each. Edit or delete lines as you like.\n\n"
_LINE = re.compile(r"[-*] (?:\[(?P<date>\d{4}-\d\d-\d\d) (?P<id>[0-9a-f]{6})\] )?(?P<text>\S.*)")
_WORD = re.compile(r"[^\W_]+")
# A private key, a key of a model or of this product, the words before a secret: never in a file that enters every prompt.
_SECRET = re.compile(
    r"0x[0-9a-f]{64}|\b[0-9a-f]{64}\b|\b(sk|pk|tat|xox[a-z]|ghp)[-_][\w-]{16,}|-----BEGIN [A-Z ]*PRIVATE KEY", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Fact:
    """One line; `date` is empty when a person wrote it without one."""

    id: str
    date: str
    text: str


@dataclass(frozen=True, slots=True)
class Remembered:
    """A fact that is kept now; `is_new` False: it was there already."""

    fact: Fact
    is_new: bool


class Facts:
    """The facts of one workspace."""

    def __init__(self, memory: Memory, clock: Clock) -> None:
        self._memory = memory
        self._clock = clock

    def all(self) -> tuple[Fact, ...]:
        """Every fact in the order of the file, the first `MAX_FACTS`, each cut to its limit."""
        return tuple(fact for _, fact in _facts(self._text()[0]))[:MAX_FACTS]

    def remember(self, text: str) -> Remembered:
        """Keep a fact, unless the same words are there. Raises InvalidInput for no words, too many, a secret, or a full file."""
        said = one_line(text, len(text))
        if not _words(said):
            raise InvalidInput("text: a fact needs words", hint="like: prefers UTC times", details={"field": "text"})
        if len(said) > MAX_CHARACTERS:
            problem = f"text: {len(said)} characters, a fact has at most {MAX_CHARACTERS}"
            raise InvalidInput(problem, hint="shorten it, or write a note with memory_write", details={"field": "text"})
        if _SECRET.search(said):
            raise InvalidInput("text: it looks like a key", hint="keep keys in the environment or the keyring, never here")
        made = Fact(_id_of(said), to_datetime(self._clock.now_ms()).strftime("%Y-%m-%d"), said)
        present: Fact | None = None

        def with_it(before: str) -> str:
            nonlocal present
            known = [fact for _, fact in _facts(before)]
            present = next((fact for fact in known if _words(fact.text) == _words(said)), None)
            if present:
                return before
            if len(known) >= MAX_FACTS:
                raise InvalidInput(f"there are {len(known)} facts, the most that are kept", hint=f"forget one first, or edit memory/{PATH}")
            start = before or _HEAD
            return f"{start}{'' if start.endswith(chr(10)) else chr(10)}- [{made.date} {made.id}] {made.text}\n"

        self._edit(with_it)
        return Remembered(present or made, present is None)

    def forget(self, number: str) -> Fact:
        """Remove a fact by its id. Raises NotFound, which lists the ids there are."""
        gone: Fact | None = None

        def without_it(before: str) -> str:
            nonlocal gone
            known = _facts(before)
            index, gone = next(((index, fact) for index, fact in known if fact.id == number), (-1, None))
            if gone is None:
                ids = ", ".join(fact.id for _, fact in known) or "none"
                raise NotFound(f"there is no fact {one_line(number, 40)!r}", hint=f"ids: {ids}", details={"id": one_line(number, 40)})
            lines = before.split("\n")
            return "\n".join([*lines[:index], *lines[index + 1 :]])

        self._edit(without_it)
        assert gone is not None
        return gone

    def for_prompt(self) -> str:
        """The facts as lines `- (id) text`, in the envelope of text from outside; empty without one."""
        lines = "\n".join(f"- ({fact.id}) {fact.text}" for fact in self.all())
        return untrusted("memory/user/facts.md", lines, MAX_FACTS * (MAX_CHARACTERS + 12)) if lines else ""

    def _edit(self, change: Callable[[str], str]) -> None:
        """Rewrite the file, again when a person or another session was quicker."""
        for _ in range(ATTEMPTS):
            before, version = self._text()
            after = change(before)
            if after == before:
                return
            try:
                self._memory.write(PATH, after, expected=version)
            except BusyError:
                continue
            return
        raise BusyError(f"memory/{PATH} keeps changing", hint="save it once and try again")

    def _text(self) -> tuple[str, str | None]:
        """The file and its hash; nothing and None without one."""
        try:
            found = self._memory.read(PATH)
        except NotFound:
            return "", None
        return found.text, found.hash


def _facts(text: str) -> list[tuple[int, Fact]]:
    """(line index, fact) of every list item; an id that is missing, or there twice, follows from the words."""
    found: list[tuple[int, Fact]] = []
    taken: set[str] = set()
    for index, line in enumerate(text.split("\n")):
        if match := _LINE.fullmatch(line.strip()):
            said = one_line(match["text"], MAX_CHARACTERS)
            number = match["id"] if match["id"] and match["id"] not in taken else _id_of(said)
            taken.add(number)
            found.append((index, Fact(number, match["date"] or "", said)))
    return found


def _id_of(text: str) -> str:
    return hashlib.sha256(" ".join(sorted(_words(text))).encode("utf-8", "replace")).hexdigest()[:ID_LENGTH]


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.casefold()))
