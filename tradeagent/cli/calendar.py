"""`calendar`: events that move markets, each visible from when it was known."""

from typing import Annotated, Any

import typer

from tradeagent.cli.output import pairs, table
from tradeagent.cli.parsing import instant
from tradeagent.cli.session import session

app = typer.Typer(help="Import, list and add calendar events.", no_args_is_help=True)
_MOST_TOLD = 20


@app.command(name="import")
def import_(
    file: Annotated[
        str | None, typer.Argument(help="ICS, JSON or CSV, a path or an https address; without it the configured sources")
    ] = None,
) -> None:
    """Import events; those that are there already (same kind, hour and markets) are left alone.

    Without FILE: calendar.sources and calendar.events of config.yml (TRADEAGENT_CALENDAR__EVENTS="fomc 2026-01-28T19:00Z").
    """
    from tradeagent.domain.errors import InvalidConfig
    from tradeagent.market.calendar_files import configured_events, read_calendar
    from tradeagent.market.event_store import EventStore

    current = session()
    current.workspace.require_writable()
    own = () if file else configured_events(current.config)
    places = [file] if file else [str(place) for place in current.config.section("calendar", "sources").values()]
    if not places and not own:
        raise InvalidConfig(
            "calendar: no file is given and no source is configured",
            hint="tradeagent calendar import FILE, or tradeagent config set calendar.sources.NAME https://…/calendar.ics",
        )
    store, now = EventStore(current.warehouse.root), current.clock.now_ms()
    rows: list[dict[str, Any]] = []
    for place in places:
        read = read_calendar(place, current.clock)
        added = store.add_events(read.events, now)
        skipped = len(read.mistakes)
        counts = {"read": len(read.events) + skipped, "written": added.written, "duplicates": added.duplicates}
        mistakes = list(read.mistakes[:_MOST_TOLD])
        rows.append({"source": read.source, **counts, "skipped": skipped, "repeating": read.repeating, "mistakes": mistakes})
        for mistake in mistakes:
            current.output.say(f"{read.source}: {mistake}; it is left out")
    if own:
        added = store.add_events(own, now)
        counts = {"read": len(own), "written": added.written, "duplicates": added.duplicates}
        rows.append({"source": "calendar.events", **counts, "skipped": 0, "repeating": 0, "mistakes": []})
    if any(row["repeating"] for row in rows):
        current.output.say("a repeating entry counts once, at its start")
    columns = ["source", "read", "written", "duplicates", "skipped", "repeating"]
    written = sum(row["written"] for row in rows)
    current.output.document({"written": written, "sources": rows}, table(rows, columns, right=columns[1:]))


@app.command(name="list")
def list_(
    from_: Annotated[str | None, typer.Option("--from", help="happens at or after (UTC); now without it")] = None,
    to: Annotated[str | None, typer.Option("--to", help="happens before (UTC)")] = None,
    kind: Annotated[list[str] | None, typer.Option("--kind", help="only this kind, like fomc; repeatable")] = None,
    symbol: Annotated[list[str] | None, typer.Option("--symbol", "-s", help="of this market, or of all; repeatable")] = None,
    min_importance: Annotated[float, typer.Option("--min-importance", help="0 to 1; 0.7 and above is high", min=0, max=1)] = 0.0,
    as_of: Annotated[str | None, typer.Option("--as-of", help="only what was known then (UTC); now without it")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="at most this many", min=1, max=1_000)] = 50,
) -> None:
    """Events in the order in which they happen, from now on unless --from says otherwise."""
    from tradeagent.domain.errors import InvalidInput
    from tradeagent.market.event_store import KINDS, EventStore, Window

    unknown = sorted(set(kind or ()) - set(KINDS))
    if unknown:
        raise InvalidInput(f"kind: {unknown[0]!r} is no kind of event", hint=f"one of {', '.join(KINDS)}")
    current = session()
    moment = current.clock.now_ms() if as_of is None else instant(as_of, "as_of")
    window = Window(
        as_of=moment,
        since=moment if from_ is None else instant(from_, "from"),
        until=None if to is None else instant(to, "to"),
        symbols=tuple(symbol or ()),
        limit=limit,
    )
    if window.since is not None and window.until is not None and window.since >= window.until:
        raise InvalidInput(f"--to: {to} is not after --from {from_ or '(now)'}", hint="give a --from that is earlier than --to")
    rows = [event.as_dict() for event in EventStore(current.warehouse.root).events(window, kind or (), min_importance)]
    columns = ["time", "kind", "importance", "symbols", "title", "source"]
    empty = "no events: `tradeagent calendar import FILE`; earlier ones are shown with --from"
    current.output.document(rows, table(rows, columns, right=("importance",), empty=empty))


@app.command()
def add(
    kind: Annotated[str, typer.Argument(help="like fomc, cpi, nfp, earnings or other")],
    at: Annotated[str, typer.Option("--at", help="when it happens (UTC)")],
    title: Annotated[str, typer.Option("--title", help="what it is; the kind without it")] = "",
    importance: Annotated[str | None, typer.Option("--importance", help="0 to 1, or high, medium, low; the kind's own without it")] = None,
    symbol: Annotated[list[str] | None, typer.Option("--symbol", "-s", help="a market it concerns; all without it; repeatable")] = None,
) -> None:
    """Add one event of your own."""
    from dataclasses import replace

    from tradeagent.market.calendar_files import own_event
    from tradeagent.market.event_store import EventStore

    current = session()
    current.workspace.require_writable()
    event, now = own_event(kind, instant(at, "at"), title, importance, symbol or ()), current.clock.now_ms()
    added = EventStore(current.warehouse.root).add_events([event], now)
    if not added.written:
        current.output.say("there is an event of this kind, hour and markets already; it stays as it is")
    shown = {**replace(event, known=now).as_dict(), "written": bool(added.written)}
    current.output.document(shown, pairs(shown))
