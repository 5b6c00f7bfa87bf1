"""What a run is worth: every metric key of research.md §8, computed from its arrays without a loop over bars.

Percent keys are in percent, `win_rate` keys fractions, `*_quote` keys quote units; a metric that is not defined is None, never NaN or
infinity. `metrics_of` computes all of them; `quick` only those an optimiser asks for.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tradeagent.algos.bars import Bars, Floats
from tradeagent.domain.clock import DAY_MS
from tradeagent.research.run import Ints, Leg, Run, Terms, Trades

Metric = float | int | None
Metrics = dict[str, Metric]
YEAR_MS = 365 * DAY_MS
MICRO = 1e6
SHORTEST_YEAR_MS = 7 * DAY_MS
_RATE_UNITS = 1e10
_TAIL = 0.05
_BLOCK = 256


class Sample(NamedTuple):
    """A run with what its metrics share. `equity` begins at the first row in which trading was allowed."""

    run: Run
    legs: Sequence[Leg]
    terms: Terms
    bars: Bars
    equity: Ints

    @property
    def cash(self) -> int:
        return int(self.terms.cash.scaleb(6))

    @property
    def span_ms(self) -> int:
        """First open to last close."""
        return int(self.bars.time[-1]) + self.bars.interval_ms - int(self.bars.time[0]) if len(self.bars) else 0


def sample_of(run: Run, legs: Sequence[Leg], terms: Terms) -> Sample:
    """Cut the rows that only fed indicators. Legs share one clock, so the first one's bars stand for all."""
    first, bars = terms.first_row, legs[0].bars
    return Sample(run, legs, terms, bars.rows(first, len(bars)) if first else bars, run.equity[first:] if first else run.equity)


def metrics_of(run: Run, legs: Sequence[Leg], terms: Terms) -> Metrics:
    """Every metric of §8 in its order."""
    sample = sample_of(run, legs, terms)
    found: Metrics = {}
    for group in (_return_metrics, _calmar_metrics, _duration_metrics, _trade_metrics, _side_metrics, _account_metrics, _hold_metrics):
        found |= group(sample)
    return {key: found[key] for key in METRIC_KEYS}


def quick(run: Run, legs: Sequence[Leg], terms: Terms, *names: str) -> Metrics:
    """Only the metrics named, and what comes with them for free. KeyError for a name that is no metric."""
    sample = sample_of(run, legs, terms)
    found: Metrics = {}
    for group in dict.fromkeys(_GROUP_OF[name] for name in names):
        found |= group(sample)
    return found


def daily_returns(run: Run, bars: Bars, terms: Terms) -> Floats:
    """Simple returns of nav per UTC day, or per bar from 1d bars on; the first counts from starting cash, a day without bars is 0."""
    first = terms.first_row
    return _period_returns(bars.rows(first, len(bars)), run.equity[first:], int(terms.cash.scaleb(6)))


def periods_per_year(interval_ms: int) -> float:
    """Returns are daily, or one a bar where a bar is longer."""
    return YEAR_MS / max(DAY_MS, interval_ms)


def sharpe_of(returns: Floats) -> float | None:
    """mean / std (ddof 1) of the periods, not annualised; None under 2 periods or without deviation."""
    if len(returns) < 2:
        return None
    deviation = float(returns.std(ddof=1))
    mean = float(returns.mean())
    return mean / deviation if deviation > 1e-12 * abs(mean) else None


def nav_sharpe(navs: Sequence[float]) -> float | None:
    """The annualised Sharpe ratio of a nav at the end of each day, None where `sharpe_of` is."""
    before, after = np.array(navs[:-1]), np.array(navs[1:])
    ratio = sharpe_of(after / before - 1) if len(after) else None
    return None if ratio is None else ratio * math.sqrt(periods_per_year(DAY_MS))


def r_multiples(trades: Trades) -> Floats:
    """Net PnL over |average entry − first stop| · largest size; NaN without a stop or at zero distance."""
    risk = (np.abs(trades.entry_price - trades.stop) * trades.size).astype(np.float64)
    known = (trades.stop != 0) & (risk != 0)
    multiples: Floats = np.divide(trades_pnl(trades), risk, out=np.full(len(trades), np.nan), where=known)
    return multiples


