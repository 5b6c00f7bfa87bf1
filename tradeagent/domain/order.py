"""What travels to the market: a proposal, the orders it becomes, and the fills that come back."""

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from tradeagent.domain.names import ExitReason, IntentKind, Liquidity, OrderState, OrderType, Rule, Side, Tif, VerdictKind


@dataclass(frozen=True, slots=True)
class Proposal:
    """What somebody wants. Sizes are base units, `quote` and `risk_quote` quote units, percentages of equity are notional.

    Exactly one of `size`, `quote`, `risk_quote`, `pct_of_equity`, `risk_per_trade_pct` states the size of an entry; a close may
    state none, which means all of the proposer's inventory. `kind` update moves protection, cancel names `order_id`. The stop of an entry
    follows the best price since at the distance `trail`, or at `trail_rate` as a fraction of that price. `waking` says
    after which sleep of the machine a mind has decided.
    """

    market: str
    side: Side
    controller_id: str
    kind: IntentKind = IntentKind.OPEN
    type: OrderType = OrderType.MARKET
    size: Decimal | None = None
    quote: Decimal | None = None
    risk_quote: Decimal | None = None
    pct_of_equity: Decimal | None = None
    risk_per_trade_pct: Decimal | None = None
    price: Decimal | None = None
    trigger: Decimal | None = None
    tif: Tif = Tif.GTC
    stop: Decimal | None = None
    target: Decimal | None = None
    reduce_only: bool = False
    leverage: int | None = None
    confidence: Decimal | None = None
    conviction: Decimal | None = None
    order_id: str | None = None
    reason: str = ""
    exit_reason: ExitReason = ExitReason.SIGNAL
    whole_position: bool = False
    trail: Decimal | None = None
    trail_rate: Decimal | None = None
    waking: int | None = None


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """One order as a broker gets it: on the grid, with the identity that makes a retry harmless.

    After `expires_ms` the venue does not take it any more, so that one that has not arrived by then never will. `trail` makes a stop follow
    the best price at this distance, `trail_rate` at this fraction of it, from `activation` on; it starts at `trigger` when that is given.
    """

    cloid: str
    market: str
    side: Side
    type: OrderType
    size: Decimal
    price: Decimal | None = None
    trigger: Decimal | None = None
    tif: Tif = Tif.GTC
    reduce_only: bool = False
    parent_cloid: str | None = None
    at_mark: bool = False
    exit_reason: ExitReason | None = None
    expires_ms: int | None = None
    trail: Decimal | None = None
    activation: Decimal | None = None
    trail_rate: Decimal | None = None


@dataclass(frozen=True, slots=True)
class OrderReport:
    """A broker's word on one order. `reason` is the venue's own status or error text; `oid` its id, None when refused."""

    cloid: str
    oid: int | None
    state: OrderState
    filled: Decimal
    average_price: Decimal | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Fill:
    """An execution. `fee` and `realised_pnl` (gross) in quote units; `trade_id` is the venue's and unique per account."""

    trade_id: int
    time_ms: int
    market: str
    side: Side
    size: Decimal
    price: Decimal
    fee: Decimal
    liquidity: Liquidity
    oid: int
    cloid: str
    realised_pnl: Decimal
    reason: ExitReason | None = None


@dataclass(frozen=True, slots=True)
class FundingPayment:
    """Funding at one hour: positive `payment` = paid, quote units."""

    payment_id: int
    time_ms: int
    market: str
    size: Decimal
    oracle_price: Decimal
    rate: Decimal
    payment: Decimal


@dataclass(frozen=True, slots=True)
class RuleCheck:
    """One line of the check list of a verdict."""

    rule: Rule
    ok: bool
    value: str | None = None
    limit: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {"rule": self.rule.value, "ok": self.ok, "value": self.value, "limit": self.limit}


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a rule refused; `max_ok` is the largest size or risk that would have passed it."""

    rule: Rule
    message: str
    limit_key: str | None = None
    limit: str | None = None
    value: str | None = None
    max_ok: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "rule": self.rule.value,
            "limit_key": self.limit_key,
            "limit": self.limit,
            "value": self.value,
            "max_ok": self.max_ok,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """The door's answer. `executed` means accepted by the venue: resting or filled.

    The verdict of a flip is that on its opening; `closed` is the order that closed before, whose fills come first.
    """

    kind: VerdictKind
    intent_id: str | None = None
    rejection: Rejection | None = None
    message: str = ""
    checks: tuple[RuleCheck, ...] = ()
    order: dict[str, Any] | None = None
    fills: tuple[dict[str, Any], ...] = field(default=())
    closed: dict[str, Any] | None = None

    def after_close(self, closing: "Verdict") -> "Verdict":
        """This verdict on the opening of a flip, with what its close did."""
        return replace(self, closed=closing.order, fills=(*closing.fills, *self.fills))

    @property
    def rule(self) -> Rule | None:
        return self.rejection.rule if self.rejection else None

    def as_dict(self) -> dict[str, Any]:
        return {
            "verdict": self.kind.value,
            "rule": self.rule.value if self.rule else None,
            "detail": self.rejection.as_dict() if self.rejection else ({"message": self.message} if self.message else None),
            "intent_id": self.intent_id,
            "checks": [check.as_dict() for check in self.checks],
            "order": self.order,
            "fills": list(self.fills),
            **({"closed": self.closed} if self.closed is not None else {}),
        }
