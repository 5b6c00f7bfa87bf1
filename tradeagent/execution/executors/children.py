"""What an executor's step looks at: its child orders as the ledger tells them, and where the market went."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tradeagent.domain.money import ZERO
from tradeagent.domain.names import IntentState, OrderState, Rule
from tradeagent.ledger.trading import OPEN_INTENT_STATES, OrderRow

PASSING = frozenset(
    rule.value for rule in (Rule.PAUSED, Rule.RECONCILING, Rule.SESSION_HOURS, Rule.NEWS_LOCKOUT, Rule.FRESHNESS, Rule.SANITY)
)


@dataclass(frozen=True, slots=True)
class Path:
    """Where a market went during the bar that just closed."""

    open_ms: int
    low: Decimal
    high: Decimal


@dataclass(frozen=True, slots=True)
class Child:
    """A child order: what was planned, and what the ledger says became of it. `intent` None = not handed to the door yet."""

    plan: dict[str, Any]
    intent: dict[str, Any] | None
    orders: tuple[OrderRow, ...]

    @property
    def tag(self) -> str:
        return str(self.plan["tag"])

    @property
    def order(self) -> OrderRow | None:
        return next((order for order in self.orders if order.leg in ("entry", "close")), None)

    @property
    def filled(self) -> Decimal:
        return self.order.filled if self.order else ZERO

    @property
    def is_live(self) -> bool:
        """Whether it may still fill."""
        if self.intent is None or self.intent["state"] in OPEN_INTENT_STATES:
            return True
        return self.order is not None and OrderState(self.order.state).is_live

    @property
    def is_lost(self) -> bool:
        """Whether it never reached the venue; nothing happened, and it may be planned again."""
        return self.intent is not None and self.intent["state"] == IntentState.CANCELLED.value

    @property
    def refusal(self) -> str:
        """Why door or venue refused it; empty when they did not."""
        if self.intent is None or self.intent["state"] not in (IntentState.REJECTED.value, IntentState.VENUE_REJECTED.value):
            return ""
        detail = self.intent["detail"] or {}
        return f"{self.intent['rule'] or 'venue'}: {detail.get('message', 'refused')}"

    @property
    def may_pass_later(self) -> bool:
        """Whether what refused it goes by itself: a pause, a comparison, the hour, the news, a stale or wild bar."""
        return self.intent is not None and self.intent["rule"] in PASSING

    def leg(self, name: str) -> OrderRow | None:
        return next((order for order in self.orders if order.leg == name), None)
