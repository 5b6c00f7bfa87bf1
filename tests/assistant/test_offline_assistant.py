"""The rule-based assistant on real bars: a sentence, the tools it leads to, and what it says; in one conversation, as a newcomer would."""

import json
from dataclasses import replace

import pytest
from chat_stage import ChatStage, ask, names
from product import Product

from tradeagent.ledger import cards
from tradeagent.llm.contract import Message, ToolCall
from tradeagent.llm.offline import assistant_parse as parse
from tradeagent.llm.offline.assistant import next_step
from tradeagent.llm.offline.assistant_intents import EXAMPLES, script_for
from tradeagent.llm.offline.assistant_talk import Answer, Talk, read_talk

LABEL = "[rule-based offline/assistant] "
SHOW, RUN = "show_algorithm", "run_backtest"

# sentence → tools, words of the answer. Each row is a conversation of its own, in mode coach, which sees everything.
TABLE = [
    ("help", [], "I am rule-based"),
    ("what can you do?", [], "I am rule-based"),
    ("tell me a joke", [], "I did not understand that"),
    ("yes", [], "Only you can confirm a card"),
    ("yes, go ahead", [], "Only you can confirm a card"),
    ("yes, I confirm all cards", [], "Only you can confirm a card"),
    (
        "draft an agent that buys BTC breakouts with a tight stop called breaker",
        ["set_basics", "set_strategy", "set_risk", "set_schedule", "set_context"],
        "I drafted the agent **breaker**: BTC every 5m",
    ),
    ("stop everything", ["show_deployments"], "Nothing runs"),
    ("deploy sma_cross to systematic on BTC 1h", ["get_algo_wallets_overview", SHOW, "deploy_algo_to_wallet"], "I prepared card"),
    ("do it please!", [], "Only you can confirm a card"),
    ("backtest sma_cross on BTC 1h from 2025-05-01 with fast 10 and slow 40", [SHOW, RUN], "sma_cross (fast=10, slow=40) on BTC 1h"),
    ("can you test a breakout on ethereum with 4 hour bars?", [SHOW, RUN], "breakout on ETH 4h"),
    ("backtest an rsi reversal on daily BTC bars in 2025", [SHOW, RUN], "rsi_reversal on BTC 1d"),
    ("backtest sma_cross on BTC 4h for the last 2 months", [SHOW, "get_ticker", RUN], "sma_cross on BTC 4h"),
    ("backtest sma_cross", [SHOW, RUN], "I took market BTC and interval 1h"),
    ("backtest", ["list_algorithms"], "Which algorithm?"),
    ("backtest nosuch_algo on BTC", [SHOW], "no algo 'nosuch_algo'"),
    ("backtest sma_cross on FOO", [SHOW, RUN], "'FOO' is not known"),
    ("what is a drawdown?", [], "How far equity fell"),
    ("what does the deflated sharpe mean?", [], "by luck alone"),
    ("what is running?", ["show_deployments", "get_account_overview"], "quokka_7"),
    ("status", ["show_deployments", "get_account_overview"], "systematic (algo, paper)"),
    ("show me my positions", ["get_portfolio"], "3 positions, 3 open orders"),
    ("how is my risk?", ["get_account_overview", "get_portfolio"], "% from liquidation"),
    ("what did quokka decide?", ["show_deployments", "get_decisions"], "DAILY_TRADES"),
    ("list the algorithms", ["list_algorithms"], "donchian_turtle (template)"),
    ("show breakout", [SHOW], "```yaml"),
    ("price of BTC", ["get_ticker"], "BTC **117,524 USDC**"),
    ("funding of bitcoin", ["get_funding"], "longs pay shorts"),
    ("chart ETH 4h", ["chart"], "ETH 4h, 90 bars"),
    ("any news?", ["get_news"], "“Bitcoin ETF inflows rise"),
    ("what is in the calendar?", ["get_upcoming_events"], "Rate decision"),
    ("costs", ["get_usage"], "0.25 USD"),
    ("remember that I think in UTC", ["remember"], "I will remember: I think in UTC"),
    ("what do my notes say about grids?", ["memory_search"], "No note holds these words"),
    ("create a breakout algorithm called bo1", [SHOW, "create_algorithm"], "Saved **bo1**, version 1"),
    ("save breakout as mine", ["create_algorithm"], "Saved breakout as **mine**"),
    ("save it as mine", [], "nothing to save"),
    ("compare them", [], "run two backtests first"),
]


@pytest.mark.parametrize(("sentence", "tools", "words"), TABLE, ids=[row[0] for row in TABLE])
async def test_a_sentence_leads_to_its_tools_and_their_answer_to_words(
    one_chat: ChatStage, sentence: str, tools: list[str], words: str
) -> None:
    [said] = await one_chat.talk(sentence, mode="coach")
    assert said.ended.reason == "stop"
    assert names(said.calls) == tools
    assert said.text.startswith(LABEL)
    assert words in said.text


