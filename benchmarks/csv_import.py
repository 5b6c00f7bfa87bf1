"""A million bars from a CSV file into the warehouse, and the latest five hundred back out of it."""

import statistics
import time
from pathlib import Path

import duckdb

from benchmarks.measure import Usage, scratch, tradeagent_command
from benchmarks.report import Floor, Row, main
from tradeagent.domain.bars import parse_duration
from tradeagent.market.instruments import HYPERLIQUID
from tradeagent.market.readers import history
from tradeagent.market.series import SeriesKey
from tradeagent.market.synthetic import START_MS, synthetic_market
from tradeagent.market.warehouse import Warehouse
from tradeagent.runtime.workspace import init_workspace
from tradeagent.workspace.paths import Workspace

BARS, LATEST, RUNS = 1_000_000, 500, 3
MINUTE = parse_duration("1m")


def rows() -> list[Row]:
    """Wall and CPU of the import beside a bare scan of the same file, and ms of the latest bars."""
    with scratch() as folder:
        file = folder / "bars.csv"
        _write_csv(file)
        taken = sorted((_imported(folder / f"ws_{run}", file) for run in range(RUNS)), key=lambda used: used.wall_s)
        middle = taken[RUNS // 2]
        floor = Floor("bare DuckDB scan of the file", statistics.median(_bare_scan(file) for _ in range(RUNS)))
        latest = _latest(Warehouse(Workspace(folder / "ws_0").warehouse_dir))
    what = f"`tradeagent data import` of {BARS:,} CSV rows"
    return [
        Row(what, middle.wall_s, "s wall", bound=3, floor=floor),
        Row(what, middle.cpu_s, "CPU s"),
        Row(f"latest {LATEST} of {BARS:,} stored bars", latest, "ms wall", bound=10),
    ]


def _write_csv(file: Path) -> None:
    made = synthetic_market(0, BARS, "BTC", MINUTE).bars
    columns = zip(made.ts.tolist(), made.open, made.high, made.low, made.close, made.volume, strict=True)
    with file.open("w") as out:
        out.write("time,open,high,low,close,volume\n")
        out.writelines(f"{ts},{o:.1f},{h:.1f},{low:.1f},{c:.1f},{v:.5f}\n" for ts, o, h, low, c, v in columns)


def _imported(workspace: Path, file: Path) -> Usage:
    init_workspace(workspace)
    return tradeagent_command("--workspace", str(workspace), "data", "import", str(file), "--market", "BTC", "--interval", "1m", "--json")


def _bare_scan(file: Path) -> float:
    began = time.perf_counter()
    duckdb.connect().execute(f"SELECT count(*), max(high), sum(volume) FROM read_csv('{file}')").fetchall()
    return time.perf_counter() - began


def _latest(warehouse: Warehouse) -> float:
    """Median wall ms of the newest bars; the first look, which opens the store, is not counted."""
    key, end = SeriesKey(HYPERLIQUID, "BTC", MINUTE), START_MS + BARS * MINUTE
    taken = []
    for _ in range(21):
        began = time.perf_counter()
        assert len(history(warehouse, key, end, LATEST)) == LATEST
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken[1:])


if __name__ == "__main__":
    main(rows)
