"""More tools of family market: what the venue shows only now, how often a condition would have held, and charts."""

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import numpy as np
from pydantic import Field

from tradeagent.domain.bars import interval_text, parse_duration
from tradeagent.domain.clock import DAY_MS, iso
from tradeagent.domain.errors import DataError, InvalidInput, NotFound
from tradeagent.domain.money import plain
from tradeagent.llm.contract import Tool, ToolResult
from tradeagent.tools.context import ToolContext
from tradeagent.tools.desk import DeskContext
from tradeagent.tools.market import Arguments, Market, OneMarket

if TYPE_CHECKING:
    from tradeagent.algos.bars import Bars
    from tradeagent.hyperliquid.client import InfoClient, OrderBook

MOST_EXPLORED, MOST_DRAWN = 50_000, 2_000
_MOST_PARAMS = 10
_WIDTH, _HEIGHT = 100, 24
_PATIENCE_S = 10.0
_Answer = TypeVar("_Answer")
Interval = Annotated[str, Field(min_length=2, max_length=4, description="5m, 15m, 1h, 4h …")]


class Book(OneMarket):
    levels: int = Field(default=5, ge=1, le=20, description="levels of each side")


class Explore(Arguments):
    market: Market
    interval: Interval = "1h"
    indicator: str = Field(min_length=1, max_length=40, description="kind, like rsi, sma, bollinger, adx")
    params: dict[Annotated[str, Field(max_length=40)], int | float | Annotated[str, Field(max_length=40)]] = Field(
        default_factory=dict, max_length=_MOST_PARAMS, description="its parameters, like {length: 14}"
    )
    condition: str = Field(
        default="", max_length=300, description="over the indicator by its kind, like 'rsi < 30' or 'close < bollinger.lower'"
    )
    bars: int = Field(default=5_000, ge=50, le=MOST_EXPLORED, description="newest so many closed bars")


class Chart(Arguments):
    market: Market
    interval: Interval = "1h"
    bars: int = Field(default=90, ge=10, le=MOST_DRAWN)
    png: bool = Field(default=False, description="also write a picture and give its path")


async def get_orderbook(arguments: Book, context: ToolContext) -> ToolResult:
    found = await _ask(context, lambda client: client.book(arguments.market))
    bids, asks = found.bids[: arguments.levels], found.asks[: arguments.levels]
    return ToolResult(
        {
            "market": arguments.market,
            "as_of": iso(found.time_ms),
            "columns": ["price_usdc", "size_base"],
            "bids": [[plain(level.price), plain(level.size)] for level in bids],
            "asks": [[plain(level.price), plain(level.size)] for level in asks],
            **_spread(found),
        }
    )


def _spread(book: "OrderBook") -> dict[str, Any]:
    if not book.bids or not book.asks:
        return {"spread_bps": None}
    bid, ask = book.bids[0].price, book.asks[0].price
    middle = (bid + ask) / 2
    return {"mid_usdc": plain(middle), "spread_bps": str(((ask - bid) / middle * 10_000).quantize(Decimal("0.01")))}


async def get_open_interest(arguments: OneMarket, context: ToolContext) -> ToolResult:
    dex = arguments.market.partition(":")[0] if ":" in arguments.market else ""
    _, contexts = await _ask(context, lambda client: client.contexts(dex))
    found = next((each for each in contexts if each.market == arguments.market), None)
    if found is None:
        raise NotFound(f"market: the venue has no {arguments.market!r}", hint="search_markets finds its name")
    return ToolResult(
        {
            "market": arguments.market,
            "as_of": iso(context.clock.now_ms()),
            "open_interest_base": plain(found.open_interest),
            "open_interest_usdc": plain((found.open_interest * found.mark).quantize(Decimal(1))),
            "mark_usdc": plain(found.mark),
            "oracle_usdc": plain(found.oracle),
            "funding_rate_pct_per_hour": plain(found.funding * 100),
            "volume_24h_usdc": plain(found.day_notional.quantize(Decimal(1))),
        }
    )


async def _ask(context: ToolContext, question: "Callable[[InfoClient], _Answer]") -> _Answer:
    """One question to the venue, in a worker thread. DataError where the answer would be later than the turn's own instant."""
    url = context.venue()
    if url is None:
        hint = "get_candles and get_funding know what was known then"
        raise DataError("the venue can only be asked about now, and this run is at another time", hint=hint)
    from tradeagent.hyperliquid.client import InfoClient
    from tradeagent.workspace.web import Patience

    def answer() -> _Answer:
        client = InfoClient(url, context.clock, patience=Patience(silence_s=_PATIENCE_S, total_s=_PATIENCE_S, attempts=2))
        try:
            return question(client)
        finally:
            client.close()

    return await asyncio.to_thread(answer)


