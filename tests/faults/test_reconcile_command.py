"""`reconcile`, `stop` and `incidents close` as a person gives them, to a run that is alive and to one that has ended."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from minds import Scripted, run_with
from product import BTC, Product
from test_commands import Patient, _commands
from test_wall_clock import _place, _until

from tradeagent.ledger import events
from tradeagent.runtime import checks
from tradeagent.runtime.assembly import RunRequest, assembled
from tradeagent.runtime.ground import Pace
from tradeagent.runtime.runner import Runner

RUN = ("btc_momentum", "--replay", BTC, "--max-ticks")
FULL = ["checking", "reconciling", "verifying", "consistent"]
HOLD = [("journal_action", {"action": "hold", "reasoning": "nothing to do"})]
LEVELS = {"stop": "60000", "target": "160000", "reason": "test"}
ENTER = [("propose_order", {"market": "BTC", "side": "buy", "quote": "50", **LEVELS})]
REST = [("propose_order", {"market": "BTC", "side": "buy", "type": "limit", "price": "82000", "quote": "15", **LEVELS})]


def _tamper(product: Product, cash: int) -> None:
    """Take money from the paper account past every record, or put it back."""
    with closing(sqlite3.connect(product.paper_file("btc_momentum"))) as paper:
        [[version, text]] = paper.execute("SELECT version, state FROM venue").fetchall()
        state = json.loads(text)
        state["cash"] += cash
        paper.execute("UPDATE venue SET version = ?, state = ?", (version + 1, json.dumps(state)))
        paper.commit()


def _phases(product: Product) -> list[str]:
    return [event["data"]["phase"] for event in product.ask("audit", "--kind", "reconcile.phase", "--limit", "1000")]


def test_reconcile_of_a_run_that_has_ended_takes_the_lease_itself(product: Product) -> None:
    run_with(Scripted(ENTER), product, *RUN, "2")
    told = product.ask("reconcile", "btc_momentum")
    assert {"deployment": "btc_momentum_1", "phase": "consistent", "cycles": 1, "repaired": 0}.items() <= told.items()
    assert 0 <= told["elapsed_s"] < 5
    assert _phases(product)[-4:] == FULL
    [row] = [row for row in product.ask("status")["deployments"] if row["id"] == "btc_momentum_1"]
    assert (row["state"], row["reconciliation"]) == ("completed", "consistent"), "it is no run"
    assert product.here("reconcile", "nobody", "--json").code == 4


def test_reconcile_that_cannot_agree_says_where_and_exits_1(product: Product) -> None:
    run_with(Scripted(ENTER), product, *RUN, "2")
    _tamper(product, -1_000_000)
    answer = product.here("reconcile", "btc_momentum", "--json")
    assert (answer.code, answer.document["phase"], answer.document["cycles"]) == (1, "failed", 2)
    assert "cash" in answer.document["differences"][0]
    assert "cash" in product.here("reconcile", "btc_momentum").out
    [incident] = product.ask("incidents")
    assert (incident["code"], incident["level"]) == ("reconcile_mismatch", "critical")
    _tamper(product, 1_000_000)
    assert product.ask("reconcile", "btc_momentum")["phase"] == "consistent"
    assert product.ask("incidents") == []


def test_a_run_that_is_alive_reconciles_itself_in_its_tick(product: Product) -> None:
    run_with(Patient(product, "reconcile", "stop"), product, *RUN, "5")
    [reconciled, stopped] = _commands(product).values()
    assert (reconciled[0], stopped[0]) == ("done", "done")
    assert (reconciled[1]["phase"], reconciled[1]["cycles"], reconciled[1]["repaired"]) == ("consistent", 1, 0)
    assert _phases(product) == FULL * 3, "the wallet's making, the start of the run, and the command"


def test_stop_cancels_resting_entries_and_keeps_the_stops(product: Product) -> None:
    product.rewrite("btc_momentum", ("max_positions_per_market: 1", "max_positions_per_market: 3"))
    report = run_with(Scripted(ENTER, REST), product, *RUN, "2").document
    assert report["executed"] == 2, report["rejected"]
    before = product.ask("order", "list", "--wallet", "btc_momentum")
    by_hand = ("--market", "BTC", "--side", "buy", "--quote", "50", "--type", "limit", "--price", "81000", "--stop", "70000")
    product.ask("order", "place", "--wallet", "btc_momentum", *by_hand)
    assert len([o for o in before if not o["reduce_only"]]) == 1 and len(before) == 5
    told = product.ask("stop", "btc_momentum")
    assert told["cancelled"] == 1
    left = product.ask("order", "list", "--wallet", "btc_momentum")
    assert sorted((o["reduce_only"], o["price"]) for o in left if not o["reduce_only"]) == [(False, "81000")], "a person's stays"
    assert sorted(o["trigger"] for o in left if o["reduce_only"]) == ["160000", "60000", "70000"]
    assert len(product.ask("position", "list", "--wallet", "btc_momentum")) == 1


def test_a_run_enters_nothing_after_a_stop_though_its_tick_goes_on(product: Product) -> None:
    class Stubborn(Patient):
        """Asks for an entry after the stop was given, and whoever stopped it has thought better of it too late."""

        def __init__(self) -> None:
            super().__init__(product, "stop", "resume")
            self.ticks = (REST,)

    report = run_with(Stubborn(), product, *RUN, "5").document
    assert (report["stopped_because"], report["executed"], report["rejected"]) == ("stop_command", 0, {"PAUSED": 1})
    assert product.ask("order", "list", "--wallet", "btc_momentum") == []
    assert [result.get("deployment_state") for _, result in _commands(product).values()] == [None, "stopping"]
    told = [row["data"]["state"] for row in product.ask("audit", "--kind", "deployment.state")]
    assert told[-2:] == ["stopping", "stopped"]


def test_stop_of_a_run_that_is_alive_refuses_over_a_bare_position_and_the_run_goes_on(product: Product) -> None:
    product.rewrite("btc_momentum", ("max_drawdown_pct: 10", "max_drawdown_pct: 10\n  max_market_risk_pct: 100\n  require_stops: false"))
    bare = [("propose_order", {"market": "BTC", "side": "buy", "quote": "40", "reason": "test"})]
    assert run_with(Scripted(bare), product, *RUN, "1").document["executed"] == 1
    report = run_with(Patient(product, "stop"), product, *RUN, "2").document
    assert (report["stopped_because"], report["ticks"]) == ("max_ticks", 2)
    [(state, told)] = _commands(product).values()
    assert (state, told["code"], told["exit_code"]) == ("failed", "PROTECTION", 3)
    assert "BTC" in told["message"] and "--keep" in told["hint"]


def test_a_person_closes_an_incident_by_its_id(product: Product) -> None:
    run_with(Scripted(ENTER), product, *RUN, "2")
    _tamper(product, -1_000_000)
    product.here("reconcile", "btc_momentum")
    [incident] = product.ask("incidents")
    assert incident["id"] in product.here("incidents").out
    closed = product.ask("incidents", "close", incident["id"])
    assert (closed["id"], closed["state"]) == (incident["id"], "closed")
    assert product.ask("incidents") == [] and [row["state"] for row in product.ask("incidents", "--all")] == ["closed"]
    [event] = product.ask("audit", "--kind", "incident.closed")
    assert (event["actor"], event["subject"]) == ("manual", incident["id"])
    assert (product.here("incidents", "close", "nosuch", "--json").code) == 4


def test_a_run_on_the_wall_clock_compares_while_it_waits_for_its_next_tick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "LOOK_S", 0.05)
    monkeypatch.setattr(checks, "EVERY_S", 0.2)
    place = _place(tmp_path / "ws")

    def checked() -> int:
        with place.ledger.reading() as tx:
            return len(events.read(tx, wallet="holder", kinds=("reconcile.phase",), limit=1000))

    async def story(runner: Runner) -> None:
        running = asyncio.create_task(runner.run())
        await _until(lambda: runner.tally.ticks == 1)
        before = checked()
        await _until(lambda: checked() >= before + 3)
        runner.interrupt()
        await running

    with assembled(place, RunRequest("holder", Pace(), cash="10000")) as run:
        asyncio.run(story(Runner(run)))
    place.ledger.close()
