"""Commands around a runner that dies, or whose ledger is busy: nothing is done twice, nothing is done late, and the next one is obeyed."""

import asyncio
import itertools
import json
import sqlite3
import time
from contextlib import closing
from typing import Any
from unittest import mock

from minds import Scripted, run_with
from product import BTC, Product

from tradeagent.domain.errors import BusyError
from tradeagent.ledger import runs

RUN = ("btc_momentum", "--replay", BTC, "--max-ticks")
BUY = {"market": "BTC", "side": "buy", "controller_id": "manual", "kind": "open", "type": "market", "tif": "gtc", "quote": "50"}
ORDER = {"proposal": BUY}
NEWEST = "(SELECT id FROM deployments ORDER BY created_ms DESC, id DESC LIMIT 1)"
QUEUE = f"INSERT INTO commands (id, wallet, deployment, kind, payload, state, created_ms) VALUES (?, 'btc_momentum', {NEWEST}, ?, ?, ?, ?)"


def _ask_of_the_dead(product: Product, kind: str, state: str, payload: dict[str, Any]) -> None:
    """A command as a runner that was killed leaves it."""
    with closing(sqlite3.connect(product.ledger_file)) as ledger:
        ledger.execute(QUEUE, (f"{kind}-{state}", kind, json.dumps(payload), state, round(time.time() * 1000) - 60_000))
        ledger.commit()


def _commands(product: Product) -> dict[str, tuple[str, Any]]:
    with closing(sqlite3.connect(product.ledger_file)) as ledger:
        rows = ledger.execute("SELECT id, state, result FROM commands")
        return {row[0]: (row[1], json.loads(row[2]) if row[2] else None) for row in rows}


def test_what_was_asked_of_a_dead_runner_is_neither_done_twice_nor_hours_late(product: Product) -> None:
    product.ask("run", *RUN, "1")
    for kind, state, payload in (("submit", "acked", ORDER), ("submit", "queued", ORDER), ("stop", "queued", {}), ("flatten", "acked", {})):
        _ask_of_the_dead(product, kind, state, payload)
    report = run_with(Scripted(), product, *RUN, "3").document
    assert (report["ticks"], report["stopped_because"], report["blocked_ticks"]) == (3, "max_ticks", 0)
    assert product.ask("fills") == []
    for name, (state, result) in _commands(product).items():
        assert state == "failed", name
        assert result["code"] == "interrupted"
        assert ("while it did this" if name.endswith("acked") else "before it took this") in result["message"]


class Patient(Scripted):
    """Is asked for something by a person during its first tick, and waits until that is answered."""

    def __init__(self, product: Product, *kinds: str) -> None:
        super().__init__()
        self.product = product
        self.kinds = kinds

    async def stream(self, messages: Any, tools: Any, *, max_tokens: int) -> Any:
        if not self.prompts:
            with closing(sqlite3.connect(self.product.ledger_file, timeout=10)) as ledger:
                for number, kind in enumerate(self.kinds):
                    ledger.execute(QUEUE, (f"{number}-{kind}", kind, "{}", "queued", round(time.time() * 1000) + number))
                ledger.commit()
            for _ in range(100):
                await asyncio.sleep(0.05)
                if all(state in ("done", "failed") for state, _ in _commands(self.product).values()):
                    break
        async for delta in super().stream(messages, tools, max_tokens=max_tokens):
            yield delta


def test_a_busy_ledger_does_not_end_the_obedience_of_a_runner(product: Product) -> None:
    real, calls = runs.queued_commands, itertools.count()

    def sometimes(*arguments: Any) -> Any:
        if 1 <= next(calls) <= 3:  # the first call is the start's own
            raise BusyError("locked")
        return real(*arguments)

    with mock.patch("tradeagent.runtime.runner.runs.queued_commands", sometimes):
        report = run_with(Patient(product, "snapshot", "stop"), product, *RUN, "5").document
    assert report["stopped_because"] == "stop_command"
    assert [state for state, _ in _commands(product).values()] == ["done", "done"]


def test_a_defect_in_one_command_is_told_and_the_next_is_obeyed(product: Product) -> None:
    with mock.patch("tradeagent.runtime.runner.Runner._equity_point", side_effect=ZeroDivisionError("a bug")):
        report = run_with(Patient(product, "snapshot", "stop"), product, *RUN, "5").document
    assert report["stopped_because"] == "stop_command"
    [snapshot, stop] = _commands(product).values()
    assert (snapshot[0], snapshot[1]["code"], stop[0]) == ("failed", "internal", "done")
    assert "ZeroDivisionError" in snapshot[1]["message"]


def test_a_status_file_says_that_a_run_is_running_while_it_runs(product: Product) -> None:
    file = product.session_folder("btc_momentum") / "status.json"
    seen = []
    run_with(Scripted(when_asked=lambda _: seen.append(json.loads(file.read_text())["state"])), product, *RUN, "2")
    assert seen == ["running", "running"]
    assert json.loads(file.read_text())["state"] == "completed"


def test_a_tick_that_raises_is_an_incident_a_journal_line_and_not_the_end(product: Product) -> None:
    with mock.patch("tradeagent.turns.tick.build_prompt", side_effect=[ZeroDivisionError("a bug")] * 2):
        report = run_with(Scripted(), product, *RUN, "2").document
    assert (report["ticks"], report["stopped_because"]) == (2, "max_ticks")
    assert {incident["code"] for incident in product.ask("incidents")} == {"tick_failed"}
    assert product.ask("journal", "btc_momentum")["text"].count("**error**") == 2


def test_five_ticks_that_raise_in_a_row_pause_the_run(product: Product) -> None:
    with mock.patch("tradeagent.turns.tick.build_prompt", side_effect=ZeroDivisionError("a bug")):
        report = run_with(Scripted(), product, *RUN, "7").document
    assert (report["ticks"], report["blocked"]["rule"], report["blocked_ticks"]) == (7, "PAUSED", 2)
    assert product.ask("journal", "btc_momentum")["text"].count("5 ticks in a row failed") == 1


def test_an_experiment_that_raises_is_an_error_and_not_a_report(product: Product) -> None:
    with mock.patch("tradeagent.turns.tick.build_prompt", side_effect=BusyError("locked", hint="wait")):
        for mode in ("dry-run", "once"):
            answer = run_with(Scripted(), product, "btc_momentum", "--mode", mode, "--replay", BTC)
            assert (answer.code, answer.error["code"], answer.error["hint"]) == (6, "busy", "wait")
    assert {row["state"] for row in product.ask("status")["deployments"]} == {"error"}
