"""Overfitting statistics against the published example, against a literal CSCV, and on markets whose answer is known."""

import math
import time
from itertools import combinations

import numpy as np
import pytest

from tradeagent.research.statistics import (
    bootstrap,
    dsr,
    expected_maximum,
    pbo,
    probabilistic_sharpe,
    psr,
    variance_of,
)

DAY = 86_400_000


def test_the_example_of_the_2014_paper():
    threshold = expected_maximum(100, 0.5 / 250)
    assert threshold == pytest.approx(0.1132, abs=5e-5)
    assert probabilistic_sharpe(2.5 / math.sqrt(250), threshold, 1250, -3, 10) == pytest.approx(0.9004, abs=5e-5)


def test_one_trial_has_nothing_to_deflate():
    returns = np.random.default_rng(1).normal(0.001, 0.01, 200)
    assert expected_maximum(1, 0.3) == 0.0
    assert dsr(returns, 1, [0.1]) == psr(returns) is not None


def test_more_trials_deflate_more():
    returns, sharpes = np.random.default_rng(2).normal(0.0015, 0.01, 300), [0.01, 0.05, 0.12, -0.04]
    found = [dsr(returns, trials, sharpes) for trials in (1, 4, 20, 200, 10_000)]
    assert found == sorted(found, reverse=True) and found[0] > 0.9 > found[-1]


def test_psr_uses_population_moments():
    returns = np.random.default_rng(3).gamma(2.0, 0.01, 400) - 0.0195
    centred = returns - returns.mean()
    sharpe = returns.mean() / returns.std(ddof=1)
    skew, kurtosis = np.mean(centred**3) / returns.std() ** 3, np.mean(centred**4) / returns.std() ** 4
    assert psr(returns, 0.02) == pytest.approx(probabilistic_sharpe(sharpe, 0.02, 400, skew, kurtosis))


def test_too_little_or_nothing_to_judge_is_null():
    assert psr(np.random.default_rng(4).normal(0, 1, 29)) is None
    assert psr(np.zeros(100)) is None
    assert probabilistic_sharpe(3.0, 0.0, 100, 5.0, 1.0) is None
    assert variance_of([0.4]) == 0.0


def literal_cscv(returns, blocks):
    """The paper's words in code: every split, Sharpe of the joined blocks, the winner's average rank outside."""
    rows, trials = returns.shape
    length = rows // blocks
    cut = returns[rows % blocks :].reshape(blocks, length, trials)
    lost = total = 0
    for inside in combinations(range(blocks), blocks // 2):
        outside = [b for b in range(blocks) if b not in inside]
        first, second = (sharpe_columns(cut[list(part)].reshape(-1, trials)) for part in (inside, outside))
        winner = int(np.argmax(first))
        rank = np.count_nonzero(second < second[winner]) + (np.count_nonzero(second == second[winner]) + 1) / 2
        share = rank / (trials + 1)
        lost += math.log(share / (1 - share)) <= 0
        total += 1
    return lost / total


def sharpe_columns(part):
    deviation = part.std(axis=0, ddof=1)
    return np.round(np.divide(part.mean(axis=0), deviation, out=np.zeros(part.shape[1]), where=deviation > 1e-12), 12)


@pytest.mark.parametrize(("rows", "trials"), [(80, 2), (83, 7), (159, 12), (100, 31)])
def test_block_sums_give_what_the_paper_says(rows, trials):
    rng = np.random.default_rng(rows)
    returns = rng.normal(0.001, 0.01, (rows, trials))
    returns[:, -1] = returns[:, 0]
    returns[:, trials // 2] = 0.0
    found = pbo(returns)
    assert (found.blocks, found.splits, found.trials) == (8, 70, trials)
    assert found.value == literal_cscv(returns, 8)


def test_sixteen_blocks_from_160_rows_on():
    returns = np.random.default_rng(9).normal(0, 0.01, (170, 5))
    found = pbo(returns)
    assert (found.blocks, found.splits) == (16, 12_870)
    assert found.value == literal_cscv(returns, 16)


def test_too_few_rows_or_trials_have_no_pbo():
    assert pbo(np.ones((79, 5))) is None
    assert pbo(np.ones((500, 1))) is None


def test_noise_is_overfitted_half_of_the_time_and_an_edge_hardly_ever():
    seeds = range(50)
    noise = [pbo(np.random.default_rng(seed).normal(0, 0.01, (500, 30))).value for seed in seeds]
    assert 0.45 < np.mean(noise) < 0.55 and max(noise) - min(noise) > 0.2
    edge = []
    for seed in range(20):
        returns = np.random.default_rng(seed).normal(0, 0.01, (500, 30))
        returns[:, seed % 30] += 0.003
        edge.append(pbo(returns).value)
    assert np.mean(edge) < 0.05


def test_pbo_of_many_trials_is_quick_and_thins_out_over_a_thousand():
    returns = np.random.default_rng(10).normal(0, 0.01, (365, 200))
    began = time.process_time()
    pbo(returns)
    assert time.process_time() - began < 2
    many = np.random.default_rng(11).normal(0, 0.01, (90, 1_500))
    rows = np.linspace(0, 1_499, 1_000).round().astype(int)
    assert pbo(many) == pbo(many[:, rows]) and pbo(many).trials == 1_000


def literal_bootstrap(returns, years_per_span, seed):
    rng, periods = np.random.default_rng(seed), len(returns)
    block = max(1, round(periods ** (1 / 3)))
    starts = rng.integers(0, periods, size=(2_000, math.ceil(periods / block)))
    figures = []
    for row in starts:
        drawn = np.concatenate([[returns[(start + k) % periods] for k in range(block)] for start in row])[:periods]
        curve = np.concatenate([[1.0], np.cumprod(1 + drawn)])
        drawdown = np.max(1 - curve / np.maximum.accumulate(curve))
        figures.append((drawn.mean() / drawn.std(ddof=1) * math.sqrt(365), 100 * (curve[-1] ** years_per_span - 1), 100 * drawdown))
    return [tuple(np.quantile(column, [0.025, 0.975])) for column in zip(*figures, strict=True)]


def test_intervals_are_those_of_a_literal_circular_block_bootstrap():
    returns = np.random.default_rng(12).normal(0.001, 0.02, 50)
    found = bootstrap(returns, DAY)
    sharpe, annual, drawdown = literal_bootstrap(returns, 365 / 50, 0)
    assert found.sharpe == pytest.approx(sharpe)
    assert found.annual_return_pct == pytest.approx(annual)
    assert found.max_drawdown_pct == pytest.approx(drawdown)
    assert bootstrap(returns, DAY) == found != bootstrap(returns, DAY, seed=1)


def test_intervals_of_too_little_are_null():
    assert bootstrap(np.array([0.01]), DAY).as_dict() == {"sharpe": None, "annual_return_pct": None, "max_drawdown_pct": None}
    week = bootstrap(np.array([0.01, -0.02, 0.03]), DAY)
    assert week.annual_return_pct is None and week.sharpe is not None
    assert bootstrap(np.zeros(40), DAY).sharpe == (0.0, 0.0)
