"""The state of a wallet for whoever only looks: the same RiskState as at the door, from the ledger and the last marks."""

from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from tradeagent.domain.clock import Clock
from tradeagent.domain.limits import Limits
from tradeagent.domain.names import Actor, DeploymentState, LimitKind
from tradeagent.execution.opening import Tenant, costs_of, instruments_of, manual_limits
from tradeagent.execution.state import MANUAL_CONTROLLER, MarketState, RiskState, Scope
from tradeagent.ledger import events, executors, notes, runs, trading, wallets
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.ledger.wallets import WalletRow
from tradeagent.workspace.config import Config


def read_state(tx: Connection, config: Config, wallet: WalletRow, clock: Clock, tenant: Tenant | None = None) -> RiskState:
    """A wallet as the ledger knows it, judged at its own market clock when a replay drives it."""
    risk = wallets.risk(tx, wallet.name)
    rows = tuple(trading.positions_of(tx, wallet.name))
    instruments = instruments_of(config)
    seen = {row.market: row for row in rows if row.mark is not None and row.controller_id == trading.NET}
    markets = {
        symbol: MarketState(known, seen[symbol].mark, seen[symbol].mark_ms or 0) if symbol in seen else MarketState(known)
        for symbol, known in instruments.items()
    }
    deployment = runs.find_deployment(tx, tenant.deployment) if tenant else None
    costs = costs_of(config)
    return RiskState(
        now_ms=risk.now_ms(clock),
        wallet=wallet,
        risk=risk,
        limits=tenant.limits if tenant else manual_limits(config, wallet),
        scope=_scope(tenant),
        markets=markets,
        positions=rows,
        orders=tuple(trading.live_orders(tx, wallet.name)),
        reservations=tuple(trading.active_reservations(tx, wallet.name)),
        fees=costs.fees,
        slippage_bps=costs.slippage_bps,
        token_is_current=True,
        deployment_state=DeploymentState(deployment.state) if deployment else None,
        kill_switch=bool(notes.setting(tx, notes.KILL_SWITCH)),
        phase=events.last_phase(tx, wallet.name),
        unknown_markets=trading.unknown_markets(tx, wallet.name),
        live_executors=executors.live_count(tx, tenant.deployment) if tenant else 0,
    )


def tenant_of(deployment: DeploymentRow) -> Tenant:
    """The tenant a stored deployment was; its limits as they were frozen when it started."""
    limits = limits_in(deployment.limits)
    return Tenant(deployment.id, deployment.slug, frozenset(deployment.markets), limits, actor=Actor(deployment.kind))


def limits_out(limits: Limits) -> dict[str, Any]:
    """Limits as JSON, with their origins."""
    return {"kind": limits.kind.value, "values": limits.as_dict(), "origin": dict(limits.origin)}


def limits_in(stored: dict[str, Any]) -> Limits:
    """Limits back from JSON."""
    values = {key: Decimal(value) if isinstance(value, str) else value for key, value in stored["values"].items()}
    return Limits(LimitKind(stored["kind"]), values, stored["origin"])


def _scope(tenant: Tenant | None) -> Scope:
    if tenant is None:
        return Scope(Actor.MANUAL, MANUAL_CONTROLLER, None)
    return Scope(tenant.actor, tenant.deployment, tenant.markets, tenant.deployment)
