"""Algos on paper wallets: the trades of their backtest, one deployment a wallet, started again after a crash, stopped by people."""

import json
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from product import BTC, Product, copied, wait_until

pytestmark = pytest.mark.real_data
DAYS = "2025-03-18T10:00Z"
KILLS = 4
TRAILED = """
name: trailed
indicators:
  fast: {kind: ema, length: 5}
  slow: {kind: ema, length: 13}
  rsi: {kind: rsi, length: 7}
entry:
  long: {required: ["cross_above(fast, slow)"], buy_back: {pct: 0.1, trailing: true}}
  short: {required: ["cross_below(fast, slow)", "rsi < 50"]}
exit:
  long: {required: ["rsi > 75"], stop_loss: {pct: 0.4}, take_profit: {rr: 2}, trailing: true}
  short: {required: ["rsi < 25"], stop_loss: {atr: 2}}
sizing: {pct_of_equity: 50}
leverage: 2
timeout: {mode: strict, bars: 3}
"""
COLUMNS = ("direction", "entry_price", "exit_price", "size", "pnl", "fees", "funding", "exit_reason")


def rows(product: Product, query: str, *values: Any) -> list[dict[str, Any]]:
    """What the ledger holds."""
    db = sqlite3.connect(f"file:{product.ledger_file}?mode=ro", uri=True)
    db.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in db.execute(query, values)]
    finally:
        db.close()


def deployment(product: Product, name: str) -> dict[str, Any]:
    return rows(product, "SELECT * FROM deployments WHERE id = ?", name)[0]


def trades(product: Product, wallet: str) -> list[tuple[Any, ...]]:
    found = rows(product, "SELECT * FROM round_trips WHERE wallet = ? ORDER BY seq", wallet)
    return [tuple(str(row[key]) if key in ("direction", "exit_reason") else number(row[key]) for key in COLUMNS) for row in found]


def number(text: Any) -> str:
    return f"{float(text):.6f}"


def backtested(product: Product, algo: str, market: str, interval: str, *more: str) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    words = ("backtest", "run", algo, "--market", market, "--interval", interval, "--cash", "10000", "--limits", "algo")
    found = product.ask(*words, "--trades", *more)
    return found, [
        tuple(str(t[key]) if key in ("direction", "exit_reason") else number(t[key]) for key in COLUMNS) for t in found["trades"]
    ]


def saved(product: Product, text: str, name: str) -> str:
    file = product.root / f"{name}.yml"
    file.write_text(text)
    product.ask("algo", "new", name, "--from", str(file))
    return name


def wallet(product: Product, name: str = "trend") -> str:
    product.ask("wallet", "new", name, "--group", "algo", "--cash", "10000")
    return name


@pytest.fixture
def place(template: Path, tmp_path: Path) -> Iterator[Product]:
    """A workspace whose background processes are gone when the test ends."""
    product = copied(template, tmp_path / "ws")
    yield product
    for row in rows(product, "SELECT pid FROM deployments"):
        if is_alive(row["pid"]) and row["pid"] != os.getpid():
            os.kill(row["pid"], signal.SIGKILL)


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def state_of(place: Product, deployment_id: str) -> str:
    return next(row["state"] for row in place.ask("status")["deployments"] if row["id"] == deployment_id)


@pytest.mark.parametrize(
    ("algo", "market", "params"),
    [("rsi_reversal", "ETH", ()), ("breakout", "BTC", ("length=30",)), ("supertrend", "HYPE", ()), ("trailed", "BTC", ())],
)
def test_a_deployed_algo_trades_what_its_backtest_trades(place: Product, algo: str, market: str, params: tuple[str, ...]) -> None:
    if algo == "trailed":
        saved(place, TRAILED, algo)
    given = [word for param in params for word in ("--param", param)]
    wallet(place)
    run = place.ask(
        "deploy", "algo", algo, "--wallet", "trend", "--market", market, "--interval", "5m", *given,
        "--replay", f"hyperliquid:{market}:5m", "--to", DAYS,
    )  # fmt: skip
    tested, wanted = backtested(place, algo, market, "5m", *given, "--to", DAYS)
    assert len(wanted) > 3
    assert trades(place, "trend") == wanted
    assert run["equity_end"] == tested["equity_end"]
    assert run["stopped_because"] == "end_of_data" and run["round_trips"] == len(wanted)
    assert run["ticks"] == tested["data"]["bars"]
    moved = rows(place, "SELECT 1 FROM intents WHERE kind = 'update' AND state = 'executed'")
    assert len(rows(place, "SELECT 1 FROM ticks WHERE action LIKE 'stop of %'")) == len(moved)
    assert moved or algo in ("supertrend", "trailed"), "signals that come again tighten the stop on paper too"


