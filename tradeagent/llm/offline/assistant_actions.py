"""What the offline assistant does when something is to be kept, drafted, deployed or stopped: what acts is only prepared, as a card."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tradeagent.llm.offline import assistant_words as words
from tradeagent.llm.offline.assistant_parse import algo_in, interval_in, lines_in, market_in, name_in, not_taken, values_in, word_after
from tradeagent.llm.offline.assistant_scripts import DEFAULT_INTERVAL, DEFAULT_MARKET, RESULTS, algo_of, known_names, last_algo, on_bars
from tradeagent.llm.offline.assistant_talk import Script, Talk
from tradeagent.llm.offline.trade import Call

_NEW_WALLET = "tradeagent wallet new NAME --group algo --cash 10000"
DRAFTS = ("set_basics", "set_strategy", "set_risk", "set_schedule", "set_tools", "set_context", "show_draft")
_OF_DRAFT = re.compile(r"\b(?:draft|agent|bot)\b", re.IGNORECASE)
_AGENT = re.compile(r"\b(?:agent|bot|trader)\b", re.IGNORECASE)
_BEFORE_WISH = re.compile(
    r"^.*?\b(?:agent|bot|trader)\b\s*(?:(?:called|named)\s+\S+\s*)?(?:that|which|to|who|:|for)?\s*", re.IGNORECASE | re.DOTALL
)
_TO_WALLET = re.compile(r"\b(?:to|on)\s+(?:(?:a|an|the|my|paper|new)\s+)*(?:wallet\s+)?(?:(?:called|named)\s+)?[\w-]+", re.IGNORECASE)
_NAMED = re.compile(r"\s*\b(?:called|named)\s+\S+", re.IGNORECASE)
_FADES = re.compile(r"revers|fade|oversold|overbought|dips?\b|mean", re.IGNORECASE)
_LIMITS = {
    "max_single_order_quote": 100,
    "max_position_size_quote": 300,
    "max_open_positions": 1,
    "max_daily_trades": 12,
    "max_daily_loss_quote": 50,
    "max_drawdown_pct": 10,
}
_CARE = (
    "Every entry carries a stop, and a target worth more than the risk. A stop only ever tightens. Doing nothing is a decision: stay out "
    "when the bars disagree or a limit has refused you. Write one journal line every tick."
)
_MORE_RULES = "I read a market, an interval and the template's parameters from a sentence; other rules are written into its text."
ONLY_YOU = (
    "Only you can confirm a card, not your words to me: type `y` when the card is shown in the chat, or `tradeagent confirm ID` in a shell."
)


def save(talk: Talk) -> Script:
    """Keep the algorithm of the last result under a name, with the parameters that were used or found."""
    name = name_in(talk.question)
    newest = talk.last(*DRAFTS, *RESULTS, "create_algorithm", "optimize", "get_optimization", "show_algorithm")
    algo = algo_in(talk.question.replace(name or "", ""), known_names(talk))
    if _OF_DRAFT.search(talk.question) or (algo is None and newest is not None and newest.name in DRAFTS):
        return (yield from _save_draft(name))
    if name is None:
        return 'Under which name? Say "save it as NAME".'
    algo = algo or last_algo(talk)
    if algo is None:
        return 'There is nothing to save in this conversation yet. Try "backtest sma_cross on BTC 1h" first, or "save breakout as mine".'
    values = found_params(talk, algo)
    text = None
    if values:
        shown = yield Call("show_algorithm", {"algo": algo})
        text = _with_values(shown.result["text"], name, values)
    source = {"template": algo} if text is None else {"text": text, "note": f"from {algo}: {_listed(values)}"[:200]}
    answer = yield Call("create_algorithm", {"name": name, **source})
    kept = f" with {_listed(values)}" if text is not None else ""
    version = answer.result.get("version", 1)
    return f'Saved {algo} as **{name}**, version {version}{kept}. Next: "backtest {name} on BTC 1h", "deploy {name} to WALLET".'


def found_params(talk: Talk, algo: str) -> dict[str, Any]:
    last = talk.last(*RESULTS, "optimize", "get_optimization")
    if last is None or str(last.result.get("algo", "")).partition("@")[0] != algo.partition("@")[0]:
        return {}
    best = last.result.get("best")
    return dict(best["params"] if best else last.result.get("params") or {})


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())


def _with_values(text: str, name: str, values: Mapping[str, Any], **own: str | None) -> str | None:
    """The text of an algorithm under another name, with these parameters and its `own` market and interval; None when one has no place."""
    from tradeagent.algos.edit import edited, put
    from tradeagent.algos.parse import parse_algo
    from tradeagent.domain.errors import TradeAgentError
    from tradeagent.domain.money import parse_decimal

    spec = parse_algo(text, "text")
    paths = {key: spec.aliases.get(key, (key,)) for key in values}

    def change(document: dict[str, Any]) -> None:
        for key, stated in {"name": name, **own}.items():
            if stated is not None:
                put(document, [key], stated)
        for key, targets in paths.items():
            for target in targets:
                head = target.partition(".")[0]
                section = ["indicators"] if head in spec.indicators else ["constants"] if target in spec.constants else []
                path = [*section, *target.split(".")]
                value = values[key]
                put(document, path, value if isinstance(value, int) else parse_decimal(str(value), key))

    try:
        return edited(spec, change)
    except TradeAgentError:
        return None


def deploy(talk: Talk) -> Script:
    """Prepare the card that puts an algorithm on a paper wallet."""
    algo = yield from algo_of(replace(talk, question=_TO_WALLET.sub(" ", talk.question)))
    if algo is None:
        return 'Which algorithm? Say "deploy NAME to WALLET"; "list the algorithms" shows the names.'
    listed = yield Call("get_algo_wallets_overview", {})
    names = [row["wallet"] for row in listed.result["algo_wallets"]]
    stated = word_after(talk.question, "wallet")
    named = next((name for name in (stated, word_after(talk.question, "to|on")) if name in names), stated)
    wallet = named or next((name for name in names if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", talk.question)), None)
    wallet = wallet or (names[0] if len(names) == 1 else None)
    if wallet is None:
        known = (
            f"One of {', '.join(names)}" if names else "There is none yet: `tradeagent wallet new NAME --group algo --cash 10000` makes one"
        )
        return f'To which wallet? {known}. Then say "deploy {algo} to NAME".'
    shown = yield Call("show_algorithm", {"algo": algo})
    arguments = yield from on_bars(talk, shown)
    params = found_params(talk, algo)
    wanted = {"algo": algo, "wallet": wallet, "market": arguments["market"], "interval": arguments["interval"]}
    answer = yield Call("deploy_algo_to_wallet", wanted | ({"params": params} if params else {}))
    return words.card(answer.result)


def stop(talk: Talk) -> Script:
    """Prepare the card that stops a run."""
    listed = yield Call("show_deployments", {"running_only": True})
    rows = listed.result["deployments"]
    found = [row for row in rows if row["deployment"] in talk.question or row["runs"].partition("@")[0] in talk.question]
    chosen = found or (rows if len(rows) == 1 else [])
    if not chosen:
        return words.nothing_runs(listed.result) if not rows else f"Which one? {', '.join(row['deployment'] for row in rows)}."
    call = "stop_algo_run" if chosen[0]["kind"] == "algo" else "prepare_action"
    named = {"deployment": chosen[0]["deployment"]}
    answer = yield Call(call, named if call == "stop_algo_run" else {"kind": "stop", **named})
    return words.card(answer.result)


def draft(talk: Talk) -> Script:
    """Begin an agent or an algorithm from what the words describe."""
    if _AGENT.search(talk.question):
        return (yield from _draft_agent(talk))
    name = name_in(talk.question)
    template = algo_in(talk.question.replace(name or "", ""))
    if template is None:
        return words.WHICH
    wanted = name or f"my_{template.partition('@')[0]}"
    shown = yield Call("show_algorithm", {"algo": template})
    values = values_in(talk.question, shown.result["params"]) | lines_in(talk.question, shown.result["params"])
    own = {"market": market_in(talk.question), "interval": interval_in(talk.question)}
    taken = {key: value for key, value in own.items() if value} | values
    text = _with_values(shown.result["text"], wanted, values, **own) if taken else None
    source = {"template": template} if text is None else {"text": text, "note": f"from {template}: {_listed(taken)}"[:200]}
    answer = yield Call("create_algorithm", {"name": wanted, **source})
    left = not_taken(talk.question, values) if text is not None or not taken else [talk.question]
    bars = f"{own['market'] or DEFAULT_MARKET} {own['interval'] or DEFAULT_INTERVAL}"
    lines = [
        f"Saved **{wanted}**, version {answer.result.get('version', 1)}, from {template}"
        + (f" with {_listed(taken)} as you said." if text is not None else "."),
        f"Every other rule is the template's own: {shown.result.get('description', '').rstrip('.')}.",
        *([f"I did **not** take: {'; '.join(f'“{part}”' for part in left)}. {_MORE_RULES}"] if left else []),
        f'Next: "backtest {wanted} on {bars}", "show {wanted}".',
    ]
    return "\n".join(lines)


def _draft_agent(talk: Talk) -> Script:
    """Every section from the sentence and careful defaults; saving stays the user's."""
    market, interval = market_in(talk.question) or DEFAULT_MARKET, interval_in(talk.question) or "5m"
    policy = "offline/mean_reversion" if _FADES.search(talk.question) else "offline/momentum"
    name = (name_in(talk.question) or f"my {market} {policy.removeprefix('offline/')}").replace("_", " ")
    wish = _wish(talk.question)
    basics = {"name": name, "kind": "agent", "begin": True, "description": wish[:200], "model": policy, "markets": [market]}
    yield Call("set_basics", basics)
    yield Call("set_strategy", {"text": f"# {name}\n\n{wish}\n\n{_CARE}", "mode": "thesis", "leash": "balanced", "look_for": wish[:300]})
    yield Call("set_risk", {"limits": dict(_LIMITS), "configs": {"risk_per_trade_pct": 0.1, "stop_atr": 1.8, "target_r": 1.6}})
    yield Call("set_schedule", {"tick_interval": interval})
    answer = yield Call("set_context", {"bars_interval": interval, "lookback": 96, "funding": True})
    limits = ", ".join(f"{key} {value}" for key, value in _LIMITS.items())
    return (
        f"I drafted the agent **{name}**: {market} every {interval}, decided by {policy} (rule-based; any model id works there).\n\n"
        f"{words.chips(answer.result)}\n\nLimits I chose, change them as you like: {limits}.\n\n"
        'Next: "show the draft", "save it" (prepares a card that only you can commit).'
    )


def _wish(question: str) -> str:
    """What the agent is to do, without the words around it."""
    found = _NAMED.sub("", _BEFORE_WISH.sub("", question)).strip().rstrip(".") or question.strip().rstrip(".")
    return f"{found[0].upper()}{found[1:]}."


def show_draft(_talk: Talk) -> Script:
    answer = yield Call("show_draft", {})
    return f"{words.chips(answer.result)}\n\n```\n{answer.result['text'].rstrip()}\n```"


def _save_draft(name: str | None) -> Script:
    """Prepare the card that saves the draft of this conversation."""
    if name is not None:
        yield Call("set_basics", {"name": name.replace("_", " ")})
    shown = yield Call("show_draft", {})
    if not shown.result.get("ready", True):
        return f"It is not ready to be saved:\n\n{words.chips(shown.result)}"
    answer = yield Call("prepare_action", {"kind": "save_draft"})
    return words.card(answer.result)
