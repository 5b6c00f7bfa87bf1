"""News from outside: RSS and Atom feeds, CryptoPanic and Tiingo, as items for the event store. Every word of it is untrusted text."""

import json
from calendar import timegm
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

from tradeagent.domain.clock import Clock, to_ms
from tradeagent.domain.errors import InvalidConfig, VenueError
from tradeagent.market.event_store import EventStore, NewsItem
from tradeagent.market.event_words import MAX_SUMMARY, MAX_TITLE, listed, plain_text, symbols_of
from tradeagent.workspace.config import Config
from tradeagent.workspace.web import Patience, Web

CRYPTOPANIC, TIINGO = "cryptopanic", "tiingo"
_HINT = "check the address in config.yml (news.feeds, news.cryptopanic, news.tiingo), or try again later"
_PATIENCE = Patience(silence_s=15, total_s=30, attempts=3, max_bytes=4_000_000)
_MAX_ITEMS = 1_000
_MAX_URL = 2_000


@dataclass(frozen=True, slots=True)
class Source:
    """One place news come from: `kind` rss, cryptopanic or tiingo. `key` names where its key is kept, and never is the key."""

    name: str
    kind: str
    url: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class SourceReport:
    """What one source gave; `error` says why it gave nothing."""

    source: str
    read: int
    written: int
    duplicates: int
    error: str | None = None


def sources_of(config: Config) -> tuple[Source, ...]:
    """The configured sources; CryptoPanic and Tiingo are on once they have a key."""
    feeds = [Source(name, "rss", str(url)) for name, url in sorted(config.section("news", "feeds").items())]
    keyed = []
    for kind in (CRYPTOPANIC, TIINGO):
        written = config.section("news", kind)
        if written.get("api_key"):
            keyed.append(Source(kind, kind, str(written["url"]), str(written["api_key"])))
    return (*feeds, *keyed)


def fetch_news(store: EventStore, sources: tuple[Source, ...], clock: Clock, environment: Mapping[str, str]) -> Iterator[SourceReport]:
    """Ask each source and store what is new. A source that fails is a report with its error; the others go on."""
    web = Web(clock, _HINT, _PATIENCE)
    try:
        for source in sources:
            try:
                items = _ask(web, source, clock.now_ms(), environment)
            except (VenueError, InvalidConfig) as error:
                yield SourceReport(source.name, 0, 0, 0, error.message)
                continue
            added = store.add_news(items, clock.now_ms())
            yield SourceReport(source.name, len(items), added.written, added.duplicates)
    finally:
        web.close()


def parse_feed(body: bytes, source: str, now_ms: int) -> list[NewsItem]:
    """Entries of an RSS or Atom document. One without a date is published now. VenueError when it is no feed."""
    import feedparser

    # As a stream: bytes that name a file of this machine would be opened by feedparser. Its own cleaning takes minutes over a big feed.
    try:
        parsed = feedparser.parse(BytesIO(body), sanitize_html=False, resolve_relative_uris=False)
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError, AssertionError) as error:
        raise VenueError(f"{source}: the feed cannot be read ({type(error).__name__})", hint=_HINT) from None
    if not parsed.get("version") and not parsed.entries:
        raise VenueError(f"{source}: the answer is no RSS or Atom feed", hint=_HINT)
    items = []
    for entry in parsed.entries[:_MAX_ITEMS]:
        # A plain dict: feedparser's own warns when it is asked for `updated_parsed`.
        times = dict(entry)
        moment = times.get("published_parsed") or times.get("updated_parsed")
        published = timegm(moment) * 1000 if moment else now_ms
        items.append(
            _item(source, entry.get("id") or entry.get("link"), entry.get("title"), entry.get("link"), entry.get("summary"), published)
        )
    return [item for item in items if item.title]


