"""Why a run did what it did: what each condition of an algo let through or blocked, where entries were nearly made, in which state the
bars passed, and how trades ended."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tradeagent.algos.evaluate import Evaluator, edges
from tradeagent.algos.expressions import condition
from tradeagent.algos.scope import sides_of
from tradeagent.algos.signals import Code, Codes
from tradeagent.algos.spec import AlgoSpec, TimeoutMode
from tradeagent.research.metrics import MICRO, trades_pnl
from tradeagent.research.run import EXIT_REASONS, Ints, Leg, Run, Terms, Trades

Truths = npt.NDArray[np.bool_]


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
    for side, part, texts, groups in _rules(spec):
        truths = [evaluator.truth(spec, text)[first:] for text in texts]
        units = [np.logical_or.reduce([truths[i] for i in group]) if len(group) > 1 else truths[group[0]] for group in groups]
        missing = np.zeros(len(truths[0]), np.uint8)
        for unit in units:
            missing += ~unit
        if part == "entry":
            near[side] = {str(count): int(np.count_nonzero(missing == count)) for count in range(len(units) + 1)}
        fired = edges(missing == 0)
        for place, text in enumerate(texts):
            unit = units[next(i for i, group in enumerate(groups) if place in group)]
            conditions.append(_report(side, part, text, truths[place], unit, missing, fired))
    return {
        "conditions": [asdict(report) for report in conditions],
        "indicators": _by_indicator(conditions),
        "near_misses": near,
        "states_pct": _states(run, leg, terms),
        "exit_reasons": exit_reasons(run.trades),
    }


def _rules(spec: AlgoSpec) -> Iterator[tuple[str, str, list[str], list[list[int]]]]:
    """Side, part, its condition texts, and which of them form one requirement: each required alone, the optional ones together."""
    if spec.python is not None:
        return
    for side, rules in sides_of(spec):
        for part, rule in (("entry", rules.entry), ("exit", rules.exit)):
            required = len(rule.required)
            groups = [[i] for i in range(required)]
            if rule.optional:
                groups.append(list(range(required, required + len(rule.optional))))
            if groups:
                yield side, part, [*rule.required, *rule.optional], groups


def _report(side: str, part: str, text: str, true: Truths, unit: Truths, missing: npt.NDArray[np.uint8], fired: Truths) -> ConditionReport:
    bars = len(true)
    others = int(np.count_nonzero(missing == ~unit))
    blocking = int(np.count_nonzero((missing == 1) & ~unit))
    names = dict.fromkeys(name.text.partition(".")[0] for name in condition(text).names)
    return ConditionReport(
        side,
        part,
        text,
        tuple(names),
        100 * int(np.count_nonzero(true)) / bars if bars else 0.0,
        int(np.count_nonzero(true[1:] != true[:-1])),
        int(np.count_nonzero(fired & edges(true))),
        blocking,
        blocking / others if others else None,
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
    found = []
    for reason in np.unique(trades.exit_reason).tolist():
        chosen = pnl[trades.exit_reason == reason]
        found.append((EXIT_REASONS[reason].value, {"trades": len(chosen), "pnl_quote": int(chosen.sum()) / MICRO}))
    return dict(sorted(found, key=lambda item: -item[1]["trades"]))


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
