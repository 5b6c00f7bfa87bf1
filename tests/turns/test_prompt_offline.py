"""The rule-based models play whole sessions from real prompts: within the limits shown, protected, never pyramiding, often enough."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from math import sin
from pathlib import Path
from random import Random
from typing import Any

import pytest
from prompt_material import NOW_MS, POSITION, bars, full_inputs, tick
from pydantic import BaseModel, ConfigDict

from tradeagent.domain.clock import MINUTE_MS, SystemClock
from tradeagent.domain.names import Direction
from tradeagent.llm.contract import Message, Tool, ToolCallFinished, ToolResult, TurnEvent, TurnFinished, TurnLimits, UsageReported
from tradeagent.llm.loop import run_turn
from tradeagent.llm.offline.model import open_offline
from tradeagent.turns.prompt import build_prompt
from tradeagent.turns.prompt_inputs import (
    AccountLine,
    AlertPayload,
    BarsTable,
    LimitLine,
    MarketContext,
    MarketLine,
    Memory,
    PositionLine,
    PromptInputs,
    Providers,
    TripLine,
)

Row = tuple[int, float, float, float, float, float]
TAKER = Decimal("0.00045")
SHOWN = 96


class Propose(BaseModel):
    model_config = ConfigDict(extra="forbid")
    market: str
    side: str
    quote: Decimal
    stop: Decimal
    target: Decimal
    confidence: Decimal
    reason: str


class Protect(BaseModel):
    model_config = ConfigDict(extra="forbid")
    market: str
    stop: Decimal
    reason: str


class Close(BaseModel):
    model_config = ConfigDict(extra="forbid")
    market: str
    reason: str


class Journal(BaseModel):
    model_config = ConfigDict(extra="forbid")
    action: str
    reasoning: str
    risk_note: str


class Learn(BaseModel):
    model_config = ConfigDict(extra="forbid")
    section: str
    text: str


class Nothing(BaseModel):
    model_config = ConfigDict(extra="forbid")


@dataclass
class Venue:
    """A one-market account that fills at the close, stops and targets inside the next bar (the stop first)."""

    cash: Decimal = Decimal(10_000)
    position: PositionLine | None = None
    trips: list[TripLine] = field(default_factory=list)
    journal: list[Journal] = field(default_factory=list)
    learnings: list[Learn] = field(default_factory=list)
    proposals: list[Propose] = field(default_factory=list)
    tightened: int = 0
    looked: int = 0
    price: Decimal = Decimal(0)
    first_stop: Decimal = Decimal(0)
    now_ms: int = 0
    reject: bool = False

    async def propose(self, order: Propose, context: Any) -> ToolResult:
        assert self.position is None, "the policy pyramids"
        sign = 1 if order.side == "buy" else -1
        risk, reward = (self.price - order.stop) * sign, (order.target - self.price) * sign
        size = order.quote / self.price
        assert Decimal(10) < order.quote < 100
        assert risk > 0
        assert reward >= risk
        assert risk * size <= self.cash * Decimal("0.5") / 100
        assert risk / self.price >= Decimal("0.0029"), "the stop is inside the costs"
        self.proposals.append(order)
        if self.reject:
            detail = {"rule": "SINGLE_ORDER", "max_ok": "5", "message": "planned quote is above the cap"}
            return ToolResult({"verdict": "rejected", "rule": "SINGLE_ORDER", "detail": detail}, is_error=True)
        self.cash -= order.quote * TAKER
        self.first_stop = order.stop
        direction = Direction.LONG if sign > 0 else Direction.SHORT
        break_even = self.price * (1 + sign * 2 * TAKER)
        self.position = replace(
            POSITION,
            direction=direction,
            size=size,
            entry=self.price,
            break_even=break_even,
            stop=order.stop,
            target=order.target,
            opened_ms=self.now_ms,
        )
        return ToolResult({"verdict": "executed"})

    async def protect(self, change: Protect, context: Any) -> ToolResult:
        held = self.position
        assert held is not None
        sign = 1 if held.direction is Direction.LONG else -1
        assert held.stop is None or (change.stop - held.stop) * sign > 0, "the stop is loosened"
        assert (self.price - change.stop) * sign > 0, "the stop is through the market"
        self.position = replace(held, stop=change.stop)
        self.tightened += 1
        return ToolResult({"verdict": "executed"})

    async def close(self, order: Close, context: Any) -> ToolResult:
        self.leave(self.price, "signal")
        return ToolResult({"verdict": "executed"})

    def leave(self, price: Decimal, reason: str) -> None:
        held = self.position
        assert held is not None
        sign = 1 if held.direction is Direction.LONG else -1
        gross = (price - held.entry) * held.size * sign
        self.cash += gross - price * held.size * TAKER
        minutes = (self.now_ms - (held.opened_ms or 0)) // MINUTE_MS
        r_multiple = gross / (abs(held.entry - self.first_stop) * held.size)
        self.trips.append(TripLine("BTC", held.direction, gross, round(r_multiple, 2), minutes, reason, self.now_ms))
        self.position = None

    def see(self, row: Row, minutes: int) -> None:
        """One bar passes: stop, else target, may fill in it."""
        self.now_ms, self.price = row[0] + minutes * MINUTE_MS, Decimal(repr(row[4]))
        held = self.position
        if held is None or held.stop is None or held.target is None:
            return
        sign = 1 if held.direction is Direction.LONG else -1
        worst, best = (row[3], row[2]) if sign > 0 else (row[2], row[3])
        if (Decimal(repr(worst)) - held.stop) * sign <= 0:
            self.leave(held.stop, "stop")
        elif (Decimal(repr(best)) - held.target) * sign >= 0:
            self.leave(held.target, "target")

    async def journal_action(self, entry: Journal, context: Any) -> ToolResult:
        self.journal.append(entry)
        return ToolResult({"ok": True})

    async def learn(self, entry: Learn, context: Any) -> ToolResult:
        self.learnings.append(entry)
        return ToolResult({"ok": True})

    async def look(self, nothing: Nothing, context: Any) -> ToolResult:
        self.looked += 1
        return ToolResult({"equity": str(self.cash)})

    def tools(self, *, entries: bool = True) -> list[Tool]:
        found = [
            Tool("modify_protection", "Move stop or target.", Protect, "trading", "trade", self.protect),
            Tool("close_position", "Close a position.", Close, "trading", "trade", self.close),
            Tool("journal_action", "Journal a decision.", Journal, "journal", "memory", self.journal_action),
            Tool("add_learning", "Remember something.", Learn, "journal", "memory", self.learn),
            Tool("get_portfolio", "Read the account.", Nothing, "portfolio", "read", self.look),
        ]
        if entries:
            found.append(Tool("propose_order", "Propose an order.", Propose, "trading", "trade", self.propose))
        return found


def inputs_of(venue: Venue, rows: Sequence[Row], interval: str, day_trades: int = 0) -> PromptInputs:
    held = venue.position
    used = held.size * venue.price if held else Decimal(0)
    return replace(
        full_inputs(0),
        tick=tick(now_ms=venue.now_ms, interval=interval),
        limits=(
            LimitLine("max_single_order_quote", Decimal(100), Decimal(0)),
            LimitLine("max_position_size_quote", Decimal(500), used),
            LimitLine("max_position_pct", Decimal(20), Decimal(0)),
            LimitLine("max_daily_trades", Decimal(12), Decimal(day_trades)),
            LimitLine("max_risk_per_trade_pct", Decimal("0.5")),
            LimitLine("max_portfolio_risk_quote", Decimal(50), Decimal(0)),
            LimitLine("max_market_risk_pct", Decimal(40)),
            LimitLine("min_reward_risk", Decimal(1)),
        ),
        config={"risk_per_trade_pct": "0.1"},
        providers=Providers(
            positions=(replace(held, mark=venue.price),) if held else (),
            account=AccountLine(venue.cash, venue.cash - used, used, None, None),
            markets=(MarketLine("BTC", venue.price),),
        ),
        market=MarketContext(bars=(BarsTable("BTC", interval, tuple(rows)),)),
        memory=Memory(trips=tuple(venue.trips[-10:])),
        alert=None,
        directives=(),
    )


async def turn(policy: str, inputs: PromptInputs, tools: Sequence[Tool]) -> list[TurnEvent]:
    prompt = build_prompt(inputs)
    messages = [Message("system", prompt.system), Message("user", prompt.user)]
    events = [
        event async for event in run_turn(open_offline(policy), messages, tools, TurnLimits(), lambda _n, _a: None, None, SystemClock())
    ]
    end = events[-1]
    assert isinstance(end, TurnFinished)
    assert end.reason == "stop", end.detail
    assert f"[rule-based {policy}]" in end.text
    assert all(event.dispatched for event in events if isinstance(event, ToolCallFinished)), "a call did not validate"
    assert all(event.usage.cost_usd == 0 for event in events if isinstance(event, UsageReported))
    return events


async def session(policy: str, rows: Sequence[Row], minutes: int, ticks: int) -> Venue:
    """One tick after each bar, with the daily count of entries shown as the engine would."""
    venue = Venue()
    entered_at: list[int] = []
    for index in range(SHOWN, SHOWN + ticks):
        venue.see(rows[index], minutes)
        today = sum(1 for at in entered_at if at // 86_400_000 == venue.now_ms // 86_400_000)
        before = len(venue.proposals)
        await turn(policy, inputs_of(venue, rows[index - SHOWN + 1 : index + 1], f"{minutes}m", today), venue.tools())
        entered_at += [venue.now_ms] * (len(venue.proposals) - before)
    assert len(venue.journal) == ticks, "every tick is journalled once"
    return venue


def synthetic(count: int, minutes: int) -> list[Row]:
    """A market that trends, oscillates and jitters: 0.15 % noise a bar on waves of 40 and 190 bars."""
    chance, rows, close = Random(7), [], 64_000.0
    for i in range(count):
        opened = close
        close = round(64_000 + 900 * sin(i / 30) + 300 * sin(i / 6.4) + chance.gauss(0, 60), 1)
        high, low = max(opened, close) + abs(chance.gauss(0, 40)), min(opened, close) - abs(chance.gauss(0, 40))
        rows.append((NOW_MS + i * minutes * MINUTE_MS, opened, round(high, 1), round(low, 1), close, 10 + 20 * chance.random()))
    return rows


@pytest.mark.parametrize("policy", ["offline/momentum", "offline/mean_reversion", "offline/breakout"])
async def test_a_policy_trades_within_its_limits_and_manages_what_it_opens(policy: str) -> None:
    venue = await session(policy, synthetic(320, 5), 5, 220)
    assert len(venue.trips) >= 4
    assert {trip.direction for trip in venue.trips} == {Direction.LONG, Direction.SHORT}


async def test_momentum_makes_ten_round_trips_in_500_five_minute_ticks_and_the_same_ones_again() -> None:
    first = await session("offline/momentum", synthetic(600, 5), 5, 500)
    assert len(first.trips) >= 10
    assert first.tightened > 0
    assert len(first.learnings) * 4 < len(first.trips)
    again = await session("offline/momentum", synthetic(600, 5), 5, 60)
    assert again.proposals == first.proposals[: len(again.proposals)]


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize("minutes", [5, 15])
@pytest.mark.parametrize("offset", [0, 2_000])
async def test_momentum_makes_ten_round_trips_in_500_ticks_of_real_bars(shared_data: Path, minutes: int, offset: int) -> None:
    venue = await session("offline/momentum", real_bars(shared_data, minutes, offset, 600), minutes, 500)
    assert len(venue.trips) >= 10
    assert venue.cash > 9_950, "500 ticks of small trades cost less than half a percent"


def real_bars(folder: Path, minutes: int, offset: int, count: int) -> list[Row]:
    import duckdb

    file = folder / f"hyperliquid_BTC_{minutes}m.parquet"
    query = f"select ts, open, high, low, close, volume from '{file}' order by ts limit {count} offset {offset}"
    return [tuple(row) for row in duckdb.sql(query).fetchall()]


def rising() -> list[Row]:
    return [
        (NOW_MS - (100 - i) * 300_000, 63_000 + 20.0 * i, 63_035 + 20.0 * i, 62_990 + 20.0 * i, 63_020 + 20.0 * i, 10.0) for i in range(100)
    ]


def at_rising(**position: Any) -> Venue:
    venue = Venue(price=Decimal(65_000), now_ms=NOW_MS)
    if position:
        venue.position = replace(POSITION, **{"target": Decimal(70_000), "opened_ms": NOW_MS - 600_000} | position)
    return venue


async def test_an_entry_reads_the_verdict_and_journals_it() -> None:
    venue = at_rising()
    await turn("offline/momentum", inputs_of(venue, rising(), "5m"), venue.tools())
    assert (venue.proposals[0].side, venue.proposals[0].market) == ("buy", "BTC")
    assert venue.journal[0].action == "propose_order buy BTC"
    assert "executed" in venue.journal[0].reasoning
    refused = at_rising()
    refused.reject = True
    await turn("offline/momentum", inputs_of(refused, rising(), "5m"), refused.tools())
    assert len(refused.proposals) == 1, "a rejected proposal is not repeated"
    assert "rejected by SINGLE_ORDER planned quote is above the cap" in refused.journal[0].reasoning


async def test_used_up_limits_and_small_rooms_end_in_holding() -> None:
    venue = at_rising()
    await turn("offline/momentum", inputs_of(venue, rising(), "5m", day_trades=12), venue.tools())
    assert "max_daily_trades is used up" in venue.journal[0].reasoning
    inputs = inputs_of(venue, rising(), "5m")
    tight = replace(inputs, limits=(LimitLine("max_single_order_quote", Decimal(100), Decimal(91)),))
    await turn("offline/momentum", tight, venue.tools())
    assert "less than the smallest order" in venue.journal[1].reasoning
    strict = replace(inputs, limits=(LimitLine("min_confidence", Decimal(1)),))
    await turn("offline/momentum", strict, venue.tools())
    assert "below the minimum" in venue.journal[2].reasoning
    assert venue.proposals == []


async def test_a_pause_follows_a_closed_trade() -> None:
    venue = at_rising()
    venue.trips.append(TripLine("BTC", Direction.LONG, Decimal(-1), Decimal(-1), 10, "stop", NOW_MS - 240_000))
    await turn("offline/momentum", inputs_of(venue, rising(), "5m"), venue.tools())
    assert venue.proposals == []
    assert "waiting after the last trade" in venue.journal[0].reasoning


async def test_without_entry_tools_an_open_position_is_still_managed() -> None:
    losing = at_rising(direction=Direction.SHORT, entry=Decimal(64_000), stop=Decimal(66_000), target=Decimal(60_000))
    await turn("offline/momentum", inputs_of(losing, rising(), "5m"), losing.tools(entries=False))
    assert losing.position is None
    assert "signal flipped" in losing.journal[0].reasoning
    flat = at_rising()
    await turn("offline/momentum", inputs_of(flat, rising(), "5m"), flat.tools(entries=False))
    assert flat.journal[0].action == "hold"
    assert "not possible in this turn" in flat.journal[0].reasoning


@pytest.mark.parametrize(
    ("position", "stop"),
    [
        ({"entry": Decimal(64_990), "stop": None}, Decimal(64_805)),
        ({"entry": Decimal(64_750), "break_even": Decimal(64_808), "stop": Decimal(64_500)}, Decimal(64_808)),
        ({"entry": Decimal(64_000), "stop": Decimal(64_100)}, Decimal(64_805)),
        ({"entry": Decimal(64_990), "stop": Decimal(64_700)}, Decimal(64_700)),
        ({"entry": Decimal(64_000), "stop": Decimal(64_800)}, Decimal(64_800)),
    ],
    ids=["no-stop", "break-even", "trail", "too-early", "no-churn"],
)
async def test_a_stop_only_ever_tightens(position: dict[str, Any], stop: Decimal) -> None:
    venue = at_rising(**position)
    await turn("offline/momentum", inputs_of(venue, rising(), "5m"), venue.tools())
    assert venue.position is not None
    assert venue.position.stop == stop


async def test_a_position_held_too_long_is_closed() -> None:
    venue = at_rising(entry=Decimal(64_990), stop=Decimal(64_700), opened_ms=NOW_MS - 16 * 300_000)
    await turn("offline/momentum", inputs_of(venue, rising(), "5m"), venue.tools())
    assert venue.position is None
    assert "held 16 bars" in venue.journal[0].reasoning


async def test_unknown_positions_and_missing_bars_mean_hands_off() -> None:
    venue = at_rising()
    inputs = inputs_of(venue, rising(), "5m")
    await turn("offline/momentum", replace(inputs, providers=Providers(positions=None)), venue.tools())
    await turn("offline/momentum", replace(inputs, market=MarketContext()), venue.tools())
    await turn("offline/momentum", replace(inputs, market=MarketContext(bars=(bars(5),))), venue.tools())
    assert [entry.action for entry in venue.journal] == ["hold"] * 3
    assert "unknown" in venue.journal[0].reasoning
    assert "no bars" in venue.journal[1].reasoning
    assert "too few" in venue.journal[2].reasoning


async def test_an_alert_is_looked_at_before_anything_else() -> None:
    venue = at_rising(entry=Decimal(64_990), stop=None)
    inputs = replace(inputs_of(venue, rising(), "5m"), alert=AlertPayload("stop check on BTC", "read the position and its stop"))
    events = await turn("offline/momentum", inputs, venue.tools())
    names = [event.name for event in events if isinstance(event, ToolCallFinished)]
    assert names == ["get_portfolio", "modify_protection", "journal_action"]


async def test_a_good_trade_and_a_losing_streak_are_remembered_right_after_them() -> None:
    venue = at_rising()
    venue.trips.append(TripLine("BTC", Direction.LONG, Decimal(9), Decimal("2.4"), 90, "target", NOW_MS - 60_000))
    await turn("offline/momentum", inputs_of(venue, rising(), "5m"), venue.tools())
    assert [learning.text for learning in venue.learnings] == ["BTC long paid 2.4 R in 1.5 h, closed by target"]
    losing = at_rising()
    lost = TripLine("BTC", Direction.SHORT, Decimal(-1), Decimal(-1), 30, "stop", NOW_MS - 60_000)
    losing.trips += [replace(lost, closed_ms=lost.closed_ms - 3_600_000 * i) for i in range(4)]
    await turn("offline/momentum", inputs_of(losing, rising(), "5m"), losing.tools())
    assert "4 losses in a row" in losing.learnings[0].text
    losing.now_ms += 600_000
    await turn("offline/momentum", inputs_of(losing, rising(), "5m"), losing.tools())
    assert len(losing.learnings) == 1


async def test_hold_journals_and_nothing_else_and_a_chat_without_a_prompt_gets_a_sentence() -> None:
    venue = at_rising()
    await turn("offline/hold", inputs_of(venue, rising(), "5m"), venue.tools())
    assert (venue.journal[0].action, venue.proposals) == ("hold", [])
    chat = run_turn(open_offline("offline/hold"), [Message("user", "hi")], [], TurnLimits(), lambda _n, _a: None, None, SystemClock())
    events = [event async for event in chat]
    assert isinstance(events[-1], TurnFinished)
    assert "nothing to decide" in events[-1].text
