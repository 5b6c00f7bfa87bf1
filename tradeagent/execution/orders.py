"""Orders of a plan, with identities that follow from the intent, and how orders and fills look as JSON."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from tradeagent.domain.money import ZERO, plain
from tradeagent.domain.names import OrderState, OrderType, Side, Tif
from tradeagent.domain.order import OrderRequest, Proposal
from tradeagent.execution.planning import Plan
from tradeagent.execution.state import Scope
from tradeagent.ledger.trading import OrderRow

EXPIRES_AFTER_MS = 15_000
HELD = "waits here for its entry"


def cloid_of(intent_id: str, leg: str) -> str:
    """Client order id: 128 bits that follow from the intent alone, so that a retry is the same order."""
    return "0x" + hashlib.sha256(f"{intent_id}/{leg}".encode()).hexdigest()[:32]


def order_rows(intent_id: str, made: Plan, wallet: str, scope: Scope, now_ms: int) -> list[OrderRow]:
    """The orders of a plan: the entry or close first, then its stop and target as reduce-only children.

    The venue takes no children with a trigger entry ("Main order cannot be trigger order."): they are held here until it has filled.
    """
    proposal = made.proposal
    leg = "entry" if made.is_entry else "close"
    first = OrderRow(
        cloid=cloid_of(intent_id, leg),
        intent_id=intent_id,
        wallet=wallet,
        deployment=scope.deployment,
        controller_id=scope.controller_id,
        oid=None,
        market=proposal.market,
        side=proposal.side.value,
        type=proposal.type.value,
        leg=leg,
        size=made.size,
        filled=ZERO,
        price=made.price,
        trigger=made.trigger,
        tif=(Tif.IOC if proposal.type is OrderType.MARKET else proposal.tif).value,
        reduce_only=not made.is_entry,
        parent_cloid=None,
        state=OrderState.PENDING.value,
        reason="",
        created_ms=now_ms,
        updated_ms=now_ms,
    )
    children = [
        replace(
            first,
            cloid=cloid_of(intent_id, name),
            side=proposal.side.opposite.value,
            type=kind.value,
            leg=name,
            price=None,
            trigger=level,
            tif=Tif.GTC.value,
            reduce_only=True,
            parent_cloid=first.cloid,
            reason=HELD if proposal.type.is_trigger else "",
        )
        for name, kind, level in (
            ("stop", OrderType.STOP_MARKET, made.stop),
            ("target", OrderType.TAKE_PROFIT_MARKET, made.target),
        )
        if level is not None
    ]
    return [first, *children]


def is_held(order: OrderRow) -> bool:
    """Whether a level waits here, unknown to the venue, for its trigger entry to fill."""
    return order.state == OrderState.PENDING.value and order.oid is None and order.reason == HELD


def expiry_ms(created_ms: int) -> int:
    """Until when an order that was written down at `created_ms` may still arrive."""
    return created_ms + EXPIRES_AFTER_MS


def order_request(order: OrderRow, proposal: Proposal | None = None, *, at_mark: bool = False) -> OrderRequest:
    """An order row as the broker gets it; the same row gives the same request, so that a retry is the same order."""
    trails = proposal if order.leg == "stop" else None
    closes = proposal if order.leg == "close" and not OrderType(order.type).is_trigger else None  # a trigger is a stop or a target itself
    return OrderRequest(
        cloid=order.cloid,
        market=order.market,
        side=Side(order.side),
        type=OrderType(order.type),
        size=order.size,
        price=order.price,
        trigger=order.trigger,
        tif=Tif(order.tif),
        reduce_only=order.reduce_only,
        parent_cloid=order.parent_cloid,
        at_mark=at_mark,
        exit_reason=closes.exit_reason if closes else None,
        expires_ms=expiry_ms(order.created_ms),
        trail=trails.trail if trails else None,
        trail_rate=trails.trail_rate if trails else None,
    )


def trailing_of(said: Mapping[str, Any]) -> dict[str, Decimal]:
    """The trailing distance that a recorded proposal states, by its field."""
    return {name: Decimal(said[name]) for name in ("trail", "trail_rate") if name in said}


def order_dict(order: OrderRow) -> dict[str, Any]:
    """An order as JSON shows it."""
    return {
        "order_id": str(order.oid) if order.oid is not None else None,
        "cloid": order.cloid,
        "wallet": order.wallet,
        "market": order.market,
        "side": order.side,
        "type": order.type,
        "leg": order.leg,
        "size": plain(order.size),
        "filled": plain(order.filled),
        "price": None if order.price is None else plain(order.price),
        "trigger": None if order.trigger is None else plain(order.trigger),
        "reduce_only": order.reduce_only,
        "tif": order.tif,
        "state": order.state,
        "reason": order.reason,
    }


def fill_dict(fill: dict[str, Any]) -> dict[str, Any]:
    """A fill as a verdict shows it."""
    return {
        "trade_id": fill["trade_id"],
        "market": fill["market"],
        "side": fill["side"],
        "size": plain(fill["size"]),
        "price": plain(fill["price"]),
        "fee": plain(fill["fee"]),
        "liquidity": fill["liquidity"],
        "realised_pnl": plain(fill["realised_pnl"]),
        "exit_reason": fill["exit_reason"],
    }


def proposal_dict(proposal: Proposal) -> dict[str, Any]:
    """A proposal as the ledger keeps it: only what was stated."""
    shown = {}
    for name in proposal.__dataclass_fields__:
        value = getattr(proposal, name)
        if value is not None and value is not False and value != "":
            shown[name] = plain(value) if isinstance(value, Decimal) else (value if isinstance(value, (int, str)) else str(value))
    return shown
