"""What should run, and the patience with what dies: from rows and a clock alone."""

import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tradeagent.domain.clock import SystemClock
from tradeagent.domain.errors import BusyError
from tradeagent.domain.names import DeploymentState
from tradeagent.ledger import notes, runs, wallets
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.ledger.store import create_ledger
from tradeagent.runtime import supervisor as room
from tradeagent.runtime.ground import Place
from tradeagent.runtime.supervisor import LONGEST_WAIT_S, STEADY_S, Supervisor
from tradeagent.runtime.wanted import require_free, wanted
from tradeagent.workspace.config import load_config
from tradeagent.workspace.paths import Workspace


class Watch(SystemClock):
    """A wall clock whose seconds a test moves."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "config.yml").write_text("")
    workspace = Workspace(tmp_path)
    ledger = create_ledger(workspace.ledger_file)
    yield Place(workspace, load_config(workspace.config_file, {}), ledger, Watch())
    ledger.close()


def deployed(place: Place, name: str, wallet: str = "trend", **changes: Any) -> DeploymentRow:
    values: dict[str, Any] = {
        "id": name, "kind": "algo", "slug": "x", "wallet": wallet, "version": 1, "mode": "loop", "state": "running", "number": 1,
        "model": "", "markets": ["BTC"], "limits": {}, "source": {"deployed": True}, "equity_start": Decimal(0), "ticks": 0, "failures": 0,
        "created_ms": place.clock.now_ms(), "ended_ms": None, "last_tick_ms": None, "next_tick_ms": None, "stopped_because": None,
        "boot_id": "", "pid": 0,
    }  # fmt: skip
    row = DeploymentRow(**(values | changes))
    with place.ledger.transaction() as tx:
        if wallets.find(tx, wallet) is None:
            wallets.create(tx, wallets.WalletRow(wallet, "paper", "paper", "algo", {}, 0))
        runs.add_deployment(tx, row)
    return row


@pytest.mark.parametrize(
    ("changes", "is_wanted"),
    [
        ({}, True),
        ({"state": "provisioning"}, True),
        ({"state": "paused"}, True),
        ({"state": "halted"}, True),
        ({"state": "interrupted", "ended_ms": 5, "stopped_because": "interrupted"}, True),
        ({"state": "stopped", "ended_ms": 5, "stopped_because": "interrupted"}, True),
        ({"state": "stopped", "ended_ms": 5, "stopped_because": "stop_command"}, False),
        ({"state": "stopping", "stopped_because": "stop_command"}, False),  # it died before it could write its end
        ({"state": "halted", "stopped_because": "stop_command"}, False),
        ({"state": "completed", "ended_ms": 5, "stopped_because": "end_of_data"}, False),
        ({"state": "completed", "ended_ms": 5, "stopped_because": "max_ticks"}, False),
        ({"state": "halted", "ended_ms": 5, "stopped_because": "stop_command"}, False),
        ({"state": "error"}, False),
        ({"state": "error", "ended_ms": 5, "stopped_because": "failed"}, False),
        ({"mode": "run_once"}, False),
        ({"source": {"replay": None}}, False),
    ],
)
def test_what_should_run(place: Place, changes: dict[str, Any], is_wanted: bool) -> None:
    deployed(place, "x_a1", **changes)
    with place.ledger.reading() as tx:
        assert [row.id for row in wanted(tx)] == (["x_a1"] if is_wanted else [])
        if is_wanted:
            with pytest.raises(BusyError, match="x_a1"):
                require_free(tx, "trend")
        require_free(tx, "trend", "x_a1" if is_wanted else None)


def test_the_newest_run_fills_the_slot_and_a_dry_run_does_not(place: Place) -> None:
    deployed(place, "x_a1", created_ms=1)
    deployed(place, "x_a2", created_ms=2, state="stopped", ended_ms=3, stopped_because="stop_command")
    deployed(place, "y_a1", "other", created_ms=1)
    deployed(place, "y_e1", "other", created_ms=2, mode="dry_run", state="completed", ended_ms=3)
    with place.ledger.reading() as tx:
        assert [row.id for row in wanted(tx)] == ["y_a1"]


def dying(code: int) -> Any:
    """A spawn whose process ends with a code."""

    def spawn(place: Place, words: list[str], log: Path) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen([sys.executable, "-c", f"import os; os._exit({code})"])
        process.wait()
        return process

    return spawn


def test_a_process_that_keeps_dying_is_started_ever_more_slowly_and_then_given_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    deployed(place, "x_a1")
    monkeypatch.setattr(room, "spawn", dying(1))
    said: list[str] = []
    up = Supervisor(place, said.append, most_restarts=8)
    begun = []
    for _ in range(4000):
        before = len(said)
        up._care()
        if any("started" in line for line in said[before:]):
            begun.append(place.clock.monotonic())
        up._bury()
        place.clock.seconds += 0.1
    waits = [round(later - earlier) for earlier, later in pairwise(begun)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert max(waits) == LONGEST_WAIT_S
    with place.ledger.reading() as tx:
        [incident] = [row for row in notes.list_incidents(tx, only_open=True) if row["deployment"] == "x_a1"]
    assert incident["level"] == "critical" and "x_a1.log" in incident["message"]


def test_a_process_that_ran_steadily_is_a_first_crash_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    deployed(place, "x_a1")
    monkeypatch.setattr(room, "spawn", dying(1))
    up = Supervisor(place, lambda line: None, most_restarts=2)
    for _ in range(12):
        up._care()
        place.clock.seconds += STEADY_S
        up._bury()
        place.clock.seconds += LONGEST_WAIT_S
    assert up._wards["trend"].crashes == 12 and not up._wards["trend"].is_given_up


@pytest.mark.parametrize(("code", "is_given_up", "crashes"), [(2, True, 1), (3, True, 1), (4, True, 1), (6, False, 0), (0, False, 0)])
def test_what_only_a_person_can_mend_is_not_tried_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, code: int, is_given_up: bool, crashes: int
) -> None:
    deployed(place, "x_a1")
    monkeypatch.setattr(room, "spawn", dying(code))
    up = Supervisor(place, lambda line: None, most_restarts=8)
    up._care()
    up._bury()
    ward = up._wards["trend"]
    assert (ward.is_given_up, ward.crashes, ward.ended_with) == (is_given_up, crashes, code)


def test_one_that_ended_by_itself_is_let_go_of(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    deployed(place, "x_a1")
    monkeypatch.setattr(room, "spawn", dying(0))
    up = Supervisor(place, lambda line: None, most_restarts=8)
    up._care()
    with place.ledger.transaction() as tx:
        runs.update_deployment(tx, "x_a1", state=DeploymentState.COMPLETED.value, ended_ms=1, stopped_because="end_of_data")
    up._bury()
    place.clock.seconds += 1000.0
    up._care()
    assert up._wards["trend"].starts == 1
