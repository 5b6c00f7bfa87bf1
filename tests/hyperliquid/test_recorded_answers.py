"""Our arithmetic against what the venue itself published, to the last published digit, over every recorded answer there is.

The recordings are found by their shape, wherever they stand in a file, and `EXPECTED` says how many each file must give, so that a file
that stops being read fails. What is recorded and cannot be computed is said where it is left out.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any

import pytest

from tradeagent.domain.costs import fee, funding_payment
from tradeagent.domain.instrument import Instrument, MarginTier
from tradeagent.domain.money import size_down, trunc_micro
from tradeagent.hyperliquid.evaluation import evaluate
from tradeagent.hyperliquid.wire import Record
from tradeagent.venue import MarketSpec, VenueConfig, VenueState, account
from tradeagent.venue.book import Book
from tradeagent.venue.liquidation import first_breach
from tradeagent.venue.margin import RATE_UNIT, trade_fee, truncated
from tradeagent.venue.state import Holding

ROOT = Path(os.environ.get("TRADEAGENT_SHARED", Path(__file__).resolve().parents[2].parent / "shared")) / "fixtures" / "hyperliquid"
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("*/*.json"))
ABSENT = pytest.param("", marks=pytest.mark.skip(reason="no recorded answers of the venue; set TRADEAGENT_SHARED"))
EVERY_FILE = pytest.mark.parametrize("name", FILES or [ABSENT])

# Of each file: (account states, positions, fills, funding payments, tradable sizes) found in it. Files that are not here have none.
EXPECTED: Mapping[str, tuple[int, int, int, int, int]] = {
    "exchange/ccxt_subset.json": (0, 0, 3, 0, 0),
    "exchange/observed.json": (0, 1, 0, 0, 0),
    "info/activeAssetData_testnet.json": (0, 0, 0, 0, 1),
    "info/clearinghouseState_cross_positions_2023.json": (1, 12, 0, 0, 0),
    "info/clearinghouseState_empty_mainnet.json": (1, 0, 0, 0, 0),
    "info/mainnet_2026-07-19_margin_snapshot.json": (1, 3, 0, 0, 0),
    "info/mainnet_2026-07-19_positions_fills_funding_fees.json": (0, 3, 4, 5, 0),
    "info/userFillsByTime_testnet.json": (0, 0, 2, 0, 0),
    "info/userFills_2023_trimmed.json": (0, 0, 12, 0, 0),
    "info/userFunding_2023.json": (0, 0, 0, 13, 0),
    "ws/frames.json": (0, 0, 1, 0, 0),
    "ws/user_fill_liquidation.json": (0, 0, 1, 0, 0),
}

# Size decimals and maximum leverage of the markets of these recordings. In 2023 all had 50x; those of 2026 say it themselves.
SIZE_DECIMALS = {"BTC": 5, "ETH": 4, "ATOM": 2, "MATIC": 1, "DYDX": 1, "SOL": 2, "AVAX": 2, "BNB": 3, "APE": 1, "OP": 1, "LTC": 2, "ARB": 1}
SIZE_DECIMALS |= {"HYPE": 2}
MAX_LEVERAGE_2023 = 50
TAKER, MAKER = Decimal("0.00045"), Decimal("0.00015")
# Who traded, where it is not tier 0: in 2023 nobody paid fees, the vault of 2026 pays none, and ccxt's account was referred (4 % off).
TAKER_OF = {
    "info/userFills_2023_trimmed.json": Decimal(0),
    "info/mainnet_2026-07-19_positions_fills_funding_fees.json": Decimal(0),
    "exchange/ccxt_subset.json": TAKER * Decimal("0.96"),
}
BUILDER_RATE = Decimal("0.0001")
MICRO = Decimal("0.000001")


@dataclass(frozen=True)
class Recording:
    """What one file holds, by kind."""

    accounts: list[dict[str, Any]]
    positions: list[dict[str, Any]]
    fills: list[dict[str, Any]]
    funding: list[dict[str, Any]]
    sizes: list[dict[str, Any]]


def recording(name: str) -> Recording:
    data = json.loads((ROOT / name).read_text(encoding="utf-8"), parse_float=Decimal)
    found = list(objects(data))
    return Recording(
        accounts=[value for value in found if "crossMarginSummary" in value],
        positions=[value for value in found if {"szi", "entryPx", "unrealizedPnl"} <= set(value)],
        fills=[value for value in found if {"px", "sz", "fee", "closedPnl"} <= set(value)],
        funding=[value for value in found if {"fundingRate", "szi", "usdc"} <= set(value)],
        sizes=[value for value in found if "maxTradeSzs" in value and "availableToTrade" in value],
    )


def objects(data: Any) -> Iterator[dict[str, Any]]:
    """Every object in it, outer ones first."""
    if isinstance(data, dict):
        yield data
        for value in data.values():
            yield from objects(value)
    elif isinstance(data, list):
        for value in data:
            yield from objects(value)


def record_of(state: dict[str, Any]) -> Record:
    """The state with a meta and the marks that the venue valued it at: position value / size, exact because both are."""
    entries = state.get("assetPositions") or [{"type": "oneWay", "position": held} for held in state.get("positions", [])]
    held = [entry["position"] for entry in entries]
    universe = [
        {"name": one["coin"], "szDecimals": SIZE_DECIMALS[one["coin"]], "maxLeverage": one.get("maxLeverage", MAX_LEVERAGE_2023)}
        for one in held
    ]
    marks = {one["coin"]: Decimal(one["positionValue"]) / abs(Decimal(one["szi"])) for one in held}
    return Record.model_validate(
        {"meta": {"universe": universe}, "marks": marks, "clearinghouseState": {**state, "assetPositions": entries}}
    )


def instrument(coin: str, max_leverage: int = MAX_LEVERAGE_2023) -> Instrument:
    return Instrument("hyperliquid", coin, SIZE_DECIMALS[coin], (MarginTier(Decimal(0), max_leverage),))


@EVERY_FILE
def test_a_file_gives_what_it_is_known_to_hold(name: str) -> None:
    found = recording(name)
    counts = tuple(map(len, (found.accounts, found.positions, found.fills, found.funding, found.sizes)))
    assert counts == EXPECTED.get(name, (0, 0, 0, 0, 0))


@EVERY_FILE
def test_an_account_adds_up_to_what_the_venue_published(name: str) -> None:
    for state in recording(name).accounts:
        found = evaluate(record_of(state))
        computed = asdict(found.account), asdict(found.cross), *(asdict(row.computed) for row in found.positions)
        published = found.published_account, found.published_cross, *(row.published for row in found.positions)
        for own, theirs in zip(computed, published, strict=True):
            assert {key: own[key] for key, value in theirs.items() if value is not None and key != "liquidation_price"} == {
                key: value for key, value in theirs.items() if value is not None and key != "liquidation_price"
            }
        assert found.published_withdrawable in (None, found.withdrawable)
        assert not found.is_liquidatable


@EVERY_FILE
def test_a_liquidation_price_is_the_published_one(name: str) -> None:
    """Recordings of 2023 have another formula, without the maintenance of the size at the new price: mark − side · available / |size|.

    With that formula our equity and maintenance give their last digit too, which is what can be checked there.
    """
    for state in recording(name).accounts:
        found = evaluate(record_of(state))
        available = found.cross.equity - found.cross.maintenance_margin
        for row in found.positions:
            price, theirs = row.computed.liquidation_price, row.published["liquidation_price"]
            if "2023" in name:
                old = row.mark_price - available / row.size
                price = old if old > 0 else None
            assert (price is None) == (theirs is None)
            if price is not None and theirs is not None:
                decimals = 8 if "2023" in name else 10
                assert price.quantize(Decimal(1).scaleb(-decimals)) == theirs


@EVERY_FILE
def test_a_position_has_the_published_entry_and_margin(name: str) -> None:
    """`entryPx` is cut off at the market's decimals, not rounded: 64703.447 is published as 64703.4, 0.121758 as 0.12175."""
    for held in recording(name).positions:
        size, value = Decimal(held["szi"]), Decimal(held["positionValue"])
        cost = value.copy_sign(size) - Decimal(held["unrealizedPnl"])
        tick = Decimal(1).scaleb(-instrument(held["coin"]).price_decimals)
        assert (cost / size).quantize(tick, rounding=ROUND_DOWN) == Decimal(held["entryPx"])
        if "marginUsed" in held:
            assert trunc_micro(value / held["leverage"]["value"]) == Decimal(held["marginUsed"])


