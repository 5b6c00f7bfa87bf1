"""One algo on a year of minutes: CPU per bar with averages, signals and every rule of the venue; memory; the first run of a process."""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np

from benchmarks.crosses import YEAR, cross, minutes
from benchmarks.measure import child, scratch
from benchmarks.report import Floor, Row, main
from tradeagent.algos.bars import Bars
from tradeagent.algos.evaluate import Evaluator
from tradeagent.research.kernel import simulate, sweep
from tradeagent.research.kernel.check import first_bad_bar
from tradeagent.research.metrics import metrics_of
from tradeagent.research.run import Leg, Terms

RUNS = 9
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
    read = _ns(lambda: first_bad_bar(bars.time, bars.open, bars.high, bars.low, bars.close, bars.volume))
    floor = Floor("every column read once", read)
    what = f"SMA 20/100 flip with stop and target, {YEAR:,} bars, {len(run.trades):,} trades"
    whole = _ns(
        lambda: simulate([Leg(leg.instrument, bars, spec, Evaluator(bars).signals(spec), leg.funding_hours, leg.funding_rates)], TERMS)
    )
    new = _ns(lambda: simulate([replace(leg, bars=replace(bars), signals=Evaluator(bars).signals(spec))], TERMS))
    alone = _ns(lambda: simulate([leg], TERMS))
    metrics = _ns(lambda: metrics_of(run, [leg], TERMS))
    child(["-c", COLD])
    cold = statistics.median(float(child(["-c", COLD]).output) for _ in range(3))
    with scratch() as folder:
        file = folder / "bars.npy"
        np.save(file, np.stack([bars.open, bars.high, bars.low, bars.close, bars.volume, bars.funding, bars.time.astype(np.float64)]))
        peak = json.loads(child(["-c", f"from benchmarks.kernel import peak; peak({str(file)!r})"]).output)
    return [
        Row(f"{what}: averages, signals and kernel", whole, "CPU ns a bar", bound=12, floor=floor),
        Row("the same on bars that nobody has looked at yet", new, "CPU ns a bar", floor=floor),
        Row(f"{what}: kernel alone", alone, "CPU ns a bar", floor=floor),
        Row("metrics of that run", metrics, "CPU ns a bar", bound=30, floor=floor),
        Row("peak memory of that run above the imported process", peak["peak"] / peak["input"], "× input arrays", bound=2),
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
    """Print how much memory one run on the bars in `file` adds to a process that has compiled everything, its bars included."""
    first_run()
    small, spec = minutes(2_000), cross(20, 100)
    Path("/proc/self/clear_refs").write_text("5")  # the mark of the most memory starts again from here
    before = _resident("VmRSS")
    *columns, time_ms = np.load(file)
    bars = Bars("BTC", small.bars.interval_ms, time_ms.astype(np.int64), *columns)
    no_hours = small.funding_hours[:0]
    simulate([Leg(small.instrument, bars, spec, Evaluator(bars).signals(spec), no_hours, no_hours)], TERMS)
    print(json.dumps({"peak": _resident("VmHWM") - before, "input": len(columns) * bars.open.nbytes + bars.time.nbytes}))


def _resident(which: str) -> int:
    """Bytes of memory the process holds now (VmRSS), or the most since the mark was set (VmHWM); Linux keeps both."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{which}:")[1].split()[0]) * 1024


def _sweep() -> float:
    place = minutes(100_000)
    specs = [cross(fast, slow) for fast in range(5, 25) for slow in range(30, 130, 10)]
    sweep(place, specs[:2], TERMS, lambda: Evaluator(place.bars).signals)
    return _least(lambda: sweep(place, specs, TERMS, lambda: Evaluator(place.bars).signals), time.perf_counter, 3)


def _ns(work: Callable[[], object]) -> float:
    """Least CPU time in ns a bar of several runs."""
    work()
    return _least(work, time.process_time, RUNS) / YEAR * 1e9


def _least(work: Callable[[], object], clock: Callable[[], float], runs: int) -> float:
    taken: Sequence[float] = []
    for _ in range(runs):
        began = clock()
        work()
        taken = [*taken, clock() - began]
    return min(taken)


if __name__ == "__main__":
    main(rows)
