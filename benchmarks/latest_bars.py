"""The newest bars of one market out of a warehouse of two hundred markets with a year of minutes each, and a whole year as columns."""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

from benchmarks.measure import scratch
from benchmarks.report import Floor, Row, main
from tradeagent.domain.bars import parse_duration
from tradeagent.market.instruments import SYNTHETIC, instrument
from tradeagent.market.readers import columns, history
from tradeagent.market.series import SeriesKey
from tradeagent.market.synthetic import START_MS, store_synthetic, synthetic_market
from tradeagent.market.warehouse import Warehouse

MARKETS, BARS, LATEST, RUNS = 200, 525_600, 500, 20
MINUTE = parse_duration("1m")


def rows() -> list[Row]:
    """Wall ms of the newest bars of markets in turn beside a stat of their month files, and of reading one year."""
    with scratch() as folder:
        warehouse = Warehouse(folder)
        _build(warehouse)
        keys = [SeriesKey(SYNTHETIC, f"M{number}", MINUTE) for number in range(MARKETS)]
        end = START_MS + BARS * MINUTE
        markets = iter(keys * 2)
        latest = _median(lambda: len(history(warehouse, next(markets), end, LATEST)), LATEST)
        stat = _median(lambda: len([path.stat() for path in warehouse.files(keys[0])]), 12)
        grid = instrument(SYNTHETIC, "M0")
        year = _median(lambda: len(columns(warehouse, keys[0], instrument=grid)[0]), BARS)
    return [
        Row(f"latest {LATEST} of {BARS:,} bars, {MARKETS} markets stored", latest, "ms wall", 10, Floor("a look at its month files", stat)),
        Row(f"a year of {BARS:,} bars as columns, on the grid, with fingerprint", year, "ms wall", bound=150),
    ]


def _build(warehouse: Warehouse) -> None:
    """One market's year, and its month files linked into the folders of the others."""
    made = synthetic_market(0, BARS, "M0", MINUTE)
    store_synthetic(warehouse, replace(made, bars=replace(made.bars, market="M0"), funding=replace(made.funding, market="M0")))
    first = SeriesKey(SYNTHETIC, "M0", MINUTE)
    for number in range(1, MARKETS):
        folder = warehouse.folder(SeriesKey(SYNTHETIC, f"M{number}", MINUTE))
        folder.mkdir(parents=True)
        for path in warehouse.files(first):
            os.link(path, folder / path.name)


def _median(read: Callable[[], int], expected: int) -> float:
    """Median wall ms; the first look, which opens the store, is not counted."""
    taken = []
    for _ in range(RUNS):
        began = time.perf_counter()
        assert read() == expected
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken[1:])


if __name__ == "__main__":
    main(rows)
