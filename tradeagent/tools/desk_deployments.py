"""Reads of family deployment: what runs where, and why it did what it did. Preparing an action is in `actions`."""

import json
import zlib

from pydantic import Field

from tradeagent.domain.clock import iso
from tradeagent.domain.names import EventKind
from tradeagent.ledger import events, runs
from tradeagent.llm.contract import Tool, ToolResult
from tradeagent.llm.untrusted import untrusted
from tradeagent.tools.desk import DeskContext
from tradeagent.tools.market import Arguments
from tradeagent.tools.sight import run_name, run_seen, runs_seen, sees_agents
from tradeagent.workspace.claims import live_state

_TOLD = (
    EventKind.TICK_FINISHED,
    EventKind.TICK_BLOCKED,
    EventKind.PROPOSAL_REJECTED,
    EventKind.POSITION_OPENED,
    EventKind.POSITION_CLOSED,
    EventKind.HALT,
    EventKind.LOCKOUT,
    EventKind.LIQUIDATION,
)
# Fields of an event that hold the product's own words, and those that hold a model's.
_PLAIN = ("state", "rule", "market", "side", "direction", "size", "price", "pnl", "open", "verdict", "exit_reason", "message", "code")
_SAID = ("action", "reason")
_UNITS = {"size": "size_base", "price": "price_usdc", "pnl": "pnl_usdc"}
_LONGEST = 800


class Deployments(Arguments):
    running_only: bool = False
    count: int = Field(default=20, ge=1, le=100)


class Decisions(Arguments):
    deployment: str = Field(min_length=1, max_length=80, description="id of a run, or an agent or algo for its newest")
    count: int = Field(default=15, ge=1, le=50)


async def show_deployments(arguments: Deployments, context: DeskContext) -> ToolResult:
    with context.ledger.reading() as tx:
        found = runs_seen(tx, context)
    rows = []
    for row in found:
        state = live_state(context.workspace, row)
        if arguments.running_only and not state.is_live:
            continue
        rows.append(
            {
                "deployment": row.id,
                "kind": row.kind,
                "runs": run_name(row),
                "wallet": row.wallet,
                "markets": row.markets,
                "mode": row.mode,
                "state": state.value,
                "ticks": row.ticks,
                "started": iso(row.created_ms),
                "last_tick": iso(row.last_tick_ms),
                "next_tick": iso(row.next_tick_ms) if state.is_live else None,
                "stopped_because": row.stopped_because,
            }
        )
    told: dict[str, object] = {"deployments": rows[: arguments.count], "of": len(rows)}
    if not sees_agents(context.mode):
        told["note"] = f"mode {context.mode} shows runs of algorithms only; coach and ops show agents too"
    return ToolResult(told)


async def get_decisions(arguments: Decisions, context: DeskContext) -> ToolResult:
    with context.ledger.reading() as tx:
        run = run_seen(tx, context, arguments.deployment)
        kinds = tuple(kind.value for kind in _TOLD)
        found = events.read(tx, deployment=run.id, kinds=kinds, limit=arguments.count, newest=True)
        records = runs.ticks_of(tx, run.id, after=max(0, run.ticks - arguments.count), with_record=True)
    reasons = {row["number"]: _reasons(row["record"]) for row in records if row["record"] is not None}
    rows = []
    for row in found:
        plain = {key: value for key, value in row["data"].items() if isinstance(value, (bool, int, float)) or (key in _PLAIN and value)}
        told = {_UNITS.get(key, key): value for key, value in plain.items()}
        said = [str(row["data"][key]) for key in _SAID if row["data"].get(key)]
        if row["kind"] == EventKind.TICK_FINISHED.value:
            said += reasons.get(row["data"].get("tick"), [])
        words = {"said": untrusted(run.id, "\n".join(said), _LONGEST)} if said else {}
        rows.append({"time": iso(row["time_ms"]), "event": row["kind"], **told, **words})
    return ToolResult({"deployment": run.id, "wallet": run.wallet, "decisions": rows})


def _reasons(record: bytes) -> list[str]:
    """What a model wrote about its decisions, out of the compressed record of a tick."""
    found = json.loads(zlib.decompress(record)).get("decisions", [])
    return [f"{each.get('action', '')}: {each.get('reasoning', '')} {each.get('risk_note', '')}".strip() for each in found]


DEPLOYMENT_TOOLS = (
    Tool("show_deployments", "What runs or ran, on which wallet, in which state.", Deployments, "deployment", "read", show_deployments),
    Tool("get_decisions", "What a run decided lately and what the door refused.", Decisions, "deployment", "read", get_decisions),
)
