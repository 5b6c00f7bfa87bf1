"""Comparing ledger and venue while a run lives: every minute, and soon after an answer was lost. It never waits for a model."""

import asyncio

from tradeagent.domain.errors import TradeAgentError
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.execution.reconcile import reconcile

EVERY_S = 60.0
AGAIN_S = 5.0
LOOK_S = 1.0


async def keep_consistent(engine: ExecutionEngine) -> None:
    """Reconcile until cancelled. A comparison that fails blocks entries, and is tried again after five seconds."""
    last = engine.wall.monotonic()
    while True:
        await asyncio.sleep(LOOK_S)
        due = AGAIN_S if engine.is_unresolved else EVERY_S
        if engine.wall.monotonic() - last < due:
            continue
        try:
            await engine.alone(lambda: reconcile(engine, routine=True))
        except TradeAgentError:
            engine.is_unresolved = True
        last = engine.wall.monotonic()
