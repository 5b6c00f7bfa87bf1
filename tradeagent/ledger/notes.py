"""Records around trading: incidents, agent versions, model usage, provenance of learnings, and small settings."""

import hashlib
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from tradeagent.domain.clock import day_start_ms
from tradeagent.domain.errors import NotFound
from tradeagent.domain.names import Actor, EventKind, IncidentCode, Level
from tradeagent.ledger import events
from tradeagent.ledger.direct import Write
from tradeagent.ledger.schema import agent_versions, incidents, kv, learning_lines, llm_spend, llm_usage

KILL_SWITCH = "kill_switch"
_ADD_USAGE = Write(insert(llm_usage))
_SPENT = select(llm_spend.c.cost_usd).where(llm_spend.c.slug == bindparam("the_slug"), llm_spend.c.day_ms == bindparam("the_day"))
_SETTING = select(kv.c.value).where(kv.c.key == bindparam("the_key"))


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that needs a person."""

    code: IncidentCode
    level: Level
    message: str
    wallet: str | None = None
    deployment: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


def open_incident(tx: Connection, incident_id: str, incident: Incident, now_ms: int) -> bool:
    """Record an incident; False when an open one of the same code, place and message is there, which is not repeated."""
    code, level, message = incident.code, incident.level, incident.message
    wallet, deployment, details = incident.wallet, incident.deployment, incident.details
    same = select(incidents.c.id).where(
        incidents.c.state == "open",
        incidents.c.code == code.value,
        incidents.c.wallet == wallet,
        incidents.c.deployment == deployment,
        incidents.c.message == message,
    )
    if tx.execute(same).first() is not None:
        return False
    tx.execute(
        insert(incidents).values(
            id=incident_id,
            time_ms=now_ms,
            level=level.value,
            code=code.value,
            wallet=wallet,
            deployment=deployment,
            message=message,
            details=details,
            state="open",
        )
    )
    data = {"code": code.value, "level": level.value, "message": message}
    events.append(tx, EventKind.INCIDENT_OPENED, now_ms, wallet=wallet, deployment=deployment, subject=incident_id, data=data)
    return True


def close_incident(tx: Connection, incident_id: str, now_ms: int) -> dict[str, Any]:
    """A person has dealt with an incident: it as it is now. NotFound names the id; a closed one stays as it is."""
    found = tx.execute(select(incidents).where(incidents.c.id == incident_id)).first()
    if found is None:
        raise NotFound(f"no incident {incident_id!r}", hint="`tradeagent incidents` lists the open ones")
    row = dict(found._mapping)
    if row["state"] == "open":
        tx.execute(update(incidents).where(incidents.c.id == incident_id).values(state="closed"))
        data = {"code": row["code"]}
        events.append(
            tx,
            EventKind.INCIDENT_CLOSED,
            now_ms,
            wallet=row["wallet"],
            deployment=row["deployment"],
            actor=Actor.MANUAL,
            subject=incident_id,
            data=data,
        )
    return row | {"state": "closed"}


def close_incidents(tx: Connection, code: IncidentCode, now_ms: int, *, wallet: str | None, level: Level | None = None) -> None:
    """Close what no longer holds on a wallet (None: of no wallet), of one level when given."""
    match = [incidents.c.state == "open", incidents.c.code == code.value, incidents.c.wallet == wallet]
    if level is not None:
        match.append(incidents.c.level == level.value)
    ids = tx.scalars(select(incidents.c.id).where(*match)).all()
    if ids:
        tx.execute(update(incidents).where(incidents.c.id.in_(ids)).values(state="closed"))
        for incident_id in ids:
            events.append(tx, EventKind.INCIDENT_CLOSED, now_ms, wallet=wallet, subject=incident_id, data={"code": code.value})


def list_incidents(tx: Connection, *, only_open: bool = False, limit: int = 100) -> list[dict[str, Any]]:
    """Newest first."""
    query = select(incidents)
    if only_open:
        query = query.where(incidents.c.state == "open")
    return [dict(row._mapping) for row in tx.execute(query.order_by(incidents.c.time_ms.desc(), incidents.c.id.desc()).limit(limit))]


def is_open(tx: Connection, code: IncidentCode, wallet: str) -> bool:
    """Whether an incident of this code is open on a wallet."""
    query = select(incidents.c.id).where(incidents.c.state == "open", incidents.c.code == code.value, incidents.c.wallet == wallet)
    return tx.execute(query.limit(1)).first() is not None


def has_incident(tx: Connection, code: IncidentCode, deployment: str) -> bool:
    """Whether a run ever had an incident of this code, closed ones too."""
    query = select(incidents.c.id).where(incidents.c.code == code.value, incidents.c.deployment == deployment)
    return tx.execute(query.limit(1)).first() is not None


def open_incident_counts(tx: Connection) -> dict[str | None, int]:
    """Open incidents by deployment."""
    query = select(incidents.c.deployment, func.count()).where(incidents.c.state == "open").group_by(incidents.c.deployment)
    return {row[0]: row[1] for row in tx.execute(query)}


def save_version(tx: Connection, slug: str, payload: str, payload_hash: str, note: str, now_ms: int) -> int:
    """The version number of this content: the present one when nothing changed, else a new one."""
    newest = tx.execute(
        select(agent_versions.c.version, agent_versions.c.payload_hash)
        .where(agent_versions.c.slug == slug)
        .order_by(agent_versions.c.version.desc())
        .limit(1)
    ).first()
    if newest is not None and newest.payload_hash == payload_hash:
        return int(newest.version)
    version = (newest.version if newest else 0) + 1
    tx.execute(
        insert(agent_versions).values(slug=slug, version=version, payload=payload, payload_hash=payload_hash, note=note, created_ms=now_ms)
    )
    return int(version)


def versions(tx: Connection, slug: str, *, with_payload: bool = False) -> list[dict[str, Any]]:
    """Newest first."""
    columns = [column for column in agent_versions.c if with_payload or column.name != "payload"]
    query = select(*columns).where(agent_versions.c.slug == slug).order_by(agent_versions.c.version.desc())
    return [dict(row._mapping) for row in tx.execute(query)]


def add_usage(tx: Connection, values: dict[str, Any]) -> None:
    """Record what a turn used, and add its known cost to the day's running total."""
    _ADD_USAGE.one(tx, values)
    if values["cost_usd"]:
        _add_spend(tx, values)


