"""From a signal to a call: where the stop and target go, how large within the limits shown, and how an open position is managed."""

from dataclasses import dataclass
from math import floor
from typing import Any

from tradeagent.llm.offline.context import Bars, Context, Holding
from tradeagent.llm.offline.signals import Signal, atr

MIN_QUOTE = 10.5
_CAP_SHARE = 0.98
_COUNTS = ("max_daily_trades", "max_open_positions", "max_open_executors")


@dataclass(frozen=True, slots=True)
class Levels:
    """Distances from the entry in quote units per base unit: one R, and the ATR it came from."""

    risk: float
    atr: float


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call to make, numbers as decimal text."""

    name: str
    arguments: dict[str, Any]


def levels(bars: Bars, context: Context) -> Levels:
    """One R = stop_atr (1.8) × ATR, at least min_stop_pct (0.3 %) of price, so that costs stay a fraction of it."""
    width = atr(bars)
    return Levels(max(context.number("stop_atr", 1.8) * width, context.number("min_stop_pct", 0.3) / 100 * bars.closes[-1]), width)


def entry(signal: Signal, bars: Bars, context: Context) -> Call | str:
    """A market entry with stop and target, or the reason there is none."""
    blocked = _blocked(bars, context)
    if blocked is not None:
        return blocked
    price, risk = context.marks.get(bars.market, bars.closes[-1]), levels(bars, context).risk
    sign = signal.direction
    target = signal.target if signal.target is not None else price + sign * risk * _target_r(context)
    least = (context.caps.get("min_reward_risk") or 1.0) * 1.05
    if (target - price) * sign < risk * least:
        return f"{signal.reason}, but the target {price_text(target)} pays less than {least:.2f} R"
    confidence = round(0.55 + 0.4 * signal.strength, 2)
    if confidence < (context.caps.get("min_confidence") or 0.0):
        return f"{signal.reason}, but confidence {confidence} is below the minimum"
    quote = _quote(price, risk, context)
    if quote < MIN_QUOTE:
        return f"{signal.reason}, but the limits leave {quote:.2f} USDC, less than the smallest order"
    arguments: dict[str, str | float] = {
        "market": bars.market,
        "side": "buy" if sign > 0 else "sell",
        "quote": f"{quote:.2f}",
        "stop": price_text(price - sign * risk),
        "target": price_text(target),
        "confidence": confidence,
        "reason": signal.reason,
    }
    return Call("propose_order", arguments)


def tighter_stop(holding: Holding, bars: Bars, context: Context) -> Call | None:
    """A stop where there is none, at break-even after 1 R, trailing after 1.8 R; None while the present one is good enough."""
    mark, sign, level = context.marks.get(holding.market, bars.closes[-1]), holding.sign, levels(bars, context)
    gain = (mark - holding.entry) * sign / level.risk
    if gain >= 1.8:
        wanted, why = mark - sign * level.risk, f"trailing one R behind after {gain:.1f} R"
    elif gain >= 1.0:
        wanted, why = holding.break_even or holding.entry, f"break-even after {gain:.1f} R"
    elif holding.stop is None:
        wanted, why = mark - sign * level.risk, "the position had no stop"
    else:
        return None
    improves = holding.stop is None or (wanted - holding.stop) * sign > 0.25 * level.atr
    if not improves or (mark - wanted) * sign < 0.2 * level.atr:
        return None
    return Call("modify_protection", {"market": holding.market, "stop": price_text(wanted), "reason": why})


def price_text(price: float) -> str:
    """Five significant figures in plain notation, which is what the venue takes."""
    rounded = float(f"{price:.5g}") if price < 100_000 else float(round(price))
    return f"{rounded:.6f}".rstrip("0").rstrip(".")


def _target_r(context: Context) -> float:
    return max(context.number("target_r", 1.6), (context.caps.get("min_reward_risk") or 1.0) * 1.1)


def _blocked(bars: Bars, context: Context) -> str | None:
    for key in _COUNTS:
        left = context.left.get(key)
        if left is not None and left < 1:
            return f"{key} is used up"
    closed = [trip.closed_ms for trip in context.trips if trip.market == bars.market]
    pause_ms = context.number("cooldown_bars", 1) * bars.interval_ms
    if closed and context.now_ms - max(closed) < pause_ms:
        return "waiting after the last trade"
    return None


def _quote(price: float, risk: float, context: Context) -> float:
    """Notional by risk (risk_per_trade_pct of equity over the stop distance), under every cap shown, to the cent below."""
    if context.equity is None or context.equity <= 0:
        return 0.0
    share = context.number("risk_per_trade_pct", 0.1)
    ceiling = context.caps.get("max_risk_per_trade_pct")
    share = share if ceiling is None else min(share, ceiling * 0.9)
    room = [context.equity * share / 100 / (risk / price)]
    for key in ("max_single_order_quote", "max_position_size_quote", "max_position_pct", "max_total_exposure_pct"):
        left = context.left.get(key)
        if left is not None:
            room.append(_CAP_SHARE * (left if key.endswith("_quote") else left / 100 * context.equity))
    risk_left = context.left.get("max_portfolio_risk_quote")
    if risk_left is not None:
        room.append(_CAP_SHARE * risk_left * (context.caps.get("max_market_risk_pct") or 100) / 100 / (risk / price))
    if context.free_margin is not None:
        room.append(0.9 * context.free_margin)
    return floor(min(room) * 100) / 100
