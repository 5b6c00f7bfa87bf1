"""Answers of models kept on disk, so that asking the same again costs nothing and gives the same: a store, and a model around a model.

What is kept is the stream of deltas of an answer that ended well. Keys and headers are no part of a request as a model sees it, so no
secret of a provider can be in here.
"""

import asyncio
import hashlib
import json
import sqlite3
import threading
import zlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import asdict, replace
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from tradeagent.domain.errors import ModelError, TradeAgentError
from tradeagent.llm.contract import Message, Model, ModelDelta, ToolCall, ToolSpec
from tradeagent.llm.usage import ZERO_USD, Usage
from tradeagent.workspace.locks import file_lock

FORMAT = 1
MIB = 2**20
_SCHEMA = "CREATE TABLE answers (key TEXT PRIMARY KEY, seq INTEGER NOT NULL UNIQUE, model TEXT NOT NULL, deltas BLOB NOT NULL)"
_EVICTED_AT_ONCE = 64
_LARGEST_ANSWER = 4 * MIB
T = TypeVar("T")


class CacheMode(StrEnum):
    """`read` asks the model on a miss, `write` always asks and keeps, `replay` never asks: a miss is an error."""

    OFF = "off"
    READ = "read"
    WRITE = "write"
    READ_WRITE = "read_write"
    REPLAY = "replay"


