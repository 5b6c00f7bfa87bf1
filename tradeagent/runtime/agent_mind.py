"""An agent as a runner sees it: its schedule, its ticks, its journal."""

from contextlib import suppress
from dataclasses import dataclass

from tradeagent.agents.folder import Agent
from tradeagent.agents.sessions import Session
from tradeagent.domain.bars import parse_duration
from tradeagent.domain.errors import TradeAgentError
from tradeagent.ledger import runs
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.ledger.store import Ledger
from tradeagent.runtime.repair import write_session_status
from tradeagent.runtime.schedule import NextMark, schedule_of
from tradeagent.turns.chat import ChatEngine
from tradeagent.turns.files import AgentFiles
from tradeagent.turns.record import TickRecord
from tradeagent.turns.tick import TickEngine


@dataclass(frozen=True, slots=True)
class AgentMind:
    """`keep` snapshots stay; 0 keeps all. `is_durable` is off in replays."""

    agent: Agent
    deployment: str
    ledger: Ledger
    session: Session | None
    ticks: TickEngine
    chats: ChatEngine
    files: AgentFiles
    keep: int
    is_durable: bool

    @property
    def interval_ms(self) -> int:
        return self.agent.definition.interval_ms or parse_duration("1m")

    @property
    def max_ticks(self) -> int:
        return self.agent.definition.max_ticks

    @property
    def skips_missed(self) -> bool:
        return True

    def first_mark(self, now_ms: int) -> int:
        return now_ms

    def marks(self, first_ms: int) -> NextMark:
        return schedule_of(self.agent.definition, first_ms)

    def is_ready(self, mark_ms: int) -> bool:
        return True

    async def tick(self, number: int, interval_ms: int, next_ms: int | None, resolve_s: float) -> TickRecord:
        return await self.ticks.tick(number, interval_ms, next_ms, resolve_s=resolve_s)

    async def converse(self) -> bool:
        return await self.chats.answer()

    def prune(self, number: int) -> None:
        """Forget the file images of ticks whose snapshots are gone."""
        if self.keep and number > self.keep:
            with self.ledger.transaction(durable=False) as tx:
                runs.drop_old_records(tx, self.deployment, number - self.keep)

    def note(self, mark: str, now_ms: int, text: str, reason: str = "") -> None:
        """A line for people: a journal that cannot be written keeps nothing from happening. The next tick meets it, and says so."""
        with suppress(TradeAgentError):
            self.files.note(mark, now_ms, text, reason)

    def tell(self, row: DeploymentRow, last: TickRecord | None) -> None:
        """Copy the ledger's word on this run to its session folder, for people."""
        if self.session is None:
            return
        if last is not None and row.ended_ms is not None:
            self.files.close(last, row.state)
        write_session_status(self.session, row, durable=self.is_durable)
