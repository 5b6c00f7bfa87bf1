"""Studies that are stopped at any moment, by Ctrl-C or kill -9, end with the result of one that never stopped."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from study_workspace import ask, copied, line, make_workspace, struck, unmoved

TRIALS = ("--n-trials", "300", "--sampler", "tpe")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("resume") / "ws")


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_search_ends_as_one_that_never_stopped(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], blow: signal.Signals
) -> None:
    whole = ask(capsys, line(copied(base, tmp_path / "whole"), "optimize", *TRIALS))
    folder = copied(base, tmp_path / "stopped")
    workers = "2" if blow == signal.SIGINT else "1"
    code, said = struck(folder, line(folder, "optimize", *TRIALS, "--workers", workers), "optimize", blow, after=12)
    (row,) = ask(capsys, ["optimize", "list", "-w", str(folder)])
    assert row["state"] == "running" and 12 <= row["trials"] < 300
    if blow == signal.SIGINT:
        assert code == 130 and f"tradeagent optimize run --resume {row['id']}" in said and "Traceback" not in said
        resumed = ask(capsys, ["optimize", "run", "--resume", row["id"][-6:], "-w", str(folder)])
    else:
        assert code == -signal.SIGKILL
        resumed = ask(capsys, line(folder, "optimize", *TRIALS))
    assert resumed["id"] == row["id"] and resumed["resumed_trials"] == row["trials"]
    assert without_place(unmoved(resumed)) == without_place(unmoved(whole))


def test_a_killed_validation_goes_on(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trials = ("--n-trials", "500", "--folds", "3", "--workers", "1", "--sampler", "random")
    whole = ask(capsys, line(copied(base, tmp_path / "whole"), "cv", *trials))
    folder = copied(base, tmp_path / "stopped")
    struck(folder, line(folder, "cv", *trials), "cv", signal.SIGKILL, after=45)
    resumed = ask(capsys, line(folder, "cv", *trials))
    assert 45 <= resumed["resumed_trials"] < 1500
    assert without_place(unmoved(resumed)) == without_place(unmoved(whole))


def test_a_study_is_run_by_one_process_at_a_time(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied(base, tmp_path / "ws")
    command = line(folder, "optimize", "--n-trials", "2000", "--sampler", "random", "--workers", "1")
    first = subprocess.Popen([sys.executable, "-m", "tradeagent", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while not any(row["trials"] for row in ask(capsys, ["optimize", "list", "-w", str(folder)])) and time.monotonic() < end:
            time.sleep(0.05)
        error = ask(capsys, command, 6)["error"]
        assert error["code"] == "busy" and "run by another process" in error["message"] and "--fresh" in error["hint"]
    finally:
        first.kill()
        first.wait()


def without_place(document: dict[str, object]) -> dict[str, object]:
    """Timings of the stored backtest aside, nothing may differ."""
    return {key: value for key, value in document.items() if key != "timings"}
