"""The door to pandas-ta-classic, which computes most of the rarer indicators.

Its own TA-Lib mode is never used, so that a value does not depend on what else is installed. It is given stretches of bars without gaps,
each a new beginning: its recursive formulas would carry a NaN to the end. `df.ta.strategy()` is not used, it spawns processes.
"""

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module

import numpy as np

from tradeagent.algos.bars import Bars, Floats
from tradeagent.algos.indicators.indicator import SINGLE, Family, Indicator, Outputs
from tradeagent.algos.indicators.params import Settings, source_of
from tradeagent.algos.spec import Param

LIBRARY = "pandas-ta-classic"
_COLUMNS = {"open_": "open", "high": "high", "low": "low", "close": "close", "volume": "volume"}
Warmup = Callable[[Settings], int]


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the library by `room.name`. `fixed` are arguments that are always the same; `names` maps our parameters to its own.

    `picks` are the result's columns by their beginning, one an output; none: the result is one series.
    """

    path: str
    picks: tuple[str, ...] = ()
    fixed: Mapping[str, object] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)


@functools.cache
def _resolved(path: str) -> tuple[Callable[..., object], tuple[str, ...], bool]:
    """The function, the columns it cannot do without (others would change its formula), and whether it knows TA-Lib."""
    room, name = path.split(".")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It asks pandas for the date in a deprecated way while it is imported.
        module = import_module(f"pandas_ta_classic.{room}.{name}")
    function = getattr(module, name)
    takes = inspect.signature(function).parameters
    columns = tuple(name for name in _COLUMNS if name in takes and takes[name].default is inspect.Parameter.empty)
    return function, columns, "talib" in takes


def stretches(columns: Sequence[Floats]) -> Iterator[slice]:
    """The runs of rows in which every column has a value."""
    whole = np.isfinite(np.sum(columns, axis=0))
    edges = np.flatnonzero(np.diff(whole, prepend=False, append=False))
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        yield slice(start, stop)


def call(function: Function, bars: Bars, arguments: Mapping[str, object], *, rows: int, source: str = "close") -> Outputs:
    """The outputs of a library function on the bars, with `source` as its close. NaN where a stretch has no more than `rows` rows."""
    from pandas import DataFrame, Series

    routine, needs, knows_talib = _resolved(function.path)
    columns = {name: source_of(bars, source if name == "close" else _COLUMNS[name]) for name in needs}
    settings = {function.names.get(name, name): value for name, value in arguments.items()} | dict(function.fixed)
    if knows_talib:
        settings["talib"] = False
    outputs = tuple(np.full(len(bars), np.nan) for _ in function.picks or SINGLE)
    for part in stretches(list(columns.values())):
        if part.stop - part.start <= rows:
            continue
        with np.errstate(all="ignore"):
            result = routine(**{name: Series(column[part]) for name, column in columns.items()}, **settings)
        if isinstance(result, DataFrame):
            for output, pick in zip(outputs, function.picks, strict=True):
                output[part] = result[next(name for name in result.columns if name.startswith(pick))].to_numpy(np.float64)
        elif isinstance(result, Series):
            outputs[0][part] = result.to_numpy(np.float64)
        for output in outputs:
            output[part.start : part.start + rows] = np.nan
    for output in outputs:
        output[np.isinf(output)] = np.nan
    return outputs


def from_library(  # noqa: PLR0913 -- one call is one line of the tables of indicators
    kind: str,
    family: Family,
    title: str,
    function: Function,
    defaults: Mapping[str, Param],
    warmup: Warmup,
    outputs: tuple[str, ...] = SINGLE,
    *,
    normalised: bool = False,
    recursive: bool = False,
) -> Indicator:
    """An indicator that one function of the library computes. `source` among the defaults is what the function takes for the close."""

    def formula(bars: Bars, to: Settings) -> Outputs:
        arguments = {
            name: to.number(name) if not isinstance(of, int) else to.whole(name) for name, of in defaults.items() if name != "source"
        }
        source = to.text("source") if "source" in defaults else "close"
        return call(function, bars, arguments, rows=warmup(to), source=source)

    return Indicator(kind, family, title, defaults, formula, warmup, outputs, normalised, recursive, LIBRARY)
