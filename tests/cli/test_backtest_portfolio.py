"""`backtest run` over several markets of one account: the figures of the door, one set of cash, bars that every market has."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tradeagent.algos.store import from_file
from tradeagent.cli.entry import run
from tradeagent.domain.clock import SystemClock
from tradeagent.market.instruments import instrument
from tradeagent.market.series import SeriesKey, bar_series
from tradeagent.market.synthetic import store_synthetic, synthetic_market
from tradeagent.market.warehouse import Warehouse
from tradeagent.research.backtest import Setup, load_all, terms_of
from tradeagent.research.eventpath import replay
from tradeagent.research.metrics import metrics_of
from tradeagent.research.result import metrics_json, quote_text, trades_json
from tradeagent.runtime.workspace import init_workspace
from tradeagent.workspace.paths import Workspace

HOUR, BEGIN = 3_600_000, 1_750_000_000_000 // 86_400_000 * 86_400_000
LATE, BARS, HOLE = 30, 600, 250
ALGO = """
name: pair
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
sizing: {pct_of_equity: 60}
leverage: 2
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BTC from the beginning; ETH 30 hours later and with a hole of one bar, so that 570 - 1 bars are shared; SOL long after both."""
    folder = tmp_path_factory.mktemp("ws")
    init_workspace(folder)
    warehouse = Warehouse(Workspace(folder).warehouse_dir)
    store_synthetic(warehouse, synthetic_market(7, BARS, "BTC", HOUR, BEGIN))
    later = synthetic_market(8, BARS - LATE, "ETH", HOUR, BEGIN + LATE * HOUR)
    kept = np.arange(BARS - LATE) != HOLE
    columns = [np.array(values)[kept] for values in later.bars.columns().values()]
    warehouse.append_bars(bar_series(SeriesKey("synthetic", "ETH", HOUR), *columns))
    store_synthetic(warehouse, synthetic_market(9, 100, "SOL", HOUR, BEGIN + 5_000 * HOUR))
    (folder / "pair.yml").write_text(ALGO)
    return folder


def ask(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert run([*arguments, "-w", str(folder), "--json"]) == code, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def backtested(capsys: pytest.CaptureFixture[str], folder: Path, *flags: str, code: int = 0) -> Any:
    return ask(capsys, folder, "backtest", "run", str(folder / "pair.yml"), "--venue", "synthetic", *flags, code=code)


BOTH = ("--market", "BTC", "--market", "ETH")


def test_the_command_says_what_the_door_says(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = backtested(capsys, made, *BOTH, "--trades")
    algo, known = from_file(made / "pair.yml"), [instrument("synthetic", market) for market in ("BTC", "ETH")]
    setup = Setup("synthetic", "BTC", HOUR, terms=terms_of(algo.spec), others=("ETH",))
    legs = [one.leg for one in load_all(Warehouse(Workspace(made).warehouse_dir), algo, setup, known, SystemClock().now_ms())]
    event = replay(legs, setup.terms).run
    assert found["metrics"] == metrics_json(metrics_of(event, legs, setup.terms))
    assert found["trades"] == trades_json(event.trades, legs[0].bars.time, known)
    assert found["equity_end"] == quote_text(int(event.equity[-1]))
    assert {trade["market"] for trade in found["trades"]} == {"BTC", "ETH"} and found["trades_count"] > 20


def test_the_account_is_one(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its cash is there once, all trades together made what it gained, and two positions are open beside each other."""
    closed = backtested(capsys, made, *BOTH, "--trades", "--close-at-end")
    assert closed["open_trade"] is None and closed["open_trades"] == []
    assert Decimal(closed["equity_end"]) == 1000 + sum(Decimal(trade["pnl"]) for trade in closed["trades"])
    found = backtested(capsys, made, *BOTH, "--trades", "--to", _when_both_are_open(closed["trades"]))
    still = found["open_trades"]
    assert found["open_trade"] == still[0] and {trade["market"] for trade in still} == {"BTC", "ETH"}
    made_by_all = sum(Decimal(trade["pnl"]) for trade in (*found["trades"], *still))
    assert Decimal(found["equity_end"]) == 1000 + made_by_all
    assert found["metrics"]["max_leverage_used"] > 1.1


