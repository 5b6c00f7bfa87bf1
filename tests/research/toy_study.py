"""A study without a market: a smooth landscape over two lengths and a factor, and jobs that are slow or kill their worker."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

from tradeagent.algos.spec import ParamRange
from tradeagent.research.objective import Objective, make_objective
from tradeagent.research.optimise import Outcome, Request, Search
from tradeagent.research.samplers import SamplerKind
from tradeagent.research.space import Space, make_space

KNOWN = {"fast.length": 10, "slow.length": 60, "factor": Decimal(2), "ma": "sma", "alpha": Decimal("0.1")}


def toy_space(**overrides: str) -> Space:
    ranges = {
        "fast.length": ParamRange(Decimal(5), Decimal(50), whole=True),
        "slow.length": ParamRange(Decimal(20), Decimal(200), Decimal(5), whole=True),
        "factor": ParamRange(Decimal("0.5"), Decimal(5)),
        "ma": ParamRange(choices=("sma", "ema")),
        "alpha": ParamRange(Decimal("0.001"), Decimal("0.5"), log=True, only_if=("ma", "ema")),
    }
    return make_space(ranges, KNOWN, {name.replace("__", "."): text for name, text in overrides.items()})


def toy_plan(n_trials: int = 40, sampler: SamplerKind = SamplerKind.TPE, seed: int = 7, folds: int = 1, min_trades: int = 8) -> Search:
    return Search(toy_space(), make_objective("sharpe", min_trades), sampler, n_trials, seed, folds)


def outcome(request: Request, folds: int = 1) -> Outcome:
    """The best point is near fast 17, slow 120, factor 3; `trades` is the fast length."""
    values = {**KNOWN, **request.params}
    fast, slow, factor = (float(values[name]) for name in ("fast.length", "slow.length", "factor"))
    score = 3 - abs(fast - 17) / 10 - abs(slow - 120) / 50 - (factor - 3) ** 2 - (float(values["alpha"]) if values["ma"] == "ema" else 0.2)
    metrics = {"sharpe": score, "trades": int(fast), "max_drawdown_pct": 3.0, "total_return_pct": score * 4}
    daily = np.random.default_rng(int(fast * 1000 + slow)).normal(score / 100, 0.01, 100)
    if folds < 2:
        return Outcome(metrics, daily)
    scores: list[float] = []
    for fold in range(folds):
        scores.append(score + fold / 10)
        wanted = request.medians[fold]
        if fold < folds - 1 and wanted is not None and sum(scores) / len(scores) < wanted:
            return Outcome(metrics, daily, tuple(scores), pruned=True)
    return Outcome(metrics, daily, tuple(scores))


@dataclass(frozen=True)
class ToyJob:
    """`mark`: the first evaluation anywhere writes its process id there and waits; `kills_once`: it then kills its own process."""

    seconds: float = 0.0
    mark: Path | None = None
    kills_once: bool = False
    key: str = "toy"
    objective: Objective | None = None

    def open(self) -> Callable[[Request], Outcome]:
        def evaluate(request: Request) -> Outcome:
            if self.mark is not None and not self.mark.exists():
                self.mark.write_text(str(os.getpid()))
                if self.kills_once:
                    os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(self.seconds)
            return outcome(request)

        return evaluate
