"""Completion as a shell asks for it: names of the workspace, wherever the global flags stand."""

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from tradeagent.cli import entry
from tradeagent.ledger import runs, studies
from tradeagent.ledger.store import open_ledger
from tradeagent.workspace.paths import Workspace

RUN = runs.DeploymentRow(
    id="btc_momentum_1",
    kind="agent",
    slug="btc_momentum",
    wallet="main",
    version=1,
    mode="loop",
    state="completed",
    number=1,
    model="offline/momentum",
    markets=["BTC"],
    limits={},
    source={},
    equity_start=Decimal(10_000),
    ticks=0,
    failures=0,
    created_ms=0,
    ended_ms=1,
    last_tick_ms=None,
    next_tick_ms=None,
    stopped_because=None,
    boot_id="boot",
    pid=1,
)


@pytest.fixture
def filled(root: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A workspace with a wallet, a run on it, a search and a validation."""
    assert entry.run(["wallet", "new", "main", "-w", str(root), "--quiet"]) == 0
    capsys.readouterr()
    with open_ledger(Workspace(root).ledger_file).transaction() as tx:
        runs.add_deployment(tx, RUN)
        for name, kind in (("01SEARCH", "optimize"), ("01FOLDS", "cv")):
            studies.create(tx, studies.StudyRow(name, kind, "complete", {}, None, 0))
    return root


def offered(shell: str, *words: str) -> list[str]:
    """What a shell is told when Tab is pressed after the words, the last of which is unfinished."""
    asked = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1), "_TYPER_COMPLETE_ARGS": " ".join(words)}
    env = {**os.environ, **asked, "_TRADEAGENT_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = subprocess.run([sys.executable, "-m", "tradeagent"], env=env, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return [line.partition("\t")[0] for line in done.stdout.split("\n") if line]


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("stop ", ["btc_momentum_1"]),
        ("run --wallet ", ["main"]),
        ("limits btc", ["btc_momentum", "btc_momentum_1"]),
        ("limits --wallet m", ["main"]),
        ("position list --wallet ", ["main"]),
        ("order list --wallet ", ["main"]),
        ("fills --wallet ", ["main"]),
        ("fills --deployment ", ["btc_momentum_1"]),
        ("audit --deployment ", ["btc_momentum_1"]),
        ("usage --agent btc", ["btc_momentum"]),
        ("cv show ", ["last", "01FOLDS"]),
        ("cv run --resume ", ["last", "01FOLDS"]),
        ("optimize show ", ["last", "01SEARCH"]),
    ],
)
def test_names_are_offered_after_the_global_flags(filled: Path, typed: str, names: list[str]) -> None:
    assert offered("bash", "tradeagent", "-w", str(filled), "--json", *typed.split(" ")) == names


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_finds_the_command_behind_the_workspace(filled: Path, shell: str) -> None:
    found = "".join(offered(shell, "tradeagent", "--workspace", str(filled), "wallet", "show", "m"))
    assert "main" in found and "agent" not in found


def test_the_path_of_a_workspace_is_left_to_the_shell(filled: Path) -> None:
    assert offered("bash", "tradeagent", "-w", str(filled.parent)) == []
