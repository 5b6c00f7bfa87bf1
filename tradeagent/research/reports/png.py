"""Pictures as PNG: a backtest with price, trades, equity and drawdown, or a market alone. Needs the extra `charts` (matplotlib)."""

from io import BytesIO
from typing import Any

import numpy as np

from tradeagent.algos.bars import Bars
from tradeagent.domain.errors import InvalidInput
from tradeagent.research.reports.drawn import Drawn

_MARKERS = {"▲": ("^", "#0a7d4f"), "▼": ("v", "#c0322b"), "●": ("o", "#a05a00")}


def png(drawn: Drawn, title: str) -> bytes:
    """A 1600 × 1000 picture. Raises InvalidInput when matplotlib is not installed."""
    figure = _figure()
    markets, times = drawn.markets, drawn.closes.astype("datetime64[ms]")
    *prices, equity, drawdown = figure.subplots(len(markets) + 2, 1, sharex=True, height_ratios=(*(5 for _ in markets), 3, 2))
    for price, market in zip(prices, markets, strict=True):
        price.plot(times, market.bars.close, color="#667", linewidth=0.8)
        for text, (shape, colour) in _MARKERS.items():
            chosen = [mark for mark in market.marks if mark.text == text]
            at = np.array([mark.time_ms for mark in chosen], dtype="datetime64[ms]")
            price.scatter(at, [mark.price for mark in chosen], marker=shape, color=colour, s=28, zorder=3)
    equity.plot(times, drawn.equity, color="#2360c5", linewidth=1.2)
    drawdown.fill_between(times, drawn.drawdown_pct, 0, color="#c0322b", alpha=0.45)
    labels = (*(market.bars.market for market in markets), "equity, USDC", "drawdown, %")
    for axes, label in zip((*prices, equity, drawdown), labels, strict=True):
        axes.set_ylabel(label)
        axes.grid(alpha=0.25)
        axes.margins(x=0)
    prices[0].set_title(title, loc="left")
    return _written(figure)


def market_png(bars: Bars, title: str) -> bytes:
    """The same size of a market alone: the close within each bar's range, and the volume. Raises as `png`."""
    figure = _figure()
    price, volume = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    times = bars.time.astype("datetime64[ms]")
    price.fill_between(times, bars.low, bars.high, color="#667", alpha=0.3, linewidth=0)
    price.plot(times, bars.close, color="#2360c5", linewidth=1)
    volume.fill_between(times, bars.volume, 0, color="#667", alpha=0.6, step="mid")
    for axes, label in ((price, "price, USDC"), (volume, "volume, base units")):
        axes.set_ylabel(label)
        axes.grid(alpha=0.25)
        axes.margins(x=0)
    price.set_title(title, loc="left")
    return _written(figure)


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InvalidInput("a PNG needs matplotlib, which is not installed", hint='install it: pip install "tradeagent[charts]"') from None
    return Figure(figsize=(16, 10), dpi=100, layout="constrained")


def _written(figure: Any) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    written = BytesIO()
    FigureCanvasAgg(figure).print_png(written)
    return written.getvalue()
