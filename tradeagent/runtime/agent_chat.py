"""Talking with a run: a message is a row that its runner answers; where nobody runs it, the same turn reads only and happens here."""

from collections.abc import Callable

from tradeagent.domain.clock import iso
from tradeagent.domain.errors import BusyError, InvalidInput, RefusedError
from tradeagent.domain.names import RunMode, ThreadKind
from tradeagent.ledger import runs, threads
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.ledger.threads import MessageRow
from tradeagent.llm.contract import TurnEvent
from tradeagent.runtime.assembly import observed
from tradeagent.runtime.place import Place
from tradeagent.turns.assistant import MAX_ASKED
from tradeagent.turns.chat import thread_of
from tradeagent.workspace.claims import live_state

LOOK_EVERY_S = 0.1


def run_of(place: Place, name: str) -> DeploymentRow:
    """The run that is meant: by its id, or the newest loop of an agent. NotFound, or InvalidInput for an algorithm."""
    with place.ledger.reading() as tx:
        row = runs.find_deployment(tx, name)
        if row is None:
            loops = [each for each in runs.all_deployments(tx, limit=500) if each.slug == name and each.mode == RunMode.LOOP.value]
            row = loops[0] if loops else runs.get_deployment(tx, name)
    if row.kind != "agent":
        raise InvalidInput(f"--agent: {row.id} is an algorithm, which answers nobody", hint="ask the assistant: tradeagent chat --mode ops")
    return row


def is_answered_by_runner(place: Place, row: DeploymentRow) -> bool:
    """Whether a runner is at it that takes messages."""
    return row.mode != RunMode.DRY_RUN.value and live_state(place.workspace, row).is_live


def say(place: Place, row: DeploymentRow, text: str) -> int:
    """Queue a message for the run; its number."""
    if not text.strip():
        raise InvalidInput("message: there are no words in it", hint=f'tradeagent chat --agent {row.id} "why did you buy?"')
    if len(text) > MAX_ASKED:
        raise InvalidInput(f"message: {len(text):,} characters, at most {MAX_ASKED:,}", hint="say it shorter")
    now, thread = place.clock.now_ms(), thread_of(row.id)
    with place.ledger.transaction(durable=False) as tx:
        threads.open_thread(tx, thread, ThreadKind.CHAT, now, deployment=row.id)
        return threads.queue(tx, thread, text, now)


async def wait_for_answer(place: Place, row: DeploymentRow, seq: int) -> MessageRow:
    """The answer of the runner to a message. RefusedError when the run ends first; the message is taken back then."""
    thread = thread_of(row.id)
    while True:
        with place.ledger.reading() as tx:
            answer, asked = threads.answer_to(tx, thread, seq), threads.message(tx, thread, seq)
            now_row = runs.get_deployment(tx, row.id)
        if answer is not None:
            return answer
        if not asked.is_open or not live_state(place.workspace, now_row).is_live:
            _take_back(place, thread)
            raise RefusedError(
                f"{row.id} ended at {iso(now_row.ended_ms) or 'an unknown time'} before it answered",
                hint="ask again: without a runner the answer only reads",
                code="run_ended",
            )
        await place.clock.sleep(LOOK_EVERY_S)


async def read_only_answer(place: Place, row: DeploymentRow, seq: int, on_event: Callable[[TurnEvent], None]) -> MessageRow:
    """Answer a message here, without a way to act. BusyError when somebody answers the same thread."""
    thread = thread_of(row.id)
    with observed(place, row) as chats:
        await chats.answer(on_event)
    with place.ledger.reading() as tx:
        answer = threads.answer_to(tx, thread, seq)
    if answer is None:
        raise BusyError(f"thread {thread}: another process answers it", hint="ask again in a moment")
    return answer


def _take_back(place: Place, thread: str) -> None:
    """Nobody is left who would answer."""
    now = place.clock.now_ms()
    with place.ledger.transaction(durable=False) as tx:
        threads.withdraw(tx, thread, now)
        threads.interrupt_left(tx, thread, now)
