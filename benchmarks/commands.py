"""Ten runners, each a process of its own, on one ledger: how soon does a runner take up a person's command?

Half of the commands make a runner read and write its account, half change its state. The sender is one more process, as a command line is.
"""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import scratch
from benchmarks.report import Floor, Row, main
from benchmarks.worlds import live_place
from tradeagent.domain.names import CommandKind
from tradeagent.ledger import runs
from tradeagent.runtime.control import command
from tradeagent.runtime.place import Place
from tradeagent.runtime.runner import COMMAND_POLL_S

RUNNERS, ROUNDS, INTERVAL_S = 10, 30, 10
KINDS = (CommandKind.SNAPSHOT, CommandKind.PAUSE, CommandKind.SNAPSHOT, CommandKind.RESUME)
ACK_MS = 250
START_WITHIN_S = 60


def rows() -> list[Row]:
    """p99 and median of command to acknowledgement, and p99 until it is done."""
    with scratch() as folder:
        place = live_place(folder / "ws", {f"agent_{n}": "offline/momentum" for n in range(RUNNERS)}, every=f"{INTERVAL_S}s")
        place.ledger.close()
        with _runners(place):
            acked, done = _commands(place)
        place.ledger.close()
    what = f"{RUNNERS} runner processes on one ledger, {len(acked)} commands"
    poll = Floor("a runner looks every", COMMAND_POLL_S * 1000)
    return [
        Row(f"{what}: p99 to the acknowledgement", _p99(acked), "ms", bound=ACK_MS, floor=poll),
        Row(f"{what}: median to the acknowledgement", sorted(acked)[len(acked) // 2], "ms"),
        Row(f"{what}: p99 until it is done", _p99(done), "ms"),
    ]


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


def _commands(place: Place) -> tuple[list[float], list[float]]:
    """(ms to the acknowledgement as the product counts them, ms until the sender has the answer) of every command."""
    acked, done = [], []
    for number in range(ROUNDS):
        for runner in range(RUNNERS):
            began = time.perf_counter()
            answer = command(place, f"agent_{runner}", KINDS[number % len(KINDS)])
            done.append((time.perf_counter() - began) * 1000)
            acked.append(float(answer["latency_ms"]))
    return acked, done


@contextmanager
def _runners(place: Place) -> Iterator[None]:
    """The runners while they tick; each is stopped by command, and ended when it does not obey."""
    folder = place.workspace.root
    started = [_runner(folder, f"agent_{number}") for number in range(RUNNERS)]
    try:
        _wait_until_ticking(place, started)
        yield
        for number in range(RUNNERS):
            command(place, f"agent_{number}", CommandKind.STOP)
        for process in started:
            assert process.wait(START_WITHIN_S) == 0, "a runner ended as it was told"
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
                process.wait()


def _runner(folder: Path, slug: str) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-m", "tradeagent", "--workspace", str(folder), "run", slug, "--json"]
    return subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _wait_until_ticking(place: Place, started: Sequence[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + START_WITHIN_S
    while True:
        with place.ledger.reading() as tx:
            ticking = sum(row.last_tick_ms is not None for row in runs.all_deployments(tx))
        if ticking == len(started):
            return
        assert all(process.poll() is None for process in started), "a runner ended at its start"
        assert time.monotonic() < deadline, f"{ticking} of {len(started)} runners tick"
        time.sleep(0.2)


if __name__ == "__main__":
    main(rows)
