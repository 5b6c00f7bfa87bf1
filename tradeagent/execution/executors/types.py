"""The five types of executor by name: how each is laid out, what it does in a step, and what it still reserves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tradeagent.domain.names import ExecutorType
from tradeagent.execution.executors import dca, grid, order, position, twap
from tradeagent.execution.executors.design import Design
from tradeagent.execution.executors.work import Work


@dataclass(frozen=True, slots=True)
class Machine:
    """One type: `design(spec, market)` lays it out, `step(work)` moves it on, `unsent(work)` is what it still reserves, base units."""

    design: Callable[[Any, Any], Design]
    step: Callable[[Work], None]
    unsent: Callable[[Work], Decimal]
    about: str


MACHINES: Mapping[ExecutorType, Machine] = {
    ExecutorType.ORDER: Machine(order.design, order.step, order.unsent, "one order: market, limit, post-only limit, or one that chases"),
    ExecutorType.POSITION: Machine(
        position.design, position.step, position.unsent, "an entry with profit, stop, time and trailing barrier"
    ),
    ExecutorType.GRID: Machine(grid.design, grid.step, grid.unsent, "limit entries over a range, each with its own profit"),
    ExecutorType.DCA: Machine(dca.design, dca.step, dca.unsent, "entries at worse and worse prices, barriers on their average"),
    ExecutorType.TWAP: Machine(twap.design, twap.step, twap.unsent, "a total in equal market orders over time"),
}
