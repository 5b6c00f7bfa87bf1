"""A Python algorithm in its sandbox: what a process of its own costs, and what each further run in it does."""

import resource
import time
from collections.abc import Callable

import numpy as np

from benchmarks.measure import child, median
from benchmarks.report import Floor, Row, main
from tradeagent.algos.bars import Bars
from tradeagent.algos.sandbox import Limits, Sandbox
from tradeagent.domain.bars import parse_duration
from tradeagent.market.synthetic import synthetic_market

BARS, FEW, RUNS = 525_600, 500, 7
MINUTE = parse_duration("1m")
SOURCE = "import numpy as np\ndef signals(bars, **params):\n    return np.zeros(len(bars['close']), np.int8)\n"


def rows() -> list[Row]:
    """CPU of start and run, children included, beside an interpreter that imports NumPy; wall ms of a run in a child that is there."""
    year = _year()
    few = year.rows(0, FEW)
    floor = Floor("python -c 'import numpy'", median(lambda: child(["-c", "import numpy"]).cpu_s))
    once = median(lambda: _cpu(lambda: _run(few)), RUNS)
    with Sandbox(SOURCE, year, limits=Limits(cpu_s=60)) as sandbox:
        sandbox.signals({})
        again = median(lambda: _wall_ms(lambda: sandbox.signals({"length": 1.0})), RUNS)
    return [
        Row(f"a Python algorithm on {FEW} bars, process included", once, "CPU s", bound=0.3, floor=floor),
        Row(f"one more run on {BARS:,} bars that are there", again, "ms wall"),
    ]


def _run(bars: Bars) -> None:
    with Sandbox(SOURCE, bars) as sandbox:
        sandbox.signals({})


def _cpu(work: Callable[[], object]) -> float:
    def used() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime

    began = used()
    work()
    return used() - began


def _wall_ms(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def _year() -> Bars:
    made = synthetic_market(0, BARS, "BTC", MINUTE).bars
    opened, high, low, close, volume = (np.asarray(one, np.float64) for one in (made.open, made.high, made.low, made.close, made.volume))
    return Bars("BTC", MINUTE, made.ts, opened, high, low, close, volume, np.zeros(BARS))


if __name__ == "__main__":
    main(rows)
