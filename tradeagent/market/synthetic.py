"""A made-up market for demos and tests: regimes of trend, range and storm, jumps, funding. Always labelled synthetic.

The same seed gives the same bars on every platform: chance is drawn as integers from PCG64 and prices use only operations that
IEEE 754 rounds exactly.
"""

import math
from dataclasses import dataclass

import numpy as np

from tradeagent.domain.bars import parse_duration
from tradeagent.domain.clock import HOUR_MS
from tradeagent.domain.instrument import Instrument
from tradeagent.market.instruments import SYNTHETIC, instrument
from tradeagent.market.series import BarSeries, Floats, FundingSeries, SeriesKey, bar_series, funding_series, round_to_grid
from tradeagent.market.warehouse import Warehouse

# 2025-01-01T00:00Z.
START_MS = 1_735_689_600_000
START_PRICE = 60_000.0
_REFERENCE_MS = parse_duration("5m")
_STEPS = 8
_DICE = 12
_FACES = 1 << 20
_JUMP_ONE_IN = 400
_ANCHOR_PULL = 0.35
_BASE_FUNDING = 1.25e-5


@dataclass(frozen=True, slots=True)
class _Regime:
    """Mean and deviation of a 5m bar's return, and how many 5m bars it usually lasts."""

    drift: float
    volatility: float
    bars: int


# Trends take their sign from the anchor rule below.
_REGIMES = (_Regime(0.0004, 0.0016, 150), _Regime(0.0, 0.0015, 90), _Regime(0.0005, 0.0030, 60), _Regime(0.0002, 0.0022, 120))


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticMarket:
    """Bars and hourly funding of one seed."""

    bars: BarSeries
    funding: FundingSeries
    instrument: Instrument


def synthetic_market(
    seed: int, bars: int, market: str = "BTC", interval_ms: int = _REFERENCE_MS, start_ms: int = START_MS
) -> SyntheticMarket:
    """`bars` bars from `start_ms` (UTC ms, on the interval's grid) of the market that belongs to `seed`."""
    rng = np.random.Generator(np.random.PCG64(seed))
    grid = instrument(SYNTHETIC, market)
    scale = interval_ms / _REFERENCE_MS
    drift, volatility = _regimes(rng, bars, scale)
    shocks = _normal(rng, (bars, _STEPS))
    jumps: Floats = np.where(rng.integers(0, _JUMP_ONE_IN, bars) == 0, _normal(rng, (bars,)) * 4, 0.0) * volatility
    steps = (drift / _STEPS)[:, None] + shocks * (volatility / math.sqrt(_STEPS))[:, None]
    steps[:, 0] += jumps
    path = np.asarray(START_PRICE * np.cumprod(1.0 + steps.ravel()), np.float64).reshape(bars, _STEPS)
    closes: Floats = path[:, -1]
    opens: Floats = np.concatenate([np.array([START_PRICE]), closes[:-1]])
    highs: Floats = np.maximum(opens, path.max(axis=1))
    lows: Floats = np.minimum(opens, path.min(axis=1))
    # Coins per bar; big moves trade more.
    volume: Floats = rng.integers(20, 60, bars) * (1.0 + np.abs(closes / opens - 1.0) * 400.0) * scale
    ts = start_ms + np.arange(bars, dtype=np.int64) * interval_ms
    rounded = [round_to_grid(values, grid.price_decimals)[0] for values in (opens, highs, lows, closes)]
    series = bar_series(SeriesKey(SYNTHETIC, market, interval_ms), ts, *rounded, round_to_grid(volume, grid.size_decimals)[0])
    return SyntheticMarket(series, _funding(rng, series, drift / scale), grid)


def store_synthetic(warehouse: Warehouse, made: SyntheticMarket) -> None:
    """Put a synthetic market where imported ones are; storing the same one again changes nothing."""
    warehouse.append_bars(made.bars)
    warehouse.append_funding(made.funding)


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Nearly normal numbers (mean 0, deviation 1) as sums of twelve integer dice, exact everywhere."""
    total = rng.integers(0, _FACES, (*shape, _DICE)).sum(axis=-1)
    return np.asarray((total - _DICE * (_FACES - 1) / 2) / _FACES, np.float64)


def _regimes(rng: np.random.Generator, bars: int, scale: float) -> tuple[Floats, Floats]:
    """Drift and deviation of every bar. A trend is likelier to lead back to the start price the further it is away."""
    drift, volatility = np.empty(bars), np.empty(bars)
    done, level = 0, 0.0
    while done < bars:
        regime = _REGIMES[int(rng.integers(0, len(_REGIMES)))]
        length = max(1, round(regime.bars * (0.5 + int(rng.integers(0, 1000)) / 1000) / scale))
        up_chance = min(0.9, max(0.1, 0.5 - _ANCHOR_PULL * level / 0.2))
        sign = 1 if int(rng.integers(0, 1000)) < 1000 * up_chance else -1
        length = min(length, bars - done)
        drift[done : done + length] = sign * regime.drift * scale
        volatility[done : done + length] = regime.volatility * math.sqrt(scale)
        level += sign * regime.drift * scale * length
        done += length
    return drift, volatility


def _funding(rng: np.random.Generator, series: BarSeries, drift: Floats) -> FundingSeries:
    """One rate per hour that a bar covers: the base rate, more in an up-trend, less in a down-trend, stamped as late as real ones."""
    hours = np.arange(-(-int(series.ts[0]) // HOUR_MS), int(series.ts[-1]) // HOUR_MS + 1, dtype=np.int64) * HOUR_MS
    at = np.searchsorted(series.ts, hours)
    rate = _BASE_FUNDING + drift[at] * 0.1 + _normal(rng, (len(hours),)) * 1e-5
    return funding_series(series.venue, series.market, hours + rng.integers(0, 400, len(hours)), np.rint(rate * 1e10) / 1e10)
