"""The report of a backtest as one HTML file that opens offline: no script, no font, no address outside of it."""

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from tradeagent.research.reports.charts import span_text
from tradeagent.research.reports.drawn import Drawn, Market
from tradeagent.research.reports.svg import area_chart, candle_chart, line_chart
from tradeagent.research.reports.words import honesty_lines, limit_lines, metric, money, still_open, warning_lines

_TRADES_SHOWN = 500
_MARKS_SHOWN = 120
_TILES = (
    ("total_return_pct", "total return"),
    ("sharpe", "Sharpe, annualised"),
    ("max_drawdown_pct", "largest drawdown"),
    ("trades", "closed trades"),
    ("win_rate", "win rate"),
    ("profit_factor", "profit factor"),
    ("buy_hold_return_pct", "buy and hold"),
)
_LABELS: Mapping[str, str] = {
    "sharpe": "Sharpe",
    "sortino": "Sortino",
    "calmar": "Calmar",
    "max_drawdown_quote": "max drawdown, USDC",
    "max_drawdown_duration_s": "longest drawdown",
    "gross_pnl_quote": "gross PnL, closed trades only",
    "net_pnl_quote": "net PnL, closed trades only",
    "long_pnl_quote": "long PnL, closed trades only",
    "short_pnl_quote": "short PnL, closed trades only",
    "fees_quote": "fees, whole run",
    "funding_quote": "funding paid, whole run",
    "slippage_quote": "slippage, whole run",
    "expectancy_r": "expectancy, R",
    "sqn": "SQN",
    "var_95_pct": "VaR 95, a day",
    "cvar_95_pct": "CVaR 95, a day",
}
_MONEY = frozenset({"pnl", "fees", "funding", "cash", "r"})

_SIGNED = frozenset({"total_return_pct", "sharpe", "buy_hold_return_pct"})


def report(document: Mapping[str, Any], drawn: Drawn) -> str:
    """The whole page. `document` is what `backtest show --json` prints, trades included."""
    data, metrics = document["data"], document["metrics"]
    name = f"{document['algo']} on {data['market']} {data['interval']}"
    span = span_text(int(drawn.bars.time[0]), int(drawn.closes[-1]))
    sections = [
        f"<h1>{escape(name)}</h1><p class=sub>{escape(span)} · {data['bars']:,} bars · backtest {escape(str(document['id']))}</p>",
        _tiles(metrics),
        "".join(f"<p class=warn>{count:,} {escape(message)}</p>" for count, message in warning_lines(document)),
        "<h2>Equity, USDC</h2>" + line_chart(drawn.closes, drawn.equity, "equity", base=drawn.start),
        "<h2>Drawdown, %</h2>" + area_chart(drawn.closes, drawn.drawdown_pct, "drawdown"),
        "<h2>Market and trades</h2>" + "".join(_market(market, name) for market in drawn.markets),
        "<h2>What speaks against it</h2>" + _texts([*honesty_lines(document["honesty"]), *limit_lines(document)]),
        "<h2>By month, %</h2>" + _months(drawn),
        "<h2>Metrics</h2>" + _columns(metrics),
        "<h2>Costs and fills</h2>" + _pairs(document["costs"]) + _texts(_fills(document["fill_model"])),
        "<h2>Exits</h2>" + _exits(document["diagnostics"]["exit_reasons"]),
        "<h2>Trades</h2>" + _trades(document["trades"], still_open(document)),
        f"<p class=muted>data {escape(str(data['fingerprint']))} · kernel {escape(str(document['kernel']))}. "
        "A backtest is a claim about the past. Nothing here says what comes.</p>",
    ]
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(name)}</title><style>{_style()}</style>'
    )
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(sections)}</body></html>\n'


def _style() -> str:
    return files("tradeagent.research.reports").joinpath("report.css").read_text(encoding="utf-8")


def _tiles(metrics: Mapping[str, Any]) -> str:
    tiles = []
    for key, label in _TILES:
        css = _sign(metrics.get(key)) if key in _SIGNED else ""
        tiles.append(f'<div><b class="{css}">{metric(key, metrics)}</b>{escape(label)}</div>')
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _sign(value: float | None) -> str:
    return "" if not value else "pos" if value > 0 else "neg"


