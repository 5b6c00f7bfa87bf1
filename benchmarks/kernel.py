"""One algo on a year of minutes: CPU per bar with averages, signals and every rule of the venue; memory; the first run of a process."""

import gc
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from benchmarks.crosses import YEAR, cross, keep, kept, minutes
from benchmarks.measure import child, median, peak_of, scratch, spent
from benchmarks.report import Floor, Row, main
from tradeagent.algos.evaluate import Evaluator
from tradeagent.research.kernel import simulate, sweep
from tradeagent.research.kernel.check import look_at
from tradeagent.research.metrics import metrics_of
from tradeagent.research.run import Leg, Terms

RUNS = 15
TERMS = Terms(cash=Decimal(100_000))
COLD = """
import time
began = time.perf_counter()
from benchmarks.kernel import first_run
first_run()
print(time.perf_counter() - began)
"""


class Round(NamedTuple):
    """CPU ns a bar of all that waits for memory, measured within a second or two; rounds are ordered by their floor."""

    floor: float
    first: float
    again: float
    cold: float
    alone: float
    metrics: float


def rows() -> list[Row]:
    """ns a bar of the kernel alone, with averages and signals, and of the metrics; peak memory; a cold start; a sweep.

    What waits for memory is measured in rounds between the other things, and told of the round in which the floor was lowest.
    """
    place, spec = minutes(), cross(20, 100)
    leg = Leg(place.instrument, place.bars, spec, Evaluator(place.bars).signals(spec), place.funding_hours, place.funding_rates)
    run = simulate([leg], TERMS)
    bars = place.bars
    what = f"SMA 20/100 flip with stop and target, {YEAR:,} bars, {len(run.trades):,} trades"

    def first() -> object:
        return simulate([replace(leg, bars=replace(bars), signals=Evaluator(bars).signals(spec))], TERMS)

    def round_of() -> Round:
        return Round(
            _ns(lambda: look_at(bars.time, bars.open, bars.high, bars.low, bars.close, bars.volume, bars.interval_ms)),
            _ns(first),
            _ns(lambda: simulate([replace(leg, signals=Evaluator(bars).signals(spec))], TERMS)),
            _ns_after(first),
            _ns(lambda: simulate([leg], TERMS)),
            _ns(lambda: metrics_of(run, [leg], TERMS)),
        )

    rounds = [round_of()]
    child(["-c", COLD])
    cold = median(lambda: float(child(["-c", COLD]).output), 3)
    rounds.append(round_of())
    with scratch() as folder:
        file = folder / "bars.npy"
        keep(place, file)
        held = median(lambda: int(child(["-c", f"from benchmarks.kernel import peak; peak({str(file)!r})"]).output), 3)
    rounds.append(round_of())
    swept = _sweep()
    rounds.append(round_of())
    calm = min(rounds)
    floor = _floor(calm)
    given = 7 * bars.time.nbytes + 2 * place.funding_hours.nbytes
    return [
        Row(f"{what}: bars nobody has looked at yet, averages, signals and kernel", calm.first, "CPU ns a bar", bound=12, floor=floor),
        Row("the same once the bars have been looked at", calm.again, "CPU ns a bar", floor=floor),
        Row("all of it after other work, which leaves nothing in the caches", calm.cold, "CPU ns a bar", floor=floor),
        Row(f"{what}: kernel alone", calm.alone, "CPU ns a bar", floor=floor),
        Row("metrics of that run", calm.metrics, "CPU ns a bar", bound=30, floor=floor),
        Row("the first of these in the round in which the floor was highest", max(rounds).first, "CPU ns a bar", floor=_floor(max(rounds))),
        Row("peak memory of that run above the imported process, funding included", held / given, "× input arrays", bound=2),
        Row("first run of a new process, compiled before", cold, "s wall", bound=1),
        Row("200 crosses over 100,000 bars, result table included", swept, "s wall"),
    ]


def _floor(of: Round) -> Floor:
    return Floor("every column read once", of.floor)


def first_run() -> None:
    """What a newcomer's second backtest does first."""
    place, spec = minutes(2_000), cross(20, 100)
    simulate(
        [Leg(place.instrument, place.bars, spec, Evaluator(place.bars).signals(spec), place.funding_hours, place.funding_rates)], TERMS
    )


def peak(file: str) -> None:
    """Print the bytes that one run adds to a process that has compiled everything; the bars, read from `file`, and funding count."""
    first_run()

    def work() -> None:
        place, spec = kept(Path(file)), cross(20, 100)
        leg = Leg(place.instrument, place.bars, spec, Evaluator(place.bars).signals(spec), place.funding_hours, place.funding_rates)
        simulate([leg], TERMS)

    print(peak_of(work))


def _sweep() -> float:
    place = minutes(100_000)
    specs = [cross(fast, slow) for fast in range(5, 25) for slow in range(30, 130, 10)]
    sweep(place, specs[:2], TERMS, lambda: Evaluator(place.bars).signals)
    return median(lambda: spent(lambda: sweep(place, specs, TERMS, lambda: Evaluator(place.bars).signals), time.perf_counter))


def _ns(work: Callable[[], object]) -> float:
    """CPU time in ns a bar of one call after the other; the collector of garbage rests, as in `timeit`."""
    work()
    gc.collect()
    gc.disable()
    try:
        return median(lambda: _cpu_s(work), RUNS) / YEAR * 1e9
    finally:
        gc.enable()


def _cpu_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _ns_after(work: Callable[[], object]) -> float:
    """The same when each call comes after a look at every object of the process."""
    return median(lambda: spent(work), RUNS) / YEAR * 1e9


if __name__ == "__main__":
    main(rows)
