"""The check list of the door: every rule in its canonical order, each a pure function of a plan and a RiskState.

A rule returns its finding; the first rejection wins, and the whole list is recorded. Entry-only rules are skipped for what reduces risk.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal

from tradeagent.domain.bars import interval_text
from tradeagent.domain.clock import MINUTE_MS, iso
from tradeagent.domain.limits import Limits
from tradeagent.domain.money import ZERO, plain
from tradeagent.domain.names import Actor, DeploymentState, HaltReason, ReconcilePhase, Rule, VerdictKind
from tradeagent.domain.order import Rejection, RuleCheck, Verdict
from tradeagent.execution import caps
from tradeagent.execution.caps import Cap, shown
from tradeagent.execution.entry_levels import protection
from tradeagent.execution.entry_times import HOURS_KEY, LOCKOUT_KEY, title_of
from tradeagent.execution.findings import PASS, Check, Finding, refuse
from tradeagent.execution.loosening import judge_stop_order
from tradeagent.execution.planning import Plan
from tradeagent.execution.state import RiskState
from tradeagent.ledger.trading import NET
from tradeagent.ledger.wallets import RiskRow
from tradeagent.workspace.disk import ROOM_KEY

MAX_MARK_AGE_INTERVALS = 3
MARK_GRACE_MS = 30_000
BAR_RANGE_CAPS_PCT = {"1m": "1.5", "5m": "2", "15m": "3", "30m": "4", "1h": "5", "4h": "8", "1d": "15", "1w": "25"}


def lease(_plan: Plan, state: RiskState) -> Finding:
    if state.token_is_current:
        return PASS
    return refuse(Rule.LEASE, f"another process owns wallet {state.wallet.name} now; this one may not send")


def scope(plan: Plan, state: RiskState) -> Finding:
    allowed = state.scope.markets
    if allowed is not None and plan.proposal.market not in allowed:
        return refuse(Rule.SCOPE, f"{plan.proposal.market} is not one of this agent's markets: {', '.join(sorted(allowed))}")
    if plan.proposal.controller_id != state.scope.controller_id:
        return refuse(Rule.SCOPE, f"controller {plan.proposal.controller_id!r} is not {state.scope.controller_id!r}")
    return PASS


def live_gate(_plan: Plan, state: RiskState) -> Finding:
    if not state.wallet.is_live:
        return PASS
    return refuse(Rule.LIVE_GATE, f"wallet {state.wallet.name} is on {state.wallet.network}, where this version cannot trade")


def kill_switch(_plan: Plan, state: RiskState) -> Finding:
    return refuse(Rule.KILL_SWITCH, "the kill switch is on; only a person clears it") if state.kill_switch else PASS


def halted(_plan: Plan, state: RiskState) -> Finding:
    if state.risk.halt is None and state.deployment_state is not DeploymentState.HALTED:
        return PASS
    if state.risk.halt == HaltReason.KILL.value:
        return refuse(Rule.HALTED, "killed; only `kill --clear` by a person reopens entries")
    return refuse(Rule.HALTED, f"halted ({state.risk.halt or 'by a person'}); only `clear-halt` by a person reopens entries")


def paused(_plan: Plan, state: RiskState) -> Finding:
    if state.deployment_state is DeploymentState.PAUSED:
        return refuse(Rule.PAUSED, "paused; `resume` reopens entries")
    if state.deployment_state is DeploymentState.STOPPING:
        return refuse(Rule.PAUSED, "a person has stopped this run; it enters nothing more")
    room = state.entry_times.room
    if not room.is_short:
        return PASS
    message = f"{room.free_mib} MiB are free on the workspace's disk, {ROOM_KEY} is {room.least_mib}: entries wait, exits go on"
    return refuse(Rule.PAUSED, message, key=ROOM_KEY, limit=str(room.least_mib), value=str(room.free_mib))


def reconciling(plan: Plan, state: RiskState) -> Finding:
    if plan.proposal.market in state.unknown_markets:
        return refuse(Rule.RECONCILING, f"an order in {plan.proposal.market} has an unknown outcome; it is being resolved")
    if state.phase is ReconcilePhase.CONSISTENT:
        return PASS
    return refuse(Rule.RECONCILING, f"ledger and venue are being compared ({state.phase.value})")


def session_hours(_plan: Plan, state: RiskState) -> Finding:
    hours = state.entry_times.hours
    if hours is None:
        return PASS
    now = iso(state.now_ms)
    if hours.is_open(state.now_ms):
        return Finding(now, hours.text)
    message = f"{now} is outside {HOURS_KEY} {hours.text} (UTC); entries open again at {iso(hours.opens_ms(state.now_ms))}"
    return refuse(Rule.SESSION_HOURS, message, key=HOURS_KEY, limit=hours.text, value=now)


def news_lockout(plan: Plan, state: RiskState) -> Finding:
    times = state.entry_times
    if not times.lockout_min:
        return PASS
    limit = f"{times.lockout_min} min"
    if not times.is_readable:
        message = f"{LOCKOUT_KEY} is {times.lockout_min}, and the calendar cannot be read: `tradeagent doctor` says what to do"
        return refuse(Rule.NEWS_LOCKOUT, message, key=LOCKOUT_KEY, limit=limit, value="unreadable")
    locked = times.event_near(plan.proposal.market, state.now_ms)
    if locked is None:
        return Finding(None, limit)
    event, opens_ms = locked
    message = (
        f"{event.kind} at {iso(event.time)} ({title_of(event)}) is within {LOCKOUT_KEY} {times.lockout_min}; "
        f"entries open again at {iso(opens_ms)}"
    )
    return refuse(Rule.NEWS_LOCKOUT, message, key=LOCKOUT_KEY, limit=limit, value=f"{(event.time - state.now_ms) // MINUTE_MS} min")


def most_mark_age_ms(interval_ms: int) -> int:
    """How old the newest close of a market may be before it is stale."""
    return MAX_MARK_AGE_INTERVALS * interval_ms + MARK_GRACE_MS


def freshness(plan: Plan, state: RiskState) -> Finding:
    market = state.markets[plan.proposal.market]
    if market.mark is None:
        return refuse(Rule.FRESHNESS, f"{plan.proposal.market} has no bars; import or fetch some")
    if plan.proposal.waking not in (None, state.waking):
        return refuse(Rule.FRESHNESS, "this was decided before the machine slept or its clock was set: look at the market again")
    age, most = state.now_ms - market.mark_ms, most_mark_age_ms(market.interval_ms)
    value, limit = f"{age // 1000} s", f"{most // 1000} s"
    if age <= most:
        return Finding(value, limit)
    message = f"the newest {plan.proposal.market} bar closed at {iso(market.mark_ms)}, {value} ago; at most {limit}"
    return refuse(Rule.FRESHNESS, message, limit=limit, value=value)


def sanity(plan: Plan, state: RiskState) -> Finding:
    market = state.markets[plan.proposal.market]
    band = state.limits.number("price_band_pct")
    if plan.price is not None and market.mark and band is not None:
        away = abs(plan.price - market.mark) / market.mark * 100
        if away > band:
            message = (
                f"limit price {plain(plan.price)} is {shown(away)} % from the mark {plain(market.mark)}, over price_band_pct {shown(band)}"
            )
            return refuse(Rule.SANITY, message, key="price_band_pct", limit=shown(band), value=shown(away))
    cap = BAR_RANGE_CAPS_PCT.get(interval_text(market.interval_ms)) if market.interval_ms else None
    if cap is None:
        return PASS
    if market.bar_range_pct > Decimal(cap):
        message = (
            f"the last {interval_text(market.interval_ms)} bar spans {shown(market.bar_range_pct)} %, above {cap} %: wait for a calmer one"
        )
        return refuse(Rule.SANITY, message, limit=cap, value=shown(market.bar_range_pct))
    return Finding(shown(market.bar_range_pct), cap)


def confidence(plan: Plan, state: RiskState) -> Finding:
    """A risk trade states its conviction (0–100), everything else its confidence (0–1)."""
    of_risk_trade = plan.proposal.risk_quote is not None
    key = "min_conviction" if of_risk_trade else "min_confidence"
    least, stated = state.limits.number(key) or ZERO, plan.proposal.conviction if of_risk_trade else plan.proposal.confidence
    value = None if stated is None else plain(stated)
    if (stated is None and least == 0) or (stated is not None and stated >= least):
        return Finding(value, shown(least))
    message = f"{key.removeprefix('min_')} {value or 'not stated'} is below {key} {shown(least)}"
    return refuse(Rule.CONFIDENCE, message, key=key, limit=shown(least), value=value)


def leverage(plan: Plan, state: RiskState) -> Finding:
    cap, venue_max = state.limits.number("max_leverage"), plan.instrument.max_leverage
    most = venue_max if cap is None else min(Decimal(venue_max), cap)
    if plan.leverage > most:
        message = f"leverage {plan.leverage} is above {shown(Decimal(most))} (max_leverage {cap}, venue {venue_max})"
        return refuse(Rule.LEVERAGE, message, key="max_leverage", limit=shown(Decimal(most)), value=str(plan.leverage))
    return _capped(caps.leverage_total)(plan, state)


def daily_loss(_plan: Plan, state: RiskState) -> Finding:
    cap, key = daily_loss_cap(state.limits, state.risk.rolled(state.now_ms, state.risk.last_equity))
    if cap is None:
        return PASS
    value = state.day_pnl
    if value > -cap:
        return Finding(shown(value), shown(-cap))
    message = f"day PnL {shown(value)} USDC has reached {key} −{shown(cap)}"
    return refuse(Rule.DAILY_LOSS, message, key=key, limit=shown(-cap), value=shown(value))


def daily_loss_cap(limits: Limits, risk: RiskRow) -> tuple[Decimal | None, str]:
    """The tighter of quote and % of day-start equity, quote units, and its key; None when both are off."""
    quote, percent = limits.number("max_daily_loss_quote"), limits.number("max_daily_loss_pct")
    of_equity = None if percent is None else risk.day_start_equity * percent / 100
    if quote is None or (of_equity is not None and of_equity < quote):
        return of_equity, "max_daily_loss_pct"
    return quote, "max_daily_loss_quote"


def drawdown(_plan: Plan, state: RiskState) -> Finding:
    cap, value = state.limits.number("max_drawdown_pct"), state.drawdown_pct
    if cap is None or value < cap:
        return Finding(shown(value), None if cap is None else shown(cap))
    message = f"drawdown {shown(value)} % has reached max_drawdown_pct {shown(cap)}"
    return refuse(Rule.DRAWDOWN, message, key="max_drawdown_pct", limit=shown(cap), value=shown(value))


def lockout(_plan: Plan, state: RiskState) -> Finding:
    if state.risk.lockout_ms is None:
        return PASS
    return refuse(
        Rule.LOCKOUT, f"entries are locked since {iso(state.risk.lockout_ms)} after a drawdown; `clear-halt` by a person reopens them"
    )


def cooldown(plan: Plan, state: RiskState) -> Finding:
    minutes = state.limits.number("cooldown_minutes")
    row = state.row(plan.proposal.market, NET)
    if not minutes or state.flipping or row is None or row.flat_ms is None or row.size:
        return PASS
    since = Decimal(state.now_ms - row.flat_ms) / MINUTE_MS
    if since >= minutes:
        return Finding(shown(since), shown(minutes))
    message = f"{plan.proposal.market} went flat {shown(since)} min ago, cooldown_minutes is {shown(minutes)}"
    return refuse(Rule.COOLDOWN, message, key="cooldown_minutes", limit=shown(minutes), value=shown(since))


def daily_trades(_plan: Plan, state: RiskState) -> Finding:
    cap = state.limits.number("max_daily_trades")
    if cap is None:
        return PASS
    used = state.risk.rolled(state.now_ms, state.risk.last_equity).entries_today.get(state.limits.kind.value, 0)
    if used + 1 <= cap:
        return Finding(str(used), shown(cap))
    message = f"{used} entries were accepted since 00:00 UTC, max_daily_trades is {shown(cap)}"
    return refuse(Rule.DAILY_TRADES, message, key="max_daily_trades", limit=shown(cap), value=str(used))


def budget(_plan: Plan, state: RiskState) -> Finding:
    cap, used = state.spend.cap, state.spend.used
    if cap is None or used <= cap:
        return PASS
    message = f"model spend today is {shown(used)} USD, max_cost_per_day_usd is {shown(cap)}"
    return refuse(Rule.BUDGET, message, key="max_cost_per_day_usd", limit=shown(cap), value=shown(used))


def _capped(source: Callable[[Plan, RiskState], Iterator[Cap]]) -> Check:
    """A rule made of size caps: the first that is exceeded refuses."""

    def check(plan: Plan, state: RiskState) -> Finding:
        found = PASS
        for cap in source(plan, state):
            found = Finding(shown(cap.value), shown(cap.limit))
            if not cap.passes:
                return Finding(found.value, found.limit, cap.rejection(plan))
        return found

    return check


CHECKS: tuple[tuple[Rule, bool, Check], ...] = (
    (Rule.LEASE, False, lease),
    (Rule.SCOPE, False, scope),
    (Rule.LIVE_GATE, False, live_gate),
    (Rule.KILL_SWITCH, True, kill_switch),
    (Rule.HALTED, True, halted),
    (Rule.PAUSED, True, paused),
    (Rule.RECONCILING, True, reconciling),
    (Rule.SESSION_HOURS, True, session_hours),
    (Rule.NEWS_LOCKOUT, True, news_lockout),
    (Rule.FRESHNESS, True, freshness),
    (Rule.SANITY, True, sanity),
    (Rule.PROTECTION, True, protection),
    (Rule.CONFIDENCE, True, confidence),
    (Rule.SINGLE_ORDER, True, _capped(caps.single_order)),
    (Rule.POSITION_CAP, True, _capped(caps.position_cap)),
    (Rule.EXPOSURE_CAP, True, _capped(caps.exposure_cap)),
    (Rule.LEVERAGE, True, leverage),
    (Rule.MARGIN, True, _capped(caps.margin)),
    (Rule.OPEN_EXECUTORS, True, _capped(caps.open_executors)),
    (Rule.OPEN_POSITIONS, True, _capped(caps.open_positions)),
    (Rule.TRADE_RISK, True, _capped(caps.trade_risk)),
    (Rule.PORTFOLIO_RISK, True, _capped(caps.portfolio_risk)),
    (Rule.MARKET_RISK, True, _capped(caps.market_risk)),
    (Rule.DAILY_LOSS, True, daily_loss),
    (Rule.DRAWDOWN, True, drawdown),
    (Rule.LOCKOUT, True, lockout),
    (Rule.COOLDOWN, True, cooldown),
    (Rule.DAILY_TRADES, True, daily_trades),
    (Rule.BUDGET, True, budget),
)


# Judged once for an executor as a whole, when it is created, and not again for each of its child orders.
OF_THE_WHOLE = frozenset(
    {Rule.CONFIDENCE, Rule.SINGLE_ORDER, Rule.OPEN_EXECUTORS, Rule.OPEN_POSITIONS, Rule.COOLDOWN, Rule.DAILY_TRADES, Rule.BUDGET}
)


def judge(plan: Plan, state: RiskState) -> tuple[Rejection | None, tuple[RuleCheck, ...]]:
    """Run every rule that applies; the first rejection, and the whole list (SHAPE passed, since there is a plan)."""
    rejection: Rejection | None = None
    checks = [RuleCheck(Rule.SHAPE, ok=True)]
    for rule, entry_only, check in CHECKS:
        if entry_only and not plan.is_entry:
            continue
        if rule in OF_THE_WHOLE and state.scope.actor is Actor.EXECUTOR:
            continue
        found = check(plan, state)
        checks.append(RuleCheck(rule, found.rejection is None, found.value, found.limit))
        rejection = rejection or found.rejection
    if plan.proposal.type.is_stop and not plan.is_entry:
        refused, more = judge_stop_order(plan, state)
        rejection, checks = rejection or refused, [*checks, *more]
    return rejection, tuple(checks)


def unasked(made: Plan, checks: tuple[RuleCheck, ...]) -> Verdict:
    """The refusal of an entry that would have been asked about, had it passed when it was judged first."""
    refusal = Rejection(Rule.APPROVAL, "a person must approve this entry and was not asked: propose it again")
    return Verdict(VerdictKind.REJECTED, rejection=refusal, checks=(*checks, RuleCheck(Rule.APPROVAL, ok=False)), order=made.as_dict())