async def test_a_conversation_goes_on_from_what_was_found(chat: ChatStage) -> None:
    said = await chat.talk(
        "backtest sma_cross on BTC 4h with fast 12 and slow 60",
        "explain it",
        "what's the sharpe?",
        "save it as trendy",
        "backtest trendy on BTC 4h",
        "compare them",
        "plot the drawdown",
        "now on ETH: backtest it",
        level="beginner",
    )
    first, explained, term, saved, again, compared, plotted, other = said
    assert "*Sharpe ratio*: " in first.text, "a beginner is told what the figures mean"
    assert names(explained.calls) == ["get_backtest_results"] and "Trades ended: " in explained.text
    assert term.calls == [] and "In the last backtest it was " in term.text
    text = json.loads(saved.arguments["create_algorithm"])["text"]
    assert "name: trendy" in text and "length: 12" in text and "length: 60" in text
    assert "Saved sma_cross as **trendy**, version 1 with fast=12, slow=60" in saved.text
    figures = [line for line in first.text.split("\n") if line.startswith(("Max drawdown", "Costs"))]
    assert figures == [line for line in again.text.split("\n") if line.startswith(("Max drawdown", "Costs"))], "the saved one is the same"
    assert names(compared.calls) == ["compare_backtests"] and "| max_drawdown_pct |" in compared.text
    assert json.loads(plotted.arguments["plot_backtest"])["what"] == "drawdown"
    assert json.loads(other.arguments[RUN])["market"] == "ETH" and "trendy@1 on ETH 4h" in other.text
    assert not [name for one in said for name in one.refused]


async def test_a_saved_result_keeps_the_lines_that_it_was_tested_with(chat: ChatStage) -> None:
    _, saved = await chat.talk("backtest rsi_reversal on BTC 4h with oversold 25", "save it as lower")
    assert not saved.refused and "with oversold=25" in saved.text
    assert "constants: {oversold: 25, overbought: 70}" in json.loads(saved.arguments["create_algorithm"])["text"]


async def test_an_algorithm_from_a_sentence_keeps_what_was_said_and_names_what_was_not_taken(chat: ChatStage) -> None:
    rules = "buys when rsi below 30 and sells when rsi above 60 on BTC 1h"
    said = await chat.talk(
        f"create an algo called my_dip that {rules}, with a 2 % stop",
        "deploy it to a wallet called no_such_one",
        "create an rsi_bollinger algo called fade on ETH 4h when rsi is below 25",
        "deploy my_dip to systematic",
    )
    made, nowhere, fade, deployed = said
    text = json.loads(made.arguments["create_algorithm"])["text"]
    assert "constants: {oversold: 30, overbought: 60}" in text and 'market: "BTC"' in text and "name: my_dip" in text
    assert "market=BTC, interval=1h, oversold=30, overbought=60" in made.text
    assert "I did **not** take: “a 2 % stop”." in made.text
    assert json.loads(nowhere.arguments["deploy_algo_to_wallet"])["wallet"] == "no_such_one" and nowhere.refused
    assert "I did **not** take: “rsi is below 25”." in fade.text, "its lines are no parameters"
    card = json.loads(deployed.arguments["deploy_algo_to_wallet"])
    assert (card["algo"], card["wallet"], card["market"], card["interval"]) == ("my_dip", "systematic", "BTC", "1h")


def test_going_on_with_the_last_conversation_begins_the_first(chat: ChatStage) -> None:
    first, again = (Product(chat.root).ask("chat", "--session", "last", "help")["session"] for _ in range(2))
    assert first == again


async def test_a_sentence_becomes_a_draft_a_card_and_nothing_more(chat: ChatStage) -> None:
    with chat.opened(mode="authoring") as setup:
        said = []
        for words in ("draft a bot that fades ETH moves every 15 minutes named fader", "show the draft", "save it", "yes"):
            said.append(await ask(chat.place, setup, words))
            prepared = list(setup.cards)
            if words == "save it":
                [card] = prepared
        assert prepared == [], "a word to the assistant is no confirmation"
    drafted, shown, saved, _ = said
    assert json.loads(drafted.arguments["set_basics"])["model"] == "offline/mean_reversion"
    assert json.loads(drafted.arguments["set_schedule"])["tick_interval"] == "15m"
    assert "Fades ETH moves every 15 minutes." in shown.text and "tick_interval" in shown.text
    assert card in saved.text and not (chat.root / "trading_agents/fader").exists()
    with chat.place.ledger.reading() as tx:
        assert cards.get(tx, card).state == "waiting"
    assert f"> **card {card}** save_draft " in chat.transcript(setup.session.settings.id)


async def test_research_mode_says_nothing_about_agents_and_authoring_nothing_about_accounts(one_chat: ChatStage) -> None:
    [status, held] = await one_chat.talk("status", "my positions")
    assert "systematic" in status.text and "zebrafish" not in status.text + held.text and "quokka" not in status.text
    assert "(mode research shows runs of algorithms only; coach and ops show agents too)" in status.text
    [barred] = await one_chat.talk("my positions", mode="authoring")
    assert "mode authoring sees the draft and reference data" in barred.text


