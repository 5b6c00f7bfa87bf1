"""An algo on a paper wallet over a replay: CPU a closed bar, against the same bars through the door of a backtest, which keeps nothing.

Two lengths of each, in processes of their own: what the longer one takes more is the bars, without the start.
"""

import argparse
import statistics
import time
from pathlib import Path

from benchmarks.measure import child, scratch, tradeagent_command
from benchmarks.report import Floor, Row, main
from tradeagent.execution.opening import instruments_of
from tradeagent.market.warehouse import Warehouse
from tradeagent.runtime.demo import DEMO_SOURCE, demo_place

SHORT, LONG = 1_500, 6_000
RUNS = 3
ALGO, MARKET, INTERVAL, VENUE = "rsi_reversal", "BTC", "5m", "synthetic"


def rows() -> list[Row]:
    """CPU a bar of a deployment, and of the event path over as many bars."""
    with scratch() as folder:
        ours = [_each(_deployed(folder / f"short_{run}", SHORT), _deployed(folder / f"long_{run}", LONG)) for run in range(RUNS)]
        bare = [float(child(["-m", "benchmarks.algo_step", "--in", str(folder / f"bare_{run}")]).output) for run in range(RUNS)]
    floor = Floor("the same bars through the door of a backtest with limits", statistics.median(bare))
    return [Row("deployed algo, one closed bar of a replay", statistics.median(ours), "CPU ms", bound=1.5, floor=floor)]


def _each(short_s: float, long_s: float) -> float:
    return (long_s - short_s) / (LONG - SHORT) * 1000


def _deployed(folder: Path, bars: int) -> float:
    demo_place(folder, 0).ledger.close()
    tradeagent_command("--workspace", str(folder), "wallet", "new", "bench", "--group", "algo", "--cash", "10000")
    words = ("deploy", "algo", ALGO, "--wallet", "bench", "--market", MARKET, "--interval", INTERVAL, "--venue", VENUE)
    return tradeagent_command("--workspace", str(folder), *words, "--replay", DEMO_SOURCE, "--max-ticks", str(bars), "--json").cpu_s


def event_path_ms(folder: Path) -> float:
    """CPU ms a bar of the backtest's door."""
    from tradeagent.algos.store import built_in
    from tradeagent.domain.bars import parse_duration
    from tradeagent.research.backtest import Setup, load
    from tradeagent.research.eventpath import replay
    from tradeagent.research.limits_impact import resolve
    from tradeagent.research.run import Terms

    place = demo_place(folder, 0)
    warehouse, known = Warehouse(place.workspace.warehouse_dir), instruments_of(place.config)[MARKET]
    first = int(warehouse.bars(Setup(VENUE, MARKET, parse_duration(INTERVAL)).key).ts[0])
    taken = []
    for bars in (SHORT, LONG):
        setup = Setup(VENUE, MARKET, parse_duration(INTERVAL), until_ms=first + bars * parse_duration(INTERVAL), terms=Terms())
        leg = load(warehouse, built_in(ALGO), setup, known, place.clock.now_ms()).leg
        began = time.process_time()
        replay([leg], setup.terms, resolve("algo"))
        taken.append(time.process_time() - began)
    place.ledger.close()
    return _each(*taken)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--in", dest="folder", type=Path)
    asked, _ = parser.parse_known_args()
    if asked.folder is None:
        main(rows)
    else:
        print(event_path_ms(asked.folder))
