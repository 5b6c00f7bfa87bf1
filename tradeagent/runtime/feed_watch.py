"""Whether the bars of a run come: an incident while a market has no fresh one, and one where some are missing between others."""

from sqlalchemy import Connection

from tradeagent.domain.clock import iso
from tradeagent.domain.names import IncidentCode, Level
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.execution.playback import Playback
from tradeagent.ledger import notes


class FeedWatch:
    """Looks at the feed of one run after each advance of its market clock; writes only when something has changed."""

    def __init__(self, engine: ExecutionEngine, playback: Playback, deployment: str) -> None:
        self._engine, self._playback, self._deployment = engine, playback, deployment
        self._told: list[str] | None = None

    def look(self, now_ms: int) -> None:
        """Compare with what was told last; a run begins without knowing what an earlier one has told."""
        stale, gaps = self._playback.stale(now_ms), self._playback.take_gaps()
        if stale != self._told:
            self._tell_stale(stale, now_ms)
            self._told = stale
        if gaps:
            market, from_ms, to_ms = gaps[0]
            self._tell_gap(f"no bars of {market} from {iso(from_ms)} to {iso(to_ms)}", now_ms)

    def _tell_stale(self, messages: list[str], now_ms: int) -> None:
        wallet = self._engine.wallet.name
        with self._engine.ledger.reading() as tx:
            was_told = notes.is_open(tx, IncidentCode.STALE_FEED, wallet)
        if not (messages or was_told):
            return
        with self._engine.ledger.transaction(durable=False) as tx:
            notes.close_incidents(tx, IncidentCode.STALE_FEED, now_ms, wallet=wallet)
            for message in messages:
                self._open(tx, IncidentCode.STALE_FEED, message, now_ms)

    def _tell_gap(self, message: str, now_ms: int) -> None:
        """One at a time: the first names where to look."""
        with self._engine.ledger.transaction(durable=False) as tx:
            if not notes.is_open(tx, IncidentCode.DATA_GAP, self._engine.wallet.name):
                self._open(tx, IncidentCode.DATA_GAP, message, now_ms)

    def _open(self, tx: Connection, code: IncidentCode, message: str, now_ms: int) -> None:
        incident = notes.Incident(code, Level.WARNING, message, self._engine.wallet.name, self._deployment)
        notes.open_incident(tx, self._engine.clock.new_id(), incident, now_ms)
