"""Executors as an agent sees them: the live ones in its prompt, every one in its journal."""

from collections.abc import Sequence

from sqlalchemy import Connection

from tradeagent.agents.journal_lines import ExecutorLine as JournalLine
from tradeagent.domain.clock import MINUTE_MS, minute_text
from tradeagent.domain.names import Direction, Side
from tradeagent.execution.executors.records import figures
from tradeagent.execution.state import RiskState
from tradeagent.ledger import executors
from tradeagent.ledger.executors import ExecutorRow
from tradeagent.turns.prompt_inputs import ExecutorLine


def live_lines(tx: Connection, state: RiskState) -> tuple[ExecutorLine, ...]:
    """The executors of a deployment that are alive, with their PnL at the last mark."""
    if not state.live_executors or state.scope.deployment is None:
        return ()
    return tuple(_prompt_line(tx, state, row) for row in executors.of_deployment(tx, state.scope.deployment) if row.is_live)


def journal_lines(tx: Connection, state: RiskState, rows: Sequence[ExecutorRow]) -> tuple[JournalLine, ...]:
    """A line for each of these executors; why one ended stands for its status then."""
    return tuple(_journal_line(tx, state, row) for row in rows)


def _prompt_line(tx: Connection, state: RiskState, row: ExecutorRow) -> ExecutorLine:
    pnl, _, volume = figures(tx, row, state.row(row.market, row.controller_id), state.mark(row.market))
    age = (state.now_ms - row.created_ms) // MINUTE_MS
    return ExecutorLine(row.id, row.type, row.market, Side(row.side), row.amount_quote, row.status, pnl, volume, age)


def _journal_line(tx: Connection, state: RiskState, row: ExecutorRow) -> JournalLine:
    pnl, _, volume = figures(tx, row, state.row(row.market, row.controller_id), state.mark(row.market))
    direction = Direction.LONG if row.side == Side.BUY else Direction.SHORT
    status = row.close_type or row.status
    return JournalLine(row.id, row.type, row.market, direction.value, row.amount_quote, minute_text(row.created_ms), status, pnl, volume)
