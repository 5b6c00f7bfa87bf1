"""`tradeagent backtest run` over a year of minutes, as a person waits for it, and what judging a run costs beside the pass."""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.measure import Usage, child, median, scratch, tradeagent_command
from benchmarks.report import Floor, Row, main
from tradeagent.algos.store import from_file
from tradeagent.domain.bars import parse_duration
from tradeagent.domain.clock import SystemClock
from tradeagent.market.instruments import SYNTHETIC, instrument
from tradeagent.market.synthetic import store_synthetic, synthetic_market
from tradeagent.market.warehouse import Warehouse
from tradeagent.research.backtest import Setup, load, run_setup, terms_of, warm_up
from tradeagent.research.diagnostics import diagnose
from tradeagent.research.metrics import metrics_of, quick
from tradeagent.research.statistics import pbo
from tradeagent.runtime.workspace import init_workspace
from tradeagent.workspace.paths import Workspace

BARS, RUNS, MINUTE = 525_600, 3, parse_duration("1m")
IMPORTS = "import numba, duckdb, sqlalchemy, scipy.linalg.cython_blas, tradeagent.cli.app"
ALGO = """
name: sma_flip
indicators: {fast: {kind: sma, length: 20}, slow: {kind: sma, length: 100}}
entry:
  long: {required: ["fast > slow"]}
  short: {required: ["fast < slow"]}
exit:
  long: {stop_loss: {pct: 2}, take_profit: {rr: 2}}
  short: {stop_loss: {pct: 2}, take_profit: {rr: 2}}
sizing: {pct_of_equity: 90}
"""


def rows() -> list[Row]:
    """The command, then metrics and diagnostics of its run per bar, an optimiser's objective, and PBO of a search."""
    with scratch() as folder:
        workspace = folder / "ws"
        init_workspace(workspace)
        store_synthetic(Warehouse(Workspace(workspace).warehouse_dir), synthetic_market(0, BARS, "BTC", MINUTE))
        file = folder / "sma_flip.yml"
        file.write_text(ALGO)
        _command(workspace, file)
        taken = sorted((_command(workspace, file) for _ in range(RUNS)), key=lambda used: used.wall_s)[RUNS // 2]
        elapsed = json.loads(taken.output)["elapsed_s"]
        floor = Floor("importing what it needs", median(lambda: child(["-c", IMPORTS]).wall_s, RUNS))
        judged, objective = _judging(workspace, file)
    what = f"`tradeagent backtest run` of {BARS:,} minutes, start-up included"
    return [
        Row(what, taken.wall_s, "s wall", bound=2.5, floor=floor),
        Row(what, taken.cpu_s, "CPU s"),
        Row("of these: indicators and pass, warm", elapsed * 1e9 / BARS, "ns wall a bar"),
        Row("metrics and diagnostics of that run", judged * 1e9 / BARS, "CPU ns a bar", bound=30),
        Row("one objective of 100,000 bars (Calmar)", objective * 1e3, "CPU ms", bound=0.3),
        Row("PBO of 200 trials over a year, 12,870 splits", _pbo(), "CPU s", bound=2),
    ]


def _command(workspace: Path, file: Path) -> Usage:
    return tradeagent_command(
        "--workspace", str(workspace), "backtest", "run", str(file), "--market", "BTC", "--interval", "1m", "--venue", SYNTHETIC, "--json"
    )


def _judging(workspace: Path, file: Path) -> tuple[float, float]:
    algo = from_file(file)
    setup = Setup(SYNTHETIC, "BTC", MINUTE, terms=terms_of(algo.spec))
    now_ms = SystemClock().now_ms()
    loaded = load(Warehouse(Workspace(workspace).warehouse_dir), algo, setup, instrument(SYNTHETIC, "BTC"), now_ms)
    warm_up(loaded)
    run, _ = run_setup([loaded], setup)
    legs = [loaded.leg]

    def judge() -> None:
        metrics_of(run, legs, setup.terms)
        diagnose(run, loaded.leg, setup.terms, loaded.evaluator)

    short = load(
        Warehouse(Workspace(workspace).warehouse_dir),
        algo,
        Setup(SYNTHETIC, "BTC", MINUTE, until_ms=int(loaded.leg.bars.time[100_000]), terms=setup.terms),
        instrument(SYNTHETIC, "BTC"),
        now_ms,
    )
    few, _ = run_setup([short], setup)
    return _cpu_s(judge), _cpu_s(lambda: quick(few, [short.leg], setup.terms, "calmar"))


def _cpu_s(work: Callable[[], object], runs: int = 21) -> float:
    taken = []
    for _ in range(runs):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return statistics.median(taken)


def _pbo() -> float:
    returns = np.random.default_rng(0).normal(0, 0.01, (365, 200))
    return _cpu_s(lambda: pbo(returns), 3)


if __name__ == "__main__":
    main(rows)
