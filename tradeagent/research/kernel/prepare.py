"""From legs and terms to the arrays of a pass: everything is checked here, so that the compiled code never meets a wrong value."""

from collections.abc import Sequence
from decimal import Decimal
from math import lcm

import numpy as np
import numpy.typing as npt

from tradeagent.algos.bars import Floats, Ints, Number, read_only
from tradeagent.algos.levels import Reach, Reaches, reaches_of, scaled, tightening
from tradeagent.algos.machine import COOLDOWN_ONLY, NEVER, REGULAR, STRICT
from tradeagent.algos.spec import AlgoSpec, SideRules, SizingKind, TimeoutMode
from tradeagent.domain.errors import InvalidConfig, InvalidInput
from tradeagent.domain.instrument import Instrument
from tradeagent.research.kernel import fields as f
from tradeagent.research.kernel.entries import BY_EQUITY, BY_LOTS, BY_QUOTE, BY_RISK, BY_SCALE
from tradeagent.research.kernel.tape import (
    FACTORS,
    FIRST_FACTOR,
    HIGHEST_RATE,
    LEVELS_A_SIDE,
    PRICE_SCALE,
    PRICE_UNIT,
    SIZE_SCALE,
    Tape,
)
from tradeagent.research.kernel.track import track_of
from tradeagent.research.run import EXIT_REASONS, Leg, Terms
from tradeagent.venue.state import MarketSpec

MONEY_LIMIT = 10**15
PRODUCT_LIMIT = 2**62
MODES = {TimeoutMode.COOLDOWN_ONLY: COOLDOWN_ONLY, TimeoutMode.REGULAR: REGULAR, TimeoutMode.STRICT: STRICT}
SIZINGS = {
    SizingKind.ABS: (BY_QUOTE, 6),
    SizingKind.PCT_OF_EQUITY: (BY_EQUITY, 6),
    SizingKind.RISK_PCT: (BY_RISK, 6),
    SizingKind.DYNAMIC: (BY_SCALE, 6),
}


