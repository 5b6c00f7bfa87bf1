"""Starting is recovering: settle what was in flight, book what was missed, and compare ledger and venue before anything new."""

from functools import partial

from tradeagent.domain.errors import VenueError
from tradeagent.domain.names import ReconcilePhase
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.execution.levels import cover
from tradeagent.execution.reconcile import reconcile
from tradeagent.execution.repairs import replace_stops

ROUNDS = 5


def recover(engine: ExecutionEngine) -> ReconcilePhase:
    """Reconcile for the first time; from here on every fill gets the levels that the venue does not keep for it."""
    engine.after_fills = partial(_follow, engine)
    return reconcile(engine).phase


def _follow(engine: ExecutionEngine) -> None:
    """A level more may make the venue drop another, and so may a position that turns: look again after both.

    What is sent meanwhile calls nothing by itself, so that a venue that refuses everything ends in a comparison and not in a loop; so does
    one that does not answer: what was settled before this is settled.
    """
    engine.after_fills = _not_again
    is_bare, engine.is_bare = engine.is_bare, False
    try:
        for _ in range(ROUNDS):
            placed, doubt = cover(engine), engine.book.take_doubt()
            if not (placed or doubt or is_bare):
                return
            is_bare = False
            replace_stops(engine, is_news=False)
            if engine.is_bare:
                break  # neither stop nor close was taken now; the next bar tries again
        engine.is_unresolved = True
    except VenueError:
        engine.is_unresolved = True
    finally:
        engine.after_fills = partial(_follow, engine)


def _not_again() -> None:
    """A look around is under way."""
