"""The state machine of an algorithm, cash → long | short → timeout → cash, in plain integers (research.md §2).

The backtest kernel compiles these functions, the event path and an algo run call them as they are, so all three decide alike. Nothing
here knows prices: levels inside a bar belong to the venue, and what was decided at a close acts at the next open.

`decide` is called at the close of every bar from the first one that may trade, but not at the last bar, whose orders could never fill.
What a position exit leaves behind is a `Memory`: `left` makes it, `decide` returns whether the machine still waits in its timeout.
"""

from typing import NamedTuple

FIRE_LONG, FIRE_SHORT, EXIT_LONG, EXIT_SHORT, HOLDS_LONG, HOLDS_SHORT = 1, 2, 4, 8, 16, 32
BOTH_FIRE = FIRE_LONG | FIRE_SHORT

CLOSE, ENTER_LONG, ENTER_SHORT, WITHDRAW, TIGHTEN = 1, 2, 4, 8, 16

COOLDOWN_ONLY, REGULAR, STRICT = 0, 1, 2
NEVER = -1


class Rules(NamedTuple):
    """What does not change during a run. `armed_*` index `run.EXIT_REASONS` and are NEVER (-1) for an entry that any exit allows.

    `tightens` has the FIRE flags that tighten the stop while a position of their side is open.
    """

    timeout_mode: int
    timeout_bars: int
    armed_long: int
    armed_short: int
    tightens: int = 0


class Memory(NamedTuple):
    """The last exit: the row it filled in (-1: none yet), the side that was held, its reason, and whether the timeout still runs."""

    exit_row: int = -1
    exit_side: int = 0
    exit_reason: int = -1
    waits: int = 0


class Standing(NamedTuple):
    """What stands at a close: side held (+1, -1, 0), whether a market close waits for an open, side of a waiting market entry (or 0).

    Orders wait longer than until the next open only in an outage. A resting buy-back limit is no waiting entry.
    """

    held: int
    close_waits: int = 0
    entry_waits: int = 0


def left(row: int, side: int, reason: int) -> Memory:
    """The memory after a position of `side` was closed in `row` for `reason`."""
    return Memory(row, side, reason, 1)


def decide(code: int, row: int, standing: Standing, memory: Memory, rules: Rules) -> tuple[int, int, int]:
    """(actions, whether the timeout still runs, whether both sides fired) at the close of `row` whose `Code` is `code`.

    Actions are flags: CLOSE the position, WITHDRAW the waiting entry, ENTER_LONG, ENTER_SHORT; they are carried out in that order.
    CLOSE with an ENTER is a flip, whose exit reason is `flip`, otherwise the reason of a CLOSE is `signal`. A flip asks for no timeout,
    and an entry that has to be armed never flips, because the exit before it would be the flip itself. A same-side signal while a
    position is open comes alone as TIGHTEN: the stop moves to where an entry made now would have it, if that is tighter. An exit signal
    takes back the entry of its side that waits, as it would close the position.
    """
    waits = still_waits(code, row, memory, rules)
    if standing.held != 0:
        actions, is_ambiguous = _while_open(code, standing, rules)
        return actions, waits, is_ambiguous
    taken_back = _taken_back(code, standing.entry_waits)
    if is_blocked(row, memory, rules):
        return taken_back, waits, 0
    fired = code & BOTH_FIRE
    if fired == 0:
        return taken_back, waits, 0
    if fired == BOTH_FIRE:
        return taken_back, waits, 1
    side = 1 if fired == FIRE_LONG else -1
    if side == standing.entry_waits or not may_enter(side, waits, memory, rules):
        return taken_back, waits, 0
    withdrawn = WITHDRAW if standing.entry_waits != 0 else 0
    return withdrawn | (ENTER_LONG if side > 0 else ENTER_SHORT), waits, 0


def _while_open(code: int, standing: Standing, rules: Rules) -> tuple[int, int]:
    """Actions with a position, and whether both sides fired."""
    held = standing.held
    exits = code & (EXIT_LONG if held > 0 else EXIT_SHORT)
    fired = code & BOTH_FIRE
    close = CLOSE if standing.close_waits == 0 else 0
    taken_back = _taken_back(code, standing.entry_waits)
    if fired == BOTH_FIRE:
        return taken_back | (close if exits != 0 else 0), 1
    against = FIRE_SHORT if held > 0 else FIRE_LONG
    if fired == against and (rules.armed_short if held > 0 else rules.armed_long) == NEVER:
        if standing.entry_waits != 0:
            return 0, 0
        return close | (ENTER_SHORT if held > 0 else ENTER_LONG), 0
    withdrawn = WITHDRAW if fired != 0 and standing.entry_waits != 0 else taken_back
    if exits != 0:
        return withdrawn | close, 0
    again = fired & rules.tightens & (FIRE_LONG if held > 0 else FIRE_SHORT)
    is_settled = standing.close_waits == 0 and standing.entry_waits == 0
    return withdrawn | (TIGHTEN if again != 0 and is_settled else 0), 0


def _taken_back(code: int, entry_waits: int) -> int:
    """WITHDRAW when the exit of the side of a waiting entry is signalled, unless its entry alone fires again: that one would wait too."""
    again, exits = (FIRE_LONG, EXIT_LONG) if entry_waits > 0 else (FIRE_SHORT, EXIT_SHORT)
    return WITHDRAW if entry_waits != 0 and code & exits != 0 and code & BOTH_FIRE != again else 0


def is_blocked(row: int, memory: Memory, rules: Rules) -> bool:
    """Whether the bars of the timeout have not passed yet: `bars` = 0 leaves at the close of the exit's own bar."""
    return memory.waits != 0 and row - memory.exit_row < rules.timeout_bars


def still_waits(code: int, row: int, memory: Memory, rules: Rules) -> int:
    """1 while the timeout runs at the close of `row`: its bars, then until the same-side entry (regular) or both (strict) are false."""
    if memory.waits == 0:
        return 0
    if is_blocked(row, memory, rules):
        return 1
    if rules.timeout_mode == COOLDOWN_ONLY:
        return 0
    if rules.timeout_mode == STRICT:
        return 1 if code & (HOLDS_LONG | HOLDS_SHORT) != 0 else 0
    return 1 if code & (HOLDS_LONG if memory.exit_side > 0 else HOLDS_SHORT) != 0 else 0


def may_enter(side: int, waits: int, memory: Memory, rules: Rules) -> bool:
    """Whether an entry of `side` is open to the machine in cash: its timeout over (regular lets the other side in), and armed."""
    if waits != 0 and (rules.timeout_mode == STRICT or side == memory.exit_side):
        return False
    armed = rules.armed_long if side > 0 else rules.armed_short
    return armed in (NEVER, memory.exit_reason)


def may_buy_back(waits: int, row: int, memory: Memory, rules: Rules) -> bool:
    """Whether the buy-back limit of the side that was left may rest after the close of `row`."""
    if memory.exit_side == 0 or is_blocked(row, memory, rules):
        return False
    return may_enter(memory.exit_side, waits, memory, rules)
