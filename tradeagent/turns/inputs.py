"""Filling a prompt: the agent's definition and files, the wallet's state, and the market as of now become PromptInputs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from tradeagent.agents.folder import Agent
from tradeagent.domain.bars import interval_text, parse_duration
from tradeagent.domain.clock import DAY_MS, HOUR_MS, MINUTE_MS
from tradeagent.domain.errors import DataError, TradeAgentError
from tradeagent.domain.limits import LIMITS
from tradeagent.domain.names import Direction, OrderType, RunMode, Side, SuggestionState
from tradeagent.execution.exposure import free_margin, total_worst_notional
from tradeagent.execution.state import RiskState
from tradeagent.execution.usage import used_limits
from tradeagent.ledger import trading
from tradeagent.ledger.suggestions import SuggestionRow
from tradeagent.market.event_store import EventStore, Window
from tradeagent.market.feed import MarketFeed
from tradeagent.tools.context import Resources
from tradeagent.tools.registry import tools_for
from tradeagent.turns import prompt_inputs as p
from tradeagent.turns.snapshot import active_trade

RECENT_TRIPS = 5
NEWS_HOURS, EVENT_DAYS, MOST_EVENTS, LEAST_IMPORTANCE = 72, 7, 20, 0.3


@dataclass(frozen=True, slots=True)
class Occasion:
    """Why and when this turn happens."""

    agent_id: str
    mode: RunMode
    number: int
    now_ms: int
    interval_ms: int
    entries_barred: str = ""
    directives: tuple[str, ...] = ()
    kind: p.TurnKind = "tick"


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the agent's files say now, as read for this turn, and what its user and the world outside put beside them."""

    learnings: str = ""
    status: str = ""
    decisions: tuple[p.DecisionLine, ...] = ()
    reflection: Mapping[str, str] = field(default_factory=dict)
    pinned: str = ""
    canvas: Mapping[str, str] = field(default_factory=dict)
    routines: tuple[p.Listed, ...] = ()
    news: tuple[p.OutsideText, ...] = ()
    events: tuple[p.OutsideText, ...] = ()


@dataclass(frozen=True, slots=True)
class History:
    """What the ledger remembers of this run: rejections by rule in the last hour, the newest round trips, its live executors, what the
    user answered to its suggestions since it was last told, and the trades it is to reflect on now."""

    rejections: Mapping[str, int]
    trips: tuple[p.TripLine, ...]
    executors: tuple[p.ExecutorLine, ...] = ()
    answers: tuple[SuggestionRow, ...] = ()
    reflection_due: tuple[p.TripGroup, ...] = ()


class HistoryReader:
    """Reads the history of one run. Round trips change only with the wallet's activity, so they are read again when its cursor moved."""

    def __init__(self, deployment: str) -> None:
        self._deployment = deployment
        self._cursor = -1
        self._trips: tuple[p.TripLine, ...] = ()

    def read(self, tx: Connection, now_ms: int, activity_cursor: int) -> History:
        """The history as of now."""
        if activity_cursor != self._cursor:
            trips = trading.round_trips_of(tx, deployment=self._deployment, limit=RECENT_TRIPS)
            self._cursor, self._trips = activity_cursor, tuple(_trip(trip) for trip in trips)
        return History(trading.recent_rejections(tx, self._deployment, now_ms - HOUR_MS), self._trips)


