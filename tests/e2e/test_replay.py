"""Recorded ticks as experiments: the same prompt to a model again, no way to an order, and figures that say what they leave out."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from loopback import END, ROLE, Loopback, Reply, chunk, text_reply, tool_piece
from minds import Scripted, run_with
from product import BTC, Answer, Product, copied

HOLD = [("journal_action", {"action": "hold", "reasoning": "nothing to do"})]
BUY = {"market": "BTC", "side": "buy", "quote": "90", "stop": "80000", "target": "99000", "reason": "now"}
SPENT = ("llm_usage", "llm_spend")


@pytest.fixture(scope="module")
def recorded(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A session of forty ticks by the shipped momentum rules."""
    product = copied(template, tmp_path_factory.mktemp("recorded") / "ws")
    assert product.run("run", "btc_momentum", "--replay", BTC, "--max-ticks", "40", "--json").code == 0
    yield product


def tables(product: Product) -> dict[str, list[Any]]:
    """Everything in the ledger but what was spent."""
    with closing(sqlite3.connect(product.ledger_file)) as ledger:
        names = [row[0] for row in ledger.execute("SELECT name FROM sqlite_master WHERE type = 'table'") if row[0] not in SPENT]
        return {name: sorted(map(repr, ledger.execute(f"SELECT * FROM {name}"))) for name in names}


def files(product: Product) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in product.agents.rglob("*") if path.is_file()}


def asked_with(model: Any, product: Product, *arguments: str) -> Answer:
    """A replay in this process by a model of the test's own."""
    with mock.patch("tradeagent.runtime.replays.open_model", lambda *_: model):
        return product.here(*arguments, "--json")


def test_the_same_rules_choose_the_same_again_and_nothing_changes(recorded: Product) -> None:
    before, there = tables(recorded), files(recorded)
    answer = recorded.run("replay", "btc_momentum", "--session", "1", "--json")
    assert answer.code == 0, answer
    told = answer.document
    assert (told["agent"], told["session"], told["version"], told["recorded_model"]) == ("btc_momentum", 1, 1, "offline/momentum")
    assert len(told["ticks"]) == 40 and all(tick["same"] for tick in told["ticks"])
    assert any(tick["now"] for tick in told["ticks"]), "a session without a trade would prove nothing"
    summary = told["summary"]
    assert (summary["answered"], summary["agreement_pct"], summary["cost_usd"]) == (40, "100.0", "0")
    assert summary["hypothetical_pnl"] == summary["recorded"]["hypothetical_pnl"] != "0"
    assert tables(recorded) == before and files(recorded) == there
    assert any("no rule of the door" in caveat for caveat in told["caveats"])


def test_another_model_is_compared_tick_by_tick(recorded: Product) -> None:
    told = recorded.ask("replay", "btc_momentum", "--model", "offline/hold")
    summary = told["summary"]
    traded = [tick for tick in told["ticks"] if tick["then"]]
    assert [tick["now"] for tick in told["ticks"]] == [[]] * 40
    assert summary["same"] == 40 - len(traded) and not any(tick["same"] for tick in traded)
    assert (summary["hypothetical_pnl"], summary["trades"]) == ("0", 0)
    assert summary["agreement_pct"] == f"{100 * summary['same'] / 40:.1f}"


def test_models_side_by_side_and_sessions_side_by_side(recorded: Product) -> None:
    told = recorded.ask("agent", "compare", "btc_momentum", "--model", "offline/hold", "--model", "offline/momentum")
    hold, momentum = told["models"]
    assert (hold["model"], momentum["model"]) == ("offline/hold", "offline/momentum")
    assert Decimal(hold["agreement_pct"]) < Decimal(momentum["agreement_pct"]) == 100
    assert momentum["hypothetical_pnl"] == momentum["recorded"]["hypothetical_pnl"]
    runs = recorded.ask("agent", "compare", "btc_momentum")
    [one] = runs["runs"]
    report = recorded.ask("status")["deployments"][0]
    trips = recorded.ask("fills")
    assert (one["deployment"], one["ticks"], one["version"]) == ("btc_momentum_1", 40, 1)
    assert Decimal(one["pnl"]) == Decimal(report["equity"]) - 10_000
    assert one["intents"] >= one["round_trips"] > 0 and Decimal(one["fees_of_round_trips"]) <= sum(Decimal(fill["fee"]) for fill in trips)
    assert any("fewer than 30 round trips: btc_momentum_1" in caveat for caveat in runs["caveats"])
    assert one["model_calls"] == sum(row["calls"] for row in recorded.ask("usage", "--agent", "btc_momentum", "--days", "4000"))


