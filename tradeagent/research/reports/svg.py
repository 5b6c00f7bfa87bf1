"""Charts as inline SVG for a report that opens without a network: equity, drawdown, candles with trades."""

from collections.abc import Sequence
from html import escape

import numpy as np

from tradeagent.algos.bars import Bars, Floats, Ints
from tradeagent.domain.clock import to_datetime
from tradeagent.research.reports.charts import Mark, figure

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 1000, 8, 84, 10, 22
_POINTS = 1000
_CANDLES = 400


def line_chart(times: Ints, values: Floats, title: str, *, base: float | None = None, height: int = 260, css: str = "line") -> str:
    """A line over time, thinned to the extremes of each pixel, with `base` as a dashed level; `css` names its style."""
    frame = _Frame(times, values if base is None else np.append(values, base), height)
    rows = _extremes(values, _POINTS)
    points = " ".join(f"{frame.x(int(times[row])):.1f},{frame.y(float(values[row])):.1f}" for row in rows)
    level = (
        ""
        if base is None
        else f'<line class="base" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{frame.y(base):.1f}" y2="{frame.y(base):.1f}"/>'
    )
    return frame.wrap(title, f'{level}<polyline class="{css}" points="{points}"/>')


def area_chart(times: Ints, values: Floats, title: str, *, height: int = 150) -> str:
    """Values ≤ 0 filled from zero down: a drawdown in percent."""
    frame = _Frame(times, np.append(values, 0.0), height)
    rows = _extremes(values, _POINTS)
    points = " ".join(f"{frame.x(int(times[row])):.1f},{frame.y(float(values[row])):.1f}" for row in rows)
    zero = f"{frame.y(0):.1f}"
    outline = f"{frame.x(int(times[0])):.1f},{zero} {points} {frame.x(int(times[-1])):.1f},{zero}"
    return frame.wrap(title, f'<polygon class="area" points="{outline}"/>')


def candle_chart(bars: Bars, marks: Sequence[Mark], title: str, *, height: int = 340) -> str:
    """At most 400 candles, neighbours merged, with the trades on them; each mark says its text, time and price when pointed at."""
    edges = np.linspace(0, len(bars), min(_CANDLES, len(bars)) + 1).astype(np.int64)
    first, last = edges[:-1], edges[1:] - 1
    high, low = np.maximum.reduceat(bars.high, first), np.minimum.reduceat(bars.low, first)
    frame = _Frame(bars.time, np.append(high, low), height)
    half = max(0.6, (_WIDTH - _LEFT - _RIGHT) / len(first) * 0.35)
    shapes = []
    for i in range(len(first)):
        middle = frame.x(int(bars.time[first[i]] + bars.time[last[i]]) // 2)
        opened, close = frame.y(float(bars.open[first[i]])), frame.y(float(bars.close[last[i]]))
        css = "up" if close <= opened else "down"
        box = f'x="{middle - half:.1f}" y="{min(opened, close):.1f}" width="{2 * half:.1f}" height="{max(abs(opened - close), 0.8):.1f}"'
        wick = f'x1="{middle:.1f}" x2="{middle:.1f}" y1="{frame.y(float(high[i])):.1f}" y2="{frame.y(float(low[i])):.1f}"'
        shapes.append(f'<g class="{css}"><line {wick}/><rect {box}/></g>')
    for mark in marks:
        said = escape(f"{mark.text} {to_datetime(mark.time_ms):%Y-%m-%d %H:%M} at {mark.price:g}")
        spot = f'x="{frame.x(mark.time_ms):.1f}" y="{frame.y(mark.price) + 4:.1f}"'
        shapes.append(f'<text class="mark {mark.tone.name.lower()}" {spot}>{escape(mark.text)}<title>{said}</title></text>')
    return frame.wrap(title, "".join(shapes))


class _Frame:
    """From values to pixels, and the axes around a plot."""

    def __init__(self, times: Ints, values: Floats, height: int) -> None:
        self.first, self.last, self.height = int(times[0]), max(int(times[-1]), int(times[0]) + 1), height
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        pad = (high - low) * 0.03 or abs(high) * 0.001 or 1.0
        self.low, self.high = low - pad, high + pad

    def x(self, time_ms: int) -> float:
        return _LEFT + (time_ms - self.first) / (self.last - self.first) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return _TOP + (self.high - value) / (self.high - self.low) * (self.height - _TOP - _BOTTOM)

    def across(self, value: float) -> str:
        """Ends of a level line through the whole plot."""
        y = self.y(value)
        return f'x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"'

    def wrap(self, title: str, inner: str) -> str:
        labels = []
        for i in range(5):
            value = self.low + (self.high - self.low) * (i + 0.5) / 5
            labels.append(f'<line class="grid" {self.across(value)}/>')
            labels.append(f'<text x="{_WIDTH - _RIGHT + 6}" y="{self.y(value) + 4:.1f}">{figure(value, self.high - self.low)}</text>')
        for i in range(6):
            time_ms = self.first + (self.last - self.first) * i // 5
            anchor = ("start", "middle", "middle", "middle", "middle", "end")[i]
            labels.append(
                f'<text x="{self.x(time_ms):.1f}" y="{self.height - 6}" text-anchor="{anchor}">{to_datetime(time_ms):%Y-%m-%d}</text>'
            )
        said = escape(title)
        return (
            f'<svg viewBox="0 0 {_WIDTH} {self.height}" role="img" aria-label="{said}"><title>{said}</title>{"".join(labels)}{inner}</svg>'
        )


def _extremes(values: Floats, points: int) -> list[int]:
    """Rows that draw the same line as all of them: first, lowest, highest and last of each of `points` / 4 groups."""
    if len(values) <= points:
        return list(range(len(values)))
    edges = np.linspace(0, len(values), points // 4 + 1).astype(np.int64)
    rows: list[int] = []
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = values[start:stop]
        rows += sorted({start, start + int(part.argmin()), start + int(part.argmax()), stop - 1})
    return rows
