"""Tools of family backtest that run and read backtests. A short one runs here in a worker thread, a long one as a job."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from tradeagent.domain.bars import interval_text, parse_duration
from tradeagent.domain.clock import DAY_MS, parse_instant
from tradeagent.domain.errors import InvalidInput
from tradeagent.llm.contract import Tool, ToolResult
from tradeagent.market.instruments import HYPERLIQUID
from tradeagent.market.stored_feed import StoredFeed
from tradeagent.tools import desk_results
from tradeagent.tools.desk import DeskContext
from tradeagent.tools.desk_algos import AlgoRef, ParamValue, Positive
from tradeagent.tools.desk_jobs import WaitS, find_job, in_a_job, job_answer
from tradeagent.tools.desk_market import written_picture
from tradeagent.tools.market import Arguments

if TYPE_CHECKING:
    from tradeagent.algos.store import StoredAlgo
    from tradeagent.research.reports.drawn import Drawn
    from tradeagent.research.store import Stored

# Bars that take a second or so: of the kernel, of an algorithm in the sandbox, through the door.
_SHORT_KERNEL, _SHORT_PYTHON, _SHORT_DOOR = 400_000, 20_000, 1_500
_MONTH_MS = 31 * DAY_MS
_WIDTH, _HEIGHT = 100, 16
_SCALES = {"equity": "USDC", "drawdown": "percent below the peak", "candles": "USDC"}
MOST_COMPARED, MOST_TRADES = 8, 100
Reference = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9]+$", description="id, the end of one, or last")]
ParamName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]{0,79}$")]
Moment = Annotated[str, Field(min_length=4, max_length=32, description="like 2025-03-01, UTC")]


class OnBars(Arguments):
    """An algorithm on stored bars, with the algo's own market and interval where they are not given."""

    algo: AlgoRef
    market: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[^\s,-][^\s,]*$")] | None = None
    interval: Annotated[str, Field(min_length=2, max_length=4, pattern=r"^[0-9]+[a-z]$", description="5m, 1h …")] | None = None
    start: Moment | None = Field(default=None, description="first bar opens at or after this, UTC")
    end: Moment | None = Field(default=None, description="last bar has closed by this, UTC")
    cash: Positive | None = Field(default=None, description="USDC")
    leverage: int | None = Field(default=None, ge=1, le=100)


class RunBacktest(OnBars):
    params: dict[ParamName, ParamValue] = Field(
        default_factory=dict, max_length=20, description="values by name, as show_algorithm lists them"
    )
    limits: Literal["agent", "algo", "engine", "manual"] | None = Field(
        default=None, description="obey these limits, through the door; slow"
    )
    wait_s: WaitS = 20


class Results(Arguments):
    backtest: Reference = "last"
    trades: int = Field(default=0, ge=0, le=MOST_TRADES, description="also the newest so many trades")


class PlotBacktest(Arguments):
    backtest: Reference = "last"
    what: Literal["equity", "drawdown", "candles"] = "equity"
    png: bool = Field(default=False, description="also write the whole picture and give its path")


class Compare(Arguments):
    backtests: list[Reference] = Field(min_length=2, max_length=MOST_COMPARED)


@dataclass(frozen=True, slots=True)
class Place:
    """Which stored bars are meant; times UTC ms."""

    venue: str
    market: str
    interval_ms: int
    from_ms: int | None
    until_ms: int | None

    def argv(self, asked: OnBars) -> list[str]:
        """The flags of a command that means the same. Each is one word, so that no value can be another flag."""
        flags = {"market": self.market, "interval": interval_text(self.interval_ms), "venue": self.venue}
        flags |= {"from": asked.start or "", "to": asked.end or ""}
        flags |= {"cash": "" if asked.cash is None else f"{asked.cash:f}", "leverage": str(asked.leverage or "")}
        return [f"--{name}={value}" for name, value in flags.items() if value]


