"""What a tool's handler gets: the market as of the turn's instant, and for an agent its own wallet and door."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from tradeagent.agents.definition import Scalar
from tradeagent.agents.suggestions import SuggestionBox
from tradeagent.domain.clock import Clock
from tradeagent.domain.names import Actor
from tradeagent.domain.order import Verdict
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.ledger.store import Ledger
from tradeagent.market.event_store import EventStore
from tradeagent.market.feed import MarketFeed

if TYPE_CHECKING:
    from tradeagent.agents.routines import Routines


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
    notes: list[str] = field(default_factory=list)
    canvas: dict[str, str] = field(default_factory=dict)
    reflection: dict[str, str] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What every handler gets: who asks, the instant that nothing may be later than, the ledger, and the markets in reach."""

    actor: Actor
    clock: Clock
    ledger: Ledger
    feed: MarketFeed | None

    def venue(self) -> str | None:
        """Where the venue may be asked about this moment; None when this turn's clock is not the wall's."""
        return None

    def events(self) -> EventStore | None:
        """Stored news and calendar events; None where there are none in reach."""
        return None

    def mark(self, market: str) -> tuple[Decimal, int] | None:
        """Newest known price of a market and its instant (UTC ms): here the close of its newest bar."""
        now = self.clock.now_ms()
        if self.feed is None or market not in self.feed.markets or self.feed.newest_close(market, now) is None:
            return None
        bar = self.feed.history(market, self.feed.interval_ms(market), now, 1)
        return Decimal(str(bar.close[-1])), int(bar.close_ms[-1])


@dataclass(frozen=True, slots=True)
class Resources:
    """What an agent's tools may use beside the market and its door. In a dry run nobody outside is told anything."""

    configs: Mapping[str, Scalar] = field(default_factory=dict)
    routines: "Routines | None" = None
    events: EventStore | None = None
    is_dry: bool = False
    failed: set[str] = field(default_factory=set)

    def take_failed(self) -> list[str]:
        """What could not be read for a prompt and is not yet told."""
        taken = sorted(self.failed)
        self.failed.clear()
        return taken

    def take_broken(self) -> list[str]:
        """What was found wrong with routines and is not yet told."""
        return [] if self.routines is None else self.routines.take_broken()


@dataclass(frozen=True, slots=True)
class AgentContext(ToolContext):
    """One turn of an agent: its own wallet, markets and folder. No tool argument names another. `venue_url` is None in a replay,
    and so is `waking`, after which sleep of the machine the turn began."""

    deployment: str
    slug: str
    markets: tuple[str, ...]
    engine: ExecutionEngine
    notes: TurnNotes
    read_journal: Callable[[], str]
    suggestions: SuggestionBox | None = None
    venue_url: str | None = None
    resources: Resources = Resources()
    waking: int | None = None

    def venue(self) -> str | None:
        return self.venue_url

    def events(self) -> EventStore | None:
        return self.resources.events

    def mark(self, market: str) -> tuple[Decimal, int] | None:
        state = self.engine.markets.get(market)
        return None if state is None or state.mark is None else (state.mark, state.mark_ms)
