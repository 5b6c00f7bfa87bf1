"""Commands of a person to a run that is alive in another process: what they do, how fast, and what is left after it."""

import json
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from product import BTC, Product, rows_of, running, wait_until

pytestmark = pytest.mark.slow
LIVE = ("btc_momentum", "--replay", BTC, "--speed", "600")


@pytest.fixture
def live(product: Product) -> Iterator[tuple[Product, "subprocess.Popen[str]"]]:
    """A run that ticks twice a second."""
    with running(product, *LIVE) as process:
        yield product, process


def _row(product: Product) -> dict[str, Any]:
    return next(row for row in rows_of(product) if row["id"] == "btc_momentum_1")


def _blocked(product: Product) -> list[dict[str, Any]]:
    return list(product.ask("audit", "--kind", "tick.blocked", "--limit", "1000"))


def test_a_second_runner_is_refused_at_once_and_told_who_has_the_wallet(live: tuple[Product, Any]) -> None:
    product, _ = live
    answer = product.here("run", "btc_momentum", "--replay", BTC, "--max-ticks", "1", "--json")
    assert (answer.code, answer.error["code"]) == (6, "busy")
    assert "btc_momentum_1" in answer.error["message"]
    assert answer.error["details"] == {"wallet": "btc_momentum", "deployment": "btc_momentum_1"}
    assert "tradeagent stop btc_momentum_1" in answer.error["hint"]
    assert answer.seconds < 1
    assert product.run("run", "btc_momentum", "--replay", BTC, "--json").code == 6
    assert _row(product)["state"] == "running"
    deposit = product.here("wallet", "deposit", "btc_momentum", "5", "--json")
    assert (deposit.code, deposit.error["code"]) == (6, "busy")


def test_a_run_on_another_wallet_and_a_dry_run_leave_the_live_one_alone(live: tuple[Product, Any]) -> None:
    product, _ = live
    product.ask("run", "btc_momentum", "--wallet", "other", "--replay", BTC, "--max-ticks", "1")
    product.ask("run", "btc_momentum", "--mode", "dry-run", "--replay", BTC)
    assert _row(product)["state"] == "running"
    assert product.ask("incidents") == []
    assert product.ask("pause", "btc_momentum")["deployment"] == "btc_momentum_1", "the name means the run that is alive"
    assert product.ask("directive", "btc_momentum", "be careful")["deployment"] == "btc_momentum_1"
    refused = product.here("pause", "btc_momentum_2", "--json")
    assert (refused.code, refused.error["details"]) == (2, {"state": "completed"})


@pytest.mark.parametrize(("stream", "key"), [(("status", "--watch"), "deployments"), (("logs", "btc_momentum", "--follow"), "kind")])
def test_what_goes_on_is_a_document_a_line_for_programs(live: tuple[Product, Any], stream: tuple[str, ...], key: str) -> None:
    product, _ = live
    process = product.start(*stream, "--jsonl")
    try:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert all(key in line for line in lines) and lines[0] != lines[-1]
    assert process.returncode == 130


def test_pause_blocks_ticks_and_entries_and_resume_reopens_them(live: tuple[Product, Any]) -> None:
    product, _ = live
    paused = product.ask("pause", "btc_momentum")
    assert (paused["state"], paused["deployment_state"]) == ("done", "paused")
    wait_until(lambda: len(_blocked(product)) >= 2)
    assert {event["data"]["rule"] for event in _blocked(product)} == {"PAUSED"}
    assert _row(product)["state"] == "paused"
    bought = ("--market", "BTC", "--side", "buy", "--quote", "50", "--stop", "60000")
    order = ("order", "place", "--wallet", "btc_momentum", *bought, "--json")
    refused = product.here(*order)
    assert (refused.code, refused.error["code"]) == (3, "PAUSED")
    assert "resume" in refused.error["hint"]
    assert product.ask("resume", "btc_momentum")["deployment_state"] == "running"
    before = len(_blocked(product))
    ticks = _row(product)["ticks"]
    wait_until(lambda: _row(product)["ticks"] >= ticks + 2)
    assert len(_blocked(product)) <= before + 1
    assert product.here(*order).code == 0


def test_a_person_beside_a_run_is_held_to_its_caps_on_the_whole_wallet(live: tuple[Product, Any]) -> None:
    product, _ = live
    buy = ("order", "place", "--wallet", "btc_momentum", "--market", "BTC", "--side", "buy", "--json")
    for more, rule, key in (
        (("--quote", "9500", "--leverage", "10"), "POSITION_CAP", "max_position_pct"),
        (("--quote", "30", "--leverage", "10"), "LEVERAGE", "max_leverage"),
        (("--quote", "90"), "PORTFOLIO_RISK", "max_portfolio_risk_quote"),
    ):
        refused = product.here(*buy, *more)
        assert (refused.code, refused.error["code"], refused.error["details"]["limit_key"]) == (3, rule, key)
    assert product.here(*buy, "--quote", "19", "--stop", "60000").code == 0


