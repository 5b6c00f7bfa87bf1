"""Bars that had not closed when a command ran are seen by nothing that judges an algo, and each answer says how many there were."""

import json
from pathlib import Path
from typing import Any

import pytest

from tradeagent.cli.entry import run
from tradeagent.domain.clock import SystemClock, iso
from tradeagent.market.synthetic import store_synthetic, synthetic_market
from tradeagent.market.warehouse import Warehouse
from tradeagent.runtime.workspace import init_workspace
from tradeagent.workspace.paths import Workspace

HOUR = 3_600_000
PAST, AHEAD = 900, 300
ON = ("sma_cross", "--venue", "synthetic", "--interval", "1h")


@pytest.fixture(scope="module")
def begin() -> int:
    """900 hours before the current one."""
    return SystemClock().now_ms() // HOUR * HOUR - PAST * HOUR


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, begin: int) -> Path:
    """Two markets of synthetic hours, the first 900 closed, the 300 after them in the future."""
    folder = tmp_path_factory.mktemp("unclosed")
    init_workspace(folder)
    for seed, market in enumerate(("BTC", "ETH")):
        made = synthetic_market(seed, PAST + AHEAD, market, HOUR, begin)
        store_synthetic(Warehouse(Workspace(folder).warehouse_dir), made)
    return folder


def ask(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert run([*arguments, "-w", str(folder), "--json"]) == code, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def unclosed(found: dict[str, Any]) -> int:
    """How many the answer says were left out. An hour may end while the test runs."""
    (warning,) = [one for one in found["warnings"] if one["code"] == "unclosed"]
    return int(warning["count"])


@pytest.mark.parametrize("markets", [("BTC",), ("BTC", "ETH")])
def test_a_backtest_ends_at_the_newest_closed_bar(
    folder: Path, begin: int, capsys: pytest.CaptureFixture[str], markets: tuple[str, ...]
) -> None:
    named = [word for market in markets for word in ("--market", market)]
    found = ask(capsys, folder, "backtest", "run", *ON, *named)
    assert found["data"]["bars"] in (PAST, PAST + 1)
    assert unclosed(found) == len(markets) * (PAST + AHEAD - found["data"]["bars"])
    cut = ask(capsys, folder, "backtest", "run", *ON, *named, "--to", str(begin + found["data"]["bars"] * HOUR))
    assert cut["metrics"] == found["metrics"] and cut["data"]["fingerprint"] == found["data"]["fingerprint"]
    assert all(warning["code"] != "unclosed" for warning in cut["warnings"])
    assert run(["backtest", "report", found["id"], "--out", str(folder / "report.html"), "-w", str(folder)]) == 0
    assert run(["backtest", "run", *ON, *named, "-w", str(folder)]) == 0
    assert f"{unclosed(found)}  stored bars were left out: they had not closed yet" in capsys.readouterr().out


def test_a_search_and_a_validation_do_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = (*ON, "--market", "BTC", "--param", "fast=5:9", "--n-trials", "3", "--workers", "1")
    best = ask(capsys, folder, "optimize", "run", *place)
    assert best["data"]["bars"] in (PAST, PAST + 1) and unclosed(best) >= AHEAD - 1
    assert any("stored bars were left out: they had not closed" in note for note in best["notes"])
    tested = ask(capsys, folder, "cv", "run", *place, "--folds", "2")
    assert tested["data"]["bars"] in (PAST, PAST + 1) and unclosed(tested) >= AHEAD - 1
    capsys.readouterr()
    assert run(["cv", "show", tested["id"], "-w", str(folder)]) == 0
    assert f"note: {unclosed(tested)} stored bars were left out" in capsys.readouterr().out


def test_explore_and_probe_do_too(folder: Path, begin: int, capsys: pytest.CaptureFixture[str]) -> None:
    explored = ask(capsys, folder, "algo", "explore", *ON, "--market", "BTC")
    assert explored["bars"] in (PAST, PAST + 1) and unclosed(explored) >= AHEAD - 1
    probed = ask(capsys, folder, "algo", "probe", *ON, "--market", "BTC")
    assert 0 <= probed["age_s"] < 7200 and unclosed(probed) >= AHEAD - 1


def test_a_span_of_the_future_alone_says_so(folder: Path, begin: int, capsys: pytest.CaptureFixture[str]) -> None:
    ahead = str(iso(begin + (PAST + 10) * HOUR))
    for command in (("backtest", "run"), ("algo", "explore")):
        error = ask(capsys, folder, *command, *ON, "--market", "BTC", "--from", ahead, code=2)["error"]
        assert error["code"] == "data_error" and "not closed yet" in error["message"] and error["hint"]
