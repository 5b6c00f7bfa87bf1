"""What a person's limits would have done to the entries of a backtest that knew none: each entry judged on its own by the door's rules.

The account is taken flat, with the equity, the day and the peak that the run had when the entry was decided; what one refusal would have
changed for the entries after it is not followed. The event path with `--limits` does that.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import numpy as np

from tradeagent.algos.bars import Floats
from tradeagent.algos.levels import NONE, Reach, level_price, reaches_of
from tradeagent.algos.spec import SizingKind
from tradeagent.domain.clock import DAY_MS
from tradeagent.domain.errors import InvalidInput
from tradeagent.domain.instrument import Instrument
from tradeagent.domain.limits import Limits, resolve_limits
from tradeagent.domain.money import ZERO, limit_price, size_down
from tradeagent.domain.names import Actor, ExitReason, IntentKind, LimitKind, OrderType, ReconcilePhase, Rule, Side
from tradeagent.domain.order import Proposal
from tradeagent.execution.caps import SIZE_CAPS
from tradeagent.execution.planning import Plan
from tradeagent.execution.rules import CHECKS
from tradeagent.execution.state import MarketState, RiskState, Scope
from tradeagent.ledger.trading import NET, PositionRow
from tradeagent.ledger.wallets import RiskRow, WalletRow
from tradeagent.research.run import EXIT_REASONS, Ints, Leg, Run, Terms, Trades
from tradeagent.venue.margin import slipped
from tradeagent.workspace.yaml_text import read_yaml

WALLET = WalletRow("backtest", "paper", "paper", "algo", {}, 0)
SCOPE = Scope(Actor.ALGO, "backtest", None)
AUTOMATIC = (SizingKind.PCT_OF_EQUITY, SizingKind.RISK_PCT, SizingKind.DYNAMIC)
CAP_RULES = {
    "max_single_order_quote": Rule.SINGLE_ORDER,
    "max_position_pct": Rule.POSITION_CAP,
    "max_position_size_quote": Rule.POSITION_CAP,
    "max_total_exposure_pct": Rule.EXPOSURE_CAP,
    "max_leverage": Rule.LEVERAGE,
    "margin": Rule.MARGIN,
    "max_risk_per_trade_pct": Rule.TRADE_RISK,
    "max_portfolio_risk_quote": Rule.PORTFOLIO_RISK,
    "max_market_risk_pct": Rule.MARKET_RISK,
}
_OFF_WITHOUT = {
    Rule.CONFIDENCE: ("min_confidence",),
    Rule.SINGLE_ORDER: ("max_single_order_quote",),
    Rule.POSITION_CAP: ("max_position_pct", "max_position_size_quote"),
    Rule.EXPOSURE_CAP: ("max_total_exposure_pct",),
    Rule.TRADE_RISK: ("max_risk_per_trade_pct",),
    Rule.PORTFOLIO_RISK: ("max_portfolio_risk_quote",),
    Rule.MARKET_RISK: ("max_market_risk_pct",),
    Rule.DAILY_LOSS: ("max_daily_loss_quote", "max_daily_loss_pct"),
    Rule.DRAWDOWN: ("max_drawdown_pct",),
    Rule.COOLDOWN: ("cooldown_minutes",),
    Rule.DAILY_TRADES: ("max_daily_trades",),
}
_AT_OPEN = (ExitReason.SIGNAL, ExitReason.FLIP)
_OF_SIZE = frozenset(CAP_RULES.values()) - {Rule.LEVERAGE}
_ALWAYS = (Rule.SANITY, Rule.PROTECTION, Rule.LEVERAGE, Rule.MARGIN)


def resolve(kind_or_file: str) -> Limits:
    """`agent`, `algo`, `engine`, `manual`, or a YAML file of `key: value` over the algo's defaults. InvalidInput for neither."""
    if kind_or_file in tuple(LimitKind):
        return resolve_limits(LimitKind(kind_or_file), {})
    file = Path(kind_or_file)
    if not file.is_file():
        raise InvalidInput(
            f"limits: {kind_or_file!r} is no kind of limits and no file",
            hint=f"write one of {', '.join(LimitKind)}, or the path of a file with lines like max_position_pct: 50",
        )
    return resolve_limits(LimitKind.ALGO, read_yaml(file.read_text(encoding="utf-8"), file).values, where=file.name)


