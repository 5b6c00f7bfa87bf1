"""What goes into a backtest and what comes out of it, before anything is computed from it. All money in 10⁻⁶ USDC, prices in storage
units of the instrument, sizes in lots."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

import numpy as np
import numpy.typing as npt

from tradeagent.algos.bars import Bars
from tradeagent.algos.signals import Signals
from tradeagent.algos.spec import AlgoSpec
from tradeagent.domain.costs import FeeSchedule
from tradeagent.domain.instrument import Instrument
from tradeagent.domain.money import plain
from tradeagent.domain.names import ExitReason

EXIT_REASONS: tuple[ExitReason, ...] = tuple(ExitReason)
STAMPED_AT_CLOSE = (ExitReason.END, ExitReason.HALT, ExitReason.KILL, ExitReason.MANUAL, ExitReason.FLATTEN)
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Leg:
    """One market of a backtest: bars on the shared clock, what the algo says about them, and the funding rows of its span.

    `funding_hours` are UTC ms, `funding_rates` in 10⁻¹⁰; both empty when funding is off.
    """

    instrument: Instrument
    bars: Bars
    spec: AlgoSpec
    signals: Signals
    funding_hours: Ints
    funding_rates: Ints


@dataclass(frozen=True, slots=True)
class Terms:
    """How the simulated venue treats a run. `cash` in quote units; `fill_qty` trades a fixed quantity of base units instead of sizing.

    `delay_bars` fills signals that many bars later (sensitivity); `first_row` is where trading may start (rows before feed indicators).
    """

    cash: Decimal = Decimal(1000)
    fees: FeeSchedule = field(default_factory=FeeSchedule)
    slippage_bps: Decimal = Decimal(2)
    path: Literal["adverse", "nearest"] = "adverse"
    leverage: int | None = None
    fill_qty: Decimal | None = None
    fill_no_volume: bool = False
    close_at_end: bool = False
    delay_bars: int = 0
    first_row: int = 0

    def as_config(self) -> dict[str, str | int | bool | None]:
        """JSON values of what a person may set: what a result is kept with, and what makes two tries of the same algo different."""
        return {
            "cash": plain(self.cash),
            "taker": plain(self.fees.taker),
            "maker": plain(self.fees.maker),
            "slippage_bps": plain(self.slippage_bps),
            "path": self.path,
            "leverage": self.leverage,
            "fill_qty": None if self.fill_qty is None else plain(self.fill_qty),
            "fill_no_volume": self.fill_no_volume,
            "close_at_end": self.close_at_end,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Trades:
    """Closed round trips as columns, in order of exit. `direction` +1/−1; `exit_reason` indexes `run.EXIT_REASONS`.

    Rows are those of the bars in which entry and exit filled; `entry_price` and `exit_price` are averages weighted by size; `size` is the
    largest size in lots. `pnl` = gross − fees − funding. `stop` is the first stop's price, 0 without one. `mae`, `mfe` ≥ 0.
    """

    leg: Ints
    direction: Ints
    entry_row: Ints
    entry_price: Ints
    exit_row: Ints
    exit_price: Ints
    size: Ints
    gross: Ints
    fees: Ints
    funding: Ints
    mae: Ints
    mfe: Ints
    stop: Ints
    exit_reason: Ints

    def __len__(self) -> int:
        return len(self.leg)


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """The outcome of one pass. `equity` is marked at each bar's close; `open_trades` are marked at the last close and have no exit.

    `turnover` is Σ fill notional, `slippage` Σ size·|fill − reference|; `counts` names what else happened, for the report's warnings:
    ambiguous, below_minimum, no_margin, outage_waits, over_capacity_fills, funding_missing, liquidations; and stops_tightened.
    `exposed` counts the bars that closed with a position; `max_leverage` is notional over equity at its highest close, in 10⁻⁶.
    """

    equity: Ints
    trades: Trades
    open_trades: Trades
    fees: int
    funding: int
    slippage: int
    turnover: int
    exposed: int
    max_leverage: int
    counts: Mapping[str, int]
