"""When an agent is asked to rewrite its reflection notes, and the figures it is given: what its closed trades have in common."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from tradeagent.domain.clock import DAY_MS, MINUTE_MS
from tradeagent.ledger import reflections
from tradeagent.turns.prompt_inputs import TripGroup

TRIPS = 10


class Reflecting:
    """Follows the closed trades of one agent; they change only with the wallet's activity, so they are read again when its cursor moved."""

    def __init__(self, slug: str) -> None:
        self._slug = slug
        self._cursor = -1
        self._trips: list[dict[str, Any]] = []

    def due(self, tx: Connection, now_ms: int, activity_cursor: int) -> tuple[TripGroup, ...]:
        """The trades to reflect on now: ten that were not, or any of them a day after it closed; empty when there is time."""
        if activity_cursor != self._cursor:
            self._cursor, self._trips = activity_cursor, reflections.unreflected(tx, self._slug)
        if not self._trips or (len(self._trips) < TRIPS and now_ms - self._trips[0]["closed_ms"] < DAY_MS):
            return ()
        return grouped(self._trips)

    def done(self, tx: Connection) -> None:
        """The notes were rewritten in this turn, which knew the trades closed before it."""
        if self._trips:
            reflections.reflected(tx, self._slug, self._trips[-1]["seq"])
        self._cursor, self._trips = -1, []


def grouped(trips: Sequence[Mapping[str, Any]]) -> tuple[TripGroup, ...]:
    """All of them, then by outcome, market, side and exit; a kind that all share says nothing and is left out. At least one trip."""
    kinds: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "outcome": lambda trip: "win" if trip["pnl"] > 0 else "loss",
        "market": lambda trip: str(trip["market"]),
        "side": lambda trip: str(trip["direction"]),
        "exit": lambda trip: str(trip["exit_reason"]),
    }
    groups = [_group("group", "all", trips)]
    for kind, of in kinds.items():
        names = sorted({of(trip) for trip in trips})
        groups += [_group(kind, name, [trip for trip in trips if of(trip) == name]) for name in names if len(names) > 1]
    return tuple(groups)


def _group(kind: str, what: str, trips: Sequence[Mapping[str, Any]]) -> TripGroup:
    count = len(trips)
    multiples = [trip["r_multiple"] for trip in trips if trip["r_multiple"] is not None]
    return TripGroup(
        kind=kind,
        what=what,
        trips=count,
        wins=sum(trip["pnl"] > 0 for trip in trips),
        pnl=sum((trip["pnl"] for trip in trips), Decimal(0)),
        mean_r=sum(multiples, Decimal(0)) / len(multiples) if multiples else None,
        mean_held_minutes=sum(trip["closed_ms"] - trip["opened_ms"] for trip in trips) // count // MINUTE_MS,
        mean_best=sum((trip["mfe"] for trip in trips), Decimal(0)) / count,
        mean_worst=sum((trip["mae"] for trip in trips), Decimal(0)) / count,
    )