def trades_pnl(trades: Trades) -> Ints:
    """Gross − fees − funding of each trade, 10⁻⁶ quote units."""
    pnl: Ints = trades.gross - trades.fees - trades.funding
    return pnl


def _period_returns(bars: Bars, equity: Ints, cash: int) -> Floats:
    if not len(equity):
        return np.empty(0)
    if bars.interval_ms >= DAY_MS:
        marks = equity.astype(np.float64)
    else:
        first, last = int(bars.time[0]) // DAY_MS, int(bars.time[-1]) // DAY_MS
        ends = np.arange(first + 1, last + 2) * DAY_MS
        marks = equity[np.searchsorted(bars.time, ends) - 1].astype(np.float64)
    before = np.concatenate(([float(cash)], marks[:-1]))
    returns: Floats = np.divide(marks - before, before, out=np.zeros(len(marks)), where=before > 0)
    return returns


def _return_metrics(sample: Sample) -> Metrics:
    returns = _period_returns(sample.bars, sample.equity, sample.cash)
    several = len(returns) >= 2
    per_year = periods_per_year(sample.bars.interval_ms)
    sharpe = sharpe_of(returns)
    downside = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2))) if several else 0.0
    tail = float(np.quantile(returns, _TAIL)) if several else None
    return {
        "volatility_pct": 100 * float(returns.std(ddof=1)) * math.sqrt(per_year) if several else None,
        "sharpe": None if sharpe is None else sharpe * math.sqrt(per_year),
        "sortino": float(returns.mean()) / downside * math.sqrt(per_year) if downside > 0 else None,
        "var_95_pct": None if tail is None else 100 * (0.0 - tail),
        "cvar_95_pct": None if tail is None else 100 * (0.0 - float(returns[returns <= tail].mean())),
        "best_day_pct": 100 * float(returns.max()) if len(returns) else None,
        "worst_day_pct": 100 * float(returns.min()) if len(returns) else None,
    }


def _growth_metrics(sample: Sample) -> Metrics:
    last, cash = int(sample.equity[-1]) if len(sample.equity) else sample.cash, sample.cash
    return {"total_return_pct": 100 * (last - cash) / cash, "annual_return_pct": annual_pct(last / cash, sample.span_ms)}


def annual_pct(ratio: float, span_ms: int) -> float | None:
    """(E₁/E₀)^(365 d / span) − 1 in percent; None under 7 days and where it is too large to say."""
    if span_ms < SHORTEST_YEAR_MS:
        return None
    try:
        grown: float = max(ratio, 0.0) ** (YEAR_MS / span_ms)
    except OverflowError:
        return None
    return 100 * (grown - 1)


def _drawdown_metrics(sample: Sample) -> Metrics:
    if not len(sample.equity):
        return {"max_drawdown_pct": 0.0, "max_drawdown_quote": 0.0}
    share, quote = deepest(sample.equity, sample.cash)
    return {"max_drawdown_pct": 100 * share, "max_drawdown_quote": quote / MICRO}


class _Blocks(NamedTuple):
    """A curve in blocks: where each starts, its lowest and highest value, and the running peak before and after it.

    They rule out all but a few blocks for what only a peak or a trough can change, so that a long curve costs a tenth of its running peak.
    """

    starts: Ints
    low: Ints
    high: Ints
    before: Ints
    after: Ints


def _blocks(equity: Ints, cash: int) -> _Blocks:
    starts = np.arange(0, len(equity), _BLOCK)
    high = np.maximum.reduceat(equity, starts)
    after = np.maximum(np.maximum.accumulate(high), cash)
    return _Blocks(starts, np.minimum.reduceat(equity, starts), high, np.concatenate(([cash], after[:-1])), after)


def _peaks_within(equity: Ints, blocks: _Blocks, chosen: Ints) -> tuple[Ints, Ints, Ints]:
    """Rows, values and running peaks of the chosen blocks, one line a block; the last row repeats to fill the last one."""
    rows = np.minimum(blocks.starts[chosen, None] + np.arange(_BLOCK), len(equity) - 1)
    values = equity[rows]
    return rows, values, np.maximum(np.maximum.accumulate(values, axis=1), blocks.before[chosen, None])


