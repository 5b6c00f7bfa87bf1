"""Campaign: eight processes take nonces of one signer from one ledger while their clocks jump: strictly increasing, none twice."""

import itertools
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from figures import Figures

from tradeagent.ledger import nonces
from tradeagent.ledger.store import create_ledger, open_ledger

FULL_SIZE = 10_000
PROCESSES = 8
NOW, DAY = 1_767_787_200_000, 86_400_000


def run(seed: int = 1, size: int = FULL_SIZE) -> Figures:
    """`size` nonces in each process."""
    figures = Figures("nonces", seed)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "ledger.sqlite"
        create_ledger(file).close()
        logs = [Path(scratch) / f"taken-{number}" for number in range(PROCESSES)]
        crowd = [
            subprocess.Popen([sys.executable, __file__, str(file), str(log), str(size), str(seed + number)])
            for number, log in enumerate(logs)
        ]
        codes = [process.wait() for process in crowd]
        taken = [[int(line) for line in log.read_text().split()] for log in logs]
    figures.counts |= {"processes": PROCESSES, "nonces": sum(map(len, taken)), "distinct": len({one for part in taken for one in part})}
    if any(codes):
        figures.violations.append(f"a process failed: {codes}")
    if figures.counts["distinct"] != PROCESSES * size:
        figures.violations.append(f"{PROCESSES * size} were asked for, {figures.counts['distinct']} are distinct")
    for number, part in enumerate(taken):
        falls = sum(later <= earlier for earlier, later in itertools.pairwise(part))
        if falls:
            figures.violations.append(f"process {number}: {falls} nonces were not above the one before")
    return figures


def _take(file: Path, log: Path, count: int, seed: int) -> None:
    ledger, chance = open_ledger(file, durable=False), random.Random(seed)
    clock = NOW
    with log.open("w") as out:
        for _ in range(count):
            clock += chance.choice((0, 0, 1, 50, -50, 3_600_000, -3_600_000, DAY if chance.random() < 0.01 else 0))
            with ledger.transaction() as tx:
                nonce = nonces.take(tx, "signer", clock)
            out.write(f"{nonce}\n")
    ledger.close()


if __name__ == "__main__":
    _take(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
