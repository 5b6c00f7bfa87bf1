"""`tradeagent demo --headless --ticks 50`: what a newcomer, and every CI run, waits for."""

from benchmarks.measure import RUNS, bare_python, scratch, tradeagent_command
from benchmarks.report import Floor, Row, main

TICKS = 50


def rows() -> list[Row]:
    """Wall and CPU seconds of the demo, workspace and market included."""
    with scratch():
        taken = sorted(
            (tradeagent_command("demo", "--headless", "--ticks", str(TICKS), "--json") for _ in range(RUNS)), key=lambda u: u.cpu_s
        )
    middle = taken[RUNS // 2]
    floor = bare_python()
    return [
        Row(f"`tradeagent demo --headless --ticks {TICKS}`", middle.wall_s, "s wall", floor=Floor(floor.what, floor.value)),
        Row(f"`tradeagent demo --headless --ticks {TICKS}`", middle.cpu_s, "CPU s", floor=floor),
    ]


if __name__ == "__main__":
    main(rows)