def test_a_coarser_algo_decides_at_its_own_closes_only(place: Product) -> None:
    wallet(place)
    words = ("deploy", "algo", "rsi_reversal", "--wallet", "trend", "--market", "BTC", "--interval", "1h", "--param", "rsi.length=5")
    run = place.ask(*words, "--replay", BTC, "--to", "2025-03-24T10:00Z")
    assert run["ticks"] == 240 and run["executed"] > 0
    for row in rows(place, "SELECT market_ms FROM ticks"):
        assert row["market_ms"] % 3_600_000 == 0


def test_a_killed_run_goes_on_to_the_same_trades(place: Product) -> None:
    saved(place, TRAILED, "trailed")
    wallet(place, "whole")
    words = ("deploy", "algo", "trailed", "--market", "BTC", "--interval", "5m", "--replay", BTC, "--to", DAYS)
    place.ask(*words, "--wallet", "whole")
    wallet(place, "cut")
    chance = random.Random(5)
    process = place.start(*words, "--wallet", "cut")
    wait_until(lambda: rows(place, "SELECT 1 FROM ticks WHERE deployment = 'trailed_a2'"), 120)
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.0, 0.4))
        assert process.poll() is None, process.communicate()
        process.kill()
        process.communicate()
        before = deployment(place, "trailed_a2")["ticks"]
        process = place.start("deploy", "resume", "trailed_a2")
        wait_until(lambda before=before: deployment(place, "trailed_a2")["ticks"] > before, 120)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, out + err
    assert trades(place, "cut") == trades(place, "whole")
    assert deployment(place, "trailed_a2")["state"] == "completed"
    twice = "SELECT created_ms FROM orders WHERE wallet = 'cut' AND leg IN ('entry', 'close') AND filled != '0' GROUP BY created_ms, leg"
    assert rows(place, f"{twice} HAVING count(*) > 1") == []


def detached(product: Product, name: str = "trend", speed: str = "600") -> dict[str, Any]:
    words = ("deploy", "algo", "rsi_reversal", "--wallet", name, "--market", "ETH", "--interval", "5m")
    return dict(product.ask(*words, "--replay", "hyperliquid:ETH:5m", "--speed", speed, "--detach"))


def test_a_detached_run_outlives_its_command_and_obeys(place: Product) -> None:
    wallet(place)
    begun = detached(place)
    assert begun["deployment"] == "rsi_reversal_a1" and begun["state"] == "running" and is_alive(begun["pid"])
    assert Path(begun["log"]).name == "rsi_reversal_a1.log"
    status = place.ask("status")["deployments"]
    assert [(row["id"], row["kind"], row["state"]) for row in status] == [("rsi_reversal_a1", "algo", "running")]
    other = ("deploy", "algo", "sma_cross", "--wallet", "trend", "--market", "BTC", "--interval", "5m")
    for words in (other, ("run", "btc_momentum", "--wallet", "trend")):
        refused = place.here(*words, "--json")
        assert refused.code == 6 and "rsi_reversal_a1" in refused.error["message"]
    assert place.ask("pause", "rsi_reversal")["deployment_state"] == "paused"
    assert place.ask("resume", "rsi_reversal_a1")["deployment_state"] == "running"
    assert place.ask("stop", "rsi_reversal_a1")["state"] == "done"
    wait_until(lambda: not is_alive(begun["pid"]))
    ended = deployment(place, "rsi_reversal_a1")
    assert (ended["state"], ended["stopped_because"]) == ("stopped", "stop_command")
    assert json.loads(Path(begun["log"]).read_text().splitlines()[-1])["stopped_because"] == "stop_command"
    assert detached(place)["deployment"] == "rsi_reversal_a2"


def test_a_kill_holds_an_algo_until_it_is_cleared(place: Product) -> None:
    wallet(place)
    words = ("deploy", "algo", "sma_cross", "--wallet", "trend", "--market", "BTC", "--interval", "5m", "--replay", BTC)
    begun = place.ask(*words, "--speed", "6000", "--detach")
    wait_until(lambda: rows(place, "SELECT 1 FROM fills"))
    killed = place.ask("kill", begun["deployment"], "--yes")
    assert killed["flat"]
    fills = len(rows(place, "SELECT 1 FROM fills"))
    wait_until(lambda: deployment(place, begun["deployment"])["state"] == "halted")
    ticks = deployment(place, begun["deployment"])["ticks"]
    wait_until(lambda: deployment(place, begun["deployment"])["ticks"] > ticks + 20)
    assert len(rows(place, "SELECT 1 FROM fills")) <= fills + 1  # the close itself may be booked after the answer
    refused = rows(place, "SELECT rule FROM intents WHERE state = 'rejected' AND created_ms > (SELECT max(time_ms) FROM fills)")
    assert {row["rule"] for row in refused} == {"HALTED"}
    place.ask("kill", begun["deployment"], "--clear", "--yes")
    before = len(rows(place, "SELECT 1 FROM fills"))
    wait_until(lambda: len(rows(place, "SELECT 1 FROM fills")) > before)
    place.ask("stop", begun["deployment"], "--unwind")


