"""Charts of characters: candles with volume and trades, lines in braille, filled drawdowns. Pure functions from arrays to pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tradeagent.algos.bars import Bars, Floats, Ints
from tradeagent.domain.clock import DAY_MS, HOUR_MS, to_datetime
from tradeagent.research.reports.picture import Picture, Tone

_LABEL = 11
_BRAILLE = 0x2800
_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
_EIGHTHS = " ▁▂▃▄▅▆▇█"
_MINIMUM = (24, 6)


@dataclass(frozen=True, slots=True)
class Mark:
    """A trade on a chart: when (UTC ms), at which price, an entry of a long (▲) or short (▼), or an exit (●)."""

    time_ms: int
    price: float
    text: str
    tone: Tone


def candles(bars: Bars, width: int, height: int, marks: Sequence[Mark] = ()) -> Picture:
    """Candles of any number of bars: neighbours share a column when there are more bars than columns; the last rows are volume.

    Bodies are drawn in half rows.
    """
    width, height = max(width, _MINIMUM[0]), max(height, _MINIMUM[1])
    picture = Picture(width, height)
    columns = width - _LABEL
    if not len(bars):
        picture.put(height // 2, 2, "no bars in this range", Tone.MUTED)
        return picture
    volume_rows = max(1, height // 6)
    plot = height - volume_rows - 1
    edges = np.linspace(0, len(bars), min(columns, len(bars)) + 1).astype(np.int64)
    first, last = edges[:-1], edges[1:] - 1
    high, low = np.maximum.reduceat(bars.high, first), np.minimum.reduceat(bars.low, first)
    opened, close = bars.open[first], bars.close[last]
    bottom, top = _bounds(low, high)
    for column in range(len(first)):
        tone = Tone.UP if close[column] >= opened[column] else Tone.DOWN
        body = sorted((opened[column], close[column]))
        for row, char in _candle(low[column], body[0], body[1], high[column], (bottom, top), plot):
            picture.put(row, column, char, tone)
    _volume(picture, np.add.reduceat(bars.volume, first), close >= opened, plot, volume_rows)
    for mark in marks:
        row_of_bar = int(np.searchsorted(bars.time, mark.time_ms, side="right")) - 1
        if 0 <= row_of_bar < len(bars):
            column = int(np.searchsorted(edges, row_of_bar, side="right")) - 1
            picture.put(_row(mark.price, bottom, top, plot), column, mark.text, mark.tone)
    _price_axis(picture, columns, plot, bottom, top)
    _time_axis(picture, bars.time[first], columns)
    return picture


def line(times: Ints, values: Floats, width: int, height: int, *, tone: Tone = Tone.LINE, base: float | None = None) -> Picture:
    """A line in braille dots (2 × 4 a cell), scaled to its extremes; `base` draws a dotted level, like the starting cash."""
    return _braille(times, values, width, height, tone, base, filled=False)


def area(times: Ints, values: Floats, width: int, height: int, *, tone: Tone = Tone.DOWN) -> Picture:
    """Values ≤ 0 (a drawdown) filled from zero at the top down."""
    return _braille(times, values, width, height, tone, None, filled=True)


def spark(values: Floats, width: int) -> str:
    """One row of eighths; blanks where there is nothing finite."""
    good = values[np.isfinite(values)]
    if not len(good):
        return " " * width
    edges = np.linspace(0, len(good), min(width, len(good)) + 1).astype(np.int64)
    means = np.add.reduceat(good, edges[:-1]) / np.diff(edges)
    low, high = float(means.min()), float(means.max())
    scaled = (means - low) / (high - low) if high > low else np.full(len(means), 0.5)
    return "".join(_EIGHTHS[1 + int(value * 7)] for value in scaled)


def _bounds(low: Floats, high: Floats) -> tuple[float, float]:
    bottom, top = float(np.nanmin(low)), float(np.nanmax(high))
    pad = (top - bottom) * 0.02 or abs(top) * 0.001 or 1.0
    return bottom - pad, top + pad


def _row(price: float, bottom: float, top: float, rows: int) -> int:
    return min(rows - 1, max(0, int((top - price) / (top - bottom) * rows)))


def _candle(low: float, body_low: float, body_high: float, high: float, scale: tuple[float, float], rows: int) -> list[tuple[int, str]]:
    """Characters of one candle in half rows: `at` counts half rows from the top."""
    bottom, top = scale

    def at(price: float) -> int:
        return min(2 * rows - 1, max(0, int((top - price) / (top - bottom) * 2 * rows)))

    wick = range(at(high), at(low) + 1)
    body = range(at(body_high), at(body_low) + 1)
    shapes = {(0, 0): " ", (1, 0): "╵", (0, 1): "╷", (1, 1): "│", (2, 0): "▀", (0, 2): "▄", (2, 2): "█", (2, 1): "█", (1, 2): "█"}

    def ink(half: int) -> int:
        return 2 if half in body else int(half in wick)

    return [(row, shapes[ink(2 * row), ink(2 * row + 1)]) for row in range(wick.start // 2, wick.stop // 2 + 1) if row < rows]


def _volume(picture: Picture, volume: Floats, is_up: "np.ndarray[tuple[int], np.dtype[np.bool_]]", plot: int, rows: int) -> None:
    most = float(volume.max()) or 1.0
    for column, (amount, up) in enumerate(zip(volume.tolist(), is_up.tolist(), strict=True)):
        eighths = round(amount / most * rows * 8)
        for row in range(rows):
            part = min(8, max(0, eighths - 8 * row))
            picture.put(plot + rows - 1 - row, column, _EIGHTHS[part], Tone.UP if up else Tone.DOWN)


def _price_axis(picture: Picture, columns: int, rows: int, bottom: float, top: float) -> None:
    for row in range(0, rows, max(2, rows // 5)):
        price = top - (row + 0.5) / rows * (top - bottom)
        picture.put(row, columns + 1, figure(price, top - bottom), Tone.MUTED)


def _time_axis(picture: Picture, times: Ints, columns: int) -> None:
    """Labels under the plot; `times` holds one UTC ms a column."""
    form = "%m-%d %H:%M" if times[-1] - times[0] < 10 * DAY_MS else "%Y-%m-%d"
    length = len(to_datetime(0).strftime(form))
    count = max(2, len(times) // (length + 8))
    for place in range(count):
        column = place * (len(times) - 1) // (count - 1)
        picture.put(picture.height - 1, max(0, min(column, columns - length)), to_datetime(int(times[column])).strftime(form), Tone.MUTED)


def figure(value: float, span: float) -> str:
    """A number with as many decimals as tell apart a hundredth of `span`."""
    decimals = min(8, max(0, int(np.ceil(-np.log10(span / 100))))) if span > 0 else 2
    return f"{value:,.{decimals}f}"[: _LABEL - 1]


def _braille(times: Ints, values: Floats, width: int, height: int, tone: Tone, base: float | None, *, filled: bool) -> Picture:
    width, height = max(width, _MINIMUM[0]), max(height, 3)
    picture = Picture(width, height)
    columns, rows = width - _LABEL, height - 1
    good = np.isfinite(values)
    times, values = times[good], values[good]
    if not len(values):
        picture.put(height // 2, 2, "nothing to draw", Tone.MUTED)
        return picture
    extremes = values if base is None else np.append(values, base)
    bottom, top = (min(float(values.min()), -0.01), 0.0) if filled else _bounds(extremes, extremes)
    dots = np.zeros((rows * 4, columns * 2), np.bool_)

    def level(value: Floats) -> Ints:
        return np.clip(((top - value) / (top - bottom) * rows * 4).astype(np.int64), 0, rows * 4 - 1)

    if base is not None:
        dots[level(np.array([base]))[0], ::4] = True
    edges = np.linspace(0, len(values), columns * 2 + 1).astype(np.int64)
    previous = 0 if filled else int(level(values[:1])[0])
    for x in range(columns * 2):
        part = values[edges[x] : max(edges[x + 1], edges[x] + 1)]
        spots = level(part if len(part) else values[-1:])
        low, high = int(spots.min()), int(spots.max())
        start, stop = (0, high) if filled else (min(low, previous), max(high, previous))
        dots[start : stop + 1, x] = True
        previous = int(spots[-1])
    for row in range(rows):
        block = dots[row * 4 : row * 4 + 4]
        codes = sum((block[y, x::2] * _DOTS[y, x] for y in range(4) for x in range(2)), start=np.zeros(columns, np.int64))
        for column in np.flatnonzero(codes).tolist():
            picture.put(row, column, chr(_BRAILLE + int(codes[column])), tone)
    _price_axis(picture, columns, rows, bottom, top)
    _time_axis(picture, times[np.linspace(0, len(times) - 1, min(columns, len(times))).astype(np.int64)], columns)
    return picture


def span_text(first_ms: int, last_ms: int) -> str:
    """`2024-03-01 00:00 – 2024-05-01 00:00 (61 d)`."""
    days, hours = divmod(last_ms - first_ms, DAY_MS)
    length = f"{days} d" if days else f"{hours // HOUR_MS} h"
    return f"{to_datetime(first_ms):%Y-%m-%d %H:%M} – {to_datetime(last_ms):%Y-%m-%d %H:%M} ({length})"
