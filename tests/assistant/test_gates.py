"""The gates of a deployment: where each bound lies, what is missing evidence, and that the evidence is of that very version."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tradeagent.assistant.gates import Bounds, Evidence, Gate, agent_gates, algo_gates, bounds_of, evidence_of, failed, paper_days
from tradeagent.cli.entry import run
from tradeagent.domain.clock import DAY_MS
from tradeagent.ledger.store import create_ledger, open_ledger
from tradeagent.market.synthetic import store_synthetic, synthetic_market
from tradeagent.market.warehouse import Warehouse
from tradeagent.research.store import FILE_NAME
from tradeagent.runtime.workspace import init_workspace
from tradeagent.workspace.config import load_config
from tradeagent.workspace.paths import Workspace

HOUR = 3_600_000
BOUNDS = Bounds(*map(Decimal, ("180", "30", "1", "20", "0.95", "0.3", "14")))
GOOD: dict[str, Any] = {
    "id": "B1",
    "data": {"interval": "1h", "first": "2025-01-01T00:00:00Z", "last": "2025-06-29T23:00:00Z"},
    "trades_count": 30,
    "metrics": {"sharpe": 1.01, "max_drawdown_pct": 19.99},
    "honesty": {"deflated_sharpe": 0.95, "trials": 2, "pbo": 0.3, "notes": {}, "costs_x2": {"total_return_pct": 0.01}},
    "limits_impact": {"DRAWDOWN": {"refused": 3, "cut": 0}, "LEVERAGE": {"refused": 0, "cut": 2}},
}
PASSED_CV = {"id": "C1", "verdict": "pass", "folds": [1, 2, 3]}


def changed(path: str, value: object) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(GOOD))
    *parents, last = path.split(".")
    place = document
    for name in parents:
        place = place[name]
    place[last] = value
    return document


def gates(backtest: dict[str, Any] | None = GOOD, validation: dict[str, Any] | None = PASSED_CV) -> dict[str, Gate]:
    return {gate.id: gate for gate in algo_gates(Evidence(backtest, validation, 0.0), BOUNDS)}


def test_what_meets_every_bound_passes_and_shows_its_figures() -> None:
    found = gates()
    assert not failed(list(found.values()))
    assert found["backtest_days"].figure == "180" and found["backtest_days"].source == "backtest B1"
    assert found["limits_impact"].figure == "DRAWDOWN 3"
    assert found["rolling_cv"].source == "cv C1"


@pytest.mark.parametrize(
    ("gate", "path", "value"),
    [
        ("backtest_days", "data.last", "2025-06-29T22:00:00Z"),
        ("trades", "trades_count", 29),
        ("sharpe", "metrics.sharpe", 1.0),
        ("sharpe", "metrics.sharpe", None),
        ("max_drawdown_pct", "metrics.max_drawdown_pct", 20.0),
        ("deflated_sharpe", "honesty.deflated_sharpe", 0.9499),
        ("deflated_sharpe", "honesty.deflated_sharpe", None),
        ("pbo", "honesty.pbo", 0.3001),
        ("pbo", "honesty.pbo", None),
        ("costs_x2", "honesty.costs_x2.total_return_pct", 0.0),
    ],
)
def test_each_bound_fails_just_beyond_it_and_alone(gate: str, path: str, value: object) -> None:
    assert failed(list(gates(changed(path, value)).values())) == [gate]


def test_overfitting_is_asked_only_where_there_were_trials() -> None:
    assert "pbo" not in gates(changed("honesty.trials", 1))


def test_no_evidence_does_not_pass_and_says_the_command() -> None:
    found = gates(None, None)
    assert failed(list(found.values())) == ["backtest", "rolling_cv"]
    assert "backtest run" in found["backtest"].note and "cv run" in found["rolling_cv"].note
    assert failed(list(gates(GOOD, {"id": "C2", "verdict": "fail", "folds": []}).values())) == ["rolling_cv"]


def test_a_live_wallet_wants_days_on_paper() -> None:
    def live(days: float) -> list[str]:
        return failed(algo_gates(Evidence(GOOD, PASSED_CV, days), BOUNDS, is_live=True))

    assert live(13.99) == ["paper_days"] and live(14) == []


def test_evidence_is_of_that_version_on_that_market(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = Workspace(tmp_path / "ws")
    init_workspace(workspace.root)
    store_synthetic(Warehouse(workspace.warehouse_dir), synthetic_market(3, 1200, "BTC", HOUR))
    command = [
        "backtest",
        "run",
        "sma_cross",
        "--market",
        "BTC",
        "--interval",
        "1h",
        "--venue",
        "synthetic",
        "-w",
        str(workspace.root),
        "--json",
    ]
    assert run(command) == 0
    document = json.loads(capsys.readouterr().out)
    config, results = load_config(workspace.config_file, {}), workspace.warehouse_dir / FILE_NAME
    ledger = open_ledger(workspace.ledger_file)
    with ledger.reading() as tx:
        kept = evidence_of(tx, results, document["algo_hash"], "sma_cross", ("BTC", HOUR), DAY_MS)
        assert kept.backtest is not None and kept.backtest["id"] == document["id"]
        assert algo_gates(kept, bounds_of(config))[0].figure == f"{1200 / 24:.0f}"
        for other in (("x", ("BTC", HOUR)), (document["algo_hash"], ("ETH", HOUR)), (document["algo_hash"], ("BTC", 2 * HOUR))):
            assert evidence_of(tx, results, other[0], "sma_cross", other[1], DAY_MS) == Evidence(None, None, 0.0)
    ledger.close()


def test_an_agent_has_no_open_questions(tmp_path: Path) -> None:
    ledger = create_ledger(tmp_path / "ledger.sqlite")
    with ledger.reading() as tx:
        (gate,) = agent_gates(tx, "scalper", None, BOUNDS, DAY_MS)
        assert gate.passed and gate.figure == "0"
        assert paper_days(tx, "scalper", DAY_MS) == 0
        assert failed(agent_gates(tx, "scalper", None, BOUNDS, DAY_MS, is_live=True)) == ["paper_days"]
    ledger.close()
