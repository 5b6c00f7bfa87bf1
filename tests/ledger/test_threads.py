"""Threads and their messages: queued in order, run together, answered once, and taken over after a kill."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tradeagent.domain.errors import BusyError, NotFound
from tradeagent.domain.names import EventKind, MessageState, ThreadKind
from tradeagent.ledger import events, threads
from tradeagent.ledger.store import Ledger, create_ledger

NOW = 1_795_000_000_000


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = create_ledger(tmp_path / "ledger.sqlite")
    with made.transaction() as tx:
        threads.open_thread(tx, "T1", ThreadKind.ASSISTANT, NOW, session="T1")
    yield made
    made.close()


def test_messages_that_wait_are_run_together_in_order_and_answered_once(ledger: Ledger) -> None:
    with ledger.transaction() as tx:
        first = threads.queue(tx, "T1", "one", NOW)
        threads.queue(tx, "T1", "two", NOW + 1)
        taken = threads.begin(tx, "T1", NOW + 2)
        assert threads.combined(taken) == "one\n\ntwo"
        later = threads.queue(tx, "T1", "three", NOW + 3)
        with pytest.raises(BusyError, match="turn under way"):
            threads.begin(tx, "T1", NOW + 3)
        assert threads.answer_to(tx, "T1", first) is None
        threads.finish(tx, "T1", {"text": "both", "reason": "stop"}, MessageState.DONE, NOW + 4)
    with ledger.reading() as tx:
        answer = threads.answer_to(tx, "T1", first)
        assert answer is not None and (answer.text, answer.content["answers"]) == ("both", [1, 2])
        assert threads.answer_to(tx, "T1", later) is None
        assert [(row.role, row.state) for row in threads.said(tx, "T1", 10)] == [("user", "done"), ("user", "done"), ("assistant", "done")]
        assert [row.text for row in threads.queued(tx, "T1")] == ["three"]
        told = events.read(tx, kinds=(EventKind.THREAD_STATE.value,))
        assert [row["data"]["state"] for row in told] == ["running", "done"]
        turns = events.read(tx, kinds=(EventKind.TURN_STARTED.value, EventKind.TURN_FINISHED.value))
        assert [(row["kind"], row["subject"], row["data"]) for row in turns] == [
            ("turn.started", "T1", {"kind": "assistant"}),
            ("turn.finished", "T1", {"kind": "assistant", "reason": "stop"}),
        ]


def test_a_turn_left_by_a_killed_process_is_interrupted_and_what_waited_still_waits(ledger: Ledger) -> None:
    with ledger.transaction() as tx:
        threads.queue(tx, "T1", "one", NOW)
        threads.begin(tx, "T1", NOW)
        threads.queue(tx, "T1", "two", NOW)
        assert [row.text for row in threads.interrupt_left(tx, "T1", NOW)] == ["one"]
        assert threads.interrupt_left(tx, "T1", NOW) == []
        assert threads.combined(threads.begin(tx, "T1", NOW)) == "two"
        assert threads.message(tx, "T1", 1).state == MessageState.INTERRUPTED.value


def test_a_queue_is_bounded_and_can_be_taken_back(ledger: Ledger) -> None:
    with ledger.transaction() as tx:
        for number in range(threads.MOST_QUEUED):
            threads.queue(tx, "T1", str(number), NOW)
        with pytest.raises(BusyError, match="waiting already"):
            threads.queue(tx, "T1", "one more", NOW)
        assert len(threads.withdraw(tx, "T1", NOW)) == threads.MOST_QUEUED
        assert threads.begin(tx, "T1", NOW) == []
        with pytest.raises(NotFound):
            threads.get(tx, "nothing")
        with pytest.raises(NotFound):
            threads.message(tx, "T1", 99)