def limits_impact(run: Run, legs: Sequence[Leg], terms: Terms, limits: Limits) -> dict[str, dict[str, int]]:
    """By rule, in the door's order, how many entries it would have refused or cut to a smaller size; rules without any are left out.

    An entry is counted once as refused, under the first rule that refuses, and once as cut, under the cap that binds.
    """
    counts = {rule: {"refused": 0, "cut": 0} for rule in Rule}
    checks = [(rule, check) for rule, _, check in CHECKS if _is_on(rule, limits)]
    beside_size = [(rule, check) for rule, check in checks if rule not in _OF_SIZE]
    for wanted, state, is_automatic in _entries(run, legs, terms, limits):
        plan, cut_by = _cut(wanted, state) if is_automatic else (wanted, None)
        if cut_by is not None:
            counts[cut_by]["cut"] += 1
        if plan.notional < plan.instrument.min_notional:
            counts[cut_by or Rule.SHAPE]["refused"] += 1
            continue
        judged = beside_size if is_automatic else checks
        refused_by = next((rule for rule, check in judged if check(plan, state).rejection is not None), None)
        if refused_by is not None:
            counts[refused_by]["refused"] += 1
    return {rule.value: count for rule, count in counts.items() if any(count.values())}


def _is_on(rule: Rule, limits: Limits) -> bool:
    if rule in _ALWAYS:
        return True
    return any(limits.number(key) for key in _OFF_WITHOUT.get(rule, ()))


def _cut(plan: Plan, state: RiskState) -> tuple[Plan, Rule | None]:
    """An automatic size under every size cap, and the rule of the cap that binds."""
    most, bound_by = plan.size, None
    for caps in SIZE_CAPS:
        for cap in caps(plan, state):
            if cap.room < most:
                most, bound_by = cap.room, cap.rule
    if bound_by is None:
        return plan, None
    size = size_down(plan.instrument, max(ZERO, most))
    return (replace(plan, size=size), bound_by) if size < plan.size else (plan, None)


@dataclass(frozen=True, slots=True)
class _Curve:
    """The run's account at each close, 10⁻⁶ USDC: equity, its peak so far, and the equity that the day of that close began with."""

    equity: Ints
    peak: Ints
    day_start: Ints


class _Confidence:
    """What the algos say of their entries, computed once a leg and side."""

    def __init__(self, legs: Sequence[Leg]) -> None:
        self._legs = legs
        self._known: dict[tuple[int, int], Floats] = {}

    def of(self, place: int, direction: int, row: int) -> Decimal | None:
        """The confidence (0–1) stated with an entry of a leg, None where its algo states none."""
        leg = self._legs[place]
        if (place, direction) not in self._known:
            from tradeagent.algos.evaluate import Evaluator

            self._known[place, direction] = Evaluator(leg.bars).confidence(leg.spec, "long" if direction > 0 else "short")
        value = float(self._known[place, direction][row])
        return Decimal(str(value)) if math.isfinite(value) else None


def _curve(run: Run, time: Ints, interval_ms: int, cash: int) -> _Curve:
    closes = time + interval_ms
    before_midnight = np.searchsorted(closes, closes - closes % DAY_MS, side="right") - 1
    day_start = np.where(before_midnight >= 0, run.equity[np.maximum(before_midnight, 0)], cash)
    return _Curve(run.equity, np.maximum(np.maximum.accumulate(run.equity), cash), day_start)


def _entries(run: Run, legs: Sequence[Leg], terms: Terms, limits: Limits) -> Iterator[tuple[Plan, RiskState, bool]]:
    """Every entry as the door would have seen it, in the order of decision, and whether its size is a wish that caps may cut."""
    time, interval = legs[0].bars.time, legs[0].bars.interval_ms
    cash = int(terms.cash.scaleb(6))
    curve = _curve(run, time, interval, cash)
    rows = sorted((*_rows(run.trades), *_rows(run.open_trades)), key=lambda row: (row["entry_row"], row["leg"]))
    confidence = _Confidence(legs) if limits.number("min_confidence") else None
    reaches = [_targets(leg) for leg in legs]
    taken: dict[int, int] = {}
    last_exit: dict[int, int] = {}
    flipped_at: dict[int, int] = {}
    markets: dict[str, MarketState] = {}
    for row in rows:
        leg = legs[row["leg"]]
        decided = row["entry_row"] - 1
        if decided < 0:
            continue
        now = int(time[decided]) + interval
        day = now // DAY_MS
        equity = Decimal(int(curve.equity[decided])).scaleb(-6)
        plan, markets[leg.instrument.symbol] = _plan(leg, row, decided, terms, reaches[row["leg"]])
        if confidence is not None:
            stated = confidence.of(row["leg"], row["direction"], decided - terms.delay_bars)
            plan = replace(plan, proposal=replace(plan.proposal, confidence=stated))
        risk = RiskRow(
            WALLET.name,
            cash=equity,
            nav_units=terms.cash,
            nav_peak=Decimal(int(curve.peak[decided])) / cash,
            day_start_ms=day * DAY_MS,
            day_start_equity=Decimal(int(curve.day_start[decided])).scaleb(-6),
            last_equity=equity,
            entries_today={limits.kind.value: taken.get(day, 0)},
        )
        flat = last_exit.get(row["leg"])
        net = PositionRow(WALLET.name, leg.instrument.symbol, NET, leverage=plan.leverage, flat_ms=flat)
        flips = flipped_at.get(row["leg"]) == row["entry_row"]
        yield (
            plan,
            _state(now, risk, limits, markets, net, terms, flips=flips),
            leg.spec.sizing.kind in AUTOMATIC and terms.fill_qty is None,
        )
        taken[day] = taken.get(day, 0) + 1
        if EXIT_REASONS[row["exit_reason"]] is ExitReason.FLIP:
            flipped_at[row["leg"]] = row["exit_row"]
        last_exit[row["leg"]] = int(time[row["exit_row"]]) + (0 if EXIT_REASONS[row["exit_reason"]] in _AT_OPEN else interval - 1)


