"""Random legs and terms for the comparison of kernel and event path, and the comparison itself.

Bars are either real (a stretch of a shared file) or a random walk with gaps, jumps and outages on a random instrument's grid; signals are
codes drawn at random, because parity does not depend on where they come from.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import numpy as np

from tradeagent.algos.bars import Bars, Floats
from tradeagent.algos.signals import Distance, Levels, Signals
from tradeagent.algos.spec import (
    AlgoSpec,
    BuyBack,
    Directions,
    EntryRule,
    ExitRule,
    Level,
    LevelKind,
    SideRules,
    Sizing,
    SizingKind,
    Timeout,
    TimeoutMode,
)
from tradeagent.domain.costs import FeeSchedule
from tradeagent.domain.names import ExitReason
from tradeagent.market.instruments import instrument
from tradeagent.research.eventpath import EventRun
from tradeagent.research.run import Leg, Run, Terms, Trades

HOUR = 3_600_000
STEPS = (60_000, 300_000, HOUR, 4 * HOUR)
T0 = 1_735_689_600_000
PRICES = {"BTC": 84_000.0, "ETH": 2_900.0, "SOL": 170.0, "HYPE": 32.0, "FARTCOIN": 0.9}
REAL = ("BTC", "ETH", "SOL", "HYPE", "FARTCOIN")


@dataclass(frozen=True, slots=True)
class World:
    """One case: what both paths are given."""

    legs: list[Leg]
    terms: Terms


def random_world(seed: int, *, data: Path | None = None, bars: int = 240, markets: int = 1) -> World:
    """The case of a seed; real bars where `data` is given and the seed says so, else a walk."""
    rng = np.random.default_rng(seed)
    names = [str(name) for name in rng.permutation(REAL)[:markets]]
    step = int(rng.choice(STEPS))
    if data is not None and markets == 1 and rng.random() < 0.6:
        tapes = [real_bars(data, names[0], str(rng.choice(("5m", "15m", "1h"))), rng, bars)]
    else:
        time = T0 + int(rng.integers(0, 50)) * HOUR + np.arange(bars, dtype=np.int64) * step
        if rng.random() < 0.2:
            time[bars // 2 :] += step * int(rng.integers(1, 200))
        tapes = [random_bars(rng, name, time, step) for name in names]
    terms = _terms(rng, bars)
    if markets == 1 and seed % 10 == 7:
        lot = instrument("hyperliquid", names[0]).lot
        wanted = float(terms.cash) * rng.uniform(0.05, 2) / float(tapes[0].close[0])
        terms = replace(terms, fill_qty=max(lot, Decimal(str(wanted)).quantize(lot)))
    return World([_leg(rng, tape, terms) for tape in tapes], terms)


def algo_world(seed: int, *, data: Path | None = None, bars: int = 300, markets: int = 1) -> World:
    """A random algo in the whole format of `algo.yml`, evaluated on the bars of a seed."""
    from random_algos import random_algo

    from tradeagent.algos.evaluate import Evaluator

    world = random_world(seed, data=data, bars=bars, markets=markets)
    rng = np.random.default_rng((seed, 1))
    legs = []
    for leg in world.legs:
        spec = random_algo(rng, leg.instrument.symbol, leg.bars.interval_ms)
        legs.append(replace(leg, spec=spec, signals=Evaluator(leg.bars).signals(spec)))
    return World(legs, world.terms)


def random_bars(rng: np.random.Generator, market: str, time: np.ndarray, step: int) -> Bars:
    """A walk on the market's grid: jumps, gaps between close and open, flat bars, outages."""
    count, decimals = len(time), instrument("hyperliquid", market).price_decimals
    scale = float(rng.choice((0.0005, 0.004, 0.02)))
    moves = rng.standard_t(3, count) * scale
    close = PRICES[market] * np.exp(np.cumsum(moves))
    opened = np.r_[PRICES[market], close[:-1]] * np.exp(np.where(rng.random(count) < 0.3, rng.normal(0, scale, count), 0))
    wick = np.abs(rng.normal(0, scale, (2, count)))
    high, low = np.maximum(opened, close) * (1 + wick[0]), np.minimum(opened, close) * (1 - wick[1])
    flat = rng.random(count) < 0.04
    volume = np.round(np.abs(rng.normal(50_000, 20_000, count)) / PRICES[market], 2)
    for column in (opened, high, low):
        column[flat] = close[flat]
    columns = [np.maximum(np.round(column, decimals), 10.0**-decimals) for column in (opened, high, low, close)]
    columns[1] = np.max(columns, axis=0)
    columns[2] = np.min(columns, axis=0)
    volume[flat & (rng.random(count) < 0.7)] = 0.0
    return Bars(market, step, time, *columns, volume, np.full(count, np.nan))


