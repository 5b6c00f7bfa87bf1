"""What is decided at a close in int64: the state machine's answer, and whether door and venue take the entry it asks for.

The twin of execution/planning.py, execution/rules.py (without the user's limits) and venue/rules.py for one entry with its levels.
"""

import numpy as np

from tradeagent.algos import levels, machine
from tradeagent.algos.levels import FIXED, NONE, UNKNOWN, carried, is_tighter, level_price, share, units_of
from tradeagent.algos.machine import CLOSE, ENTER_LONG, ENTER_SHORT, TIGHTEN, WITHDRAW, Memory, Rules, Standing, decide, may_buy_back
from tradeagent.domain.names import ExitReason
from tradeagent.research.kernel import fields as f
from tradeagent.research.kernel.fields import Table, argument
from tradeagent.research.kernel.money import FEE_UNIT, can_carry, equity, fee_of, initial_margin, maintenance, maintenance_of, slipped
from tradeagent.research.kernel.native import inlined, native, understood
from tradeagent.research.kernel.tape import FACTORS, FIRST_FACTOR, LEVELS_A_SIDE, Tape
from tradeagent.research.run import EXIT_REASONS

SIGNALLED = argument(EXIT_REASONS.index(ExitReason.SIGNAL))
FLIPPED = argument(EXIT_REASONS.index(ExitReason.FLIP))
BY_QUOTE, BY_EQUITY, BY_RISK, BY_SCALE, BY_LOTS = 0, 1, 2, 3, 4
LIMIT_ORDERS_ARE_LARGER = 10
FAR_BEYOND = 1.01

understood(levels.tick_of, levels.level_price, levels.trail_level, levels.is_tighter, levels.share, levels.carried, levels.units_of)
understood(machine.is_blocked, machine.still_waits, machine.may_enter, machine.may_buy_back)
understood(machine._taken_back, machine._while_open, machine.decide)


@inlined
def decide_leg(m: Table, tape: Tape, leg: int, code: int) -> None:
    """Ask the state machine of a leg at this close, and do what it says."""
    row = m[f.ROW]
    held = m[leg + f.SIZE]
    side = 0 if held == 0 else 1 if held > 0 else -1
    waiting = m[leg + f.ENTRY_SIDE] if m[leg + f.ENTRY_IS_BUY_BACK] == 0 else 0
    memory = Memory(m[leg + f.EXIT_ROW], m[leg + f.EXIT_SIDE], m[leg + f.EXIT_REASON], m[leg + f.WAITS])
    armed_long, armed_short = m[leg + f.ARMED_LONG], m[leg + f.ARMED_SHORT]
    rules = Rules(m[leg + f.TIMEOUT_MODE], m[leg + f.TIMEOUT_BARS], armed_long, armed_short, m[leg + f.TIGHTENS])
    actions, waits, ambiguous = decide(code, row, Standing(side, m[leg + f.CLOSE_WAITS], waiting), memory, rules)
    m[leg + f.WAITS] = waits
    m[f.AMBIGUOUS] += ambiguous
    entering = 1 if actions & ENTER_LONG != 0 else -1 if actions & ENTER_SHORT != 0 else 0
    if actions & WITHDRAW != 0:
        _withdraw(m, leg)
    if actions & CLOSE != 0 and abs(held) * m[leg + f.CLOSE] > m[leg + f.MOST_NOTIONAL]:
        m[f.REFUSED] += 1
        return
    if actions & CLOSE != 0:
        m[leg + f.CLOSE_WAITS] = 1
        m[leg + f.CLOSE_REASON] = FLIPPED if entering != 0 else SIGNALLED
        m[leg + f.CLOSE_SEQUENCE] = _next(m)
    if entering != 0:
        _withdraw(m, leg)
        m[leg + f.BUY_BACK_AT] = 0
        _enter(m, tape, leg, entering, f.AT_MARKET)
    elif actions & TIGHTEN != 0:
        _tighten(m, tape, leg, side)
    elif side == 0 and m[leg + f.EXIT_SIDE] != 0 and waiting == 0:
        _buy_back(m, tape, leg, may_buy_back(waits, row, memory, rules))


