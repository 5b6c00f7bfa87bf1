"""What the offline assistant does about each kind of question: scripts over the product's tools, which a model would call the same way."""

import re
from collections.abc import Callable, Generator
from typing import Any

from tradeagent.llm.offline import assistant_words as words
from tradeagent.llm.offline.assistant_parse import (
    algo_in,
    amount_in,
    as_json_value,
    days_before,
    interval_in,
    market_in,
    ranges_in,
    span_in,
    values_in,
    whole_in,
)
from tradeagent.llm.offline.assistant_talk import Answer, Script, Talk
from tradeagent.llm.offline.assistant_terms import term, terms_in
from tradeagent.llm.offline.trade import Call

_ABOUT_NOTES = re.compile(
    r"\b(?:what|which|do|does|did|my|the|notes?|memory|say|about|search|find|show|list|in|for|on|me|any|there|are|is)\b|[?!.]",
    re.IGNORECASE,
)
RESULTS = ("run_backtest", "get_backtest_results")
STUDIES = ("optimize", "rolling_cv_backtest", "get_optimization")
DEFAULT_MARKET, DEFAULT_INTERVAL = "BTC", "1h"
WAIT_S = 30
_MEANT = re.compile(r"\b(it|this|that|the last one|the same|again|them)\b", re.IGNORECASE)


def backtest(talk: Talk) -> Script:
    algo = yield from algo_of(talk)
    if algo is None:
        return words.WHICH
    shown = yield Call("show_algorithm", {"algo": algo})
    values = values_in(talk.question, shown.result["params"])
    arguments = yield from on_bars(talk, shown)
    if not values and _is_meant(talk) and (last := talk.last(*RESULTS)):
        values = {key: str(value) for key, value in last.result["params"].items()}
    arguments["params"] = {name: as_json_value(value) for name, value in values.items()}
    answer = yield Call("run_backtest", {**arguments, "wait_s": WAIT_S})
    if words.is_waiting(answer.result):
        return words.job(answer.result)
    told = words.backtest(answer.result)
    return told + _assumed(talk, arguments) + (_lesson() if talk.is_beginner else "")


def _lesson() -> str:
    return "".join(f"\n\n*{each.name}*: {each.meaning}" for each in map(term, ("Sharpe ratio", "drawdown", "profit factor")))


def optimize(talk: Talk) -> Script:
    algo = yield from algo_of(talk)
    if algo is None:
        return words.WHICH
    arguments = yield from _search(talk, algo)
    answer = yield Call("optimize", arguments)
    return words.job(answer.result) if words.is_waiting(answer.result) else words.optimization(answer.result) + _assumed(talk, arguments)


def validate(talk: Talk) -> Script:
    algo = yield from algo_of(talk)
    if algo is None:
        return words.WHICH
    arguments = yield from _search(talk, algo)
    if folds := whole_in(talk.question, "fold"):
        arguments["folds"] = folds
    answer = yield Call("rolling_cv_backtest", arguments)
    return words.job(answer.result) if words.is_waiting(answer.result) else words.validation(answer.result) + _assumed(talk, arguments)


def _search(talk: Talk, algo: str) -> Generator[Call, Answer, dict[str, Any]]:
    shown = yield Call("show_algorithm", {"algo": algo})
    arguments = yield from on_bars(talk, shown)
    if ranges := ranges_in(talk.question, shown.result["params"]):
        arguments["params"] = ranges
    if trials := whole_in(talk.question, "tri(?:al|es|y)"):
        arguments["n_trials"] = trials
    for objective in ("calmar", "return", "drawdown", "sqn"):
        if re.search(rf"\b(?:by|for|objective|maximi[sz]e|minimi[sz]e)\s+(?:the\s+)?{objective}", talk.question, re.IGNORECASE):
            arguments["objective"] = objective
    return {**arguments, "wait_s": WAIT_S}


