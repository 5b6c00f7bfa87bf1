"""`data`: bars and funding in the workspace's warehouse."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tradeagent.cli.output import pairs, table
from tradeagent.cli.session import session

app = typer.Typer(help="Import, list and check market data.", no_args_is_help=True)
Market = Annotated[str | None, typer.Option("--market", "-m", help="only this market")]
Interval = Annotated[str | None, typer.Option("--interval", "-i", help="only this interval, like 5m")]


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet with one row a bar, or one a funding payment")],
    market: Annotated[str, typer.Option("--market", "-m", help="market the rows belong to, like BTC")],
    interval: Annotated[str, typer.Option("--interval", "-i", help="bar interval; with --funding the hour of a payment")] = "1h",
    venue: Annotated[str, typer.Option("--venue", help="venue the data came from")] = "hyperliquid",
    funding: Annotated[bool, typer.Option("--funding", help="the file holds funding rates")] = False,
) -> None:
    """Import bars or funding. Columns and time units are detected and shown; rows that are there already are left alone.

    Example: tradeagent data import BTC_5m.csv --market BTC --interval 5m
    """
    from tradeagent.domain.bars import parse_duration
    from tradeagent.domain.errors import NotFound
    from tradeagent.market import SeriesKey, import_bars, import_funding, instrument

    current = session()
    current.workspace.require_writable()
    current.output.say(f"reading {file} …")
    if funding:
        report = import_funding(current.warehouse, file, venue, market)
    else:
        try:
            known = instrument(venue, market, _extra())
        except NotFound:
            known = None
            current.output.say(
                f"{market} is not a known market: prices are stored as they are; it cannot be traded until config.yml names it"
            )
        report = import_bars(current.warehouse, file, SeriesKey(venue, market, parse_duration(interval)), known)
    shown = report.as_dict()
    current.output.document(shown, pairs({**shown, "columns": ", ".join(f"{key}={name}" for key, name in shown["columns"].items())}))


@app.command(name="list")
def list_(market: Market = None, interval: Interval = None) -> None:
    """Every stored series with its rows, span and gaps."""
    rows = _verified(market, interval)
    columns = ["venue", "market", "interval", "rows", "gaps", "missing_bars", "first", "last"]
    empty = "no data yet: `tradeagent data import FILE --market BTC --interval 5m`"
    session().output.document(rows, table(rows, columns, right=("rows", "gaps", "missing_bars"), empty=empty))


@app.command()
def verify(market: Market = None, interval: Interval = None) -> None:
    """Check every series: gaps, duplicates, bad rows, outliers. Exit 1 when one has a problem; nothing is silently filled."""
    rows = _verified(market, interval)
    ok = all(row["ok"] for row in rows)
    columns = ["venue", "market", "interval", "rows", "gaps", "missing_bars", "duplicates", "bad_rows", "zero_volume", "outliers", "ok"]
    empty = "no data yet: `tradeagent data import FILE --market BTC --interval 5m`"
    session().output.document({"ok": ok, "series": rows}, table(rows, columns, right=columns[3:-1], empty=empty))
    if not ok:
        raise typer.Exit(1)


@app.command()
def gaps(market: Market = None, interval: Interval = None) -> None:
    """Every hole in the stored series."""
    from tradeagent.market.quality import holes

    rows = [
        {"venue": key.venue, "market": key.market, "interval": key.text.rpartition(":")[2], **hole.as_dict()}
        for key in _keys(market, interval)
        for hole in holes(session().warehouse, key)
    ]
    session().output.document(rows, table(rows, ["venue", "market", "interval", "from", "to", "missing_bars"], empty="no gaps"))


def _keys(market: str | None, interval: str | None) -> list[Any]:
    from tradeagent.domain.errors import NotFound

    keys = session().warehouse.series_keys()
    found = [k for k in keys if market in (None, k.market) and interval in (None, k.text.rpartition(":")[2])]
    if not found and (market or interval):
        raise NotFound(f"no stored series of {market or 'any market'} {interval or ''}".rstrip(), hint="tradeagent data list")
    return found


def _verified(market: str | None, interval: str | None) -> list[dict[str, Any]]:
    from tradeagent.market.quality import verify as check

    return [check(session().warehouse, key, session().clock.now_ms()).as_dict() for key in _keys(market, interval)]


def _extra() -> dict[str, Any]:
    config = session().config
    return {symbol: config.section("instruments", symbol) for symbol in config.section("instruments")}
