"""An account computed anew: isolated positions, tiers, a position's own leverage, other marks than the venue's; and wrong files."""

import json
from copy import deepcopy
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeagent.domain.errors import DataError, NotFound
from tradeagent.hyperliquid.evaluation import Evaluation, evaluate
from tradeagent.hyperliquid.wire import Record, read_record

BTC = {"szDecimals": 5, "name": "BTC", "maxLeverage": 40, "marginTableId": 56}
ETH = {"szDecimals": 4, "name": "ETH", "maxLeverage": 25, "marginTableId": 25}
TABLE = [
    56,
    {
        "description": "tiered 40x",
        "marginTiers": [{"lowerBound": "0.0", "maxLeverage": 40}, {"lowerBound": "150000000.0", "maxLeverage": 20}],
    },
]


def held(coin: str, szi: str, entry: str, **more: Any) -> dict[str, Any]:
    return {"type": "oneWay", "position": {"coin": coin, "szi": szi, "entryPx": entry, "leverage": {"type": "cross", "value": 20}, **more}}


def document(*positions: dict[str, Any], raw: str = "0.0", marks: Any = None) -> dict[str, Any]:
    """A complete account whose published totals are not used, because no position value is published."""
    summary = {"accountValue": "0.0", "totalNtlPos": "0.0", "totalRawUsd": raw, "totalMarginUsed": "0.0"}
    return {
        "meta": {"universe": [BTC, ETH], "marginTables": [TABLE]},
        "marks": marks or {"BTC": "100000.0", "ETH": "3000.0"},
        "clearinghouseState": {"marginSummary": summary, "crossMarginSummary": summary, "assetPositions": list(positions), "time": 0},
    }


def evaluated(data: dict[str, Any]) -> Evaluation:
    return evaluate(Record.model_validate(data))


def test_the_isolated_position_of_the_documentation() -> None:
    """hyperliquid.md §6: margin used 4.967826 is its own equity, and it is liquidated at 2866.26936529."""
    leverage = {"type": "isolated", "value": 20, "rawUsd": "-95.059824"}
    mark = Decimal("100.02765") / Decimal("0.0335")
    data = document(held("ETH", "0.0335", "2986.3", leverage=leverage, maxLeverage=50), raw="500.0", marks={"ETH": mark})
    found = evaluated(data)

    (row,) = found.positions
    assert (row.computed.margin_used, row.margin_mode) == (Decimal("4.967826"), "isolated")
    assert row.computed.liquidation_price is not None
    assert row.computed.liquidation_price.quantize(Decimal("1e-8")) == Decimal("2866.26936529")
    assert (found.cross.equity, found.account.equity) == (Decimal(500), Decimal("504.967826"))
    assert (found.cross.maintenance_margin, found.withdrawable) == (Decimal(0), Decimal(500))


def test_a_cross_position_does_not_lend_to_an_isolated_one() -> None:
    leverage = {"type": "isolated", "value": 10, "rawUsd": "-2800.0"}
    alone = evaluated(document(held("ETH", "1.0", "3000.0", leverage=leverage), raw="0.0"))
    beside = evaluated(document(held("ETH", "1.0", "3000.0", leverage=leverage), held("BTC", "1.0", "100000.0"), raw="-50000.0"))
    assert alone.positions[0] == beside.positions[0]
    assert beside.cross.equity == 50_000
    assert beside.account.equity == 50_200


def test_a_position_pays_by_the_tiers_of_its_market() -> None:
    """2,000 BTC at 100,000: 200 M × 2.5 % − the deduction 150 M × (2.5 % − 1.25 %)."""
    (row,) = evaluated(document(held("BTC", "2000.0", "100000.0"), raw="-190000000.0")).positions
    assert (row.max_leverage, row.computed.maintenance_margin) == (20, Decimal(3_125_000))


def test_a_position_s_own_maximum_leverage_replaces_the_tiers() -> None:
    (row,) = evaluated(document(held("BTC", "2000.0", "100000.0", maxLeverage=10), raw="-190000000.0")).positions
    assert (row.max_leverage, row.computed.maintenance_margin) == (10, Decimal(10_000_000))
    assert row.computed.liquidation_price == Decimal(100_000)  # equity is 10 M too


def test_the_published_totals_stand_for_positions_that_are_not_listed() -> None:
    data = document(held("BTC", "1.0", "100000.0", positionValue="100000.0", unrealizedPnl="0.0"), raw="-80000.0")
    data["clearinghouseState"]["crossMaintenanceMarginUsed"] = "2000.0"
    data["clearinghouseState"]["crossMarginSummary"] = {
        "accountValue": "25000.0",
        "totalNtlPos": "130000.0",
        "totalRawUsd": "-80000.0",
        "totalMarginUsed": "6500.0",
    }
    found = evaluated(data)
    assert not found.is_complete
    assert list(map(int, (found.cross.equity, found.cross.margin_used, found.cross.maintenance_margin))) == [25_000, 6_500, 2_000]
    # 25,000 + (p − 100,000) = 2,000 + (p − 100,000) · 1.25 %
    assert found.positions[0].computed.liquidation_price == (Decimal(75_750) / Decimal("0.9875")).quantize(Decimal("1e-10"))


def test_what_is_used_up_leaves_nothing_to_withdraw() -> None:
    """100 USDC of equity carry 100,000 of notional: 5,000 would be used, 1,250 must be there."""
    found = evaluated(document(held("BTC", "1.0", "100000.0"), raw="-99900.0000000001"))
    assert (found.withdrawable, found.is_liquidatable) == (Decimal(0), True)
    assert found.cross.equity == Decimal(100)  # the noise beyond 10⁻⁶ is the venue's floating point


