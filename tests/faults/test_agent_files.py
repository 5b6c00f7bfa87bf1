"""A kill in the middle of `agent approve` or `agent restore`: whatever is next finds one state or the other, and says which."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("agent_files_driver.py")


@pytest.mark.parametrize(("action", "files", "commits"), [("approve", 1, 1), ("restore", 2, 2)])
def test_a_kill_at_any_durable_step_leaves_the_old_state_or_the_new(action: str, files: int, commits: int, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(DRIVER), str(tmp_path), action], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["problems"] == []
    assert (told["steps"].count("exchange_names"), told["steps"].count("commit ledger")) == (files, commits), told["steps"]
