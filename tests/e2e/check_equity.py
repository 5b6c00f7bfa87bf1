"""Recomputes a run's account from its fills, its funding payments and the bars it traded on, with nothing of tradeagent.

    python check_equity.py --fills fills.json --funding funding.json --bars BTC=bars.parquet --start 10000 --at 2025-03-16T11:35:00Z

`fills.json` is `tradeagent fills --json`, `funding.json` is `tradeagent audit --kind funding --json`, `--at` is the instant of the
last tick. Prints one JSON document; `problems` lists every figure that does not follow from the bars, and the exit code says whether
there is any. Money in USDC, exact decimals.
"""

import argparse
import json
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import duckdb

MICRO = Decimal("0.000001")
TAKER = Decimal("0.00045")
MAKER = Decimal("0.00015")
SLIPPAGE = Decimal("0.0002")
BAR_MS = 300_000
HOUR_MS = 3_600_000


@dataclass
class Book:
    """One market: signed size, what it cost, and what closing parts of it brought."""

    size: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)


@dataclass
class Account:
    """The totals of the run."""

    realised: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    funding: Decimal = Decimal(0)
    books: dict[str, Book] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class Bars:
    """Five-minute bars of one market by their open time."""

    def __init__(self, path: Path) -> None:
        rows = duckdb.connect().execute("SELECT ts, open, high, low, close FROM read_parquet(?)", [str(path)]).fetchall()
        self.rows = {int(ts): tuple(Decimal(repr(price)) for price in prices) for ts, *prices in rows}

    def holding(self, ms: int) -> tuple[Decimal, ...]:
        """(open, high, low, close) of the bar that contains an instant."""
        return self.rows[ms - ms % BAR_MS]

    def closed_by(self, ms: int) -> Decimal:
        """Close of the newest bar that has closed."""
        newest = max(ts for ts in self.rows if ts + BAR_MS <= ms)
        return self.rows[newest][3]


def instant(text: str) -> int:
    return round(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1000)


def take_fill(account: Account, bars: dict[str, Bars], fill: dict[str, Any]) -> None:
    """Book one fill by the average-cost rule, and compare what it says of itself."""
    size, price = Decimal(fill["size"]), Decimal(fill["price"])
    signed = size if fill["side"] == "buy" else -size
    book = account.books.setdefault(fill["market"], Book())
    realised = Decimal(0)
    closing = min(size, abs(book.size)) if book.size * signed < 0 else Decimal(0)
    if closing:
        part = closing.copy_sign(book.size)
        share = book.cost if closing == abs(book.size) else (book.cost * closing / abs(book.size)).quantize(MICRO, ROUND_HALF_EVEN)
        realised = part * price - share
        book.size, book.cost = book.size - part, book.cost - share
    opening = (size - closing).copy_sign(signed)
    book.size, book.cost = book.size + opening, book.cost + opening * price
    fee = (size * price * (TAKER if fill["liquidity"] == "taker" else MAKER)).quantize(MICRO, ROUND_DOWN)
    account.realised += realised
    account.fees += fee
    where = f"fill {fill['trade_id']} at {fill['time']}"
    if Decimal(fill["realised_pnl"]) != realised:
        account.problems.append(f"{where}: realised {fill['realised_pnl']}, it follows {realised}")
    if Decimal(fill["fee"]) != fee:
        account.problems.append(f"{where}: fee {fill['fee']}, it follows {fee}")
    _, high, low, _ = bars[fill["market"]].holding(instant(fill["time"]))
    if not low * (1 - SLIPPAGE) - 1 <= price <= high * (1 + SLIPPAGE) + 1:
        account.problems.append(f"{where}: price {price} is outside its bar, {low} to {high}")


def take_funding(account: Account, bars: dict[str, Bars], event: dict[str, Any]) -> None:
    """Book one payment: size × oracle × rate, the open of the hour's bar standing in for the oracle, truncated."""
    data = event["data"]
    hour = instant(event["time"]) // HOUR_MS * HOUR_MS
    oracle = bars[data["market"]].holding(hour)[0]
    payment = (Decimal(data["size"]) * oracle * Decimal(data["rate"])).quantize(MICRO, ROUND_DOWN)
    held = account.books.get(data["market"], Book()).size
    account.funding += payment
    if Decimal(data["payment"]) != payment:
        account.problems.append(f"funding at {event['time']}: {data['payment']}, it follows {payment}")
    if Decimal(data["size"]) != held:
        account.problems.append(f"funding at {event['time']}: paid on {data['size']}, held {held}")


def check(fills: list[dict[str, Any]], funding: list[dict[str, Any]], bars: dict[str, Bars], start: Decimal, at_ms: int) -> dict[str, Any]:
    """Everything in time order; at one instant funding comes first, since it is paid on what was carried in."""
    account = Account()
    happened = [(instant(event["time"]), 0, number, event) for number, event in enumerate(funding)]
    happened += [(instant(fill["time"]), 1, number, fill) for number, fill in enumerate(fills)]
    for _, is_fill, _, item in sorted(happened, key=lambda entry: entry[:3]):
        (take_fill if is_fill else take_funding)(account, bars, item)
    marks = {market: bars[market].closed_by(at_ms) for market, book in account.books.items() if book.size}
    unrealised = sum((account.books[m].size * mark - account.books[m].cost for m, mark in marks.items()), Decimal(0))
    equity = start + account.realised + unrealised - account.fees - account.funding
    figures = {"equity": equity, "realised": account.realised, "unrealised": unrealised, "fees": account.fees, "funding": account.funding}
    return {**{key: str(value.quantize(MICRO)) for key, value in figures.items()}, "fills": len(fills), "problems": account.problems}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--fills", type=Path, required=True)
    parser.add_argument("--funding", type=Path, required=True)
    parser.add_argument("--bars", action="append", required=True, help="MARKET=FILE.parquet")
    parser.add_argument("--start", type=Decimal, required=True)
    parser.add_argument("--at", type=instant, required=True)
    given = parser.parse_args()
    bars = {market: Bars(Path(path)) for market, _, path in (entry.partition("=") for entry in given.bars)}
    found = check(json.loads(given.fills.read_text()), json.loads(given.funding.read_text()), bars, given.start, given.at)
    print(json.dumps(found))
    return 1 if found["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
