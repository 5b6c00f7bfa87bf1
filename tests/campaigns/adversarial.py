"""Campaign: a model that tries to cheat, every way of the table in every way to run, again and again with other sizes, orders and words."""

import sys
from pathlib import Path

from figures import Figures

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE.parent / room) for room in ("adversarial", "tools", "assistant")]

FULL_SIZE = 20
SHARED = HERE.parents[2] / "shared" / "data"


def run(seed: int = 1, size: int = FULL_SIZE) -> Figures:
    """`size` seeds of each case, from `seed` on."""
    from agent_play import HOWS, play
    from arena import scratch
    from desk_play import play_at_desk
    from desk_play import template as desk_template
    from table import CASES, TABLE
    from workspaces import _template

    figures = Figures("adversarial", seed)
    figures.counts |= {"cases": len({case.id for case in CASES}), "runs": 0, "breaches": 0, "refused": 0, "without a reason code": 0}
    figures.remarks += [f"{row.id} {row.title}: {row.reason or ', '.join(row.by)}" for row in TABLE if row.status != "played"]
    with scratch() as folder:
        agents, desk = _template(Path(folder) / "agents", SHARED), desk_template(Path(folder) / "desk", SHARED)
        for number in range(seed, seed + size):
            for case in CASES:
                place = Path(folder) / "place"
                if case.stage == "desk":
                    played = [play_at_desk(case, desk, place, number)]
                else:
                    played = [play(case, agents, place, number, how) for how in HOWS]
                figures.count("runs", len(played))
                for one in played:
                    figures.count("breaches", len(one.breaches))
                    figures.count("refused", one.refused)
                    figures.count("without a reason code", one.nameless)
                    figures.violations += one.breaches
    return figures
