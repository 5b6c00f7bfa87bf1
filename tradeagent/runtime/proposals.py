"""A person's proposal as a command row carries it."""

from decimal import Decimal
from typing import Any

from tradeagent.domain.names import ExitReason, IntentKind, OrderType, Side, Tif
from tradeagent.domain.order import Proposal

_ENUMS = {"side": Side, "kind": IntentKind, "type": OrderType, "tif": Tif, "exit_reason": ExitReason}
_MONEY = (
    "size",
    "quote",
    "risk_quote",
    "pct_of_equity",
    "risk_per_trade_pct",
    "price",
    "trigger",
    "stop",
    "target",
    "confidence",
    "conviction",
)


def proposal_in(data: dict[str, Any]) -> Proposal:
    """A proposal from JSON that `execution.orders.proposal_dict` wrote."""
    values: dict[str, Any] = dict(data)
    for name, kind in _ENUMS.items():
        if name in values:
            values[name] = kind(values[name])
    for name in _MONEY:
        if name in values:
            values[name] = Decimal(values[name])
    return Proposal(**values)
