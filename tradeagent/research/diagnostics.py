"""Why a run did what it did: what each condition of an algo let through or blocked, where entries were nearly made, in which state the
bars passed, and how trades ended."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tradeagent.algos.bars import Truths
from tradeagent.algos.conditions import Condition, Rule, rules_of
from tradeagent.algos.evaluate import Evaluator, edges
from tradeagent.algos.signals import Code, Codes
from tradeagent.algos.spec import AlgoSpec, TimeoutMode
from tradeagent.research.metrics import trades_pnl
from tradeagent.research.result import quote_text
from tradeagent.research.run import EXIT_REASONS, Ints, Leg, Run, Terms, Trades


@dataclass(frozen=True, slots=True)
class ConditionReport:
    """One condition of an entry or exit, over the bars after the warm-up.

    `triggering`: bars on which the rule fired and this condition had just turned true. `blocking`: bars on which only this one was missing.
    `usefulness`: the share of the bars that all others let through and this one did not (0: it never decides anything).
    """

    side: str
    part: str
    condition: str
    indicators: tuple[str, ...]
    true_pct: float
    flips: int
    triggering: int
    blocking: int
    usefulness: float | None


def diagnose(run: Run, leg: Leg, terms: Terms, evaluator: Evaluator) -> dict[str, Any]:
    """Everything above for one leg, ready for JSON: conditions, indicators, near_misses, states_pct, exit_reasons."""
    spec, first = leg.spec, max(leg.signals.warmup, terms.first_row)
    conditions: list[ConditionReport] = []
    near: dict[str, dict[str, int]] = {}
    for rule in rules_of(evaluator, spec, first):
        if rule.part == "entry":
            near[rule.side] = {str(lacked): bars for lacked, bars in enumerate(rule.missing_counts)}
        fired = edges(rule.holds)
        conditions += [_report(rule, use, fired) for use in rule.conditions]
    return {
        "conditions": [asdict(report) for report in conditions],
        "indicators": _by_indicator(conditions),
        "near_misses": near,
        "states_pct": _states(run, leg, terms),
        "exit_reasons": exit_reasons(run.trades),
    }


def of_leg(run: Run, place: int) -> Run:
    """The trades of one leg alone; the account's figures stay those of the whole."""

    def own(trades: Trades) -> Trades:
        return Trades(*(getattr(trades, name)[trades.leg == place] for name in Trades.__slots__))

    return replace(run, trades=own(run.trades), open_trades=own(run.open_trades))


def _report(rule: Rule, use: Condition, fired: Truths) -> ConditionReport:
    bars, others = len(use.true), use.others_met
    return ConditionReport(
        rule.side,
        rule.part,
        use.text,
        use.names,
        100 * use.true_bars / bars if bars else 0.0,
        use.flips,
        int(np.count_nonzero(fired & edges(use.true))),
        use.blocked,
        use.blocked / others if others else None,
    )


def _by_indicator(conditions: Sequence[ConditionReport]) -> dict[str, dict[str, int]]:
    """Flips, triggering and blocking of all conditions that name it; bar columns count as indicators too."""
    found: dict[str, dict[str, int]] = {}
    for report in conditions:
        for name in report.indicators:
            sums = found.setdefault(name, {"flips": 0, "triggering": 0, "blocking": 0})
            for key in sums:
                sums[key] += getattr(report, key)
    return found


def exit_reasons(trades: Trades) -> dict[str, dict[str, Any]]:
    """By reason how many trades ended so, and their net PnL in quote units; the most frequent first."""
    pnl = trades_pnl(trades)
    found: dict[str, dict[str, Any]] = {}
    reasons, counts = np.unique(trades.exit_reason, return_counts=True)
    for reason, count in sorted(zip(reasons.tolist(), counts.tolist(), strict=True), key=lambda pair: -pair[1]):
        total = int(pnl[trades.exit_reason == reason].sum())
        found[EXIT_REASONS[reason].value] = {"trades": count, "pnl_quote": quote_text(total)}
    return found


def _states(run: Run, leg: Leg, terms: Terms) -> dict[str, float]:
    """Percent of bars that closed long, short, in timeout and in cash. A leg's trades follow one another and never overlap."""
    first, bars = terms.first_row, len(run.equity)
    if first >= bars:
        return {}
    trades, opened = run.trades, run.open_trades
    entries = np.concatenate((trades.entry_row, opened.entry_row))
    exits = np.concatenate((trades.exit_row, np.full(len(opened), bars)))
    direction = np.concatenate((trades.direction, opened.direction))
    held = np.maximum(exits - np.maximum(entries, first), 0)
    until = np.minimum(_timeout_ends(trades, leg.spec, leg.signals.codes), np.append(entries, bars)[1 : len(trades) + 1])
    waiting = np.maximum(until - np.maximum(trades.exit_row, first), 0)
    counts = {"long": held[direction > 0].sum(), "short": held[direction < 0].sum(), "timeout": waiting.sum()}
    shares = {state: 100 * int(count) / (bars - first) for state, count in counts.items()}
    return {**shares, "cash": 100 - sum(shares.values())}


def _timeout_ends(trades: Trades, spec: AlgoSpec, codes: Codes) -> Ints:
    """First bar at whose close the timeout of each exit no longer runs: its bars have passed, and what the mode waits for is false."""
    bars = len(codes)
    ends = np.minimum(trades.exit_row + spec.timeout.bars, bars)
    if spec.timeout.mode is TimeoutMode.COOLDOWN_ONLY:
        return ends
    for direction, holds in ((1, Code.HOLDS_LONG), (-1, Code.HOLDS_SHORT)):
        watched = holds if spec.timeout.mode is TimeoutMode.REGULAR else Code.HOLDS_LONG | Code.HOLDS_SHORT
        free = np.append(np.flatnonzero((codes & watched) == 0), bars)
        own = trades.direction == direction
        ends[own] = free[np.searchsorted(free, ends[own])]
    return ends
