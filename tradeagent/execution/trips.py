"""Open trades: as JSON on their position row, and each controller's share of a fill or funding payment."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from tradeagent.domain.costs import funding_payment
from tradeagent.domain.money import ZERO
from tradeagent.domain.names import Direction
from tradeagent.domain.order import Fill, FundingPayment
from tradeagent.domain.performance import RoundTrip
from tradeagent.ledger.trading import NET, PositionRow

_TRIP_MONEY = frozenset(
    {"entry_size", "entry_value", "exit_size", "exit_value", "largest_size", "realised_pnl", "fees", "funding", "mfe", "mae", "first_stop"}
)


def trip_out(trip: RoundTrip) -> dict[str, Any]:
    """A trade as its position row keeps it."""
    values = ((name, getattr(trip, name)) for name in trip.__dataclass_fields__)
    return {name: f"{value:f}" if isinstance(value, Decimal) else value for name, value in values}


def trip_in(data: dict[str, Any]) -> RoundTrip:
    """A trade back from its row."""
    values: dict[str, Any] = {key: Decimal(value) if key in _TRIP_MONEY and value is not None else value for key, value in data.items()}
    values["direction"] = Direction(data["direction"])
    return RoundTrip(**values)


def closed_trip(trip: RoundTrip) -> dict[str, Any]:
    """A closed trade as the ledger lists it."""
    return {
        "controller_id": trip.controller_id,
        "market": trip.market,
        "direction": trip.direction.value,
        "opened_ms": trip.opened_ms,
        "closed_ms": trip.closed_ms,
        "entry_price": trip.entry_price,
        "exit_price": trip.exit_price or ZERO,
        "size": trip.largest_size,
        "realised_pnl": trip.realised_pnl,
        "fees": trip.fees,
        "funding": trip.funding,
        "pnl": trip.pnl,
        "mfe": trip.mfe,
        "mae": trip.mae,
        "r_multiple": trip.r_multiple,
        "entry_reason": trip.entry_reason,
        "exit_reason": trip.exit_reason,
    }


def split_fill(rows: Mapping[tuple[str, str], PositionRow], fill: Fill, own: str) -> Iterator[tuple[str, Decimal]]:
    """Whose inventory a fill moves: what its own controller holds on the other side, then what others do, then its own anew.

    The venue nets one position a market, so all that is held in one is on one side.
    """
    left = fill.size
    for market, controller in sorted(rows, key=lambda key: key[1] != own):
        row = rows[(market, controller)]
        if market == fill.market and controller != NET and row.size * fill.side.sign < 0 and left:
            part = min(left, abs(row.size))
            left -= part
            yield controller, part
    if left:
        yield own, left


def split_funding(holders: list[PositionRow], payment: FundingPayment) -> Iterator[tuple[PositionRow, Decimal]]:
    """Each controller's own funding; the last takes what truncation leaves, so that the parts add up."""
    left = payment.payment
    for index, row in enumerate(holders):
        part = left if index == len(holders) - 1 else funding_payment(row.size, payment.oracle_price, payment.rate)
        left -= part
        yield row, part
