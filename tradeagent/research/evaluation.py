"""One point of a search on real bars: parameters into the algo, signals, a pass of the kernel, and the metrics that the search reads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from tradeagent.algos.bars import Bars
from tradeagent.algos.evaluate import Evaluator
from tradeagent.algos.params import with_params
from tradeagent.algos.signals import Distance, Levels, Signals
from tradeagent.algos.spec import AlgoSpec, Param
from tradeagent.domain.errors import InvalidInput, UserError
from tradeagent.domain.instrument import Instrument
from tradeagent.research.metrics import daily_returns, quick
from tradeagent.research.objective import Objective
from tradeagent.research.optimise import Outcome, Request
from tradeagent.research.run import Ints, Leg, Run, Terms

ALWAYS = ("sharpe", "trades", "win_rate", "net_pnl_quote", "total_return_pct", "max_drawdown_pct")


@dataclass(frozen=True, slots=True, eq=False)
class MarketJob:
    """Everything a worker needs to evaluate points of one algo on one market. With `folds` > 1 a point is scored on as many equal parts of
    its rows, each starting flat and closed at its end, and on all of them at once for its metrics."""

    key: str
    spec: AlgoSpec
    instrument: Instrument
    bars: Bars
    funding_hours: Ints
    funding_rates: Ints
    terms: Terms
    objective: Objective
    folds: int = 1

    def open(self) -> Callable[[Request], Outcome]:
        evaluator = Evaluator(self.bars)

        def evaluate(request: Request) -> Outcome:
            try:
                return _evaluated(self, evaluator, request)
            except UserError as error:
                return Outcome({}, refused=error.message)

        return evaluate


def spec_at(spec: AlgoSpec, params: Mapping[str, Param]) -> AlgoSpec:
    """The algo at one point. A Python algorithm takes any name its function knows, and numbers only."""
    if spec.python is None:
        return with_params(spec, params)
    for name, value in params.items():
        if isinstance(value, str):
            raise InvalidInput(f"param {name}: {value!r} is not a number, and a Python algorithm takes numbers", hint=f"{name}=5:50:5")
    return replace(spec, constants={**spec.constants, **{name: Decimal(value) for name, value in params.items()}})


def part_of(leg: Leg, first: int, end: int) -> Leg:
    """The rows `first` up to `end` of a leg: nothing of what is before acts in them, as its signals were."""
    bars, signals = leg.bars.rows(first, end), leg.signals
    opened, closed = int(bars.time[0]), int(bars.time[-1]) + bars.interval_ms
    low, high = np.searchsorted(leg.funding_hours, (opened - bars.interval_ms, closed), side="right")
    cut = Signals(
        signals.codes[first:end],
        max(0, signals.warmup - first),
        _levels(signals.long, first, end),
        _levels(signals.short, first, end),
        None if signals.scale is None else signals.scale[first:end],
    )
    return replace(leg, bars=bars, signals=cut, funding_hours=leg.funding_hours[low:high], funding_rates=leg.funding_rates[low:high])


def _evaluated(job: MarketJob, evaluator: Evaluator, request: Request) -> Outcome:
    spec = spec_at(job.spec, request.params)
    signals = evaluator.signals(spec)
    whole = Leg(job.instrument, job.bars, spec, signals, job.funding_hours, job.funding_rates)
    terms = job.terms
    if request.rows is not None:
        whole, terms = part_of(whole, *request.rows), replace(terms, close_at_end=True)
    scores: list[float | None] = []
    if job.folds > 1:
        edges = np.linspace(0, len(whole.bars), job.folds + 1).astype(int).tolist()
        closing = replace(terms, close_at_end=True)
        for fold in range(job.folds):
            leg = part_of(whole, edges[fold], edges[fold + 1])
            run = _simulated(leg, closing)
            scores.append(job.objective.score(quick(run, [leg], closing, *job.objective.metrics)))
            if fold < job.folds - 1 and _is_behind(scores, request.medians):
                return Outcome({}, folds=tuple(scores), pruned=True)
    run = _simulated(whole, terms)
    names = dict.fromkeys([*ALWAYS, *job.objective.metrics])
    found = quick(run, [whole], terms, *names)
    return Outcome({name: found[name] for name in names}, daily_returns(run, whole.bars, terms), tuple(scores))


def _is_behind(scores: list[float | None], medians: tuple[float | None, ...]) -> bool:
    """Whether the mean score so far is below what half of the earlier trials had here; a fold without a score cannot end well."""
    wanted = medians[len(scores) - 1] if medians else None
    known = [score for score in scores if score is not None]
    return wanted is not None and (len(known) < len(scores) or sum(known) / len(known) < wanted)


def _simulated(leg: Leg, terms: Terms) -> Run:
    from tradeagent.research.kernel import simulate

    return simulate([leg], terms)


def _levels(levels: Levels, first: int, end: int) -> Levels:
    return Levels(*(_distance(each, first, end) for each in (levels.stop, levels.target, levels.trailing, levels.buy_back)))


def _distance(distance: Distance | None, first: int, end: int) -> Distance | None:
    return distance if distance is None or distance.series is None else replace(distance, series=distance.series[first:end])
