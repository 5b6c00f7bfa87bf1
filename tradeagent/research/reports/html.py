"""The report of a backtest as one HTML file that opens offline: no script, no font, no address outside of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from tradeagent.algos.bars import Bars, Floats, Ints
from tradeagent.research.charts import Mark, span_text
from tradeagent.research.picture import Tone
from tradeagent.research.svg import area_chart, candle_chart, line_chart

_TRADES_SHOWN = 500
_TILES = (
    ("total_return_pct", "total return", "%"),
    ("sharpe", "Sharpe, annualised", ""),
    ("max_drawdown_pct", "largest drawdown", "%"),
    ("trades", "closed trades", ""),
    ("win_rate", "win rate, 0–1", ""),
    ("profit_factor", "profit factor", ""),
    ("buy_hold_return_pct", "buy and hold", "%"),
)

_SIGNED = frozenset({"total_return_pct", "sharpe", "buy_hold_return_pct"})


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """What a report draws: the bars it ran on, and equity in quote units at each bar's close."""

    bars: Bars
    equity: Floats

    @property
    def drawdown_pct(self) -> Floats:
        """≤ 0, in percent of the highest equity so far."""
        drawn: Floats = (self.equity / np.maximum.accumulate(self.equity) - 1) * 100
        return drawn

    @property
    def closes(self) -> Ints:
        """When each equity value was, UTC ms."""
        closes: Ints = self.bars.time + self.bars.interval_ms
        return closes


def marks_of(trades: Sequence[Mapping[str, Any]], time_of: Any) -> list[Mark]:
    """Entries (▲ long, ▼ short) and exits (●) of trades in the JSON shape of `backtest run`; `time_of` reads their ISO times as UTC ms."""
    marks = []
    for trade in trades:
        is_long = trade["direction"] == "long"
        marks.append(
            Mark(time_of(trade["entry_time"]), float(trade["entry_price"]), "▲" if is_long else "▼", Tone.UP if is_long else Tone.DOWN)
        )
        if trade.get("exit_time"):
            marks.append(Mark(time_of(trade["exit_time"]), float(trade["exit_price"]), "●", Tone.MARK))
    return marks


def report(document: Mapping[str, Any], drawn: Drawn, marks: Sequence[Mark]) -> str:
    """The whole page. `document` is what `backtest show --json` prints, trades included."""
    data, metrics = document["data"], document["metrics"]
    name = f"{document['algo']} on {data['market']} {data['interval']}"
    span = span_text(int(drawn.bars.time[0]), int(drawn.closes[-1]))
    start = float(drawn.equity[0]) if not document.get("cash") else float(document["cash"])
    sections = [
        f"<h1>{escape(name)}</h1><p class=sub>{escape(span)} · {data['bars']:,} bars · backtest {escape(str(document['id']))}</p>",
        _tiles(metrics),
        "".join(f"<p class=warn>{escape(str(warning))}</p>" for warning in document.get("warnings", ())),
        "<h2>Equity, USDC</h2>" + line_chart(drawn.closes, drawn.equity, "equity", base=start),
        "<h2>Drawdown, %</h2>" + area_chart(drawn.closes, drawn.drawdown_pct, "drawdown"),
        "<h2>Market and trades</h2>" + candle_chart(drawn.bars, marks, name) + "<small>▲ long entry ▼ short entry ● exit</small>",
        "<h2>What speaks against it</h2>" + _honesty(document.get("honesty", {}), document.get("limits_impact", {})),
        "<h2>By month, %</h2>" + _months(drawn),
        "<h2>Metrics</h2>" + _columns(metrics),
        "<h2>Costs and fills</h2>" + _pairs({**document.get("costs", {}), **_flat(document.get("fill_model", {}))}),
        "<h2>Trades</h2>" + _trades(document.get("trades", ()), document.get("open_trade")),
        f"<p class=muted>data {escape(str(data.get('fingerprint', '')))} · kernel {escape(str(document.get('kernel', '')))}. "
        "A backtest is a claim about the past. Nothing here says what comes.</p>",
    ]
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(name)}</title><style>{_style()}</style>'
    )
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(sections)}</body></html>\n'


def _style() -> str:
    return files("tradeagent.research").joinpath("report.css").read_text(encoding="utf-8")


def _tiles(metrics: Mapping[str, Any]) -> str:
    tiles = []
    for key, label, unit in _TILES:
        value = metrics.get(key)
        css = _sign(value) if key in _SIGNED else ""
        tiles.append(f'<div><b class="{css}">{_figure(value)}{unit if value is not None else ""}</b>{escape(label)}</div>')
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _sign(value: float | None) -> str:
    return "" if not value else "pos" if value > 0 else "neg"


def _honesty(honesty: Mapping[str, Any], limits_impact: Mapping[str, Any]) -> str:
    rows: dict[str, Any] = {}
    for key, value in honesty.items():
        if isinstance(value, Mapping):
            rows |= {f"{key}: {inner}": found for inner, found in value.items()}
        else:
            rows[key] = value
    for rule, impact in limits_impact.items():
        rows[f"limits would have refused by {rule}"] = impact.get("refused")
        rows[f"limits would have cut by {rule}"] = impact.get("cut")
    return _pairs(rows) if rows else "<p class=muted>nothing was computed</p>"


def _months(drawn: Drawn) -> str:
    """Return of each UTC month from equity at its last close."""
    months = drawn.closes.astype("datetime64[ms]").astype("datetime64[M]")
    last = np.flatnonzero(np.append(months[1:] != months[:-1], True))
    before = np.append(drawn.equity[0], drawn.equity[last][:-1])
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
    items = list(metrics.items())
    half = (len(items) + 1) // 2
    return f'<div class="grid2">{_pairs(dict(items[:half]))}{_pairs(dict(items[half:]))}</div>'


def _pairs(data: Mapping[str, Any]) -> str:
    return "<table>" + "".join(f"<tr><td>{escape(_words(key))}<td>{_figure(value)}" for key, value in data.items()) + "</table>"


def _trades(trades: Sequence[Mapping[str, Any]], open_trade: Any) -> str:
    if not trades and not open_trade:
        return (
            "<p class=muted>No trade was closed. `tradeagent algo explore` shows how often each condition fired and which one blocked.</p>"
        )
    columns = (
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
    still = _as_list(open_trade)
    return f"<table><tr>{head}{rows}{''.join(_row(trade, columns) for trade in still)}</table>{more}"


def _as_list(open_trade: Any) -> Iterable[Mapping[str, Any]]:
    if not open_trade:
        return ()
    return open_trade if isinstance(open_trade, list) else (open_trade,)


def _row(trade: Mapping[str, Any], columns: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<td>{_figure(trade.get(column))}" for column in columns)


def _flat(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {"fill model": value}


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
