"""One point on bars: a part of the rows is a market of its own that starts flat, and a job gives the same outcome wherever it is opened."""

import pickle
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from tradeagent.algos.bars import Bars
from tradeagent.algos.evaluate import Evaluator
from tradeagent.algos.parse import parse_algo
from tradeagent.algos.spec import Param
from tradeagent.market.synthetic import synthetic_market
from tradeagent.research.evaluation import MarketJob, part_of, spec_at
from tradeagent.research.kernel import simulate
from tradeagent.research.metrics import daily_returns, quick
from tradeagent.research.objective import make_objective
from tradeagent.research.optimise import Request, Search, TrialState, judge
from tradeagent.research.run import Leg, Terms
from tradeagent.research.space import make_space

ALGO = """
name: macd_atr
market: BTC
interval: 1h
direction: both
indicators:
  macd: {kind: macd, fast: 12, slow: 26, signal: 9}
  ma: {kind: sma, length: 30}
entry:
  long: {required: ["macd.hist > 0", "close > ma"]}
  short: {required: ["macd.hist < 0", "close < ma"]}
exit:
  long: {stop_loss: {atr: 2}, take_profit: {rr: 1.5}, trailing: true}
  short: {stop_loss: {pct: 2}, take_profit: {pct: 3}}
sizing: {dynamic: {pct: 80, by: rsi}}
"""
POINT: Mapping[str, Param] = {"ma.length": 20, "macd.fast": 8}


@pytest.fixture(scope="module")
def job() -> MarketJob:
    text = ALGO.replace("  ma: {", "  rsi: {kind: rsi, length: 14}\n  ma: {")
    made = synthetic_market(11, 1500, "BTC", 3_600_000)
    bars = made.bars
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    hours = made.funding.ts // 3_600_000 * 3_600_000
    rates = np.rint(made.funding.rate * 1e10).astype(np.int64)
    data = Bars("BTC", 3_600_000, bars.ts, *columns, np.full(len(bars), np.nan))
    spec = parse_algo(text, "macd_atr.yml")
    return MarketJob("test", spec, made.instrument, data, hours, rates, Terms(), make_objective("sharpe"))


def whole_leg(job: MarketJob) -> Leg:
    spec = spec_at(job.spec, POINT)
    return Leg(job.instrument, job.bars, spec, Evaluator(job.bars).signals(spec), job.funding_hours, job.funding_rates)


@pytest.mark.parametrize(("first", "end"), [(0, 1500), (400, 1100), (1, 1500), (777, 1024), (1200, 1500)])
def test_a_part_is_what_the_whole_trades_there_from_flat(job: MarketJob, first: int, end: int) -> None:
    """The same rows once cut out, and once after bars that only feed the indicators."""
    whole = whole_leg(job)
    terms = Terms(close_at_end=True)
    cut, later = part_of(whole, first, end), part_of(whole, 0, end)
    alone, after = simulate([cut], terms), simulate([later], replace(terms, first_row=first))
    assert len(alone.trades) > 5
    for name in ("pnl" if hasattr(alone.trades, "pnl") else "gross", "fees", "funding", "entry_price", "exit_price", "size", "exit_reason"):
        assert getattr(alone.trades, name).tolist() == getattr(after.trades, name).tolist(), name
    assert (alone.trades.entry_row + first).tolist() == after.trades.entry_row.tolist()
    assert alone.equity.tolist() == after.equity[first:].tolist()


def test_a_request_of_rows_gives_what_simulating_them_gives(job: MarketJob) -> None:
    outcome = job.open()(Request(POINT, rows=(400, 1100)))
    leg, terms = part_of(whole_leg(job), 400, 1100), replace(job.terms, close_at_end=True)
    run = simulate([leg], terms)
    expected = quick(run, [leg], terms, "sharpe", "trades", "max_drawdown_pct", "net_pnl_quote")
    assert {name: outcome.metrics[name] for name in expected if name in outcome.metrics}.items() <= expected.items()
    assert outcome.metrics["trades"] == len(run.trades)
    assert outcome.daily.tolist() == daily_returns(run, leg.bars, terms).tolist()


def test_what_comes_before_and_after_a_part_cannot_be_seen_in_it(job: MarketJob) -> None:
    """Train rows do not know the test: other prices behind them change nothing."""
    rng = np.random.default_rng(5)
    noise = np.concatenate([np.ones(1000), 1 + rng.normal(0, 0.02, 500)])
    columns = {name: np.round(getattr(job.bars, name) * noise, 1) for name in ("open", "high", "low", "close")}
    columns["high"] = np.maximum.reduce([columns[name] for name in ("open", "high", "low", "close")])
    columns["low"] = np.minimum.reduce([columns[name] for name in ("open", "high", "low", "close")])
    other = replace(job, bars=replace(job.bars, **columns))
    request = Request(POINT, rows=(100, 1000))
    one, two = job.open()(request), other.open()(request)
    assert one.metrics == two.metrics and one.daily.tolist() == two.daily.tolist()


def test_a_job_that_travelled_gives_the_same_outcome(job: MarketJob) -> None:
    travelled: MarketJob = pickle.loads(pickle.dumps(job))
    for request in (Request(POINT), Request({"ma.length": 45}), Request({}, rows=(200, 900))):
        one, two = job.open()(request), travelled.open()(request)
        assert one.metrics == two.metrics and one.daily.tolist() == two.daily.tolist()


def test_a_point_that_the_algo_refuses_is_an_invalid_trial(job: MarketJob) -> None:
    outcome = job.open()(Request({"macd.fast": 0}))
    assert outcome.refused and not outcome.metrics
    space = make_space({}, {"macd.fast": 12}, {"macd.fast": "0:5"})
    trial = judge(Search(space, job.objective), 3, {"macd.fast": 0}, outcome)
    assert trial.state is TrialState.INVALID and trial.reason == outcome.refused


def test_folds_are_scored_apart_and_dropped_below_the_median(job: MarketJob) -> None:
    folded = replace(job, folds=3, objective=make_objective("total_return_pct"))
    evaluate = folded.open()
    kept = evaluate(Request(POINT, medians=(None, None, None)))
    assert len(kept.folds) == 3 and not kept.pruned
    parts = [job.open()(Request(POINT, rows=rows)).metrics["total_return_pct"] for rows in ((0, 500), (500, 1000), (1000, 1500))]
    assert list(kept.folds) == parts
    first = float(kept.folds[0] or 0)
    dropped = evaluate(Request(POINT, medians=(first + 0.1, None, None)))
    assert dropped.pruned and dropped.folds == kept.folds[:1]
    assert not evaluate(Request(POINT, medians=(first, None, 1e9))).pruned


def test_a_python_algo_takes_numbers(job: MarketJob) -> None:
    spec = replace(job.spec, python="def signals(bars, **params): ...", constants={})
    assert spec_at(spec, {"length": 5, "level": Decimal("0.5")}).constants == {"length": 5, "level": Decimal("0.5")}