@inlined
def _next(m: Table) -> int:
    m[f.SEQUENCE] += 1
    return m[f.SEQUENCE]


@inlined
def _withdraw(m: Table, leg: int) -> None:
    m[leg + f.ENTRY_SIDE] = 0
    m[leg + f.ENTRY_RESTS] = 0


@native
def _tighten(m: Table, tape: Tape, leg: int, side: int) -> None:
    """Move the stop to where an entry at this close would have it, when that is tighter and the venue takes so large an order."""
    reach = _reach(m, tape, leg, side, f.STOP_REACH)
    stop = level_price(m[leg + f.CLOSE], -side, int(side > 0), reach, m[leg + f.DECIMALS])
    if reach[1] == UNKNOWN or not is_tighter(stop, m[leg + f.STOP], m[leg + f.CLOSE], side):
        return
    if abs(m[leg + f.SIZE]) * stop > m[leg + f.MOST_NOTIONAL]:
        m[f.REFUSED] += 1
        return
    m[leg + f.STOP] = stop
    m[f.TIGHTENED] += 1


@native
def _buy_back(m: Table, tape: Tape, leg: int, allowed: bool) -> None:
    """Keep the limit that re-enters where it belongs after this close; a trailing one follows the best price since the exit."""
    side = m[leg + f.EXIT_SIDE]
    base = f.LONG_LEVELS if side > 0 else f.SHORT_LEVELS
    if m[leg + base + f.BUY_BACK_REACH] == NONE:
        return
    if m[leg + base + f.BUY_BACK_TRAILS] != 0:
        is_exit_bar = m[leg + f.EXIT_ROW] == m[f.ROW]
        if side > 0:
            m[leg + f.BEST] = max(m[leg + f.BEST], m[leg + (f.CLOSE if is_exit_bar else f.HIGH)])
        else:
            m[leg + f.BEST] = min(m[leg + f.BEST], m[leg + (f.CLOSE if is_exit_bar else f.LOW)])
    reach = _reach(m, tape, leg, side, f.BUY_BACK_REACH)
    if not allowed or reach[1] < 0:
        return
    limit = level_price(m[leg + f.BEST], -side, int(side < 0), reach, m[leg + f.DECIMALS])
    if limit <= 0 or limit == m[leg + f.BUY_BACK_AT]:
        return
    _withdraw(m, leg)
    m[leg + f.BUY_BACK_AT] = limit
    _enter(m, tape, leg, side, limit)