def test_versions_are_compared_with_what_makes_them_incomparable(product: Product) -> None:
    for ticks in ("2", "3"):
        assert run_with(Scripted(HOLD), product, "btc_momentum", "--replay", BTC, "--max-ticks", ticks).code == 0
        product.rewrite(
            "btc_momentum",
            ("max_daily_trades: 12", "max_daily_trades: 12 ") if ticks == "3" else ("max_daily_trades: 12", "max_daily_trades: 11"),
        )
        if ticks == "2":
            product.rewrite("btc_momentum", ("max_daily_trades: 11", "max_daily_trades: 12\n  max_open_executors: 2"))
    told = product.ask("agent", "compare", "btc_momentum@1", "btc_momentum@2")
    assert [one["version"] for one in told["runs"]] == [1, 2]
    assert [one["ticks"] for one in told["runs"]] == [2, 3]
    said = " ".join(told["caveats"])
    assert "different times" in said and "different limits" in said
    missing = product.run("agent", "compare", "btc_momentum@9", "btc_momentum_1", "--json")
    assert (missing.code, missing.error["code"]) == (4, "not_found")


def test_a_model_that_insists_on_trading_reaches_nothing(recorded: Product) -> None:
    before, paper = tables(recorded), recorded.paper_file("btc_momentum").read_bytes()
    greedy = [
        ("propose_order", BUY),
        ("close_position", {"market": "BTC"}),
        ("modify_protection", {"market": "BTC", "stop": "1"}),
        ("cancel_order", {"order_id": "1"}),
        ("add_learning", {"text": "replays are real"}),
        ("update_canvas", {"thesis": "mine"}),
    ]
    model = Scripted(greedy)
    answer = asked_with(model, recorded, "replay", "btc_momentum", "--tick", "5")
    assert answer.code == 0, answer
    verdicts = [(result.get("verdict"), result.get("rule")) for result in model.results[:4]]
    assert verdicts == [("rejected", "DRY_RUN")] * 4
    [tick] = answer.document["ticks"]
    assert [choice["verb"] for choice in tick["now"]] == ["enter", "close", "protect", "cancel"]
    assert tables(recorded) == before and recorded.paper_file("btc_momentum").read_bytes() == paper
    assert "replays are real" not in "".join(text.decode() for name, text in files(recorded).items() if name.endswith(".md"))


def test_tools_answer_as_of_the_recorded_tick(product: Product) -> None:
    looks = [
        ("get_candles", {"market": "BTC", "interval": "5m", "count": 3}),
        ("get_ticker", {"market": "BTC"}),
        ("get_portfolio", {}),
    ]
    live = Scripted(HOLD, looks, HOLD)
    assert run_with(live, product, "btc_momentum", "--replay", BTC, "--max-ticks", "3").code == 0
    now = Scripted([*looks, ("get_round_trips", {"count": 5}), ("get_candles", {"market": "BTC", "interval": "1h", "count": 2})])
    assert asked_with(now, product, "replay", "btc_momentum", "--tick", "2").code == 0
    assert now.results[:3] == live.results[1:4], "what was recorded is answered as then"
    assert now.results[3]["error"]["code"] == "not_recorded"
    newest = now.results[4]["rows"][-1][0]
    snapshot = product.ask("snapshots", "btc_momentum")[1]["time"]
    assert newest < snapshot, "bars that closed later are not shown"
    other = Scripted([("get_portfolio", {}), ("get_account_overview", {})])
    assert asked_with(other, product, "replay", "btc_momentum", "--tick", "1").code == 0
    assert {"account", "positions", "open_orders", "as_of"} == set(other.results[0])
    assert other.results[1]["account"]["equity"] == "10000"


