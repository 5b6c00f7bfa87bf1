"""A replay at full speed: CPU a tick, how long two thousand take, and whether memory stays flat.

Two lengths of the same run, each a process of its own: what the longer one takes more is the ticks, without the start.
"""

import statistics
from pathlib import Path

from benchmarks.measure import Usage, bare_json_ms, scratch, tradeagent_command
from benchmarks.report import Floor, Row, main
from tradeagent.runtime.demo import DEMO_AGENT, DEMO_SOURCE, demo_place

SHORT, LONG = 500, 2000
RUNS = 3
PROMPT_CHARACTERS = 11_000


def rows() -> list[Row]:
    """CPU a tick and memory, from a run of 500 and one of 2,000 ticks on the same bars."""
    with scratch() as folder:
        taken = [(_replay(folder / f"short_{run}", SHORT), _replay(folder / f"long_{run}", LONG)) for run in range(RUNS)]
    ticks_ms = statistics.median((long.cpu_s - short.cpu_s) / (LONG - SHORT) * 1000 for short, long in taken)
    long_s = statistics.median(long.wall_s for _, long in taken)
    short_mb, long_mb = (statistics.median(pair[which].peak_mb for pair in taken) for which in (0, 1))
    floor = Floor("a prompt's text as JSON, there and back", bare_json_ms("x" * PROMPT_CHARACTERS))
    return [
        Row("replay, one tick", ticks_ms, "CPU ms", bound=7, floor=floor),
        Row(f"replay, {LONG:,} ticks with start and end", long_s, "s wall", bound=15),
        Row(f"replay, peak memory after {LONG:,} ticks", long_mb, "MB", bound=short_mb * 1.1, floor=Floor(f"after {SHORT}", short_mb)),
    ]


def _replay(folder: Path, ticks: int) -> Usage:
    demo_place(folder, 0).ledger.close()
    return tradeagent_command("--workspace", str(folder), "run", DEMO_AGENT, "--replay", DEMO_SOURCE, "--max-ticks", str(ticks), "--json")


if __name__ == "__main__":
    main(rows)
