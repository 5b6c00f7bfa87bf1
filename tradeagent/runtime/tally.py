"""What a run has done, and its ticks that failed: each is told in the ledger and the journal, if not at once then when that works again."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Generic

from tradeagent.domain.errors import TradeAgentError
from tradeagent.domain.names import DeploymentState, IncidentCode, Level, RunMode, VerdictKind
from tradeagent.ledger import notes, runs
from tradeagent.runtime.ground import R, Runnable
from tradeagent.turns.record import TickState

MAX_FAILURES = 5


@dataclass(slots=True)
class Tally(Generic[R]):
    """What a run did, for its report."""

    ticks: int = 0
    blocked: int = 0
    failures_in_row: int = 0
    proposals: int = 0
    executed: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    last: R | None = None
    error: str = ""
    lateness_ms: list[int] = field(default_factory=list)

    def count(self, record: R) -> None:
        """Add a tick that was recorded."""
        self.last = record
        self.failures_in_row = 0
        self.blocked += record.state is TickState.BLOCKED
        for kind, rule in record.verdicts:
            self.proposals += 1
            self.executed += kind == VerdictKind.EXECUTED.value
            if kind == VerdictKind.REJECTED.value:
                self.rejected[rule or "venue"] += 1


class Failures(Generic[R]):
    """Failed ticks of one run. Five in a row pause its deployment."""

    def __init__(self, run: Runnable[R], tally: Tally[R]) -> None:
        self._run = run
        self._tally = tally
        self._untold: list[tuple[int, str, bool]] = []
        self._was_busy = False

    @property
    def are_open(self) -> bool:
        """Whether something is left to tell or to close when a tick goes well again."""
        return bool(self._untold) or self._was_busy

    def add(self, number: int, message: str, *, is_busy: bool) -> None:
        """Tell of a tick that raised. When the ledger itself or its disk is the trouble, that waits for `settle`."""
        self._untold.append((number, message, is_busy))
        with suppress(TradeAgentError):
            self._tell()

    def settle(self) -> None:
        """After a tick that went well: tell what is left, and close what is over."""
        if self._untold:
            self._tell()
        if self._was_busy:
            stage = self._run.stage
            with stage.ledger.transaction(durable=False) as tx:
                notes.close_incidents(tx, IncidentCode.LEDGER_BUSY, stage.clock.now_ms(), wallet=stage.wallet.name)
            self._was_busy = False

    def _tell(self) -> None:
        stage, row, now = self._run.stage, self._run.row, self._run.stage.clock.now_ms()
        paused = self._tally.failures_in_row >= MAX_FAILURES and stage.pace.mode is RunMode.LOOP
        with stage.ledger.transaction() as tx:
            for number, message, is_busy in self._untold:
                incident = notes.Incident(IncidentCode.TICK_FAILED, Level.ERROR, f"tick {number}: {message}", stage.wallet.name, row.id)
                notes.open_incident(tx, stage.clock.new_id(), incident, now)
                if is_busy:
                    busy = replace(incident, code=IncidentCode.LEDGER_BUSY, message=message)
                    self._was_busy = notes.open_incident(tx, stage.clock.new_id(), busy, now) or self._was_busy
            runs.update_deployment(tx, row.id, failures=self._tally.failures_in_row, ticks=self._tally.ticks)
            if paused:
                runs.change_state(tx, row, DeploymentState.PAUSED, now)
        told, self._untold = self._untold, []
        for number, message, _ in told:
            self._run.mind.note("error", now, f"tick {number} failed", message)
        if paused:
            self._run.mind.note("paused", now, f"{MAX_FAILURES} ticks in a row failed", "resume when the cause is gone")
