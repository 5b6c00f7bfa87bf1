"""Everything a prompt is built from, as plain frozen values, filled from the runtime snapshot and the agent's files.

None for a whole section means its source failed (`unknown_reason` says why); an empty tuple means there is nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from tradeagent.domain.names import Direction, OrderType, RunMode, Side

TurnKind = Literal["tick", "alert", "chat"]
Approval = Literal["auto", "copilot"]


@dataclass(frozen=True, slots=True)
class TickInfo:
    """Who is asked, when and why. `tick` is the running number, `trigger` what woke it (`schedule`, `alert`, `directive`, `chat`)."""

    agent_id: str
    kind: TurnKind
    mode: RunMode
    tick: int
    now_ms: int
    interval: str
    markets: tuple[str, ...]
    model: str
    trigger: str = "schedule"
    approval: Approval = "auto"
    entries_barred: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """A routine or skill: its name and one line about it."""

    name: str
    description: str


@dataclass(frozen=True, slots=True)
class LimitLine:
    """One limit with its use, in the limit's own unit; `cap` None = off, `used` None = not a running total."""

    key: str
    cap: Decimal | bool | None
    used: Decimal | None = None


@dataclass(frozen=True, slots=True)
class RiskState:
    """The last hour and day in short: `rejections` by rule, quote PnL of the day in % of its start."""

    rejections: Mapping[str, int] = field(default_factory=dict)
    orders_today: int = 0
    day_pnl_pct: Decimal | None = None
    losing_streak: int = 0


@dataclass(frozen=True, slots=True)
class ExecutorLine:
    """A live executor; quote units."""

    executor_id: str
    type: str
    market: str
    side: Side
    amount_quote: Decimal
    status: str
    pnl: Decimal | None
    volume: Decimal
    age_minutes: int


@dataclass(frozen=True, slots=True)
class PositionLine:
    """Inventory with its protection. `liquidation` None = unreachable; `mark`, `unrealised`, `r_multiple` None = unknown."""

    market: str
    direction: Direction
    size: Decimal
    entry: Decimal
    mark: Decimal | None
    unrealised: Decimal | None
    break_even: Decimal | None
    stop: Decimal | None
    target: Decimal | None
    r_multiple: Decimal | None
    liquidation: Decimal | None
    opened_ms: int | None


@dataclass(frozen=True, slots=True)
class OrderLine:
    """A resting order that is not a position's own stop or target."""

    order_id: str
    market: str
    side: Side
    type: OrderType
    size: Decimal
    price: Decimal | None
    reduce_only: bool


@dataclass(frozen=True, slots=True)
class AccountLine:
    """Quote units; percentages as percent."""

    equity: Decimal
    free_margin: Decimal
    exposure: Decimal
    day_pnl: Decimal | None
    drawdown_pct: Decimal | None


@dataclass(frozen=True, slots=True)
class MarketLine:
    """One market now; `funding_pct` per hour in percent; `age_s` of the mark."""

    market: str
    mark: Decimal | None
    bid: Decimal | None = None
    ask: Decimal | None = None
    change_24h_pct: Decimal | None = None
    funding_pct: Decimal | None = None
    next_funding_ms: int | None = None
    age_s: int | None = None


@dataclass(frozen=True, slots=True)
class BarsTable:
    """Closed bars, oldest first: rows of (open time ms, open, high, low, close, volume), prices in quote, volume in base units."""

    market: str
    interval: str
    rows: tuple[tuple[int, float, float, float, float, float], ...]


@dataclass(frozen=True, slots=True)
class OutsideText:
    """Text nobody here wrote: a headline, an event name, a page. `origin` names the source."""

    origin: str
    text: str
    at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class TripLine:
    """A closed round trip, net in quote units."""

    market: str
    direction: Direction
    pnl: Decimal
    r_multiple: Decimal | None
    held_minutes: int
    exit_reason: str
    closed_ms: int


@dataclass(frozen=True, slots=True)
class TripGroup:
    """Closed round trips that share something, `what` of `kind`; PnL net, means of R (None = no stop), time held, best and worst PnL."""

    kind: str
    what: str
    trips: int
    wins: int
    pnl: Decimal
    mean_r: Decimal | None
    mean_held_minutes: int
    mean_best: Decimal
    mean_worst: Decimal


@dataclass(frozen=True, slots=True)
class DecisionLine:
    """A past decision and the engine's verdict on it."""

    tick: int
    at_ms: int
    action: str
    reasoning: str
    verdict: str


@dataclass(frozen=True, slots=True)
class AlertPayload:
    """Why an alert turn runs and what it must do first."""

    summary: str
    mandatory_action: str
    payload: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Providers:
    """Summaries computed before the model is asked; None = that provider failed."""

    executors: tuple[ExecutorLine, ...] | None = ()
    positions: tuple[PositionLine, ...] | None = ()
    orders: tuple[OrderLine, ...] | None = ()
    account: AccountLine | None = None
    markets: tuple[MarketLine, ...] | None = ()
    failures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MarketContext:
    """Bars, events and news the agent asked for in its `context`."""

    bars: tuple[BarsTable, ...] = ()
    events: tuple[OutsideText, ...] = ()
    news: tuple[OutsideText, ...] = ()


@dataclass(frozen=True, slots=True)
class Memory:
    """What the agent kept: texts are markdown as stored; `reflection` and `canvas` map a slot to its text."""

    learnings: str = ""
    status: str = ""
    decisions: tuple[DecisionLine, ...] = ()
    trips: tuple[TripLine, ...] = ()
    reflection: Mapping[str, str] = field(default_factory=dict)
    pinned: str = ""
    canvas: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PromptInputs:
    """All layers' material. `strategy` and `config` are key → value text; `reflection_due` the trades to reflect on now; `answers` (to
    its suggestions) and `directives` are the user's, shown once."""

    tick: TickInfo
    body: str
    limits: tuple[LimitLine, ...]
    strategy: Mapping[str, str] = field(default_factory=dict)
    routines: tuple[Listed, ...] = ()
    skills: tuple[Listed, ...] = ()
    config: Mapping[str, str] = field(default_factory=dict)
    risk: RiskState = field(default_factory=RiskState)
    portfolio_strategy: str = ""
    providers: Providers = field(default_factory=Providers)
    market: MarketContext = field(default_factory=MarketContext)
    memory: Memory = field(default_factory=Memory)
    reflection_due: tuple[TripGroup, ...] = ()
    answers: tuple[str, ...] = ()
    directives: tuple[str, ...] = ()
    alert: AlertPayload | None = None
