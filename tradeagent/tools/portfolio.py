"""Tools of family portfolio: the agent's own account, positions, trades and model spend."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from tradeagent.domain.clock import day_start_ms, iso
from tradeagent.domain.money import plain
from tradeagent.domain.names import Actor
from tradeagent.execution.caps import shown
from tradeagent.execution.exposure import free_margin
from tradeagent.execution.state import RiskState
from tradeagent.ledger import notes, trading
from tradeagent.ledger.trading import OrderRow, PositionRow
from tradeagent.llm.contract import Tool, ToolResult
from tradeagent.tools.context import AgentContext
from tradeagent.tools.market import Arguments


class Nothing(Arguments):
    pass


class Recent(Arguments):
    count: int = Field(default=10, ge=1, le=100)


def _state(context: AgentContext) -> RiskState:
    with context.ledger.reading() as tx:
        return context.engine.state(tx, Actor.AGENT)


def account_figures(state: RiskState) -> dict[str, Any]:
    """Equity, margin, the day and drawdown of one wallet, USDC and percent."""
    return {
        "equity_usdc": shown(state.equity),
        "cash_usdc": shown(state.risk.cash),
        "free_margin_usdc": shown(free_margin(state)),
        "maintenance_margin_usdc": shown(state.account.maintenance),
        "day_pnl_usdc": shown(state.day_pnl),
        "drawdown_pct": shown(state.drawdown_pct),
    }


async def get_account_overview(_arguments: Nothing, context: AgentContext) -> ToolResult:
    return ToolResult(account_figures(_state(context)))


async def get_portfolio(_arguments: Nothing, context: AgentContext) -> ToolResult:
    state = _state(context)
    held = [row for market in context.markets if (row := state.row(market, state.scope.controller_id)) is not None and row.size]
    positions = [position_row(state, row) for row in held]
    own = sorted((order for order in state.orders if order.controller_id == state.scope.controller_id), key=lambda order: order.oid or 0)
    orders = [order_row(order) for order in own]
    return ToolResult({"account": account_figures(state), "positions": positions, "open_orders": orders})


def position_row(state: RiskState, row: PositionRow) -> dict[str, Any]:
    """What one controller holds in a market."""
    liquidation, mark = state.account.liquidation_price(row.market), state.mark(row.market)
    return {
        "market": row.market,
        "size_base": plain(row.size),
        "entry_usdc": shown(row.cost / row.size),
        "mark_usdc": None if mark is None else plain(mark),
        "unrealised_usdc": None if mark is None else shown(row.size * mark - row.cost),
        "stops": [plain(trigger) for trigger, _ in state.stops(row.market)],
        "liquidation_usdc": shown(liquidation) if liquidation else "unreachable",
    }


def order_row(order: OrderRow) -> dict[str, Any]:
    """A live order."""
    named = {"order_id": str(order.oid), "market": order.market, "side": order.side, "type": order.type, "leg": order.leg}
    return {**named, "size_base": plain(order.size)}


async def get_round_trips(arguments: Recent, context: AgentContext) -> ToolResult:
    with context.ledger.reading() as tx:
        trips = trading.round_trips_of(tx, deployment=context.deployment, limit=arguments.count)
    return ToolResult({"round_trips": [trip_row(trip) for trip in trips]})


def trip_row(trip: Mapping[str, Any]) -> dict[str, Any]:
    """A closed trade, flat to flat."""
    return {
        "market": trip["market"],
        "direction": trip["direction"],
        "opened": iso(trip["opened_ms"]),
        "closed": iso(trip["closed_ms"]),
        "entry_usdc": shown(trip["entry_price"]),
        "exit_usdc": shown(trip["exit_price"]),
        "net_pnl_usdc": shown(trip["pnl"]),
        "r": None if trip["r_multiple"] is None else f"{trip['r_multiple']:.2f}",
        "exit_reason": trip["exit_reason"],
    }


async def get_usage(_arguments: Nothing, context: AgentContext) -> ToolResult:
    with context.ledger.reading() as tx:
        rows = notes.usage_rows(tx, slug=context.slug, since_ms=day_start_ms(context.clock.now_ms()))
    costs = [row["cost_usd"] for row in rows if row["cost_usd"] is not None]
    tokens = sum(row["tokens_in"] + row["tokens_out"] for row in rows)
    return ToolResult({"today": {"turns": len(rows), "tokens": tokens, "cost_usd": f"{sum(costs):.4f}" if costs else None}})


PORTFOLIO_TOOLS = (
    Tool("get_portfolio", "Your account, open positions with stops, and open orders.", Nothing, "portfolio", "read", get_portfolio),
    Tool("get_account_overview", "Equity, free margin, day PnL and drawdown.", Nothing, "portfolio", "read", get_account_overview),
    Tool("get_round_trips", "Your closed trades, net PnL and R.", Recent, "portfolio", "read", get_round_trips),
    Tool("get_usage", "Model tokens and cost today.", Nothing, "portfolio", "read", get_usage),
)