@EVERY_FILE
def test_the_integer_venue_values_a_recorded_account_the_same(name: str) -> None:
    """Equity to the last digit; the venue of paper sums margins exactly and rounds up once, so it is above by less than 10⁻⁶ a position."""
    for state in recording(name).accounts:
        record = record_of(state)
        found = evaluate(record)
        if not found.is_complete:
            continue  # 2026 recorded three of some hundred positions
        book, rows = venue_book(record), found.positions
        view = account(book, book.config)
        assert Decimal(view.equity).scaleb(-6) == found.cross.equity
        assert Decimal(view.notional).scaleb(-6) == found.cross.notional
        for own, theirs in ((view.initial_margin, found.cross.margin_used), (view.maintenance, found.cross.maintenance_margin)):
            assert 0 <= Decimal(own).scaleb(-6) - theirs <= (len(rows) + 1) * MICRO
        for row in rows:
            spec = book.config.markets[row.market]
            price = first_breach(book, row.market, 1 if row.size > 0 else spec.price_in(Decimal(10**6)))
            assert (price is None) == (row.computed.liquidation_price is None)
            if price is not None and row.computed.liquidation_price is not None:
                assert abs(spec.price_out(price) - row.computed.liquidation_price) <= spec.price_out(1)


def venue_book(record: Record) -> Book:
    """The account as the simulated venue holds it."""
    summary, held, marks = record.clearinghouse_state.cross_margin_summary, record.clearinghouse_state.positions, record.mark_of
    specs = {one.coin: MarketSpec.of(instrument(one.coin, one.max_leverage or MAX_LEVERAGE_2023)) for one in held}
    costs = {
        one.coin: one.position_value.copy_sign(one.szi) - one.unrealized_pnl for one in held if one.position_value and one.unrealized_pnl
    }
    cash = summary.total_raw_usd + sum(costs.values(), Decimal(0))
    state = VenueState(
        cash=int(cash.scaleb(6)),
        holdings={one.coin: Holding(specs[one.coin].size_in(one.szi), int(costs[one.coin].scaleb(6))) for one in held},
        leverage={one.coin: one.leverage.value for one in held},
        marks={one.coin: specs[one.coin].price_in(marks[one.coin]) for one in held},
    )
    return Book(state, VenueConfig(specs))