def request_key(
    model_id: str, parameters: Mapping[str, Any], messages: Sequence[Message], tools: Sequence[ToolSpec], *, max_tokens: int
) -> str:
    """SHA-256 of everything that a model's answer depends on."""
    asked = {
        "model": model_id,
        "parameters": {**parameters, "max_tokens": max_tokens},
        "messages": [asdict(message) for message in messages],
        "tools": [[tool.name, tool.description, tool.parameters] for tool in tools],
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class AnswerStore:
    """Answers by key in a SQLite file that any number of processes may use; above `max_bytes` the oldest answers leave.

    A damaged file is set aside and `warn` is told; what it held can be asked again. Any other trouble of the disk is told once and counts
    as a miss: no turn fails because of its cache.
    """

    def __init__(self, file: Path, max_bytes: int, warn: Callable[[str], None]) -> None:
        self._db: sqlite3.Connection | None = None
        self._file = file
        self._max_bytes = max_bytes
        self._warn = warn
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def get(self, key: str) -> list[ModelDelta] | None:
        """The deltas kept under `key`; None when there are none that can be read."""
        row = self._use(lambda db: db.execute("SELECT deltas FROM answers WHERE key = ?", (key,)).fetchone())
        if row is None:
            return None
        try:
            return [_delta_in(item) for item in json.loads(zlib.decompress(row[0]))]
        except (zlib.error, ValueError, TypeError, LookupError, AttributeError):
            self._tell("an answer could not be read and was dropped")
            self._use(lambda db: db.execute("DELETE FROM answers WHERE key = ?", (key,)))
            return None

    def put(self, key: str, model_id: str, deltas: Sequence[ModelDelta]) -> None:
        """Keep an answer durably, unless it alone is too large."""
        data = zlib.compress(json.dumps([_delta_out(delta) for delta in deltas], separators=(",", ":")).encode())
        if len(data) <= min(_LARGEST_ANSWER, self._max_bytes // 4):
            self._use(lambda db: self._insert(db, key, model_id, data))

    def __len__(self) -> int:
        row = self._use(lambda db: db.execute("SELECT count(*) FROM answers").fetchone())
        return int(row[0]) if row else 0

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def __del__(self) -> None:
        self.close()

    def _insert(self, db: sqlite3.Connection, key: str, model_id: str, data: bytes) -> None:
        with db:
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT OR REPLACE INTO answers SELECT ?, coalesce(max(seq), 0) + 1, ?, ? FROM answers", (key, model_id, data))
            while _used_bytes(db) > self._max_bytes:
                oldest = "DELETE FROM answers WHERE seq IN (SELECT seq FROM answers WHERE key != ? ORDER BY seq LIMIT ?)"
                if not db.execute(oldest, (key, _EVICTED_AT_ONCE)).rowcount:
                    break

    def _use(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Do one thing with the file; None when it cannot be done. One thread at a time: they share the connection."""
        with self._lock:
            try:
                if self._db is None:
                    self._db = self._open()
                return work(self._db)
            except sqlite3.OperationalError as error:  # busy, full, read-only, gone: nothing is damaged
                self._tell(f"{error}; going on without it")
                self.close()
            except sqlite3.DatabaseError as error:
                self.close()
                try:
                    self._set_aside(error)
                except (TradeAgentError, OSError) as trouble:
                    self._tell(f"damaged, and it cannot be set aside: {trouble}")
            except OSError as error:
                self._tell(f"{error.strerror}; going on without it")
        return None

    def _open(self) -> sqlite3.Connection:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self._file, isolation_level=None, timeout=10.0, check_same_thread=False)
        try:
            found = int(db.execute("PRAGMA user_version").fetchone()[0])
            if found > FORMAT:
                raise sqlite3.DatabaseError(f"format {found}, this version knows {FORMAT}")
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            if found < FORMAT:
                with db:
                    db.execute("BEGIN IMMEDIATE")
                    if int(db.execute("PRAGMA user_version").fetchone()[0]) < FORMAT:
                        db.execute(_SCHEMA)
                        db.execute(f"PRAGMA user_version={FORMAT}")
        except BaseException:
            db.close()
            raise
        return db

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        """Rename the damaged file, unless another process has done so; the next use makes a new one."""
        with file_lock(self._file.with_name(f"{self._file.name}.lock")):
            if self._is_sound():
                return
            aside = self._file.with_name(f"{self._file.name}.damaged")
            self._file.replace(aside)
            for suffix in ("-wal", "-shm"):
                self._file.with_name(f"{self._file.name}{suffix}").unlink(missing_ok=True)
        self._tell(f"damaged ({error}): set aside as {aside.name}, answers are kept anew")

    def _is_sound(self) -> bool:
        try:
            with closing(self._open()) as db:
                return bool(db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
        except sqlite3.DatabaseError:
            return False

    def _tell(self, problem: str) -> None:
        if problem not in self._told:
            self._told.add(problem)
            self._warn(f"response cache {self._file.name}: {problem}")


def _used_bytes(db: sqlite3.Connection) -> int:
    pages, free, size = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count", "page_size"))
    return (pages - free) * size


class CachedModel:
    """`model` with its answers kept in `store`. `parameters` is what else its answer depends on, like the address it is asked at."""

    def __init__(self, model: Model, store: AnswerStore, mode: CacheMode, parameters: Mapping[str, Any] | None = None) -> None:
        self._model = model
        self._store = store
        self._mode = mode
        self._parameters = dict(parameters or {})

    @property
    def id(self) -> str:
        return self._model.id

    @property
    def is_rule_based(self) -> bool:
        return self._model.is_rule_based

    async def estimate_usd(self, messages: Sequence[Message], max_tokens: int, tools: Sequence[ToolSpec] = ()) -> Decimal | None:
        """Nothing when the answer is there already, so that a spent budget does not stop what costs nothing."""
        if self._mode is CacheMode.REPLAY or await self._kept(self._key(messages, tools, max_tokens)) is not None:
            return ZERO_USD
        return await self._model.estimate_usd(messages, max_tokens, tools)

    async def stream(self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, max_tokens: int) -> AsyncGenerator[ModelDelta, None]:
        key = self._key(messages, tools, max_tokens)
        kept = await self._kept(key)
        if kept is not None:
            for delta in kept:
                yield delta
            return
        if self._mode is CacheMode.REPLAY:
            raise ModelError(
                f"{self.id}: this request is not in the response cache, and replay never asks a model",
                hint="record it first: tradeagent config set model_cache.mode read_write",
                details={"model": self.id, "retryable": False, "cache": "miss"},
            )
        heard: list[ModelDelta] = []
        async with aclosing(self._model.stream(messages, tools, max_tokens=max_tokens)) as answer:
            async for delta in answer:
                heard.append(delta)
                yield delta
        if self._mode in (CacheMode.WRITE, CacheMode.READ_WRITE):
            await asyncio.to_thread(self._store.put, key, self.id, heard)

    async def _kept(self, key: str) -> list[ModelDelta] | None:
        """The answer kept under `key`, with a usage that says it cost nothing."""
        if self._mode in (CacheMode.OFF, CacheMode.WRITE):
            return None
        kept = await asyncio.to_thread(self._store.get, key)
        if kept is None:
            return None
        if all(delta.usage is None for delta in kept):
            kept.append(ModelDelta(usage=Usage(estimated=True)))
        return [replace(d, usage=replace(d.usage, cost_usd=ZERO_USD, cached_calls=1)) if d.usage else d for d in kept]

    def _key(self, messages: Sequence[Message], tools: Sequence[ToolSpec], max_tokens: int) -> str:
        return request_key(self.id, self._parameters, messages, tools, max_tokens=max_tokens)


def _delta_out(delta: ModelDelta) -> dict[str, Any]:
    """Only what is set, in short names that stay."""
    data: dict[str, Any] = {"t": delta.text, "r": delta.reasoning, "d": delta.done}
    if delta.tool_call is not None:
        data["c"] = [delta.tool_call.id, delta.tool_call.name, delta.tool_call.arguments]
    if (usage := delta.usage) is not None:
        data["u"] = [usage.tokens_in, usage.tokens_out, usage.estimated]
    return {name: value for name, value in data.items() if value}


def _delta_in(data: Mapping[str, Any]) -> ModelDelta:
    call, usage = data.get("c"), data.get("u")
    return ModelDelta(
        text=data.get("t", ""),
        reasoning=data.get("r", ""),
        tool_call=ToolCall(*call) if call else None,
        usage=Usage(usage[0], usage[1], estimated=usage[2]) if usage else None,
        done=data.get("d"),
    )
