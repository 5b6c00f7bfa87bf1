"""The bar semantics of execution.md §7 in int64: what happens at an open and along a bar's path; the compiled twin of venue/bars.py."""

from tradeagent.algos import levels
from tradeagent.domain.names import ExitReason
from tradeagent.research.kernel import fields as f
from tradeagent.research.kernel.fields import Table, argument
from tradeagent.research.kernel.liquidation import first_breach, liquidate
from tradeagent.research.kernel.money import can_carry, equity, fee_of, slipped
from tradeagent.research.kernel.native import inlined, native
from tradeagent.research.kernel.trips import fill, see
from tradeagent.research.run import EXIT_REASONS

NOTHING, BY_STOP, BY_TARGET, BY_ENTRY = (argument(kind) for kind in range(4))
STOP_REASON = argument(EXIT_REASONS.index(ExitReason.STOP))
TRAILED_REASON = argument(EXIT_REASONS.index(ExitReason.TRAILING_STOP))
TARGET_REASON = argument(EXIT_REASONS.index(ExitReason.TARGET))
LAST = 2**62
THOUSAND = 1000
NEARLY_A_MILLION = 1_000_001.0

trail_level = native(levels.trail_level)
tick_of = native(levels.tick_of)


@native
def play_open(m: Table) -> None:
    """Levels the open has passed, then waiting orders in the order they came; funding was paid and the marks are the opens."""
    legs = m[f.BEYOND]
    is_held, is_live = False, False
    for leg in range(f.WIDTH, legs, f.WIDTH):
        waits = m[leg + f.CLOSE_WAITS] != 0 or m[leg + f.ENTRY_SIDE] != 0
        is_held |= m[leg + f.SIZE] != 0
        is_live |= waits or m[leg + f.SIZE] != 0
        if m[leg + f.IS_TRADING] == 0 and waits and m[leg + f.ENTRY_RESTS] == 0:
            m[f.OUTAGE_WAITS] += 1
    if is_held:
        liquidate(m)
    if not is_live:
        return
    for leg in range(f.WIDTH, legs, f.WIDTH):
        if m[leg + f.IS_TRADING] != 0:
            _execute_gapped(m, leg)
    for leg in range(f.WIDTH, legs, f.WIDTH):
        if m[leg + f.IS_TRADING] != 0:
            ratchet(m, leg)
    _fill_waiting(m)


@native
def _execute_gapped(m: Table, leg: int) -> None:
    while True:
        kind = _reached(m, leg)
        if kind == NOTHING:
            return
        _execute(m, leg, kind)


@native
def _reached(m: Table, leg: int) -> int:
    """The first order in rank whose level the mark has reached."""
    kind, price = _next_on_leg(m, leg, m[leg + f.MARK])
    return kind if price == m[leg + f.MARK] else NOTHING


@native
def _fill_waiting(m: Table) -> None:
    """Market orders and marketable limits at the open ± slippage, oldest first over all legs."""
    done = -1
    while True:
        first, at, is_close = LAST, f.NOBODY, False
        for leg in range(f.WIDTH, m[f.BEYOND], f.WIDTH):
            if m[leg + f.IS_TRADING] == 0:
                continue
            if m[leg + f.CLOSE_WAITS] != 0 and done < m[leg + f.CLOSE_SEQUENCE] < first:
                first, at, is_close = m[leg + f.CLOSE_SEQUENCE], leg, True
            if m[leg + f.ENTRY_SIDE] != 0 and m[leg + f.ENTRY_RESTS] == 0 and done < m[leg + f.ENTRY_SEQUENCE] < first:
                first, at, is_close = m[leg + f.ENTRY_SEQUENCE], leg, False
        if at == 0:
            return
        done = first
        if is_close:
            close_all(m, at, m[at + f.CLOSE_REASON])
        else:
            _take_entry(m, at)


@native
def close_all(m: Table, leg: int, reason: int) -> None:
    """Close the whole position as taker at the mark ± slippage."""
    size, mark = m[leg + f.SIZE], m[leg + f.MARK]
    price = slipped(mark, -1 if size > 0 else 1, m[f.SLIP])
    fill(m, leg, -size, price, mark, m[f.TAKER], reason)


@native
def _take_entry(m: Table, leg: int) -> None:
    """A waiting entry at its open: as taker at the mark ± slippage, no worse than its limit; a limit that is not marketable rests."""
    side, limit, mark = m[leg + f.ENTRY_SIDE], m[leg + f.ENTRY_PRICE], m[leg + f.MARK]
    price = slipped(mark, side, m[f.SLIP])
    if limit != 0:
        if (mark - limit) * side > 0:
            m[leg + f.ENTRY_RESTS] = 1
            return
        price = min(price, limit) if side > 0 else max(price, limit)
    _enter(m, leg, price, f.NO)


