"""Kernel against door: random algos on random and real bars of five markets, alone and two on an account; size = algos."""

import re
import sys
from pathlib import Path

from figures import Figures

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE.parent / room) for room in ("research", "algos")]

FULL_SIZE = 500
BARS = 300
SHARED = HERE.parents[2] / "shared" / "data"


def run(seed: int, size: int) -> Figures:
    """Every fourth case has signals drawn at random, which reach corners that conditions seldom do; every sixth two markets."""
    from parity_worlds import algo_world, difference, random_world

    from tradeagent.research.eventpath import replay
    from tradeagent.research.kernel import simulate

    figures = Figures("parity", seed)
    data = SHARED if SHARED.is_dir() else None
    if data is None:
        figures.remarks.append(f"no shared market data at {SHARED}: random bars only")
    for number in range(size):
        case = seed * 1_000_003 + number
        markets = 2 if number % 6 == 5 else 1
        make = random_world if number % 4 == 3 else algo_world
        world = make(case, data=data, bars=BARS, markets=markets)
        kernel, door = simulate(world.legs, world.terms), replay(world.legs, world.terms)
        figures.count("algos", len(world.legs))
        figures.count("bars", sum(len(leg.bars) for leg in world.legs))
        figures.count("trades", len(kernel.trades))
        figures.count("stops tightened", kernel.counts["stops_tightened"])
        found = difference(kernel, door)
        if found is not None:
            figures.count(f"different {_category(found)}")
            figures.violations.append(f"{make.__name__}({case}, bars={BARS}, markets={markets}): {found}")
    return figures


def _category(found: str) -> str:
    return re.sub(r"\[\d+\]| \(.*|: .*| at row.*", "", found)
