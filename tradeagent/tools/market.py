"""Tools of family market: prices, candles and funding of closed bars, never later than the turn's own clock."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from tradeagent.domain.bars import interval_text, parse_duration
from tradeagent.domain.clock import DAY_MS, HOUR_MS, iso
from tradeagent.domain.errors import DataError
from tradeagent.domain.money import plain
from tradeagent.execution.opening import HYPERLIQUID
from tradeagent.llm.contract import Tool, ToolResult
from tradeagent.market.instruments import instrument, known_markets
from tradeagent.market.stored_feed import StoredFeed
from tradeagent.tools.context import ToolContext
from tradeagent.tools.desk import DeskContext

MAX_CANDLES = 500
Market = Annotated[str, Field(min_length=1, max_length=40, description="market name, like BTC")]


class Arguments(BaseModel):
    """Base of all tool arguments: nothing unknown is accepted."""

    model_config = ConfigDict(extra="forbid")


class OneMarket(Arguments):
    market: Market


class Search(Arguments):
    query: str = Field(default="", max_length=40, description="part of a market's name; empty lists the most liquid")


class Candles(Arguments):
    market: Market
    interval: str = Field(default="15m", max_length=4, description="5m, 15m, 1h, 4h …")
    count: int = Field(default=50, ge=1, le=MAX_CANDLES)


class Funding(Arguments):
    market: Market
    hours: int = Field(default=24, ge=1, le=24 * 30)


async def search_markets(arguments: Search, context: ToolContext) -> ToolResult:
    served = context.feed.markets if context.feed is not None else ()
    extra = context.catalogue if isinstance(context, DeskContext) else {}
    names = [name for name in dict.fromkeys((*known_markets(), *extra)) if arguments.query.upper() in name.upper()][:20]
    found = [instrument(HYPERLIQUID, name, extra) for name in names]
    rows = [
        {"market": m.symbol, "max_leverage": m.max_leverage, "size_step_base": f"{m.lot:f}", "has_bars": m.symbol in served} for m in found
    ]
    return ToolResult({"markets": rows})


async def get_mark_price(arguments: OneMarket, context: ToolContext) -> ToolResult:
    known = context.mark(arguments.market)
    if known is None:
        return ToolResult.error("data_error", f"no price of {arguments.market}", _in_reach(context))
    price, at = known
    age_s = (context.clock.now_ms() - at) // 1000
    return ToolResult({"market": arguments.market, "mark_usdc": plain(price), "as_of": iso(at), "age_s": age_s})


async def get_ticker(arguments: OneMarket, context: ToolContext) -> ToolResult:
    feed, now = context.feed, context.clock.now_ms()
    if feed is None or arguments.market not in feed.markets:
        return ToolResult.error("data_error", f"no bars of {arguments.market}", _in_reach(context))
    interval = feed.interval_ms(arguments.market)
    day = feed.history(arguments.market, interval, now, max(1, DAY_MS // interval))
    if not len(day):
        return ToolResult.error("data_error", f"no closed bars of {arguments.market} yet")
    first, last = float(day.open[0]), float(day.close[-1])
    return ToolResult(
        {
            "market": arguments.market,
            "last_usdc": last,
            "change_24h_pct": round((last / first - 1) * 100, 3),
            "high_24h_usdc": float(day.high.max()),
            "low_24h_usdc": float(day.low.min()),
            "volume_24h_base": round(float(day.volume.sum()), 4),
            "as_of": iso(int(day.close_ms[-1])),
            **_labelled(context, arguments.market),
        }
    )


async def get_candles(arguments: Candles, context: ToolContext) -> ToolResult:
    feed = context.feed
    if feed is None or arguments.market not in feed.markets:
        return ToolResult.error("data_error", f"no bars of {arguments.market}", _in_reach(context))
    interval = parse_duration(arguments.interval)
    bars = feed.history(arguments.market, interval, context.clock.now_ms(), arguments.count)
    rows = [
        [iso(int(ts)), float(o), float(h), float(low), float(c), float(v)]
        for ts, o, h, low, c, v in zip(bars.ts, bars.open, bars.high, bars.low, bars.close, bars.volume, strict=True)
    ]
    columns = ["open_time", "open_usdc", "high_usdc", "low_usdc", "close_usdc", "volume_base"]
    named = {"market": arguments.market, "interval": interval_text(interval), **_labelled(context, arguments.market)}
    return ToolResult({**named, "columns": columns, "rows": rows})


async def get_funding(arguments: Funding, context: ToolContext) -> ToolResult:
    if context.feed is None or arguments.market not in context.feed.markets:
        raise DataError(f"no funding of {arguments.market}", hint=_in_reach(context))
    now = context.clock.now_ms()
    span = arguments.hours * HOUR_MS
    rows = context.feed.funding(arguments.market, now - span, now)
    newest = context.feed.newest_close(arguments.market, now)
    if not rows and newest is not None:  # the stored data ends earlier
        rows = context.feed.funding(arguments.market, newest - span, newest)
    shown = [{"hour": iso(hour), "rate_pct_per_hour": rate / 1e8} for hour, rate in rows]
    return ToolResult({"market": arguments.market, "positive": "longs pay shorts", "rates": shown})


def _labelled(context: ToolContext, market: str) -> dict[str, str]:
    """Bars that are not of Hyperliquid say whose they are."""
    venue = context.feed.venue_of(market) if isinstance(context.feed, StoredFeed) else HYPERLIQUID
    return {} if venue == HYPERLIQUID else {"bars_of": venue}


def _in_reach(context: ToolContext) -> str:
    served = context.feed.markets if context.feed is not None else ()
    return f"bars are there of {', '.join(served)}" if served else "no bars are there at all: they are imported or fetched first"


MARKET_TOOLS = (
    Tool("search_markets", "Find markets by name, with leverage and size step.", Search, "market", "read", search_markets),
    Tool("get_mark_price", "The current mark of a market, USDC, with its age.", OneMarket, "market", "read", get_mark_price),
    Tool("get_ticker", "Last price and the 24 h range, change and volume.", OneMarket, "market", "read", get_ticker),
    Tool("get_candles", "Closed bars, oldest first.", Candles, "market", "read", get_candles),
    Tool("get_funding", "Hourly funding rates, percent of notional.", Funding, "market", "read", get_funding),
)
