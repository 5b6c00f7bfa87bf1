"""RuntimeSnapshot: the live state of one wallet. The prompt, `status`, `wallet show` and the account pane are all made from it."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tradeagent.domain.clock import iso
from tradeagent.domain.costs import break_even_price
from tradeagent.domain.money import ZERO, plain
from tradeagent.domain.names import Direction, OrderType
from tradeagent.execution.caps import shown
from tradeagent.execution.exposure import free_margin, total_worst_notional
from tradeagent.execution.orders import order_dict
from tradeagent.execution.state import RiskState
from tradeagent.ledger.trading import NET, OrderRow, PositionRow
from tradeagent.turns.health import Surroundings


@dataclass(frozen=True, slots=True)
class ActiveTrade:
    """One position with what protects it. Sizes base units, money quote units; None = unknown or not there."""

    market: str
    controller_id: str
    size: Decimal
    entry: Decimal
    mark: Decimal | None
    mark_ms: int | None
    leverage: int
    unrealised: Decimal | None
    break_even: Decimal | None
    stop: Decimal | None
    target: Decimal | None
    r: Decimal | None
    liquidation: Decimal | None
    margin_used: Decimal | None
    funding: Decimal
    opened_ms: int | None

    @property
    def direction(self) -> Direction:
        return Direction.LONG if self.size > 0 else Direction.SHORT

    def as_dict(self) -> dict[str, Any]:
        """As `position list --json` shows it."""
        return {
            "market": self.market,
            "controller_id": self.controller_id or None,
            "direction": self.direction.value,
            "size": plain(self.size),
            "entry_price": shown(self.entry),
            "mark_price": _text(self.mark),
            "mark_time": iso(self.mark_ms),
            "leverage": self.leverage,
            "unrealised_pnl": _text(self.unrealised),
            "break_even_price": _text(self.break_even),
            "liquidation_price": _text(self.liquidation),
            "stop": _text(self.stop),
            "target": _text(self.target),
            "r": _text(self.r),
            "margin_used": _text(self.margin_used),
            "funding_since_open": plain(self.funding),
        }


@dataclass(frozen=True, slots=True)
class RuntimeSnapshot:
    """Money in quote units, percentages as percent, times UTC ms."""

    as_of_ms: int
    wallet: str
    network: str
    cash: Decimal
    equity: Decimal
    margin_used: Decimal
    margin_free: Decimal
    maintenance_margin: Decimal
    exposure: Decimal
    day_start_equity: Decimal
    day_pnl: Decimal
    peak_equity: Decimal
    drawdown_pct: Decimal
    lockout: bool
    halt: str | None
    penalty: Decimal
    effective_cap: Decimal | None
    kill_switch: bool
    phase: str
    trades: tuple[ActiveTrade, ...]
    orders: tuple[OrderRow, ...]
    around: Surroundings | None = None

    @property
    def unrealised(self) -> Decimal:
        return self.equity - self.cash

    def as_dict(self) -> dict[str, Any]:
        """As `wallet show --json` shows it, less what the wallet row knows."""
        return {
            "as_of": iso(self.as_of_ms),
            "cash": plain(self.cash),
            "equity": plain(self.equity),
            "margin_used": shown(self.margin_used),
            "margin_free": shown(self.margin_free),
            "maintenance_margin": shown(self.maintenance_margin),
            "exposure": shown(self.exposure),
            "day_start_equity": plain(self.day_start_equity),
            "day_pnl": plain(self.day_pnl),
            "peak_equity": plain(self.peak_equity),
            "drawdown_pct": shown(self.drawdown_pct),
            "lockout": self.lockout,
            "halt": self.halt,
            "effective_portfolio_cap": _text(self.effective_cap),
            "penalty": shown(self.penalty),
            "kill_switch": self.kill_switch,
            "reconciliation": self.phase,
            "positions": [trade.as_dict() for trade in self.trades],
            "open_orders": [order_dict(order) for order in self.orders],
            **(self.around.as_dict() if self.around else {}),
        }


def runtime_snapshot(state: RiskState, around: Surroundings | None = None) -> RuntimeSnapshot:
    """The wallet of a RiskState: net positions first, as the venue holds them; with what is around it for whoever looks from outside."""
    risk = state.risk.rolled(state.now_ms, state.risk.last_equity)
    base = state.limits.number("max_portfolio_risk_quote")
    account = state.account
    return RuntimeSnapshot(
        as_of_ms=state.now_ms,
        wallet=state.wallet.name,
        network=state.wallet.network,
        cash=state.risk.cash,
        equity=account.equity,
        margin_used=account.initial_margin,
        margin_free=max(ZERO, free_margin(state)),
        maintenance_margin=account.maintenance,
        exposure=total_worst_notional(state),
        day_start_equity=risk.day_start_equity,
        day_pnl=state.day_pnl,
        peak_equity=state.risk.peak_equity,
        drawdown_pct=state.drawdown_pct,
        lockout=state.risk.lockout_ms is not None,
        halt=state.risk.halt,
        penalty=state.penalty.amount,
        effective_cap=state.penalty.effective_cap(base, state.now_ms) if base is not None else None,
        kill_switch=state.kill_switch,
        phase=state.phase.value,
        trades=tuple(active_trade(state, row) for row in state.net.values()),
        orders=state.orders,
        around=around,
    )


def active_trade(state: RiskState, row: PositionRow) -> ActiveTrade:
    """A position row with what protects it, as `RiskState.levels_of` knows it."""
    mark = state.mark(row.market)
    entry = row.cost / row.size
    levels = state.levels_of(row.market, row.controller_id)
    stop = _nearest([o.trigger for o in levels if OrderType(o.type).is_stop], entry)
    target = _nearest([o.trigger for o in levels if OrderType(o.type).is_target], entry)
    trip = _trip_of(state, row)
    first_stop = Decimal(trip["first_stop"]) if trip.get("first_stop") else None
    unrealised = None if mark is None else row.size * mark - row.cost
    fees = Decimal(trip.get("fees", "0"))
    distance = abs(entry - first_stop) * abs(row.size) if first_stop is not None else ZERO
    return ActiveTrade(
        market=row.market,
        controller_id=row.controller_id,
        size=row.size,
        entry=entry,
        mark=mark,
        mark_ms=state.markets[row.market].mark_ms or None,
        leverage=row.leverage,
        unrealised=unrealised,
        break_even=break_even_price(row.size, row.cost, fees, row.funding, state.fees.taker),
        stop=stop,
        target=target,
        r=unrealised / distance if unrealised is not None and distance else None,
        liquidation=state.account.liquidation_price(row.market),
        margin_used=None if mark is None else abs(row.size) * mark / row.leverage,
        funding=row.funding,
        opened_ms=trip.get("opened_ms"),
    )


def _trip_of(state: RiskState, row: PositionRow) -> dict[str, Any]:
    """The open trade of a row; the net's is that of the only controller that holds it."""
    if row.controller_id != NET:
        return row.trip or {}
    holders = [held for held in state.positions if held.market == row.market and held.controller_id != NET and held.size]
    return (holders[0].trip or {}) if len(holders) == 1 else {}


def _nearest(levels: list[Decimal | None], entry: Decimal) -> Decimal | None:
    stated = [level for level in levels if level is not None]
    return min(stated, key=lambda level: abs(level - entry)) if stated else None


def _text(value: Decimal | None) -> str | None:
    return None if value is None else shown(value)