@native
def _reach(m: Table, tape: Tape, leg: int, side: int, which: int) -> tuple[int, int]:
    """(kind, amount) of a level for an entry decided now; amount UNKNOWN where its series has no value."""
    at = (f.LONG_LEVELS if side > 0 else f.SHORT_LEVELS) + which
    kind, amount, index = m[leg + at], m[leg + at + 1], m[leg + at + 2]
    if index < 0:
        return kind, amount
    column = FIRST_FACTOR + which // f.LEVEL_COLUMNS + (0 if side > 0 else LEVELS_A_SIDE)
    row = m[f.ROW] - m[f.DELAY]
    value = tape.series[index * tape.rows + row] * tape.factors[(leg // f.WIDTH - 1) * FACTORS + column] if row >= 0 else np.nan
    return FIXED, units_of(value, which == f.BUY_BACK_REACH)


@native
def _enter(m: Table, tape: Tape, leg: int, side: int, limit: int) -> None:
    """Send an entry with its levels when door and venue would take it, else count why not; `limit` 0 is a market order."""
    basis = limit if limit != 0 else m[leg + f.CLOSE]
    stop_reach = _reach(m, tape, leg, side, f.STOP_REACH)
    target_reach = _reach(m, tape, leg, side, f.TARGET_REACH)
    trail = _reach(m, tape, leg, side, f.TRAIL_REACH)
    stop = level_price(basis, -side, int(side > 0), stop_reach, m[leg + f.DECIMALS]) if stop_reach[0] != NONE else 0
    target = level_price(basis, side, int(side < 0), target_reach, m[leg + f.DECIMALS]) if target_reach[0] != NONE else 0
    is_void = (stop_reach[0] != NONE and stop <= 0) or (target_reach[0] != NONE and target <= 0)
    if is_void or min(stop_reach[1], target_reach[1], trail[1]) == UNKNOWN:
        m[f.BAD_LEVEL] += 1
        return
    lots = _lots(m, tape, leg, basis, stop)
    is_wrong = _is_wrong(stop, stop_reach[0], (basis - stop) * side) or _is_wrong(target, target_reach[0], (target - basis) * side)
    if lots < 0 or (lots > m[leg + f.MOST_LOTS] and is_wrong):
        m[f.BAD_LEVEL] += 1
    elif lots > m[leg + f.MOST_LOTS]:
        _refuse_huge(m, leg, side * lots, basis, stop)
    elif lots * basis < m[leg + f.MIN_NOTIONAL] or lots == 0:
        m[f.BELOW_MINIMUM] += 1
    elif is_wrong or (stop != 0 and not _outlives_stop(m, leg, side * lots, basis, stop)):
        m[f.BAD_LEVEL] += 1
    elif not _is_free(m, leg, lots * basis):
        m[f.NO_MARGIN] += 1
    else:
        _send(m, leg, side * lots, limit, (stop, target), trail)


@native
def _refuse_huge(m: Table, leg: int, signed: int, basis: int, stop: int) -> None:
    """Refuse an entry whose money would leave int64, told in floats: its stop lies past liquidation, or it lacks margin by far.

    Where neither is sure the run cannot go on.
    """
    lots = float(abs(signed))
    at = f.TIERS
    while lots * stop < m[leg + at]:
        at += f.TIER_COLUMNS
    worth = equity(m) - lots * basis * m[f.TAKER] / FEE_UNIT + float(signed) * (stop - basis)
    if stop != 0 and worth * m[f.MAINTENANCE_UNIT] < lots * stop * m[leg + at + 1] - m[leg + at + 2]:
        m[f.BAD_LEVEL] += 1
    elif lots * basis > FAR_BEYOND * m[leg + f.LEVERAGE] * equity(m):
        m[f.NO_MARGIN] += 1
    else:
        m[f.OVERFLOW] = 1


@inlined
def _is_wrong(level: int, kind: int, distance: int) -> bool:
    return kind != NONE and (level <= 0 or distance <= 0)


@inlined
def _send(m: Table, leg: int, signed: int, limit: int, children: tuple[int, int], trail: tuple[int, int]) -> None:
    """The venue's own objections to the size and margin of an order when it is placed (venue/rules.py)."""
    side, lots, basis = (1 if signed > 0 else -1), abs(signed), limit if limit != 0 else m[leg + f.CLOSE]
    after = abs(m[leg + f.SIZE] + signed)
    is_too_far = 5 * abs(basis - m[leg + f.CLOSE]) > 4 * m[leg + f.CLOSE]
    is_too_large = is_too_far or lots * basis > m[leg + f.MOST_NOTIONAL] * (LIMIT_ORDERS_ARE_LARGER if limit != 0 else 1)
    if is_too_large or (after > abs(m[leg + f.SIZE]) and m[leg + f.LEVERAGE] > _leverage_at(m, leg, after * basis)):
        m[f.REFUSED] += 1
        return
    price = limit if limit != 0 else slipped(basis, side, m[f.SLIP])
    if not can_carry(m, leg, signed, price, basis, fee_of(lots * price, m[f.TAKER])):
        m[f.NO_MARGIN] += 1
        return
    m[leg + f.ENTRY_SIDE] = side
    m[leg + f.ENTRY_LOTS] = lots
    m[leg + f.ENTRY_PRICE] = limit
    m[leg + f.ENTRY_STOP] = children[0]
    m[leg + f.ENTRY_TARGET] = children[1]
    m[leg + f.ENTRY_TRAIL_KIND] = trail[0]
    m[leg + f.ENTRY_TRAIL_AMOUNT] = trail[1]
    m[leg + f.ENTRY_SEQUENCE] = _next(m)
    m[leg + f.ENTRY_IS_BUY_BACK] = int(limit != 0)
    m[leg + f.ENTRY_RESTS] = int(limit != 0 and (m[leg + f.CLOSE] - limit) * side > 0)


@native
def _leverage_at(m: Table, leg: int, notional: int) -> int:
    at = f.TIERS
    while notional < m[leg + at]:
        at += f.TIER_COLUMNS
    return m[leg + at + 3]


@inlined
def _lots(m: Table, tape: Tape, leg: int, basis: int, stop: int) -> int:
    """Size by the algo's sizing, rounded down; UNKNOWN when it needs a stop or a factor that is not there.

    A share of the equity is cut to what the account carries beside its other markets, unless no order that the venue takes fits there.
    """
    kind, value = m[leg + f.SIZING], m[leg + f.SIZING_VALUE]
    if kind == BY_LOTS:
        return value
    worth = max(0, equity(m))
    if kind == BY_QUOTE:
        return min(value, worth) // basis
    if kind == BY_RISK:
        distance = abs(basis - stop)
        if stop <= 0 or distance == 0:
            return UNKNOWN
        wanted = share(worth, value) // distance
    else:
        if kind == BY_SCALE:
            row = m[f.ROW] - m[f.DELAY]
            factor = tape.series[m[leg + f.SCALE] * tape.rows + row] if row >= 0 else np.nan
            if not factor >= 0:
                return UNKNOWN
            value = int(np.rint(value * min(factor, 1.0)))
        wanted = share(worth, value) // basis
    most = carried(max(0, _free(m, leg)) // m[f.MARGIN_UNIT], m[leg + f.LEVERAGE], m[f.TAKER]) // basis
    return wanted if most * basis < m[leg + f.MIN_NOTIONAL] else min(wanted, most)


@inlined
def _outlives_stop(m: Table, leg: int, signed: int, basis: int, stop: int) -> bool:
    """Whether the account that results is above maintenance margin at the stop (PROTECTION: a stop before the liquidation price)."""
    lots = abs(signed)
    worth = equity(m) - fee_of(lots * basis, m[f.TAKER]) + signed * (stop - basis)
    return worth * m[f.MAINTENANCE_UNIT] > maintenance(m, leg) + maintenance_of(m, leg, lots * stop)


@inlined
def _free(m: Table, leg: int) -> int:
    """What other markets and their resting entries leave free of the equity, over MARGIN_UNIT; below 0 when that is not enough."""
    own = abs(m[leg + f.SIZE]) * m[leg + f.MARK] * m[leg + f.MARGIN_FACTOR]
    free = max(0, equity(m) * m[f.MARGIN_UNIT] - (initial_margin(m) - own))
    for other in range(f.WIDTH, m[f.BEYOND], f.WIDTH):
        if m[other + f.ENTRY_SIDE] != 0:
            price = m[other + f.ENTRY_PRICE] if m[other + f.ENTRY_PRICE] != 0 else m[other + f.MARK]
            free -= m[other + f.ENTRY_LOTS] * price * m[other + f.MARGIN_FACTOR]
    return free


@inlined
def _is_free(m: Table, leg: int, notional: int) -> bool:
    """The MARGIN rule: initial margin and taker fee of a new position within what is free, its own market counted as closed."""
    unit = m[f.MARGIN_UNIT]
    whole = notional // FEE_UNIT
    rest = (notional - whole * FEE_UNIT) * m[f.TAKER]
    exact = whole * m[f.TAKER] + rest // FEE_UNIT
    partly = -(-(rest % FEE_UNIT) * unit // FEE_UNIT)
    return notional * m[leg + f.MARGIN_FACTOR] + exact * unit + partly <= _free(m, leg)