def test_a_model_that_answers_no_tick_is_exit_5_with_its_document(recorded: Product) -> None:
    nobody = ("--model", "no_such_provider/x", "--json")
    alone = recorded.here("replay", "btc_momentum", "--tick", "5", *nobody)
    assert alone.code == 5 and [tick["reason"] for tick in alone.document["ticks"]] == ["model_error"]
    assert recorded.here("replay", "btc_momentum", "--tick", "5", "--cache", "replay", *nobody).code == 5
    both = recorded.here("agent", "compare", "btc_momentum", "--model", "offline/hold", *nobody)
    assert both.code == 0 and [row["answered"] for row in both.document["models"]] == [40, 0]
    assert recorded.here("agent", "compare", "btc_momentum", *nobody).code == 5


def test_a_replay_outlives_the_agent_that_was_edited(product: Product) -> None:
    assert run_with(Scripted(HOLD, HOLD), product, "btc_momentum", "--replay", BTC, "--max-ticks", "2").code == 0
    (product.agents / "btc_momentum" / "agent.md").write_text("broken by a person")
    again = Scripted(HOLD)
    answer = asked_with(again, product, "replay", "btc_momentum")
    assert answer.code == 0 and "propose_order" in again.offered[0]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("replay", "btc_momentum", "--session", "9"), "not_found", "no session 9"),
        (("replay", "btc_momentum", "--tick", "999"), "not_found", "no record of tick 999"),
        (("replay", "btc_momentum", "--model", "offline/nothing"), "model_error", "nothing"),
        (("replay", "btc_momentum", "--cache", "sometimes"), "invalid_input", "--cache"),
        (("replay", "btc_momentum", "--max-cost", "much"), "invalid_input", "--max-cost"),
        (("replay", "no_such"), "not_found", "no_such"),
        (("agent", "compare", "btc_momentum", "other", "--model", "offline/hold"), "invalid_input", "--model"),
        (("agent", "compare", "no_such"), "not_found", "no_such"),
    ],
)
def test_what_cannot_be_replayed_says_why(recorded: Product, arguments: tuple[str, ...], code: str, said: str) -> None:
    answer = recorded.here(*arguments, "--json")
    assert answer.code != 0 and answer.error["code"] == code and said in answer.error["message"], answer


@pytest.mark.slow
def test_a_second_replay_asks_nobody_and_gives_the_same(product: Product) -> None:
    assert run_with(Scripted(HOLD, HOLD), product, "btc_momentum", "--replay", BTC, "--max-ticks", "2").code == 0
    text = json.dumps(BUY)
    buy = Reply(
        (
            ROLE,
            tool_piece(0, text[:9], "propose_order", "c1"),
            tool_piece(0, text[9:]),
            chunk({}, "tool_calls"),
            chunk(usage=(1000, 50)),
            END,
        )
    )
    with Loopback(buy, text_reply("bought", usage=(1100, 10)), text_reply("hold", usage=(900, 5))) as server:
        product = Product(product.root, {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "sk-canary-0123456789abcdef"})
        for key, price in (("input_price_per_mtok", "2"), ("output_price_per_mtok", "10")):
            product.ask("config", "set", f"models.openai/scripted.{key}", price)
        first = product.run("replay", "btc_momentum", "--model", "openai/scripted", "--json")
        assert first.code == 0, first
        asked = len(server.bodies)
        again = product.run("replay", "btc_momentum", "--model", "openai/scripted", "--cache", "replay", "--json")
        assert again.code == 0 and len(server.bodies) == asked == 3
        costly = product.run("replay", "btc_momentum", "--model", "openai/scripted", "--cache", "off", "--max-cost", "0", "--json").document
    one, two = first.document, again.document
    assert [tick["now"] for tick in one["ticks"]] == [tick["now"] for tick in two["ticks"]]
    assert [choice["verb"] for choice in one["ticks"][0]["now"]] == ["enter"] and one["ticks"][1]["now"] == []
    assert (one["summary"]["cost_usd"], two["summary"]["cost_usd"]) == ("0.00665", "0")
    [row] = [row for row in product.ask("usage") if row["cost_usd"] not in (None, "0")]
    assert (row["agent"], row["model"], row["cost_usd"]) == ("btc_momentum:replay", "openai/scripted", "0.00665")
    assert [(tick["reason"], tick["same"]) for tick in costly["ticks"]] == [("budget", None)]