@contextmanager
def supervised(product: Product) -> Iterator[Any]:
    process = product.start("up", "--json")
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        for stream in (process.stdout, process.stderr):
            stream.close()


def going_on(product: Product, name: str, after: int = 0) -> Callable[[], bool]:
    """Whether another process than `after` drives the deployment, and has ticked."""
    seen: dict[int, int] = {}

    def is_so() -> bool:
        row = deployment(product, name)
        first = seen.setdefault(row["pid"], row["ticks"])
        return row["pid"] != after and row["ticks"] > first and is_alive(row["pid"])

    return is_so


def test_up_starts_again_what_dies_and_leaves_alone_what_was_stopped(place: Product) -> None:
    wallet(place)
    wallet(place, "other")
    first, second = detached(place), detached(place, "other")
    place.ask("stop", second["deployment"])
    os.kill(first["pid"], signal.SIGKILL)
    wait_until(lambda: state_of(place, "rsi_reversal_a1") == "interrupted")  # its lock is free once the last of its threads is gone
    with supervised(place) as process:
        wait_until(going_on(place, "rsi_reversal_a1", first["pid"]))
        pid = deployment(place, "rsi_reversal_a1")["pid"]
        refused = place.run("up", "--json")
        assert refused.code == 6
        os.kill(pid, signal.SIGKILL)
        wait_until(going_on(place, "rsi_reversal_a1", pid))
        process.kill()  # what it looked after goes on
    child = deployment(place, "rsi_reversal_a1")["pid"]
    assert is_alive(child)
    with supervised(place) as process:
        time.sleep(1.5)
        assert deployment(place, "rsi_reversal_a1")["pid"] == child and is_alive(child)
        os.kill(child, signal.SIGKILL)
        wait_until(going_on(place, "rsi_reversal_a1", child))
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    told = {row["deployment"]: row for row in json.loads(out)["deployments"]}
    assert set(told) == {"rsi_reversal_a1"}
    assert told["rsi_reversal_a1"]["wanted"] and told["rsi_reversal_a1"]["ended_with"] == 130
    ended = deployment(place, "rsi_reversal_a1")
    assert (ended["state"], ended["stopped_because"]) == ("stopped", "interrupted") and not is_alive(ended["pid"])
    assert deployment(place, second["deployment"])["stopped_because"] == "stop_command"
    assert len(rows(place, "SELECT 1 FROM incidents WHERE code = 'interrupted'")) == 1  # one that is open is not opened again


def test_up_gives_an_agent_its_next_run(place: Product) -> None:
    place.ask("wallet", "new", "main", "--cash", "10000")
    words = ("deploy", "agent", "btc_momentum", "--wallet", "main", "--replay", BTC, "--speed", "300", "--max-ticks", "5000")
    begun = place.ask(*words, "--detach")
    assert begun["deployment"] == "btc_momentum_1" and begun["kind"] == "agent"
    os.kill(begun["pid"], signal.SIGKILL)
    with supervised(place):
        wait_until(lambda: len(rows(place, "SELECT 1 FROM deployments")) == 2)
        wait_until(going_on(place, "btc_momentum_2"))
    found = {row["id"]: row for row in rows(place, "SELECT * FROM deployments")}
    assert found["btc_momentum_1"]["state"] == "interrupted"
    assert (found["btc_momentum_2"]["state"], found["btc_momentum_2"]["stopped_because"]) == ("stopped", "interrupted")
    place.ask("stop", "btc_momentum")
    with supervised(place):
        time.sleep(2)
    assert len(rows(place, "SELECT 1 FROM deployments")) == 2


