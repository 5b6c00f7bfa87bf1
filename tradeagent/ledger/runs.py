"""Deployments with their leases, ticks, commands and directives: who runs, who may write, what was asked."""

from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, or_, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from tradeagent.domain.errors import NotFound
from tradeagent.domain.names import Actor, CommandKind, CommandState, DeploymentState, EventKind, RunMode
from tradeagent.ledger import events
from tradeagent.ledger.direct import Read, Write
from tradeagent.ledger.schema import commands, deployments, directives, leases, ticks


@dataclass(frozen=True, slots=True)
class DeploymentRow:
    """One run of an agent version on a wallet. `id` is the agent id, `{slug}_{number}`, experiments `{slug}_e{number}`."""

    id: str
    kind: str
    slug: str
    wallet: str
    version: int
    mode: str
    state: str
    number: int
    model: str
    markets: list[str]
    limits: dict[str, Any]
    source: dict[str, Any]
    equity_start: Decimal
    ticks: int
    failures: int
    created_ms: int
    ended_ms: int | None
    last_tick_ms: int | None
    next_tick_ms: int | None
    stopped_because: str | None
    boot_id: str
    pid: int


# Statements of the hot path, built once: making one costs more than running it.
_UPDATE_DEPLOYMENT = Write(update(deployments).where(deployments.c.id == bindparam("the_id")))
_DEPLOYMENT = select(deployments).where(deployments.c.id == bindparam("the_id"))
_LEASE = select(leases).where(leases.c.wallet == bindparam("the_wallet"))
_BEAT = Write(update(leases).where(leases.c.wallet == bindparam("the_wallet"), leases.c.fencing_token == bindparam("token")))
_START_TICK = Write(insert(ticks))
_FINISH_TICK = Write(update(ticks).where(ticks.c.id == bindparam("the_id")))
_WAITING_DIRECTIVES = Read(
    select(directives)
    .where(directives.c.deployment == bindparam("the_deployment"), directives.c.tick.is_(None))
    .order_by(directives.c.created_ms)
)
_QUEUED_COMMANDS = Read(
    select(commands)
    .where(
        commands.c.wallet == bindparam("the_wallet"),
        or_(commands.c.state == CommandState.QUEUED.value, commands.c.state == CommandState.ACKED.value),
    )
    .order_by(commands.c.created_ms, commands.c.id)
)


def add_deployment(tx: Connection, row: DeploymentRow) -> None:
    tx.execute(insert(deployments).values(**asdict(row)))


def update_deployment(tx: Connection, deployment: str, **values: Any) -> None:
    _UPDATE_DEPLOYMENT.one(tx, {"the_id": deployment, **values})


def change_state(
    tx: Connection, row: DeploymentRow, state: DeploymentState, now_ms: int, *, actor: Actor = Actor.SYSTEM, **values: Any
) -> None:
    """Move a run to a state, with the event that says so; `values` are further columns, of which it tells the texts."""
    update_deployment(tx, row.id, state=state.value, **values)
    data = {"state": state.value, **{key: value for key, value in values.items() if isinstance(value, str)}}
    events.append(tx, EventKind.DEPLOYMENT_STATE, now_ms, wallet=row.wallet, deployment=row.id, actor=actor, data=data)


def find_deployment(tx: Connection, deployment: str) -> DeploymentRow | None:
    found = tx.execute(_DEPLOYMENT, {"the_id": deployment}).first()
    return DeploymentRow(**found._mapping) if found else None


def get_deployment(tx: Connection, name: str) -> DeploymentRow:
    """By id, or the newest run of a slug; NotFound names what there is."""
    found = find_deployment(tx, name)
    if found is not None:
        return found
    newest = tx.execute(select(deployments).where(deployments.c.slug == name).order_by(deployments.c.created_ms.desc()).limit(1)).first()
    if newest is not None:
        return DeploymentRow(**newest._mapping)
    raise NotFound(f"no deployment {name!r}", hint="`tradeagent status` lists them; start one with `tradeagent run AGENT`")


def all_deployments(tx: Connection, *, wallet: str | None = None, slug: str | None = None, limit: int = 100) -> list[DeploymentRow]:
    """Newest first."""
    query = select(deployments)
    if wallet is not None:
        query = query.where(deployments.c.wallet == wallet)
    if slug is not None:
        query = query.where(deployments.c.slug == slug)
    return [
        DeploymentRow(**row._mapping)
        for row in tx.execute(query.order_by(deployments.c.created_ms.desc(), deployments.c.id.desc()).limit(limit))
    ]


def last_number(tx: Connection, agent: str, *, is_session: bool) -> int:
    """The highest number of an agent's sessions, or else of its experiments; 0 before the first."""
    loop, mode = RunMode.LOOP.value, deployments.c.mode
    mine = (deployments.c.kind == "agent", deployments.c.slug == agent, mode == loop if is_session else mode != loop)
    return tx.execute(select(func.max(deployments.c.number)).where(*mine)).scalar() or 0


def take_lease(tx: Connection, wallet: str, owner: str, deployment: str | None, now_ms: int) -> int:
    """Own the wallet: returns a fencing token larger than every earlier one. The caller holds the wallet's process lock."""
    held = tx.execute(select(leases.c.fencing_token).where(leases.c.wallet == wallet)).scalar_one_or_none()
    token = (held or 0) + 1
    values = {"wallet": wallet, "deployment": deployment, "owner": owner, "fencing_token": token, "heartbeat_ms": now_ms}
    tx.execute(upsert(leases).values(**values).on_conflict_do_update(index_elements=["wallet"], set_=values))
    return token


