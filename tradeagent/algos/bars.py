"""Bars as plain columns, the one form in which an algorithm sees a market."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Truths = npt.NDArray[np.bool_]
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Bars:
    """Closed bars of one market in time order, one row a bar; a row is known at `time + interval_ms` and not before.

    `time` is the open in UTC ms; prices in quote units, volume in base units; `funding` is the rate (fraction) of the newest payment at or
    before the bar's close, NaN before the first. The arrays are read-only and as long as each other.
    """

    market: str
    interval_ms: int
    time: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    funding: Floats

    def __post_init__(self) -> None:
        for name in ("time", "open", "high", "low", "close", "volume", "funding"):
            column = getattr(self, name).view()
            column.setflags(write=False)
            object.__setattr__(self, name, column)

    def __len__(self) -> int:
        return len(self.time)

    def rows(self, start: int, stop: int) -> "Bars":
        """The rows from `start` up to `stop`, without copying."""
        floats = (self.open, self.high, self.low, self.close, self.volume, self.funding)
        return Bars(self.market, self.interval_ms, self.time[start:stop], *(column[start:stop] for column in floats))


def read_only(column: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """A contiguous read-only view: the one form for which the compiled functions are compiled."""
    view = np.ascontiguousarray(column).view()
    view.setflags(write=False)
    return view