def test_an_isolated_position_may_be_the_one_that_is_liquidated() -> None:
    leverage = {"type": "isolated", "value": 20, "rawUsd": "-2990.0"}
    found = evaluated(document(held("ETH", "1.0", "3000.0", leverage=leverage), raw="500.0"))
    assert found.is_liquidatable
    assert found.cross.maintenance_margin == Decimal(0)


def test_a_position_of_its_own_leverage_needs_no_margin_table_and_a_flat_row_is_no_position(tmp_path: Path) -> None:
    data = document(held("BTC", "1.0", "100000.0", maxLeverage=10), held("ETH", "0.0", "3000.0"), raw="-80000.0", marks={"BTC": "100000"})
    data["meta"]["marginTables"] = []
    file = tmp_path / "account.json"
    file.write_text(json.dumps(data))
    (row,) = evaluate(read_record(file)).positions
    assert (row.market, row.computed.maintenance_margin) == ("BTC", Decimal(5_000))


def test_marks_may_be_the_contexts_of_the_venue_in_the_order_of_the_universe() -> None:
    contexts = [{"markPx": "100000.0", "oraclePx": "1.0"}, {"markPx": "3000.0", "midPx": None}]
    assert evaluated(document(held("ETH", "1.0", "2900.0"), marks=contexts)) == evaluated(document(held("ETH", "1.0", "2900.0")))


@given(size=st.integers(1, 10**7), cash=st.integers(1, 10**9), mark=st.integers(1_000, 10**8), long=st.booleans())
def test_at_its_liquidation_price_an_account_has_just_its_maintenance(size: int, cash: int, mark: int, long: bool) -> None:
    szi = Decimal(size).scaleb(-4) * (1 if long else -1)
    raw = str(Decimal(cash) - szi * 3000)
    price = (
        evaluated(document(held("ETH", str(szi), "3000.0"), raw=raw, marks={"ETH": f"{mark}e-2"})).positions[0].computed.liquidation_price
    )
    if price is None:
        return
    there = evaluated(document(held("ETH", str(szi), "3000.0"), raw=raw, marks={"ETH": str(price)}))
    assert abs(there.cross.equity - there.cross.maintenance_margin) <= Decimal("0.000003") + abs(szi) * Decimal("1e-10")


GOOD = document(held("BTC", "1.0", "100000.0"), held("ETH", "-2.0", "3000.0"), raw="-80000.0")
POSITION = ("clearinghouseState", "assetPositions", 1, "position")


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("meta",), None, "meta: is missing"),
        (("meta", "universe", 0, "szDecimals"), "five", "meta.universe[0].szDecimals: must be a valid integer, not 'five'"),
        (("meta", "universe", 0, "maxLeverage"), 0, "meta.universe[0].maxLeverage: must be greater than or equal to 1, not 0"),
        (("meta", "marginTables", 0, 1, "marginTiers", 0, "lowerBound"), "5.0", "meta.marginTables[0][1]: lower bounds must begin at 0"),
        (("meta", "marginTables"), [], "meta.marginTables: there is no table 56, which BTC uses"),
        (("marks", "ETH"), "abc", "marks.ETH: 'abc' is not a number"),
        (("marks", "ETH"), "0.0", "marks.ETH: must be greater than 0, not '0.0'"),
        (("marks", "ETH"), None, "marks.ETH: is missing, and clearinghouseState.assetPositions[1].position needs it"),
        (("marks",), "none", "marks: must be a valid"),
        ((*POSITION, "szi"), "NaN", "clearinghouseState.assetPositions[1].position.szi: 'NaN' is not a number"),
        ((*POSITION, "szi"), True, "clearinghouseState.assetPositions[1].position.szi: True is not a number"),
        ((*POSITION, "entryPx"), None, "clearinghouseState.assetPositions[1].position.entryPx: is missing"),
        ((*POSITION, "coin"), "BTC", "clearinghouseState.assetPositions[1].position.coin: BTC is there twice"),
        ((*POSITION, "coin"), "DOGE", "meta.universe: there is no DOGE"),
        ((*POSITION, "leverage"), {"type": "isolated", "value": 3}, "position.leverage: rawUsd is missing, and the position is isolated"),
        ((*POSITION, "leverage", "type"), "shared", "position.leverage.type: must be 'cross' or 'isolated', not 'shared'"),
        (
            ("clearinghouseState", "crossMarginSummary", "totalRawUsd"),
            None,
            "clearinghouseState.crossMarginSummary.totalRawUsd: is missing",
        ),
    ],
)
def test_a_wrong_file_is_told_by_name_and_field(path: tuple[str | int, ...], value: object, said: str, tmp_path: Path) -> None:
    data: Any = deepcopy(GOOD)
    inner = data
    for part in path[:-1]:
        inner = inner[part]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    file = tmp_path / "account.json"
    file.write_text(json.dumps(data))
    with pytest.raises(DataError) as caught:
        read_record(file)
    assert caught.value.message.startswith(f"{file}: ")
    assert said in caught.value.message
    assert caught.value.details["file"] == str(file)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "said"), [("[1]", "a list, not an object"), ('{"meta": \n}', "not JSON at line 2"), ("", "not JSON at line 1")]
)
def test_a_file_that_holds_no_account_is_told(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "account.json"
    file.write_text(text)
    with pytest.raises(DataError, match=said):
        read_record(file)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no such file"):
        read_record(tmp_path / "account.json")
