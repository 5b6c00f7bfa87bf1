"""Conversations on disk: `sessions/<id>/` with the settings, the records of what was said and done, a readable transcript and a scratchpad.

Records are appended whole as things happen, so that `kill -9` costs at most the line that was being written, which the next opening takes
away. The assistant's model reaches the scratchpad only.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from tradeagent.assistant.search import Found, Stamp, TextIndex
from tradeagent.assistant.session_records import Parsed, Record, messages_of, parse_records, turn_records
from tradeagent.assistant.session_text import UNTITLED, exported, heading, marked, title_of
from tradeagent.domain.clock import Clock, iso, to_ms, ulid_ms
from tradeagent.domain.errors import BusyError, InvalidInput, NotFound, TradeAgentError
from tradeagent.llm.contract import Message, TextDelta, TurnEvent
from tradeagent.workspace.files import disk_errors, encode, write_all
from tradeagent.workspace.locks import file_lock
from tradeagent.workspace.paths import Workspace
from tradeagent.workspace.plain_text import visible
from tradeagent.workspace.transcript import Transcript
from tradeagent.workspace.tree import Tree

FOLDER = "sessions"
SETTINGS, RECORDS, READABLE, SCRATCH = "session.json", "transcript.jsonl", "transcript.md", "scratch"
INDEX_NAME = "sessions.sqlite"
LAST = "last"
MODES = ("research", "authoring", "coach", "ops")
LEVELS = ("beginner", "intermediate", "expert")
_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a conversation is: `focus` is what it is about, `skills` the stack, its top last. Times are UTC ms."""

    id: str
    title: str = UNTITLED
    mode: str = "research"
    level: str = "intermediate"
    model: str = ""
    focus: str = ""
    skills: tuple[str, ...] = ()
    created_ms: int = 0
    updated_ms: int = 0

    def as_dict(self) -> dict[str, Any]:
        data = asdict(self)
        times = {"created_at": iso(data.pop("created_ms")), "updated_at": iso(data.pop("updated_ms"))}
        return data | {"skills": list(self.skills)} | times