def real_bars(data: Path, market: str, interval: str, rng: np.random.Generator, count: int) -> Bars:
    """A stretch of a shared file."""
    import duckdb

    found = duckdb.sql(f"SELECT * FROM '{data / f'hyperliquid_{market}_{interval}.parquet'}' ORDER BY ts").fetchnumpy()
    start = int(rng.integers(0, len(found["ts"]) - count))
    time = found["ts"].astype(np.int64)
    rows = slice(start, start + count)
    columns = [found[name].astype(np.float64)[rows] for name in ("open", "high", "low", "close", "volume")]
    return Bars(market, int(time[1] - time[0]), time[rows], *columns, np.full(count, np.nan))


def _terms(rng: np.random.Generator, bars: int) -> Terms:
    return Terms(
        cash=Decimal(int(rng.choice((30, 1000, 50_000, 2_000_000)))),
        fees=FeeSchedule(Decimal("0.00045"), Decimal(str(rng.choice(("0.00015", "-0.00002", "0")))))
        if rng.random() < 0.8
        else FeeSchedule(Decimal(0), Decimal(0)),
        slippage_bps=Decimal(str(rng.choice(("0", "2", "2", "7.5")))),
        path="nearest" if rng.random() < 0.3 else "adverse",
        leverage=None if rng.random() < 0.7 else int(rng.integers(1, 6)),
        fill_qty=None,
        fill_no_volume=bool(rng.random() < 0.2),
        close_at_end=bool(rng.random() < 0.3),
        delay_bars=0 if rng.random() < 0.8 else int(rng.integers(1, 3)),
        first_row=0 if rng.random() < 0.7 else int(rng.integers(1, bars // 3)),
    )


def _leg(rng: np.random.Generator, tape: Bars, terms: Terms) -> Leg:
    count, known = len(tape), instrument("hyperliquid", tape.market)
    density = float(rng.choice((0.02, 0.08, 0.3)))
    codes = np.zeros(count, np.uint8)
    for flag, chance in ((1, density), (2, density), (4, density / 2), (8, density / 2), (16, 0.5), (32, 0.5)):
        codes |= np.where(rng.random(count) < chance, flag, 0).astype(np.uint8)
    codes |= ((codes & 3) << 4).astype(np.uint8)
    sizing = _sizing(rng, terms)
    sides = [_side(rng) for _ in range(2)]
    levels = [_levels(rng, tape, rules) for rules in sides]
    spec = AlgoSpec(
        "random",
        tape.market,
        tape.interval_ms,
        Directions.BOTH,
        {},
        sides[0],
        sides[1],
        sizing,
        leverage=int(rng.choice((1, 2, 3, 5, min(20, known.max_leverage)))),
        timeout=Timeout(list(TimeoutMode)[int(rng.integers(0, 3))], int(rng.choice((0, 0, 1, 4)))),
    )
    scale = np.where(rng.random(count) < 0.1, np.nan, rng.random(count)) if sizing.kind is SizingKind.DYNAMIC else None
    signals = Signals(codes, 0, levels[0], levels[1], scale)
    hours = np.arange(tape.time[0] // HOUR + 1, tape.time[-1] // HOUR + 1, dtype=np.int64) * HOUR
    hours = hours[rng.random(len(hours)) < 0.95]
    rates = np.rint(rng.normal(0, 2e5, len(hours))).astype(np.int64)
    if rng.random() < 0.2:
        hours, rates = hours[:0], rates[:0]
    return Leg(known, tape, spec, signals, hours, rates)


def _sizing(rng: np.random.Generator, terms: Terms) -> Sizing:
    kind = list(SizingKind)[int(rng.choice(4, p=(0.2, 0.5, 0.15, 0.15)))]
    if kind is SizingKind.ABS:
        return Sizing(kind, Decimal(str(round(float(terms.cash) * rng.uniform(0.05, 1.5), 2))))
    if kind is SizingKind.RISK_PCT:
        return Sizing(kind, Decimal(str(round(rng.uniform(0.05, 5), 3))))
    return Sizing(kind, Decimal(str(round(rng.uniform(5, 250), 3))))


def _distance(rng: np.random.Generator, *, rr: bool = False) -> Level:
    kinds = [LevelKind.PCT, LevelKind.ATR, LevelKind.ABS, *([LevelKind.RR] if rr else [])]
    kind = kinds[int(rng.integers(0, len(kinds)))]
    if kind is LevelKind.RR:
        return Level(kind, Decimal(str(round(rng.uniform(0.5, 4), 2))))
    return Level(kind, Decimal(str(round(float(rng.choice((0.2, 1.0, 4.0))) * rng.uniform(0.5, 2), 3))))


def _side(rng: np.random.Generator) -> SideRules:
    stop = _distance(rng) if rng.random() < 0.75 else None
    target = _distance(rng, rr=stop is not None) if rng.random() < 0.6 else None
    trailing = None
    if stop is not None and rng.random() < 0.3:
        trailing = stop if rng.random() < 0.5 else _distance(rng)
    armed = ExitReason(str(rng.choice(("stop", "target")))) if rng.random() < 0.1 else None
    buy_back = BuyBack(_distance(rng), bool(rng.random() < 0.5)) if rng.random() < 0.25 else None
    return SideRules(EntryRule(("x",), armed_by=armed, buy_back=buy_back), ExitRule((), (), stop, target, trailing))


def _levels(rng: np.random.Generator, tape: Bars, rules: SideRules) -> Levels:
    away = tape.high - tape.low + tape.close * 0.002
    away = np.where(rng.random(len(tape)) < 0.03, np.nan, away)

    def made(level: Level | None) -> Distance | None:
        if level is None:
            return None
        if level.kind is LevelKind.ATR:
            return Distance(level.kind, level.value, _scaled(away, level))
        if level.kind is LevelKind.ABS:
            value = max(Decimal(str(round(float(tape.close[0]) * float(level.value) / 100, 6))), Decimal("0.000001"))
            return Distance(level.kind, value)
        return Distance(level.kind, level.value)

    entry, leave = rules.entry, rules.exit
    return Levels(made(leave.stop), made(leave.target), made(leave.trailing), made(entry.buy_back.distance if entry.buy_back else None))


def _scaled(away: Floats, level: Level) -> Floats:
    return away * float(level.value)


def difference(kernel: Run, door: EventRun) -> str | None:
    """The first thing in which two runs differ, by category, None when they are equal to the last unit."""
    event = door.run
    if difference := _trades("trades", kernel.trades, event.trades):
        return difference
    unequal = np.flatnonzero(kernel.equity != event.equity)
    if len(unequal):
        row = int(unequal[0])
        return f"equity at row {row}: kernel {kernel.equity[row]}, event {event.equity[row]}"
    if difference := _trades("open_trades", kernel.open_trades, event.open_trades):
        return difference
    if abs(kernel.slippage - event.slippage) > door.slack:
        return f"slippage: kernel {kernel.slippage}, event {event.slippage}"
    for name in ("fees", "funding", "turnover", "exposed", "max_leverage"):
        one, other = getattr(kernel, name), getattr(event, name)
        if one != other:
            return f"{name}: kernel {one}, event {other}"
    counts = {name: (kernel.counts.get(name, 0), event.counts.get(name, 0)) for name in COMPARED}
    return next((f"counts.{name}: kernel {one}, event {other}" for name, (one, other) in counts.items() if one != other), None)


COMPARED = (
    "ambiguous",
    "below_minimum",
    "no_margin",
    "bad_levels",
    "venue_refused",
    "outage_waits",
    "over_capacity_fills",
    "stops_tightened",
)


def _trades(what: str, one: Trades, other: Trades) -> str | None:
    for place in range(min(len(one), len(other))):
        for name in Trades.__slots__:
            a, b = int(getattr(one, name)[place]), int(getattr(other, name)[place])
            if a != b:
                row = int(one.entry_row[place])
                return f"{what}[{place}].{name} (entered at row {row}): kernel {a}, event {b}"
    return None if len(one) == len(other) else f"{what}: kernel {len(one)}, event {len(other)}"
