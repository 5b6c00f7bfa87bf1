"""`watchlist`: the markets you keep an eye on; the assistant and the engine read the same list."""

from typing import Annotated

import typer

from tradeagent.cli.output import table
from tradeagent.cli.session import session

app = typer.Typer(help="Markets you keep an eye on.", no_args_is_help=True)
Market = Annotated[str, typer.Argument(metavar="MARKET", help="like BTC, kPEPE or xyz:TSLA; names are exact")]


@app.command(name="list")
def list_() -> None:
    """Every market on the list, the oldest first."""
    from tradeagent.domain.clock import iso
    from tradeagent.ledger import watchlist

    with session().ledger.reading() as tx:
        found = watchlist.listed(tx)
    rows = [{"market": row.market, "note": row.note, "by": row.actor, "added": iso(row.added_ms)} for row in found]
    session().output.document(rows, table(rows, ["market", "note", "by", "added"], empty="empty: `tradeagent watchlist add BTC`"))


@app.command()
def add(market: Market, note: Annotated[str, typer.Option(help="why, in a few words")] = "") -> None:
    """Put a market on the list, or change its note. Example: tradeagent watchlist add HYPE --note "unlock in May" """
    from tradeagent.domain.errors import InvalidInput
    from tradeagent.domain.names import Actor
    from tradeagent.ledger import watchlist
    from tradeagent.market.instruments import HYPERLIQUID

    current = session()
    current.workspace.require_writable()
    current.instrument(HYPERLIQUID, market)
    if len(note) > watchlist.LONGEST_NOTE:
        raise InvalidInput(f"--note: {len(note)} characters, at most {watchlist.LONGEST_NOTE}", hint="shorten it")
    row = watchlist.WatchRow(market, note, Actor.MANUAL.value, current.clock.now_ms())
    with current.ledger.transaction() as tx:
        is_new = watchlist.add(tx, row)
    current.output.document({"market": market, "note": note, "new": is_new}, f"{'added' if is_new else 'noted'} {market}")


@app.command()
def remove(market: Market) -> None:
    """Take a market off the list."""
    from tradeagent.ledger import watchlist

    current = session()
    current.workspace.require_writable()
    with current.ledger.transaction() as tx:
        watchlist.remove(tx, market)
    current.output.document({"market": market, "removed": True}, f"removed {market}")