def deepest(equity: Ints, cash: int) -> tuple[float, int]:
    """max(1 − E/peak) and max(peak − E) over a curve that starts from `cash`; both ≥ 0."""
    blocks = _blocks(equity, cash)
    fall, most = blocks.before - blocks.low, blocks.after - blocks.low
    share, quote = max(0.0, float((fall / blocks.before).max())), max(0, int(fall.max()))
    deeper = np.flatnonzero((most / blocks.after > share) | (most > quote))
    if len(deeper):
        _, values, peak = _peaks_within(equity, blocks, deeper)
        share, quote = max(share, float(((peak - values) / peak).max())), max(quote, int((peak - values).max()))
    return share, quote


def _duration_metrics(sample: Sample) -> Metrics:
    longest = _longest_below(sample.bars, sample.equity, sample.cash) if len(sample.equity) else 0
    return {"max_drawdown_duration_s": longest}


def _longest_below(bars: Bars, equity: Ints, cash: int) -> int:
    """Seconds of the longest stretch from a peak's close to the close that regains it, or to the last close."""
    blocks = _blocks(equity, cash)
    rows, values, peak = _peaks_within(equity, blocks, np.flatnonzero(blocks.high >= blocks.before))
    last = len(equity) - 1
    at_peak = np.append(rows[values >= peak], last)
    at_peak = at_peak[np.diff(at_peak, prepend=-1) > 0]
    # A stretch lies between two peaks that are not neighbours; the open of the first bar and the last close stand for peaks.
    before = np.append(-1, at_peak[:-1])
    is_below = (at_peak - before > 1) | ((at_peak == last) & (equity[last] < blocks.after[-1]))
    closes = bars.time[at_peak] + bars.interval_ms
    begins = np.where(before < 0, bars.time[0], bars.time[before] + bars.interval_ms)
    return int(np.max(closes - begins, where=is_below, initial=0)) // 1000


def _calmar_metrics(sample: Sample) -> Metrics:
    found = _growth_metrics(sample) | _drawdown_metrics(sample)
    annual, drawdown = found["annual_return_pct"], found["max_drawdown_pct"]
    return found | {"calmar": annual / drawdown if annual is not None and drawdown else None}


def _trade_metrics(sample: Sample) -> Metrics:
    trades = sample.run.trades
    pnl = trades_pnl(trades)
    won, lost = pnl[pnl > 0], pnl[pnl < 0]
    multiples = r_multiples(trades)
    known = multiples[~np.isnan(multiples)]
    days = sample.span_ms / DAY_MS
    count = len(pnl)
    average_win, average_loss = _mean_quote(won), _mean_quote(lost)
    return {
        "trades": count,
        "winning_trades": len(won),
        "losing_trades": len(lost),
        "win_rate": _share(len(won), count),
        "profit_factor": int(won.sum()) / -int(lost.sum()) if len(lost) else None,
        "payoff_ratio": average_win / -average_loss if average_win is not None and average_loss else None,
        "expectancy_quote": _mean_quote(pnl),
        "expectancy_r": float(known.mean()) if len(known) else None,
        "sqn": _sqn(pnl),
        "avg_win_quote": average_win,
        "avg_loss_quote": average_loss,
        "largest_win_quote": int(won.max()) / MICRO if len(won) else None,
        "largest_loss_quote": int(lost.min()) / MICRO if len(lost) else None,
        "avg_bars_held": float(np.mean(trades.exit_row - trades.entry_row)) if count else None,
        "trades_per_day": count / days if days else None,
        "gross_pnl_quote": int(trades.gross.sum()) / MICRO,
        "net_pnl_quote": int(pnl.sum()) / MICRO,
    }


def _sqn(pnl: Ints) -> float | None:
    ratio = sharpe_of(pnl.astype(np.float64))
    return None if ratio is None else math.sqrt(len(pnl)) * ratio


