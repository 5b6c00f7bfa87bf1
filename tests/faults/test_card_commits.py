"""Confirm cards under `kill -9` and under several processes at once: done once, or not at all, or said to be open; never twice."""

import json
import os
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from product import FINE

sys.path.append(str(Path(__file__).resolve().parents[1] / "assistant"))

from card_stage import Stage, make
from test_drafts import written

from tradeagent.assistant import cards as prepared
from tradeagent.domain.clock import SystemClock
from tradeagent.domain.names import CardKind, CardState

DRIVER = Path(__file__).with_name("card_kill_driver.py")


def prepare(stage: Stage, kind: CardKind) -> str:
    if kind is CardKind.SAVE_DRAFT:
        return prepared.prepare(stage.bench, kind, prepared.save_draft(stage.bench, written(stage).id, None), None).id
    for name, cash in (("alpha", "1000"), ("beta", "3000"), ("gamma", "500")):
        stage.wallet(name, cash=cash)
    return prepared.prepare(stage.bench, kind, prepared.rebalance(stage.bench, ["alpha", "beta", "gamma"], None), None).id


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the driver forks")
@pytest.mark.parametrize(("kind", "least"), [(CardKind.SAVE_DRAFT, 12), (CardKind.REBALANCE, 20)])
def test_a_kill_at_any_step_of_a_commit_does_nothing_twice_and_hides_nothing(tmp_path: Path, kind: CardKind, least: int) -> None:
    stage = make(tmp_path / "ground")
    card = prepare(stage, kind)
    stage.ledger.close()
    (tmp_path / "scratch").mkdir()
    done = subprocess.run(
        [sys.executable, str(DRIVER), str(tmp_path / "ground"), str(tmp_path / "scratch"), card],
        env={**os.environ, **FINE},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    print(f"{kind}: {len(found['steps'])} kill points: {dict(Counter(found['steps']))}")
    assert found["problems"] == []
    assert len(found["steps"]) >= least


def test_of_several_processes_that_commit_at_once_one_does(tmp_path: Path) -> None:
    stage = make(tmp_path / "ws")
    bench = prepared.Bench(stage.bench.workspace, stage.bench.config, stage.ledger, SystemClock(), stage.bench.known)
    stage.wallet("alpha", cash="1000"), stage.wallet("beta", cash="3000")
    card = prepared.prepare(bench, CardKind.REBALANCE, prepared.rebalance(bench, ["alpha", "beta"], None), None).id
    command = [sys.executable, "-m", "tradeagent", "-w", str(tmp_path / "ws"), "confirm", card, "--yes", "--json"]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    answers = [(*process.communicate(timeout=60), process.returncode) for process in started]
    assert sorted(code for *_, code in answers) == [0, 3, 3, 3], answers
    assert {json.loads(out)["error"]["code"] for out, _, code in answers if code} == {"gate_failed"}
    assert stage.card(card).state == CardState.COMMITTED.value
    assert (stage.equity("alpha"), stage.equity("beta")) == (Decimal(2_000), Decimal(2_000))
    stage.ledger.close()
