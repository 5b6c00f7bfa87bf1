"""How much of a result may be luck: probabilistic and deflated Sharpe ratio, probability of backtest overfitting, bootstrap intervals.

Everything works on returns per period as `metrics.daily_returns` gives them; formulas and conventions are those of research.md §8.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from tradeagent.algos.bars import Floats
from tradeagent.research.metrics import SHORTEST_YEAR_MS, YEAR_MS, periods_per_year, sharpe_of

Matrix = npt.NDArray[np.float64]
_NORMAL = NormalDist()
_EULER = 0.5772156649
_SHORTEST = 30
_SPLITS_AT_ONCE = 2_000_000
_CELLS_AT_ONCE = 2_000_000
PBO_TRIALS = 1_000


def probabilistic_sharpe(sharpe: float, threshold: float, periods: int, skew: float, kurtosis: float) -> float | None:
    """Φ((SR − s)·√(T−1) / √(1 − γ₃·SR + (γ₄−1)/4·SR²)) with ratios per period; None where the root is not real.

    Bailey, López de Prado 2012. `kurtosis` is 3 for a normal distribution.
    """
    spread = 1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2
    if spread <= 0 or periods < 2:
        return None
    return _NORMAL.cdf((sharpe - threshold) * math.sqrt((periods - 1) / spread))


def expected_maximum(trials: int, variance: float) -> float:
    """SR₀: the best Sharpe ratio per period to expect from `trials` tries without skill; 0 for one (Bailey, López de Prado 2014)."""
    if trials < 2:
        return 0.0
    first, second = _NORMAL.inv_cdf(1 - 1 / trials), _NORMAL.inv_cdf(1 - 1 / (trials * math.e))
    return math.sqrt(variance) * ((1 - _EULER) * first + _EULER * second)


def psr(returns: Floats, threshold: float = 0.0) -> float | None:
    """Probability that the true Sharpe ratio per period is above `threshold`; None under 30 periods or without deviation."""
    sharpe = sharpe_of(returns)
    if sharpe is None or len(returns) < _SHORTEST:
        return None
    centred = returns - returns.mean()
    variance = float(np.mean(centred**2))
    skew, kurtosis = float(np.mean(centred**3)) / variance**1.5, float(np.mean(centred**4)) / variance**2
    return probabilistic_sharpe(sharpe, threshold, len(returns), skew, kurtosis)


def dsr(returns: Floats, trials: int, sharpes: Sequence[float]) -> float | None:
    """PSR above what the best of `trials` tries reaches by luck; `sharpes` are those of the tries that have one, per period."""
    return psr(returns, expected_maximum(trials, variance_of(sharpes)))


def variance_of(sharpes: Sequence[float]) -> float:
    """Variance (ddof 1) of the tries' Sharpe ratios; 0 for fewer than two."""
    return float(np.var(np.asarray(sharpes), ddof=1)) if len(sharpes) > 1 else 0.0


@dataclass(frozen=True, slots=True)
class Overfitting:
    """Probability of backtest overfitting, from `splits` halvings of `blocks` blocks over `trials` trials."""

    value: float
    splits: int
    blocks: int
    trials: int


