"""Races between those who send orders and a kill: what left after the kill was reported?

`python kill_races.py FOLDER` is one sender: it goes through the gate as fast as it can and logs the instant of each order that left.
"""

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tradeagent.workspace import latch
from tradeagent.workspace.latch import Gate, Latched

WALLET = "raced"


@dataclass(frozen=True)
class Outcome:
    """Orders of all races, those that left after a latch had been reported, and the slowest latch in ms."""

    races: int
    sent: int
    late: int
    slowest_ms: float


def race(folder: Path, races: int, senders: int = 2) -> Outcome:
    """Latch again and again while `senders` processes send; each race waits until every sender has sent something."""
    logs = [folder / f"sent-{number}" for number in range(senders)]
    command = [sys.executable, __file__, str(folder)]
    crowd = [subprocess.Popen([*command, str(log)]) for log in logs]
    windows: list[tuple[int, int]] = []
    slowest = 0.0
    try:
        for _ in range(races):
            _until_all_have_sent(logs)
            begin = time.monotonic_ns()
            latch.set_latch(folder, WALLET)
            assert latch.drain(folder, WALLET) == []
            reported = time.monotonic_ns()
            time.sleep(0.0005)
            windows.append((reported, time.monotonic_ns()))
            slowest = max(slowest, (reported - begin) / 1e6)
            latch.clear_latch(folder, WALLET)
    finally:
        for process in crowd:
            process.kill()
            process.wait()
    sent = sorted(int(line) for log in logs for line in log.read_text().splitlines() if len(line) > 10)
    return Outcome(races, len(sent), _inside(sent, windows), slowest)


def _inside(sent: list[int], windows: list[tuple[int, int]]) -> int:
    """How many instants fall between a reported latch and its clearing; both lists are in order."""
    late = index = 0
    for begin, end in windows:
        while index < len(sent) and sent[index] < begin:
            index += 1
        while index < len(sent) and sent[index] < end:
            late += 1
            index += 1
    return late


def _until_all_have_sent(logs: list[Path]) -> None:
    before = [log.stat().st_size if log.exists() else 0 for log in logs]
    deadline = time.monotonic() + 30
    while any(not log.exists() or log.stat().st_size == size for log, size in zip(logs, before, strict=True)):
        assert time.monotonic() < deadline, "a sender stopped"


def _send(folder: Path, log: Path) -> None:
    gate = Gate(folder, WALLET)
    with log.open("a", buffering=1) as out:
        while True:
            try:
                with gate.sending(reduces=False):
                    out.write(f"{time.monotonic_ns()}\n")
            except Latched:
                continue


if __name__ == "__main__":
    _send(Path(sys.argv[1]), Path(sys.argv[2]))
