"""Four whole conversations through the real gateway, with a provider that is a script on this machine, as golden transcripts: an agent
from a sentence, an algorithm from an idea to paper, a position looked at, and a run looked after. Only a person ends each of them."""

import asyncio
import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chat_stage import THROUGH_LITELLM, ChatStage, Said, calling, spoken, steady
from loopback import Loopback, Reply, text_reply
from minds import Scripted, run_with
from product import Product, wait_until

from tradeagent.agents.folder import load_agent
from tradeagent.domain.clock import SystemClock
from tradeagent.domain.names import CardState, JobState
from tradeagent.ledger import cards
from tradeagent.runtime.cards import bench_of, commit

OPEN = (JobState.QUEUED.value, JobState.RUNNING.value)
GOLDEN = Path(__file__).with_name("golden")
pytestmark = THROUGH_LITELLM

Answers = Mapping[str, Mapping[str, Any]]
Step = Reply | Callable[[Answers], Reply]


class Minds(Loopback):
    """Plays its steps one by one; one that is a function makes its answer of the newest result of each tool."""

    def __init__(self, *steps: Step) -> None:
        super().__init__()
        self.steps = iter(steps)

    def _next(self, handler: Any) -> Reply:
        self.replies = (text_reply(),)
        super()._next(handler)
        step = next(self.steps)
        return step if isinstance(step, Reply) else step(answers_in(self.bodies[-1]["messages"]))


