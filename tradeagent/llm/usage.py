"""What a model call used and cost, and the budget that is reserved before it: spend ≤ cap + one call.

Pure arithmetic; where the spend is recorded is the caller's (two functions given to `Budget`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from tradeagent.domain.money import plain

ZERO_USD = Decimal(0)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call or their sum over a turn; `cost_usd` None = price unknown; `estimated` = counted here, not by the provider.

    `model_id` is who answered, where that is not the model that was asked; `cached_calls` were answered from the response cache and
    cost nothing.
    """

    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: Decimal | None = ZERO_USD
    estimated: bool = False
    model_id: str = ""
    cached_calls: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        known = self.cost_usd is not None and other.cost_usd is not None
        return Usage(
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
            (self.cost_usd or ZERO_USD) + (other.cost_usd or ZERO_USD) if known else None,
            self.estimated or other.estimated,
            self.model_id if self.model_id == other.model_id else "",
            self.cached_calls + other.cached_calls,
        )

    def as_dict(self) -> dict[str, int | str | bool | None]:
        """What an answer used, as chats print and keep it."""
        cost = None if self.cost_usd is None else plain(self.cost_usd)
        return {"tokens_in": self.tokens_in, "tokens_out": self.tokens_out, "cost_usd": cost, "estimated": self.estimated}


def by_model(usages: Sequence[Usage], asked: str) -> dict[str, tuple[int, Usage]]:
    """Calls and their sum for each model that answered; for the one that was `asked` also when there was no call."""
    calls: dict[str, list[Usage]] = {} if usages else {asked: []}
    for usage in usages:
        calls.setdefault(usage.model_id or asked, []).append(usage)
    return {model: (len(made), sum(made, Usage(model_id=made[0].model_id if made else ""))) for model, made in calls.items()}


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens."""

    usd_per_million_in: Decimal
    usd_per_million_out: Decimal

    def cost(self, tokens_in: int, tokens_out: int) -> Decimal:
        return (self.usd_per_million_in * tokens_in + self.usd_per_million_out * tokens_out) / 1_000_000


@dataclass(frozen=True, slots=True)
class Reservation:
    """What one call may cost, set aside until its usage is known; None = price unknown, nothing set aside."""

    estimate_usd: Decimal | None


class Budget:
    """Admits a call while what was spent plus what is reserved leaves room; shared by every turn under one cap.

    `spent` reads the recorded spend of the period in USD; `book` records one call's usage and must show in the next `spent`.
    A call whose price is unknown reserves nothing and adds nothing: only token and call caps bound it.
    """

    def __init__(self, cap_usd: Decimal | None, spent: Callable[[], Decimal], book: Callable[[Usage], None]) -> None:
        self._cap = cap_usd
        self._spent = spent
        self._book = book
        self._reserved = [ZERO_USD]

    def beside(self, book: Callable[[Usage], None]) -> "Budget":
        """The same cap with the same reservations for turns that run beside, whose usage is recorded by `book`."""
        other = Budget(self._cap, self._spent, book)
        other._reserved = self._reserved
        return other

    def reserve(self, estimate_usd: Decimal | None) -> Reservation | None:
        """Set `estimate_usd` aside, or None at the cap. A call that is known to cost nothing needs no room, also under a cap of 0.

        Below the cap a lone call is always admitted, whatever it may cost; beside others only what fits is. So the overshoot is
        at most one call, however many turns run at once.
        """
        amount = estimate_usd or ZERO_USD
        if self._cap is not None and estimate_usd != ZERO_USD:
            taken = self._spent() + self._reserved[0]
            if taken >= self._cap or (self._reserved[0] > 0 and taken + amount > self._cap):
                return None
        self._reserved[0] += amount
        return Reservation(estimate_usd)

    def is_passed_by(self, running: Usage) -> bool:
        """Whether a call that is still going on has already used up what the cap leaves."""
        return self._cap is not None and bool(running.cost_usd) and self._spent() + (running.cost_usd or ZERO_USD) >= self._cap

    def settle(self, reservation: Reservation, usage: Usage) -> None:
        """Give the reservation back and record what the call really used."""
        self._reserved[0] -= reservation.estimate_usd or ZERO_USD
        self._book(usage)
