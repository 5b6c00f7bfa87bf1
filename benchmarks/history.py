"""Long histories in a ledger: the rows of one real trade, repeated under other names by one statement a table."""

import sqlite3
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from benchmarks.worlds import LIVE_INTERVAL
from tradeagent.domain.bars import parse_duration
from tradeagent.domain.names import Actor, IntentKind, OrderType, Side
from tradeagent.domain.order import Proposal
from tradeagent.market.instruments import HYPERLIQUID
from tradeagent.runtime.assembly import Place, RunRequest, assembled
from tradeagent.runtime.ground import Pace

# What makes a copy another row, by table: its column as SQL over the copied row and the number `i` of the copy.
_NAMED = "{0} || '-' || i"
_COUNTED = "-(i * 1000 + {0})"
KEYS: Mapping[str, Mapping[str, str]] = {
    "intents": {"id": _NAMED, "cloid": _NAMED},
    "orders": {"cloid": _NAMED, "intent_id": _NAMED, "oid": _COUNTED},
    "reservations": {"intent_id": _NAMED},
    "fills": {"cloid": _NAMED, "intent_id": _NAMED, "oid": _COUNTED, "trade_id": _COUNTED},
    "round_trips": {},
    "events": {"subject": _NAMED},
}
# The events of making a wallet are not of the trade; a comparison of ledger and venue comes with each, as with each minute of a run.
_OF_THE_TRADE = {"events": "kind NOT IN ('lease.taken', 'flow')"}
ORDERS_OF_A_TRADE, FILLS_OF_A_TRADE = 4, 2


def entry(deployment: str, mark: Decimal, type_: OrderType) -> Proposal:
    """A small entry with stop and target: at the market, or a limit order a little below it that rests."""
    price, stop, target = ((mark * part).quantize(Decimal(1)) for part in (Decimal("0.99"), Decimal("0.97"), Decimal("1.05")))
    return Proposal(
        market="BTC",
        side=Side.BUY,
        controller_id=deployment,
        type=type_,
        quote=Decimal(50),
        price=price if type_ is OrderType.LIMIT else None,
        stop=stop,
        target=target,
        reason="a benchmark enters",
    )


async def trade(place: Place, slug: str) -> None:
    """One round trip of a new agent's wallet, on the last two bars: on a live wallet a market order would wait an hour for its open."""
    hour = parse_duration(LIVE_INTERVAL)
    begin = place.clock.now_ms() // hour * hour - 2 * hour
    request = RunRequest(slug, Pace(replay=f"{HYPERLIQUID}:BTC:{LIVE_INTERVAL}", from_ms=begin, speed=Decimal(1)), cash="10000")
    with assembled(place, request) as run:
        engine = run.door.engine
        bought = entry(run.row.id, engine.markets["BTC"].mark or Decimal(0), OrderType.MARKET)
        sold = replace(bought, side=Side.SELL, kind=IntentKind.CLOSE, quote=None, stop=None, target=None, reduce_only=True)
        for number, proposal in enumerate((bought, sold)):
            run.playback.advance(begin + number * hour)
            verdict = await engine.submit(proposal, Actor.AGENT)
            assert verdict.fills, verdict
        with engine.transaction() as tx:
            engine.book.flush(tx)


class Past:
    """The trades of one wallet, of which it has one when this is made. The ledger must have no open connection while it grows."""

    def __init__(self, ledger_file: Path, wallet: str) -> None:
        self._file, self._wallet, self._copies = ledger_file, wallet, 0
        with closing(sqlite3.connect(ledger_file)) as database:
            self._last = {table: database.execute(f"SELECT max(rowid) FROM {table}").fetchone()[0] for table in KEYS}

    def grow(self, trades: int, tables: Collection[str] = tuple(KEYS)) -> None:
        """Copy the trade until there are `trades` copies of its rows in `tables`."""
        with closing(sqlite3.connect(self._file, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            for table in tables if trades > self._copies else ():
                database.execute(self._copy(database, table, trades), (self._wallet, self._last[table]))
            database.execute("COMMIT")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._copies = max(trades, self._copies)

    def _copy(self, database: sqlite3.Connection, table: str, trades: int) -> str:
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})") if row[1] != "seq"]
        values = [KEYS[table].get(column, "{0}").format(f"t.{column}") for column in columns]
        return (
            f"WITH RECURSIVE n(i) AS (SELECT {self._copies + 1} UNION ALL SELECT i + 1 FROM n WHERE i < {trades}) "
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} "
            f"FROM (SELECT * FROM {table} WHERE wallet = ? AND rowid <= ? AND {_OF_THE_TRADE.get(table, 'TRUE')}) t CROSS JOIN n"
        )
