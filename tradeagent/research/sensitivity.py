"""How much of a result hangs on its assumptions: the same run with costs doubled, and with every fill one bar later."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from tradeagent.domain.costs import FeeSchedule
from tradeagent.research.metrics import Metrics, quick
from tradeagent.research.run import Leg, Run, Terms

KEYS = ("total_return_pct", "sharpe", "max_drawdown_pct")
Simulate = Callable[[Sequence[Leg], Terms], Run]


def costs_doubled(terms: Terms) -> Terms:
    """Fees and slippage × 2; funding stays as it was."""
    fees = FeeSchedule(taker=2 * terms.fees.taker, maker=2 * terms.fees.maker)
    return replace(terms, fees=fees, slippage_bps=2 * terms.slippage_bps)


def one_bar_later(terms: Terms) -> Terms:
    """Every decision reaches the market one bar late."""
    return replace(terms, delay_bars=terms.delay_bars + 1)


def sensitivity(run: Run, legs: Sequence[Leg], terms: Terms, simulate: Simulate) -> dict[str, Metrics]:
    """`costs_x2` and `delay_1`: return, Sharpe ratio, drawdown and trades of the run under each.

    `skipped` counts the entries that found no margin there and did in `run`: an all-in size has no room for higher costs.
    """
    changed = {"costs_x2": costs_doubled(terms), "delay_1": one_bar_later(terms)}
    return {name: _figures(run, simulate(legs, other), legs, other) for name, other in changed.items()}


def _figures(run: Run, other: Run, legs: Sequence[Leg], terms: Terms) -> Metrics:
    found = quick(other, legs, terms, *KEYS)
    skipped = other.counts.get("no_margin", 0) - run.counts.get("no_margin", 0)
    return {key: found[key] for key in KEYS} | {"trades": len(other.trades), "skipped": max(0, skipped)}
