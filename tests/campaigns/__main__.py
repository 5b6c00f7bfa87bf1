"""`python -m tests.campaigns NAME [--seed N] [--size N] [--room ROOM] [--json]`: play campaigns, print their figures.

Exit 1 on any violation. Without a name every campaign is played at its full size.
"""

import argparse
import importlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE), *(str(HERE.parent / room) for room in ("conformance", "execution", "faults", "e2e", "llm"))]
NAMES = (
    "exactly_once",
    "machine",
    "proposers",
    "start_races",
    "disk",
    "disk_tick",
    "nonces",
    "kill_latch",
    "mutation",
    "parity",
    "tool_calls",
    "adversarial",
)
SHOWN = 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of {', '.join(NAMES)}; all by default")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", type=int, help="how much of it, in the campaign's own unit; its full size by default")
    parser.add_argument("--room", help="only these rooms of the package, with commas between them (mutation)")
    parser.add_argument("--json", action="store_true", help="one JSON document a campaign instead of a line")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(NAMES):
        parser.error(f"no campaign {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if asked.room and asked.names != ["mutation"]:
        parser.error("--room goes with mutation alone")
    violations = 0
    for name in asked.names or NAMES:
        campaign = importlib.import_module(name)
        within = {"room": asked.room} if asked.room else {}
        figures = campaign.run(seed=asked.seed, size=asked.size or campaign.FULL_SIZE, **within)
        violations += len(figures.violations)
        print(figures.document() if asked.json else figures.line(), flush=True)
        for line in figures.violations[:SHOWN]:
            print(f"  {line}", file=sys.stderr)
        if len(figures.violations) > SHOWN:
            print(f"  and {len(figures.violations) - SHOWN} more (--json has them all)", file=sys.stderr)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
