"""Kill, when everything else is stuck: a frozen runner, a held ledger, an order half sent, a broken config (execution.md §6, R22)."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from minds import Scripted, run_with
from product import BTC, Answer, Product, rows_of, running, wait_until

from tradeagent.brokers.paper_store import PaperStore

pytestmark = pytest.mark.slow
LIVE = ("btc_momentum", "--replay", BTC, "--speed", "600")
WALLET = "btc_momentum"
ENTRY = ("order", "place", "--wallet", WALLET, "--market", "BTC", "--side", "buy", "--quote", "60", "--stop", "60000")
THEN = ("--replay", BTC, "--at", "2025-03-20T12:00Z")
LATER = ("--replay", BTC, "--at", "2025-03-20T13:00Z")
FROZEN = Path(__file__).with_name("frozen.py")


def _kill(product: Product, *more: str) -> tuple[dict[str, Any], float]:
    """The command in a process of its own, as somebody types it; its answer and the seconds it took."""
    answer = product.run("kill", *more, "--yes", "--json")
    assert answer.code == 0, answer
    return dict(answer.document), answer.seconds


def _at_the_venue(product: Product) -> tuple[dict[str, int], int]:
    """Lots by market and the number of orders, as the paper account's own file has them."""
    store = PaperStore(product.paper_file(WALLET), durable=False)
    try:
        state = store.reload()
    finally:
        store.close()
    assert state is not None
    return {market: held.size for market, held in state.holdings.items()}, len(state.orders)


def _row(product: Product) -> dict[str, Any]:
    return next(row for row in rows_of(product) if row["wallet"] == WALLET)


@pytest.fixture
def holding(product: Product) -> Product:
    """A wallet with a position and its stop, and nobody who runs it."""
    product.ask("wallet", "new", WALLET, "--cash", "10000")
    product.ask(*ENTRY, *THEN)
    held, orders = _at_the_venue(product)
    assert (held["BTC"] > 0, orders) == (True, 1)
    return product


@contextmanager
def _frozen(product: Product, where: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, str(FROZEN), str(product.root), WALLET, where]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "frozen\n"
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate()


def test_a_wallet_that_nobody_runs_is_closed_and_booked(holding: Product) -> None:
    told, _ = _kill(holding, WALLET)
    (wallet,) = told["wallets"]
    assert (told["state"], told["kill_switch"], told["flat"], told["ledger"]) == ("halted", False, True, "recorded")
    assert (wallet["cancelled"], wallet["closed"][0]["market"], wallet["flat"]) == (1, "BTC", True)
    assert _at_the_venue(holding) == ({}, 0)
    assert holding.ask("position", "list") == []
    assert holding.ask("fills")[-1]["exit_reason"] == "kill"
    assert [incident["code"] for incident in holding.ask("incidents")] == ["kill"]
    refused = holding.here(*ENTRY, *LATER, "--json")
    assert (refused.code, refused.error["code"]) == (3, "HALTED")
    assert "kill --clear" in refused.error["message"]
    again, _ = _kill(holding, WALLET)
    assert (again["flat"], again["wallets"][0]["closed"]) == (True, [])
    cleared = holding.ask("kill", WALLET, "--clear", "--yes")
    assert (cleared["cleared"], holding.ask("incidents")) == (True, [])
    assert holding.here(*ENTRY, *LATER, "--json").code == 0


def test_a_frozen_runner_can_neither_delay_a_kill_nor_trade_after_it(product: Product) -> None:
    with running(product, *LIVE) as process:
        product.ask(*ENTRY)
        wait_until(lambda: product.ask("position", "list") != [])
        process.send_signal(signal.SIGSTOP)
        try:
            told, seconds = _kill(product, "btc_momentum_1")
            print(f"latched after {told['latched_ms']} ms, flat after {told['wallets'][0]['elapsed_ms']} ms more, all {seconds:.2f} s")
            assert told["latched_ms"] < 1000
            assert seconds < 10
            assert _at_the_venue(product) == ({}, 0)
            assert (_row(product)["state"], _row(product)["halt"]) == ("halted", "kill"), "seen while the runner is frozen"
        finally:
            process.send_signal(signal.SIGCONT)
        if process.poll() is None:
            wait_until(lambda: product.ask("position", "list") == [])
            refused = product.here(*ENTRY, "--json")
            assert (refused.code, refused.error["code"]) == (3, "HALTED")
            assert product.here("resume", WALLET, "--json").code == 3
            assert product.here("clear-halt", WALLET, "--yes", "--json").code == 3
            assert "killed" in product.ask("journal", WALLET)["text"]
            product.ask("kill", WALLET, "--clear", "--yes")
            wait_until(lambda: _row(product)["state"] == "running")
            assert product.here(*ENTRY, "--json").code == 0


class Hanging(Scripted):
    """Somebody kills while the model thinks; when it has thought, it wants to buy."""

    def __init__(self, product: Product) -> None:
        super().__init__([("propose_order", {"market": "BTC", "side": "buy", "quote": "90", "stop": "60000", "reason": "late"})])
        self.product = product
        self.told: dict[str, Any] = {}
        self.before_it_answered: dict[str, int] = {}

    async def stream(self, messages: Any, tools: Any, *, max_tokens: int) -> Any:
        if not self.told:
            self.told, _ = await asyncio.to_thread(_kill, self.product, WALLET)
            self.before_it_answered, _ = _at_the_venue(self.product)
        async for delta in super().stream(messages, tools, max_tokens=max_tokens):
            yield delta


