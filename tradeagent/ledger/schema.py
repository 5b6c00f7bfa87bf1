"""Tables of the ledger (SQLAlchemy Core). Money is Decimal stored as text, times are integer milliseconds UTC, structures are JSON.

Money rows (fills, funding_payments, account_flows, round_trips) are append-only; risk_state and positions are running totals
kept in the same transaction as the rows they follow from, so that no rule ever sums history.
"""

import json
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

_compact = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
metadata = MetaData()


class Money(TypeDecorator[Decimal]):
    """Decimal as plain text: exact, and readable in any SQLite shell."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:
        return None if value is None else f"{value:f}"

    def process_result_value(self, value: str | None, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


class Json(TypeDecorator[Any]):
    """A JSON document as text, keys in insertion order."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else _compact(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


def _text(name: str, **options: Any) -> Column[str]:
    return Column(name, Text, nullable=options.pop("nullable", False), **options)


def _maybe(name: str) -> Column[str]:
    return Column(name, Text, nullable=True)


def _ms(name: str, **options: Any) -> Column[int]:
    return Column(name, Integer, nullable=options.pop("nullable", False), **options)


def _money(name: str, nullable: bool = False) -> Column[Decimal]:
    return Column(name, Money, nullable=nullable)


wallets = Table(
    "wallets",
    metadata,
    _text("name", primary_key=True),
    _text("venue"),
    _text("network"),
    _text("kind"),
    Column("limits", Json, nullable=False),
    _ms("created_ms"),
)

risk_state = Table(
    "risk_state",
    metadata,
    _text("wallet", primary_key=True),
    _money("cash"),
    _money("realised"),
    _money("fees"),
    _money("funding"),
    _money("flows"),
    _money("nav_units"),
    _money("nav_peak"),
    _ms("day_start_ms"),
    _money("day_start_equity"),
    _money("day_flows"),
    _money("peak_equity"),
    _money("last_equity"),
    _ms("last_equity_ms"),
    _money("penalty"),
    _ms("penalty_ms"),
    _ms("lockout_ms", nullable=True),
    _maybe("halt"),
    _ms("halt_ms", nullable=True),
    _ms("market_clock_ms", nullable=True),
    _maybe("clock_source"),
    _ms("activity_cursor"),
    Column("entries_today", Json, nullable=False),
    Column("losing_streak", Integer, nullable=False),
)

agent_versions = Table(
    "agent_versions",
    metadata,
    Column("id", Integer, primary_key=True),
    _text("slug"),
    Column("version", Integer, nullable=False),
    _text("payload"),
    _text("payload_hash"),
    _text("note"),
    _ms("created_ms"),
    UniqueConstraint("slug", "version"),
)

