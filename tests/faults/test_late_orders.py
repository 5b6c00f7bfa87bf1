"""What cannot be done at once: an order that its runner does not take is taken back, and a tick that no ledger takes is told later."""

import signal
import subprocess
from contextlib import ExitStack
from functools import partial
from typing import Any
from unittest import mock

import pytest
from minds import Scripted, run_with
from product import BTC, Product, running, wait_until

from tradeagent.domain.errors import BusyError
from tradeagent.ledger.store import open_ledger
from tradeagent.runtime.tally import Failures
from tradeagent.turns.tick import build_prompt

pytestmark = pytest.mark.slow
LIVE = ("btc_momentum", "--replay", BTC, "--speed", "60")
ENTRY = ("order", "place", "--wallet", "btc_momentum", "--market", "BTC", "--side", "buy", "--quote", "50", "--stop", "60000", "--json")


def frozen_outside_a_transaction(process: "subprocess.Popen[str]", product: Product) -> bool:
    """Freeze a runner, and let it go on where it holds the ledger: that would answer for it."""
    process.send_signal(signal.SIGSTOP)
    ledger = open_ledger(product.ledger_file, lock_timeout_s=0.2)
    try:
        with ledger.transaction():
            return True
    except BusyError:
        process.send_signal(signal.SIGCONT)
        return False
    finally:
        ledger.close()


def test_an_order_to_a_frozen_runner_is_taken_back_and_never_placed(product: Product) -> None:
    with running(product, *LIVE) as process:
        wait_until(lambda: frozen_outside_a_transaction(process, product))
        try:
            answer = product.here(*ENTRY)
        finally:
            process.send_signal(signal.SIGCONT)
        assert answer.code == 6 and "taken back" in answer.error["message"], answer
        product.ask("reconcile", "btc_momentum")
        assert product.ask("order", "list", "--wallet", "btc_momentum") == []
        assert product.ask("position", "list") == []
        told = [row["data"]["state"] for row in product.ask("audit") if row["kind"] == "command.state" and row["data"]["kind"] == "submit"]
        assert sorted(told) == ["failed", "queued"]


def test_a_tick_that_failed_because_the_ledger_was_held_is_told_by_the_next_that_gets_it(product: Product) -> None:
    holder, held = open_ledger(product.ledger_file), ExitStack()
    added = Failures.add

    def hold(*arguments: Any, **options: Any) -> Any:
        if not told:
            held.enter_context(holder.transaction())
        return build_prompt(*arguments, **options)

    def let_go(self: Any, *arguments: Any, **options: Any) -> None:
        added(self, *arguments, **options)
        told.append(arguments[1])
        if len(told) == 2:
            held.close()

    told: list[str] = []
    with (
        mock.patch("tradeagent.runtime.ground.open_ledger", partial(open_ledger, lock_timeout_s=0.2)),
        mock.patch("tradeagent.turns.tick.build_prompt", hold),
        mock.patch.object(Failures, "add", let_go),
    ):
        run_with(Scripted(), product, "btc_momentum", "--replay", BTC, "--max-ticks", "4")
    holder.close()
    assert len(told) == 2 and all("locked" in message or "busy" in message for message in told), told
    found = sorted((row["code"], row["state"]) for row in product.ask("incidents", "--all"))
    assert found == [
        ("ledger_busy", "closed"),
        ("tick_failed", "open"),
        ("tick_failed", "open"),
    ]
    assert [row["state"] for row in product.ask("status")["deployments"]] == ["completed"]