def test_a_model_that_hangs_neither_delays_a_kill_nor_trades_after_it(holding: Product) -> None:
    model = Hanging(holding)
    report = run_with(model, holding, "btc_momentum", "--replay", BTC, "--max-ticks", "1").document
    assert model.told["latched_ms"] < 1000
    assert model.before_it_answered == {}, "flat while the model was still thinking"
    assert model.results[0]["rule"] == "HALTED"
    assert (report["executed"], report["rejected"]) == (0, {"HALTED": 1})
    assert _at_the_venue(holding) == ({}, 0)


def test_a_process_frozen_inside_a_ledger_transaction_does_not_delay_a_kill(holding: Product) -> None:
    with _frozen(holding, "ledger") as stuck:
        told, seconds = _kill(holding, WALLET)
        assert (told["flat"], told["ledger"], told["ended_processes"]) == (True, "later", [])
        assert _at_the_venue(holding) == ({}, 0)
        assert seconds < 10
        assert stuck.poll() is None, "it does not touch the venue, so it is left alone"
        assert rows_of(holding) is not None, "status reads while somebody holds the ledger"
    assert holding.here(*ENTRY, *LATER, "--json").error["code"] == "HALTED"
    assert holding.ask("position", "list") == [], "the next who opened the wallet booked it"
    assert holding.ask("fills")[-1]["exit_reason"] == "kill"


def test_a_process_frozen_while_it_sends_is_ended(holding: Product) -> None:
    with _frozen(holding, "venue") as stuck:
        told, seconds = _kill(holding, WALLET)
        assert told["ended_processes"] == [stuck.pid]
        assert (told["flat"], told["ledger"]) == (True, "recorded")
        assert 400 < told["latched_ms"] < 1000, "half a second of grace, then the end"
        assert seconds < 10
        assert stuck.wait(5) == -signal.SIGKILL
    assert _at_the_venue(holding) == ({}, 0)


def test_kill_all_latches_every_wallet_and_is_undone_as_one(holding: Product) -> None:
    told, _ = _kill(holding, "--all")
    assert (told["state"], told["kill_switch"], told["flat"]) == (None, True, True)
    assert holding.ask("status")["kill_switch"] is True
    refused = holding.here(*ENTRY, *LATER, "--json")
    assert (refused.code, refused.error["code"]) == (3, "KILL_SWITCH")
    other = ("order", "place", "--wallet", "new", "--market", "BTC", "--side", "buy", "--quote", "50", *LATER, "--json")
    holding.ask("wallet", "new", "new", "--cash", "100")
    assert holding.here(*other).error["code"] == "KILL_SWITCH", "wallets made later too"
    blocked = holding.here("run", "btc_momentum", "--replay", BTC, "--mode", "once", "--json")
    assert (blocked.code, blocked.document["blocked"]["rule"]) == (3, "KILL_SWITCH")
    assert len(holding.ask("incidents")) == 1
    assert holding.ask("kill", "--all", "--clear", "--yes")["kill_switch"] is False
    assert holding.ask("incidents") == []
    at = ("--replay", BTC, "--at", "2025-03-20T14:00Z")
    assert holding.here(*ENTRY, *at, "--json").code == 0


@pytest.mark.parametrize(("policy", "orders"), [("cancel_only", 0), ("keep_all", 1)])
def test_what_a_kill_does_with_positions_is_the_agents_word(product: Product, policy: str, orders: int) -> None:
    product.rewrite("btc_momentum", ("markets: [BTC]", f"markets: [BTC]\non_kill_switch: {policy}"))
    product.ask("run", "btc_momentum", "--replay", BTC, "--max-ticks", "1")
    product.ask(*ENTRY, *THEN)
    told, _ = _kill(product, "btc_momentum_1")
    assert (told["wallets"][0]["policy"], told["wallets"][0]["closed"], told["flat"]) == (policy, [], True)
    held, left = _at_the_venue(product)
    assert (held["BTC"] > 0, left) == (True, orders)


def test_a_broken_config_or_ledger_is_no_reason_to_stay_in_the_market(holding: Product) -> None:
    (holding.root / "config.yml").write_text("paper: [no, mapping\n")
    holding.ledger_file.write_bytes(b"no ledger " * 100)
    for extra in ("-wal", "-shm"):
        holding.ledger_file.with_name(holding.ledger_file.name + extra).unlink(missing_ok=True)
    told, _ = _kill(holding, "btc_momentum_1")
    assert (told["flat"], told["ledger"]) == (True, "later")
    assert _at_the_venue(holding) == ({}, 0)


def test_a_kill_closes_at_the_newest_mark_that_the_runner_has_seen(product: Product) -> None:
    with running(product, *LIVE) as process:
        product.ask(*ENTRY)
        wait_until(lambda: product.ask("position", "list") != [])
        ticks = _row(product)["ticks"]
        wait_until(lambda: _row(product)["ticks"] >= ticks + 3)
        process.send_signal(signal.SIGSTOP)
        mark = Decimal(product.ask("position", "list")[0]["mark_price"])
        told, _ = _kill(product, WALLET)
        price = Decimal(told["wallets"][0]["closed"][0]["price"])
        process.send_signal(signal.SIGCONT)
    assert mark * Decimal("0.9997") <= price <= mark, "the mark less two basis points"


def test_a_kill_asks_for_its_phrase_and_for_one_target(holding: Product) -> None:
    for words, hint in ((("kill",), "status"), (("kill", WALLET, "--all"), "status"), (("kill", WALLET), "--yes")):
        refused: Answer = holding.run(*words, "--json")
        assert (refused.code, hint in refused.error["hint"]) == (2, True), words
    assert holding.run("kill", "nobody", "--yes", "--json").code == 4
    assert _at_the_venue(holding)[0]["BTC"] > 0