@native
def _enter(m: Table, leg: int, price: int, is_maker: int) -> None:
    """Fill the entry when the account can carry it, then its levels go live; a stop already passed executes at once.

    A target of an entry that filled on the path counts from the next bar.
    """
    side, lots, mark = m[leg + f.ENTRY_SIDE], m[leg + f.ENTRY_LOTS], m[leg + f.MARK]
    rate = m[f.MAKER] if is_maker != 0 else m[f.TAKER]
    m[leg + f.ENTRY_SIDE] = 0
    m[leg + f.ENTRY_RESTS] = 0
    if not can_carry(m, leg, side * lots, price, mark, fee_of(lots * price, rate)):
        m[f.NO_MARGIN] += 1
        return
    fill(m, leg, side * lots, price, price if is_maker != 0 else mark, rate, f.ENTRY)
    m[leg + f.STOP] = m[leg + f.ENTRY_STOP]
    m[leg + f.TARGET] = m[leg + f.ENTRY_TARGET]
    m[leg + f.TARGET_HOLD] = m[f.ROW] if m[f.WALKS] != 0 else -1
    m[leg + f.TRAIL_KIND] = m[leg + f.ENTRY_TRAIL_KIND]
    m[leg + f.TRAIL_AMOUNT] = m[leg + f.ENTRY_TRAIL_AMOUNT]
    m[leg + f.TRAILED] = 0
    m[leg + f.TRIP_IS_LATE] = m[f.WALKS]
    ratchet(m, leg)
    kind = _reached(m, leg)
    if kind != NOTHING:
        _leave(m, leg, kind)


@native
def ratchet(m: Table, leg: int) -> None:
    """At a path point: let the trailing stop follow the mark; it only tightens."""
    kind = m[leg + f.TRAIL_KIND]
    if kind == 0 or m[leg + f.SIZE] == 0:
        return
    direction = 1 if m[leg + f.SIZE] > 0 else -1
    level = trail_level(m[leg + f.MARK], direction, (kind, m[leg + f.TRAIL_AMOUNT]))
    if level > 0 and (level - m[leg + f.STOP]) * direction > 0:
        m[leg + f.STOP] = level
        m[leg + f.TRAILED] = 1


@native
def play_path(m: Table) -> None:
    """Three legs of the bar; several markets reach their adverse extremes together. What is still held has seen the whole bar."""
    movers = _choose_movers(m)
    if movers == 0 or (movers == 1 and _is_calm(m)):
        return
    m[f.WALKS] = 1
    for point in range(3):
        for leg in range(f.WIDTH, m[f.BEYOND], f.WIDTH):
            moves = m[leg + f.IS_MOVING]
            if moves == 0:
                continue
            end = m[leg + f.CLOSE]
            if point < 2:
                end = m[leg + f.LOW] if (moves == 2) == (point == 0) else m[leg + f.HIGH]
            _walk(m, leg, end)
        if movers > 1:
            liquidate(m)
        for leg in range(f.WIDTH, m[f.BEYOND], f.WIDTH):
            if m[leg + f.IS_MOVING] != 0:
                ratchet(m, leg)
    m[f.WALKS] = 0


@inlined
def _choose_movers(m: Table) -> int:
    """How many legs have something at stake on this bar; each is told whether its low (2) or its high (1) comes first."""
    movers = 0
    for leg in range(f.WIDTH, m[f.BEYOND], f.WIDTH):
        rests = m[leg + f.ENTRY_SIDE] != 0 and m[leg + f.ENTRY_RESTS] != 0
        m[leg + f.IS_MOVING] = 0
        if m[leg + f.IS_TRADING] != 0 and (m[leg + f.SIZE] != 0 or rests):
            m[leg + f.IS_MOVING] = 2 if _is_low_first(m, leg) else 1
            movers += 1
    return movers


@inlined
def _is_calm(m: Table) -> bool:
    """Whether the one leg that moves reaches no level on this bar and stays above maintenance margin at its worst."""
    for leg in range(f.WIDTH, m[f.BEYOND], f.WIDTH):
        if m[leg + f.IS_MOVING] == 0:
            continue
        size, stop, target = m[leg + f.SIZE], m[leg + f.STOP], m[leg + f.TARGET]
        if size == 0 or m[leg + f.TRAIL_KIND] != 0:
            return False
        worst, best = (m[leg + f.LOW], m[leg + f.HIGH]) if size > 0 else (m[leg + f.HIGH], m[leg + f.LOW])
        side = 1 if size > 0 else -1
        if (stop != 0 and (worst - stop) * side <= 0) or (target != 0 and (best - target) * side >= 0):
            return False
        return first_breach(m, leg, worst) < 0
    return True


