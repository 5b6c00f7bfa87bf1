"""Limits against use: for every cap its value, what of it is used, what is left, where it comes from, and the ceiling above it."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tradeagent.domain.limits import LIMITS, Network, Value, ceiling_of
from tradeagent.domain.money import ZERO
from tradeagent.execution.caps import shown
from tradeagent.execution.entry_times import HOURS_KEY, LOCKOUT_KEY
from tradeagent.execution.exposure import exposed_markets, open_risk, total_open_risk, total_worst_notional, worst_notional
from tradeagent.execution.state import RiskState
from tradeagent.workspace.config import Config


@dataclass(frozen=True, slots=True)
class LimitUse:
    """One limit. `used` None = it bounds a single proposal, so nothing adds up; values in the limit's own unit."""

    key: str
    value: Value
    used: Decimal | None
    origin: str
    ceiling: Decimal | None

    @property
    def left(self) -> Decimal | None:
        if self.used is None or not isinstance(self.value, Decimal):
            return None
        return max(ZERO, self.value - self.used)

    def as_dict(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "value": self.value if isinstance(self.value, bool) or self.value is None else shown(self.value),
            "used": None if self.used is None else shown(self.used),
            "left": None if self.left is None else shown(self.left),
            "origin": self.origin,
            "ceiling": None if self.ceiling is None else shown(self.ceiling),
        }


def limit_usage(state: RiskState, network: Network, ceilings: Mapping[str, Any] | None = None) -> list[LimitUse]:
    """Every limit in table order."""
    used = used_limits(state)
    return [
        LimitUse(
            spec.key,
            state.limits.values[spec.key],
            used.get(spec.key),
            state.limits.origin[spec.key],
            ceiling_of(spec.key, network, ceilings),
        )
        for spec in LIMITS
    ]


def entry_time_rows(config: Config) -> list[dict[str, Any]]:
    """The two settings that say when entries are placed, as rows beside the limits; None is off. Nothing of them is used up."""
    values = {HOURS_KEY: config.text(HOURS_KEY), LOCKOUT_KEY: str(config.whole(LOCKOUT_KEY) or "") or None}
    return [
        {"key": key, "value": value, "used": None, "left": None, "origin": config.origin[tuple(key.split("."))], "ceiling": None}
        for key, value in values.items()
    ]


def used_limits(state: RiskState) -> dict[str, Decimal]:
    """What is used of every limit that adds up, in the limit's own unit."""
    equity = state.equity if state.equity > 0 else Decimal(1)
    markets = exposed_markets(state)
    total = total_worst_notional(state)
    loss = max(ZERO, -state.day_pnl)
    risk = state.risk.rolled(state.now_ms, state.risk.last_equity)
    base = state.limits.number("max_portfolio_risk_quote")
    cap = state.penalty.effective_cap(base, state.now_ms) if base else None
    used = {
        "max_position_size_quote": total_worst_notional(state, deployment=state.scope.owner),
        "max_position_pct": max((worst_notional(state, m) for m in markets), default=ZERO) / equity * 100,
        "max_total_exposure_pct": total / equity * 100,
        "max_leverage": total / equity,
        "max_open_executors": Decimal(state.live_executors),
        "max_open_positions": Decimal(len(markets)),
        "max_positions_per_market": Decimal(max((row.entries for row in state.positions if row.size), default=0)),
        "max_daily_loss_quote": loss,
        "max_daily_loss_pct": loss / risk.day_start_equity * 100 if risk.day_start_equity > 0 else ZERO,
        "max_drawdown_pct": state.drawdown_pct,
        "halt_drawdown_pct": state.drawdown_pct,
        "max_portfolio_risk_quote": total_open_risk(state),
        "max_daily_trades": Decimal(risk.entries_today.get(state.limits.kind.value, 0)),
    }
    if cap:
        used["max_market_risk_pct"] = max((open_risk(state, m) for m in markets), default=ZERO) / cap * 100
    return used
