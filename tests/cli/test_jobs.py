"""Jobs: each is a command of the product in a process of its own; a worker that dies, a cancel and a bad row end as their rows say."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from study_workspace import ask, copied, line, make_workspace, unmoved

from tradeagent.domain.clock import SystemClock
from tradeagent.domain.errors import BusyError, NotFound, RefusedError
from tradeagent.domain.names import EventKind, JobState
from tradeagent.ledger import events, jobs
from tradeagent.ledger.jobs import JobRow
from tradeagent.ledger.store import Ledger, open_ledger
from tradeagent.runtime.assembly import Place
from tradeagent.runtime.jobs import cancel, start_waiting, work
from tradeagent.workspace.config import load_config
from tradeagent.workspace.paths import Workspace

LONG = ("--n-trials", "4000", "--sampler", "random", "--workers", "1")
SHORT = ("--n-trials", "20", "--sampler", "random", "--workers", "1")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("jobs") / "ws")


@pytest.fixture
def place(base: Path, tmp_path: Path) -> Iterator[Place]:
    workspace = Workspace(copied(base, tmp_path / "ws"))
    ledger = open_ledger(workspace.ledger_file)
    yield Place(workspace, load_config(workspace.config_file, {}), ledger, SystemClock())
    ledger.close()


def queue(place: Place, kind: str, argv: list[str]) -> str:
    job = place.clock.new_id()
    without_workspace = [word for word in argv if word not in ("-w", str(place.workspace.root))]
    with place.ledger.transaction() as tx:
        jobs.add(tx, job, kind, None, {"argv": without_workspace}, place.clock.now_ms())
    return job


def row(ledger: Ledger, job: str) -> JobRow:
    with ledger.reading() as tx:
        return jobs.get(tx, job)


def reached(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < end, "waited two minutes"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_a_job_ends_with_what_its_command_prints(place: Place, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = queue(place, "optimize", line(place.workspace.root, "optimize", *SHORT))
    assert start_waiting(place)
    reached(lambda: not row(place.ledger, job).is_open)
    done = row(place.ledger, job)
    assert done.state == JobState.DONE.value and done.result is not None
    assert done.progress is not None and done.progress["done"] == done.progress["total"] > 0
    other = copied(base, tmp_path / "other")
    typed = ask(capsys, line(other, "optimize", *SHORT))
    for document in (done.result, typed):
        document.pop("timings", None)
    assert unmoved(done.result)["best"] == unmoved(typed)["best"]
    reached(lambda: not start_waiting(place))
    with place.ledger.reading() as tx:
        states = [event["data"]["state"] for event in events.read(tx, kinds=[EventKind.JOB_STATE.value])]
    assert states == ["queued", "running", "done"]


def test_a_job_of_a_killed_worker_goes_on_with_its_trials(place: Place) -> None:
    job = queue(place, "optimize", line(place.workspace.root, "optimize", *LONG))
    worker = subprocess.Popen([sys.executable, "-m", "tradeagent", "-w", str(place.workspace.root), "jobs", "work"])
    reached(lambda: (row(place.ledger, job).progress or {"done": 0})["done"] > 0)
    worker.kill()
    worker.wait()
    orphan = row(place.ledger, job)
    assert orphan.state == JobState.RUNNING.value and orphan.pid is not None
    assert start_waiting(place)
    reached(lambda: (found := row(place.ledger, job)).pid not in (None, orphan.pid) and found.progress is not None)
    assert not is_running(orphan.pid), "the process of the dead worker still runs beside the new one"
    cancel(place, job)
    reached(lambda: not is_running(row(place.ledger, job).pid or 0))
    assert row(place.ledger, job).state == JobState.CANCELLED.value


def test_a_cancel_reaches_a_process_whose_worker_is_gone(place: Place) -> None:
    job = queue(place, "optimize", line(place.workspace.root, "optimize", *LONG))
    worker = subprocess.Popen([sys.executable, "-m", "tradeagent", "-w", str(place.workspace.root), "jobs", "work"])
    reached(lambda: (row(place.ledger, job).progress or {"done": 0})["done"] > 0)
    worker.kill()
    worker.wait()
    cancelled = cancel(place, job)
    assert cancelled.pid is not None
    reached(lambda: not is_running(cancelled.pid or 0))


def test_a_cancelled_job_never_starts_and_one_that_ended_stays(place: Place) -> None:
    job = queue(place, "optimize", line(place.workspace.root, "optimize", *LONG))
    assert cancel(place, job[-6:]).state == JobState.CANCELLED.value
    assert work(place) == 0
    with pytest.raises(RefusedError, match="cancelled already"):
        cancel(place, job)
    with pytest.raises(NotFound, match="nothing"):
        cancel(place, "nothing")


@pytest.mark.parametrize(
    ("kind", "argv", "code"),
    [
        ("optimize", ["kill", "--all", "--yes"], "invalid_input"),
        ("optimize", ["cv", "run", "sma_cross"], "invalid_input"),
        ("made_up", ["optimize", "run", "x"], "invalid_input"),
        ("backtest", ["backtest", "run", "no_such_algo", "--market", "BTC", "--interval", "1h"], "not_found"),
    ],
)
def test_a_job_that_cannot_be_run_fails_with_the_reason(place: Place, kind: str, argv: list[str], code: str) -> None:
    job = queue(place, kind, argv)
    assert work(place) == 1
    found = row(place.ledger, job)
    assert found.state == JobState.FAILED.value and found.result is not None and found.result["error"]["code"] == code
    assert not place.workspace.kill_dir.exists() or not list(place.workspace.kill_dir.glob("*latch*"))


def test_one_worker_is_enough_and_the_queue_is_bounded(place: Place) -> None:
    for _ in range(jobs.MOST_QUEUED):
        queue(place, "made_up", ["x", "y"])
    with pytest.raises(BusyError, match="100 jobs are waiting"):
        queue(place, "made_up", ["x", "y"])
    command = [sys.executable, "-m", "tradeagent", "-w", str(place.workspace.root), "--json", "jobs", "work"]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    done = [int(worker.communicate()[0].split('"done": ')[1].rstrip("}\n")) for worker in workers]
    assert sum(done) == jobs.MOST_QUEUED
    with place.ledger.reading() as tx:
        rows = jobs.listed(tx, 1000)
    assert {found.state for found in rows} == {JobState.FAILED.value}
    assert os.getpid() not in {found.pid for found in rows}


def test_progress_is_told_in_json_on_stderr(base: Path, tmp_path: Path) -> None:
    folder = copied(base, tmp_path / "ws")
    command = [sys.executable, "-m", "tradeagent", *line(folder, "optimize", *SHORT), "--json"]
    quiet = subprocess.run(command, capture_output=True, text=True, check=True)
    assert '"progress"' not in quiet.stderr
    told = subprocess.run([*command, "--verbose", "--fresh"], capture_output=True, text=True, check=True)
    assert '{"progress": {"name": "optimize", "done": ' in told.stderr
