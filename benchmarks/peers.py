"""The same work side by side with vectorbt and backtesting.py, where they are installed (the extra `bench`).

Flips of two averages, a fixed quantity, a fee and no slippage give the same trades in all three, compared when they are timed; ours
start one row after the averages, where it would else take a side at once, because warm-up counts as false. Where both averages are exactly
equal, a peer's rounding decides whether they have crossed: the trades of such bars may differ, and no others.
With stop and target the engines differ and are only timed: vectorbt looks at neither in the entry bar and measures both from the fill,
ours from the decision price and in the entry bar too. Neither peer charges funding or asks for margin; ours with stop and target does both.
Our algo is read from its text beforehand, as a peer's strategy is Python that was compiled beforehand; a sweep sets its parameters.
Our bars are new ones in every run, so that they are checked each time, as a command does. Memory and first runs are those of processes of
their own; the bars are read from a file and count.
"""

import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks import peer_runs
from benchmarks.crosses import YEAR, cross, keep, kept, minutes
from benchmarks.measure import child, median, peak_of, scratch, spent
from benchmarks.peer_runs import CASH, FEE, PAIRS, QUANTITY, SAMPLE
from benchmarks.report import Floor, Row, main
from tradeagent.algos.bars import Floats, Ints
from tradeagent.algos.evaluate import Evaluator
from tradeagent.domain.costs import FeeSchedule
from tradeagent.research.evaluation import spec_at
from tradeagent.research.kernel import SweepMarket, simulate, sweep
from tradeagent.research.run import Leg, Run, Terms

T = TypeVar("T")
OURS, RUN, SWEEP = "ours", "run", "sweep"
SIZES = {"vectorbt": (YEAR, 5 * YEAR), "backtesting": (YEAR,)}  # five years of backtesting.py take minutes and say the same
FASTER = {"vectorbt": 6, "backtesting": 300}  # how many times as fast one run of ours is to be
SWEEP_FASTER = 15
SWEPT_BARS, SMALL_BARS = 100_000, 2_000
RUNS = 3
PLAIN = Terms(
    cash=Decimal(CASH),
    fees=FeeSchedule(Decimal(str(FEE)), Decimal(0)),
    slippage_bps=Decimal(0),
    fill_qty=Decimal(str(QUANTITY)),
    first_row=100,
)
FULL = Terms(cash=Decimal(CASH))
LEVELS, FLIPS = cross(20, 100), replace(cross(20, 100, levels=False), leverage=40)
TRUNCATED = 2e-6  # ours truncates the fee of each of a trade's two fills to 10⁻⁶
SWEPT = f"{len(PAIRS)} pairs over {SWEPT_BARS:,} bars with stop and target, result table included"


def rows() -> list[Row]:
    """Our time, memory and first run beside each peer's; `× floor` is the part of the peer's that ours takes."""
    installed = list(filter(importlib.util.find_spec, SIZES))
    if not installed:
        return [Row("peers: neither vectorbt nor backtesting.py is installed", 0, "peers")]
    with scratch() as folder:
        files = {count: folder / f"{count}.npy" for count in (SMALL_BARS, SWEPT_BARS, YEAR, 5 * YEAR)}
        for count, file in files.items():
            keep(minutes(count), file)
        return [row for peer in installed for row in _of(peer, files)]


def _of(peer: str, files: Mapping[int, Path]) -> Iterator[Row]:
    small = files[SMALL_BARS]
    for levels in (True, False):
        _ours(kept(small), levels=levels)
        peer_runs.run(peer, kept(small).bars, levels=levels)
        for count in SIZES[peer]:
            yield _run(peer, kept(files[count]), levels=levels)
    yield _sweep(peer, kept(small), kept(files[SWEPT_BARS]))
    for count in SIZES[peer]:
        yield _memory(peer, RUN, small, files[count], f"one run, {count:,} bars")
    if peer == "vectorbt":  # the other sweeps one run after the other
        yield _memory(peer, SWEEP, small, files[SWEPT_BARS], f"{len(PAIRS)} pairs, {SWEPT_BARS:,} bars")
    yield _first_run(peer, small)


def _run(peer: str, place: SweepMarket, *, levels: bool) -> Row:
    seconds, run = _timed(lambda: _ours(place, levels=levels))
    theirs, trades = _timed(lambda: peer_runs.run(peer, place.bars, levels=levels))
    count, what = len(place.bars), "with stop and target" if levels else _same(peer, run, trades, _ties(place.bars.close))
    floor = Floor(peer, theirs / count * 1e9)
    return Row(
        f"one run, SMA 20/100 flip, {what}, {count:,} bars", seconds / count * 1e9, "CPU ns a bar", floor.value / FASTER[peer], floor
    )


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    """CPU seconds, and what the last run came to."""
    found: list[T] = []
    return median(lambda: spent(lambda: found.append(work())), RUNS), found[-1]


