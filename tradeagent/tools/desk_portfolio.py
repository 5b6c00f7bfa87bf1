"""Tools of family portfolio as the desk sees them: every wallet that its mode may see, from the ledger and the last marks."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import Connection

from tradeagent.domain.clock import DAY_MS, iso
from tradeagent.domain.money import ZERO, plain
from tradeagent.domain.names import HaltReason
from tradeagent.execution.caps import shown
from tradeagent.execution.exposure import free_margin
from tradeagent.execution.reading import read_state, tenant_of
from tradeagent.execution.state import RiskState, belongs_to
from tradeagent.ledger import notes, trading
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.ledger.trading import NET
from tradeagent.ledger.wallets import WalletRow
from tradeagent.llm.contract import Tool, ToolResult
from tradeagent.tools.desk import DeskContext
from tradeagent.tools.market import Arguments
from tradeagent.tools.portfolio import account_figures, order_row, position_row, trip_row
from tradeagent.tools.sight import ALGO_GROUP, is_hidden, owners_seen, run_name, run_seen, runs_seen, sees_agents, wallet_seen, wallets_seen
from tradeagent.workspace.claims import live_state
from tradeagent.workspace.latch import is_latched

ASSISTANT_SLUG = "assistant"
MOST_WALLETS, MOST_ROWS = 50, 50
_SCANNED_TRIPS = 1_000
WalletName = Annotated[str, Field(min_length=1, max_length=64, description="wallet name")]


class OfWallet(Arguments):
    wallet: WalletName | None = Field(default=None, description="one wallet; all that this mode sees without it")


class Trips(OfWallet):
    deployment: str | None = Field(default=None, max_length=80, description="only of this run")
    count: int = Field(default=20, ge=1, le=100)


class Spent(Arguments):
    days: int = Field(default=1, ge=1, le=366, description="how far back, UTC days, today included")


def _asked(tx: Connection, context: DeskContext, name: str | None) -> list[WalletRow]:
    return wallets_seen(tx, context)[:MOST_WALLETS] if name is None else [wallet_seen(tx, context, name)]


def _read(tx: Connection, context: DeskContext, wallet: WalletRow, runs: Sequence[DeploymentRow]) -> tuple[RiskState, DeploymentRow | None]:
    """A wallet as it is at the last marks, with the one of `runs` that is or was last on it."""
    newest = next((row for row in runs if row.wallet == wallet.name), None)
    return read_state(tx, context.config, wallet, context.clock, tenant_of(newest) if newest else None), newest


def _head(context: DeskContext, state: RiskState, newest: DeploymentRow | None) -> dict[str, Any]:
    wallet = state.wallet
    halted = HaltReason.KILL.value if is_latched(context.workspace.kill_dir, wallet.name) else state.risk.halt
    running = newest.id if newest is not None and live_state(context.workspace, newest).is_live else None
    return {
        "wallet": wallet.name,
        "group": wallet.kind,
        "network": wallet.network,
        "as_of": iso(state.now_ms),
        "running": running,
        "halt": halted,
        **account_figures(state),
        "margin_used_usdc": shown(state.account.initial_margin),
        "open_positions": len(state.net),
    }


async def get_account_overview(arguments: OfWallet, context: DeskContext) -> ToolResult:
    with context.ledger.reading() as tx:
        runs = runs_seen(tx, context)
        read = [_read(tx, context, wallet, runs) for wallet in _asked(tx, context, arguments.wallet)]
    rows = [_head(context, state, newest) for state, newest in read]
    return ToolResult({"wallets": rows, "total_by_network": _totals(state for state, _ in read)})


def _totals(states: Iterable[RiskState]) -> dict[str, dict[str, str]]:
    """Paper and real money are never added up."""
    found: dict[str, list[RiskState]] = {}
    for state in states:
        found.setdefault(state.wallet.network, []).append(state)
    return {
        network: {
            "equity_usdc": plain(sum((state.equity for state in each), ZERO)),
            "free_margin_usdc": shown(sum((free_margin(state) for state in each), ZERO)),
            "day_pnl_usdc": plain(sum((state.day_pnl for state in each), ZERO)),
        }
        for network, each in found.items()
    }


async def get_portfolio(arguments: OfWallet, context: DeskContext) -> ToolResult:
    positions: list[dict[str, Any]] = []
    orders: list[dict[str, Any]] = []
    with context.ledger.reading() as tx:
        owners, runs = owners_seen(tx, context), runs_seen(tx, context)
        for wallet in _asked(tx, context, arguments.wallet):
            state, _ = _read(tx, context, wallet, runs)
            seen = [row for row in state.positions if row.size and row.controller_id != NET and not is_hidden(owners, row.controller_id)]
            positions += [
                {"wallet": wallet.name, "held_by": row.controller_id, **position_row(state, row), **_distance(state, row.market)}
                for row in seen
            ]
            live = [order for order in state.orders if not is_hidden(owners, order.controller_id)]
            orders += [{"wallet": wallet.name, "placed_by": order.controller_id, **order_row(order)} for order in live]
    counts = {"positions": len(positions), "open_orders": len(orders)}
    return ToolResult({"positions": positions[:MOST_ROWS], "open_orders": orders[:MOST_ROWS], "count": counts})


def _distance(state: RiskState, market: str) -> dict[str, Any]:
    """What a person asks of a position first: leverage, and how far the mark is from liquidation, percent of the mark."""
    net, mark, liquidation = state.net.get(market), state.mark(market), state.account.liquidation_price(market)
    far = None if not mark or not liquidation else f"{abs(mark - liquidation) / mark * 100:.2f}"
    return {"leverage": None if net is None else net.leverage, "liquidation_distance_pct": far}


async def get_algo_wallets_overview(arguments: OfWallet, context: DeskContext) -> ToolResult:
    rows: list[dict[str, Any]] = []
    with context.ledger.reading() as tx:
        owners, runs = owners_seen(tx, context), runs_seen(tx, context)
        for wallet in _asked(tx, context, arguments.wallet):
            if wallet.kind == ALGO_GROUP:
                state, newest = _read(tx, context, wallet, runs)
                rows.append(_algo_row(tx, context, state, newest, _trips_of(tx, owners, wallet.name, None)))
    summary: dict[str, Any] = {"wallets": len(rows), "vacant": sum(row["vacant"] for row in rows)}
    if not rows:
        summary["message"] = "no wallet of group algo yet; `tradeagent wallet new --group algo --cash 10000 NAME` makes one"
    units = "total, free, used, equity and unrealised in USDC"
    return ToolResult({"algo_wallets": rows, "summary": summary, "units": units})


def _algo_row(
    tx: Connection, context: DeskContext, state: RiskState, newest: DeploymentRow | None, trips: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """One wallet of algos, USDC: what is in it, what earned it, and the run that has it now with what that one came to."""
    head = _head(context, state, newest)
    running = newest if head["running"] else None
    return {
        **head,
        "total": shown(state.risk.cash),
        "free": head["free_margin_usdc"],
        "used": head["margin_used_usdc"],
        "equity": head["equity_usdc"],
        "unrealised": shown(state.equity - state.risk.cash),
        "vacant": running is None,
        "run": running.id if running else None,
        "metrics": _live_metrics(tx, state, running) if running else None,
        "algo": None if newest is None else run_name(newest),
        "markets": [] if newest is None else newest.markets,
        "closed_trades": len(trips),
        "net_pnl_usdc": plain(sum((trip["pnl"] for trip in trips), ZERO)),
        "win_rate_pct": _win_rate(trips),
    }


def _live_metrics(tx: Connection, state: RiskState, run: DeploymentRow) -> dict[str, Any]:
    """What a run has come to since it began: closed trades and what is open. The Sharpe ratio is that of a backtest, of daily returns."""
    from tradeagent.research.metrics import nav_sharpe

    trips = trading.round_trips_of(tx, deployment=run.id, limit=_SCANNED_TRIPS)
    held = [row for row in state.positions if row.size and belongs_to(row.controller_id, run.id)]
    unrealised = sum((row.size * mark - row.cost for row in held if (mark := state.mark(row.market)) is not None), ZERO)
    sharpe = nav_sharpe([float(nav) for nav in trading.daily_navs(tx, run.wallet, run.source.get("begin_ms") or 0)])
    return {
        "pnl_usdc": shown(sum((trip["pnl"] for trip in trips), unrealised)),
        "sharpe": None if sharpe is None else f"{sharpe:.2f}",
        "drawdown_pct": shown(state.drawdown_pct),
        "win_rate_pct": _win_rate(trips),
        "closed_trades": len(trips),
    }


def _win_rate(trips: Sequence[Mapping[str, Any]]) -> str | None:
    return f"{Decimal(100 * sum(trip['pnl'] > 0 for trip in trips)) / len(trips):.1f}" if trips else None


def _trips_of(tx: Connection, owners: frozenset[str] | None, wallet: str | None, deployment: str | None) -> list[dict[str, Any]]:
    found = trading.round_trips_of(tx, wallet=wallet, deployment=deployment, limit=_SCANNED_TRIPS)
    return [trip for trip in found if not is_hidden(owners, trip["controller_id"])]


async def get_round_trips(arguments: Trips, context: DeskContext) -> ToolResult:
    with context.ledger.reading() as tx:
        owners = owners_seen(tx, context)
        if arguments.deployment is not None:
            found = _trips_of(tx, owners, None, run_seen(tx, context, arguments.deployment).id)
        else:
            asked = _asked(tx, context, arguments.wallet)
            found = [trip for wallet in asked for trip in _trips_of(tx, owners, wallet.name, None)]
    if arguments.wallet is not None:
        found = [trip for trip in found if trip["wallet"] == arguments.wallet]
    newest = sorted(found, key=lambda trip: trip["closed_ms"])[-arguments.count :]
    rows = [{"wallet": trip["wallet"], "by": trip["controller_id"], **trip_row(trip)} for trip in newest]
    net = plain(sum((trip["pnl"] for trip in newest), ZERO))
    return ToolResult({"round_trips": rows, "net_pnl_usdc": net, "of": len(found)})


async def get_usage(arguments: Spent, context: DeskContext) -> ToolResult:
    now = context.clock.now_ms()
    since = now - now % DAY_MS - (arguments.days - 1) * DAY_MS
    with context.ledger.reading() as tx:
        found = notes.usage_rows(tx, slug=None if sees_agents(context.mode) else ASSISTANT_SLUG, since_ms=since)
    totals: dict[tuple[str, str], dict[str, Any]] = {}
    for row in found:
        total = totals.setdefault((row["slug"], row["model"]), {"turns": 0, "tokens_in": 0, "tokens_out": 0, "cost_usd": None})
        total["turns"] += 1
        total["tokens_in"] += row["tokens_in"]
        total["tokens_out"] += row["tokens_out"]
        if row["cost_usd"] is not None:
            total["cost_usd"] = row["cost_usd"] + (total["cost_usd"] or ZERO)
    rows = [
        {"of": slug, "model": model, **total, "cost_usd": None if total["cost_usd"] is None else plain(total["cost_usd"])}
        for (slug, model), total in totals.items()
    ]
    return ToolResult({"since": iso(since), "usage": rows[:MOST_ROWS]})


DESK_PORTFOLIO_TOOLS = (
    Tool("get_account_overview", "Equity, margin, day PnL and drawdown by wallet.", OfWallet, "portfolio", "read", get_account_overview),
    Tool(
        "get_portfolio",
        "Open positions with stops, leverage and distance to liquidation, and open orders.",
        OfWallet,
        "portfolio",
        "read",
        get_portfolio,
    ),
    Tool(
        "get_algo_wallets_overview",
        "Algo wallets: free, used, equity; vacant, or its run with PnL, Sharpe, drawdown and win rate.",
        OfWallet,
        "portfolio",
        "read",
        get_algo_wallets_overview,
    ),
    Tool("get_round_trips", "Closed trades with net PnL and R, newest last.", Trips, "portfolio", "read", get_round_trips),
    Tool("get_usage", "Model tokens and cost by who used them.", Spent, "portfolio", "read", get_usage),
)