def on_bars(talk: Talk, shown: Answer) -> Generator[Call, Answer, dict[str, Any]]:
    """Which bars are meant: what is said, else the algorithm's own, else those of the last result, else BTC 1h."""
    asked, last = talk.question, talk.last(*RESULTS, *STUDIES)
    before = (last.result.get("data") or last.arguments) if last else {}
    own = shown.result
    arguments: dict[str, Any] = {
        "algo": shown.arguments["algo"],
        "market": market_in(asked) or own.get("market") or before.get("market") or DEFAULT_MARKET,
        "interval": interval_in(asked) or own.get("interval") or before.get("interval") or DEFAULT_INTERVAL,
    }
    span = span_in(asked)
    if span.back_days is not None:
        newest = yield Call("get_ticker", {"market": arguments["market"]})
        arguments["start"] = days_before(newest.result["as_of"], span.back_days)
    if span.start:
        arguments["start"] = span.start
    if span.end:
        arguments["end"] = span.end
    if leverage := amount_in(asked, "leverage|x leverage"):
        arguments["leverage"] = int(float(leverage))
    if cash := amount_in(asked, "cash|capital"):
        arguments["cash"] = cash
    return arguments


def _assumed(talk: Talk, arguments: dict[str, Any]) -> str:
    """What was filled in, so that nobody takes it for what was asked."""
    said = [f"{key} {arguments[key]}" for key, found in (("market", market_in), ("interval", interval_in)) if found(talk.question) is None]
    return f"\n\n(You did not say, so I took {' and '.join(said)}.)" if said else ""


def algo_of(talk: Talk) -> Generator[Call, Answer, str | None]:
    """The algorithm that is named or described, or that was worked with last when the words point back."""
    if (found := algo_in(talk.question)) and "_" in found:
        return found.lower()
    if name := algo_in(talk.question, known_names(talk)):
        return name
    if _is_meant(talk) and (known := last_algo(talk)):
        return known
    listed = yield Call("list_algorithms", {})
    if named := algo_in(talk.question, [row["name"] for row in listed.result["algorithms"]]):
        return named
    return last_algo(talk) if market_in(talk.question) or interval_in(talk.question) else None


def known_names(talk: Talk) -> list[str]:
    """Names that earlier answers have made known."""
    return [str(answer.arguments[key]) for answer in talk.before for key in ("name", "algo") if key in answer.arguments]


def last_algo(talk: Talk) -> str | None:
    last = talk.last("create_algorithm", *RESULTS, "optimize", "rolling_cv_backtest", "show_algorithm")
    return None if last is None else str(last.arguments.get("name") or last.arguments.get("algo") or last.result["algo"])


def _is_meant(talk: Talk) -> bool:
    return _MEANT.search(talk.question) is not None


def progress(talk: Talk) -> Script:
    waiting = talk.last("optimize", "rolling_cv_backtest", "run_backtest")
    reference = waiting.result.get("job") if waiting else None
    if waiting is not None and waiting.name == "run_backtest" and reference:
        answer = yield Call("get_backtest_results", {"backtest": reference})
    else:
        answer = yield Call("get_optimization", {"study": reference or "last"})
    return _study(answer)


def _study(answer: Answer) -> str:
    found = answer.result
    if words.is_waiting(found):
        return words.job(found)
    if "metrics" in found:
        return words.backtest(found)
    return words.validation(found) if found.get("kind") == "cv" else words.optimization(found)


def explain(talk: Talk) -> Script:
    """A term, with its figure in the last backtest; else the last result."""
    named = terms_in(talk.question)
    last = talk.last(*RESULTS, *STUDIES)
    if named:
        return "\n\n".join(f"**{each.name}**: {each.meaning}{_figure(each.metric, last)}" for each in named[:3])
    if last is not None and last.name in STUDIES:
        answer = yield Call("get_optimization", {"study": last.result.get("study") or last.result.get("job") or "last"})
        return _study(answer)
    answer = yield Call("get_backtest_results", {"backtest": last.result.get("backtest", "last") if last else "last"})
    return words.job(answer.result) if words.is_waiting(answer.result) else words.explained(answer.result)


