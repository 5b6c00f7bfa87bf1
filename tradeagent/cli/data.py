"""`data`: bars and funding in the workspace's warehouse."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradeagent.cli.online import Url, info_client
from tradeagent.cli.output import exact, pairs, table
from tradeagent.cli.parsing import span as _span
from tradeagent.cli.parsing import venue_interval
from tradeagent.cli.progress import Progress
from tradeagent.cli.session import session

if TYPE_CHECKING:
    from tradeagent.domain.errors import DataError
    from tradeagent.hyperliquid.client import InfoClient
    from tradeagent.market.fetch import FetchPage, FetchReport
    from tradeagent.market.series import SeriesKey

app = typer.Typer(help="Import, fetch, list and check market data.", no_args_is_help=True)
_EMPTY = "no data yet: `tradeagent data import FILE --market BTC --interval 5m`, or `tradeagent data fetch --market BTC`"
_COUNTS = ("rows", "gaps", "missing_bars", "duplicates", "bad_rows", "zero_volume", "outliers")
Market = Annotated[str | None, typer.Option("--market", "-m", help="only this market")]
Interval = Annotated[str | None, typer.Option("--interval", "-i", help="only this interval, like 5m")]
OneMarket = Annotated[str, typer.Option("--market", "-m", help="the market, like BTC or xyz:TSLA")]
OneInterval = Annotated[str, typer.Option("--interval", "-i", help="bar interval, like 5m")]
Venue = Annotated[str, typer.Option("--venue", help="venue the data came from")]
From = Annotated[str | None, typer.Option("--from", help="first open time, like 2025-03-15 (UTC)")]
To = Annotated[str | None, typer.Option("--to", help="end of the span, not included")]


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet with one row a bar, or one a funding payment")],
    market: Annotated[str, typer.Option("--market", "-m", help="market the rows belong to, like BTC")],
    interval: Annotated[str, typer.Option("--interval", "-i", help="bar interval; with --funding the hour of a payment")] = "1h",
    venue: Annotated[str, typer.Option("--venue", help="venue the data came from")] = "hyperliquid",
    funding: Annotated[bool, typer.Option("--funding", help="the file holds funding rates")] = False,
    columns: Annotated[
        list[str] | None, typer.Option("--columns", help="which column of the file is which, like time=ts,open=o; the others are detected")
    ] = None,
    time_unit: Annotated[str | None, typer.Option("--time-unit", help="s | ms | us | ns | iso: of the times; detected without it")] = None,
) -> None:
    """Import bars or funding. Columns and time units are detected and shown; rows that are there already are left alone.

    Example: tradeagent data import BTC_5m.csv --market BTC --interval 5m
    """
    from tradeagent.domain.bars import parse_duration
    from tradeagent.domain.errors import NotFound
    from tradeagent.market.importer import import_bars, import_funding
    from tradeagent.market.series import SeriesKey
    from tradeagent.market.tabular import Said
    from tradeagent.workspace.names import check_market

    market, venue = check_market(market, "--market"), check_market(venue, "--venue")
    said = Said(_named_columns(columns or []), time_unit)
    current = session()
    current.workspace.require_writable()
    current.output.say(f"reading {file} …")
    if funding:
        report = import_funding(current.warehouse, file, venue, market, said)
    else:
        try:
            known = current.instrument(venue, market)
        except NotFound:
            known = None
            current.output.say(
                f"{market} is not a known market: prices are stored as they are; it cannot be traded until config.yml names it"
            )
        report = import_bars(current.warehouse, file, SeriesKey(venue, market, parse_duration(interval)), known, said)
    shown = report.as_dict()
    current.output.document(shown, pairs({**shown, "columns": ", ".join(f"{key}={name}" for key, name in shown["columns"].items())}))


@app.command()
def fetch(
    market: OneMarket,
    interval: OneInterval = "1h",
    from_: From = None,
    to: To = None,
    funding: Annotated[bool, typer.Option("--funding", help="fetch the funding payments of the same span as well")] = False,
    url: Url = None,
) -> None:
    """Fetch closed bars from Hyperliquid: only what is not stored yet. Stop it at any time; the next run goes on from there.

    The venue keeps the newest 5,000 bars of an interval (1m: 3 days, 1h: 7 months). Without --from all of them are asked for.
    """
    from tradeagent.domain.errors import InvalidInput
    from tradeagent.market.fetch import fetch_bars, fetch_funding, listed_market
    from tradeagent.market.instruments import HYPERLIQUID
    from tradeagent.market.series import SeriesKey

    current, key = session(), SeriesKey(HYPERLIQUID, market, venue_interval(interval))
    span = _span(from_, to)
    if span[0] is not None and span[0] >= current.clock.now_ms():
        raise InvalidInput(f"from: {from_} is not in the past", hint="give a --from that is")
    current.workspace.require_writable()
    with info_client(url) as client:
        listed = listed_market(client, market)
        bars = _watched(fetch_bars(current.warehouse, client, key, span, listed), f"{market} {interval}")
        paid = None
        if funding:
            start = span[0] if span[0] is not None else (bars.first or _far_back(client, key.interval_ms))
            until = client.now_ms() if span[1] is None else span[1]
            paid = _watched(fetch_funding(current.warehouse, client, HYPERLIQUID, market, (start, until)), f"{market} funding")
    shown = {**bars.as_dict(), "funding_report": paid.as_dict() if paid else None}
    for report in (bars, paid):
        if report is not None and report.not_served:
            lost = report.as_dict()["not_served"]
            what = "payments" if report.funding else f"{interval} bars"
            current.output.say(f"the venue has no {what} of {market} from {lost['from']} to {lost['to']}: import them from a file")
    people = {name: value for name, value in shown.items() if name not in ("funding", "not_served", "funding_report")}
    text = pairs(people) + (
        "" if paid is None else "\n\nfunding\n" + pairs(_without(paid.as_dict(), "venue", "market", "funding", "not_served"))
    )
    current.output.document(shown, text)


@app.command()
def follow(
    market: Annotated[list[str], typer.Option("--market", "-m", help="a market; repeat the option for more")],
    interval: OneInterval = "1m",
    funding: Annotated[bool, typer.Option("--funding", help="store funding payments as well")] = False,
    once: Annotated[bool, typer.Option("--once", help="store what closed since the last time, then stop")] = False,
    max_bars: Annotated[int | None, typer.Option("--max", help="stop after this many new bars", min=1)] = None,
    url: Url = None,
) -> None:
    """Store every bar soon after it has closed, until Ctrl-C. What closed while nobody followed is stored first.

    One line a bar; --jsonl for programs.
    """
    from tradeagent.domain.clock import iso
    from tradeagent.market.fetch import listed_market
    from tradeagent.market.follow import Followed, Trouble
    from tradeagent.market.follow import follow as following
    from tradeagent.market.instruments import HYPERLIQUID
    from tradeagent.market.series import SeriesKey

    current, interval_ms = session(), venue_interval(interval)
    current.require_lines("data follow")
    current.workspace.require_writable()
    with info_client(url) as client:
        followed = [Followed(SeriesKey(HYPERLIQUID, name, interval_ms), listed_market(client, name), funding) for name in market]
        seen = 0
        for event in following(current.warehouse, client, current.clock, followed, rounds=1 if once else None):
            if isinstance(event, Trouble):
                current.output.say(f"{event.key.text}: {event.error.message}; asking again at the next close")
                continue
            for row in range(len(event.bars)):
                bar = {name: exact(float(values[row])) for name, values in event.bars.columns().items() if name != "ts"}
                line = {"market": event.key.market, "interval": interval, "time": iso(int(event.bars.ts[row])), **bar}
                current.output.line(line, "  ".join(str(value) for value in line.values()))
            seen += len(event.bars)
            if max_bars is not None and seen >= max_bars:
                return


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="a new file that ends in .csv or .parquet")],
    market: OneMarket,
    interval: OneInterval = "1h",
    venue: Venue = "hyperliquid",
    from_: From = None,
    to: To = None,
    funding: Annotated[bool, typer.Option("--funding", help="export the market's funding payments")] = False,
    force: Annotated[bool, typer.Option("--force", help="replace a file that is there")] = False,
) -> None:
    """Write a stored series to a file, as it is stored. `data import` reads it back."""
    from tradeagent.market.export import export_series

    report = export_series(session().warehouse, _key(venue, market, interval, funding), file, _span(from_, to), overwrite=force)
    session().output.document(report.as_dict(), pairs(report.as_dict()))


@app.command()
def compact(market: Market = None, interval: Interval = None) -> None:
    """Write the month files of stored series anew, packed tightly. Values stay; months that would not shrink are left alone."""
    from tradeagent.market.upkeep import compact as compacting

    session().workspace.require_writable()
    rows: list[dict[str, Any]] = []
    unreadable: list[dict[str, str]] = []
    for done in compacting(session().warehouse, _keys(market, interval)):
        if isinstance(done, tuple):
            unreadable.append(_fault(*done))
        else:
            rows.append(done.as_dict())
    before, after = (sum(row[name] for row in rows) for name in ("bytes_before", "bytes_after"))
    columns = ["venue", "market", "interval", "funding", "files", "rows", "bytes_before", "bytes_after", "duplicates", "leftovers"]
    text = table(rows, columns, right=columns[4:], empty="no data yet: nothing to compact")
    total = f"\n{before:,} bytes before, {after:,} after" if rows else ""
    _tell(unreadable)
    data = {"bytes_before": before, "bytes_after": after, "series": rows, "unreadable": unreadable}
    session().output.document(data, text + total)
    if unreadable:
        raise typer.Exit(1)


@app.command()
def remove(
    market: OneMarket,
    interval: OneInterval = "1h",
    venue: Venue = "hyperliquid",
    funding: Annotated[bool, typer.Option("--funding", help="remove the market's funding payments")] = False,
) -> None:
    """Delete a stored series, after saying what of it can be had again. Asks first; --yes answers."""
    from tradeagent.cli.output import is_interactive
    from tradeagent.domain.errors import InvalidInput, NotFound
    from tradeagent.market.upkeep import comes_back
    from tradeagent.market.upkeep import remove as removing

    current, key = session(), _key(venue, market, interval, funding)
    if not current.warehouse.has(key):
        raise NotFound(f"{key.text}: nothing is stored", hint="tradeagent data list")
    current.output.say(f"{key.text} comes back: {comes_back(key)}")
    if not current.flags.yes:
        if not is_interactive():
            raise InvalidInput(
                f"{key.text}: not removed without a confirmation; it comes back: {comes_back(key)}", hint="repeat with --yes"
            )
        typer.confirm(f"remove {key.text}?", abort=True)
    removed = removing(current.warehouse, key).as_dict()
    current.output.document(removed, pairs(removed))


@app.command(name="list")
def list_(market: Market = None, interval: Interval = None) -> None:
    """Every stored series with its rows, span and gaps."""
    rows = _verified(market, interval)
    _tell(_faults(rows))
    columns = ["venue", "market", "interval", "rows", "gaps", "missing_bars", "first", "last"]
    session().output.document(rows, table(_named(rows), columns, right=("rows", "gaps", "missing_bars"), empty=_EMPTY))


@app.command()
def verify(market: Market = None, interval: Interval = None) -> None:
    """Check every series: gaps, duplicates, bad rows, outliers. Exit 1 when one has a problem; nothing is silently filled."""
    rows = _verified(market, interval)
    ok = all(row["ok"] for row in rows)
    _tell(_faults(rows))
    columns = ["venue", "market", "interval", "rows", "gaps", "missing_bars", "duplicates", "bad_rows", "zero_volume", "outliers", "ok"]
    session().output.document({"ok": ok, "series": rows}, table(_named(rows), columns, right=columns[3:-1], empty=_EMPTY))
    if not ok:
        raise typer.Exit(1)


@app.command()
def gaps(market: Market = None, interval: Interval = None) -> None:
    """Every hole in the stored series. Exit 1 when a series has an unreadable file, which stderr names."""
    from tradeagent.domain.bars import interval_text
    from tradeagent.domain.errors import DataError
    from tradeagent.market.quality import holes

    rows: list[dict[str, Any]] = []
    unreadable: list[dict[str, str]] = []
    for key in _keys(market, interval):
        named = {"venue": key.venue, "market": key.market, "interval": interval_text(key.interval_ms), "funding": key.funding}
        try:
            rows += [{**named, **hole.as_dict()} for hole in holes(session().warehouse, key)]
        except DataError as error:
            unreadable.append(_fault(key, error))
    _tell(unreadable)
    empty = "no gaps" + (" in what could be read" if unreadable else "")
    shown = [_as_told(row) for row in rows]
    session().output.document(rows, table(shown, ["venue", "market", "interval", "from", "to", "missing_bars"], empty=empty))
    if unreadable:
        raise typer.Exit(1)


def _named_columns(texts: list[str]) -> dict[str, str]:
    """`time=ts,open=o` by role. InvalidInput for a part that is not that, and for a role with two columns."""
    from tradeagent.domain.errors import InvalidInput

    found: dict[str, str] = {}
    for part in ",".join(texts).split(",") if texts else []:
        role, mark, name = (word.strip() for word in part.partition("="))
        if not role or not mark or not name:
            raise InvalidInput(f"--columns: {part!r} is not WHICH=COLUMN", hint="--columns time=ts,open=o")
        if role in found:
            raise InvalidInput(f"--columns: {role} is given twice, as {found[role]!r} and {name!r}", hint="keep one of them")
        found[role] = name
    return found


def _key(venue: str, market: str, interval: str, funding: bool) -> "SeriesKey":
    from tradeagent.domain.bars import parse_duration
    from tradeagent.market.series import SeriesKey

    return SeriesKey(venue, market, funding=True) if funding else SeriesKey(venue, market, parse_duration(interval))


def _far_back(client: "InfoClient", interval_ms: int) -> int:
    from tradeagent.hyperliquid.client import MAX_CANDLES

    return client.now_ms() - MAX_CANDLES * interval_ms


def _watched(events: "Iterator[FetchPage | FetchReport]", name: str) -> "FetchReport":
    """Run a fetch to its end with a progress line; its report."""
    from tradeagent.market.fetch import FetchReport

    progress, pages, rows = Progress(session().output), 0, 0
    try:
        for event in events:
            if isinstance(event, FetchReport):
                return event
            pages, rows = pages + 1, rows + event.rows
            if pages == 1:
                progress.begin(f"{name} pages", 1 + event.pages_left)
            progress.tick(pages, f"{rows} rows")
    finally:
        progress.end()
    raise AssertionError("a fetch ends with its report")


def _named(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows for a person; what could not be read was not counted."""
    return [_as_told(row | {name: None for name in _COUNTS} if row["unreadable"] else row) for row in rows]


