"""Python algorithms where the system cannot lock them up: refused, unless a person says otherwise, and then spoken on every result.

The commands run in one process, on a kernel that answers it as one without Landlock (`tests/algos/without_landlock.py`).
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tradeagent.market.synthetic import store_synthetic, synthetic_market
from tradeagent.market.warehouse import Warehouse
from tradeagent.runtime.workspace import init_workspace
from tradeagent.workspace.paths import Workspace

HOUR = 3_600_000
Asked = Callable[..., Any]
HERE = Path(__file__).resolve().parent
WITHOUT_LANDLOCK = HERE.parent / "algos" / "without_landlock.py"
SAID = "ran unlocked, as you allowed: this system lacks Landlock"
TURN = """
import numpy as np

def signals(bars, length=20):
    close = bars["close"]
    mean = np.convolve(close, np.ones(int(length)) / int(length))[: len(close)]
    mean[: int(length) - 1] = np.nan
    return np.where(close > mean, 1, np.where(close < mean, -1, 0))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ws")
    init_workspace(folder)
    store_synthetic(Warehouse(Workspace(folder).warehouse_dir), synthetic_market(7, 1_000, "BTC", HOUR))
    (folder / "turn.py").write_text(TURN)
    tried = subprocess.run([sys.executable, str(WITHOUT_LANDLOCK), sys.executable, "-c", ""], capture_output=True, text=True, check=False)
    if "no seccomp filter can be set here" in tried.stderr:
        pytest.skip("this system sets no seccomp filter")
    return folder


@pytest.fixture(scope="module")
def asked(made: Path) -> Iterator[Asked]:
    """Types a command in a process that finds no Landlock; the JSON it prints."""
    command = [sys.executable, str(WITHOUT_LANDLOCK), sys.executable, str(HERE / "answering.py"), str(made)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def ask(*arguments: str, code: int = 0) -> Any:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(json.dumps([*arguments, "--json"]) + "\n")
            process.stdin.flush()
            found, out, err = json.loads(process.stdout.readline())
            assert found == code, err
            return json.loads(out)

        yield ask


def on(folder: Path, *command: str) -> list[str]:
    return [*command, str(folder / "turn.py"), "--venue", "synthetic", "-m", "BTC", "-i", "1h"]


def unsafe(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in found["warnings"] if row["code"] == "unsafe_python"]


@pytest.mark.parametrize("command", [("backtest", "run"), ("optimize", "run"), ("cv", "run"), ("algo", "explore"), ("algo", "probe")])
def test_without_leave_nothing_runs(made: Path, asked: Asked, command: tuple[str, ...]) -> None:
    error = asked(*on(made, *command), *(("--param", "length=10:30") if command[0] in ("optimize", "cv") else ()), code=3)["error"]
    assert error["code"] == "gate_failed" and error["details"]["reason"] == "sandbox_unavailable"
    assert "--unsafe-python" in error["hint"] and "sandbox.allow_unsafe" in error["hint"]


def test_what_ran_unlocked_says_so_wherever_it_is_shown(made: Path, asked: Asked, tmp_path: Path) -> None:
    found = asked(*on(made, "backtest", "run"), "--unsafe-python")
    (warning,) = unsafe(found)
    assert SAID in warning["message"] and found["trades_count"] > 5
    assert unsafe(asked("backtest", "show", found["id"])) == [warning]
    asked("backtest", "report", found["id"], "--out", str(tmp_path / "page.html"))
    assert SAID in (tmp_path / "page.html").read_text()
    assert asked("backtest", "run", "--again", found["id"], code=3)["error"]["details"]["reason"] == "sandbox_unavailable"
    assert asked("backtest", "run", "--again", found["id"], "--unsafe-python")["equal"]


def test_searches_and_their_workers_say_it(made: Path, asked: Asked) -> None:
    search = ("--param", "length=10:30", "--n-trials", "4", "--unsafe-python", "--workers", "2")
    found = asked(*on(made, "optimize", "run"), *search)
    assert unsafe(found) and any(SAID in note for note in found["notes"]) and found["valid"] > 0
    validated = asked(*on(made, "cv", "run"), *search, "--folds", "2")
    assert unsafe(validated) and validated["trials"] == 8


def test_config_gives_leave_for_all(made: Path, asked: Asked) -> None:
    file = made / "config.yml"
    before = file.read_text()
    file.write_text(before.replace("allow_unsafe: false", "allow_unsafe: true"))
    try:
        assert unsafe(asked(*on(made, "backtest", "run")))
        assert unsafe(asked(*on(made, "algo", "explore"))) and unsafe(asked(*on(made, "algo", "probe")))
    finally:
        file.write_text(before)


def test_leave_changes_nothing_where_the_system_locks_it_up(made: Path, asked: Asked) -> None:
    command = [sys.executable, "-m", "tradeagent", *on(made, "backtest", "run"), "--unsafe-python", "--json", "-w", str(made)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    lacks = unsafe(found)
    if lacks:
        pytest.skip(lacks[0]["message"])
    same = asked(*on(made, "backtest", "run"), "--unsafe-python")
    assert same["metrics"] == found["metrics"]
