"""Every way to size an entry, from the command line: by itself, through the door, and in a search that breaks off at its end."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from study_workspace import ask, copied, make_workspace, unmoved

from tradeagent.algos.evaluate import Evaluator
from tradeagent.algos.parse import parse_algo
from tradeagent.domain.clock import parse_instant
from tradeagent.market.readers import columns
from tradeagent.market.series import SeriesKey
from tradeagent.market.warehouse import Warehouse
from tradeagent.research.store import FILE_NAME
from tradeagent.workspace.paths import Workspace

HOUR = 3_600_000
ALGO = """
name: sized
market: BTC
interval: 1h
indicators:
  fast: {{kind: sma, length: 5}}
  slow: {{kind: sma, length: 20}}
  r: {{kind: rsi, length: 14}}
  s: {{kind: stochastic}}
entry:
  long: {{required: ["fast > slow"]}}
  short: {{required: ["fast < slow"]}}
exit:
  long: {{stop_loss: {{pct: 2}}}}
  short: {{stop_loss: {{pct: 2}}}}
sizing: {sizing}
params: {{fast.length: [3, 9]}}
"""
SIZINGS = (
    "{abs: 150}",
    "{pct_of_equity: 40}",
    "{risk_pct: 0.5}",
    "{dynamic: {pct: 80, by: r}}",
    "{dynamic: {pct: 80, by: r, inverted: true}}",
    "{dynamic: {pct: 80, by: s.k, inverted: true}}",
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("sizings") / "ws")


def command(folder: Path, sizing: str, group: str, *flags: str) -> Sequence[str]:
    file = folder / "sized.yml"
    file.write_text(ALGO.format(sizing=sizing))
    return [group, "run", str(file), "--venue", "synthetic", "-w", str(folder), *flags]


def wanted(folder: Path, sizing: str, entered_ms: int) -> float:
    """The notional that the first entry asks for, from the indicator's own value at the close it was decided at."""
    if "dynamic" not in sizing:
        return {"{abs: 150}": 150.0, "{pct_of_equity: 40}": 400.0, "{risk_pct: 0.5}": 5.0 / 0.02}[sizing]
    bars, _ = columns(Warehouse(Workspace(folder).warehouse_dir), SeriesKey("synthetic", "BTC", HOUR))
    values = Evaluator(bars).columns(parse_algo(ALGO.format(sizing=sizing), "sized.yml"))["s.k" if "s.k" in sizing else "r"]
    value = float(values[(entered_ms - int(bars.time[0])) // HOUR - 1]) / 100
    return 800.0 * (1 - value if "inverted" in sizing else value)


@pytest.mark.parametrize("sizing", SIZINGS)
def test_the_first_entry_has_the_size_it_asks_for(base: Path, capsys: pytest.CaptureFixture[str], sizing: str) -> None:
    found = ask(capsys, [*command(base, sizing, "backtest", "--trades", "--fee-bps", "0", "--slippage-bps", "0", "--no-funding")])
    first = found["trades"][0]
    assert float(first["size"]) * float(first["entry_price"]) == pytest.approx(wanted(base, sizing, ms_of(first)), rel=0.02)
    assert len({trade["size"] for trade in found["trades"]}) > 10


@pytest.mark.parametrize("sizing", SIZINGS)
def test_the_door_sizes_an_entry_alike(base: Path, capsys: pytest.CaptureFixture[str], sizing: str) -> None:
    """Limits that bind nothing; the door computes a share and a risk by itself, which may differ by a step of the market."""
    file = base / "limits.yml"
    file.write_text("max_position_pct: 100\nmax_total_exposure_pct: 100\nmax_risk_per_trade_pct: 10\n")
    span = ("--from", "2025-01-01", "--to", "2025-01-15", "--trades")
    free = ask(capsys, [*command(base, sizing, "backtest", *span)])
    bound = ask(capsys, [*command(base, sizing, "backtest", *span, "--limits", str(file))])
    assert bound["refusals"] == {"refused": {}, "cut": {}} and len(free["trades"]) == len(bound["trades"]) > 5
    for one, other in zip(free["trades"], bound["trades"], strict=True):
        assert (one["entry_time"], one["exit_time"], one["exit_price"]) == (other["entry_time"], other["exit_time"], other["exit_price"])
        assert float(one["size"]) == pytest.approx(float(other["size"]), abs=1.01e-5)


def test_a_search_whose_last_backtest_fails_is_gone_on_with(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--n-trials", "7", "--seed", "3", "--workers", "1")
    whole = copied(base, tmp_path / "whole")
    never_failed = ask(capsys, [*command(whole, SIZINGS[3], "optimize", *flags)])
    folder = copied(base, tmp_path / "ws")
    results = Workspace(folder).warehouse_dir / FILE_NAME
    results.unlink(missing_ok=True)
    results.write_text("not a database")
    error = ask(capsys, [*command(folder, SIZINGS[3], "optimize", *flags)], 2)["error"]
    assert FILE_NAME in error["message"]
    (row,) = ask(capsys, ["optimize", "list", "-w", str(folder)])
    assert (row["state"], row["trials"]) == ("running", 7)
    results.unlink()
    resumed = ask(capsys, ["optimize", "run", "--resume", row["id"], "-w", str(folder)])
    assert (resumed["id"], resumed["resumed_trials"]) == (row["id"], 7)
    assert unmoved(resumed) == unmoved(never_failed)
    (row,) = ask(capsys, ["optimize", "list", "-w", str(folder)])
    assert row["state"] == "complete"


def ms_of(trade: dict[str, Any]) -> int:
    return parse_instant(trade["entry_time"], "entry_time")
