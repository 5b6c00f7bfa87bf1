"""The built-in instrument table against the venue's own answer, and how another market is added."""

import json
import os
from decimal import Decimal
from pathlib import Path

import pytest

from tradeagent.domain.errors import InvalidConfig, NotFound, UnknownKey
from tradeagent.market.instruments import HYPERLIQUID, instrument, known_markets

REPO = Path(__file__).resolve().parents[2]


@pytest.mark.real_data
def test_the_table_says_what_the_venue_said():
    shared = Path(os.environ.get("TRADEAGENT_SHARED", REPO.parent / "shared"))
    recorded = shared / "fixtures" / "hyperliquid" / "info" / "meta_mainnet.json"
    if not recorded.is_file():
        pytest.skip(f"no recorded venue answer at {recorded}")
    meta = json.loads(recorded.read_text())["response"]
    tables = {number: table["marginTiers"] for number, table in meta["marginTables"]}
    universe = {row["name"]: row for row in meta["universe"] if not row.get("isDelisted")}
    for symbol in known_markets():
        row = universe[symbol]
        # A table number below 50 is its own single tier (the venue's convention).
        tiers = tables.get(row["marginTableId"], [{"lowerBound": "0.0", "maxLeverage": row["maxLeverage"]}])
        found = instrument(HYPERLIQUID, symbol)
        assert found.size_decimals == row["szDecimals"], symbol
        assert [(t.lower_bound, t.max_leverage) for t in found.tiers] == [(Decimal(t["lowerBound"]), t["maxLeverage"]) for t in tiers], (
            symbol
        )


def test_forty_liquid_markets_are_known():
    assert len(known_markets()) >= 40
    assert {"BTC", "ETH", "SOL", "HYPE", "FARTCOIN", "kPEPE"} <= set(known_markets())


def test_an_unknown_market_names_the_nearest_and_the_config_key():
    with pytest.raises(NotFound) as caught:
        instrument(HYPERLIQUID, "btc")
    assert caught.value.details["nearest"][0] == "BTC"
    assert "did you mean BTC" in caught.value.hint
    assert "instruments.btc: {size_decimals: 3, max_leverage: 10}" in caught.value.hint


def test_config_adds_a_market_and_wins_over_the_table():
    extra = {"xyz:TSLA": {"size_decimals": 3, "max_leverage": 10}, "BTC": {"size_decimals": 4, "max_leverage": 5}}
    added = instrument(HYPERLIQUID, "xyz:TSLA", extra)
    assert (added.size_decimals, added.price_decimals, added.max_leverage) == (3, 3, 10)
    assert instrument(HYPERLIQUID, "BTC", extra).size_decimals == 4


@pytest.mark.parametrize(
    "entry", [{"size_decimals": 7, "max_leverage": 10}, {"size_decimals": 3}, {"size_decimals": True, "max_leverage": 3}]
)
def test_a_bad_config_entry_names_its_field(entry):
    with pytest.raises(InvalidConfig, match=r"instruments\.ABC\.(size_decimals|max_leverage)"):
        instrument(HYPERLIQUID, "ABC", {"ABC": entry})


def test_an_unknown_config_key_is_refused():
    with pytest.raises(UnknownKey, match=r"instruments\.ABC\.tick"):
        instrument(HYPERLIQUID, "ABC", {"ABC": {"size_decimals": 1, "max_leverage": 3, "tick": 1}})


def test_a_synthetic_market_has_the_grid_of_btc():
    made = instrument("synthetic", "DEMO")
    assert (made.venue, made.symbol, made.size_decimals, made.max_leverage) == ("synthetic", "DEMO", 5, 40)