def _rows(trades: Trades) -> Iterator[dict[str, int]]:
    names = ("leg", "direction", "entry_row", "entry_price", "exit_row", "exit_reason", "size", "stop")
    columns = [getattr(trades, name).tolist() for name in names]
    return (dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True))


def _plan(leg: Leg, row: Mapping[str, int], decided: int, terms: Terms, targets: Mapping[int, Reach]) -> tuple[Plan, MarketState]:
    known, bars, is_long = leg.instrument, leg.bars, row["direction"] > 0
    side = Side.BUY if is_long else Side.SELL
    places, tenth_bps = -known.price_decimals, int(terms.slippage_bps * 10)
    opened, high, low, mark_units = (
        round(float(column[at]) * 10.0**known.price_decimals)
        for column, at in ((bars.open, row["entry_row"]), (bars.high, decided), (bars.low, decided), (bars.close, decided))
    )
    mark = Decimal(mark_units).scaleb(places)
    levels = leg.signals.long if is_long else leg.signals.short
    is_limit = levels.buy_back is not None and row["entry_price"] != slipped(opened, side, tenth_bps)
    price = limit_price(known, side, Decimal(row["entry_price"]).scaleb(places)) if is_limit else None
    entry = price or mark
    target = _target(known, targets[row["direction"]].at(decided - terms.delay_bars), row["direction"], entry)
    proposal = Proposal(known.symbol, side, SCOPE.controller_id, type=OrderType.LIMIT if is_limit else OrderType.MARKET)
    plan = Plan(
        proposal,
        IntentKind.OPEN,
        known,
        Decimal(row["size"]).scaleb(-known.size_decimals),
        entry,
        price,
        None,
        Decimal(row["stop"]).scaleb(places) if row["stop"] else None,
        target,
        terms.leverage or leg.spec.leverage,
    )
    spread = Decimal((high - low) * 100) / round(float(bars.open[decided]) * 10.0**known.price_decimals)
    closed = int(bars.time[decided]) + bars.interval_ms
    return plan, MarketState(known, mark, closed, bars.interval_ms, spread)


def _targets(leg: Leg) -> dict[int, Reach]:
    """How far the targets of a leg are, by direction."""
    sides = {1: leg.signals.long, -1: leg.signals.short}
    return {direction: reaches_of(side, leg.instrument, leg.spec.name).target for direction, side in sides.items()}


def _target(known: Instrument, reach: tuple[int, int], direction: int, entry: Decimal) -> Decimal | None:
    """The target's order price for an entry, None without one."""
    if reach[0] == NONE:
        return None
    basis = int(entry.scaleb(known.price_decimals))
    return Decimal(level_price(basis, direction, int(direction < 0), reach, known.price_decimals)).scaleb(-known.price_decimals)


def _state(
    now: int, risk: RiskRow, limits: Limits, markets: Mapping[str, MarketState], net: PositionRow, terms: Terms, *, flips: bool
) -> RiskState:
    return RiskState(
        now_ms=now,
        wallet=WALLET,
        risk=risk,
        limits=limits,
        scope=SCOPE,
        markets=markets,
        positions=(net,),
        orders=(),
        reservations=(),
        fees=terms.fees,
        slippage_bps=terms.slippage_bps,
        token_is_current=True,
        deployment_state=None,
        kill_switch=False,
        phase=ReconcilePhase.CONSISTENT,
        flipping=flips,
    )
