"""The structured sections of a prompt: providers, limits, bars, round trips. Each returns lines of the documented grammar."""

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache

from tradeagent.llm.untrusted import one_line, quoted, untrusted
from tradeagent.turns.prompt_inputs import (
    AccountLine,
    BarsTable,
    DecisionLine,
    ExecutorLine,
    LimitLine,
    MarketLine,
    OrderLine,
    OutsideText,
    PositionLine,
    Providers,
    RiskState,
    TickInfo,
    TripGroup,
    TripLine,
)
from tradeagent.turns.prompt_text import Value, cut_oldest, record, signed, stamp, value_text

BARS_HEADER = "time,open,high,low,close,volume"
_NEWS_CHARACTERS = 400
_PAYLOAD_CHARACTERS = 300


def tick_lines(tick: TickInfo) -> str:
    pairs: dict[str, Value] = {
        "agent": tick.agent_id,
        "kind": tick.kind,
        "mode": tick.mode.value,
        "tick": tick.tick,
        "now": stamp(tick.now_ms),
        "interval": tick.interval,
        "trigger": tick.trigger,
        "markets": ",".join(tick.markets),
        "model": tick.model,
    }
    return record(pairs)


@lru_cache(maxsize=1024)
def limit_line(limit: LimitLine) -> str:
    """`max_single_order_quote=100 used=0 left=100`; a limit without a running total is its cap alone."""
    if not isinstance(limit.cap, Decimal):
        return f"{limit.key}={value_text(limit.cap, 'off')}"
    if limit.used is None:
        return f"{limit.key}={value_text(limit.cap)}"
    return f"{limit.key}={value_text(limit.cap)} used={value_text(limit.used)} left={value_text(max(Decimal(0), limit.cap - limit.used))}"


def risk_line(risk: RiskState) -> str:
    rejections = ",".join(f"{rule}:{count}" for rule, count in sorted(risk.rejections.items())) or "none"
    return (
        f"rejected_last_hour={quoted(rejections)} orders_today={risk.orders_today} "
        f"day_pnl_pct={signed(risk.day_pnl_pct)} losing_streak={risk.losing_streak}"
    )


def provider_sections(providers: Providers) -> dict[str, list[str]]:
    """Title → lines, in the order executors, positions, orders, account, markets; a failed provider says unknown, never nothing."""
    found: dict[str, list[str] | None] = {
        "Executors": None if providers.executors is None else [_executor(line) for line in providers.executors],
        "Positions": None if providers.positions is None else [_position(line) for line in providers.positions],
        "Orders": None if providers.orders is None else [_order(line) for line in providers.orders],
        "Account": None if providers.account is None else [_account(providers.account)],
        "Markets": None if providers.markets is None else [_market(line) for line in providers.markets],
    }
    return {title: _or_none(lines, providers.failures.get(title.lower(), "the source did not answer")) for title, lines in found.items()}


def _or_none(lines: list[str] | None, failure: str) -> list[str]:
    return [f"unknown: {one_line(failure)}"] if lines is None else lines or ["none"]


def _executor(line: ExecutorLine) -> str:
    return (
        f"executor={quoted(line.executor_id)} type={line.type} market={quoted(one_line(line.market))} side={line.side.value} "
        f"amount={value_text(line.amount_quote)} status={line.status} pnl={signed(line.pnl)} volume={value_text(line.volume)} "
        f"age_min={line.age_minutes}"
    )


def _position(line: PositionLine) -> str:
    return (
        f"market={quoted(one_line(line.market))} side={line.direction.value} size={value_text(line.size)} entry={value_text(line.entry)} "
        f"mark={value_text(line.mark)} unrealised={signed(line.unrealised)} break_even={value_text(line.break_even)} "
        f"stop={value_text(line.stop, 'none')} target={value_text(line.target, 'none')} r={signed(line.r_multiple)} "
        f"liq={value_text(line.liquidation, 'unreachable')} opened={stamp(line.opened_ms)}"
    )


def _order(line: OrderLine) -> str:
    pairs: dict[str, Value] = {
        "order_id": line.order_id,
        "market": line.market,
        "side": line.side.value,
        "type": line.type.value,
        "size": line.size,
        "price": line.price if line.price is not None else "market",
        "reduce_only": line.reduce_only,
    }
    return record(pairs)


def _account(line: AccountLine) -> str:
    return (
        f"equity={value_text(line.equity)} free_margin={value_text(line.free_margin)} exposure={value_text(line.exposure)} "
        f"day_pnl={signed(line.day_pnl)} drawdown_pct={value_text(line.drawdown_pct)}"
    )


def _market(line: MarketLine) -> str:
    optional: Mapping[str, str | None] = {
        "bid": None if line.bid is None else value_text(line.bid),
        "ask": None if line.ask is None else value_text(line.ask),
        "change_24h_pct": None if line.change_24h_pct is None else signed(line.change_24h_pct),
        "funding_pct_per_hour": None if line.funding_pct is None else signed(line.funding_pct),
        "next_funding": None if line.next_funding_ms is None else stamp(line.next_funding_ms),
        "age_s": None if line.age_s is None else str(line.age_s),
    }
    shown = "".join(f" {key}={value}" for key, value in optional.items() if value is not None)
    return f"market={quoted(one_line(line.market))} mark={value_text(line.mark)}{shown}"


def bars_section(table: BarsTable, tokens: int) -> tuple[str, int]:
    """`## Bars BTC 15m` with the newest bars that fit; prices keep up to 10 significant figures."""
    title = f"## Bars {quoted(one_line(table.market))} {table.interval}\n"
    text, cut = cut_oldest([_bar_line(*row) for row in table.rows], tokens - (len(title) + len(BARS_HEADER)) // 4 - 1, "bars")
    return f"{title}{BARS_HEADER}\n{text}", cut


@lru_cache(maxsize=8192)
def _bar_line(time_ms: int, open_: float, high: float, low: float, close: float, volume: float) -> str:
    """One bar; nearly all of a prompt's bars were in the prompt before it."""
    return f"{stamp(time_ms)},{open_:.10g},{high:.10g},{low:.10g},{close:.10g},{volume:.6g}"


def trip_line(trip: TripLine) -> str:
    return (
        f"market={quoted(one_line(trip.market))} side={trip.direction.value} pnl={signed(trip.pnl)} r={signed(trip.r_multiple)} "
        f"held_min={trip.held_minutes} exit={quoted(one_line(trip.exit_reason))} closed={stamp(trip.closed_ms)}"
    )


def trip_group_line(group: TripGroup) -> str:
    return (
        f"{group.kind}={quoted(one_line(group.what))} trips={group.trips} wins={group.wins} pnl={signed(group.pnl)} "
        f"mean_r={signed(group.mean_r)} mean_held_min={group.mean_held_minutes} mean_best={signed(group.mean_best)} "
        f"mean_worst={signed(group.mean_worst)}"
    )


def decision_line(line: DecisionLine) -> str:
    return f"- #{line.tick} ({stamp(line.at_ms)}) {one_line(line.action)} -- {one_line(line.reasoning)} [verdict: {one_line(line.verdict)}]"


def outside(items: tuple[OutsideText, ...]) -> list[str]:
    """One envelope per item, the time in front of the text."""
    return [
        untrusted(item.origin, f"{stamp(item.at_ms)} {item.text}" if item.at_ms is not None else item.text, _NEWS_CHARACTERS)
        for item in items
    ]


def payload_lines(payload: Mapping[str, str]) -> list[str]:
    return [f"{key}={quoted(one_line(value)[:_PAYLOAD_CHARACTERS])}" for key, value in payload.items()]