def _same(peer: str, run: Run, trades: np.ndarray, ties: Ints) -> str:
    """How many trades are the same; raises when another differs than those that a tie decides, or when their net result does."""
    net = (run.trades.gross - run.trades.fees) / 1e6
    ours = dict(zip(zip(run.trades.entry_row.tolist(), run.trades.exit_row.tolist(), strict=True), net.tolist(), strict=True))
    theirs = {(int(begun), int(ended)): float(result) for begun, ended, result in trades}
    common, decided = ours.keys() & theirs.keys(), [int(row) + later for row in ties for later in (1, 2)]
    apart = sum(ours[trade] - theirs[trade] for trade in common)
    unlike = [trade for trade in ours.keys() ^ theirs.keys() if not any(trade[0] <= row <= trade[1] for row in decided)]
    if unlike or abs(apart) > TRUNCATED * len(common):
        raise RuntimeError(f"{peer}: {len(theirs)} trades, ours {len(ours)}, the same {len(common)}, whose net results are {apart} apart")
    others = f" of {len(ours):,}" if len(common) < len(ours) else ""
    return f"the same {len(common):,}{others} trades"


def _ties(closes: Floats) -> Ints:
    """Rows at which both averages are exactly equal, by whole sums of tenths."""
    sums = np.concatenate([[0], np.cumsum(np.rint(closes * 10).astype(np.int64))])
    slow, fast = sums[100:] - sums[:-100], sums[100:] - sums[80:-20]
    return np.asarray(np.flatnonzero(fast * 5 == slow) + 99, np.int64)


def _sweep(peer: str, small: SweepMarket, place: SweepMarket) -> Row:
    _swept(small)
    peer_runs.swept(peer, small.bars)
    ours = median(lambda: spent(lambda: _swept(place), time.perf_counter), RUNS)
    scaled = "" if peer == "vectorbt" else f", {len(SAMPLE)} pairs scaled"
    floor = Floor(peer + scaled, median(lambda: peer_runs.swept(peer, place.bars), RUNS))
    return Row(SWEPT, ours, "s wall", floor.value / SWEEP_FASTER, floor)


def _memory(peer: str, work: str, small: Path, file: Path, what: str) -> Row:
    name = f"peak memory above the imported process, its bars included, {what}"
    return Row(name, _peak_mb(OURS, work, small, file), "MB", floor=Floor(peer, _peak_mb(peer, work, small, file)))


@cache
def _peak_mb(engine: str, work: str, small: Path, file: Path) -> float:
    """Of processes that have imported and compiled everything before."""
    asked = f"from benchmarks.peers import peak; peak({engine!r}, {work!r}, {str(small)!r}, {str(file)!r})"
    return median(lambda: int(child(["-c", asked]).output) / 1e6, RUNS)


def peak(engine: str, work: str, small: str, file: str) -> None:
    """Print the bytes that the work on `file` adds to a process that has done it on `small`."""
    _work(engine, work, Path(small))
    print(peak_of(lambda: _work(engine, work, Path(file))))


def _first_run(peer: str, file: Path) -> Row:
    """Of processes that find everything compiled before; imports included."""

    def measured(module: str, engine: str) -> float:
        asked = f"from {module} import first; first({engine!r}, {str(file)!r})"
        timed = f"import time; began = time.perf_counter(); {asked}; print(time.perf_counter() - began)"
        child(["-c", timed])
        return median(lambda: float(child(["-c", timed]).output), RUNS)

    floor = Floor(peer, measured("benchmarks.peer_runs", peer))
    return Row(
        f"first run of a new process, imports included, {SMALL_BARS:,} bars", measured("benchmarks.peers", OURS), "s wall", floor=floor
    )


def first(engine: str, file: str) -> None:
    """What the first run of a process does."""
    _work(engine, RUN, Path(file))


def _work(engine: str, work: str, file: Path) -> None:
    if engine == OURS:
        place = kept(file)
        _swept(place) if work == SWEEP else _ours(place, levels=True)
    elif work == SWEEP:
        peer_runs.swept(engine, peer_runs.read(file))
    else:
        peer_runs.first(engine, str(file))


def _ours(place: SweepMarket, *, levels: bool) -> Run:
    """Averages, signals and the run, from nothing: bars that nobody has looked at yet."""
    bars, spec = replace(place.bars), LEVELS if levels else FLIPS
    funding = (place.funding_hours, place.funding_rates) if levels else (place.funding_hours[:0], place.funding_rates[:0])
    return simulate([Leg(place.instrument, bars, spec, Evaluator(bars).signals(spec), *funding)], FULL if levels else PLAIN)


def _swept(place: SweepMarket) -> None:
    bars = replace(place.bars)
    specs = [spec_at(LEVELS, {"fast.length": fast, "slow.length": slow}) for fast, slow in PAIRS]
    sweep(replace(place, bars=bars), specs, FULL, lambda: Evaluator(bars).signals)


if __name__ == "__main__":
    main(rows)
