"""Campaign: processes that start at the same instant for one wallet, some right after its owner was killed: one owner each time.

A race forks real processes that are ready and waiting, lets them go at once, and asks each how it ended: the owner with its fencing
token, or busy. The owner of every third race is killed with SIGKILL while it holds the wallet; its lock file stays behind.
"""

import json
import os
import random
import select
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures import Figures

from tradeagent.domain.clock import SystemClock
from tradeagent.domain.errors import BusyError
from tradeagent.ledger import runs, wallets
from tradeagent.ledger.store import create_ledger, open_ledger
from tradeagent.runtime.lease import is_held, take
from tradeagent.workspace.paths import Workspace

FULL_SIZE = 500
WALLET = "w"
SOON_S = 5.0  # a second on a machine with nothing else to do; the figures show the slowest
PATIENCE_S = 20.0


@dataclass
class Racer:
    """A forked process, its pipe to us, and our pipe to it; it lives until it is told to leave."""

    pid: int
    answers: int
    orders: int

    def answer(self) -> dict[str, Any] | None:
        ready, _, _ = select.select([self.answers], [], [], PATIENCE_S)
        said = os.read(self.answers, 4096) if ready else b""
        return json.loads(said) if said else None

    def end(self, how: int | None = None) -> None:
        """Let it leave in order, or kill it."""
        if how is None:
            os.write(self.orders, b".")  # not the end of the file: those forked later hold the pipe open too
        else:
            os.kill(self.pid, how)
        os.waitpid(self.pid, 0)
        os.close(self.orders)
        os.close(self.answers)


def run(seed: int = 1, size: int = FULL_SIZE) -> Figures:
    """`size` races."""
    figures = Figures("start_races", seed)
    figures.counts |= {"races": 0, "processes": 0, "owners": 0, "busy": 0, "after kill -9": 0, "slowest refusal ms": 0}
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace(Path(scratch))
        ledger = create_ledger(workspace.ledger_file)
        with ledger.transaction() as tx:
            wallets.create(tx, wallets.WalletRow(WALLET, "paper", "paper", "agent", {}, 0))
        ledger.close()
        token, is_stale = 0, False
        for number in range(size):
            kills = number % 3 == 2
            token, found = race(workspace, chance.randint(2, 5), token, kills, figures)
            figures.count("races")
            figures.count("after kill -9", is_stale)
            is_stale = kills
            figures.violations += [f"seed {seed} race {number}: {line}" for line in found]
    return figures


def race(workspace: Workspace, racers: int, last_token: int, kills: bool, figures: Figures) -> tuple[int, list[str]]:
    """One race; the owner's token, and what was wrong."""
    gate, start = os.pipe()
    crowd = [_forked(workspace, gate, start) for _ in range(racers)]
    os.close(gate)
    os.close(start)  # end of file on the gate lets everybody go
    answers = [racer.answer() for racer in crowd]
    owners = [(racer, said) for racer, said in zip(crowd, answers, strict=True) if said is not None and "token" in said]
    figures.count("processes", racers)
    figures.count("owners", len(owners))
    found = [f"a process gave no answer or failed: {said}" for said in answers if said is None or "error" in said]
    if len(owners) != 1:
        found.append(f"{len(owners)} of {racers} processes own the wallet")
    for said in answers:
        if said is not None and "busy" in said:
            figures.count("busy")
            took = round(said["took_s"] * 1000)
            figures.counts["slowest refusal ms"] = max(figures.counts["slowest refusal ms"], took)
            if said["took_s"] > SOON_S:
                found.append(f"a refusal took {took} ms")
    tokens = [said["token"] for _, said in owners]
    if any(token <= last_token for token in tokens):
        found.append(f"tokens {tokens} after {last_token}")
    if owners and not is_held(workspace, WALLET):
        found.append("the wallet is owned and looks free")
    for racer in crowd:
        racer.end(signal.SIGKILL if kills and racer in [owner for owner, _ in owners] else None)
    if is_held(workspace, WALLET):
        found.append("everybody has left and the wallet looks taken")
    return max([last_token, *tokens]), found


def _forked(workspace: Workspace, gate: int, start: int) -> Racer:
    """A process that waits at the gate, takes the wallet or not, says so, and holds what it has until it is let go."""
    answers, says = os.pipe()
    waits, orders = os.pipe()
    pid = os.fork()
    if pid:
        os.close(says)
        os.close(waits)
        return Racer(pid, answers, orders)
    code = 1
    try:
        for ours in (answers, orders, start):
            os.close(ours)
        code = _take(workspace, gate, lambda said: os.write(says, json.dumps(said).encode()), waits)
    finally:
        os._exit(code)


def _take(workspace: Workspace, gate: int, say: Callable[[dict[str, Any]], object], waits: int) -> int:
    lease = None
    ledger = open_ledger(workspace.ledger_file)
    os.read(gate, 1)
    began = time.monotonic()
    try:
        lease = take(workspace, ledger, WALLET, None, SystemClock())
        with ledger.reading() as tx:
            row = runs.lease(tx, WALLET)
        say({"token": lease.token} if row and row["fencing_token"] == lease.token else {"error": f"token {lease.token}, ledger {row}"})
    except BusyError:
        say({"busy": True, "took_s": time.monotonic() - began})
    except Exception:  # noqa: BLE001  # the boundary of a process
        say({"error": traceback.format_exc(limit=-3)})
    os.read(waits, 1)
    if lease is not None:
        lease.release()
    return 0
