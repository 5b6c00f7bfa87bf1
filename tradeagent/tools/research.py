"""Tools of family research that agents and the desk share: stored news and calendar events, no later than the turn's own instant.

Every word of them is from outside and comes in an envelope; it may be wrong, and it never instructs.
"""

import asyncio
from typing import Annotated, Any

from pydantic import Field

from tradeagent.domain.clock import HOUR_MS, iso
from tradeagent.domain.errors import DataError
from tradeagent.ledger import trading
from tradeagent.llm.contract import Tool, ToolResult
from tradeagent.llm.untrusted import untrusted
from tradeagent.market.event_store import HIGH_IMPORTANCE, EventStore, NewsItem, Window
from tradeagent.tools.context import AgentContext, ToolContext
from tradeagent.tools.desk import DeskContext
from tradeagent.tools.market import Arguments, Market
from tradeagent.tools.sight import sees_agents, wallets_seen

MOST_ITEMS = 30
ITEM_SHOWN = 500
Words = Annotated[str, Field(min_length=1, max_length=120, description="words that must all occur")]


class News(Arguments):
    market: Market | None = Field(default=None, description="of this market, and of none in particular")
    hours: int = Field(default=24, ge=1, le=24 * 90)
    count: int = Field(default=10, ge=1, le=MOST_ITEMS)


class SearchNews(News):
    words: Words
    hours: int = Field(default=24 * 14, ge=1, le=24 * 365)


class Upcoming(Arguments):
    days: int = Field(default=7, ge=1, le=90)
    market: Market | None = None
    min_importance: float = Field(default=0.3, ge=0, le=1, description="0 to 1; 0.7 and above is high")
    count: int = Field(default=20, ge=1, le=MOST_ITEMS)


async def get_news(arguments: News, context: ToolContext) -> ToolResult:
    return ToolResult({"news": await _news(arguments, [], context), "sentiment": "-1 to 1, null when the source says nothing"})


async def search_news(arguments: SearchNews, context: ToolContext) -> ToolResult:
    found = await _news(arguments, arguments.words.split(), context)
    return ToolResult({"news": found, "sentiment": "-1 to 1, null when the source says nothing"})


async def _news(arguments: News, words: list[str], context: ToolContext) -> list[dict[str, Any]]:
    now = context.clock.now_ms()
    symbols = _symbols(arguments.market, context)
    window = Window(as_of=now, since=now - arguments.hours * HOUR_MS, symbols=symbols, limit=arguments.count)
    return [item_row(item) for item in await asyncio.to_thread(_store(context).news, window, words)]


def item_row(item: NewsItem) -> dict[str, Any]:
    """A report as a model sees it, its words in an envelope."""
    text = f"{item.title}\n{item.summary}\n{item.url}".strip()
    sentiment = None if item.sentiment is None else round(item.sentiment, 2)
    return {
        "published": iso(item.published),
        "markets": list(item.symbols),
        "sentiment": sentiment,
        "text": untrusted(f"news {item.source}", text, ITEM_SHOWN),
    }


async def get_upcoming_events(arguments: Upcoming, context: ToolContext) -> ToolResult:
    now = context.clock.now_ms()
    held = _held(context)
    symbols = _symbols(arguments.market, context)
    window = Window(as_of=now, since=now, until=now + arguments.days * 24 * HOUR_MS, symbols=symbols, limit=arguments.count)
    found = await asyncio.to_thread(_store(context).events, window, (), arguments.min_importance)
    rows = [
        {
            "time": iso(event.time),
            "in_hours": round((event.time - now) / HOUR_MS, 1),
            "kind": event.kind,
            "importance": event.importance,
            "high": event.importance >= HIGH_IMPORTANCE,
            "markets": list(event.symbols) or "all",
            "title": untrusted(f"calendar {event.source}", event.title, ITEM_SHOWN),
            **({"you_hold": sorted(held if not event.symbols else held & set(event.symbols))} if held else {}),
        }
        for event in found
    ]
    return ToolResult({"events": rows, "held_markets": sorted(held)})


def _symbols(market: str | None, context: ToolContext) -> tuple[str, ...]:
    """The market asked for; without one an agent's own, and everything for the desk."""
    if market is not None:
        return (market,)
    return context.markets if isinstance(context, AgentContext) else ()


def _store(context: ToolContext) -> EventStore:
    store = context.events()
    if store is None:
        raise DataError("no news and no calendar are in reach of this turn", hint="go on without them")
    return store


def _held(context: ToolContext) -> set[str]:
    """Markets with an open position: an agent's own, or the user's in the modes that see them."""
    if isinstance(context, AgentContext):
        with context.ledger.reading() as tx:
            own = trading.positions_of(tx, context.engine.wallet.name)
        return {row.market for row in own if row.size and row.controller_id == context.deployment}
    if not (isinstance(context, DeskContext) and sees_agents(context.mode)):
        return set()
    with context.ledger.reading() as tx:
        rows = [row for wallet in wallets_seen(tx, context) for row in trading.positions_of(tx, wallet.name)]
    return {row.market for row in rows if row.size}


NEWS_TOOLS = (
    Tool("get_news", "Stored news of the last hours, newest first, with sentiment.", News, "research", "read", get_news),
    Tool("search_news", "Stored news that hold all the words.", SearchNews, "research", "read", search_news),
    Tool("get_upcoming_events", "Calendar events ahead, and what you hold of them.", Upcoming, "research", "read", get_upcoming_events),
)