def _as_told(row: dict[str, Any]) -> dict[str, Any]:
    """For a person funding is no 1h bar."""
    return row | {"interval": "funding"} if row["funding"] else row


def _without(data: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in names}


def _keys(market: str | None, interval: str | None) -> list[Any]:
    from tradeagent.domain.errors import NotFound

    keys = session().warehouse.series_keys()
    found = [k for k in keys if market in (None, k.market) and interval in (None, k.text.rpartition(":")[2])]
    if not found and (market or interval):
        raise NotFound(f"no stored series of {market or 'any market'} {interval or ''}".rstrip(), hint="tradeagent data list")
    return found


def _fault(key: "SeriesKey", error: "DataError") -> dict[str, str]:
    return {"series": key.text, "file": str(error.details.get("file", "")), "reason": error.message, "fix": error.hint}


def _faults(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [row["unreadable"] for row in rows if row["unreadable"]]


def _tell(unreadable: list[dict[str, str]]) -> None:
    """Unreadable files on stderr, with --json as well: where stdout has no place for them they would go unseen."""
    for fault in unreadable:
        typer.echo(f"error: {fault['reason']}\n  fix: {fault['fix']}", err=True)


def _verified(market: str | None, interval: str | None) -> list[dict[str, Any]]:
    from tradeagent.market.quality import verify as check

    return [check(session().warehouse, key, session().clock.now_ms()).as_dict() for key in _keys(market, interval)]
