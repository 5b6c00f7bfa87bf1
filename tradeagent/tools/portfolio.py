"""Tools of family portfolio: the agent's own account, positions, trades and model spend."""

from typing import Any

from pydantic import Field

from tradeagent.domain.clock import day_start_ms, iso
from tradeagent.domain.money import plain
from tradeagent.domain.names import Actor
from tradeagent.execution.caps import shown
from tradeagent.execution.exposure import free_margin
from tradeagent.execution.state import RiskState
from tradeagent.ledger import notes, trading
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


def _account(state: RiskState) -> dict[str, Any]:
    return {
        "equity_usdc": plain(state.equity),
        "cash_usdc": plain(state.risk.cash),
        "free_margin_usdc": shown(free_margin(state)),
        "maintenance_margin_usdc": shown(state.account.maintenance),
        "day_pnl_usdc": plain(state.day_pnl),
        "drawdown_pct": shown(state.drawdown_pct),
    }


async def get_account_overview(_arguments: Nothing, context: AgentContext) -> ToolResult:
    return ToolResult(_account(_state(context)))


async def get_portfolio(_arguments: Nothing, context: AgentContext) -> ToolResult:
    state = _state(context)
    positions = []
    for market in context.markets:
        row = state.row(market, state.scope.controller_id)
        if row is None or not row.size:
            continue
        liquidation = state.account.liquidation_price(market)
        mark = state.mark(market)
        positions.append(
            {
                "market": market,
                "size_base": plain(row.size),
                "entry_usdc": shown(row.cost / row.size),
                "mark_usdc": None if mark is None else plain(mark),
                "unrealised_usdc": None if mark is None else plain(row.size * mark - row.cost),
                "stops": [plain(trigger) for trigger, _ in state.stops(market)],
                "liquidation_usdc": shown(liquidation) if liquidation else "unreachable",
            }
        )
    own = [o for o in state.orders if o.controller_id == state.scope.controller_id]
    orders = [
        {"order_id": str(o.oid), "market": o.market, "side": o.side, "type": o.type, "leg": o.leg, "size_base": plain(o.size)} for o in own
    ]
    return ToolResult({"account": _account(state), "positions": positions, "open_orders": orders})


async def get_round_trips(arguments: Recent, context: AgentContext) -> ToolResult:
    with context.ledger.reading() as tx:
        trips = trading.round_trips_of(tx, deployment=context.deployment, limit=arguments.count)
    rows = [
        {
            "market": t["market"],
            "direction": t["direction"],
            "opened": iso(t["opened_ms"]),
            "closed": iso(t["closed_ms"]),
            "entry_usdc": shown(t["entry_price"]),
            "exit_usdc": shown(t["exit_price"]),
            "net_pnl_usdc": plain(t["pnl"]),
            "r": None if t["r_multiple"] is None else f"{t['r_multiple']:.2f}",
            "exit_reason": t["exit_reason"],
        }
        for t in trips
    ]
    return ToolResult({"round_trips": rows})


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
