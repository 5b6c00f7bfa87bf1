"""What a backtest is asked for survives being stored, and warnings count what a reader must know."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_samples import HOUR, Terms

from tradeagent.algos.store import built_in, from_file
from tradeagent.domain.costs import FeeSchedule
from tradeagent.domain.errors import DataError
from tradeagent.market.instruments import instrument
from tradeagent.market.series import SeriesKey, bar_series
from tradeagent.market.synthetic import START_MS, store_synthetic, synthetic_market
from tradeagent.market.warehouse import Warehouse
from tradeagent.research.backtest import Setup, from_config, kernel_version, load, run_setup, spec_for, terms_of
from tradeagent.research.result import ORDER, told

LATER = 4_102_444_800_000
BPS = st.integers(0, 500).map(lambda tenths: Decimal(tenths) / 10)


@given(
    cash=st.integers(10, 10**6),
    taker=BPS,
    slippage=BPS,
    path=st.sampled_from(["adverse", "nearest"]),
    leverage=st.none() | st.integers(1, 50),
    quantity=st.none() | st.integers(1, 10**6).map(lambda lots: Decimal(lots) / 10**5),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    span=st.tuples(st.none() | st.integers(0, 10**13), st.none() | st.integers(0, 10**13)),
)
def test_a_setup_survives_being_stored(cash, taker, slippage, path, leverage, quantity, flags, span) -> None:
    terms = Terms(Decimal(cash), FeeSchedule(taker / 10_000, taker / 20_000), slippage, path, leverage, quantity, flags[0], flags[1])
    setup = Setup("hyperliquid", "BTC", HOUR, *span, {"fast": 10, "mode": "strict"}, terms, flags[2], "algo")
    assert from_config(json.loads(json.dumps(setup.as_config()))) == setup


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """500 synthetic hours under a real venue's name: the first 10 without volume, one hole, one outage, and funding that misses hours."""
    made = synthetic_market(3, 500, "BTC", HOUR)
    warehouse = Warehouse(tmp_path_factory.mktemp("bars"))
    columns = {name: np.array(values) for name, values in made.bars.columns().items()}
    columns["volume"][:10] = 0
    columns["volume"][200] = 0
    for name in ("open", "high", "low"):
        columns[name][200] = columns["close"][200]
    keep = np.ones(500, bool)
    keep[300:304] = False
    warehouse.append_bars(bar_series(SeriesKey("hyperliquid", "BTC", HOUR), *(values[keep] for values in columns.values())))
    store_synthetic(warehouse, made)
    return warehouse


def run_on(warehouse: Warehouse, algo=None, now_ms=LATER, **changes):
    stored = algo or built_in("sma_cross")
    setup = replace(Setup("hyperliquid", "BTC", HOUR, terms=terms_of(stored.spec)), **changes)
    loaded = load(warehouse, stored, setup, instrument(setup.venue, "BTC"), now_ms)
    run, _ = run_setup([loaded], setup)
    return told([loaded], setup, run)


def test_warnings_count_what_a_reader_must_know(warehouse: Warehouse) -> None:
    found = {row["code"]: row["count"] for row in run_on(warehouse)["warnings"]}
    assert (found["backfilled"], found["zero_volume"], found["missing_bars"]) == (10, 1, 4)
    assert found["funding_missing"] == 500
    assert "funding_missing" not in {row["code"] for row in run_on(warehouse, has_funding=False)["warnings"]}


def test_the_document_is_plain_json_in_a_fixed_order(warehouse: Warehouse) -> None:
    found = run_on(warehouse, venue="synthetic")
    json.dumps(found, allow_nan=False)
    assert set(found) <= set(ORDER) and found["data"]["news"] == "none"
    assert found["fill_model"]["limits"] == "none; see limits_impact"


def test_too_few_bars_and_an_empty_span_are_named(warehouse: Warehouse) -> None:
    with pytest.raises(DataError, match="sma_cross needs more than 49 bars of 1h"):
        run_on(warehouse, until_ms=START_MS + 40 * HOUR)
    with pytest.raises(DataError, match=r"no bars of BTC 1h from .* they run from"):
        run_on(warehouse, from_ms=START_MS + 10_000 * HOUR)


def test_a_parameter_reaches_the_algo_and_an_unknown_one_is_named() -> None:
    algo = built_in("sma_cross")
    setup = Setup("hyperliquid", "BTC", HOUR, params={"fast": "7"})
    assert spec_for(algo, setup).indicators["fast"].params["length"] == 7
    assert (spec_for(algo, setup).market, spec_for(algo, setup).interval_ms) == ("BTC", HOUR)


def test_a_python_algo_takes_any_number_its_function_knows(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def signals(bars, length=3):\n    return 0 * bars['close']\n")
    assert spec_for(from_file(file), Setup("hyperliquid", "BTC", HOUR, params={"length": "12"})).constants == {"length": Decimal(12)}


def test_the_kernel_names_itself_by_its_source() -> None:
    assert len(kernel_version()) == 12 and kernel_version() == kernel_version()
