"""Comparing ledger and venue while a run lives: every minute, soon after an answer was lost, and at once when the machine has slept.

It never waits for a model.
"""

import asyncio

from tradeagent.domain.clock import age_text
from tradeagent.domain.errors import TradeAgentError
from tradeagent.domain.names import Actor, IncidentCode, Level
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.execution.reconcile import reconcile
from tradeagent.execution.sleep import SleepWatch
from tradeagent.ledger import notes

EVERY_S = 60.0
AGAIN_S = 5.0
LOOK_S = 1.0


async def keep_consistent(engine: ExecutionEngine) -> None:
    """Reconcile until cancelled. A comparison that fails blocks entries, and is tried again after five seconds."""
    watch = engine.sleep = SleepWatch(engine.wall)
    last = engine.wall.monotonic()
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            has_slept = await engine.alone(lambda: _tell_sleep(engine, watch))
            due = AGAIN_S if engine.is_unresolved else EVERY_S
            if not has_slept and engine.wall.monotonic() - last < due:
                continue
            await engine.alone(lambda: reconcile(engine, routine=True))
        except TradeAgentError:
            engine.is_unresolved = True
        last = engine.wall.monotonic()


def _tell_sleep(engine: ExecutionEngine, watch: SleepWatch) -> bool:
    """Open an incident for a sleep that the door or this look has found; whether there was one."""
    engine.look_for_sleep()
    slept_ms = round(watch.slept_s * 1000)
    if not slept_ms:
        return False
    if slept_ms > 0:
        what = f"the machine slept, or its clock was set forward, for {age_text(slept_ms)}"
    else:
        what = f"the clock of this machine was set back by {age_text(-slept_ms)}"
    scope = engine.terms[Actor.SYSTEM].scope
    message = f"{what}: decisions from before enter nothing, and ledger and venue were compared"
    incident = notes.Incident(IncidentCode.CLOCK_STEP, Level.WARNING, message, engine.wallet.name, scope.deployment)
    with engine.ledger.transaction(durable=False) as tx:
        notes.open_incident(tx, engine.clock.new_id(), incident, engine.wall.now_ms())
    watch.slept_s = 0.0
    return True
