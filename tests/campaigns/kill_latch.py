"""Campaign: a kill races those who send orders, again and again: nothing leaves after the latch was reported."""

import tempfile
from pathlib import Path

from figures import Figures
from kill_races import race

FULL_SIZE = 10_000


def run(seed: int = 1, size: int = FULL_SIZE) -> Figures:
    """`size` races; chance is the scheduler's, so the seed changes nothing."""
    figures = Figures("kill_latch", seed)
    with tempfile.TemporaryDirectory() as scratch:
        seen = race(Path(scratch), size)
    figures.counts |= {"races": seen.races, "orders": seen.sent, "after the latch": seen.late, "slowest latch ms": round(seen.slowest_ms)}
    if seen.late:
        figures.violations.append(f"{seen.late} orders left after a latch was reported")
    return figures
