"""What a turn makes an incident of: a model or a provider that failed, a spent budget, a broken routine, a tool that fell over."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import Connection

from tradeagent.domain.clock import Clock
from tradeagent.domain.names import IncidentCode, Level, Rule
from tradeagent.ledger import notes
from tradeagent.tools.context import Resources
from tradeagent.turns.record import TickRecord

OF_MODEL = {"model_error": IncidentCode.MODEL_FAILED, "budget": IncidentCode.BUDGET_EXHAUSTED}
_OF_TICK = OF_MODEL | dict.fromkeys(("deadline", "first_token_timeout", "idle_timeout"), IncidentCode.TICK_TIMEOUT)


@dataclass(slots=True)
class TurnIncidents:
    """Opens the incidents of one run, and closes those that last until the cause is gone."""

    clock: Clock
    wallet: str | None
    deployment: str | None
    _lasting: set[IncidentCode] = field(default_factory=set)

    def of_tick(self, tx: Connection, record: TickRecord, resources: Resources, now_ms: int) -> None:
        """Everything that one tick found wrong."""
        code = _OF_TICK.get(record.reason)
        if code is not None:
            message = f"tick {record.number}: {record.reason}" + (f": {record.detail}" if record.detail else "")
            self.add(tx, code, Level.WARNING, message, now_ms)
        self._while(tx, IncidentCode.BUDGET_EXHAUSTED, [record.action] if record.rule == Rule.BUDGET.value else [], now_ms)
        self._while(tx, IncidentCode.PROVIDER_FAILED, resources.take_failed(), now_ms)
        for message in resources.take_broken():
            self.add(tx, IncidentCode.ROUTINE_BROKEN, Level.WARNING, message, now_ms)
        for defect in record.defects:
            self.add(tx, IncidentCode.TICK_FAILED, Level.ERROR, f"a tool failed in tick {record.number}: {defect[-300:]}", now_ms)

    def of_talk(self, tx: Connection, whose: str, reason: str, detail: str, now_ms: int) -> None:
        """What ended a turn that a person asked for, when it was the model or its budget."""
        code = OF_MODEL.get(reason)
        if code is not None:
            self.add(tx, code, Level.WARNING, f"a turn of {whose}: {reason}" + (f": {detail}" if detail else ""), now_ms)

    def add(self, tx: Connection, code: IncidentCode, level: Level, message: str, now_ms: int) -> None:
        """Open one incident of this run."""
        notes.open_incident(tx, self.clock.new_id(), notes.Incident(code, level, message, self.wallet, self.deployment), now_ms)

    def _while(self, tx: Connection, code: IncidentCode, messages: Iterable[str], now_ms: int) -> None:
        """An incident for each message, over at the first tick that finds none."""
        found = list(messages)
        for message in found:
            self.add(tx, code, Level.WARNING, message, now_ms)
            self._lasting.add(code)
        if not found and code in self._lasting:
            self._lasting.discard(code)
            notes.close_incidents(tx, code, now_ms, wallet=self.wallet)
