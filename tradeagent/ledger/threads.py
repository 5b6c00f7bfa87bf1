"""What is said to minds and what they answered: a thread is one conversation, a message is queued, then run in one turn, then done.

A thread has one turn at a time. Messages that come meanwhile wait, and are run together by the next. Words that stream are in the thread's
transcript file; here are finished messages only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from tradeagent.domain.errors import BusyError, NotFound
from tradeagent.domain.names import Actor, EventKind, MessageState, ThreadKind
from tradeagent.ledger import events
from tradeagent.ledger.minds_schema import messages, threads

MOST_QUEUED = 20
USER, ASSISTANT = "user", "assistant"
_ENDED = (MessageState.DONE.value, MessageState.INTERRUPTED.value)


@dataclass(frozen=True, slots=True)
class ThreadRow:
    """`state` is that of its newest turn. Times UTC ms."""

    id: str
    kind: str
    session: str | None
    deployment: str | None
    state: str
    created_ms: int
    updated_ms: int


@dataclass(frozen=True, slots=True)
class MessageRow:
    """`content` is `{"text", …}`; an answer's also says how its turn ended and which messages it `answers`."""

    thread: str
    seq: int
    role: str
    state: str
    content: dict[str, Any]
    created_ms: int
    done_ms: int | None

    @property
    def text(self) -> str:
        return str(self.content["text"])

    @property
    def is_open(self) -> bool:
        return self.state not in _ENDED


def open_thread(
    tx: Connection, thread: str, kind: ThreadKind, now_ms: int, *, session: str | None = None, deployment: str | None = None
) -> ThreadRow:
    """The thread of that id, made when it is not there."""
    found = tx.execute(select(threads).where(threads.c.id == thread)).first()
    if found is not None:
        return ThreadRow(**found._mapping)
    row = ThreadRow(thread, kind.value, session, deployment, MessageState.DONE.value, now_ms, now_ms)
    tx.execute(insert(threads).values(**asdict(row)))
    return row


def get(tx: Connection, thread: str) -> ThreadRow:
    """NotFound names it."""
    found = tx.execute(select(threads).where(threads.c.id == thread)).first()
    if found is None:
        raise NotFound(f"there is no thread {thread!r}", hint="`tradeagent sessions list` shows the assistant's")
    return ThreadRow(**found._mapping)


def queue(tx: Connection, thread: str, text: str, now_ms: int) -> int:
    """Add a message to be run; its number. BusyError when too many wait."""
    waiting = len(queued(tx, thread))
    if waiting >= MOST_QUEUED:
        raise BusyError(f"{waiting} messages are waiting already", hint="wait for the answer, or interrupt the turn")
    return _add(tx, thread, USER, MessageState.QUEUED, {"text": text}, now_ms)


def queued(tx: Connection, thread: str) -> list[MessageRow]:
    """What waits for a turn, in order."""
    return _found(tx, thread, MessageState.QUEUED)


def withdraw(tx: Connection, thread: str, now_ms: int) -> list[MessageRow]:
    """Take back what waits; the rows."""
    waiting = queued(tx, thread)
    _move(tx, thread, waiting, MessageState.INTERRUPTED, now_ms)
    return waiting


def begin(tx: Connection, thread: str, now_ms: int) -> list[MessageRow]:
    """Take everything that waits into one turn; empty when nothing does. BusyError while a turn of this thread runs."""
    if _found(tx, thread, MessageState.RUNNING):
        raise BusyError(f"thread {thread} has a turn under way", hint="its messages are run after it")
    waiting = queued(tx, thread)
    if waiting:
        _move(tx, thread, waiting, MessageState.RUNNING, now_ms)
        _say(tx, thread, MessageState.RUNNING, now_ms)
    return waiting


def finish(tx: Connection, thread: str, answer: Mapping[str, Any], state: MessageState, now_ms: int) -> int:
    """End the running turn with its answer; the answer's number."""
    running = _found(tx, thread, MessageState.RUNNING)
    _move(tx, thread, running, state, now_ms)
    seq = _add(tx, thread, ASSISTANT, state, {**answer, "answers": [row.seq for row in running]}, now_ms, now_ms)
    _say(tx, thread, state, now_ms, str(answer.get("reason", "")))
    return seq


