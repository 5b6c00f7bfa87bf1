"""Tools of family research at the desk: stored news and events, configured social feeds, and pages of allowed hosts. Every word of them is
from outside and comes in an envelope; it may be wrong, and it never instructs."""

import asyncio

from pydantic import Field

from tradeagent.domain.errors import DataError, InvalidInput, RefusedError, VenueError
from tradeagent.llm.contract import Tool, ToolResult
from tradeagent.llm.untrusted import untrusted
from tradeagent.market.event_store import NewsItem
from tradeagent.tools.desk import DeskContext
from tradeagent.tools.market import Arguments
from tradeagent.tools.page_text import page_text
from tradeagent.tools.research import MOST_ITEMS, NEWS_TOOLS, Words, item_row

MOST_FEEDS = 8
_PAGE_SHOWN, _PAGE_BYTES = 12_000, 1_000_000
_FETCH_S = 10.0


class SearchSocial(Arguments):
    words: Words
    count: int = Field(default=10, ge=1, le=MOST_ITEMS)


class WebFetch(Arguments):
    url: str = Field(min_length=8, max_length=1_000, pattern=r"^https?://[^\s@]+$", description="a page of an allowed host")


async def search_social(arguments: SearchSocial, context: DeskContext) -> ToolResult:
    feeds = {name: str(url) for name, url in sorted(context.config.section("social", "feeds").items())}
    if not feeds:
        hint = "the user may add one: tradeagent config set social.feeds.NAME https://…/rss"
        raise DataError("no social feed is configured", hint=hint)
    items, failed = await asyncio.to_thread(_read_feeds, context, dict(list(feeds.items())[:MOST_FEEDS]))
    words = arguments.words.lower().split()
    found = [item for item in items if all(word in f"{item.title} {item.summary}".lower() for word in words)]
    newest = sorted(found, key=lambda item: -item.published)[: arguments.count]
    return ToolResult({"posts": [item_row(item) for item in newest], "of_feeds": list(feeds), "not_answering": failed})


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
    *NEWS_TOOLS,
    Tool("search_social", "Posts of the configured social feeds that hold all the words.", SearchSocial, "research", "read", search_social),
    Tool("web_fetch", "The text of one page of an allowed host.", WebFetch, "research", "read", web_fetch),
)