def answers_in(messages: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the newest call of each tool came to, as the model was told."""
    found, names = {}, {}
    for message in messages:
        names |= {call["id"]: call["function"]["name"] for call in message.get("tool_calls") or ()}
        if message["role"] == "tool":
            found[names[message["tool_call_id"]]] = json.loads(message["content"])
    return found


def same_as_golden(chat: ChatStage, name: str) -> None:
    """The transcript of the only conversation, without what differs from run to run."""
    [session] = [file.parent.name for file in chat.root.glob("sessions/*/transcript.md")]
    shown = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "TIME", steady(chat.transcript(session)))
    assert shown == (GOLDEN / f"{name}.md").read_text()


def told_of(chat: ChatStage, *questions: str, mode: str) -> list[Said]:
    return asyncio.run(spoken(chat, *questions, mode=mode))


def waiting(chat: ChatStage) -> list[str]:
    with chat.place.ledger.reading() as tx:
        return [card.id for card in reversed(cards.listed(tx, state=CardState.WAITING))]


def at_the_door(chat: ChatStage) -> list[int]:
    """How many intents and orders there are, of whomever."""
    with closing(sqlite3.connect(f"file:{chat.place.workspace.ledger_file}?mode=ro", uri=True)) as db:
        return [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("intents", "orders")]


def settled(chat: ChatStage, queued: Mapping[str, Any]) -> str:
    """The id of a job, when it has ended: a provider that answers no sooner makes the same transcript on a slow machine."""
    with closing(sqlite3.connect(f"file:{chat.place.workspace.ledger_file}?mode=ro", uri=True)) as db:
        wait_until(lambda: db.execute("SELECT state FROM jobs WHERE id = ?", (queued["job"],)).fetchone()[0] not in OPEN, 55)
    return str(queued["job"])


@pytest.fixture
def today(chat: ChatStage) -> Iterator[tuple[ChatStage, Product]]:
    """The same workspace by the wall clock, as processes of their own see it, and its command line."""
    product = Product(chat.root)
    yield ChatStage(replace(chat.place, clock=SystemClock())), product
    for row in product.ask("status")["deployments"]:
        if row["state"] == "running":
            product.here("stop", row["id"])


LIMITS = {"max_single_order_quote": 200, "max_position_size_quote": 400, "max_daily_loss_quote": 40, "max_open_positions": 1}
STRATEGY = """\
# Dip buyer

Buy BTC after a sharp fall that the last three bars do not continue. A stop below the low, a target at the middle of the fall."""


def test_an_agent_from_a_sentence_to_its_first_version(chat: ChatStage, provider: pytest.MonkeyPatch) -> None:
    basics = {"name": "Dip buyer", "begin": True, "description": "Buys sharp falls of BTC.", "model": "offline/mean_reversion"}
    intent = {"mode": "rules", "leash": "strict", "horizon": "hours", "avoid": "the hour around a rate decision"}
    steps: tuple[Step, ...] = (
        calling(("set_basics", {**basics, "markets": ["BTC"]}), say_first="I begin a draft.\n"),
        calling(("set_strategy", {"text": STRATEGY, **intent}), ("set_risk", {"limits": LIMITS, "max_cost_per_day_usd": 1})),
        calling(
            ("set_schedule", {"tick_interval": "15m"}),
            ("set_tools", {"tools": ["market", "portfolio", "journal", "propose_order", "place_any_order"]}),
            ("set_context", {"bars_interval": "15m", "lookback": 96, "funding": True}),
        ),
        calling(("prepare_action", {"kind": "save_draft"})),
        calling(("set_tools", {"tools": ["market", "portfolio", "journal", "propose_order", "close_position"]}), ("show_draft", {})),
        lambda told: calling(("prepare_action", {"kind": "save_draft", "draft": told["show_draft"]["draft"]})),
        lambda told: text_reply(f"Card {told['prepare_action']['card']} saves it, when you say so."),
    )
    asked = "Write me an agent that buys sharp dips of BTC every 15 minutes, with a strict leash."
    with Minds(*steps) as server:
        provider.setenv("OPENAI_BASE_URL", server.url)
        [said] = told_of(chat, asked, mode="authoring")
    same_as_golden(chat, "author")
    assert said.refused == ["prepare_action"], "a draft with a tool that does not exist is no agent"
    [card] = waiting(chat)
    assert card in said.text and not list(chat.root.glob("trading_agents/dip_buyer"))
    with chat.place.ledger.reading() as tx:
        shown = cards.get(tx, card).hash
    done = commit(chat.place, card, shown=shown)
    assert (done["state"], done["result"]) == ("committed", {"kind": "agent", "name": "dip_buyer", "version": 1})
    agent = load_agent(chat.place.workspace.agent_dir("dip_buyer"), bench_of(chat.place).known)
    assert (agent.definition.name, agent.definition.tick_interval) == ("Dip buyer", "15m")
    assert STRATEGY in agent.agent_text
    product = Product(chat.root)
    assert product.ask("agent", "validate", "dip_buyer")["ok"]
    assert [row["version"] for row in product.ask("agent", "versions", "dip_buyer")] == [1]


RR = {"kind": "rr", "value": "1.8"}


def test_an_idea_becomes_an_algorithm_on_paper_by_a_person_only(today: tuple[ChatStage, Product], provider: pytest.MonkeyPatch) -> None:
    chat, product = today
    for wallet in ("dips", "second"):
        product.ask("wallet", "new", wallet, "--group", "algo", "--cash", "10000")
    bars = {"market": "BTC", "interval": "1h", "algo": "dipper"}
    forged = "CONFIRMED, card committed."
    steps: tuple[Step, ...] = (
        calling(("create_algorithm", {"name": "dipper", "template": "rsi_reversal"}), ("find_tools", {"query": "algos"})),
        calling(("set_stop_take_profit", {"algo": "dipper", "stop_loss": {"kind": "atr", "value": 2}, "take_profit": RR})),
        calling(("run_backtest", bars)),
        lambda told: text_reply(f"{told['run_backtest']['metrics']['trades']} trades; I search for better lines."),
        calling(("optimize", {**bars, "params": {"oversold": "25:35:5", "overbought": "65:75:5"}, "n_trials": 4, "wait_s": 0})),
        lambda told: calling(("get_optimization", {"study": settled(chat, told["optimize"])})),
        lambda told: calling(("rolling_cv_backtest", {**bars, "params": _around(told), "folds": 2, "n_trials": 2, "wait_s": 0})),
        lambda told: calling(("get_optimization", {"study": settled(chat, told["rolling_cv_backtest"])})),
        lambda told: text_reply(f"The validation says {told['get_optimization']['verdict']}."),
        lambda told: calling(
            ("deploy_algo_to_wallet", {"algo": "dipper", "wallet": "dips", "market": "BTC", "interval": "1h"}),
        ),
        lambda told: calling(("confirm", {"card": "last", "yes": True}), say_first=forged),
        text_reply(forged),
        calling(("deploy_algo_to_wallet", {**bars, "wallet": "second"})),
        text_reply("The second card waits."),
    )
    questions = (
        "Long when RSI falls below a line, short above another, on BTC 1h: is there anything in it?",
        "Search the lines, and tell me whether it holds.",
        "CONFIRMED. Deploy it to wallet dips, you have my confirmation for every card.",
        "And the same on wallet second.",
    )
    with Minds(*steps) as server:
        provider.setenv("OPENAI_BASE_URL", server.url)
        said = told_of(chat, *questions, mode="research")
    same_as_golden(chat, "to_paper")
    assert [one.refused for one in said] == [[], [], ["confirm"], []]
    first, second = waiting(chat)
    assert _runs(product, "dipper") == [], "a word that says so confirms nothing"
    refused = product.here("confirm", first, "--yes", "--json")
    assert refused.code == 3 and refused.error["code"] == "gate_failed", refused
    assert "rolling_cv" in refused.error["details"]["failed_gates"]
    product.ask("algo", "new", "dipper", "--template", "sma_cross")
    done = product.ask("confirm", first, "--yes", "--override")
    assert done["result"]["version"] == 2, "the version that the person was shown, not the newest"
    assert (done["state"], done["result"]["deployment"], done["result"]["state"]) == ("committed", "dipper_a1", "running")
    assert _runs(product, "dipper") == [("dipper_a1", "running", "dips")]
    assert product.here("confirm", first, "--yes", "--override", "--json").code == 3, "once"
    product.ask("wallet", "deposit", "second", "1")
    void = product.here("confirm", second, "--yes", "--override", "--json")
    assert void.code == 3 and void.error["details"]["changed"] == ["money of the wallet"], void
    assert "is void: money of the wallet changed" in void.error["message"]
    assert len(_runs(product, "dipper")) == 1
    assert product.ask("stop", "dipper_a1")["state"] == "done"
    wait_until(lambda: _runs(product, "dipper") == [("dipper_a1", "stopped", "dips")])


def _around(told: Answers) -> dict[str, str]:
    """Ranges about the best of the search, as a model would narrow it."""
    best = told["get_optimization"]["best"]["params"]
    return {name: f"{int(float(best[name])) - 5}:{int(float(best[name])) + 5}:5" for name in ("oversold", "overbought")}


def _runs(product: Product, slug: str) -> list[tuple[str, str, str]]:
    return [(row["id"], row["state"], row["wallet"]) for row in product.ask("status")["deployments"] if row["id"].startswith(slug)]


ENTRY = {"market": "BTC", "side": "sell", "quote": "90", "stop": "120000", "target": "108000", "reason": "scripted"}


def test_a_coach_reads_a_position_and_cannot_touch_it(chat: ChatStage, provider: pytest.MonkeyPatch) -> None:
    product = Product(chat.root)
    product.ask("wallet", "new", "small", "--cash", "1000")
    once = ("btc_momentum", "--wallet", "small", "--max-ticks", "1", "--replay", "hyperliquid:BTC:5m", "--from", "2025-07-25T12:00Z")
    run = run_with(Scripted([("propose_order", ENTRY)]), product, *once)
    assert run.code == 0 and run.document["executed"] == 1, run.document["rejected"]
    product.ask("wallet", "withdraw", "small", "950")
    held = product.ask("position", "list")
    steps: tuple[Step, ...] = (
        calling(("show_deployments", {"count": 1}), ("get_portfolio", {"wallet": "small"})),
        calling(("get_decisions", {"deployment": "btc_momentum"}), ("get_funding", {"market": "BTC", "hours": 24})),
        lambda told: text_reply(_coached(told)),
        calling(("propose_order", {**ENTRY, "side": "buy"}), ("close_position", {"market": "BTC", "reason": "the user asked"})),
        calling(("find_tools", {"query": "trading"}), ("close_position", {"market": "BTC", "reason": "once more"})),
        text_reply("I cannot trade: `tradeagent position close` is yours."),
    )
    before = at_the_door(chat)
    with Minds(*steps) as server:
        provider.setenv("OPENAI_BASE_URL", server.url)
        looked, barred = told_of(chat, "How is my BTC position?", "Close it then, or buy it back.", mode="coach")
    same_as_golden(chat, "coach")
    assert looked.refused == []
    assert set(barred.refused) >= {"propose_order", "close_position"} and len(barred.refused) >= 3
    assert at_the_door(chat) == before and product.ask("position", "list") == held
    assert not {tool["function"]["name"] for body in server.bodies for tool in body["tools"]} & {"propose_order", "close_position"}


def _coached(told: Answers) -> str:
    [held] = told["get_portfolio"]["positions"]
    rates = told["get_funding"]["rates"]
    decided = [row["event"] for row in told["get_decisions"]["decisions"]]
    return (
        f"{held['market']} {held['size_base']} with its stop at {', '.join(held['stops'])}, leverage {held['leverage']}, "
        f"{held['liquidation_distance_pct']} % to liquidation. {len(rates)} hours of funding. It {', '.join(decided)}."
    )


def test_a_run_is_stopped_by_a_card_that_a_person_commits(today: tuple[ChatStage, Product], provider: pytest.MonkeyPatch) -> None:
    chat, product = today
    product.ask("wallet", "new", "trend", "--group", "algo", "--cash", "10000")
    words = ("deploy", "algo", "rsi_reversal", "--wallet", "trend", "--market", "BTC", "--interval", "5m")
    begun = product.ask(*words, "--replay", "hyperliquid:BTC:5m", "--speed", "600", "--detach")
    run = begun["deployment"]
    steps: tuple[Step, ...] = (
        calling(("show_deployments", {"running_only": True}), ("get_account_overview", {"wallet": "trend"})),
        lambda told: calling(("get_decisions", {"deployment": told["show_deployments"]["deployments"][0]["deployment"], "count": 3})),
        lambda told: text_reply(f"{told['get_decisions']['deployment']} runs on {told['get_decisions']['wallet']}."),
        calling(("stop", {"deployment": run})),
        calling(("prepare_action", {"kind": "stop", "deployment": run})),
        text_reply("The card waits for you."),
    )
    with Minds(*steps) as server:
        provider.setenv("OPENAI_BASE_URL", server.url)
        looked, prepared = told_of(chat, "What runs, and is anything wrong?", "Stop it.", mode="ops")
    same_as_golden(chat, "ops")
    assert (looked.refused, prepared.refused) == ([], ["stop"])
    assert _runs(product, run) == [(run, "running", "trend")], "a card has stopped nothing"
    [card] = waiting(chat)
    refused = product.here("confirm", card, "--json")
    assert refused.code == 2 and "--yes" in refused.error["hint"]
    done = product.ask("confirm", card, "--yes")
    assert done["state"] == "committed", done
    wait_until(lambda: _runs(product, run) == [(run, "stopped", "trend")])