def prompt_inputs(
    agent: Agent,
    state: RiskState,
    history: History,
    feed: MarketFeed | None,
    occasion: Occasion,
    remembered: Remembered,
    portfolio_strategy: str,
) -> p.PromptInputs:
    """Everything `build_prompt` needs. A provider that fails says so instead of showing nothing."""
    definition = agent.definition
    used = used_limits(state)
    return p.PromptInputs(
        tick=p.TickInfo(
            agent_id=occasion.agent_id,
            kind=occasion.kind,
            mode=occasion.mode,
            tick=occasion.number,
            now_ms=occasion.now_ms,
            interval=interval_text(occasion.interval_ms),
            markets=definition.markets,
            model=definition.model,
            trigger="directive" if occasion.directives else "schedule" if occasion.kind == "tick" else occasion.kind,
            approval=definition.approval,
            entries_barred=occasion.entries_barred,
        ),
        body=agent.body,
        limits=tuple(p.LimitLine(spec.key, state.limits.values[spec.key], used.get(spec.key)) for spec in LIMITS),
        strategy={key: str(value) for key, value in definition.strategy.model_dump().items() if value is not None},
        routines=remembered.routines,
        config={key: str(value) for key, value in agent.configs.items()},
        risk=_risk_line(state, history),
        portfolio_strategy=portfolio_strategy,
        providers=providers_of(state, history, feed, definition.markets, occasion.now_ms),
        market=p.MarketContext(_bars(agent, feed, occasion.now_ms), remembered.events, remembered.news),
        memory=_memory(agent, history, remembered),
        reflection_due=history.reflection_due,
        answers=tuple(map(_answer, history.answers)),
        directives=occasion.directives,
    )


def with_resources(remembered: Remembered, agent: Agent, resources: Resources, now_ms: int) -> Remembered:
    """What the agent is told it may run, and the news and events its `context` asks for, as far as they were known then."""
    return replace(
        remembered,
        routines=_routines(agent, resources),
        news=_outside("news", resources, lambda store: _news(store, agent, now_ms)),
        events=_outside("calendar", resources, lambda store: _upcoming(store, agent, now_ms)),
    )


def _routines(agent: Agent, resources: Resources) -> tuple[p.Listed, ...]:
    """The user's routines, for an agent that may run them; a broken one is not offered."""
    tools = tools_for(agent.definition.tools or (), entries_barred=False)
    if resources.routines is None or not any(tool.name == "run_routine" for tool in tools):
        return ()
    return tuple(p.Listed(one.name, one.description) for one in resources.routines.listed() if not one.problem)


def _outside(origin: str, resources: Resources, read: Callable[[EventStore], Iterable[p.OutsideText]]) -> tuple[p.OutsideText, ...]:
    """What a store gives; one that cannot be read says so instead of showing nothing."""
    try:
        return () if resources.events is None else tuple(read(resources.events))
    except TradeAgentError as error:
        resources.failed.add(f"{origin}: {error.message}")
        return (p.OutsideText(origin, f"unknown: {error.message}"),)


def _news(store: EventStore, agent: Agent, now_ms: int) -> Iterable[p.OutsideText]:
    wanted = agent.definition.context.news
    window = Window(as_of=now_ms, since=now_ms - NEWS_HOURS * HOUR_MS, symbols=agent.definition.markets, limit=wanted)
    found = store.news(window) if wanted else []
    return (p.OutsideText(f"news {item.source}", f"{item.title}. {item.summary}", item.published) for item in found)


def _upcoming(store: EventStore, agent: Agent, now_ms: int) -> Iterable[p.OutsideText]:
    window = Window(now_ms, now_ms, now_ms + EVENT_DAYS * DAY_MS, agent.definition.markets, limit=MOST_EVENTS)
    found = store.events(window, min_importance=LEAST_IMPORTANCE) if agent.definition.context.events else []
    return (p.OutsideText(f"calendar {event.source}", f"{event.kind} {event.title}", event.time) for event in found)


def _risk_line(state: RiskState, history: History) -> p.RiskState:
    risk = state.risk.rolled(state.now_ms, state.risk.last_equity)
    return p.RiskState(
        rejections=history.rejections,
        orders_today=risk.entries_today.get(state.limits.kind.value, 0),
        day_pnl_pct=state.day_pnl / risk.day_start_equity * 100 if risk.day_start_equity > 0 else None,
        losing_streak=risk.losing_streak,
    )


