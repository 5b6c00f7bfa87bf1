"""Campaign: eight processes take nonces of one signer from one ledger while their clocks jump: strictly increasing, none twice.

Each process notes what it took in the transaction that took it, so the notes stand in the order of the commits of all of them.
"""

import itertools
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from figures import Figures

from tradeagent.ledger import nonces
from tradeagent.ledger.store import create_ledger, open_ledger

FULL_SIZE = 10_000
PROCESSES = 8
NOW, HOUR = 1_767_787_200_000, 3_600_000
JUMPS = (0, 0, 1, 50, -50, HOUR, -HOUR)
PAUSES, PAUSE_S = 0.2, 0.01


def run(seed: int = 1, size: int = FULL_SIZE) -> Figures:
    """`size` nonces in each process."""
    figures = Figures("nonces", seed)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "ledger.sqlite"
        ledger = create_ledger(file)
        with ledger.transaction() as tx:
            tx.exec_driver_sql("CREATE TABLE taken (turn INTEGER PRIMARY KEY AUTOINCREMENT, process INTEGER, nonce INTEGER)")
        ledger.close()
        commands = [[sys.executable, __file__, str(file), str(number), str(size), str(seed + number)] for number in range(PROCESSES)]
        crowd = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for command in commands]
        for process in crowd:
            assert process.stdout is not None
            process.stdout.readline()
        for process in crowd:  # all of them stand ready before the first begins
            assert process.stdin is not None
            process.stdin.close()
        codes = []
        for process in crowd:
            with process:
                codes.append(process.wait())
        with closing(sqlite3.connect(file)) as reader:
            taken = reader.execute("SELECT process, nonce FROM taken ORDER BY turn").fetchall()
    turns = sum(earlier[0] != later[0] for earlier, later in itertools.pairwise(taken))
    distinct = len({nonce for _, nonce in taken})
    figures.counts |= {"processes": PROCESSES, "nonces": len(taken), "distinct": distinct, "turns": turns}
    if any(codes):
        figures.violations.append(f"a process failed: {codes}")
    if distinct != PROCESSES * size:
        figures.violations.append(f"{PROCESSES * size} were asked for, {distinct} are distinct")
    figures.violations += falls(taken)
    return figures


def falls(taken: list[tuple[int, int]]) -> Iterator[str]:
    """Nonces that are not above the one before; `taken` are processes and their nonces in the order of the commits."""
    for (before, earlier), (process, later) in itertools.pairwise(taken):
        if later <= earlier:
            yield f"nonce {later} of process {process} was committed after nonce {earlier} of process {before}"


def _take(file: Path, number: int, count: int, seed: int) -> None:
    ledger, chance = open_ledger(file, durable=False), random.Random(seed)
    clock = NOW
    print("ready", flush=True)
    sys.stdin.read()
    for _ in range(count):
        clock += chance.choice((-48, 48)) * HOUR if chance.random() < 0.01 else chance.choice(JUMPS)
        with ledger.transaction() as tx:
            nonce = nonces.take(tx, "signer", clock)
            tx.exec_driver_sql("INSERT INTO taken (process, nonce) VALUES (?, ?)", (number, nonce))
        if chance.random() < PAUSES:  # else the one that has the lock takes hundreds in a row
            time.sleep(chance.random() * PAUSE_S)
    ledger.close()


if __name__ == "__main__":
    _take(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
