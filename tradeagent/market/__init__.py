"""Bars and funding, from files and the venue, in a Parquet warehouse; quality checks, as-of readers and feeds; news and calendar events."""

from tradeagent.market.feed import MarketFeed, WarehouseFeed
from tradeagent.market.importer import import_bars, import_funding
from tradeagent.market.instruments import instrument, known_markets
from tradeagent.market.readers import history
from tradeagent.market.replay import ReplaySource, parse_replay
from tradeagent.market.series import BarSeries, SeriesKey
from tradeagent.market.warehouse import Warehouse

__all__ = [
    "BarSeries",
    "MarketFeed",
    "ReplaySource",
    "SeriesKey",
    "Warehouse",
    "WarehouseFeed",
    "history",
    "import_bars",
    "import_funding",
    "instrument",
    "known_markets",
    "parse_replay",
]
