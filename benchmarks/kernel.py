"""One algo on a year of minutes: CPU per bar with averages, signals and every rule of the venue; memory; the first run of a process."""

import gc
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

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


def rows() -> list[Row]:
    """ns a bar of the kernel alone, with averages and signals, and of the metrics; peak memory; a cold start; a sweep."""
    place, spec = minutes(), cross(20, 100)
    leg = Leg(place.instrument, place.bars, spec, Evaluator(place.bars).signals(spec), place.funding_hours, place.funding_rates)
    run = simulate([leg], TERMS)
    bars = place.bars
    read = _ns(lambda: look_at(bars.time, bars.open, bars.high, bars.low, bars.close, bars.volume, bars.interval_ms))
    floor = Floor("every column read once", read)
    what = f"SMA 20/100 flip with stop and target, {YEAR:,} bars, {len(run.trades):,} trades"
    whole = _ns(
        lambda: simulate([Leg(leg.instrument, bars, spec, Evaluator(bars).signals(spec), leg.funding_hours, leg.funding_rates)], TERMS)
    )

    def first() -> object:
        return simulate([replace(leg, bars=replace(bars), signals=Evaluator(bars).signals(spec))], TERMS)

    new = _ns(first)
    alone = _ns(lambda: simulate([leg], TERMS))
    metrics = _ns(lambda: metrics_of(run, [leg], TERMS))
    child(["-c", COLD])
    cold = median(lambda: float(child(["-c", COLD]).output), 3)
    with scratch() as folder:
        file = folder / "bars.npy"
        keep(place, file)
        held = median(lambda: int(child(["-c", f"from benchmarks.kernel import peak; peak({str(file)!r})"]).output), 3)
    given = 7 * bars.time.nbytes + 2 * place.funding_hours.nbytes
    return [
        Row(f"{what}: bars nobody has looked at yet, averages, signals and kernel", new, "CPU ns a bar", bound=12, floor=floor),
        Row("the same once the bars have been looked at", whole, "CPU ns a bar", floor=floor),
        Row("all of it after other work, which leaves nothing in the caches", _ns_after(first), "CPU ns a bar"),
        Row(f"{what}: kernel alone", alone, "CPU ns a bar", floor=floor),
        Row("metrics of that run", metrics, "CPU ns a bar", bound=30, floor=floor),
        Row("peak memory of that run above the imported process, funding included", held / given, "× input arrays", bound=2),
        Row("first run of a new process, compiled before", cold, "s wall", bound=1),
        Row("200 crosses over 100,000 bars, result table included", _sweep(), "s wall"),
    ]


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
