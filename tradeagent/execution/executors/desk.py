"""Moving executors on and stopping them: the one call that steps them all, and who may end one."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from tradeagent.domain.errors import NotFound, RefusedError
from tradeagent.domain.money import ZERO
from tradeagent.domain.names import CloseType, ExecutorType, Rule
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.execution.executors.children import Path
from tradeagent.execution.executors.records import controller_of, figures, reservation_of
from tradeagent.execution.executors.types import MACHINES
from tradeagent.execution.executors.winding import wind_down
from tradeagent.execution.executors.work import Work
from tradeagent.ledger import executors, trading
from tradeagent.ledger.executors import ExecutorRow

MOST_MOVES = 50


def step_all(engine: ExecutionEngine, paths: Mapping[str, Path] | None = None) -> None:
    """Move every live executor of the wallet on, oldest first; a halted wallet ends them. `paths` of the bars that just closed."""
    if engine.dry_run or not engine.may_have_executors:
        return
    with engine.ledger.reading() as tx:
        rows = executors.live(tx, engine.wallet.name)
    engine.may_have_executors = bool(rows)
    if rows and (engine.book.risk.halt is not None or engine.gate.latched() is not None):
        end_all(engine, "the wallet is halted")
        return
    for row in rows:
        drive(engine, row, (paths or {}).get(row.market))


def drive(engine: ExecutionEngine, row: ExecutorRow, path: Path | None = None) -> ExecutorRow:
    """Step one executor until it waits for the market again; the row as it is then."""
    machine = MACHINES[ExecutorType(row.type)]
    work = Work(engine, row, machine.unsent, path)
    for _ in range(MOST_MOVES):
        work.changed = False
        work.refresh()
        if work.is_stopping:
            wind_down(work)
        else:
            machine.step(work)
        if not work.changed or not work.row.is_live:
            break
    return work.row


def stop(engine: ExecutionEngine, executor_id: str, *, keep_position: bool, deployment: str) -> ExecutorRow:
    """End an executor early: what it holds is kept by its deployment with stop and target, or unwound at the market.

    NotFound when there is none of this id; RefusedError SCOPE when it belongs to another deployment.
    """
    with engine.ledger.reading() as tx:
        row = executors.find(tx, executor_id)
    if row is None or row.wallet != engine.wallet.name:
        raise NotFound(f"no executor {executor_id!r}", hint="list_executors shows them")
    if row.deployment != deployment:
        raise RefusedError(f"executor {executor_id} belongs to {row.deployment!r}, not to {deployment!r}", code=Rule.SCOPE.value)
    what = "kept" if keep_position else "unwound"
    return row if not row.is_live else _end(engine, row, f"stopped, its position {what}", keep=keep_position)


def end_all(engine: ExecutionEngine, why: str) -> None:
    """End every live executor of the wallet; what is not closed already stays with whoever made it, and its stops stay where they are."""
    if engine.dry_run:
        return
    with engine.ledger.reading() as tx:
        rows = executors.live(tx, engine.wallet.name)
    for row in rows:
        _end(engine, row, why, keep=True)


def adopt(engine: ExecutionEngine, earlier: Sequence[str], deployment: str) -> list[str]:
    """Let executors of ended runs go on under the new one, with inventory, orders and reservation; the others end. Ids of those adopted."""
    with engine.ledger.reading() as tx:
        rows = executors.live(tx, engine.wallet.name)
    adopted = []
    for row in rows:
        if row.deployment == deployment:
            continue
        if row.deployment in earlier:
            _move(engine, row, deployment)
            adopted.append(row.id)
        else:
            _end(engine, row, "its deployment no longer owns the wallet", keep=True)
    return adopted


def _end(engine: ExecutionEngine, row: ExecutorRow, why: str, *, keep: bool) -> ExecutorRow:
    work = Work(engine, row, MACHINES[ExecutorType(row.type)].unsent)
    work.end(CloseType.EARLY_STOP, why, keep=keep)
    return drive(engine, work.row)


def _move(engine: ExecutionEngine, row: ExecutorRow, deployment: str) -> None:
    to, now = controller_of(deployment, row.id), engine.clock.now_ms()
    if row.layout["reduce_only"]:
        to = deployment
    with engine.transaction() as tx:
        if not row.layout["reduce_only"]:
            held = [one for one in engine.book.rows if (one.market, one.controller_id) == (row.market, row.controller_id)]
            for one in held:
                engine.book.hand_over(tx, one, to, now)
            trading.reassign_orders(tx, row.wallet, row.market, row.controller_id, to, deployment)
            executors.move_reservation(tx, reservation_of(row), to, deployment)
        controllers = [*row.state.get("controllers", []), row.controller_id]
        executors.save(tx, row.id, deployment=deployment, controller_id=to, state={**row.state, "controllers": controllers}, updated_ms=now)
        engine.book.flush(tx)


def figures_of(engine: ExecutionEngine, row: ExecutorRow) -> tuple[Decimal | None, Decimal, Decimal]:
    """(net PnL, fees, volume) of an executor at the last mark, quote units."""
    position = next((one for one in engine.book.rows if (one.market, one.controller_id) == (row.market, row.controller_id)), None)
    with engine.ledger.reading() as tx:
        return figures(tx, row, position, engine.markets[row.market].mark or ZERO)
