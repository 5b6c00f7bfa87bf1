"""Where a trial runs never shows in its result: in process, in worker processes, on a cluster, with workers that die under it."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from dask_cluster import awaited, dask_worker, environment, scheduler
from toy_study import ToyJob, toy_plan

from tradeagent.domain.errors import InvalidConfig, InvalidInput, VenueError
from tradeagent.research.optimise import Trial, search
from tradeagent.research.workers import Cluster, Here, Local, Place, chunks, open_place


def trials_at(place: Place, n_trials: int = 24) -> Mapping[int, Trial]:
    return {done.trial.number: done.trial for done in search(toy_plan(n_trials), place.evaluate, {})}


@pytest.fixture(scope="module")
def alone() -> Mapping[int, Trial]:
    with Here(ToyJob()) as place:
        return trials_at(place)


def test_worker_processes_give_the_same_trials(alone: Mapping[int, Trial], tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with Local(ToyJob(mark=mark, kills_once=True), workers=2) as place:
        found = trials_at(place)
    assert found == alone
    assert int(mark.read_text()) != os.getpid()


def test_short_work_never_starts_a_pool(alone: Mapping[int, Trial]) -> None:
    place = Local(ToyJob(), workers=None)
    with place:
        assert trials_at(place) == alone
    assert place._pool is None


def test_one_worker_means_this_process(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with open_place(ToyJob(mark=mark), 1, None) as place:
        trials_at(place, 1)
    assert int(mark.read_text()) == os.getpid()


def test_chunks_are_worth_their_way_and_leave_work_for_everyone() -> None:
    assert [len(part) for part in chunks(list(range(64)), 0.005, 2)] == [10, 10, 10, 10, 10, 10, 4]
    assert [len(part) for part in chunks(list(range(8)), 0.005, 2)] == [4, 4]
    assert [len(part) for part in chunks(list(range(8)), 0.2, 2)] == [1] * 8


def test_a_worker_outlives_no_parent(tmp_path: Path) -> None:
    """A parent killed with SIGKILL takes its workers with it."""
    mark = tmp_path / "mark"
    script = (
        "from pathlib import Path\nfrom toy_study import ToyJob, toy_plan\nfrom tradeagent.research.optimise import search\n"
        "from tradeagent.research.workers import Local\n"
        f"if __name__ == '__main__':\n    with Local(ToyJob(60.0, Path({str(mark)!r})), 2) as place:\n"
        "        list(search(toy_plan(4), place.evaluate, {}))\n"
    )
    (tmp_path / "parent.py").write_text(script)
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py")], env=environment())
    worker = int(awaited(lambda: mark.read_text() if mark.exists() else ""))
    parent.kill()
    parent.wait()
    awaited(lambda: "" if _is_alive(worker) else "gone")


def test_a_cluster_that_loses_a_worker_gives_the_same_trials(alone: Mapping[int, Trial], tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    mark = tmp_path / "mark"
    with scheduler(tmp_path) as address, dask_worker(address, tmp_path / "one"), dask_worker(address, tmp_path / "two"):
        with open_place(ToyJob(0.05, mark), None, address) as place:
            found: dict[int, Trial] = {}
            for done in search(toy_plan(24), place.evaluate, {}):
                found[done.trial.number] = done.trial
                if len(found) == 6:
                    os.kill(int(mark.read_text()), signal.SIGKILL)
        assert found == alone


def test_a_cluster_whose_only_worker_dies_goes_on_with_the_next(alone: Mapping[int, Trial], tmp_path: Path) -> None:
    """The job was held by that worker only and is sent again."""
    pytest.importorskip("distributed")
    mark = tmp_path / "mark"
    with scheduler(tmp_path) as address, ExitStack() as workers:
        workers.enter_context(dask_worker(address, tmp_path / "one"))
        with open_place(ToyJob(0.05, mark), None, address) as place:
            found: dict[int, Trial] = {}
            for done in search(toy_plan(24), place.evaluate, {}):
                found[done.trial.number] = done.trial
                if len(found) == 6:
                    os.kill(int(mark.read_text()), signal.SIGKILL)
                    workers.enter_context(dask_worker(address, tmp_path / "two"))
        assert found == alone


def test_a_cluster_without_workers_says_so(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    with scheduler(tmp_path) as address:
        place = Cluster(ToyJob(), address, alone_s=0.3)
        with place, pytest.raises(VenueError, match=r"no worker for 0\.3 s"):
            trials_at(place)


def test_no_scheduler_at_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("tradeagent.research.workers._CONNECT_S", 0.5)
    with pytest.raises(VenueError, match="no scheduler answers") as caught, Cluster(ToyJob(), "tcp://127.0.0.1:9"):
        pass
    assert "dask scheduler" in caught.value.hint


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InvalidConfig, match="the extra `cluster` is not installed"), open_place(ToyJob(), None, "tcp://127.0.0.1:9"):
        pass


def test_more_workers_than_a_machine_can_start_are_refused() -> None:
    with pytest.raises(InvalidInput, match="workers: 100,000 is above"):
        open_place(ToyJob(), 100_000, None)
    assert open_place(ToyJob(), 64, None)


def test_a_number_of_workers_below_one() -> None:
    with pytest.raises(InvalidInput, match="workers: 0 is below 1"):
        open_place(ToyJob(), 0, None)


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
