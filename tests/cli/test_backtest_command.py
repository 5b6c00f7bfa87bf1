"""`backtest`: the JSON that scripts depend on, tries that are counted, results that are kept and made again, errors that say the fix."""

import json
import os
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tradeagent.cli.entry import run
from tradeagent.ledger import studies
from tradeagent.ledger.store import open_ledger
from tradeagent.market.series import SeriesKey, bar_series
from tradeagent.market.synthetic import store_synthetic, synthetic_market
from tradeagent.market.warehouse import Warehouse
from tradeagent.research import record, version
from tradeagent.runtime.workspace import init_workspace
from tradeagent.workspace.paths import Workspace

HOUR, BEGIN, BARS = 3_600_000, 1_750_000_000_000 // 86_400_000 * 86_400_000, 1_500
ALGO = """
name: flip
market: BTC
interval: 1h
indicators:
  fast: {kind: sma, length: 5}
  slow: {kind: sma, length: 20}
entry:
  long: {required: ["fast > slow"]}
  short: {required: ["fast < slow"]}
exit:
  long: {stop_loss: {pct: 3}, take_profit: {rr: 2}}
  short: {stop_loss: {pct: 3}, take_profit: {rr: 2}}
sizing: {pct_of_equity: 80}
"""
TRADE_KEYS = "direction entry_time entry_price exit_time exit_price size pnl fees funding mae mfe r bars exit_reason"
HONESTY_KEYS = "trials sharpe_threshold psr deflated_sharpe pbo ci costs_x2 delay_1 lookahead limits_impact"
KEYS = """
    id algo version data costs metrics trades_count trades open_trade equity_end fill_model limits_impact warnings elapsed_s honesty
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with synthetic hours under the venue's name, and an algo file; tests that write results copy nothing and count."""
    folder = tmp_path_factory.mktemp("ws")
    init_workspace(folder)
    warehouse = Warehouse(Workspace(folder).warehouse_dir)
    store_synthetic(warehouse, synthetic_market(7, BARS, "BTC", HOUR, BEGIN))
    (folder / "flip.yml").write_text(ALGO)
    return folder