deployments = Table(
    "deployments",
    metadata,
    _text("id", primary_key=True),
    _text("kind"),
    _text("slug"),
    _text("wallet"),
    Column("version", Integer, nullable=False),
    _text("mode"),
    _text("state"),
    Column("number", Integer, nullable=False),
    _text("model"),
    Column("markets", Json, nullable=False),
    Column("limits", Json, nullable=False),
    Column("source", Json, nullable=False),
    _money("equity_start"),
    Column("ticks", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    _ms("created_ms"),
    _ms("ended_ms", nullable=True),
    _ms("last_tick_ms", nullable=True),
    _ms("next_tick_ms", nullable=True),
    _maybe("stopped_because"),
    _text("boot_id"),
    Column("pid", Integer, nullable=False),
    Index("deployments_by_wallet", "wallet", "created_ms"),
    Index("deployments_by_slug", "slug", "number"),
)

leases = Table(
    "leases",
    metadata,
    _text("wallet", primary_key=True),
    _maybe("deployment"),
    _text("owner"),
    Column("fencing_token", Integer, nullable=False),
    _ms("heartbeat_ms"),
)

nonces = Table("nonces", metadata, _text("signer", primary_key=True), Column("last", Integer, nullable=False))

ticks = Table(
    "ticks",
    metadata,
    _text("id", primary_key=True),
    _text("deployment"),
    Column("number", Integer, nullable=False),
    _text("state"),
    _maybe("rule"),
    _text("action"),
    _ms("started_ms"),
    _ms("market_ms"),
    _ms("ended_ms", nullable=True),
    Column("record", LargeBinary, nullable=True),
    UniqueConstraint("deployment", "number"),
)

commands = Table(
    "commands",
    metadata,
    _text("id", primary_key=True),
    _text("wallet"),
    _maybe("deployment"),
    _text("kind"),
    Column("payload", Json, nullable=False),
    _text("state"),
    _ms("created_ms"),
    _ms("acked_ms", nullable=True),
    _ms("done_ms", nullable=True),
    Column("result", Json, nullable=True),
    Index("commands_by_wallet", "wallet", "state"),
)

intents = Table(
    "intents",
    metadata,
    _text("id", primary_key=True),
    _text("wallet"),
    _maybe("deployment"),
    _text("controller_id"),
    _text("actor"),
    _text("kind"),
    _text("market"),
    _text("state"),
    Column("proposal", Json, nullable=False),
    Column("plan", Json, nullable=True),
    Column("checks", Json, nullable=False),
    Column("detail", Json, nullable=True),
    _maybe("rule"),
    _maybe("cloid"),
    Column("fencing_token", Integer, nullable=False),
    Column("nonce", Integer, nullable=True),
    _ms("created_ms"),
    _ms("updated_ms"),
    Index("intents_open", "wallet", "state"),
    Index("intents_by_deployment", "deployment", "created_ms"),
)

approvals = Table(
    "approvals",
    metadata,
    _text("id", primary_key=True),
    _text("wallet"),
    _maybe("deployment"),
    Column("plan", Json, nullable=False),
    _text("state"),
    _ms("created_ms"),
    _ms("expires_ms"),
    _ms("decided_ms", nullable=True),
    Index("approvals_waiting", "state", "created_ms"),
)

reservations = Table(
    "reservations",
    metadata,
    _text("intent_id", primary_key=True),
    _text("wallet"),
    _text("market"),
    _text("controller_id"),
    _maybe("deployment"),
    _text("side"),
    _money("size"),
    _money("price"),
    _money("risk"),
    Column("leverage", Integer, nullable=False),
    Column("active", Boolean, nullable=False),
    Index("reservations_active", "wallet", "active"),
)

orders = Table(
    "orders",
    metadata,
    _text("cloid", primary_key=True),
    _text("intent_id"),
    _text("wallet"),
    _maybe("deployment"),
    _text("controller_id"),
    Column("oid", Integer, nullable=True),
    _text("market"),
    _text("side"),
    _text("type"),
    _text("leg"),
    _money("size"),
    _money("filled"),
    _money("price", nullable=True),
    _money("trigger", nullable=True),
    _text("tif"),
    Column("reduce_only", Boolean, nullable=False),
    _maybe("parent_cloid"),
    _text("state"),
    _text("reason"),
    _ms("created_ms"),
    _ms("updated_ms"),
    Index("orders_live", "wallet", "state"),
    Index("orders_by_intent", "intent_id"),
    Index("orders_by_oid", "wallet", "oid"),
)

fills = Table(
    "fills",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    _text("wallet"),
    Column("trade_id", Integer, nullable=False),
    _maybe("deployment"),
    _text("controller_id"),
    _maybe("intent_id"),
    Column("oid", Integer, nullable=False),
    _text("cloid"),
    _text("market"),
    _text("side"),
    _money("size"),
    _money("price"),
    _money("fee"),
    _text("liquidity"),
    _money("realised_pnl"),
    _maybe("exit_reason"),
    _ms("time_ms"),
    UniqueConstraint("wallet", "trade_id"),
    Index("fills_by_deployment", "deployment", "seq"),
    Index("fills_by_order", "cloid"),
    Index("fills_by_controller", "controller_id"),
    Index("fills_by_wallet", "wallet", "seq"),
)

executors = Table(
    "executors",
    metadata,
    _text("id", primary_key=True),
    _text("wallet"),
    _text("deployment"),
    _text("controller_id"),
    _text("type"),
    _text("market"),
    _text("side"),
    _text("status"),
    _maybe("close_type"),
    _text("detail"),
    Column("spec", Json, nullable=False),
    Column("layout", Json, nullable=False),
    Column("state", Json, nullable=False),
    _money("amount_quote"),
    _money("net_pnl_quote"),
    _money("fees_paid_quote"),
    _money("volume_quote"),
    _ms("created_ms"),
    _ms("updated_ms"),
    _ms("ended_ms", nullable=True),
    Index("executors_live", "wallet", "status"),
    Index("executors_by_deployment", "deployment", "status"),
)

positions = Table(
    "positions",
    metadata,
    _text("wallet", primary_key=True),
    _text("market", primary_key=True),
    _text("controller_id", primary_key=True),
    _money("size"),
    _money("cost"),
    Column("leverage", Integer, nullable=False),
    _money("funding"),
    Column("entries", Integer, nullable=False),
    Column("trip", Json, nullable=True),
    _money("mark", nullable=True),
    _ms("mark_ms", nullable=True),
    _ms("flat_ms", nullable=True),
    _ms("updated_ms"),
)

equity_points = Table(
    "equity_points",
    metadata,
    _text("wallet", primary_key=True),
    _ms("time_ms", primary_key=True),
    _money("equity"),
    _money("cash"),
    _money("nav"),
)

funding_payments = Table(
    "funding_payments",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    _text("wallet"),
    Column("payment_id", Integer, nullable=False),
    _maybe("deployment"),
    _text("market"),
    _money("size"),
    _money("oracle_price"),
    _money("rate"),
    _money("payment"),
    _ms("time_ms"),
    UniqueConstraint("wallet", "payment_id"),
)

account_flows = Table(
    "account_flows",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    _text("wallet"),
    Column("flow_id", Integer, nullable=False),
    _text("kind"),
    _money("amount"),
    _ms("time_ms"),
    UniqueConstraint("wallet", "flow_id"),
)

round_trips = Table(
    "round_trips",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    _text("wallet"),
    _maybe("deployment"),
    _text("controller_id"),
    _text("market"),
    _text("direction"),
    _ms("opened_ms"),
    _ms("closed_ms"),
    _money("entry_price"),
    _money("exit_price"),
    _money("size"),
    _money("realised_pnl"),
    _money("fees"),
    _money("funding"),
    _money("pnl"),
    _money("mfe"),
    _money("mae"),
    _money("r_multiple", nullable=True),
    _text("entry_reason"),
    _text("exit_reason"),
    Index("round_trips_by_deployment", "deployment", "seq"),
    Index("round_trips_by_controller", "controller_id"),
)

incidents = Table(
    "incidents",
    metadata,
    _text("id", primary_key=True),
    _ms("time_ms"),
    _text("level"),
    _text("code"),
    _maybe("wallet"),
    _maybe("deployment"),
    _text("message"),
    Column("details", Json, nullable=False),
    _text("state"),
    Index("incidents_by_state", "state", "time_ms"),
)

directives = Table(
    "directives",
    metadata,
    _text("id", primary_key=True),
    _text("deployment"),
    _text("text"),
    _ms("created_ms"),
    Column("tick", Integer, nullable=True),
    Index("directives_waiting", "deployment", "tick"),
)

llm_usage = Table(
    "llm_usage",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    _ms("time_ms"),
    _text("slug"),
    _maybe("deployment"),
    _text("turn_kind"),
    _text("model"),
    Column("calls", Integer, nullable=False),
    Column("tokens_in", Integer, nullable=False),
    Column("tokens_out", Integer, nullable=False),
    _money("cost_usd", nullable=True),
    Index("llm_usage_by_slug", "slug", "time_ms"),
)

llm_spend = Table(
    "llm_spend",
    metadata,
    _text("slug", primary_key=True),
    _ms("day_ms", primary_key=True),
    _money("cost_usd"),
)

learning_lines = Table(
    "learning_lines",
    metadata,
    _text("slug", primary_key=True),
    _text("line_hash", primary_key=True),
    _maybe("deployment"),
    _ms("time_ms"),
)

kv = Table("kv", metadata, _text("key", primary_key=True), Column("value", Json, nullable=False))

events = Table(
    "events",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    _ms("time_ms"),
    _text("kind"),
    _maybe("wallet"),
    _maybe("deployment"),
    _text("actor"),
    _text("subject"),
    Column("data", Json, nullable=False),
    Index("events_by_wallet", "wallet", "seq"),
    Index("events_by_deployment", "deployment", "seq"),
    Index("events_by_kind", "kind", "seq"),
)