def _market(market: Market, name: str) -> str:
    """Candles with the trades; when these are too many to be told apart, all candles, and the newest trades in a chart of their own."""
    legend = f"<small>{escape(market.bars.market)}: ▲ long entry ▼ short entry ● exit</small>"
    marks = market.marks[-_MARKS_SHOWN:]
    if len(marks) == len(market.marks):
        return candle_chart(market.bars, marks, name) + legend
    newest = market.between(int(np.searchsorted(market.bars.time, marks[0].time_ms)), len(market.bars))
    title = f"the newest {len(newest.marks):,} of {len(market.marks):,} entries and exits"
    return f"{candle_chart(market.bars, (), name)}<p class=muted>{title}</p>{candle_chart(newest.bars, newest.marks, title)}{legend}"


def _texts(lines: Sequence[tuple[str, str]]) -> str:
    return '<table class="texts">' + "".join(f"<tr><td>{escape(label)}<td>{escape(text)}" for label, text in lines) + "</table>"


def _months(drawn: Drawn) -> str:
    """Return of each UTC month: equity at the close of its last bar over that of the month before."""
    months = drawn.bars.time.astype("datetime64[ms]").astype("datetime64[M]")
    last = np.flatnonzero(np.append(months[1:] != months[:-1], True))
    before = np.append(drawn.start, drawn.equity[last][:-1])
    rows: dict[str, dict[int, float]] = {}
    for month, end, start in zip(months[last].tolist(), drawn.equity[last].tolist(), before.tolist(), strict=True):
        rows.setdefault(str(month.year), {})[month.month] = (end / start - 1) * 100 if start > 0 else float("nan")
    head = "".join(f"<th>{name}" for name in ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"])
    body = "".join(f"<tr><td>{year}{''.join(_month_cell(values.get(i)) for i in range(1, 13))}" for year, values in rows.items())
    return f"<table><tr><th>{head}{body}</table>"


def _month_cell(value: float | None) -> str:
    if value is None or not np.isfinite(value):
        return "<td>"
    return f'<td class="{_sign(value)}">{value:+.1f}'


def _columns(metrics: Mapping[str, Any]) -> str:
    rows = [f"<tr><td>{escape(_label(key))}<td>{metric(key, metrics)}" for key in metrics]
    half = (len(rows) + 1) // 2
    return f'<div class="grid2"><table>{"".join(rows[:half])}</table><table>{"".join(rows[half:])}</table></div>'


def _label(key: str) -> str:
    return _LABELS.get(key) or _words(key.removesuffix("_pct"))


def _pairs(data: Mapping[str, Any]) -> str:
    return "<table>" + "".join(f"<tr><td>{escape(_words(key))}<td>{_cell(key, value)}" for key, value in data.items()) + "</table>"


def _trades(trades: Sequence[Mapping[str, Any]], still: Sequence[Mapping[str, Any]]) -> str:
    if not trades and not still:
        return (
            "<p class=muted>No trade was closed. `tradeagent algo explore` shows how often each condition fired and which one blocked.</p>"
        )
    columns = (
        *(("market",) if "market" in (*trades, *still)[0] else ()),
        "direction",
        "entry_time",
        "entry_price",
        "exit_time",
        "exit_price",
        "size",
        "pnl",
        "fees",
        "funding",
        "r",
        "bars",
        "exit_reason",
    )
    head = "".join(f"<th>{escape(_words(column))}" for column in columns)
    rows = "".join(_row(trade, columns) for trade in trades[:_TRADES_SHOWN])
    left = len(trades) - _TRADES_SHOWN
    more = f"<p class=muted>and {left:,} more; `tradeagent backtest show ID --trades --json` has all</p>" if left > 0 else ""
    opened = "".join(_row(trade, columns) for trade in still)
    return f"<table><tr>{head}{rows}{opened}</table>{more}"


def _row(trade: Mapping[str, Any], columns: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<td>{_cell(column, trade.get(column))}" for column in columns)


def _cell(key: str, value: Any) -> str:
    """A value by its name: money and R with two decimals, times to the minute."""
    if key in _MONEY and value is not None and not isinstance(value, bool):
        return money(value)
    return escape(str(value)[:16].replace("T", " ")) if key.endswith("_time") and value else _figure(value)


def _fills(model: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(_words(key), text) for key, text in model.items()]


def _exits(reasons: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        f"<tr><td>{escape(_words(reason))}<td>{found['trades']:,}<td>{float(found['pnl_quote']):+,.2f}" for reason, found in reasons.items()
    ]
    return f"<table><tr><th>reason<th>trades<th>net PnL, USDC{''.join(rows)}</table>"


def _words(key: str) -> str:
    return key.removesuffix("_quote").replace("_pct", " %").replace("_", " ")


def _figure(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, (list, tuple)):
        return " … ".join(_figure(item) for item in value)
    return escape(str(value))
