"""Ledger against venue, read from the two files alone: this checker shares no code with the product.

Each line of an answer begins with its kind: `duplicate`, `lost`, `differ` or `left`.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

D = Decimal
LIVE = ("pending", "open", "partially_filled", "triggered", "unknown")
LOTS = -3  # both markets of the campaigns have sizes in thousandths
MICRO = -6
FILL = ("trade_id", "cloid", "market", "side")


def audit(root: Path, wallet: str = "w", *, by_hand: Collection[str] = ()) -> list[str]:
    """Everything that is wrong once reconciliation has had its say; `by_hand` are orders that no ledger can know."""
    with closing(sqlite3.connect(root / "ledger.db")) as ledger, closing(sqlite3.connect(root / "paper.db")) as paper:
        ledger.row_factory = sqlite3.Row
        record = [(kind, json.loads(data)) for kind, data in paper.execute("SELECT kind, data FROM activity ORDER BY seq")]
        state = json.loads(paper.execute("SELECT state FROM venue").fetchone()[0])
        orders = {row["cloid"]: row for row in ledger.execute("SELECT * FROM orders WHERE wallet = ?", (wallet,))}
        venue_fills = [data for kind, data in record if kind == "Fill"]
        reports = {data["report"]["cloid"]: data["report"] for kind, data in record if kind == "OrderChange"}
        return [
            *_duplicates(record, orders, venue_fills),
            *_lost(ledger, wallet, orders, venue_fills, set(reports) - set(by_hand)),
            *_differences(ledger, wallet, state, orders, reports, by_hand),
            *_left(ledger, wallet),
            *_untrue(ledger, wallet, orders, reports),
        ]


def _duplicates(record: list[tuple[str, Any]], orders: dict[str, Any], fills: list[Any]) -> Iterator[str]:
    """One order at the venue for each leg of an intent, never filled beyond its size."""
    oids: dict[str, set[int]] = {}
    for kind, data in record:
        if kind == "OrderChange" and data["report"]["oid"] is not None:
            oids.setdefault(data["report"]["cloid"], set()).add(data["report"]["oid"])
    legs = Counter((orders[cloid]["intent_id"], orders[cloid]["leg"]) for cloid in oids if cloid in orders)
    yield from (f"duplicate: intent {intent} has {count} {leg} orders at the venue" for (intent, leg), count in legs.items() if count > 1)
    yield from (f"duplicate: order {cloid} was made {len(found)} times" for cloid, found in oids.items() if len(found) > 1)
    trades = Counter(fill["trade_id"] for fill in fills)
    yield from (f"duplicate: trade {trade} is {count} times in the record" for trade, count in trades.items() if count > 1)
    for cloid, row in orders.items():
        filled = sum((D(fill["size"]) for fill in fills if fill["cloid"] == cloid), D(0))
        if filled > D(row["size"]):
            yield f"duplicate: order {cloid} of {row['size']} filled {filled}"


def _lost(ledger: sqlite3.Connection, wallet: str, orders: dict[str, Any], fills: list[Any], known: set[str]) -> Iterator[str]:
    """Every fill of the venue is booked once and as it was; every order of the venue is in the ledger."""
    rows = {row["trade_id"]: row for row in ledger.execute("SELECT * FROM fills WHERE wallet = ?", (wallet,))}
    for fill in fills:
        row = rows.pop(fill["trade_id"], None)
        if row is None:
            yield f"lost: fill {fill['trade_id']} of {fill['cloid']}"
        elif any(row[name] != fill[name] for name in FILL) or any(
            D(row[n]) != D(fill[n]) for n in ("size", "price", "fee", "realised_pnl")
        ):
            yield f"differ: fill {fill['trade_id']} is {dict(row)} in the ledger, {fill} at the venue"
    yield from (f"lost: fill {trade} of the ledger never was at the venue" for trade in rows)
    yield from (f"lost: the venue has order {cloid}, the ledger does not" for cloid in sorted(known - set(orders)))


def _differences(
    ledger: sqlite3.Connection, wallet: str, state: Any, orders: dict[str, Any], reports: dict[str, Any], by_hand: Collection[str]
) -> Iterator[str]:
    """Cash, positions, resting orders and the end of every order."""
    risk = ledger.execute("SELECT * FROM risk_state WHERE wallet = ?", (wallet,)).fetchone()
    cash = D(state["cash"]).scaleb(MICRO)
    if D(risk["cash"]) != cash:
        yield f"differ: cash {risk['cash']} in the ledger, {cash} at the venue"
    there = {market: (D(held[0]).scaleb(LOTS), D(held[1]).scaleb(MICRO)) for market, held in state["holdings"].items() if held[0]}
    rows = ledger.execute("SELECT * FROM positions WHERE wallet = ? AND controller_id = ''", (wallet,))
    here = {row["market"]: (D(row["size"]), D(row["cost"])) for row in rows if D(row["size"])}
    if here != there:
        yield f"differ: positions {here} in the ledger, {there} at the venue"
    shares: dict[str, Decimal] = {}
    for row in ledger.execute("SELECT * FROM positions WHERE wallet = ? AND controller_id != ''", (wallet,)):
        shares[row["market"]] = shares.get(row["market"], D(0)) + D(row["size"])
    if {market: size for market, size in shares.items() if size} != {market: size for market, (size, _) in here.items()}:
        yield f"differ: the controllers hold {shares}, the wallet {here}"
    resting = {order[1] for order in state["orders"]} - set(by_hand)
    live = {cloid for cloid, row in orders.items() if row["state"] in LIVE and not row["reason"].startswith("waits here")}
    if live != resting:
        yield f"differ: resting {sorted(live - resting)} only in the ledger, {sorted(resting - live)} only at the venue"
    for cloid, row in orders.items():
        report = reports.get(cloid)
        if report is not None and (row["state"], D(row["filled"])) != (report["state"], D(report["filled"])):
            yield f"differ: order {cloid} {row['state']} {row['filled']} in the ledger, {report['state']} {report['filled']} at the venue"


def _left(ledger: sqlite3.Connection, wallet: str) -> Iterator[str]:
    """Nothing is half-way."""
    for row in ledger.execute(
        "SELECT id, kind, state FROM intents WHERE wallet = ? AND state IN ('pending', 'sent', 'unknown')", (wallet,)
    ):
        yield f"left: {row['kind']} intent {row['id']} is {row['state']}"
    for row in ledger.execute("SELECT intent_id FROM reservations WHERE wallet = ? AND active", (wallet,)):
        yield f"left: the reservation of {row['intent_id']}"


def _untrue(ledger: sqlite3.Connection, wallet: str, orders: dict[str, Any], reports: dict[str, Any]) -> Iterator[str]:
    """An executed intent has its order at the venue, any other has none; and the day's entries are counted once each."""
    entries: Counter[str] = Counter()
    for intent in ledger.execute("SELECT id, kind, state, actor FROM intents WHERE wallet = ?", (wallet,)):
        own = [cloid for cloid, row in orders.items() if row["intent_id"] == intent["id"]]
        taken = [cloid for cloid in own if cloid in reports and reports[cloid]["oid"] is not None]
        if taken and intent["state"] not in ("executed", "venue_rejected", "pending", "unknown"):
            yield f"differ: {intent['kind']} intent {intent['id']} is {intent['state']}, and the venue took {taken}"
        if own and not taken and intent["state"] == "executed":
            yield f"differ: {intent['kind']} intent {intent['id']} is executed, and the venue has none of its orders"
        if intent["kind"] in ("open", "increase") and intent["state"] == "executed":
            entries[intent["actor"]] += 1
    counted = json.loads(ledger.execute("SELECT entries_today FROM risk_state WHERE wallet = ?", (wallet,)).fetchone()[0])
    if {actor: count for actor, count in counted.items() if count} != dict(entries):
        yield f"differ: entries of the day {counted}, executed intents {dict(entries)}"
