"""`kill -9` at every durable step of a run with orders, and of the start after it: nothing is lost, doubled or half-written."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from product import FINE, Product

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="the driver forks")]
DRIVER = Path(__file__).with_name("kill_driver.py")
WORKERS = 2


@pytest.fixture(scope="module")
def ground(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small workspace: one agent, one wallet, one month of bars."""
    root = tmp_path_factory.mktemp("kill") / "ground"

    def too_much(_: str, names: list[str]) -> list[str]:
        other = {"ETH", "HYPE", "eth_mean_reversion", "hype_breakout_rules"}
        return [name for name in names if name in other or (name.endswith(".parquet") and name != "2025-03.parquet")]

    shutil.copytree(template, root, ignore=too_much)
    Product(root).ask("wallet", "new", "btc_momentum")
    return root


def _killed_everywhere(ground: Path, scratch: Path, step: int, *died: int) -> dict[str, Any]:
    """Every step, or every so many, shared by the workers; steps by number, and all problems."""
    starts = range(1, step + 1, step // WORKERS or 1)
    processes = [
        subprocess.Popen(
            [sys.executable, str(DRIVER), str(ground), str(scratch / str(first)), str(first), str(step), *map(str, died)],
            env={**os.environ, **FINE},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for first in starts
    ]
    answers = [(*process.communicate(timeout=570), process.returncode) for process in processes]
    assert all(code == 0 for _, _, code in answers), answers
    found = [json.loads(out) for out, _, _ in answers]
    steps = {int(number): name for part in found for number, name in part["steps"].items()}
    return {"steps": dict(sorted(steps.items())), "problems": [problem for part in found for problem in part["problems"]]}


@pytest.fixture(scope="module")
def killed(ground: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return _killed_everywhere(ground, tmp_path_factory.mktemp("killed"), WORKERS)


def test_a_kill_at_any_step_of_a_run_with_orders_is_recovered_from(killed: dict[str, Any]) -> None:
    steps = killed["steps"]
    print(f"{len(steps)} kill points: {dict(Counter(steps.values()))}")
    assert killed["problems"] == []
    assert len(steps) >= 90
    # A run may make a step more or less than another, so that one worker ends before the other does; nothing is left out before that.
    assert list(steps)[:90] == list(range(1, 91))
    assert {"commit ledger", "commit paper", "write", "write (half)", "fsync", "replace", "unlink", "mkdir"} <= set(steps.values())


def test_a_kill_during_the_recovery_from_a_kill_is_recovered_from_too(ground: Path, killed: dict[str, Any], tmp_path: Path) -> None:
    """The first kill falls between the venue's taking of an order and the ledger's record of it."""
    names = list(killed["steps"].items())
    placed = max(number for number, name in names[: len(names) // 2] if name == "commit paper")
    recorded = next(number for number, name in names if number > placed and name == "commit ledger")
    again = _killed_everywhere(ground, tmp_path, 4 * WORKERS, recorded)
    print(f"{len(again['steps'])} kill points after a kill before step {recorded}: {dict(Counter(again['steps'].values()))}")
    assert again["problems"] == []
    assert len(again["steps"]) >= 12
