"""`usage`: what models cost, per day, agent, model or turn, and what could not be priced."""

import json
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tradeagent.domain.clock import DAY_MS, iso
from tradeagent.ledger import notes
from tradeagent.ledger.store import open_ledger

NOW = time.time_ns() // 1_000_000
ROWS = [
    ("a", "openai/x", 0, 100, 10, "0.5"),
    ("a", "openai/x", 0, 50, 5, "0.25"),
    ("a", "openai/spare", 0, 7, 1, None),
    ("b", "openai/x", 2, 1, 1, "1"),
    ("b", "offline/hold", 40, 1, 1, "0"),
]


def usage(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tradeagent", "usage", *arguments, "--workspace", str(folder), "--json"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("usage") / "ws"
    subprocess.run([sys.executable, "-m", "tradeagent", "init", str(folder)], check=True, capture_output=True, timeout=120)
    ledger = open_ledger(folder / "state" / "ledger.sqlite")
    with ledger.transaction() as tx:
        for slug, model, days_ago, tokens_in, tokens_out, cost in ROWS:
            named = {"slug": slug, "deployment": f"{slug}_1", "turn_kind": "tick", "model": model}
            counted = {"calls": 2, "tokens_in": tokens_in, "tokens_out": tokens_out, "cost_usd": None if cost is None else Decimal(cost)}
            notes.add_usage(tx, {"time_ms": NOW - days_ago * DAY_MS, **named, **counted})
    ledger.close()
    return folder


def rows(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    done = usage(folder, *arguments)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_usage_is_added_up_by_what_is_asked_and_an_unknown_price_is_never_a_zero(workspace: Path) -> None:
    today = (iso(NOW) or "")[:10]
    first, spare, other = rows(workspace)
    counted = {"turns": 2, "calls": 4, "tokens_in": 150, "tokens_out": 15, "cost_usd": "0.75", "unpriced_calls": 0}
    assert first == {"day": today, "agent": "a", "model": "openai/x", **counted}
    assert (spare["model"], spare["cost_usd"], spare["unpriced_calls"]) == ("openai/spare", None, 2)
    assert (other["agent"], other["cost_usd"]) == ("b", "1")
    assert {row["agent"]: (row["turns"], row["cost_usd"], row["unpriced_calls"]) for row in rows(workspace, "--by", "agent")} == {
        "a": (3, "0.75", 2),
        "b": (1, "1", 0),
    }
    by_model = {row["model"]: row["cost_usd"] for row in rows(workspace, "--by", "model", "--days", "3650")}
    assert by_model == {"openai/x": "1.75", "openai/spare": None, "offline/hold": "0"}
    assert [row["turns"] for row in rows(workspace, "--by", "day", "--days", "3650")] == [3, 1, 1]
    turns = rows(workspace, "--by", "turn", "--agent", "a")
    assert [(row["deployment"], row["kind"], row["tokens_in"]) for row in turns] == [
        ("a_1", "tick", 100),
        ("a_1", "tick", 50),
        ("a_1", "tick", 7),
    ]


@pytest.mark.slow
def test_another_grouping_is_refused_and_the_ones_there_are_are_told(workspace: Path) -> None:
    done = usage(workspace, "--by", "moon")
    assert done.returncode == 2
    assert "all, day, agent, model, turn" in json.loads(done.stdout or done.stderr)["error"]["message"]
