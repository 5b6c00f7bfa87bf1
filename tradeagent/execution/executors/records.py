"""What is written about executors, and on whose terms they trade: those of the deployment that created them."""

from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from tradeagent.domain.errors import NotFound
from tradeagent.domain.money import ZERO, plain
from tradeagent.domain.names import Actor, EventKind
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.execution.reading import tenant_of
from tradeagent.execution.setup import Terms
from tradeagent.execution.state import Scope
from tradeagent.ledger import events, executors, runs
from tradeagent.ledger.executors import ExecutorRow
from tradeagent.ledger.trading import PositionRow


def controller_of(deployment: str, executor_id: str) -> str:
    """The name an executor's inventory is kept under: that of its deployment, and its own."""
    return f"{deployment}/{executor_id}"


def reservation_of(row: ExecutorRow) -> str:
    """The intent that created an executor, and holds what it still reserves."""
    return f"{row.id}.0"


def terms_for(engine: ExecutionEngine, row: ExecutorRow) -> Terms:
    """The limits of the deployment that created it, under the executor's own controller."""
    present = engine.terms.get(Actor.AGENT)
    if present is not None and present.scope.deployment == row.deployment:
        limits, slug, markets = present.limits, present.slug, present.scope.markets
    else:
        with engine.ledger.reading() as tx:
            found = runs.find_deployment(tx, row.deployment)
        if found is None:
            raise NotFound(f"executor {row.id}: no deployment {row.deployment}")
        tenant = tenant_of(found)
        limits, slug, markets = tenant.limits, tenant.slug, tenant.markets
    return Terms(Scope(Actor.EXECUTOR, row.controller_id, markets, row.deployment), limits, slug)


def announce(tx: Connection, row: ExecutorRow, now_ms: int) -> None:
    """Say in the event feed where an executor stands."""
    data = {
        "type": row.type,
        "market": row.market,
        "side": row.side,
        "status": row.status,
        "close_type": row.close_type,
        "detail": row.detail,
        "amount_quote": plain(row.amount_quote),
        "net_pnl_quote": plain(row.net_pnl_quote),
    }
    events.append(
        tx, EventKind.EXECUTOR_STATE, now_ms, wallet=row.wallet, deployment=row.deployment, actor=Actor.EXECUTOR, subject=row.id, data=data
    )


def figures(
    tx: Connection, row: ExecutorRow, position: PositionRow | None, mark: Decimal | None
) -> tuple[Decimal | None, Decimal, Decimal]:
    """(net PnL with what is open at `mark`, fees, volume) of an executor, quote units; the PnL is None while a mark is missing."""
    if not row.is_live:
        return row.net_pnl_quote, row.fees_paid_quote, row.volume_quote
    if row.layout["reduce_only"]:
        turnover = executors.turnover_of_children(tx, row.id)
        return turnover.realised - turnover.fees, turnover.fees, turnover.volume
    names = [*row.state.get("controllers", []), row.controller_id]
    closed = executors.closed_trips(tx, names)
    volume = executors.turnover_of_controllers(tx, names).volume
    pnl, fees = sum((one for one, _ in closed), ZERO), sum((fee for _, fee in closed), ZERO)
    if position is None or not position.size:
        return pnl, fees, volume
    trip: dict[str, Any] = position.trip or {}
    open_fees = Decimal(trip.get("fees", "0"))
    pnl += Decimal(trip.get("realised_pnl", "0")) - open_fees - Decimal(trip.get("funding", "0"))
    if mark is None:
        return None, fees + open_fees, volume
    return pnl + position.size * mark - position.cost, fees + open_fees, volume


def as_dict(row: ExecutorRow, pnl: Decimal | None, fees: Decimal, volume: Decimal, now_ms: int) -> dict[str, Any]:
    """An executor as JSON shows it."""
    ended = row.ended_ms if row.ended_ms is not None else now_ms
    return {
        "executor_id": row.id,
        "controller_id": row.deployment,
        "type": row.type,
        "market": row.market,
        "side": row.side,
        "status": row.status,
        "close_type": row.close_type,
        "detail": row.detail,
        "amount_quote": plain(row.amount_quote),
        "net_pnl_quote": None if pnl is None else plain(pnl),
        "fees_paid_quote": plain(fees),
        "volume_quote": plain(volume),
        "duration_s": max(0, ended - row.created_ms) // 1000,
    }