def bars_of(context: ToolContext, market: str, interval_ms: int, count: int) -> "Bars":
    """The newest closed bars of a market as columns, with the funding that was paid by each. DataError when there are none."""
    from tradeagent.algos.bars import Bars

    now = context.clock.now_ms()
    if context.feed is None or market not in context.feed.markets:
        served = ", ".join(context.feed.markets) if context.feed is not None else ""
        hint = f"bars are there of {served}" if served else "bars are imported or fetched first: tradeagent data fetch"
        raise DataError(f"market: no bars of {market!r}", hint=hint)
    found = context.feed.history(market, interval_ms, now, count)
    if not len(found):
        raise DataError(f"market: no closed bars of {market!r} yet", hint="tradeagent data list")
    paid = context.feed.funding(market, int(found.ts[0]) - 2 * interval_ms, now)
    hours, rates = np.array([hour for hour, _ in paid], np.int64), np.array([rate for _, rate in paid], np.float64) / 1e10
    newest = np.searchsorted(hours, found.close_ms, side="right") - 1
    funding = np.concatenate([rates, [np.nan]])[newest]
    return Bars(market, interval_ms, found.ts, found.open, found.high, found.low, found.close, found.volume, funding)


async def explore_indicator(arguments: Explore, context: ToolContext) -> ToolResult:
    interval_ms = parse_duration(arguments.interval, "interval")
    bars = bars_of(context, arguments.market, interval_ms, arguments.bars)
    return ToolResult(await asyncio.to_thread(_explored, arguments, bars))


def _explored(arguments: Explore, bars: "Bars") -> dict[str, Any]:
    from tradeagent.algos.evaluate import Evaluator
    from tradeagent.algos.explore import explore
    from tradeagent.algos.parse import parse_algo

    kind, stated = arguments.indicator, arguments.condition.strip()
    text = json.dumps(
        {
            "name": "explore",
            "direction": "long",
            "indicators": {kind: {**arguments.params, "kind": kind}},
            # without a condition only the values are asked for
            "entry": {"long": {"required": [stated or "close > 0"]}},
        }
    )
    spec = parse_algo(text, "explore")
    told = explore(Evaluator(bars), spec)
    shown: dict[str, Any] = {
        "market": arguments.market,
        "interval": interval_text(bars.interval_ms),
        "bars": len(bars),
        "first": iso(int(bars.time[0])),
        "last_close": iso(int(bars.time[-1]) + bars.interval_ms),
        "warmup_bars": told["warmup"],
        "values": {name: {key: _short(value) for key, value in found.items()} for name, found in told["indicators"].items()},
    }
    if stated and told["rules"]:
        rule = told["rules"][0]
        days = len(bars) * bars.interval_ms / DAY_MS
        shown["condition"] = {
            "text": stated,
            "true_bars": rule["true_bars"],
            "true_pct_of_bars": _short(rule["true_pct"]),
            "times_it_began": rule["fires"],
            "times_a_day": _short(rule["fires"] / days),
        }
    return shown


def _short(value: float | int | None) -> float | int | None:
    return float(f"{value:.6g}") if isinstance(value, float) else value


async def chart(arguments: Chart, context: ToolContext) -> ToolResult:
    from tradeagent.research.reports import charts

    bars = bars_of(context, arguments.market, parse_duration(arguments.interval, "interval"), arguments.bars)
    text = charts.candles(bars, _WIDTH, _HEIGHT).plain()
    name = f"{arguments.market} {interval_text(bars.interval_ms)}"
    shown = {"market": arguments.market, "interval": interval_text(bars.interval_ms), "bars": len(bars), "prices": "USDC", "chart": text}
    if arguments.png:
        from tradeagent.research.reports.png import market_png

        shown["png"] = await written_picture(context, name, lambda: market_png(bars, name))
    return ToolResult(shown)


async def written_picture(context: ToolContext, name: str, drawn: Callable[[], bytes]) -> str:
    """Draw a PNG in a worker thread and keep it under `name`; its path. InvalidInput where there is no place for pictures."""
    if not isinstance(context, DeskContext):
        raise InvalidInput("png: a run of an agent keeps no pictures", hint="leave png out: the chart comes as text")
    from tradeagent.market.warehouse import escape
    from tradeagent.workspace.files import write_atomic

    target = context.charts_dir / f"{escape(name.replace(' ', '-'), 'picture')}.png"

    def draw() -> None:
        content = drawn()
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, content, durable=False)

    await asyncio.to_thread(draw)
    return str(target)


MORE_MARKET_TOOLS = (
    Tool("get_orderbook", "Best bids and asks now, with spread; asks the venue.", Book, "market", "read", get_orderbook),
    Tool(
        "get_open_interest",
        "Open interest, oracle and mark price, funding now; asks the venue.",
        OneMarket,
        "market",
        "read",
        get_open_interest,
    ),
    Tool(
        "explore_indicator",
        "Values of an indicator, and how often a condition over it was true.",
        Explore,
        "market",
        "read",
        explore_indicator,
    ),
    Tool("chart", "Candles as terminal text, and as PNG when asked.", Chart, "market", "read", chart),
)
