"""The seat of a running algo, rebuilt at each decision from its bars, its ledger and nothing else, so that a restart decides as the run
would have."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from sqlalchemy import Connection

from tradeagent.algos import machine
from tradeagent.algos.machine import Memory
from tradeagent.domain.names import Direction, ExitReason, OrderType, Side
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.ledger import algo_runs, trading
from tradeagent.ledger.algo_runs import LastExit
from tradeagent.research.eventseat import Seat
from tradeagent.research.pilot import Closed
from tradeagent.research.run import EXIT_REASONS, STAMPED_AT_CLOSE, Leg


def seat_at(fresh: Seat, row: int, engine: ExecutionEngine, controller: str, earlier: Sequence[str]) -> Seat:
    """What the algo holds, waits for and remembers at the close of `row`, before it decides there. `earlier` are its runs here, this one
    included: a timeout outlives the run that left the position."""
    seat, known = replace(fresh), fresh.leg.instrument
    held = next((r.size for r in engine.book.rows if (r.market, r.controller_id) == (seat.symbol, controller)), None)
    seat.held = int(held.scaleb(known.size_decimals)) if held else 0
    with engine.ledger.reading() as tx:
        _with_orders(seat, tx, engine.wallet.name, controller)
        left = algo_runs.last_exit(tx, engine.wallet.name, seat.symbol, earlier)
        limit = algo_runs.last_limit(tx, controller, seat.symbol, left.time_ms) if left is not None else None
    if left is not None:
        seat.limit_at = int(limit.scaleb(known.price_decimals)) if limit is not None else 0
        _with_exit(seat, row, left)
    return seat


def bar_at(leg: Leg, row: int) -> Closed:
    """A closed bar of a leg in storage units."""
    scale = 10.0**leg.instrument.price_decimals
    high, low, close = (int(np.rint(column[row] * scale)) for column in (leg.bars.high, leg.bars.low, leg.bars.close))
    return Closed(high, low, close)


def newest_row(leg: Leg, now_ms: int) -> int:
    """The newest row whose bar has closed; -1 when none has."""
    return int(np.searchsorted(leg.bars.time, now_ms - leg.bars.interval_ms, side="right")) - 1


def _with_orders(seat: Seat, tx: Connection, wallet: str, controller: str) -> None:
    for order in trading.live_orders(tx, wallet):
        if (order.market, order.controller_id) != (seat.symbol, controller):
            continue
        if order.leg == "close":
            seat.close = order.cloid
        elif order.leg == "entry" and order.type == OrderType.LIMIT.value:
            seat.limit = order.cloid
        elif order.leg == "entry":
            seat.entry, seat.entry_side = order.cloid, Side(order.side).sign


def _with_exit(seat: Seat, row: int, left: LastExit) -> None:
    """Remember an exit, and let what has passed since count: the timeout bar by bar, the best price for a buy-back that trails."""
    reason, side = ExitReason(left.reason), 1 if left.direction == Direction.LONG.value else -1
    times = seat.leg.bars.time
    exit_row = int(np.searchsorted(times, left.time_ms - (reason in STAMPED_AT_CLOSE), side="right")) - 1
    if exit_row < 0:
        return
    seat.best = int(left.price.scaleb(seat.leg.instrument.price_decimals))
    memory = machine.left(exit_row, side, EXIT_REASONS.index(reason))
    seat.memory = memory
    waits = memory.waits
    for past in range(exit_row, row):
        if not waits and not seat.buys_back:
            break
        waits = machine.still_waits(seat.codes[past], past, Memory(exit_row, side, memory.exit_reason, waits), seat.rules)
        if seat.buys_back:
            bar = bar_at(seat.leg, past)
            seat.follow_best(bar.high, bar.low, bar.close, past)
    seat.memory = memory._replace(waits=waits)