def _side_metrics(sample: Sample) -> Metrics:
    trades = sample.run.trades
    pnl = trades_pnl(trades)
    long, short = pnl[trades.direction > 0], pnl[trades.direction < 0]
    return {
        "long_trades": len(long),
        "short_trades": len(short),
        "long_win_rate": _share(int(np.count_nonzero(long > 0)), len(long)),
        "short_win_rate": _share(int(np.count_nonzero(short > 0)), len(short)),
        "long_pnl_quote": int(long.sum()) / MICRO,
        "short_pnl_quote": int(short.sum()) / MICRO,
    }


def _account_metrics(sample: Sample) -> Metrics:
    run, bars = sample.run, len(sample.equity)
    mean_equity = float(sample.equity.mean()) if bars else 0.0
    return {
        "exposure_pct": 100 * run.exposed / bars if bars else None,
        "turnover": run.turnover / mean_equity if mean_equity > 0 else None,
        "fees_quote": run.fees / MICRO,
        "funding_quote": run.funding / MICRO,
        "slippage_quote": run.slippage / MICRO,
        "liquidations": run.counts.get("liquidations", 0),
        "max_leverage_used": run.max_leverage / MICRO,
    }


def _hold_metrics(sample: Sample) -> Metrics:
    if not len(sample.bars):
        return {"buy_hold_return_pct": None}
    held = [_hold_return(leg, sample.terms) for leg in sample.legs]
    return {"buy_hold_return_pct": 100 * sum(held) / len(held)}


def _hold_return(leg: Leg, terms: Terms) -> float:
    """Long 1× from the first open to the last close: taker fee at entry, funding of every stamp after it at its hour's open."""
    bars = leg.bars.rows(terms.first_row, len(leg.bars))
    entry = float(bars.open[0])
    first, last = np.searchsorted(leg.funding_hours, [bars.time[0], bars.time[-1]], side="right")
    rows = np.searchsorted(bars.time, leg.funding_hours[first:last])
    paid = float(np.sum(bars.open[rows] * leg.funding_rates[first:last])) / _RATE_UNITS
    return (float(bars.close[-1]) - entry - paid) / entry - float(terms.fees.taker)


def _mean_quote(values: Ints) -> float | None:
    return float(values.mean()) / MICRO if len(values) else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


_Group = Callable[[Sample], Metrics]
METRIC_KEYS = tuple(
    """total_return_pct annual_return_pct volatility_pct sharpe sortino calmar max_drawdown_pct max_drawdown_quote max_drawdown_duration_s
    trades winning_trades losing_trades win_rate profit_factor payoff_ratio expectancy_quote expectancy_r sqn avg_win_quote avg_loss_quote
    largest_win_quote largest_loss_quote avg_bars_held exposure_pct turnover trades_per_day long_trades short_trades long_win_rate
    short_win_rate long_pnl_quote short_pnl_quote gross_pnl_quote net_pnl_quote fees_quote funding_quote slippage_quote liquidations
    buy_hold_return_pct var_95_pct cvar_95_pct best_day_pct worst_day_pct max_leverage_used""".split()  # noqa: SIM905  # a list to read
)
_SMALL_GROUPS: Mapping[_Group, str] = {
    _growth_metrics: "total_return_pct annual_return_pct",
    _drawdown_metrics: "max_drawdown_pct max_drawdown_quote",
    _calmar_metrics: "calmar",
    _duration_metrics: "max_drawdown_duration_s",
    _return_metrics: "volatility_pct sharpe sortino var_95_pct cvar_95_pct best_day_pct worst_day_pct",
    _side_metrics: "long_trades short_trades long_win_rate short_win_rate long_pnl_quote short_pnl_quote",
    _account_metrics: "exposure_pct turnover fees_quote funding_quote slippage_quote liquidations max_leverage_used",
    _hold_metrics: "buy_hold_return_pct",
}
_GROUP_OF: Mapping[str, _Group] = dict.fromkeys(METRIC_KEYS, _trade_metrics) | {
    key: group for group, keys in _SMALL_GROUPS.items() for key in keys.split()
}
