"""Runs side by side: what each did, from the ledger, and why the figures may not be comparable."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from tradeagent.domain.clock import iso
from tradeagent.domain.errors import NotFound
from tradeagent.domain.money import ZERO, plain
from tradeagent.domain.names import RunMode, VerdictKind
from tradeagent.ledger import notes, runs, trading
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.turns.record import TickRecord, TickState

FEW_TRADES = 30
_ALL = 1_000_000


def compared_runs(tx: Connection, names: Sequence[str]) -> dict[str, Any]:
    """`{runs, caveats}`; a name is a run, an agent for its newest session, or AGENT@VERSION for the newest session of a version."""
    rows = [_run(tx, name) for name in names]
    found = [_figures(tx, row) for row in rows]
    return {"runs": found, "caveats": _caveats(rows, found)}


def sessions_of(tx: Connection, slug: str, most: int = 6) -> list[str]:
    """The newest sessions of an agent, oldest of them first."""
    return [row.id for row in _sessions(tx, slug)[:most]][::-1]


def _sessions(tx: Connection, slug: str) -> list[DeploymentRow]:
    """Newest first."""
    return [row for row in runs.all_deployments(tx, slug=slug, limit=_ALL) if row.mode == RunMode.LOOP.value]


def _run(tx: Connection, name: str) -> DeploymentRow:
    named = runs.find_deployment(tx, name)
    if named is not None:
        return named
    slug, at, version = name.partition("@")
    wanted = [row for row in _sessions(tx, slug) if not at or str(row.version) == version]
    if not wanted:
        what = f"version {version} of {slug}" if at else name
        raise NotFound(f"no session of {what}", hint=f"`tradeagent run {slug} --mode loop` makes one; `tradeagent status` lists runs")
    return wanted[0]


def _figures(tx: Connection, row: DeploymentRow) -> dict[str, Any]:
    ticks = runs.ticks_of(tx, row.id)
    last = next((TickRecord.from_bytes(entry["record"]) for entry in reversed(_recorded(tx, row, ticks)) if entry["record"]), None)
    trips = trading.round_trips_of(tx, deployment=row.id, limit=_ALL)
    decided = trading.intent_counts(tx, row.id)
    calls, tokens, cost = notes.usage_totals(tx, row.id)
    first_ms, last_ms = (ticks[0]["market_ms"], ticks[-1]["market_ms"]) if ticks else (None, None)
    pnl = last.figures.pnl if last else None
    won = sum(trip["pnl"] > 0 for trip in trips)
    rs = [trip["r_multiple"] for trip in trips if trip["r_multiple"] is not None]
    return {
        "deployment": row.id,
        "agent": row.slug,
        "version": row.version,
        "model": row.model,
        "markets": row.markets,
        "source": row.source.get("replay") or "imported bars",
        "state": row.state,
        "from": iso(first_ms),
        "to": iso(last_ms),
        "ticks": len(ticks),
        "blocked_ticks": sum(tick["state"] == TickState.BLOCKED.value for tick in ticks),
        "intents": sum(count for _, _, count in decided),
        "rejected": {rule or "venue": count for state, rule, count in decided if state == VerdictKind.REJECTED.value},
        "round_trips": len(trips),
        "win_rate_pct": f"{100 * won / len(trips):.1f}" if trips else None,
        "average_r": f"{sum(rs, ZERO) / len(rs):.2f}" if rs else None,
        "pnl": None if pnl is None else plain(pnl),
        "pnl_pct": None if pnl is None or row.equity_start <= 0 else f"{pnl / row.equity_start * 100:.3f}",
        "open_positions": last.figures.open if last else None,
        "volume": plain(last.figures.volume) if last else None,
        "fees_of_round_trips": plain(sum((trip["fees"] for trip in trips), ZERO)),
        "max_drawdown_pct": _drawdown(tx, row, first_ms, last_ms),
        "model_calls": calls,
        "tokens": tokens,
        "cost_usd": None if cost is None else plain(cost),
        "cost_per_tick_usd": f"{cost / len(ticks):.6f}" if cost is not None and ticks else None,
    }


def _recorded(tx: Connection, row: DeploymentRow, ticks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The newest ticks with their records."""
    return runs.ticks_of(tx, row.id, after=max(0, ticks[-1]["number"] - 10), with_record=True) if ticks else []


def _drawdown(tx: Connection, row: DeploymentRow, first_ms: int | None, last_ms: int | None) -> str | None:
    """Deepest fall of the wallet's nav between two ticks; deposits do not move it."""
    if first_ms is None or last_ms is None:
        return None
    peak, deepest = ZERO, ZERO
    for point in trading.equity_points_of(tx, row.wallet, first_ms, _ALL):
        if point["time_ms"] > last_ms:
            break
        peak = max(peak, point["nav"])
        deepest = max(deepest, Decimal(1) - point["nav"] / peak) if peak > 0 else deepest
    return f"{deepest * 100:.3f}"


def _caveats(rows: Sequence[DeploymentRow], found: Sequence[dict[str, Any]]) -> list[str]:
    """What a reader must know before believing that one run is better."""
    said = ["PnL is net and includes what was open at the last tick, at its mark"]
    if len({(one["from"], one["to"]) for one in found}) > 1:
        said.append("the runs cover different times: a market that moved is no merit of an agent")
    if len({(tuple(row.markets), one["source"]) for row, one in zip(rows, found, strict=True)}) > 1:
        said.append("the runs saw different markets or bars")
    if len({row.equity_start for row in rows}) > 1:
        said.append("the runs began with different equity: compare pnl_pct")
    if any(row.limits != rows[0].limits for row in rows):
        said.append("the runs had different limits")
    few = [one["deployment"] for one in found if one["round_trips"] < FEW_TRADES]
    if few:
        said.append(f"fewer than {FEW_TRADES} round trips: {', '.join(few)}; too few to tell skill from luck")
    if any(one["cost_usd"] is None and one["model_calls"] for one in found):
        said.append("the price of a model is unknown: its cost is not in any figure")
    return said