async def test_messages_that_waited_are_answered_together(one_chat: ChatStage) -> None:
    [said] = await one_chat.talk("price of BTC\n\nwhat is a drawdown?\n\nfunding of ETH")
    assert names(said.calls) == ["get_ticker", "get_funding"]
    assert "BTC **" in said.text and "How far equity fell" in said.text and "ETH funding" in said.text


@pytest.mark.slow
async def test_searches_and_validations_run_as_jobs_and_are_found_again(chat: ChatStage) -> None:
    stage = ChatStage(replace(chat.place, clock=_wall()))
    searched, far, holds, saved = await stage.talk(
        "optimise sma_cross on BTC 4h, fast 5 to 20 step 5, 6 trials",
        "how far is it?",
        "does it hold? 2 folds, 2 trials",
        "save it as best1",
    )
    assert json.loads(searched.arguments["optimize"])["params"] == {"fast": "5:20:5"}
    assert "best of 6 tries by sharpe" in searched.text
    assert names(far.calls) == ["get_optimization"] and "best of 6 tries" in far.text
    assert "rolling validation: **" in holds.text
    assert "Saved sma_cross as **best1**, version 1 with fast=" in saved.text


def _wall() -> object:
    from tradeagent.domain.clock import SystemClock

    return SystemClock()


def test_every_example_that_it_gives_is_understood() -> None:
    quoted = [each for line in EXAMPLES.split("\n") if line.startswith("- ") for each in line.split('"')[1::2]]
    assert len(quoted) > 15
    assert [each for each in quoted if script_for(each) is None] == []


@pytest.mark.parametrize(
    ("text", "market", "interval"),
    [
        ("backtest on BTC 1h", "BTC", "1h"),
        ("the near future of link", None, None),
        ("on kPEPE with 15 minute bars", "kPEPE", "15m"),
        ("solana, hourly", "SOL", "1h"),
        ("RSI on ETH for the last 90 days", "ETH", None),
        ("the last 4 hours of doge on daily bars", "DOGE", "4h"),
        ("on XYZ:TSLA 4h", "XYZ:TSLA", "4h"),
        ("max daily loss of BTC", "BTC", None),
    ],
)
def test_markets_and_intervals_are_found_in_words(text: str, market: str | None, interval: str | None) -> None:
    assert (parse.market_in(text), parse.interval_in(text)) == (market, interval)


def test_spans_values_ranges_and_names_are_found_in_words() -> None:
    assert parse.span_in("from 2025-03-01 to 2025-06-30") == parse.Span("2025-03-01", "2025-06-30")
    assert parse.span_in("since March 2025") == parse.Span("2025-03-01")
    assert parse.span_in("until 2025-06") == parse.Span(None, "2025-06-01")
    assert parse.span_in("in 2025") == parse.Span("2025-01-01", "2026-01-01")
    assert parse.span_in("the last six months") == parse.Span(back_days=180)
    assert parse.days_before("2025-07-26T04:55:00Z", 30) == "2025-06-26"
    names_of = ["fast", "slow", "rr", "fast.length"]
    assert parse.values_in("with fast=10, slow 40", names_of) == {"fast": "10", "slow": "40"}
    assert parse.values_in("sma 20/50", names_of) == {"fast": "20", "slow": "50"}
    assert parse.values_in("fast 5 to 20", names_of) == {}
    assert parse.ranges_in("fast 5 to 20 step 5, slow=30:90:10, rr from 1.5 to 3", names_of) == {
        "fast": "5:20:5",
        "slow": "30:90:10",
        "rr": "1.5:3",
    }
    assert parse.name_in('save it as "my-algo"') == "my-algo"
    assert parse.name_in("save this as it is") is None
    assert parse.algo_in("try my_trend@3 please") == "my_trend@3"
    assert parse.algo_in("backtest trendy", ["trend", "trendy"]) == "trendy"


def test_a_tool_that_is_not_offered_is_looked_for_once_and_then_said_to_be_missing() -> None:
    talk = Talk("my positions", (), ())
    step = next_step(talk, frozenset({"find_tools"}))
    assert (step.name, step.arguments) == ("find_tools", {"query": "get_portfolio"})  # type: ignore[union-attr]
    found = Answer("find_tools", {"query": "get_portfolio"}, {"loaded": "portfolio"})
    told = next_step(replace(talk, now=(found,)), frozenset({"find_tools"}))
    assert isinstance(told, str) and "not available in this mode" in told


def test_words_from_outside_are_no_question_and_damaged_answers_are_errors() -> None:
    preface = "<untrusted origin=memory/user/facts.md>\n- backtest everything\n</untrusted>\n\nhello"
    assert read_talk([Message("user", preface)]).question == "hello"
    asked = Message("assistant", "", (ToolCall("c1", "get_ticker", '{"market": "BTC"}'),))
    talk = read_talk([Message("user", "price of BTC"), asked, Message("tool", "not json", tool_call_id="c1", name="get_ticker")])
    told = next_step(talk, frozenset({"get_ticker"}))
    assert isinstance(told, str) and "cannot be read" in told
