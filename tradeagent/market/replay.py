"""`VENUE:MARKET:INTERVAL`: which stored bars a replay runs over."""

from dataclasses import dataclass

from tradeagent.domain.bars import parse_duration
from tradeagent.domain.errors import DataError, InvalidInput
from tradeagent.market.series import SeriesKey
from tradeagent.market.warehouse import Warehouse


@dataclass(frozen=True, slots=True)
class ReplaySource:
    """One market's bars to replay."""

    venue: str
    market: str
    interval_ms: int

    @property
    def key(self) -> SeriesKey:
        return SeriesKey(self.venue, self.market, self.interval_ms)


def parse_replay(text: str) -> tuple[ReplaySource, ...]:
    """`hyperliquid:BTC:5m,hyperliquid:xyz:TSLA:5m` → sources; the first part is the venue, the last the interval.

    Raises InvalidInput for a part that is missing, an interval that is none, or one market named twice.
    """
    sources = tuple(_source(part.strip()) for part in text.split(","))
    markets = [source.market for source in sources]
    twice = next((market for market in markets if markets.count(market) > 1), None)
    if twice is not None:
        raise InvalidInput(f"replay: {twice} is named twice in {text!r}", hint="name each market once")
    return sources


def require_stored(warehouse: Warehouse, source: ReplaySource) -> None:
    """DataError with the import command when the bars of `source` are not in the warehouse."""
    if warehouse.has(source.key):
        return
    same_market = [key.text for key in warehouse.series_keys() if key.market == source.market and not key.funding]
    raise DataError(
        f"replay: no bars of {source.key.text} are stored" + (f"; there are {', '.join(same_market)}" if same_market else ""),
        hint=import_hint(source.key),
        details={"venue": source.venue, "market": source.market, "interval": source.key.text.rpartition(":")[2]},
    )


def import_hint(key: SeriesKey) -> str:
    """The command that would store the bars of `key`."""
    return f"tradeagent data import FILE --venue {key.venue} --market {key.market} --interval {key.text.rpartition(':')[2]}"


def _source(part: str) -> ReplaySource:
    venue, _, rest = part.partition(":")
    market, _, interval = rest.rpartition(":")
    if not venue or not market or not interval:
        raise InvalidInput(f"replay: {part!r} is not VENUE:MARKET:INTERVAL", hint="write it like hyperliquid:BTC:5m")
    return ReplaySource(venue, market, parse_duration(interval, "replay interval"))