def test_flatten_cancels_closes_and_pauses(live: tuple[Product, Any]) -> None:
    product, _ = live
    stops = ("--stop", "75000", "--target", "160000")
    placed = product.ask("order", "place", "--wallet", "btc_momentum", "--market", "BTC", "--side", "buy", "--quote", "50", *stops)
    assert placed["verdict"] == "executed"
    resting = ("--type", "limit", "--price", "82000", "--stop", "75000")
    product.ask("order", "place", "--wallet", "btc_momentum", "--market", "BTC", "--side", "buy", "--quote", "50", *resting)
    wait_until(lambda: product.ask("position", "list") != [])
    assert len(product.ask("order", "list")) >= 3
    needs_a_word = product.here("flatten", "btc_momentum", "--json")
    assert (needs_a_word.code, needs_a_word.error["hint"]) == (2, "add --yes")
    answer = product.ask("flatten", "btc_momentum", "--yes")
    assert (answer["state"], answer["deployment_state"], len(answer["closed"])) == ("done", "paused", 1)
    wait_until(lambda: product.ask("position", "list") == [] and product.ask("order", "list") == [])
    assert product.ask("fills")[-1]["exit_reason"] == "flatten"
    assert _row(product)["state"] == "paused"


def test_stop_ends_the_run_and_keeps_the_position_with_its_stop(live: tuple[Product, Any]) -> None:
    product, process = live
    product.ask("order", "place", "--wallet", "btc_momentum", "--market", "BTC", "--side", "buy", "--quote", "40", "--stop", "60000")
    wait_until(lambda: product.ask("position", "list") != [])
    stopped = product.ask("stop", "btc_momentum")
    assert (stopped["state"], stopped["deployment_state"], _row(product)["state"]) == ("done", "stopped", "stopped")
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert '"stopped_because": "stop_command"' in out
    row = _row(product)
    assert (row["state"], row["next_tick_at"]) == ("stopped", None)
    [position] = [row for row in product.ask("position", "list") if row["stop"] == "60000"]
    assert position["market"] == "BTC"
    assert any(order["trigger"] == "60000" and order["reduce_only"] for order in product.ask("order", "list"))
    assert "command** " in product.ask("journal", "btc_momentum")["text"]


def test_thirty_commands_are_acknowledged_in_a_quarter_of_a_second(live: tuple[Product, Any]) -> None:
    product, _ = live
    latencies = []
    for _ in range(10):
        latencies += [product.ask(command, "btc_momentum")["latency_ms"] for command in ("snapshot", "pause", "resume")]
    ordered = sorted(latencies)
    print(f"issue to ack, ms: median {statistics.median(ordered)}, p99 {ordered[-1]}, all {ordered}")
    assert statistics.median(ordered) < 250


def test_ctrl_c_and_sigterm_finish_the_tick_and_say_so(product: Product) -> None:
    for number, name in enumerate((signal.SIGINT, signal.SIGTERM), start=1):
        with running(product, *LIVE) as process:
            time.sleep(0.3)
            process.send_signal(name)
            out, err = process.communicate(timeout=20)
        assert (process.returncode, err) == (130, "")
        assert '"stopped_because": "interrupted"' in out
        states = {row["id"]: row["state"] for row in rows_of(product)}
        assert states[f"btc_momentum_{number}"] == "stopped"
    assert product.ask("incidents") == []


def test_a_killed_runner_is_seen_as_interrupted_and_its_wallet_is_free_at_once(product: Product) -> None:
    with running(product, *LIVE) as process:
        wait_until(lambda: _row(product)["ticks"] >= 2)
        product.ask("directive", "btc_momentum", "the one before died")
        process.kill()
        process.wait()
        assert _row(product)["state"] == "interrupted"
        status = product.here("pause", "btc_momentum", "--json")
        assert (status.code, status.error["details"]) == (2, {"state": "interrupted"})
    report = product.ask("run", "btc_momentum", "--replay", BTC, "--max-ticks", "3")
    assert report["blocked_ticks"] == 0
    assert {incident["code"] for incident in product.ask("incidents")} == {"interrupted"}
    first = product.session_folder("btc_momentum", 1)
    assert '"state": "interrupted"' in (first / "status.json").read_text()


def test_a_halted_run_is_not_reopened_by_resume_and_its_halt_outlives_it(product: Product) -> None:
    product.rewrite("btc_momentum", ("max_daily_loss_quote: 50", "max_daily_loss_quote: 0.01"))
    with running(product, *LIVE) as process:
        order = ("order", "place", "--wallet", "btc_momentum", "--market", "BTC", "--side", "buy", "--quote", "60", "--stop", "60000")
        assert product.here(*order, "--json").code == 0
        wait_until(lambda: _row(product)["halt"] is not None)
        assert _row(product)["halt"] == "daily_loss"
        wait_until(lambda: product.ask("position", "list") == [])
        refused = product.here("resume", "btc_momentum", "--json")
        assert (refused.code, refused.error["code"]) == (3, "HALTED")
        product.ask("stop", "btc_momentum")
        process.communicate(timeout=20)
    row = _row(product)
    assert (row["state"], row["halt"]) == ("halted", "daily_loss")
    again = product.ask("run", "btc_momentum", "--replay", BTC, "--max-ticks", "1")
    assert again["blocked"]["rule"] == "HALTED"
    assert product.ask("clear-halt", "btc_momentum", "--yes")["rebased"]
    assert product.ask("run", "btc_momentum", "--replay", BTC, "--max-ticks", "1")["blocked_ticks"] == 0
