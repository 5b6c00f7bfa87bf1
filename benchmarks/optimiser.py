"""What a trial costs besides its backtest: asking the sampler, telling it, and recording the row, with an objective that does nothing."""

import statistics
import time
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np

from benchmarks.measure import scratch
from benchmarks.report import Floor, Row, main
from tradeagent.algos.spec import ParamRange
from tradeagent.domain.clock import SystemClock
from tradeagent.ledger import trials
from tradeagent.ledger.store import create_ledger
from tradeagent.research.objective import make_objective
from tradeagent.research.optimise import Finished, Outcome, Request, Search, search
from tradeagent.research.samplers import SamplerKind
from tradeagent.research.space import make_space
from tradeagent.research.study_rows import Recorder

RUNS = 3
DAILY = np.random.default_rng(0).normal(0, 0.01, 120)
RANGES = {
    "fast.length": ParamRange(Decimal(5), Decimal(50), whole=True),
    "slow.length": ParamRange(Decimal(20), Decimal(200), Decimal(5), whole=True),
    "rr": ParamRange(Decimal(1), Decimal(4), Decimal("0.1")),
    "kind": ParamRange(choices=("sma", "ema")),
}


def rows() -> list[Row]:
    """CPU ms a trial of a whole study, beside the sampler's library alone."""
    with scratch() as folder:
        found = [
            Row(
                f"one trial of {count} (TPE, four parameters, recorded and counted)",
                _per_trial(folder, SamplerKind.TPE, count),
                "CPU ms",
                bound,
                floor,
            )
            for count, bound, floor in ((100, 5.0, _optuna(100)), (300, 5.0, _optuna(300)), (1000, 5.0, None))
        ]
        found.append(Row("one trial of 300 (random)", _per_trial(folder, SamplerKind.RANDOM, 300), "CPU ms", bound=5))
    return found


def _per_trial(folder: Path, kind: SamplerKind, count: int) -> float:
    return statistics.median(_study(folder / f"{kind}-{count}-{run}.sqlite", kind, count) for run in range(RUNS))


def _study(file: Path, kind: SamplerKind, count: int) -> float:
    plan = Search(make_space(RANGES, dict.fromkeys(RANGES, 1), {}), make_objective("sharpe"), kind, count)
    ledger = create_ledger(file)
    began = time.process_time()
    with Recorder(ledger, "study", SystemClock(), _counted) as recorder:
        for finished in search(plan, _nothing, {}):
            recorder.add(finished)
    took = time.process_time() - began
    ledger.close()
    return took * 1000 / count


def _nothing(requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
    for place, request in enumerate(requests):
        score = -abs(float(request.params["fast.length"]) - 20) + float(request.params["rr"])
        yield place, Outcome({"sharpe": score, "trades": 50, "max_drawdown_pct": 5.0}, DAILY)


def _counted(finished: Finished, fold: int) -> trials.Trial:
    del fold
    return trials.Trial(f"key {finished.trial.number}", "idea@BTC", "optimize", 0.1)


def _optuna(count: int) -> Floor:
    """The library alone on the same space, asked and told one by one."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    began = time.process_time()
    for _ in range(count):
        trial = study.ask()
        fast, _slow = trial.suggest_int("fast.length", 5, 50), trial.suggest_int("slow.length", 20, 200, step=5)
        rr, _kind = trial.suggest_float("rr", 1, 4, step=0.1), trial.suggest_categorical("kind", ["sma", "ema"])
        study.tell(trial, -abs(fast - 20) + rr)
    return Floor("optuna ask and tell", (time.process_time() - began) * 1000 / count)


if __name__ == "__main__":
    main(rows)
