"""`market`: what the venue says about markets now, and stored candles."""

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradeagent.cli.online import Url, info_client
from tradeagent.cli.output import exact, pairs, table
from tradeagent.cli.parsing import instant
from tradeagent.cli.session import session

if TYPE_CHECKING:
    from tradeagent.domain.instrument import Instrument
    from tradeagent.hyperliquid.client import Context, ListedMarket
    from tradeagent.market.series import SeriesKey

app = typer.Typer(help="Markets of the venue: search, terms, prices, book, funding; candles from your own data.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="MARKET", help="like BTC, kPEPE or xyz:TSLA; names are exact")]
Offline = Annotated[bool, typer.Option("--offline", help="from the built-in table, without asking the venue")]


@app.command()
def search(
    word: Annotated[str, typer.Argument(help="part of a name; all markets without it")] = "",
    dex: Annotated[str, typer.Option("--dex", help="a builder's exchange, like xyz")] = "",
    delisted: Annotated[bool, typer.Option("--delisted", help="delisted markets too")] = False,
    offline: Offline = False,
    url: Url = None,
) -> None:
    """Markets whose name contains WORD, the most traded first."""
    if offline:
        rows = [_terms(symbol) for symbol in _known() if word.lower() in symbol.lower()]
        session().output.say("from the built-in table: prices and markets listed since are not in it")
    else:
        with info_client(url) as client:
            listed, contexts = client.contexts(dex)
        found = [
            (m, c) for m, c in zip(listed, contexts, strict=True) if word.lower() in m.name.lower() and (delisted or not m.is_delisted)
        ]
        found.sort(key=lambda pair: -pair[1].day_notional)
        rows = [
            {
                "market": market.name,
                "mark_price": _plain(context.mark),
                "day_change_pct": _change(context),
                "day_notional": _plain(context.day_notional.quantize(Decimal(1))),
                "max_leverage": market.max_leverage,
                "delisted": market.is_delisted,
            }
            for market, context in found
        ]
    empty = f"no market has {word!r} in its name" + ("" if delisted else "; --delisted shows delisted ones too")
    columns = list(rows[0]) if rows else ["market"]
    session().output.document(rows, table(_flat(rows), columns, right=set(columns) - {"market", "delisted"}, empty=empty))


@app.command()
def show(market: Name, offline: Offline = False, url: Url = None) -> None:
    """The terms of a market: steps, minimum, margin tiers, leverage. Without the venue, the built-in table answers and says so."""
    from tradeagent.domain.errors import VenueError
    from tradeagent.market.fetch import listed_market

    shown, note = None, "from the built-in table, not from the venue"
    if not offline:
        try:
            with info_client(url) as client:
                listed = listed_market(client, market)
            shown = None if listed is None else _listed(listed)
        except VenueError as error:
            note = f"from the built-in table: {error.message}"
    if shown is None:
        shown = _terms(market) | {"source": "built in", "note": note}
        session().output.say(note)
    session().output.document(shown, pairs(_flat([shown])[0]))


@app.command()
def ticker(market: Name, url: Url = None) -> None:
    """Mark, mid and oracle price, change over 24 hours, volume, open interest and the funding rate of this hour."""
    from tradeagent.domain.clock import iso
    from tradeagent.domain.errors import NotFound

    with info_client(url) as client:
        _, contexts = client.contexts(market.partition(":")[0] if ":" in market else "")
        context = next((c for c in contexts if c.market == market), None)
        if context is None:
            raise NotFound(f"market: the venue has no {market!r}", hint=f"tradeagent market search {market}")
        at = client.now_ms()
    shown = {
        "market": market,
        "as_of": iso(at),
        "mark_price": _plain(context.mark),
        "mid_price": None if context.mid is None else _plain(context.mid),
        "oracle_price": _plain(context.oracle),
        "day_change_pct": _change(context),
        "day_notional": _plain(context.day_notional),
        "open_interest": _plain(context.open_interest),
        "funding_rate_1h": _plain(context.funding),
    }
    session().output.document(shown, pairs(shown))


@app.command()
def candles(
    market: Name,
    interval: Annotated[str, typer.Option("--interval", "-i", help="bar interval, like 5m")] = "1h",
    count: Annotated[int, typer.Option("--count", "-n", help="how many of the newest", min=1, max=5_000)] = 20,
    venue: Annotated[str, typer.Option("--venue", help="venue of the stored bars")] = "hyperliquid",
    as_of: Annotated[str | None, typer.Option("--as-of", help="only bars closed by then (UTC)")] = None,
    live: Annotated[bool, typer.Option("--live", help="ask the venue and store nothing")] = False,
    url: Url = None,
) -> None:
    """The newest closed bars, from your stored data; with --live from the venue."""
    from tradeagent.domain.bars import parse_duration
    from tradeagent.domain.clock import iso
    from tradeagent.domain.errors import DataError, NotFound
    from tradeagent.market.series import SeriesKey

    current, interval_ms = session(), parse_duration(interval)
    moment = current.clock.now_ms() if as_of is None else instant(as_of, "as_of")
    if live or url is not None:
        rows = _live(market, interval_ms, count, None if as_of is None else moment, url)
    else:
        rows = _stored(SeriesKey(venue, market, interval_ms), moment, count)
        if not rows:
            is_stored = any((key.venue, key.market, key.funding) == (venue, market, False) for key in current.warehouse.series_keys())
            raise (DataError if is_stored else NotFound)(
                f"{venue}:{market}:{interval}: no closed bars are stored" + (f" as of {as_of}" if as_of else ""),
                hint=f"tradeagent data fetch --market {market} --interval {interval}, or add --live",
            )
    shown = [{"time": iso(row["ts"]), **{name: exact(value) for name, value in row.items() if name != "ts"}} for row in rows]
    names = ["time", "open", "high", "low", "close", "volume"]
    current.output.document(shown, table(shown, names, right=names[1:], empty="no closed bars"))


@app.command()
def book(
    market: Name, levels: Annotated[int, typer.Option("--levels", help="levels of each side", min=1, max=20)] = 10, url: Url = None
) -> None:
    """The best bids and asks now."""
    from tradeagent.domain.clock import iso

    with info_client(url) as client:
        found = client.book(market)
    sides = {
        name: [{"price": _plain(level.price), "size": _plain(level.size), "orders": level.orders} for level in side[:levels]]
        for name, side in (("bids", found.bids), ("asks", found.asks))
    }
    spread = None
    if found.bids and found.asks:
        best, worst = found.bids[0].price, found.asks[0].price
        spread = str(((worst - best) / ((worst + best) / 2) * 10_000).quantize(Decimal("0.001")))
    shown = {"market": market, "time": iso(found.time_ms), "spread_bps": spread, **sides}
    rows = [
        {"bid size": bid.get("size"), "bid": bid.get("price"), "ask": ask.get("price"), "ask size": ask.get("size")}
        for bid, ask in (
            (sides["bids"][i] if i < len(sides["bids"]) else {}, sides["asks"][i] if i < len(sides["asks"]) else {})
            for i in range(max(len(sides["bids"]), len(sides["asks"])))
        )
    ]
    columns = ["bid size", "bid", "ask", "ask size"]
    head = f"{market} at {shown['time']}, spread {spread or '–'} bps\n"
    session().output.document(shown, head + table(rows, columns, right=columns, empty="the book is empty"))


@app.command()
def funding(
    market: Name,
    hours: Annotated[int, typer.Option("--hours", "-n", help="how many of the newest payments", min=1, max=500)] = 24,
    venue: Annotated[str, typer.Option("--venue", help="venue of the stored payments")] = "hyperliquid",
    live: Annotated[bool, typer.Option("--live", help="ask the venue and store nothing")] = False,
    url: Url = None,
) -> None:
    """The newest hourly funding rates, from your stored data; with --live from the venue. Positive: longs pay."""
    from tradeagent.domain.clock import HOUR_MS, iso
    from tradeagent.domain.errors import NotFound
    from tradeagent.market.readers import funding_of

    if live or url is not None:
        with info_client(url) as client:
            client.mids()
            now = client.now_ms()
            paid = client.funding(market, now - hours * HOUR_MS, now)
        pairs_of = list(zip(paid.ts.tolist(), paid.rate.tolist(), strict=True))
    else:
        stored = funding_of(session().warehouse, venue, market)
        pairs_of = list(zip(stored.hours.tolist(), stored.rate.tolist(), strict=True))[-hours:]
        if not pairs_of:
            raise NotFound(
                f"{venue}:{market}: no funding is stored", hint=f"tradeagent data fetch --market {market} --funding, or add --live"
            )
    shown = [
        {"time": iso(ms - ms % HOUR_MS), "rate": f"{rate:.10f}", "annual_pct": round(rate * 24 * 365 * 100, 4)} for ms, rate in pairs_of
    ]
    session().output.document(shown, table(shown, ["time", "rate", "annual_pct"], right=("rate", "annual_pct"), empty="no payments"))


def _stored(key: "SeriesKey", as_of: int, count: int) -> list[dict[str, Any]]:
    """The newest stored bars, made from a finer interval where this one is not stored; none when neither is."""
    from tradeagent.domain.errors import DataError
    from tradeagent.market.readers import columns, history

    warehouse = session().warehouse
    if warehouse.has(key):
        arrays = history(warehouse, key, as_of, count).columns()
    else:
        try:
            bars, report = columns(warehouse, key, until_ms=as_of)
        except DataError:
            return []
        session().output.say(f"made from {report.made_from} bars")
        newest = bars.rows(max(0, len(bars) - count), len(bars))
        arrays = {"ts": newest.time, **{name: getattr(newest, name) for name in ("open", "high", "low", "close", "volume")}}
    return [{name: values[i].item() for name, values in arrays.items()} for i in range(len(arrays["ts"]))]


def _live(market: str, interval_ms: int, count: int, as_of: int | None, url: str | None) -> list[dict[str, Any]]:
    """Closed candles straight from the venue."""
    with info_client(url) as client:
        client.mids()
        until = client.now_ms() if as_of is None else min(as_of, client.now_ms())
        found = client.candles(market, interval_ms, max(0, until - (count + 1) * interval_ms), until)
    rows = [
        {"ts": int(found.ts[i]), **dict(zip(("open", "high", "low", "close", "volume"), found.values[:, i].tolist(), strict=True))}
        for i in range(len(found))
        if int(found.ts[i]) + interval_ms <= until
    ]
    return rows[-count:]


def _known() -> tuple[str, ...]:
    from tradeagent.market.instruments import known_markets

    return tuple(dict.fromkeys((*known_markets(), *session().instruments)))


def _terms(symbol: str) -> dict[str, Any]:
    """A market of the built-in table or of config.yml."""
    from tradeagent.market.instruments import HYPERLIQUID

    return _instrument(session().instrument(HYPERLIQUID, symbol))


def _listed(listed: "ListedMarket") -> dict[str, Any]:
    """A market as the venue lists it."""
    from tradeagent.domain.instrument import Instrument, MarginTier
    from tradeagent.market.instruments import HYPERLIQUID

    tiers = tuple(MarginTier(bound, leverage) for bound, leverage in listed.tiers)
    shown = _instrument(Instrument(HYPERLIQUID, listed.name, listed.size_decimals, tiers))
    return shown | {"delisted": listed.is_delisted, "source": "venue"}


def _instrument(known: "Instrument") -> dict[str, Any]:
    return {
        "market": known.symbol,
        "venue": known.venue,
        "kind": known.kind,
        "collateral": known.collateral,
        "size_step": _plain(known.lot),
        "price_decimals": known.price_decimals,
        "price_significant_figures": 5,
        "min_notional": _plain(known.min_notional),
        "max_leverage": known.max_leverage,
        "tiers": [{"from_notional": _plain(tier.lower_bound), "max_leverage": tier.max_leverage} for tier in known.tiers],
    }


def _flat(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows for a person: tiers as text."""
    return [
        row | {"tiers": [f"{tier['max_leverage']}x from {tier['from_notional']}" for tier in row["tiers"]]} if "tiers" in row else row
        for row in rows
    ]


def _change(context: "Context") -> str | None:
    if not context.previous_day:
        return None
    return str(((context.mark / context.previous_day - 1) * 100).quantize(Decimal("0.01")))


def _plain(value: Decimal) -> str:
    from tradeagent.domain.money import plain

    return plain(value)
