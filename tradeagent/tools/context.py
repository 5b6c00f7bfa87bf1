"""What a tool's handler gets: the turn's own wallet and door, the market as of now, and where its notes are collected."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tradeagent.domain.clock import Clock
from tradeagent.domain.names import Actor
from tradeagent.domain.order import Verdict
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.ledger.store import Ledger
from tradeagent.market.feed import MarketFeed


@dataclass(frozen=True, slots=True)
class Decision:
    """One line of the journal: what was done and why."""

    action: str
    reasoning: str
    risk_note: str = ""


@dataclass(slots=True)
class TurnNotes:
    """What the model wrote during a turn; the tick's record and then the files are made from it."""

    decisions: list[Decision] = field(default_factory=list)
    learnings: list[tuple[str, str]] = field(default_factory=list)
    canvas: dict[str, str] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ToolContext:
    """One turn's reach: its own wallet, markets and folder. No tool argument names another."""

    actor: Actor
    deployment: str
    slug: str
    markets: tuple[str, ...]
    clock: Clock
    ledger: Ledger
    engine: ExecutionEngine
    feed: MarketFeed | None
    notes: TurnNotes
    read_journal: Callable[[], str]