def place_of(context: DeskContext, algo: "StoredAlgo", asked: OnBars) -> Place:
    """InvalidInput names what is missing or wrong."""
    market = asked.market or algo.spec.market
    interval_ms = parse_duration(asked.interval, "interval") if asked.interval else algo.spec.interval_ms
    for field, value, example in (("market", market, "BTC"), ("interval", interval_ms, "1h")):
        if not value:
            raise InvalidInput(f"{field} is missing, and {algo.name} names none", hint=f"give {field}, like {example}")
    from_ms = None if asked.start is None else parse_instant(asked.start, "start")
    until_ms = None if asked.end is None else parse_instant(asked.end, "end")
    if from_ms is not None and until_ms is not None and from_ms >= until_ms:
        raise InvalidInput(f"start {asked.start} is not before end {asked.end}", hint="give start the earlier time")
    feed = context.feed
    venue = feed.venue_of(market) if isinstance(feed, StoredFeed) and market in feed.markets else HYPERLIQUID
    return Place(venue, market, interval_ms, from_ms, until_ms)


async def run_backtest(arguments: RunBacktest, context: DeskContext) -> ToolResult:
    from tradeagent.algos.store import find

    algo = find(context.ledger, arguments.algo)
    place = place_of(context, algo, arguments)
    if _is_long(context, place, is_python=algo.spec.python is not None, has_limits=arguments.limits is not None):
        params = [f"--param={name}={value}" for name, value in arguments.params.items()]
        limits = [f"--limits={arguments.limits}"] if arguments.limits else []
        argv = ["backtest", "run", arguments.algo, *place.argv(arguments), *params, *limits]
        return await in_a_job(context, "backtest", argv, arguments.wait_s, desk_results.backtest)
    return ToolResult(await asyncio.to_thread(_performed, context, algo, place, arguments))


def _is_long(context: DeskContext, place: Place, *, is_python: bool, has_limits: bool) -> bool:
    """Whether the run would take more than a second or so, by the number of bars it may have."""
    stored = [key for key in context.research.warehouse.series_keys() if (key.venue, key.market) == (place.venue, place.market)]
    months = max((len(context.research.warehouse.files(key)) for key in stored if not key.funding), default=0)
    span_ms = months * _MONTH_MS
    if place.from_ms is not None:
        span_ms = min(span_ms, (place.until_ms or context.clock.now_ms()) - place.from_ms)
    limit = _SHORT_DOOR if has_limits else _SHORT_PYTHON if is_python else _SHORT_KERNEL
    return span_ms > limit * place.interval_ms


def _performed(context: DeskContext, algo: "StoredAlgo", place: Place, arguments: RunBacktest) -> dict[str, Any]:
    from tradeagent.execution.opening import costs_of
    from tradeagent.research.backtest import Setup, terms_of
    from tradeagent.research.record import perform
    from tradeagent.research.run import Terms

    costs = costs_of(context.config)
    base = Terms(fees=costs.fees, slippage_bps=costs.slippage_bps)
    terms = terms_of(algo.spec, cash=arguments.cash, leverage=arguments.leverage, base=base)
    params = {name: value if isinstance(value, int) else str(value) for name, value in arguments.params.items()}
    setup = Setup(
        place.venue, place.market, place.interval_ms, place.from_ms, place.until_ms, params=params, terms=terms, limits=arguments.limits
    )
    instrument = context.instrument(place.venue, place.market)
    return desk_results.backtest(perform(context.research, algo, setup, instrument).document)


async def get_backtest_results(arguments: Results, context: DeskContext) -> ToolResult:
    job = None if arguments.backtest == "last" else find_job(context, arguments.backtest)
    if job is not None and job.kind == "backtest":
        return job_answer(job, desk_results.backtest)
    kept = await asyncio.to_thread(_kept, context, arguments.backtest)
    shown = desk_results.backtest(kept.document)
    if arguments.trades:
        shown["trades"] = await asyncio.to_thread(_trades, context, kept, arguments.trades)
    return ToolResult(shown)


def _kept(context: DeskContext, reference: str) -> "Stored":
    from tradeagent.research import store

    return store.get(context.research.results, reference)