def _figure(metric: str, last: Answer | None) -> str:
    if last is None or not metric or metric not in last.result.get("metrics", {}):
        return ""
    unit = "%" if metric.endswith("_pct") else "USDC" if metric.endswith("_quote") else ""
    return f" In the last backtest it was {words.number(last.result['metrics'][metric], unit)}."


def compare(talk: Talk) -> Script:
    ids = list(
        dict.fromkeys(answer.result["backtest"] for answer in talk.before if "backtest" in answer.result and "metrics" in answer.result)
    )
    if len(ids) < 2:
        return 'There is nothing to compare in this conversation yet: run two backtests first, then say "compare them".'
    answer = yield Call("compare_backtests", {"backtests": ids[-2:]})
    return words.comparison(answer.result)


def plain(call: str, tell: Callable[[dict[str, Any]], str], market: bool = False, **arguments: Any) -> Callable[[Talk], Script]:
    """A script of one call."""

    def script(talk: Talk) -> Script:
        named: dict[str, Any] = {"market": market_in(talk.question) or DEFAULT_MARKET} if market else {}
        answer = yield Call(call, {**named, **arguments})
        return tell(answer.result)

    return script


def show_algorithm(talk: Talk) -> Script:
    algo = yield from algo_of(talk)
    if algo is None:
        answer = yield Call("list_algorithms", {})
        return words.algorithms(answer.result)
    answer = yield Call("show_algorithm", {"algo": algo})
    return words.algorithm(answer.result)


def chart(talk: Talk) -> Script:
    answer = yield Call("chart", {"market": market_in(talk.question) or DEFAULT_MARKET, "interval": interval_in(talk.question) or "1h"})
    return f"{answer.result['market']} {answer.result['interval']}, {answer.result['bars']} bars\n\n```\n{answer.result['chart']}\n```"


def plot(talk: Talk) -> Script:
    what = next((each for each in ("drawdown", "candles") if each in talk.question.lower()), "equity")
    last = talk.last(*RESULTS)
    answer = yield Call("plot_backtest", {"backtest": last.result.get("backtest", "last") if last else "last", "what": what})
    return f"{answer.result['of']}, {what}\n\n```\n{answer.result['chart']}\n```"


def remember(talk: Talk) -> Script:
    fact = re.sub(r"^.*?\bremember\b\s*(?:that|:)?\s*", "", talk.question, flags=re.IGNORECASE | re.DOTALL)
    if not fact:
        return 'What should I remember? Say "remember that …".'
    answer = yield Call("remember", {"fact": fact})
    how = "I will remember" if answer.result["new"] else "I knew already"
    return f"{how}: {answer.result['fact']} (id {answer.result['id']}; in memory/user/facts.md)."


def notes(talk: Talk) -> Script:
    query = _ABOUT_NOTES.sub(" ", talk.question).split()
    if not query:
        listed = yield Call("memory_list", {})
        return "\n".join(f"- {row['path']}, {row['bytes']} bytes" for row in listed.result["notes"]) or words.notes({"notes": []})
    answer = yield Call("memory_search", {"query": " ".join(query)})
    return words.notes(answer.result)


def decisions(talk: Talk) -> Script:
    listed = yield Call("show_deployments", {"count": 20})
    rows = listed.result["deployments"]
    named = next(
        (row["deployment"] for row in rows if row["deployment"] in talk.question or row["runs"].partition("@")[0] in talk.question), None
    )
    if named is None and not rows:
        return words.deployments(listed.result)
    answer = yield Call("get_decisions", {"deployment": named or rows[0]["deployment"]})
    return words.decisions(answer.result)


def status(_talk: Talk) -> Script:
    runs = yield Call("show_deployments", {"count": 10})
    accounts = yield Call("get_account_overview", {})
    return f"{words.deployments(runs.result)}\n\n{words.accounts(accounts.result)}"


def risk(_talk: Talk) -> Script:
    accounts = yield Call("get_account_overview", {})
    held = yield Call("get_portfolio", {})
    return words.risks(accounts.result, held.result)