def pbo(returns: Matrix) -> Overfitting | None:
    """CSCV (Bailey, Borwein, López de Prado, Zhu 2017) over T × N returns, trials as columns in trial order.

    16 blocks, 8 under 160 rows; None under 80 rows or 2 trials. Over 1,000 trials, 1,000 evenly spaced ones.
    """
    rows, trials = returns.shape
    if rows < 80 or trials < 2:
        return None
    if trials > PBO_TRIALS:
        returns = returns[:, np.linspace(0, trials - 1, PBO_TRIALS).round().astype(np.int64)]
        trials = PBO_TRIALS
    blocks = 16 if rows >= 160 else 8
    length = rows // blocks
    cut = returns[rows - blocks * length :].reshape(blocks, length, trials)
    chosen = np.array(list(combinations(range(blocks), blocks // 2)))
    halves = np.zeros((len(chosen), blocks))
    np.put_along_axis(halves, chosen, 1.0, axis=1)
    sums, squares = cut.sum(axis=1), (cut**2).sum(axis=1)
    size = length * blocks // 2
    lost, step = 0, max(1, _SPLITS_AT_ONCE // trials)
    # The complement of the k-th combination is the k-th from the end, so each half is scored once and serves both ways.
    half = len(halves) // 2
    for start in range(0, half, step):
        one = halves[start : min(start + step, half)]
        left, right = _scores(one, sums, squares, size), _scores(1.0 - one, sums, squares, size)
        lost += _losers(left, right) + _losers(right, left)
    return Overfitting(lost / len(halves), len(halves), blocks, trials)


def _scores(halves: Matrix, sums: Matrix, squares: Matrix, size: int) -> Matrix:
    """Sharpe ratio per period of each trial over the blocks a row of `halves` picks; 0 without deviation."""
    total, square = halves @ sums, halves @ squares
    spread = square - total**2 / size
    real = spread > 1e-12 * square
    scores: Matrix = np.divide(total, np.sqrt(spread, where=real, out=np.ones_like(spread)), out=np.zeros_like(total), where=real)
    # Rounded so that equal trials stay equal, whatever order their sums were taken in.
    return np.round(scores * (math.sqrt(size - 1) / size), 12)


def _losers(inside: Matrix, outside: Matrix) -> int:
    """In how many splits the winner inside (ties: the first) is at or below the median outside: λ ≤ 0."""
    winner = np.argmax(inside, axis=1)[:, None]
    score = np.take_along_axis(outside, winner, axis=1)
    below = np.count_nonzero(outside < score, axis=1)
    equal = np.count_nonzero(outside == score, axis=1)
    # Average rank r = below + (equal + 1)/2; ω = r/(N + 1) ≤ 1/2.
    return int(np.count_nonzero(2 * below + equal + 1 <= outside.shape[1] + 1))


@dataclass(frozen=True, slots=True)
class Intervals:
    """2.5 % and 97.5 % bounds; percent keys in percent. A figure that is not defined for the returns is None."""

    sharpe: tuple[float, float] | None
    annual_return_pct: tuple[float, float] | None
    max_drawdown_pct: tuple[float, float] | None

    def as_dict(self) -> dict[str, list[float] | None]:
        named = {"sharpe": self.sharpe, "annual_return_pct": self.annual_return_pct, "max_drawdown_pct": self.max_drawdown_pct}
        return {key: None if bounds is None else list(bounds) for key, bounds in named.items()}


def bootstrap(returns: Floats, period_ms: int, *, span_ms: int | None = None, seed: int = 0, samples: int = 2_000) -> Intervals:
    """Circular block bootstrap (Politis, Romano 1992) of Sharpe, annual return and max drawdown; None under 2 periods.

    Blocks of round(T^(1/3)) periods; a resample without deviation counts as Sharpe 0. `span_ms` is what annual returns are counted over,
    as in the metrics (first open to last close); without it all periods are whole.
    """
    periods = len(returns)
    if periods < 2:
        return Intervals(None, None, None)
    block = max(1, round(periods ** (1 / 3)))
    starts = np.random.default_rng(seed).integers(0, periods, size=(samples, math.ceil(periods / block)))
    step = max(1, _CELLS_AT_ONCE // periods)
    figures = [_figures(returns, starts[row : row + step], block) for row in range(0, samples, step)]
    sharpes, growth, drawdowns = (np.concatenate(column) for column in zip(*figures, strict=True))
    sharpe = sharpes * math.sqrt(periods_per_year(period_ms))
    return Intervals(_bounds(sharpe), _bounds(_annual(growth, span_ms or periods * period_ms)), _bounds(100 * drawdowns))


def _figures(returns: Floats, starts: npt.NDArray[np.int64], block: int) -> tuple[Floats, Floats, Floats]:
    """Sharpe per period, growth factor and max drawdown of each resample."""
    periods = len(returns)
    rows = (starts[:, :, None] + np.arange(block)).reshape(len(starts), -1)[:, :periods] % periods
    drawn = returns[rows]
    mean, deviation = drawn.mean(axis=1), drawn.std(axis=1, ddof=1)
    real = deviation > 1e-12 * np.abs(mean)
    sharpe = np.divide(mean, deviation, out=np.zeros(len(drawn)), where=real)
    curve = np.cumprod(np.maximum(1 + drawn, 0.0), axis=1)
    peak = np.maximum(np.maximum.accumulate(curve, axis=1), 1.0)
    return sharpe, curve[:, -1], (1 - curve / peak).max(axis=1)


def _annual(growth: Floats, span_ms: int) -> Floats | None:
    if span_ms < SHORTEST_YEAR_MS:
        return None
    with np.errstate(over="ignore"):
        grown: Floats = 100 * (growth ** (YEAR_MS / span_ms) - 1)
    return grown


def _bounds(values: Floats | None) -> tuple[float, float] | None:
    if values is None or not np.isfinite(values).all():
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