def name_lease(tx: Connection, wallet: str, token: int, deployment: str) -> None:
    """Say which deployment holds the wallet, once it has a name."""
    tx.execute(update(leases).where(leases.c.wallet == wallet, leases.c.fencing_token == token).values(deployment=deployment))


def release_lease(tx: Connection, wallet: str, token: int) -> None:
    """Give the wallet back; the token stays used, so that the next owner's is larger."""
    tx.execute(update(leases).where(leases.c.wallet == wallet, leases.c.fencing_token == token).values(owner="", deployment=None))


def lease(tx: Connection, wallet: str) -> dict[str, Any] | None:
    found = tx.execute(_LEASE, {"the_wallet": wallet}).first()
    return dict(found._mapping) if found else None


def beat(tx: Connection, wallet: str, token: int, now_ms: int) -> bool:
    """Say that the owner of a wallet lives; False when it is no longer the owner."""
    return _BEAT.one(tx, {"the_wallet": wallet, "token": token, "heartbeat_ms": now_ms}) > 0


def start_tick(tx: Connection, values: dict[str, Any]) -> None:
    _START_TICK.one(tx, values)


def finish_tick(tx: Connection, tick_id: str, **values: Any) -> None:
    _FINISH_TICK.one(tx, {"the_id": tick_id, **values})


def ticks_of(tx: Connection, deployment: str, *, after: int = 0, with_record: bool = False) -> list[dict[str, Any]]:
    """Ticks with number > `after`, in order."""
    columns = [column for column in ticks.c if with_record or column.name != "record"]
    query = select(*columns).where(ticks.c.deployment == deployment, ticks.c.number > after).order_by(ticks.c.number)
    return [dict(row._mapping) for row in tx.execute(query)]


def tick_states(tx: Connection, deployment: str) -> dict[str, int]:
    query = select(ticks.c.state, func.count()).where(ticks.c.deployment == deployment).group_by(ticks.c.state)
    return {row[0]: row[1] for row in tx.execute(query)}


def drop_old_records(tx: Connection, deployment: str, before_number: int) -> None:
    """Forget the file images of ticks whose snapshots were pruned; the rows stay."""
    tx.execute(
        update(ticks)
        .where(ticks.c.deployment == deployment, ticks.c.number < before_number, ticks.c.record.is_not(None))
        .values(record=None)
    )


def add_command(
    tx: Connection, command_id: str, wallet: str, deployment: str | None, kind: CommandKind, payload: dict[str, Any], now_ms: int
) -> None:
    """Queue what a person asks of the runner of a wallet, with its event."""
    row = {"id": command_id, "wallet": wallet, "deployment": deployment, "kind": kind.value, "payload": payload}
    tx.execute(insert(commands).values(**row, state=CommandState.QUEUED.value, created_ms=now_ms))
    _tell_command(tx, row, CommandState.QUEUED, now_ms, Actor.MANUAL)


def queued_commands(tx: Connection, wallet: str) -> list[dict[str, Any]]:
    """Commands nobody has taken, or that a runner took and died with, oldest first."""
    return _QUEUED_COMMANDS.dicts(tx, {"the_wallet": wallet})


def move_command(
    tx: Connection,
    row: dict[str, Any],
    state: CommandState,
    now_ms: int,
    *,
    before: CommandState | None = None,
    result: dict[str, Any] | None = None,
) -> bool:
    """Move a command on, with its event: acknowledged, or done with a `result`.

    With `before` only if it still is there, because its asker may take back what its runner is about to take.
    """
    done = {"acked_ms": now_ms} if state is CommandState.ACKED else {"done_ms": now_ms, "result": result}
    query = update(commands).where(commands.c.id == row["id"]).values(state=state.value, **done)
    if not tx.execute(query if before is None else query.where(commands.c.state == before.value)).rowcount:
        return False
    _tell_command(tx, row, state, now_ms, Actor.SYSTEM)
    return True


def _tell_command(tx: Connection, row: dict[str, Any], state: CommandState, now_ms: int, actor: Actor) -> None:
    data, of = {"kind": row["kind"], "state": state.value}, {"wallet": row["wallet"], "deployment": row["deployment"]}
    events.append(tx, EventKind.COMMAND_STATE, now_ms, **of, actor=actor, subject=row["id"], data=data)


def command(tx: Connection, command_id: str) -> dict[str, Any]:
    found = tx.execute(select(commands).where(commands.c.id == command_id)).first()
    if found is None:
        raise NotFound(f"no command {command_id}")
    return dict(found._mapping)


def add_directive(tx: Connection, directive_id: str, deployment: str, text: str, now_ms: int) -> None:
    tx.execute(insert(directives).values(id=directive_id, deployment=deployment, text=text, created_ms=now_ms))


def waiting_directives(tx: Connection, deployment: str) -> list[dict[str, Any]]:
    return _WAITING_DIRECTIVES.dicts(tx, {"the_deployment": deployment})


def deliver_directives(tx: Connection, ids: list[str], tick: int) -> None:
    if ids:
        tx.execute(update(directives).where(directives.c.id.in_(ids)).values(tick=tick))
