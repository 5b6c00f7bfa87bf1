"""The picture of a backtest as PNG: price with trades, equity, drawdown. Needs the extra `charts` (matplotlib)."""

from io import BytesIO
from typing import Any

import numpy as np

from tradeagent.domain.errors import InvalidInput
from tradeagent.research.reports.drawn import Drawn

_MARKERS = {"▲": ("^", "#0a7d4f"), "▼": ("v", "#c0322b"), "●": ("o", "#a05a00")}


def png(drawn: Drawn, title: str) -> bytes:
    """A 1600 × 1000 picture. Raises InvalidInput when matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise InvalidInput("a PNG needs matplotlib, which is not installed", hint='install it: pip install "tradeagent[charts]"') from None
    figure: Any = Figure(figsize=(16, 10), dpi=100, layout="constrained")
    price, equity, drawdown = figure.subplots(3, 1, sharex=True, height_ratios=(5, 3, 2))
    times = drawn.closes.astype("datetime64[ms]")
    price.plot(times, drawn.bars.close, color="#667", linewidth=0.8)
    for text, (shape, colour) in _MARKERS.items():
        chosen = [mark for mark in drawn.marks if mark.text == text]
        at = np.array([mark.time_ms for mark in chosen], dtype="datetime64[ms]")
        price.scatter(at, [mark.price for mark in chosen], marker=shape, color=colour, s=28, zorder=3)
    equity.plot(times, drawn.equity, color="#2360c5", linewidth=1.2)
    drawdown.fill_between(times, drawn.drawdown_pct, 0, color="#c0322b", alpha=0.45)
    for axes, label in ((price, drawn.bars.market), (equity, "equity, USDC"), (drawdown, "drawdown, %")):
        axes.set_ylabel(label)
        axes.grid(alpha=0.25)
        axes.margins(x=0)
    price.set_title(title, loc="left")
    written = BytesIO()
    FigureCanvasAgg(figure).print_png(written)
    return written.getvalue()
