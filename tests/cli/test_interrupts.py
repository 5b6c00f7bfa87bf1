"""Ctrl-C is exit code 130 and one JSON document wherever it arrives: in imports, in the work, in the end of the program."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from study_workspace import copied, line, make_workspace

from tradeagent.research.workers import _deaf_to_ctrl_c

REPO = Path(__file__).resolve().parents[2]
STUDIES = {
    "optimize": ("--n-trials", "12", "--workers", "1"),
    "cv": ("--n-trials", "6", "--workers", "1", "--folds", "2"),
}
# Calls into the program (with the first of them nothing is imported yet), shares of all its calls, and calls back from the last one.
EARLY, SHARES, FROM_THE_END = {"optimize": (2, 30), "cv": ()}, {"optimize": (0.1, 0.6), "cv": (0.4, 0.9)}, {"optimize": (300, 60), "cv": ()}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("interrupts") / "ws")


def struck(base: Path, folder: Path, kind: str, at: str) -> tuple[int, str, str, int]:
    """Exit code, stdout, stderr and the calls counted."""
    copied(base, folder)
    arguments = [*line(folder, kind, *STUDIES[kind]), "--json"]
    command = [sys.executable, "-m", "tests.cli.interrupted", at, str(folder / "calls"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, check=False)
    return done.returncode, done.stdout, done.stderr, int((folder / "calls").read_text()) if (folder / "calls").exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(STUDIES))
def test_a_study_that_is_interrupted_anywhere_ends_with_130(base: Path, tmp_path: Path, kind: str) -> None:
    code, _, told, calls = struck(base, tmp_path / "whole", kind, "0")
    assert code == 0 and calls > 100_000, told
    moments = [*EARLY[kind], *(round(calls * share) for share in SHARES[kind]), *(calls - back for back in FROM_THE_END[kind])]
    for at in (*map(str, moments), "string"):
        code, out, err, counted = struck(base, tmp_path / at, kind, at)
        # The number of calls is not quite the same every time: one that ended before is told by its count.
        assert code == 130 or (code == 0 < counted < int(at)), f"at call {at} of {calls}: {code}, {err}"
        assert "Traceback" not in err and len(out.splitlines()) == 1
        document = json.loads(out)
        assert "error" not in document or document["error"]["code"] == "interrupted"


@pytest.mark.usefixtures("on_a_terminal")
def test_what_starts_while_workers_do_is_deaf_and_the_parent_hears_it_then() -> None:
    asks = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
    begun: list[str] = []
    with pytest.raises(KeyboardInterrupt), _deaf_to_ctrl_c():
        os.kill(os.getpid(), signal.SIGINT)
        begun.append(subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True).stdout.strip())
        begun.append("all")
    assert begun == ["True", "all"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
