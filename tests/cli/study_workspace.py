"""A workspace with 100 days of synthetic hours and an algo with three parameters, and ways to type commands in it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tradeagent.cli.entry import run
from tradeagent.ledger import studies
from tradeagent.ledger.store import open_ledger
from tradeagent.market.synthetic import store_synthetic, synthetic_market
from tradeagent.market.warehouse import Warehouse
from tradeagent.runtime.workspace import init_workspace
from tradeagent.workspace.paths import Workspace

HOUR = 3_600_000
ALGO = """
name: crossing
market: BTC
interval: 1h
direction: both
indicators:
  fast: {kind: sma, length: 10}
  slow: {kind: sma, length: 40}
entry:
  long: {required: ["fast > slow"]}
  short: {required: ["fast < slow"]}
exit:
  long: {required: ["fast < slow"]}
  short: {required: ["fast > slow"]}
sizing: {pct_of_equity: 50}
timeout: {bars: 0}
params:
  fast.length: [2, 20]
  slow.length: [21, 90]
  timeout.bars: {choices: [0, 2, 4]}
"""
MOVES = ("id", "backtest", "elapsed_s", "resumed_trials", "time", "state")


def make_workspace(folder: Path) -> Path:
    init_workspace(folder)
    store_synthetic(Warehouse(Workspace(folder).warehouse_dir), synthetic_market(3, 2400, "BTC", HOUR))
    (folder / "crossing.yml").write_text(ALGO)
    return folder


def copied(base: Path, folder: Path) -> Path:
    shutil.copytree(base, folder)
    return folder


def line(folder: Path, command: str, *arguments: str) -> list[str]:
    """A command line that searches the algo on the synthetic bars."""
    place = ["--venue", "synthetic", "-w", str(folder)]
    return [command, "run", str(folder / "crossing.yml"), *place, *arguments]


def ask(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int = 0) -> Any:
    """The JSON that a command prints."""
    capsys.readouterr()
    assert run([*arguments, "--json"]) == code, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def unmoved(document: dict[str, Any]) -> dict[str, Any]:
    """A study's answer without what differs from run to run, its own name in a note included."""
    told = json.dumps({key: value for key, value in document.items() if key not in MOVES}, ensure_ascii=False)
    found: dict[str, Any] = json.loads(told.replace(f"search …{document['id'][-6:]}", "search"))
    return found


def struck(folder: Path, arguments: list[str], kind: str, blow: signal.Signals, after: int) -> tuple[int, str]:
    """Run a command beside this process and strike it, and the processes it started, as a terminal does, once so many trials are
    recorded; its exit code and what it said."""
    command = [sys.executable, "-m", "tradeagent", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    end = time.monotonic() + 120
    ledger = open_ledger(Workspace(folder).ledger_file)
    while time.monotonic() < end and process.poll() is None:
        with ledger.reading() as tx:
            rows = studies.listed(tx, kind)
            if rows and studies.counts(tx, [rows[0].id]).get(rows[0].id, 0) >= after:
                break
        time.sleep(0.02)
    ledger.close()
    os.killpg(process.pid, blow)
    out, err = process.communicate(timeout=60)
    return process.returncode, out + err