def parse_cryptopanic(body: bytes, now_ms: int) -> list[NewsItem]:
    """Posts of CryptoPanic. Sentiment = (positive − negative votes) / their sum, None without votes."""
    items = []
    for post in _objects(body, CRYPTOPANIC, "results"):
        votes = post.get("votes")
        votes = votes if isinstance(votes, dict) else {}
        good, bad = (max(0, votes[name]) if isinstance(votes.get(name), int) else 0 for name in ("positive", "negative"))
        sentiment = (good - bad) / (good + bad) if good + bad else None
        coins = post.get("instruments") or post.get("currencies")
        codes = [coin.get("code") for coin in coins if isinstance(coin, dict)] if isinstance(coins, list) else []
        link = post.get("original_url") or post.get("url")
        published = _moment(post.get("published_at"), now_ms)
        items.append(_item(CRYPTOPANIC, post.get("id"), post.get("title"), link, post.get("description"), published, codes, sentiment))
    return [item for item in items if item.title]


def parse_tiingo(body: bytes, now_ms: int) -> list[NewsItem]:
    """Articles of Tiingo's news service."""
    items = []
    for article in _objects(body, TIINGO, None):
        tickers = article.get("tickers")
        codes = [str(ticker).upper().removesuffix("USD") for ticker in tickers] if isinstance(tickers, list) else []
        published = _moment(article.get("publishedDate"), now_ms)
        title, link, words = (article.get(name) for name in ("title", "url", "description"))
        items.append(_item(TIINGO, article.get("id"), title, link, words, published, codes))
    return [item for item in items if item.title]


def _ask(web: Web, source: Source, now_ms: int, environment: Mapping[str, str]) -> list[NewsItem]:
    if source.kind == CRYPTOPANIC:
        query = urlencode({"auth_token": _secret(source, environment), "public": "true"})
        return parse_cryptopanic(web.get(f"{source.url}?{query}").body, now_ms)
    if source.kind == TIINGO:
        return parse_tiingo(web.get(source.url, {"Authorization": f"Token {_secret(source, environment)}"}).body, now_ms)
    return parse_feed(web.get(source.url).body, source.name, now_ms)


def _secret(source: Source, environment: Mapping[str, str]) -> str:
    """The key itself, for one request. InvalidConfig naming the variable that is empty."""
    kind, _, name = (source.key or "").partition(":")
    if kind != "env":
        raise InvalidConfig(
            f"news.{source.kind}.api_key: keyring references are not read in this version",
            hint=f"write news.{source.kind}.api_key: env:NAME",
        )
    value = environment.get(name, "").strip()
    if not value or not value.isascii() or not value.isprintable():
        raise InvalidConfig(f"news.{source.kind}.api_key: the environment variable {name} holds no key", hint=f"export {name}=…")
    return value


def _item(
    source: str,
    external_id: object,
    title: object,
    link: object,
    words: object,
    published: int,
    codes: object = (),
    sentiment: float | None = None,
) -> NewsItem:
    headline, summary = plain_text(title, MAX_TITLE), plain_text(words, MAX_SUMMARY)
    # Without an id of its own an item is its headline and its time.
    key = plain_text(external_id, _MAX_URL) or sha256(f"{headline}|{published}".encode()).hexdigest()[:32]
    symbols = tuple(sorted({*listed(codes), *symbols_of(f"{headline} {summary}")}))
    url = plain_text(link, _MAX_URL)
    return NewsItem(source, key, headline, url if url.startswith(("https://", "http://")) else "", summary, symbols, sentiment, published)


def _objects(body: bytes, source: str, inside: str | None) -> list[dict[str, Any]]:
    """The objects of a JSON answer: a list, or the list below `inside`."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise VenueError(f"{source}: the answer is not JSON", hint=_HINT) from None
    rows = answer.get(inside) if inside and isinstance(answer, dict) else answer
    if not isinstance(rows, list):
        raise VenueError(f"{source}: the answer has no list of news", hint=_HINT)
    return [row for row in rows[:_MAX_ITEMS] if isinstance(row, dict)]


def _moment(text: object, now_ms: int) -> int:
    """An ISO time, UTC when it does not say; now when there is none."""
    try:
        moment = datetime.fromisoformat(str(text))
        return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return now_ms
