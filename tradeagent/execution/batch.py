"""What booking one batch of the venue's news writes: its orders are read once, their changes and the events go in one statement each."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from tradeagent.brokers.protocol import Activity, OrderChange
from tradeagent.domain.names import EventKind
from tradeagent.domain.order import Fill
from tradeagent.ledger import events, trading
from tradeagent.ledger.trading import OrderRow


class Batch:
    """The news of one ledger transaction; `write` puts down what was gathered."""

    def __init__(self, tx: Connection, wallet: str, activity: Sequence[Activity], known: Sequence[OrderRow] = ()) -> None:
        self.tx = tx
        self._wallet = wallet
        self._orders = {order.cloid: order for order in known}
        missing = [cloid for cloid in _cloids(activity) if cloid not in self._orders]
        self._orders |= {order.cloid: order for order in trading.orders_named(tx, missing)}
        self._changes: list[dict[str, Any]] = []
        self._events: list[dict[str, Any]] = []

    def order(self, cloid: str) -> OrderRow | None:
        """An order as it is after the changes so far."""
        return self._orders.get(cloid)

    def change(self, order: OrderRow, **values: Any) -> None:
        self._orders[order.cloid] = replace(order, **values)
        self._changes.append({"the_cloid": order.cloid, **values})

    def event(self, kind: EventKind, time_ms: int, subject: str, data: dict[str, Any], deployment: str | None = None) -> None:
        self._events.append(events.event(kind, time_ms, wallet=self._wallet, deployment=deployment, subject=subject, data=data))

    def write(self) -> None:
        trading.update_orders(self.tx, self._changes)
        events.append_all(self.tx, self._events)
        self._changes, self._events = [], []


def _cloids(activity: Sequence[Activity]) -> list[str]:
    """The orders that a batch speaks of, each once."""
    items = [one.item for one in activity]
    found = [item.report.cloid if isinstance(item, OrderChange) else item.cloid for item in items if isinstance(item, (OrderChange, Fill))]
    return [cloid for cloid in dict.fromkeys(found) if cloid]