def providers_of(state: RiskState, history: History, feed: MarketFeed | None, markets: Sequence[str], now_ms: int) -> p.Providers:
    """What is known before any model is asked: live executors, own positions and orders, the account, the markets."""
    own = [row for row in state.positions if row.controller_id == state.scope.controller_id and row.size]
    resting = [o for o in state.orders if o.controller_id == state.scope.controller_id and o.leg not in ("stop", "target")]
    account = p.AccountLine(
        equity=state.equity,
        free_margin=free_margin(state),
        exposure=total_worst_notional(state),
        day_pnl=state.day_pnl,
        drawdown_pct=state.drawdown_pct,
    )
    return p.Providers(
        executors=history.executors,
        positions=tuple(_position(state, row) for row in own),
        orders=tuple(p.OrderLine(str(o.oid), o.market, Side(o.side), OrderType(o.type), o.size, o.price, o.reduce_only) for o in resting),
        account=account,
        markets=tuple(_market(state, feed, market, now_ms) for market in markets),
    )


def _position(state: RiskState, row: trading.PositionRow) -> p.PositionLine:
    trade = active_trade(state, row)
    return p.PositionLine(
        market=trade.market,
        direction=trade.direction,
        size=abs(trade.size),
        entry=trade.entry,
        mark=trade.mark,
        unrealised=trade.unrealised,
        break_even=trade.break_even,
        stop=trade.stop,
        target=trade.target,
        r_multiple=trade.r,
        liquidation=trade.liquidation,
        opened_ms=trade.opened_ms,
    )


def _market(state: RiskState, feed: MarketFeed | None, market: str, now_ms: int) -> p.MarketLine:
    seen = state.markets.get(market)
    if seen is None or seen.mark is None or feed is None or market not in feed.markets:
        return p.MarketLine(market, None)
    interval = feed.interval_ms(market)
    day = feed.history(market, interval, now_ms, max(1, DAY_MS // interval))
    change = Decimal(str(round((float(day.close[-1]) / float(day.open[0]) - 1) * 100, 4))) if len(day) else None
    rates = feed.funding(market, now_ms - 2 * HOUR_MS, now_ms)
    return p.MarketLine(
        market=market,
        mark=seen.mark,
        change_24h_pct=change,
        funding_pct=Decimal(rates[-1][1]).scaleb(-8) if rates else None,
        next_funding_ms=(now_ms // HOUR_MS + 1) * HOUR_MS,
        age_s=(now_ms - seen.mark_ms) // 1000,
    )


def _bars(agent: Agent, feed: MarketFeed | None, now_ms: int) -> tuple[p.BarsTable, ...]:
    wanted = agent.definition.context.bars
    if wanted is None or feed is None:
        return ()
    interval_ms = parse_duration(wanted.interval)
    tables = []
    for market in agent.definition.markets:
        try:
            bars = feed.history(market, interval_ms, now_ms, wanted.lookback)
        except DataError:
            continue
        columns = (bars.ts.tolist(), bars.open.tolist(), bars.high.tolist(), bars.low.tolist(), bars.close.tolist(), bars.volume.tolist())
        tables.append(p.BarsTable(market, wanted.interval, tuple(zip(*columns, strict=True))))
    return tuple(tables)


def _memory(agent: Agent, history: History, remembered: Remembered) -> p.Memory:
    if agent.definition.context.memory == "none":
        return p.Memory(pinned=remembered.pinned)
    return p.Memory(
        learnings=remembered.learnings,
        status=remembered.status,
        decisions=remembered.decisions,
        trips=history.trips,
        reflection=remembered.reflection,
        pinned=remembered.pinned,
        canvas=remembered.canvas,
    )


def _answer(row: SuggestionRow) -> str:
    """The user's answer to one suggestion, in a sentence."""
    when = " and is in force from the next run" if row.state == SuggestionState.APPROVED.value else ""
    return f"{row.key} {row.old} → {row.new}: {row.state}{when}{f' ({row.note})' if row.note else ''}"


def _trip(trip: Mapping[str, Any]) -> p.TripLine:
    return p.TripLine(
        market=trip["market"],
        direction=Direction(trip["direction"]),
        pnl=trip["pnl"],
        r_multiple=trip["r_multiple"],
        held_minutes=(trip["closed_ms"] - trip["opened_ms"]) // MINUTE_MS,
        exit_reason=trip["exit_reason"],
        closed_ms=trip["closed_ms"],
    )