class Session:
    """One conversation that this process has open, alone. Made by `Sessions.create` and `Sessions.open`."""

    def __init__(self, settings: Settings, tree: Tree, scratch: Tree, clock: Clock, end: str) -> None:
        self.settings = settings
        self.scratch = scratch
        self._tree = tree
        self._clock = clock
        self._readable = Transcript(tree.root / READABLE, clock, live=True)
        self._end = end
        self._arguments: dict[str, str] = {}
        self._is_changed = False

    def ask(self, text: str) -> None:
        """Record what the user said; the first words of the first message become the title."""
        if self.settings.title == UNTITLED:
            self.settings = replace(self.settings, title=title_of(text))
        self._record({"kind": "message", "role": "user", "content": text})
        at = self._now()
        self._block(heading("You", at))
        self._say(text.strip("\n") + "\n")
        self._block(heading("Assistant", at))
        self.finish()

    def take(self, event: TurnEvent) -> None:
        """Record an event of the turn: words are streamed to the readable transcript, what is finished becomes a record."""
        if isinstance(event, TextDelta):
            self._say(event.text)
            return
        for record in turn_records(event, self._arguments):
            self._record(record)
            self._block(marked(record))

    def interrupted(self) -> None:
        """Record that the turn before this one was cut off."""
        record = {"kind": "turn", "reason": "interrupted", "tool_calls": 0, "detail": "the process ended"}
        self._record(record)
        self._block(marked(record))

    def finish(self) -> None:
        """Bring everything of a turn to the files; call it when the turn has ended, however it did."""
        self._readable.flush()
        if self._is_changed:
            self.settings = replace(self.settings, updated_ms=self._clock.now_ms())
            _write_settings(self._tree, self.settings)
            self._is_changed = False

    def card(self, number: str, title: str, data: Mapping[str, Any]) -> None:
        """Record a confirm card that was rendered, by its id."""
        record = {"kind": "card", "id": number, "title": title, "card": dict(data)}
        self._record(record)
        self._block(marked(record))

    def change(self, **changes: Any) -> None:
        """Other settings from now on: title, mode, level, model, focus, skills. Raises InvalidInput for an unknown mode or level."""
        wanted = checked(replace(self.settings, **changes))
        differ = {key: value for key, value in changes.items() if getattr(self.settings, key) != value}
        if differ:
            self.settings = wanted
            record = {"kind": "change", **differ}
            self._record(record)
            self._block(marked(record))
            self.finish()

    def messages(self) -> tuple[Message, ...]:
        """The conversation so far, as a model is given it: every call answered."""
        return messages_of(parse_records(_bytes_of(self._tree)).records)

    def _record(self, record: Record) -> None:
        line = json.dumps({"at": self._now(), **record}, ensure_ascii=False, default=str) + "\n"
        with self._tree.opened(RECORDS, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as descriptor, disk_errors(self._tree.root / RECORDS):
            write_all(descriptor, encode(line))
        self._is_changed = True

    def _say(self, text: str) -> None:
        text = visible(text)
        self._readable.say(text)
        self._end = (self._end + text)[-2:]

    def _block(self, text: str) -> None:
        """Lines of ours, one blank line before and after them."""
        if text:
            gap = "" if self._end == "\n\n" else "\n" if self._end.endswith("\n") else "\n\n"
            self._readable.add(f"{gap}{text}\n\n")
            self._end = "\n\n"

    def _now(self) -> str:
        return str(iso(self._clock.now_ms()))


class Sessions:
    """The conversations of one workspace."""

    def __init__(self, workspace: Workspace, clock: Clock) -> None:
        self._workspace = workspace
        self._clock = clock
        self._index = TextIndex(workspace.state_dir / INDEX_NAME, _Transcripts(self))

    @contextmanager
    def create(self, **settings: Any) -> Iterator[Session]:
        """A new conversation, open. Settings as `Settings`; errors as `open`."""
        now = self._clock.now_ms()
        made = checked(replace(Settings(self._clock.new_id(), created_ms=now, updated_ms=now), **settings))
        _write_settings(self.tree(made.id), made)
        with self.open(made.id) as session:
            yield session

    @contextmanager
    def open(self, session: str) -> Iterator[Session]:
        """A conversation to go on with, held alone until the end of the block. Raises NotFound, BusyError, and the errors of the disk."""
        name = self.get(session).id
        tree = self.tree(name)
        with self._held(name):
            is_cut_off, end = _repair(tree)
            opened = Session(self._settings(name), tree, self.scratch(name), self._clock, end)
            if is_cut_off:
                opened.interrupted()
            try:
                yield opened
            finally:
                opened.finish()

    def all(self) -> list[Settings]:
        """Every conversation, the one used last first; one whose settings cannot be read is there with what is known."""
        found = [self._settings(session) for session in self.ids()]
        return sorted(found, key=lambda settings: (settings.updated_ms, settings.id), reverse=True)

    def get(self, name: str) -> Settings:
        """One conversation by its id, a part of it that no other has, or `last`. Raises NotFound or InvalidInput."""
        known = self.ids()
        if name == LAST and known:
            return self.all()[0]
        matching = [session for session in known if name and name.upper() in session]
        exact = name.upper()
        if exact in matching or len(matching) == 1:
            return self._settings(exact if exact in matching else matching[0])
        if matching:
            raise InvalidInput(
                f"session: {name!r} is a part of {len(matching)} ids", hint="give more of it", details={"ids": matching[:20]}
            )
        hint = "tradeagent sessions list" if known else "there is none yet; a chat makes one"
        raise NotFound(f"there is no session {name[:40]!r}", hint=hint, details={"session": name[:40]})

    def records(self, session: str) -> Parsed:
        """What was said and done, oldest first."""
        return parse_records(_bytes_of(self.tree(session)))

    def export(self, session: str) -> str:
        """One conversation as a markdown page."""
        return exported(self.get(session).as_dict(), self.records(session).records)

    def search(self, query: str, *, limit: int = 10) -> Found:
        """Conversations in which the words were said, best first; `key` of a hit is the session's id. Errors as `TextIndex.search`."""
        return self._index.search(query, limit=limit)

    def remove(self, session: str) -> None:
        """Delete a conversation with its scratchpad. Raises BusyError while a process has it open, and the errors of the disk."""
        name = self.get(session).id
        folder = self.tree(name)
        with self._held(name):
            folder.listing()  # a link on the way is refused before anything is deleted behind it
            with disk_errors(folder.root):
                shutil.rmtree(folder.root)
        self._lock(name).unlink(missing_ok=True)

    def scratch(self, session: str) -> Tree:
        """The scratchpad of one conversation: any text files, in the bounds of `workspace.tree`."""
        return Tree(self._workspace.root, f"{FOLDER}/{session}/{SCRATCH}", self._workspace.locks_dir / "scratch.lock", durable=False)

    def close(self) -> None:
        """Let go of the index."""
        self._index.close()

    def tree(self, session: str) -> Tree:
        """The folder of one conversation."""
        return Tree(self._workspace.root, f"{FOLDER}/{session}", self._workspace.locks_dir / "sessions.lock", durable=False)

    def ids(self) -> list[str]:
        """Every folder that is named like a conversation, in no order."""
        try:
            return [folder.name for folder in self._workspace.sessions_dir.iterdir() if _ID.fullmatch(folder.name)]
        except FileNotFoundError:
            return []

    def _settings(self, session: str) -> Settings:
        """From the file, or, where it is missing or damaged, from the id and the records."""
        with suppress(TradeAgentError, ValueError, TypeError, KeyError):
            return _settings_of(session, json.loads(self.tree(session).read(SETTINGS).text))
        asked = ""
        with suppress(TradeAgentError):
            asked = next((message.content for message in messages_of(self.records(session).records) if message.role == "user"), "")
        made = ulid_ms(session)
        return Settings(session, title_of(asked), created_ms=made, updated_ms=made)

    @contextmanager
    def _held(self, session: str) -> Iterator[None]:
        with ExitStack() as held:
            try:
                held.enter_context(file_lock(self._lock(session), 0))
            except BusyError:
                hint = "close it there, or start another: a session has one writer at a time"
                raise BusyError(f"session {session} is open in another process", hint=hint, details={"session": session}) from None
            yield

    def _lock(self, session: str) -> Path:
        return self._workspace.locks_dir / f"session-{session}.lock"


class _Transcripts:
    """The conversations as documents of the index: what both sides said, under the title."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def stamps(self) -> dict[str, Stamp]:
        """What tells the state of each conversation's records."""
        found: dict[str, Stamp] = {}
        for session in self._sessions.ids():
            with suppress(TradeAgentError), self._sessions.tree(session).opened(RECORDS, os.O_RDONLY) as descriptor:
                state = os.fstat(descriptor)
                found[session] = state.st_ino, state.st_size, state.st_mtime_ns
        return found

    def text(self, session: str) -> str:
        """Everything said in one."""
        messages = [message.content for message in messages_of(self._sessions.records(session).records) if message.role != "tool"]
        return "\n\n".join((f"# {self._sessions.get(session).title}", *messages))

    def close(self) -> None:
        """Nothing is kept open."""


def checked(settings: Settings) -> Settings:
    """The settings, when mode and level are known. Raises InvalidInput with the choices."""
    for field, value, known in (("mode", settings.mode, MODES), ("level", settings.level, LEVELS)):
        if value not in known:
            raise InvalidInput(f"{field}: {value!r} is not known", hint=f"one of {', '.join(known)}", details={"field": field})
    return settings


def _write_settings(tree: Tree, settings: Settings) -> None:
    tree.write(SETTINGS, json.dumps(settings.as_dict(), indent=2) + "\n")


def _settings_of(session: str, data: Mapping[str, Any]) -> Settings:
    times = {f"{name}_ms": to_ms(datetime.fromisoformat(data[f"{name}_at"])) for name in ("created", "updated")}
    texts = {name: str(data[name]) for name in ("title", "mode", "level", "model", "focus")}
    return checked(Settings(session, **texts, skills=tuple(map(str, data["skills"])), **times))  # type: ignore[arg-type]


def _repair(tree: Tree) -> tuple[bool, str]:
    """Take a torn last line away, as a killed writer leaves it: whether the last turn was cut off, and how the readable transcript ends."""
    with tree.opened(RECORDS, os.O_RDWR | os.O_CREAT) as descriptor, disk_errors(tree.root / RECORDS):
        parsed = parse_records(data := _all_of(descriptor))
        if parsed.torn:
            os.ftruncate(descriptor, len(data) - parsed.torn)
        elif parsed.lacks_newline:
            os.write(descriptor, b"\n")
    with tree.opened(READABLE, os.O_RDWR | os.O_CREAT) as descriptor:
        size = os.fstat(descriptor).st_size
        end = os.pread(descriptor, 2, max(0, size - 2)).decode("utf-8", "replace") if size else "\n\n"
    last = next((record["kind"] for record in reversed(parsed.records) if record["kind"] not in ("card", "change")), "turn")
    return bool(parsed.torn) or last != "turn", end


def _bytes_of(tree: Tree) -> bytes:
    try:
        with tree.opened(RECORDS, os.O_RDONLY) as descriptor:
            return _all_of(descriptor)
    except NotFound:
        return b""


def _all_of(descriptor: int) -> bytes:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        return file.read()
