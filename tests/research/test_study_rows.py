"""Trials of a study as they are recorded, with Ctrl-C at any line of it."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from toy_study import outcome, toy_plan

from tradeagent.domain.clock import SimulatedClock
from tradeagent.ledger import studies, trials
from tradeagent.ledger.store import Ledger, create_ledger
from tradeagent.ledger.trials import Trial as Try
from tradeagent.research import study_rows
from tradeagent.research.optimise import Finished, Request, judge
from tradeagent.research.study_rows import Recorder

MOST_LINES = 200


def finished(number: int) -> Finished:
    params = {"fast.length": 10 + number}
    found = outcome(Request(params))
    return Finished(judge(toy_plan(), number, params, found), found.daily)


def interrupted_at(line: int) -> Callable[[FrameType, str, Any], Any]:
    """A tracer that is a Ctrl-C at a line of the recorder or of the counting."""
    seen = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal seen
        if frame.f_code.co_filename not in (study_rows.__file__, __file__):
            return None
        if event == "line":
            seen += 1
            if seen == line:
                raise KeyboardInterrupt
        return trace

    return trace


def record(ledger: Ledger, study: str, line: int) -> tuple[int, bool]:
    """Three trials, interrupted at a line: how many were recorded before it, and whether it came to that."""
    added, before = 0, sys.gettrace()
    trace = interrupted_at(line)

    def counted(one: Finished, _: int) -> Try:
        number = one.trial.number
        return Try(f"{study} {number}", study, study, 0.1 * number)

    try:
        with Recorder(ledger, study, SimulatedClock(0), counted) as recorder:
            for number in range(3):
                one = finished(number)
                sys.settrace(trace)
                recorder.add(one)
                sys.settrace(before)
                added += 1
    except KeyboardInterrupt:
        return added, True
    finally:
        sys.settrace(before)
    return added, False


@pytest.mark.parametrize("flush_s", [0.0, 60.0])
def test_a_trial_is_recorded_with_its_try_or_not_at_all_wherever_a_search_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flush_s: float
) -> None:
    monkeypatch.setattr(study_rows, "FLUSH_S", flush_s)
    ledger = create_ledger(tmp_path / "ledger.sqlite")
    for line in range(1, MOST_LINES):
        study = f"{line:026d}"
        with ledger.transaction(durable=False) as tx:
            studies.create(tx, studies.StudyRow(study, "optimize", studies.RUNNING, {}, None, 0))
        added, was_interrupted = record(ledger, study, line)
        with ledger.reading() as tx:
            recorded, tries = studies.trials_of(tx, study), trials.of_idea(tx, study)
        assert len(recorded) == tries.count, line
        assert added <= len(recorded) <= added + 1, line
        if not was_interrupted:
            break
    assert line > 12 and not was_interrupted and len(recorded) == 3
    ledger.close()
