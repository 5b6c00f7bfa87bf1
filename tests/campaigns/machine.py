"""Campaign: a long random walk over the rules of the stateful property machine, with its invariants after every step.

The rules and invariants are those of `tests/execution/test_machine.py`; Hypothesis finds and shrinks histories there, here a seeded walk
goes far more steps. The walk is cut into worlds, so that a violation is reproduced by its seed and world alone.
"""

import random
import traceback
from collections.abc import Callable
from decimal import Decimal

from figures import Figures
from test_machine import BOUND, CAPS, LIMITS, Trading

from tradeagent.domain.names import Actor, ExitReason

FULL_SIZE = 200_000
STEPS_A_WORLD = 250
D = Decimal


def run(seed: int = 1, size: int = FULL_SIZE) -> Figures:
    """`size` steps."""
    figures = Figures("machine", seed)
    figures.counts |= {"steps": 0, "worlds": 0, "fills": 0, "positions covered": 0}
    LIMITS["max_daily_trades"] = STEPS_A_WORLD
    while figures.counts["steps"] < size:
        number = figures.counts["worlds"]
        walk(random.Random(f"{seed}/{number}"), min(STEPS_A_WORLD, size - figures.counts["steps"]), figures, f"seed {seed} world {number}")
        figures.count("worlds")
    return figures


def walk(chance: random.Random, steps: int, figures: Figures, name: str) -> None:
    """One world; it ends at its first violation."""
    machine = Trading()
    history: list[str] = []
    try:
        machine.begin(live=chance.random() < 0.5, bound=chance.choice(BOUND), cap=chance.choice(CAPS))
        for _ in range(steps):
            figures.count("steps")
            rule, arguments = choice(chance)
            history.append(f"{rule}({', '.join(f'{key}={value}' for key, value in arguments.items())})")
            getattr(machine, rule)(**arguments)
            machine.the_books_are_right()
            machine.no_position_is_naked()
        figures.count("fills", len(machine.world.fills()))
        figures.count("positions covered", machine.covered)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is a violation
        where = traceback.extract_tb(error.__traceback__)[-1]
        told = f"{type(error).__name__} at {where.filename.rpartition('/')[2]}:{where.lineno}: {error}"
        figures.violations.append(f"{name}, step {len(history)}: {told}; last steps: {'; '.join(history[-4:])}")
    finally:
        machine.teardown()


def choice(chance: random.Random) -> tuple[str, dict[str, object]]:
    """A rule and its arguments, drawn as the strategies of the machine draw them."""
    rules: dict[str, tuple[int, Callable[[], dict[str, object]]]] = {
        "trade": (
            6,
            lambda: {
                "market": _market(chance),
                "side": chance.choice(["buy", "sell"]),
                "actor": _actor(chance),
                "size": D(chance.randint(1, 40_000)) / 1000,
                "away": _away(chance),
                "shape": (chance.random() < 0.5, chance.random() < 0.5),
                "bar": (_move(chance), _spread(chance)),
            },
        ),
        "reduce_or_close": (3, lambda: {"market": _market(chance), "actor": _actor(chance), "part": chance.choice([None, D("0.37")])}),
        "protect": (2, lambda: {"market": _market(chance), "actor": _actor(chance), "below": _away(chance), "above": _away(chance)}),
        "cancel": (2, lambda: {"actor": _actor(chance), "which": chance.randint(0, 20)}),
        "play_a_bar": (4, lambda: {"btc": _move(chance), "eth": _move(chance), "spread": _spread(chance)}),
        "play_quiet_bars": (1, lambda: {"count": chance.randint(2, 15)}),
        "flatten_all": (1, lambda: {"reason": chance.choice([ExitReason.FLATTEN, ExitReason.END])}),
        "transfer": (1, lambda: {"amount": chance.randint(-2000, 3000) or 1}),
        "clear_the_halt": (1, dict),
        "crash_and_start_again": (1, dict),
    }
    (rule,) = chance.choices(list(rules), [weight for weight, _ in rules.values()])
    return rule, rules[rule][1]()


def _market(chance: random.Random) -> str:
    return chance.choice(["BTC", "ETH"])


def _actor(chance: random.Random) -> Actor:
    return chance.choice([Actor.AGENT, Actor.MANUAL])


def _away(chance: random.Random) -> Decimal:
    return D(chance.randint(1, 200)) / 10_000


def _move(chance: random.Random) -> Decimal:
    return D(chance.randint(-150, 150)) / 10_000


def _spread(chance: random.Random) -> Decimal:
    return D(chance.randint(0, 25)) / 10_000
