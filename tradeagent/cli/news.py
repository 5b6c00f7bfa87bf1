"""`news`: reports from the configured sources, each visible from when it was published and we had it."""

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradeagent.cli.output import table
from tradeagent.cli.parsing import instant
from tradeagent.cli.session import session

if TYPE_CHECKING:
    from tradeagent.market.event_store import Extracted, NewsItem

app = typer.Typer(help="Fetch, list and search news.", no_args_is_help=True)
Symbol = Annotated[list[str] | None, typer.Option("--symbol", "-s", help="news of this market and of none in particular; repeatable")]
From = Annotated[str | None, typer.Option("--from", help="published at or after (UTC)")]
To = Annotated[str | None, typer.Option("--to", help="published before (UTC)")]
AsOf = Annotated[str | None, typer.Option("--as-of", help="only what could be seen then (UTC); now without it")]
Limit = Annotated[int, typer.Option("--limit", "-n", help="at most this many", min=1, max=1_000)]


@app.command()
def fetch(source: Annotated[list[str] | None, typer.Option("--source", help="only this source; repeatable")] = None) -> None:
    """Ask every source of config.yml (news.feeds, news.cryptopanic, news.tiingo), store what is new, and find events in it.

    A source that fails does not stop the others; when all fail the exit code is 5.
    """
    from dataclasses import asdict

    from tradeagent.domain.errors import InvalidConfig, NotFound, VenueError
    from tradeagent.market.event_store import EventStore
    from tradeagent.market.event_words import event_in
    from tradeagent.market.news import fetch_news, sources_of

    current = session()
    current.workspace.require_writable()
    configured = sources_of(current.config)
    if not configured:
        raise InvalidConfig(
            "news: no source is configured",
            hint="tradeagent config set news.feeds.NAME https://…/rss, or news.cryptopanic.api_key env:NAME",
        )
    chosen = tuple(one for one in configured if not source or one.name in source)
    missing = sorted(set(source or ()) - {one.name for one in configured})
    if missing:
        raise NotFound(f"source: there is no {missing[0]!r}", hint=f"configured: {', '.join(one.name for one in configured)}")
    store = EventStore(current.warehouse.root)
    reports = []
    for report in fetch_news(store, chosen, current.clock, os.environ):
        reports.append(report)
        if report.error:
            current.output.say(f"{report.source}: {report.error}")
    if all(report.error for report in reports):
        raise VenueError(f"news: no source answered; {reports[0].error}", hint="check the addresses and keys in config.yml, or try later")
    passes: list[Extracted] = []
    while not passes or passes[-1].read:
        passes.append(store.extract(event_in))
    rows = [asdict(report) for report in reports]
    events = sum(one.written for one in passes)
    shown = {"written": sum(report.written for report in reports), "events_written": events, "sources": rows}
    text = table(rows, ["source", "read", "written", "duplicates", "error"], right=("read", "written", "duplicates"))
    current.output.document(shown, f"{text}\n{events} new calendar events in them")


@app.command(name="list")
def list_(symbol: Symbol = None, from_: From = None, to: To = None, as_of: AsOf = None, limit: Limit = 20) -> None:
    """Stored news, newest first."""
    _show(symbol, from_, to, as_of, limit, [])


@app.command()
def search(
    words: Annotated[list[str], typer.Argument(help="words that must all be in title or summary")],
    symbol: Symbol = None,
    from_: From = None,
    to: To = None,
    as_of: AsOf = None,
    limit: Limit = 20,
) -> None:
    """Stored news that hold every word, newest first."""
    _show(symbol, from_, to, as_of, limit, [word for text in words for word in text.split()])


def _show(symbol: list[str] | None, from_: str | None, to: str | None, as_of: str | None, limit: int, words: list[str]) -> None:
    from tradeagent.market.event_store import EventStore, Window

    current = session()
    window = Window(
        as_of=current.clock.now_ms() if as_of is None else instant(as_of, "as_of"),
        since=None if from_ is None else instant(from_, "from"),
        until=None if to is None else instant(to, "to"),
        symbols=tuple(symbol or ()),
        limit=limit,
    )
    items = EventStore(current.warehouse.root).news(window, words)
    empty = "no news: `tradeagent news fetch`" if not words else f"nothing holds {' and '.join(words)}"
    columns = ["published", "source", "symbols", "sentiment", "title"]
    current.output.document(
        [item.as_dict() for item in items], table([_row(item) for item in items], columns, right=("sentiment",), empty=empty)
    )


def _row(item: "NewsItem") -> dict[str, Any]:
    shown = item.as_dict()
    return shown | {"sentiment": None if item.sentiment is None else f"{item.sentiment:+.2f}", "title": item.title[:90]}
