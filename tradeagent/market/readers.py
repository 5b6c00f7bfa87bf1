"""As-of reads of the warehouse: a bar is visible only from its close, and bars nobody may trade on are left out."""

import numpy as np

from tradeagent.market.series import BarSeries, FundingSeries, SeriesKey, funding_series
from tradeagent.market.warehouse import Warehouse, month_start_ms


def history(warehouse: Warehouse, key: SeriesKey, as_of_ms: int, count: int) -> BarSeries:
    """The newest `count` good bars whose close is at or before `as_of_ms`, oldest first; fewer when fewer are stored.

    Reads from the newest month backwards, so that its cost does not grow with the length of the series.
    """
    until = as_of_ms - key.interval_ms + 1
    files = warehouse.files(key)
    span = count * key.interval_ms
    while True:
        lower = max(0, until - span)
        series = warehouse.bars(key, lower, until)
        series = series.where(series.valid)
        oldest_read = not files or month_start_ms(files[0]) >= lower
        if len(series) >= count or oldest_read:
            return series.rows(max(0, len(series) - count), len(series))
        span *= 4


def funding_between(warehouse: Warehouse, venue: str, market: str, after_ms: int, until_ms: int) -> list[tuple[int, int]]:
    """(hour in UTC ms, rate in 10⁻¹⁰) of each stored payment in (after, until]; a missing hour is simply not there."""
    return funding_of(warehouse, venue, market).between(after_ms, until_ms)


def funding_of(warehouse: Warehouse, venue: str, market: str) -> FundingSeries:
    """A market's whole funding, finite rates only."""
    stored = warehouse.funding(venue, market)
    finite = np.isfinite(stored.rate)
    return funding_series(venue, market, stored.ts[finite], stored.rate[finite])