def interrupt_left(tx: Connection, thread: str, now_ms: int) -> list[MessageRow]:
    """End the turn that a killed process left behind; its messages. What waited still waits."""
    running = _found(tx, thread, MessageState.RUNNING)
    if running:
        _move(tx, thread, running, MessageState.INTERRUPTED, now_ms)
        _say(tx, thread, MessageState.INTERRUPTED, now_ms, MessageState.INTERRUPTED.value)
    return running


def message(tx: Connection, thread: str, seq: int) -> MessageRow:
    """One message; NotFound names it."""
    found = tx.execute(select(messages).where(messages.c.thread == thread, messages.c.seq == seq)).first()
    if found is None:
        raise NotFound(f"thread {thread} has no message {seq}", hint="it was never written")
    return MessageRow(**found._mapping)


def answer_to(tx: Connection, thread: str, seq: int) -> MessageRow | None:
    """The answer of the turn that ran message `seq`; None before it ended, or when it was cut off."""
    query = select(messages).where(messages.c.thread == thread, messages.c.seq > seq, messages.c.role == ASSISTANT)
    rows = (MessageRow(**row._mapping) for row in tx.execute(query.order_by(messages.c.seq)))
    return next((row for row in rows if seq in row.content.get("answers", ())), None)


def said(tx: Connection, thread: str, limit: int) -> list[MessageRow]:
    """The last finished messages, oldest first."""
    query = select(messages).where(messages.c.thread == thread, messages.c.state.in_(_ENDED))
    rows = tx.execute(query.order_by(messages.c.seq.desc()).limit(limit)).all()
    return [MessageRow(**row._mapping) for row in reversed(rows)]


def combined(rows: Sequence[MessageRow]) -> str:
    """Messages of one turn as one text, in the order they came."""
    return "\n\n".join(row.text for row in rows)


def _found(tx: Connection, thread: str, state: MessageState) -> list[MessageRow]:
    query = select(messages).where(messages.c.thread == thread, messages.c.state == state.value).order_by(messages.c.seq)
    return [MessageRow(**row._mapping) for row in tx.execute(query)]


def _add(
    tx: Connection, thread: str, role: str, state: MessageState, content: Mapping[str, Any], now_ms: int, done_ms: int | None = None
) -> int:
    newest = tx.execute(select(func.max(messages.c.seq)).where(messages.c.thread == thread)).scalar_one()
    row = MessageRow(thread, (newest or 0) + 1, role, state.value, dict(content), now_ms, done_ms)
    tx.execute(insert(messages).values(**asdict(row)))
    return row.seq


def _move(tx: Connection, thread: str, rows: Sequence[MessageRow], state: MessageState, now_ms: int) -> None:
    if rows:
        done_ms = now_ms if state.value in _ENDED else None
        chosen = messages.c.seq.in_([row.seq for row in rows])
        tx.execute(update(messages).where(messages.c.thread == thread, chosen).values(state=state.value, done_ms=done_ms))


def _say(tx: Connection, thread: str, state: MessageState, now_ms: int, reason: str = "") -> None:
    """A turn of the thread has begun, or has ended for a `reason`."""
    tx.execute(update(threads).where(threads.c.id == thread).values(state=state.value, updated_ms=now_ms))
    row = get(tx, thread)
    data = {"kind": row.kind, "state": state.value, "session": row.session}
    events.append(tx, EventKind.THREAD_STATE, now_ms, deployment=row.deployment, actor=Actor.SYSTEM, subject=thread, data=data)
    is_begun = state is MessageState.RUNNING
    turn, kind = (
        {"kind": row.kind} | ({} if is_begun else {"reason": reason}),
        EventKind.TURN_STARTED if is_begun else EventKind.TURN_FINISHED,
    )
    events.append(tx, kind, now_ms, deployment=row.deployment, actor=Actor.SYSTEM, subject=thread, data=turn)