def test_run_detached_is_a_run_in_the_background(place: Product) -> None:
    begun = place.ask("run", "btc_momentum", "--replay", BTC, "--max-ticks", "3", "--detach")
    wait_until(lambda: deployment(place, begun["deployment"])["state"] == "completed")
    assert deployment(place, begun["deployment"])["ticks"] == 3
    refused = place.here("run", "btc_momentum", "--mode", "dry-run", "--detach", "--json")
    assert refused.code == 2 and "--detach" in refused.error["message"]


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (("algo", "sma_cross", "--wallet", "nobody", "--market", "BTC", "--interval", "5m"), 4, "nobody"),
        (("algo", "sma_cross", "--wallet", "hand", "--market", "BTC", "--interval", "5m"), 2, "for agents"),
        (("agent", "btc_momentum", "--wallet", "trend"), 2, "for algos"),
        (("agent", "no_such_agent", "--wallet", "hand"), 4, "no_such_agent"),
        (("algo", "no_such_algo", "--wallet", "trend", "--market", "BTC", "--interval", "5m"), 4, "no_such_algo"),
        (("algo", "sma_cross", "--wallet", "trend", "--interval", "5m"), 2, "--market"),
        (("algo", "sma_cross", "--wallet", "trend", "--market", "BTC"), 2, "--interval"),
        (("algo", "sma_cross", "--wallet", "trend", "--market", "NOPE", "--interval", "5m"), 2, "NOPE"),
        (("algo", "sma_cross", "--wallet", "trend", "--market", "BTC", "--interval", "7m"), 2, "7m"),
        (("algo", "sma_cross", "--wallet", "trend", "--market", "BTC", "--interval", "1m"), 2, "1m"),
        (("algo", "sma_cross", "--wallet", "trend", "--market", "BTC", "--interval", "5m", "--param", "fsat=3"), 2, "fsat"),
        (("algo", "sma_cross", "--wallet", "trend", "--market", "BTC", "--interval", "5m", "--leverage", "30"), 3, "max_leverage"),
        (("algo", "sma_cross", "--wallet", "trend", "--market", "BTC", "--interval", "5m", "--limits", "none.yml"), 2, "none.yml"),
        (("algo", "sma_cross", "--wallet", "trend", "--market", "BTC", "--interval", "5m", "--mode", "dry-run"), 2, "dry run"),
        (("algo", "sma_cross", "--wallet", "trend", "--market", "BTC", "--interval", "5m", "--to", "2025-04-01"), 2, "--replay"),
        (("algo", "sma_cross", "--wallet", "trend", "--market", "BTC", "--interval", "5m", "--replay", "hyperliquid:ETH:5m"), 2, "ETH"),
        (("algo", "sma_cross@1", "--wallet", "trend", "--market", "BTC", "--interval", "5m"), 4, "sma_cross"),
        (("algo", "stopless", "--wallet", "trend", "--market", "BTC", "--interval", "5m", "--limits", "STOPS"), 3, "stop_loss"),
        (("algo", "stopless.yml", "--wallet", "trend", "--market", "BTC", "--interval", "5m"), 4, "stopless.yml"),
        (("resume", "nothing"), 4, "nothing"),
    ],
)
def test_what_cannot_be_deployed_is_said_before_anything_starts(desk: Product, words: tuple[str, ...], code: int, what: str) -> None:
    file = desk.root / "stops.yml"
    file.write_text("require_stops: true\n")
    refused = desk.here("deploy", *(str(file) if word == "STOPS" else word for word in words), "--json")
    assert refused.code == code, refused
    assert what in refused.error["message"], refused
    assert refused.error["hint"]
    assert rows(desk, "SELECT 1 FROM deployments") == []


@pytest.fixture(scope="module")
def desk(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Product:
    product = copied(template, tmp_path_factory.mktemp("desk") / "ws")
    wallet(product)
    product.ask("wallet", "new", "hand", "--cash", "10000")
    bare = "name: stopless\nindicators: {fast: {kind: sma, length: 5}}\nentry: {long: {required: ['close > fast']}}\n"
    saved(product, bare + "direction: long\nexit: {long: {required: ['close < fast']}}\n", "stopless")
    return product


def test_a_file_of_limits_is_obeyed_and_shown(place: Product) -> None:
    wallet(place)
    file = place.root / "tight.yml"
    file.write_text("max_daily_trades: 2\nmax_position_pct: 10\n")
    words = ("deploy", "algo", "rsi_reversal", "--wallet", "trend", "--market", "ETH", "--interval", "5m", "--limits", str(file))
    run = place.ask(*words, "--replay", "hyperliquid:ETH:5m", "--to", DAYS)
    assert run["rejected"]["DAILY_TRADES"] > 0
    shown = {row["key"]: row for row in place.ask("limits", run["deployment"])}
    assert (shown["max_daily_trades"]["value"], shown["max_daily_trades"]["origin"]) == ("2", "tight.yml")


def test_once_decides_on_the_newest_bar_and_ends(place: Product) -> None:
    wallet(place)
    words = ("deploy", "algo", "rsi_reversal", "--wallet", "trend", "--market", "ETH", "--interval", "5m", "--mode", "once")
    run = place.ask(*words, "--replay", "hyperliquid:ETH:5m", "--from", DAYS)
    assert run["ticks"] == 1 and run["stopped_because"] == "one_tick"
    stale = place.here(*words, "--json")
    assert stale.code == 3 and stale.document["blocked"]["rule"] == "FRESHNESS"
    assert stale.document["blocked"]["message"].startswith("the newest 5m bar of ETH closed ")
