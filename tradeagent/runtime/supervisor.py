"""`up`: a process for each deployment that should run, started again with patience when it dies, and let go of when it cannot start.

Nothing is kept but in the ledger: a supervisor that is killed leaves its processes running, and the next one finds their wallets owned and
leaves them to themselves until they end.
"""

import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tradeagent.domain.names import Actor, IncidentCode, Level
from tradeagent.ledger import notes, runs
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.runtime.deploying import log_of, spawn
from tradeagent.runtime.place import Place
from tradeagent.runtime.wanted import is_wanted, wanted, wanted_on
from tradeagent.workspace.claims import is_held, live_state
from tradeagent.workspace.locks import file_lock

LOCK = "up.lock"
LOOK_S = 0.5
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
STEADY_S = 300.0
BUSY = 6
PERSON_MUST_ACT = (2, 3, 4)


@dataclass(slots=True)
class Ward:
    """One deployment in care. `wallet` outlives its id: an agent's next run has a new one."""

    wallet: str
    deployment: str
    kind: str
    process: "subprocess.Popen[bytes] | None" = None
    starts: int = 0
    crashes: int = 0
    in_row: int = 0
    started_s: float = 0.0
    wait_until_s: float = 0.0
    ended_with: int | None = None
    is_given_up: bool = False


class Supervisor:
    """Looks after every deployment of a workspace until it is interrupted. One at a time (BusyError)."""

    def __init__(self, place: Place, say: Callable[[str], None], *, most_restarts: int) -> None:
        self._place = place
        self._say = say
        self._most = most_restarts
        self._stop = threading.Event()
        self._wards: dict[str, Ward] = {}

    def interrupt(self) -> None:
        """Let every process finish its tick, then end; asked again, leave them to it."""
        if self._stop.is_set():
            raise KeyboardInterrupt
        self._stop.set()

    def run(self) -> list[dict[str, Any]]:
        """Supervise until interrupted; what became of each deployment."""
        with file_lock(self._place.workspace.locks_dir / LOCK, 0):
            while not self._stop.is_set():
                self._bury()
                self._care()
                self._stop.wait(LOOK_S)
            self._end()
            return [self._row(ward) for ward in self._wards.values()]

    def _care(self) -> None:
        """Start what should run and does not."""
        with self._place.ledger.reading() as tx:
            rows = wanted(tx)
        now = self._place.clock.monotonic()
        for row in rows:
            ward = self._ward(row)
            is_due = ward.process is None and not ward.is_given_up and now >= ward.wait_until_s
            if is_due and not is_held(self._place.workspace, row.wallet):
                ward.process = spawn(self._place, ["deploy", "resume", row.id], log_of(self._place, _log_name(row)))
                ward.starts, ward.started_s = ward.starts + 1, now
                self._say(f"{row.id}: started on {row.wallet}, process {ward.process.pid}")

    def _ward(self, row: DeploymentRow) -> Ward:
        """The ward of a wallet; another deployment there, or one that a person has touched since it was given up, begins anew."""
        ward = self._wards.get(row.wallet)
        if ward is None or (ward.process is None and not _same(ward, row)):
            ward = self._wards[row.wallet] = Ward(row.wallet, row.id, row.kind)
        ward.deployment = row.id
        return ward

    def _bury(self) -> None:
        """Note which processes have ended, and when to try again."""
        for ward in self._wards.values():
            code = None if ward.process is None else ward.process.poll()
            if code is None:
                continue
            now = self._place.clock.monotonic()
            ward.process, ward.ended_with = None, code
            with self._place.ledger.reading() as tx:
                row = wanted_on(tx, ward.wallet)
            if code in (0, BUSY) or (row is None and code >= 0):
                ward.in_row = 0
                ward.wait_until_s = now + FIRST_WAIT_S
                self._say(f"{ward.deployment}: ended with {code}")
                continue
            ward.crashes += 1
            ward.in_row = 1 if now - ward.started_s >= STEADY_S else ward.in_row + 1
            if code in PERSON_MUST_ACT or ward.in_row > self._most:
                self._give_up(ward, code)
                continue
            wait = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (ward.in_row - 1))
            ward.wait_until_s = now + wait
            self._say(f"{ward.deployment}: ended with {code}, again in {wait:g} s")

    def _give_up(self, ward: Ward, code: int) -> None:
        ward.is_given_up = True
        log = log_of(self._place, ward.deployment if ward.kind == Actor.ALGO.value else ward.wallet)
        message = f"{ward.deployment} ended with {code} {ward.in_row} time(s) in a row and is not started again; see {log}"
        incident = notes.Incident(IncidentCode.INTERRUPTED, Level.CRITICAL, message, ward.wallet, ward.deployment)
        with self._place.ledger.transaction() as tx:
            notes.open_incident(tx, self._place.clock.new_id(), incident, self._place.clock.now_ms())
        self._say(f"{ward.deployment}: given up, it ended with {code}; {log}")

    def _end(self) -> None:
        """Ask each process of ours to end after its tick, and wait until it has: a tick has a time limit of its own."""
        ours = [ward for ward in self._wards.values() if ward.process is not None]
        for ward in ours:
            if ward.process is not None:
                with suppress(ProcessLookupError):
                    ward.process.send_signal(signal.SIGTERM)
        for ward in ours:
            if ward.process is not None:
                ward.ended_with = ward.process.wait()

    def _row(self, ward: Ward) -> dict[str, Any]:
        with self._place.ledger.reading() as tx:
            row = runs.find_deployment(tx, ward.deployment)
        return {
            "deployment": ward.deployment,
            "kind": ward.kind,
            "wallet": ward.wallet,
            "state": None if row is None else live_state(self._place.workspace, row).value,
            "wanted": row is not None and is_wanted(row),
            "starts": ward.starts,
            "crashes": ward.crashes,
            "ended_with": ward.ended_with,
            "given_up": ward.is_given_up,
        }


def _same(ward: Ward, row: DeploymentRow) -> bool:
    """Whether a row is the deployment in care: the same, or the next run of the same agent."""
    return ward.deployment == row.id or (row.kind == Actor.AGENT.value and ward.kind == row.kind)


def _log_name(row: DeploymentRow) -> str:
    return row.id if row.kind == Actor.ALGO.value else row.wallet