def _when_both_are_open(trades: list[dict[str, Any]]) -> str:
    """A time within trades of both markets, after the bars of their entries."""
    for one in trades:
        for other in trades:
            begin = max(one["entry_time"], other["entry_time"])
            if (
                one["market"] < other["market"]
                and min(one["bars"], other["bars"]) > 3
                and begin < min(one["exit_time"], other["exit_time"])
            ):
                return str(int(np.datetime64(begin[:-1], "ms").astype(np.int64)) + HOUR)
    raise AssertionError("no two trades overlap")


def test_only_bars_that_every_market_has_are_played(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = backtested(capsys, made, *BOTH)
    data = found["data"]
    assert (data["market"], data["interval"], data["bars"], data["first"]) == ("BTC+ETH", "1h", BARS - LATE - 1, "2025-06-16T06:00:00Z")
    dropped = {each["market"]: (each["bars"], each["dropped_bars"]) for each in data["markets"]}
    assert dropped == {"BTC": (BARS - LATE - 1, LATE + 1), "ETH": (BARS - LATE - 1, 0)}
    warnings = {row["code"]: row["count"] for row in found["warnings"]}
    assert (warnings["dropped_bars"], warnings["missing_bars"]) == (LATE + 1, 2)


def test_how_the_markets_are_typed_plays_no_part(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, *same = (backtested(capsys, made, *flags) for flags in (BOTH, ("-m", "ETH", "-m", "BTC"), ("--market", "ETH, BTC")))
    moving = ("id", "elapsed_s", "timings", "honesty", "limits_impact")
    for other in same:
        assert {key: value for key, value in other.items() if key not in moving} == {k: v for k, v in one.items() if k not in moving}
        assert other["honesty"]["trials"] == one["honesty"]["trials"]


def test_one_market_is_told_as_before(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = backtested(capsys, made, "--market", "BTC", "--trades")
    assert found["data"]["market"] == "BTC" and "markets" not in found["data"] and "open_trades" not in found
    assert all("market" not in trade for trade in found["trades"]) and "conditions" in found["diagnostics"]


def test_limits_are_obeyed_by_the_account_as_a_whole(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = made / "limits.yml"
    file.write_text("max_position_pct: 100\nmax_total_exposure_pct: 70\nmax_leverage: 2\n")
    span = (*BOTH, "--to", str(BEGIN + 200 * HOUR))
    free, bound = backtested(capsys, made, *span), backtested(capsys, made, *span, "--limits", str(file))
    assert free["metrics"]["max_leverage_used"] > 1.1 and bound["metrics"]["max_leverage_used"] < 0.8
    assert bound["refusals"]["cut"].get("EXPOSURE_CAP", 0) > 0


def test_it_is_kept_shown_listed_compared_drawn_and_made_again(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = backtested(capsys, made, *BOTH, "--trades")
    shown = ask(capsys, made, "backtest", "show", found["id"], "--trades")
    assert {key: shown[key] for key in found} == found
    for market in ("BTC", "ETH", "BTC+ETH"):
        assert found["id"] in {row["id"] for row in ask(capsys, made, "backtest", "list", "--market", market)}
    assert found["id"] not in {row["id"] for row in ask(capsys, made, "backtest", "list", "--market", "SOL")}
    assert ask(capsys, made, "backtest", "run", "--again", found["id"]) == {"id": found["id"], "equal": True, "moved": []}
    alone = backtested(capsys, made, "--market", "BTC")
    compared = ask(capsys, made, "backtest", "compare", found["id"], alone["id"])
    assert compared["question"]["market"] == ["BTC+ETH", "BTC"]
    assert ask(capsys, made, "backtest", "plot", found["id"])["equity"]
    capsys.readouterr()
    assert run(["backtest", "plot", found["id"], "-w", str(made)]) == 0
    drawn = capsys.readouterr().out
    assert "price of BTC" in drawn and "price of ETH" in drawn
    for file in ("page.html", "page.png"):
        ask(capsys, made, "backtest", "report", found["id"], "--out", str(tmp_path / file))
    page = (tmp_path / "page.html").read_text()
    assert "pair on BTC+ETH 1h" in page and "<small>ETH: " in page and page.count("<td>ETH<td>") == _count(found, "ETH")
    assert (tmp_path / "page.png").read_bytes()[:4] == b"\x89PNG"


def _count(found: dict[str, Any], market: str) -> int:
    return sum(trade["market"] == market for trade in (*found["trades"], *found["open_trades"]))


def test_a_market_that_moved_is_named(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init_workspace(tmp_path / "ws")
    warehouse = Warehouse(Workspace(tmp_path / "ws").warehouse_dir)
    for seed, market in ((7, "BTC"), (8, "ETH")):
        store_synthetic(warehouse, synthetic_market(seed, 300, market, HOUR, BEGIN))
    (tmp_path / "ws" / "pair.yml").write_text(ALGO)
    found = backtested(capsys, tmp_path / "ws", *BOTH)
    # Ten more bars of one market bring a payment at the last close that both have.
    store_synthetic(warehouse, synthetic_market(8, 310, "ETH", HOUR, BEGIN))
    moved = {row["what"] for row in ask(capsys, tmp_path / "ws", "backtest", "run", "--again", found["id"])["moved"]}
    assert "data.ETH.fingerprint" in moved and "data.BTC.fingerprint" not in moved
    assert "equity" not in moved, "the bars that both have are the same"


def test_a_person_reads_each_market(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["backtest", "run", str(made / "pair.yml"), "--venue", "synthetic", *BOTH, "--trades", "-w", str(made)]) == 0
    text = capsys.readouterr().out
    assert "pair on synthetic BTC+ETH 1h" in text and f"{LATE + 1} bars that another market lacks left out" in text
    assert "not every market of the account has one at that time" in text and "optimize run" not in text
    assert max(map(len, text.splitlines())) <= 160


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (("--market", "BTC", "--market", "XRP"), 2, "synthetic:XRP:1h: no bars are stored"),
        (("--market", "BTC,BTC"), 2, "--market: BTC is given twice"),
        (("--market", "BTC", "--market", "SOL"), 2, "BTC and SOL have no 1h bar in common: BTC from 2025-06-15T00:00:00Z to"),
        (("--market", ","), 2, "--market is missing"),
        ((*BOTH, "--leverage", "30"), 2, "leverage: 30 is not from 1 to 25, which ETH allows"),
        ((*BOTH, "--to", str(BEGIN + 40 * HOUR)), 2, "pair needs more than 19 bars of 1h"),
        ((*BOTH, "--to", str(BEGIN + 10 * HOUR)), 2, "no bars of ETH 1h from the beginning to"),
    ],
)
def test_errors_name_the_market(made: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], code: int, words: str) -> None:
    error = backtested(capsys, made, *flags, code=code)["error"]
    assert words in error["message"] and error["hint"]


def test_a_search_takes_one_market(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ("optimize", "run", str(made / "pair.yml"), "--venue", "synthetic", "--market", "BTC,ETH", "--param", "fast.length=3:9")
    assert "a search takes one market, not BTC+ETH" in ask(capsys, made, *line, code=2)["error"]["message"]


@pytest.mark.real_data
def test_real_bars_of_two_markets_give_the_figures_of_the_door(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init_workspace(tmp_path / "ws")
    for market in ("BTC", "ETH"):
        for kind, extra in (("15m", ()), ("funding_1h", ("--funding",))):
            file = str(shared_data / f"hyperliquid_{market}_{kind}.parquet")
            ask(capsys, tmp_path / "ws", "data", "import", file, "--market", market, "--interval", "15m", *extra)
    span = ("--interval", "15m", "--from", "2025-04-01", "--to", "2025-04-04")
    found = ask(capsys, tmp_path / "ws", "backtest", "run", "sma_cross", "--market", "BTC,ETH", *span, "--trades", "--param", "fast=5")
    assert found["trades_count"] > 4 and found["data"]["funding_payments"] > 100
    from tradeagent.algos.store import built_in
    from tradeagent.research.backtest import from_config
    from tradeagent.research.store import FILE_NAME, get

    kept = get(Workspace(tmp_path / "ws").warehouse_dir / FILE_NAME, found["id"])
    setup, known = from_config(kept.config), [instrument("hyperliquid", market) for market in ("BTC", "ETH")]
    stored = Warehouse(Workspace(tmp_path / "ws").warehouse_dir)
    legs = [one.leg for one in load_all(stored, built_in("sma_cross"), setup, known, kept.created_ms)]
    event = replay(legs, replace(setup.terms)).run
    assert np.array_equal(kept.equity, event.equity)
    assert found["trades"] == trades_json(event.trades, legs[0].bars.time, known)