@EVERY_FILE
def test_the_fee_of_a_fill_is_the_published_one(name: str) -> None:
    for fill in recording(name).fills:
        if fill["coin"].startswith("@") or ":" in fill["coin"]:
            continue  # a spot fee is in the bought token; the fee scale of a builder's own market is not in the recording
        price, size = Decimal(fill["px"]), Decimal(fill["sz"])
        rate = MAKER if fill.get("crossed") is False else TAKER_OF.get(name, TAKER)
        builder = fee(price, size, BUILDER_RATE) if "builderFee" in fill else Decimal(0)
        assert builder == Decimal(fill.get("builderFee", 0))
        assert fee(price, size, rate) + builder == Decimal(fill["fee"])
        notional = price * size
        assert Decimal(trade_fee(int(notional.scaleb(6)), 1, int(rate.scaleb(8)))).scaleb(-6) + builder == Decimal(fill["fee"])


@EVERY_FILE
def test_a_funding_payment_is_the_published_one_at_one_oracle_price(name: str) -> None:
    """The oracle price of a past hour is not recorded; that a price on its grid gives the very payment is what can be checked.

    DYDX decides between cutting and rounding: one tick moves its payment by 15 of the last digit. The rows of 2023 sum three samples of
    size and price, so only their direction can be checked.
    """
    for row in recording(name).funding:
        size, rate, received = Decimal(row["szi"]), Decimal(row["fundingRate"]), Decimal(row["usdc"])
        assert (size * rate > 0) == (received < 0)
        if row["nSamples"] is not None:
            assert "2023" in name
            continue
        decimals = instrument(row["coin"]).price_decimals
        ticks = [(abs(received) + more) / abs(size * rate) for more in (Decimal(0), MICRO)]
        first, last = (
            price.scaleb(decimals).to_integral_value(how) for price, how in zip(ticks, (ROUND_CEILING, ROUND_FLOOR), strict=True)
        )
        prices = [Decimal(tick).scaleb(-decimals) for tick in range(int(first), int(last) + 1)]
        assert any(funding_payment(size, price, rate) == -received for price in prices)
        assert row["coin"] != "DYDX" or len(prices) == 1
        units = int(size.scaleb(SIZE_DECIMALS[row["coin"]])), int(rate * RATE_UNIT)
        paid = {truncated(units[0] * int(price.scaleb(decimals)) * units[1], RATE_UNIT) for price in prices}
        assert int(-received.scaleb(6)) in paid


@EVERY_FILE
def test_the_largest_order_is_the_published_one(name: str) -> None:
    for row in recording(name).sizes:
        sizes = [Decimal(free) * row["leverage"]["value"] / Decimal(row["markPx"]) for free in row["availableToTrade"]]
        assert [size_down(instrument(row["coin"]), size) for size in sizes] == list(map(Decimal, row["maxTradeSzs"]))