@inlined
def play_close(m: Table) -> int:
    """Mark at the closes, let the bar's extremes be seen by what was held through it, and return the equity."""
    notional = 0
    for leg in range(f.WIDTH, m[f.BEYOND], f.WIDTH):
        m[leg + f.MARK] = m[leg + f.CLOSE]
        if m[leg + f.SIZE] == 0:
            continue
        notional += abs(m[leg + f.SIZE]) * m[leg + f.CLOSE]
        if m[leg + f.TRIP_IS_LATE] == 0:
            see(m, leg, m[leg + f.LOW])
            see(m, leg, m[leg + f.HIGH])
        m[leg + f.TRIP_IS_LATE] = 0
    worth = equity(m)
    if notional != 0:
        m[f.EXPOSED] += 1
        note_leverage(m, notional, worth)
    return worth


@native
def note_leverage(m: Table, notional: int, worth: int) -> None:
    """Keep the highest leverage, in 10⁻⁶ rounded down; the division is done only where a float says that it may be a new one."""
    if worth <= 0 or notional * NEARLY_A_MILLION <= float(m[f.MAX_LEVERAGE]) * worth:
        return
    whole = notional // worth
    rest = (notional - whole * worth) * THOUSAND
    thousandths = rest // worth
    rest = (rest - thousandths * worth) * THOUSAND
    m[f.MAX_LEVERAGE] = max(m[f.MAX_LEVERAGE], (whole * THOUSAND + thousandths) * THOUSAND + rest // worth)


@inlined
def _is_low_first(m: Table, leg: int) -> bool:
    """Whether the low hurts first (adverse), or is nearer to the open (nearest)."""
    below, above = m[leg + f.OPEN] - m[leg + f.LOW], m[leg + f.HIGH] - m[leg + f.OPEN]
    if m[f.NEAREST] != 0 and below != above:
        return below < above
    side = m[leg + f.SIZE] if m[leg + f.SIZE] != 0 else m[leg + f.ENTRY_SIDE]
    return side > 0


@native
def _walk(m: Table, leg: int, end: int) -> None:
    """Move the mark of one leg to `end`, executing what it reaches, nearest first; liquidation before anything at the same price.

    While only this leg moves with a position, liquidation starts at the exact price; otherwise it is judged at the path points.
    """
    while True:
        start = m[leg + f.MARK]
        kind, price = _next_on_leg(m, leg, end)
        if m[leg + f.SIZE] != 0 and _moves_alone(m, leg):
            breach = first_breach(m, leg, end)
            if breach >= 0 and abs(breach - start) <= abs(price - start):
                m[leg + f.MARK] = breach
                liquidate(m)
                continue
        m[leg + f.MARK] = price
        if kind == NOTHING:
            if m[leg + f.SIZE] != 0 and m[leg + f.TRIP_IS_LATE] != 0:
                see(m, leg, price)
            return
        _execute(m, leg, kind)


@native
def _moves_alone(m: Table, leg: int) -> bool:
    others = 0
    for other in range(f.WIDTH, m[f.BEYOND], f.WIDTH):
        if other != leg and m[other + f.IS_MOVING] != 0 and m[other + f.SIZE] != 0:
            others += 1
    return others == 0


@native
def _next_on_leg(m: Table, leg: int, end: int) -> tuple[int, int]:
    """(kind, price) of the order whose level comes first between the mark and `end`; (NOTHING, end) when none does."""
    start, kind, price = m[leg + f.MARK], NOTHING, end
    best = LAST
    if m[leg + f.SIZE] != 0:
        is_long = m[leg + f.SIZE] > 0
        if m[leg + f.STOP] != 0:
            at = min(start, m[leg + f.STOP]) if is_long else max(start, m[leg + f.STOP])
            if min(start, end) <= at <= max(start, end):
                kind, price, best = BY_STOP, at, abs(at - start)
        if m[leg + f.TARGET] != 0 and m[leg + f.TARGET_HOLD] != m[f.ROW]:
            at = max(start, m[leg + f.TARGET]) if is_long else min(start, m[leg + f.TARGET])
            if min(start, end) <= at <= max(start, end) and abs(at - start) < best:
                kind, price, best = BY_TARGET, at, abs(at - start)
    elif m[leg + f.ENTRY_SIDE] != 0 and m[leg + f.ENTRY_RESTS] != 0:
        side, limit = m[leg + f.ENTRY_SIDE], m[leg + f.ENTRY_PRICE]
        level = limit - side * tick_of(limit, m[leg + f.DECIMALS])
        at = min(start, level) if side > 0 else max(start, level)
        if min(start, end) <= at <= max(start, end):
            kind, price = BY_ENTRY, at
    return kind, price


@native
def _execute(m: Table, leg: int, kind: int) -> None:
    """Execute what the mark has reached: a resting limit as maker at its own price, a trigger as taker from the mark."""
    if kind == BY_ENTRY:
        _enter(m, leg, m[leg + f.ENTRY_PRICE], f.YES)
    else:
        _leave(m, leg, kind)


@native
def _leave(m: Table, leg: int, kind: int) -> None:
    if kind == BY_TARGET:
        close_all(m, leg, TARGET_REASON)
    else:
        close_all(m, leg, TRAILED_REASON if m[leg + f.TRAILED] != 0 else STOP_REASON)
