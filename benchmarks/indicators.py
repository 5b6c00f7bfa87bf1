"""The indicators that sweeps compute by the thousand, in CPU ns a bar over a year of minutes, beside TA-Lib on the same arrays."""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import talib

from benchmarks.measure import median
from benchmarks.report import Floor, Row, main
from tradeagent.algos.bars import Bars
from tradeagent.algos.indicators import compute
from tradeagent.domain.bars import parse_duration
from tradeagent.market.synthetic import synthetic_market

BARS, RUNS = 525_600, 9
MINUTE = parse_duration("1m")


def rows() -> list[Row]:
    """SMA against its bound; RSI, ATR and the rest against what TA-Lib takes."""
    bars = _year()
    high, low, close = bars.high, bars.low, bars.close
    oracles: dict[str, Callable[[], object]] = {
        "sma": lambda: talib.SMA(close, 20),
        "ema": lambda: talib.EMA(close, 20),
        "rsi": lambda: talib.RSI(close, 14),
        "atr": lambda: talib.ATR(high, low, close, 14),
        "macd": lambda: talib.MACD(close),
        "bollinger": lambda: talib.BBANDS(close, 20),
        "donchian": lambda: (talib.MAX(high, 20), talib.MIN(low, 20)),
        "adx": lambda: [of(high, low, close) for of in (talib.ADX, talib.PLUS_DI, talib.MINUS_DI)],
        "stochastic": lambda: talib.STOCH(high, low, close, 14, 3, 0, 3, 0),
    }
    return [
        Row(f"`{kind}` over {BARS:,} bars", _ns(partial(compute, kind, bars, {})), "CPU ns/bar", bound=bound, floor=floor)
        for kind, bound, floor in ((kind, 1.5 if kind == "sma" else None, Floor("TA-Lib", _ns(oracle))) for kind, oracle in oracles.items())
    ]


def _year() -> Bars:
    made = synthetic_market(0, BARS, "BTC", MINUTE).bars
    opened, high, low, close, volume = (np.asarray(one, np.float64) for one in (made.open, made.high, made.low, made.close, made.volume))
    return Bars("BTC", MINUTE, made.ts, opened, high, low, close, volume, np.zeros(BARS))


def _ns(work: Callable[[], object]) -> float:
    """Median CPU ns a bar; the first run, which may compile, is not counted."""

    def once() -> float:
        began = time.process_time()
        work()
        return (time.process_time() - began) / BARS * 1e9

    once()
    return median(once, RUNS)


if __name__ == "__main__":
    main(rows)
