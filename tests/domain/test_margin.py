"""Margin tiers and the liquidation price, by hand, by property, and against what the venue published."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeagent.domain.instrument import Instrument, MarginTier
from tradeagent.domain.margin import Account, liquidation_price, maintenance_margin, maintenance_tiers
from tradeagent.domain.position import Position

D = Decimal
BTC_TIERS = (MarginTier(D(0), 40), MarginTier(D(150_000_000), 20))
SMALL_TIERS = (MarginTier(D(0), 10), MarginTier(D(20_000), 5), MarginTier(D(100_000), 3))


def perp(symbol: str, tiers: tuple[MarginTier, ...] = SMALL_TIERS, decimals: int = 3) -> Instrument:
    return Instrument("hyperliquid", symbol, decimals, tiers)


def test_the_tiers_of_the_specification() -> None:
    first, second = maintenance_tiers(BTC_TIERS)
    assert (first.rate, first.deduction) == (D("0.0125"), 0)
    assert (second.rate, second.deduction) == (D("0.025"), D(150_000_000) * D("0.0125"))


@given(
    notional=st.integers(0, 10**12).map(lambda micro: D(micro).scaleb(-6)),
    step=st.integers(0, 10**9).map(lambda micro: D(micro).scaleb(-6)),
)
def test_maintenance_is_continuous_and_grows_with_notional(notional: Decimal, step: Decimal) -> None:
    low, high = maintenance_margin(SMALL_TIERS, notional), maintenance_margin(SMALL_TIERS, notional + step)
    assert 0 <= high - low <= step / (2 * 3) + D("1e-20")
    assert low <= notional / (2 * 3)


def test_at_a_tier_bound_both_tiers_agree_and_the_higher_one_is_used() -> None:
    assert maintenance_margin(SMALL_TIERS, D(20_000)) == D(1000)
    assert maintenance_margin(SMALL_TIERS, D(20_000) + 10) == D(1001)
    assert maintenance_margin(SMALL_TIERS, D(20_000) - 10) == D("999.5")


def test_a_liquidation_price_by_hand() -> None:
    # 1,000 of cash, long 100 at 100, half of 1/10: 1000 + 100 (p − 100) = 100 p / 20, so p = 9000 / 95
    account = Account(D(1000), (Position("X", D(100), D(10_000), 10),), {"X": D(100)}, {"X": perp("X")})
    assert account.liquidation_price("X") == D(9000) / 95
    short = Account(D(1000), (Position("X", D(-100), D(-10_000), 10),), {"X": D(100)}, {"X": perp("X")})
    assert short.liquidation_price("X") == D(11_000) / 105


def test_an_account_by_hand() -> None:
    positions = (Position("X", D(100), D(9_000), 5), Position("Y", D(-10), D(-500), 2))
    account = Account(D(1000), positions, {"X": D(100), "Y": D(40)}, {"X": perp("X"), "Y": perp("Y")})
    assert (account.unrealised, account.equity, account.notional) == (1100, 2100, 10_400)
    assert (account.initial_margin, account.free, account.maintenance) == (2200, 0, D(520))
    assert not account.is_liquidatable
    assert account.liquidation_price("Z") is None


def test_an_account_that_cannot_be_reached_has_no_liquidation_price() -> None:
    account = Account(D(20_000), (Position("X", D(100), D(10_000), 1),), {"X": D(100)}, {"X": perp("X")})
    assert account.liquidation_price("X") is None


POSITIONS = st.tuples(st.integers(-200_000, 200_000).filter(bool), st.integers(1_000, 200_000), st.integers(1_000, 200_000))


@given(cash=st.integers(-(10**6), 10**7), first=POSITIONS, other=POSITIONS)
def test_at_the_liquidation_price_equity_is_maintenance(cash: int, first: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    def position(market: str, row: tuple[int, int, int]) -> Position:
        return Position(market, D(row[0]).scaleb(-3), D(row[0]).scaleb(-3) * D(row[1]).scaleb(-2))

    positions = (position("X", first), position("Y", other))
    marks = {"X": D(first[2]).scaleb(-2), "Y": D(other[2]).scaleb(-2)}
    instruments = {"X": perp("X"), "Y": perp("Y")}
    account = Account(D(cash), positions, marks, instruments)
    price = account.liquidation_price("X")
    sign = 1 if first[0] > 0 else -1
    if price is None:
        tiny = Account(D(cash), positions, {**marks, "X": D("1e-9")}, instruments)
        assert (tiny.equity - tiny.maintenance) * sign > -D("0.001") if sign > 0 else tiny.equity < tiny.maintenance + D("0.001")
        return
    there = Account(D(cash), positions, {**marks, "X": price}, instruments)
    assert abs(there.equity - there.maintenance) < D("1e-15") * max(1, there.notional)
    for nudge, is_liquidatable in ((D("0.999999"), sign > 0), (D("1.000001"), sign < 0)):
        moved = Account(D(cash), positions, {**marks, "X": price * nudge}, instruments)
        assert moved.is_liquidatable is is_liquidatable


def test_the_price_at_a_tier_bound_is_found_once() -> None:
    # long 200: at 100 the notional is exactly 20,000 where maintenance is 1,000 in both tiers
    position = Position("X", D(200), D(20_000))
    assert liquidation_price(position, SMALL_TIERS, D(1000)) == 100
    just_above = liquidation_price(position, SMALL_TIERS, D("999.99"))
    just_below = liquidation_price(position, SMALL_TIERS, D("1000.01"))
    assert just_above is not None and just_below is not None and just_below < 100 < just_above


# --- against the venue ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(shared_data: Path) -> Path:
    folder = shared_data.parent / "fixtures" / "hyperliquid" / "info"
    if not folder.is_dir():
        pytest.skip(f"no recorded responses at {folder}")
    return folder


def leading(value: Decimal, text: str) -> bool:
    """Equal to the last published digit."""
    return abs(value - D(text)) <= D(1).scaleb(D(text).as_tuple().exponent)  # type: ignore[arg-type]


def test_the_published_liquidation_price_of_2026_to_its_last_digit(published: Path) -> None:
    snapshot = json.loads((published / "mainnet_2026-07-19_margin_snapshot.json").read_text())["selection"]
    marks = {row["name"]: D(row["markPx"]) for row in snapshot["assetContexts"]}
    summary = snapshot["crossMarginSummary"]
    whole = maintenance_margin((MarginTier(D(0), 50),), D(summary["totalNtlPos"]))
    assert 0 <= whole - D(snapshot["crossMaintenanceMarginUsed"]) < D("0.001")  # the venue truncates each of some hundred positions
    checked = 0
    for row in snapshot["positions"]:
        coin, size = row["coin"], D(row["szi"])
        tiers = (MarginTier(D(0), row["maxLeverage"]),)  # this account has one tier of 50x everywhere
        assert abs(size) * marks[coin] == D(row["positionValue"])
        assert leading(abs(size) * marks[coin] / row["leverage"]["value"], row["marginUsed"])
        mark = marks[coin]
        position = Position(coin, size, size * mark)  # valued at the mark: its unrealised is 0, so equity is the published one
        own = maintenance_margin(tiers, position.notional(mark))
        others = D(summary["accountValue"]) - (D(snapshot["crossMaintenanceMarginUsed"]) - own)
        price = liquidation_price(position, tiers, others)
        if row["liquidationPx"] is None:
            assert price is None
        else:
            assert price is not None and leading(price, row["liquidationPx"])
            checked += 1
    assert checked == 1


def test_the_published_sums_of_a_cross_account_add_up(published: Path) -> None:
    for file in sorted(published.glob("clearinghouseState_*.json")):
        state: dict[str, Any] = json.loads(file.read_text())["response"]
        rows = [asset["position"] for asset in state["assetPositions"]]
        summary = state["crossMarginSummary"]
        positions, marks = [], {}
        for row in rows:
            size, value = D(row["szi"]), D(row["positionValue"])
            # the published entry is rounded; the cost that gives the published unrealised is exact
            sign = 1 if size > 0 else -1
            positions.append(Position(row["coin"], size, sign * value - D(row["unrealizedPnl"]), row["leverage"]["value"]))
            marks[row["coin"]] = value / abs(size)
        cost = sum((p.cost for p in positions), D(0))
        account = Account(D(summary["totalRawUsd"]) + cost, tuple(positions), marks, {})
        assert abs(account.equity - D(summary["accountValue"])) < D("0.000001")
        assert abs(account.notional - D(summary["totalNtlPos"])) < D("0.000001")
        assert abs(account.initial_margin - D(summary["totalMarginUsed"])) < D("0.00001")
        if "withdrawable" in state:
            assert abs(account.free - D(state["withdrawable"])) < D("0.00001")
