"""A sweep says of every algo what a run of its own and the metrics say."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hand_legs import T0
from run_samples import BTC

from tradeagent.algos.bars import Bars
from tradeagent.algos.evaluate import Evaluator
from tradeagent.algos.parse import parse_algo
from tradeagent.algos.spec import AlgoSpec
from tradeagent.domain.errors import InvalidInput
from tradeagent.research.kernel import SweepMarket, SweepTable, simulate, sweep
from tradeagent.research.metrics import metrics_of
from tradeagent.research.run import Leg, Terms

MINUTES = 15
TEXT = """
name: cross
market: BTC
interval: 15m
direction: both
indicators:
  fast: {{kind: sma, length: {fast}}}
  slow: {{kind: sma, length: {slow}}}
entry:
  long: {{required: ["fast > slow"]}}
  short: {{required: ["fast < slow"]}}
exit:
  long: {{stop_loss: {{pct: 1}}, take_profit: {{rr: 2}}}}
  short: {{stop_loss: {{pct: 1}}, take_profit: {{rr: 2}}}}
sizing: {{pct_of_equity: 50}}
leverage: 3
"""


def crosses(*pairs: tuple[int, int]) -> list[AlgoSpec]:
    return [parse_algo(TEXT.format(fast=fast, slow=slow), "cross.yml") for fast, slow in pairs]


def market(rows: int = 1500) -> SweepMarket:
    rng = np.random.default_rng(3)
    close = np.round(50_000 * np.exp(np.cumsum(rng.normal(0, 0.003, rows))), 1)
    opened = np.r_[close[0], close[:-1]]
    high, low = np.maximum(opened, close) + 20.0, np.minimum(opened, close) - 20.0
    step = MINUTES * 60_000
    time = T0 + np.arange(rows, dtype=np.int64) * step
    time[rows // 2 :] += 3 * 86_400_000
    bars = Bars("BTC", step, time, opened, high, low, close, np.full(rows, 100.0), np.full(rows, np.nan))
    hours = np.arange(T0, int(time[-1]), 3_600_000, dtype=np.int64)
    return SweepMarket(BTC, bars, hours, np.full(len(hours), 125_000, np.int64))


@pytest.mark.parametrize("workers", [1, 3])
def test_each_row_is_what_a_run_and_its_metrics_say(workers: int) -> None:
    place, specs, terms = market(), crosses((3, 10), (5, 20), (8, 40), (3, 400), (2, 3)), Terms(first_row=7)
    table = sweep(place, specs, terms, lambda: Evaluator(place.bars).signals, workers)
    for row, spec in enumerate(specs):
        leg = Leg(BTC, place.bars, spec, Evaluator(place.bars).signals(spec), place.funding_hours, place.funding_rates)
        metrics = metrics_of(simulate([leg], terms), [leg], terms)
        for name in SweepTable.__dataclass_fields__:
            expected = metrics[name]
            found = getattr(table, name)[row]
            assert np.isnan(found) if expected is None else found == pytest.approx(float(expected), rel=1e-12), (name, row)
    assert table.trades.min() > 0


def test_an_algo_that_cannot_be_simulated_stops_the_sweep() -> None:
    place = market(50)
    specs = [*crosses((3, 10)), replace(crosses((3, 10))[0], leverage=99)]
    with pytest.raises(Exception, match="leverage: 99"):
        sweep(place, specs, Terms(), lambda: Evaluator(place.bars).signals)
    with pytest.raises(InvalidInput, match="cash"):
        sweep(place, specs, Terms(cash=Decimal(0)), lambda: Evaluator(place.bars).signals)


def test_no_algos_give_an_empty_table() -> None:
    place = market(50)
    assert len(sweep(place, [], Terms(), lambda: Evaluator(place.bars).signals).trades) == 0