class Shelf:
    """Float series of the levels, each kept once."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.series: list[Floats] = []

    def put(self, series: Floats, what: str) -> int:
        """The place of a series. Raises InvalidInput when it is not as long as the bars."""
        for place, known in enumerate(self.series):
            if known is series:
                return place
        if len(series) != self.rows:
            raise InvalidInput(f"{what}: {len(series)} values for {self.rows} bars", hint="compute it on the same bars")
        self.series.append(series)
        return len(self.series) - 1


def prepared(legs: Sequence[Leg], terms: Terms) -> tuple[Tape, Ints]:
    """Tape and memory of a pass. Raises InvalidInput or InvalidConfig naming the leg and field that cannot be simulated."""
    _check_clock(legs)
    tracks = [track_of(leg) for leg in legs]
    rows = len(legs[0].bars)
    by_name = sorted(range(len(legs)), key=lambda place: legs[place].instrument.symbol)
    shelf = Shelf(rows)
    beyond = len(legs) + 1
    memory = np.zeros((beyond + f.TRIPS_A_BAR * len(legs), f.WIDTH), np.int64)
    memory[0, f.BEYOND] = beyond * f.WIDTH
    factors = np.zeros((len(legs), FACTORS))
    paying = 0
    for row, place in enumerate(by_name, start=1):
        leg = legs[place]
        memory[row, f.LEG] = place
        memory[place + 1, f.DECIDES] = row * f.WIDTH
        memory[row, f.NEXT_FUNDING] = paying
        paying += len(tracks[place].due)
        _fill_leg(memory[row], factors[row - 1], leg, terms, shelf)
    ordered = [legs[place] for place in by_name]
    _fill_account(memory, ordered, terms, rows)
    for row, place in enumerate(by_name, start=1):
        highest = tracks[place].highest * factors[row - 1, PRICE_SCALE]
        memory[row, f.MOST_LOTS] = memory[0, f.MONEY_LIMIT] // max(1, round(highest))
    bars = [leg.bars for leg in ordered]
    tape = Tape(
        rows,
        _stacked([each.open for each in bars]),
        _stacked([each.high for each in bars]),
        _stacked([each.low for each in bars]),
        _stacked([each.close for each in bars]),
        _stacked([each.volume for each in bars]),
        _stacked([np.asarray(leg.signals.codes, np.uint8) for leg in ordered]),
        _stacked(shelf.series or [np.zeros(1)]),
        read_only(factors.ravel()),
        _stacked([tracks[place].due for place in by_name]),
        _stacked([tracks[place].paid for place in by_name]),
    )
    return tape, memory


def _check_clock(legs: Sequence[Leg]) -> None:
    if not legs:
        raise InvalidInput("legs: there is nothing to simulate", hint="give at least one market with its signals")
    first = legs[0].bars
    if not len(first):
        raise InvalidInput(f"{first.market}: no bars in this range", hint="widen the range, or import bars")
    for leg in legs[1:]:
        if leg.bars.interval_ms != first.interval_ms or not np.array_equal(leg.bars.time, first.time):
            raise InvalidInput(
                f"legs: the bars of {leg.instrument.symbol} and {legs[0].instrument.symbol} do not open at the same instants",
                hint="give every leg the bars of the span that they share",
            )
    if len({leg.instrument.symbol for leg in legs}) < len(legs):
        raise InvalidInput("legs: one market is given twice", hint="an account has one position a market; join the algos or drop one")


def _fill_leg(memory: Ints, factors: Floats, leg: Leg, terms: Terms, shelf: Shelf) -> None:
    known, spec, name = leg.instrument, leg.spec, leg.instrument.symbol
    if len(leg.signals.codes) != len(leg.bars):
        raise InvalidInput(f"{name}: {len(leg.signals.codes)} signal codes for {len(leg.bars)} bars", hint="compute them on the same bars")
    leverage = spec.leverage if terms.leverage is None else terms.leverage
    if not 1 <= leverage <= known.max_leverage:
        raise InvalidConfig(f"leverage: {leverage} is not from 1 to {known.max_leverage}, which {name} allows", hint="lower it")
    memory[f.EXIT_ROW] = -1
    memory[f.EXIT_REASON] = -1
    memory[f.TARGET_HOLD] = -1
    memory[f.DECIMALS] = known.price_decimals
    memory[f.LEVERAGE] = leverage
    market = MarketSpec.of(known)
    memory[f.MIN_NOTIONAL] = market.min_notional
    memory[f.MOST_NOTIONAL] = market.max_market_notional
    factors[PRICE_SCALE] = 10.0**known.price_decimals
    factors[PRICE_UNIT] = 1.0 / factors[PRICE_SCALE]
    factors[SIZE_SCALE] = 10.0**known.size_decimals
    factors[HIGHEST_RATE] = 0.5 / min(tier.max_leverage for tier in known.tiers)
    _fill_sizing(memory, leg, terms, shelf)
    _fill_rules(memory, spec)
    memory[f.TIGHTENS] = tightening(spec, leg.signals)
    for side, start, level, rules in (
        ("long", f.LONG_LEVELS, leg.signals.long, spec.long),
        ("short", f.SHORT_LEVELS, leg.signals.short, spec.short),
    ):
        first = FIRST_FACTOR + (LEVELS_A_SIDE if side == "short" else 0)
        _fill_levels(memory[start:], factors[first:], reaches_of(level, known, f"{name} {side}"), shelf)
        memory[start + f.BUY_BACK_TRAILS] = int(rules is not None and rules.entry.buy_back is not None and rules.entry.buy_back.trailing)


def _fill_sizing(memory: Ints, leg: Leg, terms: Terms, shelf: Shelf) -> None:
    known, sizing, name = leg.instrument, leg.spec.sizing, leg.instrument.symbol
    if terms.fill_qty is not None:
        lots = terms.fill_qty.scaleb(known.size_decimals) if terms.fill_qty.is_finite() else Decimal(0)
        if lots <= 0 or lots != int(lots):
            raise InvalidInput(
                f"fill_qty: {terms.fill_qty} is not a positive multiple of {known.lot:f} {name}", hint="round it to the step of the market"
            )
        memory[f.SIZING], memory[f.SIZING_VALUE] = BY_LOTS, _held("fill_qty", int(lots))
        return
    if not sizing.value.is_finite() or sizing.value <= 0:
        raise InvalidConfig(f"sizing: {sizing.value} is not a positive number", hint="write a number above 0")
    kind, places = SIZINGS[sizing.kind]
    memory[f.SIZING], memory[f.SIZING_VALUE] = kind, _held("sizing", scaled(sizing.value, places))
    if kind == BY_SCALE:
        if leg.signals.scale is None:
            raise InvalidConfig(f"sizing: {name} has no values of {sizing.by or 'an indicator'}", hint="name an indicator in sizing.by")
        memory[f.SCALE] = shelf.put(leg.signals.scale, f"{name} sizing")


def _held(field: str, value: int) -> int:
    if value > MONEY_LIMIT:
        raise InvalidInput(f"{field}: it is above what a backtest can hold (10^9 USDC)", hint="make it smaller")
    return value


def _fill_rules(memory: Ints, spec: AlgoSpec) -> None:
    if spec.timeout.bars < 0:
        raise InvalidConfig(f"timeout.bars: {spec.timeout.bars} is negative", hint="write 0 or more")
    memory[f.TIMEOUT_MODE] = MODES[spec.timeout.mode]
    memory[f.TIMEOUT_BARS] = spec.timeout.bars
    memory[f.ARMED_LONG] = _armed(spec.long)
    memory[f.ARMED_SHORT] = _armed(spec.short)


def _armed(side: SideRules | None) -> int:
    return NEVER if side is None or side.entry.armed_by is None else EXIT_REASONS.index(side.entry.armed_by)


def _fill_levels(memory: Ints, factors: Floats, reaches: Reaches, shelf: Shelf) -> None:
    for place, reach in enumerate((reaches.stop, reaches.target, reaches.trailing, reaches.buy_back)):
        at = place * f.LEVEL_COLUMNS
        memory[at : at + f.LEVEL_COLUMNS] = reach.kind, reach.amount, _place(reach, shelf)
        factors[place] = reach.factor


def _place(reach: Reach, shelf: Shelf) -> int:
    return -1 if reach.series is None else shelf.put(reach.series, "level series")


def _fill_account(memory: Ints, legs: Sequence[Leg], terms: Terms, rows: int) -> None:
    account = memory[0]
    cash = int(terms.cash.scaleb(6)) if terms.cash.is_finite() else 0
    if not 0 < cash <= MONEY_LIMIT:
        raise InvalidInput(f"cash: {terms.cash} is not from 0.000001 to 10^9 USDC", hint="write the starting capital in USDC")
    if terms.delay_bars < 0 or not terms.first_row >= 0:
        raise InvalidInput(f"delay_bars {terms.delay_bars}, first_row {terms.first_row}: both are 0 or more", hint="count in bars")
    slip = int(terms.slippage_bps * 10) if terms.slippage_bps.is_finite() else -1
    if not 0 <= slip < 10**5:
        raise InvalidInput(f"slippage_bps: {terms.slippage_bps} is not from 0 to 9999", hint="2 is the default")
    account[f.CASH] = cash
    account[f.TAKER], account[f.MAKER] = (_fee_rate(rate) for rate in (terms.fees.taker, terms.fees.maker))
    account[f.SLIP] = slip
    account[f.NEAREST] = int(terms.path == "nearest")
    account[f.FILL_NO_VOLUME] = int(terms.fill_no_volume)
    account[f.DELAY] = min(terms.delay_bars, rows)
    account[f.CLOSE_AT_END] = int(terms.close_at_end)
    account[f.ROW] = min(rows, max(terms.first_row, terms.delay_bars))
    _fill_margin(memory, [leg.instrument for leg in legs])


def _fee_rate(rate: Decimal) -> int:
    if not rate.is_finite() or abs(rate) > Decimal("0.1"):
        raise InvalidInput(f"fees: {rate} is not a fraction of the notional up to 0.1", hint="0.00045 is 0.045 %")
    return int(rate.scaleb(8))


def _fill_margin(memory: Ints, instruments: Sequence[Instrument]) -> None:
    """Tiers from the highest down over one common denominator, and the money limit under which no product leaves int64."""
    unit = lcm(*(2 * tier.max_leverage for known in instruments for tier in known.tiers))
    rows = memory[1 : len(instruments) + 1]
    shared = lcm(*(int(leverage) for leverage in rows[:, f.LEVERAGE]))
    rows[:, f.MARGIN_FACTOR] = shared // rows[:, f.LEVERAGE]
    memory[0, f.MAINTENANCE_UNIT], memory[0, f.MARGIN_UNIT] = unit, shared
    limit = min(MONEY_LIMIT, PRODUCT_LIMIT // (4 * unit * len(instruments)), PRODUCT_LIMIT // (4 * shared * len(instruments)))
    if limit < 10**12:
        raise InvalidInput("legs: their margin tiers have no small common denominator", hint="simulate fewer markets in one account")
    memory[0, f.MONEY_LIMIT] = limit
    for row, known in zip(rows, instruments, strict=True):
        if len(known.tiers) > f.MOST_TIERS:
            raise InvalidInput(f"{known.symbol}: {len(known.tiers)} margin tiers, at most {f.MOST_TIERS}", hint="merge tiers")
        table: list[tuple[int, int, int, int]] = []
        for tier in known.tiers:
            bound, rate = int(tier.lower_bound.scaleb(6)), unit // (2 * tier.max_leverage)
            deduction = table[-1][2] + bound * (rate - table[-1][1]) if table else 0
            table.append((bound, rate, deduction, tier.max_leverage))
        for place, columns in enumerate(reversed(table)):
            at = f.TIERS + place * f.TIER_COLUMNS
            row[at : at + f.TIER_COLUMNS] = columns


def _stacked(columns: Sequence[npt.NDArray[Number]]) -> npt.NDArray[Number]:
    return read_only(columns[0] if len(columns) == 1 else np.concatenate(columns))