def grow_usage(tx: Connection, values: dict[str, Any]) -> None:
    """Record one more call of a turn, named by its start, who it is of, and the model: the turn stays one row."""
    named = [llm_usage.c[key] == values[key] for key in ("time_ms", "slug", "turn_kind", "model")]
    row = tx.execute(select(llm_usage).where(*named).limit(1)).first()
    if row is None:
        add_usage(tx, values)
        return
    cost = None if row.cost_usd is None or values["cost_usd"] is None else row.cost_usd + values["cost_usd"]
    counts = {key: row._mapping[key] + values[key] for key in ("calls", "tokens_in", "tokens_out")}
    tx.execute(update(llm_usage).where(llm_usage.c.seq == row.seq).values(**counts, cost_usd=cost))
    if values["cost_usd"]:
        _add_spend(tx, values)


def _add_spend(tx: Connection, values: dict[str, Any]) -> None:
    day_ms = day_start_ms(values["time_ms"])
    spent = {"slug": values["slug"], "day_ms": day_ms, "cost_usd": spent_on(tx, values["slug"], day_ms) + values["cost_usd"]}
    tx.execute(upsert(llm_spend).values(**spent).on_conflict_do_update(index_elements=["slug", "day_ms"], set_=spent))


def spent_on(tx: Connection, slug: str, day_ms: int) -> Decimal:
    """Known model spend of an agent on the UTC day that starts at `day_ms`, USD."""
    return tx.execute(_SPENT, {"the_slug": slug, "the_day": day_ms}).scalar() or Decimal(0)


def usage_rows(tx: Connection, *, slug: str | None = None, deployment: str | None = None, since_ms: int = 0) -> list[dict[str, Any]]:
    query = select(llm_usage).where(llm_usage.c.time_ms >= since_ms)
    if slug is not None:
        query = query.where(llm_usage.c.slug == slug)
    if deployment is not None:
        query = query.where(llm_usage.c.deployment == deployment)
    return [dict(row._mapping) for row in tx.execute(query.order_by(llm_usage.c.seq))]


def usage_totals(tx: Connection, deployment: str) -> tuple[int, int, Decimal | None]:
    """(calls, tokens, cost in USD) of one deployment; no call cost nothing, and None = no call has a known price."""
    rows = usage_rows(tx, deployment=deployment)
    costs = [row["cost_usd"] for row in rows if row["cost_usd"] is not None]
    return (
        sum(row["calls"] for row in rows),
        sum(row["tokens_in"] + row["tokens_out"] for row in rows),
        sum(costs, Decimal(0)) if costs or not rows else None,
    )


def line_hash(line: str) -> str:
    return hashlib.sha256(line.strip().encode()).hexdigest()


def remember_line(tx: Connection, slug: str, line: str, deployment: str | None, now_ms: int) -> None:
    """Note that the agent, not a person, wrote this line of its learnings."""
    values = {"slug": slug, "line_hash": line_hash(line), "deployment": deployment, "time_ms": now_ms}
    tx.execute(upsert(learning_lines).values(**values).on_conflict_do_nothing())


def written_by_agent(tx: Connection, slug: str) -> set[str]:
    """Hashes of the lines the agent wrote."""
    return set(tx.scalars(select(learning_lines.c.line_hash).where(learning_lines.c.slug == slug)))


def setting(tx: Connection, key: str) -> Any:
    return tx.execute(_SETTING, {"the_key": key}).scalar()


def put_setting(tx: Connection, key: str, value: Any) -> None:
    tx.execute(upsert(kv).values(key=key, value=value).on_conflict_do_update(index_elements=["key"], set_={"value": value}))