def _trades(context: DeskContext, kept: "Stored", count: int) -> list[dict[str, Any]]:
    from tradeagent.research.result import trades_json

    instruments = [context.instrument(kept.config["venue"], market) for market in kept.markets]
    rows = trades_json(kept.trades, kept.closes - kept.config["interval_ms"], instruments)[-count:]
    return [{key: desk_results.short(value) for key, value in row.items() if key not in ("mae", "mfe")} for row in rows]


async def plot_backtest(arguments: PlotBacktest, context: DeskContext) -> ToolResult:
    kept, drawn = await asyncio.to_thread(_drawn, context, arguments.backtest)
    title = f"{kept.document['algo']} on {kept.document['data']['market']} {kept.document['data']['interval']}"
    shown = {
        "backtest": kept.id,
        "of": title,
        "what": arguments.what,
        "scale": _SCALES[arguments.what],
        "chart": _chart(drawn, arguments.what),
    }
    if arguments.png:
        from tradeagent.research.reports.png import png

        shown["png"] = await written_picture(context, f"backtest-{kept.id}", lambda: png(drawn, title))
    return ToolResult(shown)


def _drawn(context: DeskContext, reference: str) -> "tuple[Stored, Drawn]":
    from tradeagent.research.reports.drawn import drawn_of

    kept = _kept(context, reference)
    instruments = [context.instrument(kept.config["venue"], market) for market in kept.markets]
    return kept, drawn_of(context.research.warehouse, kept, instruments)


def _chart(drawn: "Drawn", what: str) -> str:
    from tradeagent.research.reports import charts

    if what == "equity":
        return charts.line(drawn.closes, drawn.equity, _WIDTH, _HEIGHT, base=drawn.start).plain()
    if what == "drawdown":
        return charts.area(drawn.closes, drawn.drawdown_pct, _WIDTH, _HEIGHT).plain()
    marks = drawn.marks if len(drawn.marks) <= _WIDTH else ()
    return charts.candles(drawn.bars, _WIDTH, _HEIGHT, marks).plain()


async def compare_backtests(arguments: Compare, context: DeskContext) -> ToolResult:
    documents = [desk_results.backtest((await asyncio.to_thread(_kept, context, each)).document) for each in arguments.backtests]
    rows: dict[str, list[Any]] = {"backtest": [each["backtest"] for each in documents], "algo": [each["algo"] for each in documents]}
    for part in ("data", "params", "costs"):
        rows |= _side_by_side(documents, part, only_different=True)
    figures = _side_by_side(documents, "metrics", only_different=False)
    trust = {
        key: [each["honesty"].get(key) for each in documents] for key in documents[0]["honesty"] if key not in ("notes", "sharpe_95_pct")
    }
    return ToolResult(
        {"question": rows, "metrics": figures, "honesty": trust, "limits_impact": [each["limits_impact"] for each in documents]}
    )


def _side_by_side(documents: list[dict[str, Any]], part: str, *, only_different: bool) -> dict[str, list[Any]]:
    sections: list[Mapping[str, Any]] = [each[part] for each in documents]
    keys = dict.fromkeys(key for section in sections for key in section)
    found = {key: [section.get(key) for section in sections] for key in keys}
    return {key: values for key, values in found.items() if not only_different or any(value != values[0] for value in values)}


BACKTEST_TOOLS = (
    Tool(
        "run_backtest",
        "Run an algorithm over stored bars with real costs; says how far to trust the result.",
        RunBacktest,
        "backtest",
        "algo",
        run_backtest,
    ),
    Tool("get_backtest_results", "One stored backtest, or how far its job is.", Results, "backtest", "read", get_backtest_results),
    Tool(
        "plot_backtest", "Equity, drawdown or candles with trades as text, PNG when asked.", PlotBacktest, "backtest", "read", plot_backtest
    ),
    Tool("compare_backtests", "Backtests side by side: question, figures, honesty.", Compare, "backtest", "read", compare_backtests),
)
