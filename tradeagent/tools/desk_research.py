"""Tools of family research: stored news and events, configured social feeds, and pages of allowed hosts. Every word of them is from
outside and comes in an envelope; it may be wrong, and it never instructs."""

import asyncio
from typing import Annotated, Any

from pydantic import Field

from tradeagent.domain.clock import HOUR_MS, iso
from tradeagent.domain.errors import DataError, InvalidInput, RefusedError, VenueError
from tradeagent.ledger import trading
from tradeagent.llm.contract import Tool, ToolResult
from tradeagent.llm.untrusted import untrusted
from tradeagent.market.event_store import HIGH_IMPORTANCE, EventStore, NewsItem, Window
from tradeagent.tools.desk import DeskContext
from tradeagent.tools.market import Arguments, Market
from tradeagent.tools.page_text import page_text
from tradeagent.tools.sight import sees_agents, wallets_seen

MOST_ITEMS, MOST_FEEDS = 30, 8
_ITEM_SHOWN, _PAGE_SHOWN, _PAGE_BYTES = 500, 12_000, 1_000_000
_FETCH_S = 10.0
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


class SearchSocial(Arguments):
    words: Words
    count: int = Field(default=10, ge=1, le=MOST_ITEMS)


class WebFetch(Arguments):
    url: str = Field(min_length=8, max_length=1_000, pattern=r"^https?://[^\s@]+$", description="a page of an allowed host")


async def get_news(arguments: News, context: DeskContext) -> ToolResult:
    return ToolResult({"news": await _news(arguments, [], context), "sentiment": "-1 to 1, null when the source says nothing"})


async def search_news(arguments: SearchNews, context: DeskContext) -> ToolResult:
    found = await _news(arguments, arguments.words.split(), context)
    return ToolResult({"news": found, "sentiment": "-1 to 1, null when the source says nothing"})


async def _news(arguments: News, words: list[str], context: DeskContext) -> list[dict[str, Any]]:
    now = context.clock.now_ms()
    symbols = () if arguments.market is None else (arguments.market,)
    window = Window(as_of=now, since=now - arguments.hours * HOUR_MS, symbols=symbols, limit=arguments.count)
    return [_item(item) for item in await asyncio.to_thread(_store(context).news, window, words)]


def _store(context: DeskContext) -> EventStore:
    return EventStore(context.research.warehouse.root)


def _item(item: NewsItem) -> dict[str, Any]:
    text = f"{item.title}\n{item.summary}\n{item.url}".strip()
    sentiment = None if item.sentiment is None else round(item.sentiment, 2)
    return {
        "published": iso(item.published),
        "markets": list(item.symbols),
        "sentiment": sentiment,
        "text": untrusted(f"news {item.source}", text, _ITEM_SHOWN),
    }


async def get_upcoming_events(arguments: Upcoming, context: DeskContext) -> ToolResult:
    now = context.clock.now_ms()
    held = _held(context)
    symbols = () if arguments.market is None else (arguments.market,)
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
            "title": untrusted(f"calendar {event.source}", event.title, _ITEM_SHOWN),
            **({"you_hold": sorted(held if not event.symbols else held & set(event.symbols))} if held else {}),
        }
        for event in found
    ]
    return ToolResult({"events": rows, "held_markets": sorted(held)})


def _held(context: DeskContext) -> set[str]:
    """Markets with an open position, in the modes that see the user's positions."""
    if not sees_agents(context.mode):
        return set()
    with context.ledger.reading() as tx:
        rows = [row for wallet in wallets_seen(tx, context) for row in trading.positions_of(tx, wallet.name)]
    return {row.market for row in rows if row.size}


async def search_social(arguments: SearchSocial, context: DeskContext) -> ToolResult:
    feeds = {name: str(url) for name, url in sorted(context.config.section("social", "feeds").items())}
    if not feeds:
        hint = "the user may add one: tradeagent config set social.feeds.NAME https://…/rss"
        raise DataError("no social feed is configured", hint=hint)
    items, failed = await asyncio.to_thread(_read_feeds, context, dict(list(feeds.items())[:MOST_FEEDS]))
    words = arguments.words.lower().split()
    found = [item for item in items if all(word in f"{item.title} {item.summary}".lower() for word in words)]
    newest = sorted(found, key=lambda item: -item.published)[: arguments.count]
    return ToolResult({"posts": [_item(item) for item in newest], "of_feeds": list(feeds), "not_answering": failed})


def _read_feeds(context: DeskContext, feeds: dict[str, str]) -> tuple[list[NewsItem], list[str]]:
    """What the feeds hold now, and the names of those that did not answer. VenueError when none did."""
    from tradeagent.market.news import parse_feed
    from tradeagent.workspace.web import Patience, Web

    hint = "try again later, or check social.feeds in config.yml"
    web = Web(context.clock, hint, Patience(silence_s=_FETCH_S, total_s=_FETCH_S, attempts=1, max_bytes=_PAGE_BYTES))
    items: list[NewsItem] = []
    failed: list[str] = []
    try:
        for name, url in feeds.items():
            try:
                items += parse_feed(web.get(url).body, name, context.clock.now_ms())
            except VenueError:
                failed.append(name)
    finally:
        web.close()
    if len(failed) == len(feeds):
        raise VenueError("no social feed answered", hint=hint)
    return items, failed


async def web_fetch(arguments: WebFetch, context: DeskContext) -> ToolResult:
    allowed = [host.strip() for host in (context.config.text("web.allowed_hosts") or "").split(",") if host.strip()]
    if not allowed:
        raise RefusedError(
            "web_fetch is off: no host is allowed",
            hint="only the user can allow one: tradeagent config set web.allowed_hosts HOST,HOST",
            code="host_not_allowed",
        )
    body = await asyncio.to_thread(_page, context, arguments.url, allowed)
    title, text = page_text(body)
    if not text:
        raise InvalidInput("url: the page holds no text", hint="only text and HTML can be read")
    return ToolResult(
        {"url": arguments.url, "bytes": len(body), "text": untrusted(f"web {arguments.url}", f"{title}\n{text}", _PAGE_SHOWN)}
    )


def _page(context: DeskContext, url: str, allowed: list[str]) -> bytes:
    from tradeagent.workspace.web import Patience, Reach, Web

    patience = Patience(silence_s=_FETCH_S, total_s=_FETCH_S, attempts=1, max_bytes=_PAGE_BYTES)
    web = Web(context.clock, "try another page, or go on without it", patience, Reach(allowed))
    try:
        return web.get(url).body
    finally:
        web.close()


RESEARCH_TOOLS = (
    Tool("get_news", "Stored news of the last hours, newest first, with sentiment.", News, "research", "read", get_news),
    Tool("search_news", "Stored news that hold all the words.", SearchNews, "research", "read", search_news),
    Tool("get_upcoming_events", "Calendar events ahead, and what you hold of them.", Upcoming, "research", "read", get_upcoming_events),
    Tool("search_social", "Posts of the configured social feeds that hold all the words.", SearchSocial, "research", "read", search_social),
    Tool("web_fetch", "The text of one page of an allowed host.", WebFetch, "research", "read", web_fetch),
)
