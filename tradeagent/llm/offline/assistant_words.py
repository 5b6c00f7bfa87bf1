"""Results of tools in words: the answer first, the figures it rests on, what speaks against it, the next step."""

import re
from collections.abc import Mapping
from typing import Any

Result = Mapping[str, Any]
_ENVELOPE = re.compile(r"<untrusted origin=(?P<origin>\"[^\"]*\"|\S+)>\n(?P<text>.*?)\n</untrusted>", re.DOTALL)

WHICH = (
    'Which algorithm? Say for example "backtest sma_cross on BTC 1h", or describe one that comes with the product: a moving average '
    "cross, an RSI reversal, a breakout, Bollinger bands, a supertrend, a Donchian turtle, a funding carry."
)


def number(value: Any, unit: str = "", *, signed: bool = False) -> str:
    """`+12.3 %`, `0.64`, `1,234`; a figure that is not known is a dash."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return "–"
    digits = 0 if found == int(found) or abs(found) >= 100_000 else 1 if abs(found) >= 1_000 else 4 if abs(found) < 0.1 else 2
    text = f"{found:{'+' if signed else ''},.{digits}f}"
    return f"{text} {unit}" if unit else text


def error(result: Result) -> str:
    """Why a tool did not do it, and the way out."""
    told = result["error"]
    return f"That did not work: {told.get('message', 'unknown')}." + (f" Try: {told['hint']}." if told.get("hint") else "")


def is_waiting(result: Result) -> bool:
    """Whether the answer is a job that has not ended."""
    return "job" in result and result.get("state") in ("queued", "running")


def job(result: Result) -> str:
    told = result.get("progress") or {}
    far = ", ".join(f"{key} {value}" for key, value in told.items() if isinstance(value, (int, float, str)))
    where = f" ({far})" if far else ""
    return f'It is still {result["state"]}{where}: job {result["job"]}. Ask "how far is it?" in a while, or see `tradeagent jobs list`.'


def backtest(result: Result) -> str:
    metrics = result["metrics"]
    lines = [
        f"{_question(result)}: **{number(metrics['total_return_pct'], '%', signed=True)}**, buy and hold "
        f"{number(metrics['buy_hold_return_pct'], '%', signed=True)}.",
        f"Max drawdown {number(metrics['max_drawdown_pct'], '%')}, Sharpe {number(metrics['sharpe'])}, {metrics['trades']} trades, win "
        f"rate {number(metrics['win_rate_pct'], '%')}, profit factor {number(metrics['profit_factor'])}, exposure "
        f"{number(metrics['exposure_pct'], '%')}.",
        f"Costs: fees {number(metrics['fees_quote'])}, slippage {number(metrics['slippage_quote'])}, funding "
        f"{number(metrics['funding_quote'])} USDC.",
        "",
        "What speaks against it:",
        *(f"- {line}" for line in doubts(result)),
        "",
        f'Kept as backtest {result["backtest"]}. Next: "explain it", "optimise it", "does it hold?"',
    ]
    return "\n".join(lines)


def doubts(result: Result) -> list[str]:
    """What a reader should hold against a backtest, worst first."""
    metrics, told = result["metrics"], result["honesty"]
    found = []
    if metrics["total_return_pct"] <= 0:
        found.append("it lost money")
    elif metrics["total_return_pct"] < metrics["buy_hold_return_pct"]:
        found.append("holding the market would have made more")
    if metrics["trades"] < 30:
        found.append(f"{metrics['trades']} trades are too few to tell skill from luck (30 at least)")
    if twice := told.get("costs_x2"):
        found.append(f"at doubled costs {number(twice['total_return_pct'], '%', signed=True)}")
    if late := told.get("delay_1"):
        found.append(f"filled one bar later {number(late['total_return_pct'], '%', signed=True)}")
    found.append(
        f"{tries(told)} at this idea; probability that the Sharpe is more than luck "
        f"{number(told['deflated_sharpe_probability'])} (0.95 is asked for)"
    )
    if told.get("lookahead_found"):
        found.append("it looks ahead: the figures mean nothing")
    found += [f"{each['what']} ({each['count']}×)" for each in result.get("warnings", [])[:3]]
    return found


def tries(told: Result) -> str:
    count = told["tries_at_this_idea"]
    return f"{count} {'try' if count == 1 else 'tries'}"


def explained(result: Result) -> str:
    """A backtest in sentences."""
    metrics, told = result["metrics"], result["honesty"]
    first = result["data"]["first"][:10], result["data"]["last"][:10]
    win, factor = number(metrics["win_rate_pct"], "%"), number(metrics["profit_factor"])
    exits = ", ".join(f"{count} by {reason}" for reason, count in sorted(result.get("exits", {}).items(), key=lambda each: -each[1]))
    costs = sum(float(metrics[key] or 0) for key in ("fees_quote", "slippage_quote", "funding_quote"))
    gross = float(metrics["net_pnl_quote"] or 0) + costs
    lines = [
        f"{_question(result)}, {first[0]} to {first[1]}.",
        f"- It made {metrics['trades']} trades and was in the market {number(metrics['exposure_pct'], '%')} of the time. {win} of them "
        f"won, and each USDC lost came with {factor} USDC won: "
        + ("more was lost than won." if (metrics["profit_factor"] or 0) < 1 else "more was won than lost."),
        f"- Trades ended: {exits}." if exits else "- No trade ended.",
        f"- Before costs {number(gross, 'USDC', signed=True)}; fees, slippage and funding took {number(costs, 'USDC')}. "
        + _about_costs(gross, costs),
        f"- The deepest fall from a high was {number(metrics['max_drawdown_pct'], '%')}; Sharpe {number(metrics['sharpe'])} a year.",
        f"- Whether it is more than luck: {number(told['deflated_sharpe_probability'])} after {tries(told)}, where 0.95 is asked for.",
        "",
        _judged(result),
    ]
    return "\n".join(lines)


def _about_costs(gross: float, costs: float) -> str:
    if gross <= 0:
        return "The signals themselves did not earn: cheaper trading would not save it."
    return "Costs ate the edge: fewer or longer trades would help most." if costs >= gross else "The edge is larger than its costs."


def _judged(result: Result) -> str:
    metrics, told = result["metrics"], result["honesty"]
    if metrics["total_return_pct"] <= 0:
        return "I would not go on with it as it is. Another interval or other parameters may help; each search counts as tries."
    if (told["deflated_sharpe_probability"] or 0) < 0.95:
        return 'It made money, and that may still be luck. Ask "does it hold?" before you trust it.'
    return "It stands these tests. A rolling validation and some weeks on paper are the next ones."


def optimization(result: Result) -> str:
    if "best" not in result:
        return f"The search {result.get('study', '')} is {result.get('state', 'not done')}: {result.get('trials', 0)} trials so far."
    best, told = result["best"], result["honesty"]
    lines = [
        f"{_question(result)}: best of {result['trials']['valid']} tries by {result['objective']}: **{_params(best['params'])}**, score "
        f"{number(best['score'])}, return {number(best['total_return_pct'], '%', signed=True)}, drawdown "
        f"{number(best['max_drawdown_pct'], '%')}, {best['trades']} trades.",
    ]
    if rest := result.get("next_best", []):
        lines.append("Next best: " + "; ".join(f"{_params(each['params'])} ({number(each['score'])})" for each in rest[:3]) + ".")
    lines += [
        "",
        f"What speaks against it: {tries(told)} at this idea so far; luck alone reaches a Sharpe of "
        f"{number(told['sharpe_that_luck_reaches'])}; probability of more than luck {number(told['deflated_sharpe_probability'])}, of "
        f"overfitting {number(told['pbo'])}.",
        'Next: "does it hold?" runs a rolling validation, "save it as NAME" keeps these parameters.',
    ]
    return "\n".join(lines)


def validation(result: Result) -> str:
    if "verdict" not in result:
        return f"The validation {result.get('study', '')} is {result.get('state', 'not done')}."
    lines = [f"{_question(result)}, rolling validation: **{result['verdict']}**."]
    lines += [f"- {reason}" for reason in result.get("reasons", [])]
    lines += ["", "| test | return | Sharpe | trades |", "|---|---|---|---|"]
    lines += [
        f"| {_test(each['test'])} | {number(each['return_pct'], '%', signed=True)} | {number(each['sharpe'])} | {each['trades']} |"
        for each in result["folds"]
    ]
    return "\n".join(lines)


def _test(span: Any) -> str:
    return " to ".join(str(each)[:10] for each in (span.values() if isinstance(span, Mapping) else span) if isinstance(each, str)) or str(
        span
    )


def _question(result: Result) -> str:
    data = result["data"]
    params = f" ({_params(result['params'])})" if result.get("params") else ""
    return f"{result['algo']}{params} on {data['market']} {data['interval']}, {data['bars']:,} bars"


def _params(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in params.items()) or "its own parameters"


def deployments(result: Result) -> str:
    """Runs with their state, and which of them the mode leaves out."""
    rows, unseen = result["deployments"], result.get("note")
    if not rows and unseen:
        return f"No run of an algorithm yet: {unseen} (`/mode ops`, or `tradeagent chat --mode ops`)."
    if not rows:
        return "Nothing runs and nothing ran yet. `tradeagent run AGENT` starts an agent; ask me to deploy an algorithm."
    shown = [
        f"- {row['deployment']} ({row['kind']} {row['runs']}) on {row['wallet']}, {', '.join(row['markets'])}: **{row['state']}**, "
        f"{row['ticks']} ticks, last {_time(row['last_tick'])}"
        + (f", next {_time(row['next_tick'])}" if row["next_tick"] else "")
        + (f", ended because: {row['stopped_because']}" if row["stopped_because"] else "")
        for row in rows
    ]
    live = sum(row["state"] in ("running", "paused", "halted") for row in rows)
    return "\n".join([f"{live} of {result['of']} runs are live.", *shown, *([f"({unseen})"] if unseen else [])])


def nothing_runs(result: Result) -> str:
    return f"Nothing runs: {result['note']}." if "note" in result else "Nothing runs."


def accounts(result: Result) -> str:
    rows = result.get("wallets", result.get("algo_wallets", []))
    if not rows:
        told = result.get("summary", {}).get("message")
        return str(told or "There is no wallet that this mode shows yet. `tradeagent wallet new NAME` makes one.")
    return "\n".join(
        f"- {row['wallet']} ({row['group']}, {row['network']}): equity {number(row['equity_usdc'], 'USDC')}, today "
        f"{number(row['day_pnl_usdc'], 'USDC', signed=True)}, drawdown {number(row['drawdown_pct'], '%')}, free margin "
        f"{number(row['free_margin_usdc'], 'USDC')}, {row['open_positions']} open" + (f", **halted: {row['halt']}**" if row["halt"] else "")
        for row in rows
    )


def positions(result: Result) -> str:
    rows = result["positions"]
    if not rows:
        return f"No position is open that this mode shows; {result['count']['open_orders']} orders wait."
    shown = [
        f"- {row['wallet']} {row['market']} {number(row['size_base'], signed=True)} at {number(row['entry_usdc'])}, mark "
        f"{number(row['mark_usdc'])}, {number(row['unrealised_usdc'], 'USDC', signed=True)}; stop {', '.join(row['stops']) or '**none**'}; "
        f"leverage {row['leverage']}×, {_distance(row)}"
        for row in rows
    ]
    return "\n".join([f"{len(rows)} positions, {result['count']['open_orders']} open orders.", *shown])


def _distance(row: Result) -> str:
    far = row["liquidation_distance_pct"]
    return "liquidation out of reach" if far is None else f"{far} % to liquidation"


def risks(accounts_found: Result, held: Result | None) -> str:
    """Trouble first."""
    rows = accounts_found.get("wallets", accounts_found.get("algo_wallets", []))
    trouble = [f"{row['wallet']} is halted ({row['halt']})" for row in rows if row["halt"]]
    trouble += [f"{row['wallet']} is {number(row['drawdown_pct'], '%')} below its peak" for row in rows if float(row["drawdown_pct"]) >= 10]
    trouble += [f"{row['wallet']} has no free margin" for row in rows if row["open_positions"] and float(row["free_margin_usdc"]) <= 0]
    for row in held["positions"] if held else ():
        if not row["stops"]:
            trouble.append(f"{row['wallet']} {row['market']} has no stop")
        if row["liquidation_distance_pct"] is not None and float(row["liquidation_distance_pct"]) < 10:
            trouble.append(f"{row['wallet']} {row['market']} is {row['liquidation_distance_pct']} % from liquidation")
    head = ["**Look at this first:**", *(f"- {each}" for each in dict.fromkeys(trouble))] if trouble else ["Nothing stands out."]
    parts = ["\n".join(head), accounts(accounts_found)]
    return "\n\n".join(parts + ([positions(held)] if held else []))


def ticker(result: Result) -> str:
    return (
        f"{result['market']} **{number(result['last_usdc'], 'USDC')}**, 24 h {number(result['change_24h_pct'], '%', signed=True)}, range "
        f"{number(result['low_24h_usdc'])} to {number(result['high_24h_usdc'])}, as of {_time(result['as_of'])}."
    )


def funding(result: Result) -> str:
    rates = [row["rate_pct_per_hour"] for row in result["rates"]]
    if not rates:
        return f"No funding of {result['market']} is stored. `tradeagent data fetch --market {result['market']} --funding` brings it."
    mean = sum(rates) / len(rates)
    side = "longs pay shorts" if mean > 0 else "shorts pay longs"
    return (
        f"{result['market']} funding: {rates[-1]:+.5f} % an hour now, {mean:+.5f} % on average of {len(rates)} hours ({side}), "
        f"{mean * 24 * 365:+.1f} % a year."
    )


def news(result: Result) -> str:
    rows = result["news"]
    if not rows:
        return "No news is stored for that time. `tradeagent news fetch` brings headlines."
    return "\n".join(
        [
            "Headlines, as published; not checked by me:",
            *(f"- {_time(row['published'])}{_feeling(row)}: {outside(row['text'])}" for row in rows),
        ]
    )


def _feeling(row: Result) -> str:
    return "" if row["sentiment"] is None else f" (sentiment {row['sentiment']:+.2f})"


def events(result: Result) -> str:
    rows = result["events"]
    if not rows:
        return "No event is in the calendar for the next days. `tradeagent calendar import` brings some."
    return "\n".join(
        f"- {_time(row['time'])}, in {row['in_hours']} h: {outside(row['title'])}{' **high impact**' if row['high'] else ''}"
        + (f"; you hold {', '.join(row['you_hold'])}" if row.get("you_hold") else "")
        for row in rows
    )


def algorithms(result: Result) -> str:
    rows = [
        f"- {row['name']} ({row['kind'].replace('_', '-')}): {row.get('description') or row.get('broken', '')}"
        for row in result["algorithms"]
    ]
    return "\n".join([*rows, "", 'Try: "backtest sma_cross on BTC 1h", or "save breakout as mine".'])


def algorithm(result: Result) -> str:
    ranges = ", ".join(f"{name} {span}" for name, span in result["search_ranges"].items())
    searched = f"\nSearched: {ranges}." if ranges else ""
    head = f"{result['name']} ({result['kind'].replace('_', '-')}): {result.get('description', '')}{searched}"
    return f"{head}\n\n```yaml\n{result['text'].rstrip()}\n```"


def usage(result: Result) -> str:
    rows = result["usage"]
    if not rows:
        return "No model was asked today. I am rule-based and cost nothing."
    return "\n".join(
        f"- {row['of']}, {row['model']}: {row['turns']} turns, {row['tokens_in']:,} tokens in, {row['tokens_out']:,} out, "
        f"{'cost unknown' if row['cost_usd'] is None else number(row['cost_usd'], 'USD')}"
        for row in rows
    )


def comparison(result: Result) -> str:
    names, figures = result["question"]["backtest"], result["metrics"]
    shown = ("total_return_pct", "sharpe", "max_drawdown_pct", "trades", "profit_factor", "win_rate_pct")
    lines = ["| | " + " | ".join(f"{algo} …{name[-6:]}" for name, algo in zip(names, result["question"]["algo"], strict=True)) + " |"]
    lines += ["|---" * (len(names) + 1) + "|"]
    lines += [f"| {key} | " + " | ".join(number(value) for value in figures[key]) + " |" for key in shown]
    luck = result["honesty"]["deflated_sharpe_probability"]
    return "\n".join([*lines, "| more than luck | " + " | ".join(number(value) for value in luck) + " |"])


def notes(result: Result) -> str:
    if not result["notes"]:
        return "No note holds these words. Notes are in memory/; `tradeagent memory ls` lists them."
    return "\n".join(f"- {row['path']}: {outside(row['text'])}" for row in result["notes"])


def decisions(result: Result) -> str:
    rows = result["decisions"]
    if not rows:
        return f"{result['deployment']} has decided nothing yet."
    lines = []
    for row in rows[-10:]:
        told = [f"{key} {row[key]}" for key in ("market", "side", "rule") if row.get(key)]
        told += [f"pnl {row['pnl_usdc']} USDC"] if row.get("pnl_usdc") else []
        words = outside(row["said"]) if "said" in row else str(row.get("message", ""))
        lines.append(f"- {_time(row['time'])} {row['event']} {' '.join(told)}{': ' + words if words else ''}")
    return "\n".join([f"{result['deployment']} on {result['wallet']}, the newest last:", *lines])


def card(result: Result) -> str:
    """A card that waits for the user."""
    found = result.get("card")
    number_of = found.get("id") if isinstance(found, Mapping) else found
    return f"I prepared card {number_of}; nothing has happened yet. Read it, then `y` here or `tradeagent confirm {number_of}` does it."


def outside(text: str) -> str:
    """Words from outside on one line, in quotes, without their envelope."""
    found = _ENVELOPE.search(text)
    words = found["text"] if found else text
    return f"“{' '.join(words.split())}”"


def chips(result: Result) -> str:
    """A draft's sections with what is wrong in them."""
    return "\n".join(
        f"- {section}: **{chip['state']}**" + (f": {chip['why']}" if chip.get("why") else "") for section, chip in result["chips"].items()
    )


def _time(instant: str | None) -> str:
    return "never" if not instant else f"{instant[:10]} {instant[11:16]} UTC"