def ask(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert run([*arguments, "-w", str(folder), "--json"]) == code
    return json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


def told(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> str:
    capsys.readouterr()
    assert run([*arguments, "-w", str(folder)]) == 0
    return capsys.readouterr().out


def backtested(capsys: pytest.CaptureFixture[str], folder: Path, *flags: str, code: int = 0) -> Any:
    algo = [str(folder / "flip.yml"), "--venue", "synthetic"]
    return ask(capsys, folder, "backtest", "run", *algo, *flags, code=code)


def total(trades: Sequence[dict[str, Any]], key: str) -> Decimal:
    return sum((Decimal(trade[key]) for trade in trades), Decimal(0))


def test_the_document_holds_what_scripts_depend_on(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = backtested(capsys, made, "--trades")
    assert set(found) >= set(KEYS.split())
    data = {"venue": "synthetic", "market": "BTC", "interval": "1h", "bars": BARS, "made_from": None, "news": "none"}
    data |= {
        "first": "2025-06-15T00:00:00Z",
        "last": "2025-08-16T11:00:00Z",
        "funding_payments": BARS - 1,
        "fingerprint": found["data"]["fingerprint"],
    }
    assert found["data"] == data
    costs = {"taker_bps": "4.5", "maker_bps": "1.5", "slippage_bps": "2", "funding": True, "cash": "1000", "leverage": 1, "fill_qty": None}
    assert found["costs"] == costs
    trades = found["trades"]
    assert len(trades) == found["trades_count"] == found["metrics"]["trades"] > 10
    assert all(set(trade) == set(TRADE_KEYS.split()) for trade in trades)
    assert {type(trade[key]) for trade in trades for key in ("pnl", "fees", "entry_price", "size")} == {str}
    assert set(found["honesty"]) >= set(HONESTY_KEYS.split())
    assert found["honesty"]["lookahead"]["ok"] and set(found["honesty"]["ci"]) == {"sharpe", "annual_return_pct", "max_drawdown_pct"}


def test_money_adds_up_to_the_last_unit(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = backtested(capsys, made, "--trades", "--close-at-end")
    assert found["open_trade"] is None and found["trades"][-1]["exit_reason"] in ("end", "stop", "target", "flip")
    assert Decimal(found["equity_end"]) == 1000 + total(found["trades"], "pnl")
    assert Decimal(found["metrics"]["fees_quote"]) == total(found["trades"], "fees")
    assert Decimal(found["metrics"]["funding_quote"]) == total(found["trades"], "funding") != 0


def test_an_open_position_is_reported_and_not_counted(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    closed = backtested(capsys, made, "--trades", "--close-at-end")["trades"]
    entry = next(trade for trade in closed if trade["bars"] >= 3)
    # The data ends at the close of the bar after the entry's.
    at = int(np.datetime64(entry["entry_time"][:-1], "ms").astype(np.int64)) + 2 * HOUR
    found = backtested(capsys, made, "--trades", "--to", str(at))
    trade = found["open_trade"]
    assert trade is not None and (trade["entry_time"], trade["entry_price"]) == (entry["entry_time"], entry["entry_price"])
    assert "exit_time" not in trade and trade["bars"] == 1
    assert Decimal(found["equity_end"]) == 1000 + total(found["trades"], "pnl") + Decimal(trade["pnl"])


def test_flags_reach_the_run(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = backtested(capsys, made)
    free = backtested(capsys, made, "--fee-bps", "0", "--slippage-bps", "0", "--no-funding")
    assert (free["metrics"]["fees_quote"], free["metrics"]["slippage_quote"], free["metrics"]["funding_quote"]) == ("0", "0", "0")
    assert free["costs"]["funding"] is False and free["costs"]["taker_bps"] == "0"
    assert Decimal(free["equity_end"]) > Decimal(plain["equity_end"])
    cash = backtested(capsys, made, "--cash", "5000", "--leverage", "3", "--fill-qty", "0.01", "--trades", "--path", "nearest")
    assert (cash["costs"]["cash"], cash["costs"]["leverage"], cash["costs"]["fill_qty"]) == ("5000", 3, "0.01")
    assert {trade["size"] for trade in cash["trades"]} == {"0.01"} and cash["fill_model"]["path"].startswith("nearest")
    part = backtested(capsys, made, "--from", "2025-07-01", "--to", "2025-07-08")
    assert (part["data"]["first"], part["data"]["last"], part["data"]["bars"]) == ("2025-07-01T00:00:00Z", "2025-07-07T23:00:00Z", 168)
    wide = backtested(capsys, made, "--interval", "4h")
    assert (wide["data"]["interval"], wide["data"]["made_from"], wide["data"]["bars"]) == ("4h", "1h", BARS // 4)


def test_limits_go_through_the_door(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = made / "limits.yml"
    file.write_text("max_position_pct: 40\nmax_total_exposure_pct: 40\n")
    span = ("--from", "2025-07-01", "--to", "2025-07-15")
    free, bound = backtested(capsys, made, *span), backtested(capsys, made, *span, "--limits", str(file), "--trades")
    assert free["refusals"] is None and bound["refusals"]["cut"]["POSITION_CAP"] > 0
    assert all(Decimal(t["size"]) * Decimal(t["entry_price"]) < 500 for t in bound["trades"])


def test_every_try_at_an_idea_is_counted_once(tmp_path: Path, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.yml"
    file.write_text(ALGO.replace("name: flip", "name: counted"))

    def tries(*flags: str) -> int:
        found = ask(capsys, made, "backtest", "run", str(file), "--venue", "synthetic", *flags)
        return int(found["honesty"]["trials"])

    assert [tries(), tries(), tries("--param", "fast.length=6"), tries("-p", "fast.length=5"), tries("--fee-bps", "5")] == [1, 1, 2, 2, 3]
    file.write_text(file.read_text().replace("pct: 3", "pct: 4"))
    assert tries() == 4
    assert tries("--to", "2025-08-01") == 5


def test_more_tries_lower_the_deflated_sharpe(tmp_path: Path, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "deflate.yml"
    file.write_text(ALGO.replace("name: flip", "name: deflated"))
    first = ask(capsys, made, "backtest", "run", str(file), "--venue", "synthetic")["honesty"]
    for length in (3, 4, 6):
        ask(capsys, made, "backtest", "run", str(file), "--venue", "synthetic", "-p", f"fast.length={length}")
    again = ask(capsys, made, "backtest", "run", str(file), "--venue", "synthetic")["honesty"]
    assert first["sharpe_threshold"] == 0 and first["deflated_sharpe"] == first["psr"] == again["psr"]
    assert again["trials"] == 4 and again["sharpe_threshold"] > 0 and again["deflated_sharpe"] < first["deflated_sharpe"]


def test_the_newest_search_of_the_idea_tells_its_overfitting(tmp_path: Path, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "searched.yml"
    file.write_text(ALGO.replace("name: flip", "name: searched"))
    plan = {"algo": {"lineage": "searched"}, "setup": {"market": "BTC"}}
    ledger = open_ledger(Workspace(made).ledger_file)
    rows = [("01OLD", plan, 0.4), ("01NEW", plan, 0.3), ("01ETH", plan | {"setup": {"market": "ETH"}}, 0.9), ("01SHORT", plan, None)]
    with ledger.transaction() as tx:
        for time, (study, asked, value) in enumerate(rows):
            studies.create(tx, studies.StudyRow(study, "optimize", studies.RUNNING, asked, None, time))
            studies.finish(tx, study, studies.COMPLETE, {"honesty": {"pbo": value}, "distinct": 12})
    ledger.close()
    found = ask(capsys, made, "backtest", "run", str(file), "--venue", "synthetic")["honesty"]
    assert found["pbo"] == 0.3 and "search …01NEW, 12 trials" in found["notes"]["pbo"]


def test_limits_of_very_many_entries_are_an_estimate_that_says_so(
    made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--leverage", "5")
    exact = backtested(capsys, made, *flags)
    monkeypatch.setattr(record, "MOST_JUDGED", 5)
    monkeypatch.setattr(record, "ENOUGH_JUDGED", 4)
    part = backtested(capsys, made, *flags)
    entries = exact["trades_count"] + (exact["open_trade"] is not None)
    refused = [sum(counts["refused"] for counts in found["limits_impact"].values()) for found in (exact, part)]
    assert exact["limits_impact"]["LEVERAGE"]["refused"] > 0 and refused[0] == entries and abs(refused[1] - entries) <= 2
    assert "limits_impact" not in exact["honesty"]["notes"]
    assert part["honesty"]["notes"]["limits_impact"].startswith("estimated from 4 of ")


def test_a_result_is_kept_listed_and_shown(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = backtested(capsys, made, "--trades", "--param", "slow.length=30")
    listed = ask(capsys, made, "backtest", "list", "--algo", "flip", "--limit", "1")
    assert [row["id"] for row in listed] == [found["id"]] and listed[0]["state"] == "current"
    for reference in (found["id"], found["id"][-8:].lower(), "last"):
        shown = ask(capsys, made, "backtest", "show", reference, "--trades")
        assert shown == found | {"moved": None, "state": "current"}
    assert "trades" not in ask(capsys, made, "backtest", "show", "last")


def test_compare_puts_differences_and_figures_side_by_side(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = backtested(capsys, made), backtested(capsys, made, "--fee-bps", "9", "--param", "fast.length=8")
    found = ask(capsys, made, "backtest", "compare", one["id"], two["id"])
    assert found["ids"] == [one["id"], two["id"]]
    assert found["question"]["taker"] == ["0.00045", "0.0009"] and found["question"]["param fast.length"] == [None, "8"]
    assert "market" not in found["question"]
    assert found["metrics"]["sharpe"] == [one["metrics"]["sharpe"], two["metrics"]["sharpe"]]
    text = told(capsys, made, "backtest", "compare", one["id"], two["id"])
    assert f"…{one['id'][-6:]}" in text and "max_drawdown_pct" in text


def test_again_is_equal_until_something_moves(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "ws"
    init_workspace(folder)
    warehouse, market = Warehouse(Workspace(folder).warehouse_dir), synthetic_market(7, 400, "BTC", HOUR, BEGIN)
    store_synthetic(warehouse, market)
    file = folder / "flip.yml"
    file.write_text(ALGO)
    kept = backtested(capsys, folder)
    file.unlink()
    same = ask(capsys, folder, "backtest", "run", "--again", "last")
    assert same == {"id": kept["id"], "equal": True, "moved": []}
    assert ask(capsys, folder, "backtest", "list")[0]["state"] == "equal"
    longer = synthetic_market(7, 401, "BTC", HOUR, BEGIN).bars
    warehouse.append_bars(bar_series(SeriesKey("synthetic", "BTC", HOUR), *(np.array(values) for values in longer.columns().values())))
    moved = ask(capsys, folder, "backtest", "run", "--again", "last")
    assert not moved["equal"] and {"data.bars", "data.fingerprint"} <= {row["what"] for row in moved["moved"]}
    assert ask(capsys, folder, "backtest", "list")[0]["state"] == "moved"
    assert ask(capsys, folder, "backtest", "run", "--again", "last", code=0)["equal"] is False
    assert "01NOSUCH" in ask(capsys, folder, "backtest", "run", "--again", "01NOSUCH", code=4)["error"]["message"]
    monkeypatch.setattr(version, "kernel_version", lambda: "another")
    fresh = backtested_again(capsys, folder)
    assert fresh["state"] == "moved"


def backtested_again(capsys: pytest.CaptureFixture[str], folder: Path) -> Any:
    return ask(capsys, folder, "backtest", "list")[0]


def test_a_result_of_another_kernel_is_stale(made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = backtested(capsys, made)
    monkeypatch.setattr(version, "kernel_version", lambda: "another")
    assert {row["id"]: row["state"] for row in ask(capsys, made, "backtest", "list")}[found["id"]] == "stale"
    assert ask(capsys, made, "backtest", "show", found["id"])["state"] == "stale"
    assert "another kernel made this" in told(capsys, made, "backtest", "show", found["id"])


def test_a_person_reads_sections(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys, made, "backtest", "run", str(made / "flip.yml"), "--venue", "synthetic", "--trades")
    for title in ("Data", "Costs", "Result", "Honesty", "Limits", "Exits"):
        assert f"\n{title}\n  " in text
    assert "synthetic" in text.splitlines()[0] and "tries at this idea" in text and "entry time" in text
    assert max(map(len, text.splitlines())) <= 140


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nosuch", "-m", "BTC", "-i", "1h"], 4, "no algo 'nosuch'"),
        (["FLIP", "--venue", "synthetic", "-m", "ETH"], 2, "synthetic:ETH:1h"),
        (["FLIP", "--venue", "synthetic", "-i", "7m"], 2, "--interval: 7m is no interval of the venue"),
        (["FLIP", "--venue", "synthetic", "-i", "30m"], 2, "synthetic:BTC:30m"),
        (["FLIP", "--venue", "synthetic", "--cash", "1e400"], 2, "--cash: 1.000e+400 is not from 10 to"),
        (["FLIP", "--venue", "synthetic", "--cash", "0." + "3" * 400], 2, "--cash: 3.333e-1 is not from 10 to"),
        (["FLIP", "--venue", "synthetic", "--from", "2031-01-01"], 2, "they run from 2025-06-15T00:00:00Z to 2025-08-16T12:00:00Z"),
        (["FLIP", "--venue", "synthetic", "--from", "2025-07-02", "--to", "2025-07-01"], 2, "is not before --to"),
        (["FLIP", "--venue", "synthetic", "-p", "slow.length=1600"], 2, "needs more than 1,599 bars"),
        (["FLIP", "--venue", "synthetic", "-p", "slow"], 2, "'slow' is not NAME=VALUE"),
        (["FLIP", "--venue", "synthetic", "-p", "slwo.length=3"], 2, "slwo.length"),
        (["FLIP", "--venue", "synthetic", "--fee-bps", "-1"], 2, "--fee-bps: -1"),
        (["FLIP", "--venue", "synthetic", "--fee-bps", "x"], 2, "--fee-bps: 'x' is not a number"),
        (["FLIP", "--venue", "synthetic", "--slippage-bps", "0.25"], 2, "tenth of a basis point"),
        (["FLIP", "--venue", "synthetic", "--cash", "0"], 2, "--cash: 0 is not from 10 to"),
        (["FLIP", "--venue", "synthetic", "--path", "kind"], 2, "--path: 'kind'"),
        (["FLIP", "--venue", "synthetic", "--limits", "nosuch"], 2, "limits: 'nosuch'"),
        (["FLIP", "--venue", "synthetic", "--leverage", "101"], 2, "--leverage: 101"),
        (["sma_cross", "-i", "1h"], 2, "--market is missing"),
        ([], 2, "which algo?"),
        (["FLIP", "--again", "last"], 2, "takes no algo"),
    ],
)
def test_errors_name_the_problem_and_the_fix(
    made: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    typed = [str(made / "flip.yml") if word == "FLIP" else word for word in arguments]
    error = ask(capsys, made, "backtest", "run", *typed, code=code)["error"]
    assert words in error["message"] and error["hint"] and len(error["message"]) < 300


def test_too_few_bars_after_from_say_that_earlier_ones_are_stored(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--venue", "synthetic", "--from", "2025-08-16")
    error = ask(capsys, made, "backtest", "run", str(made / "flip.yml"), *flags, code=2)["error"]
    assert "earlier --from" in error["hint"] and "2025-06-15" in error["hint"]
    assert "earlier --from" in ask(capsys, made, "algo", "explore", str(made / "flip.yml"), *flags, code=2)["error"]["hint"]
    lone = ask(capsys, made, "backtest", "run", str(made / "flip.yml"), "--venue", "synthetic", "-p", "slow.length=1600", code=2)
    assert "import more bars" in lone["error"]["hint"]


def test_an_interval_that_is_stored_can_be_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init_workspace(tmp_path / "ws")
    seven = 7 * 60_000
    store_synthetic(Warehouse(Workspace(tmp_path / "ws").warehouse_dir), synthetic_market(7, 300, "BTC", seven, BEGIN // seven * seven))
    (tmp_path / "flip.yml").write_text(ALGO)
    found = ask(capsys, tmp_path / "ws", "backtest", "run", str(tmp_path / "flip.yml"), "--venue", "synthetic", "-i", "7m")
    assert found["data"]["interval"] == "7m"


GOOD = """
import numpy as np

def signals(bars, length=20):
    close, n = bars["close"], length
    mean = np.convolve(close, np.ones(n) / n)[: len(close)]
    mean[: n - 1] = np.nan
    return np.where(close > mean, 1, np.where(close < mean, -1, 0))
"""
BAD = GOOD.replace("close > mean", "np.roll(close, -1) > close")


def test_a_python_algo_runs_when_it_does_not_look_ahead(tmp_path: Path, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in (("good", GOOD), ("bad", BAD)):
        (tmp_path / f"{name}.py").write_text(text)
    where = ("--venue", "synthetic", "-m", "BTC", "-i", "1h")
    capsys.readouterr()
    code = run(["backtest", "run", str(tmp_path / "good.py"), *where, "--param", "length=30", "--json", "-w", str(made)])
    found = json.loads(capsys.readouterr().out)
    if code == 3 and found["error"]["details"].get("reason") == "sandbox_unavailable":
        pytest.skip(found["error"]["message"])
    assert code == 0 and found["trades_count"] > 5 and found["honesty"]["lookahead"]["ok"] and found["params"] == {"length": "30"}
    assert ask(capsys, made, "backtest", "run", "--again", found["id"])["equal"]
    kept = len(ask(capsys, made, "backtest", "list"))
    error = ask(capsys, made, "backtest", "run", str(tmp_path / "bad.py"), *where, code=2)["error"]
    assert (error["code"], error["details"]["reason"]) == ("invalid_input", "look_ahead") and "look-ahead" in error["message"]
    assert len(ask(capsys, made, "backtest", "list")) == kept


def test_two_backtests_are_needed_to_compare(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(capsys, made, "backtest", "compare", "last", code=2)["error"]["message"] == "compare needs two backtests"


def test_an_empty_workspace_says_what_to_type(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init_workspace(tmp_path / "ws")
    assert ask(capsys, tmp_path / "ws", "backtest", "list") == []
    assert "tradeagent backtest run" in told(capsys, tmp_path / "ws", "backtest", "list")
    assert "no research results" in ask(capsys, tmp_path / "ws", "backtest", "show", "last", code=4)["error"]["message"]


def test_help_does_not_load_what_runs_need(made: Path) -> None:
    import subprocess
    import sys

    code = "import sys, tradeagent.cli.app; print([m for m in ('numba', 'duckdb', 'sqlalchemy', 'pandas', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stdout.strip() == "[]"
