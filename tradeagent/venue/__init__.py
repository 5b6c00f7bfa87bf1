"""A simulated cross-margin perpetual exchange: pure, deterministic, counting in integers. Input and outcome types are in `events`."""

from tradeagent.venue import events
from tradeagent.venue.book import order_status
from tradeagent.venue.engine import step
from tradeagent.venue.events import Event, FundingRow, Outcome, VenueOrder
from tradeagent.venue.margin import AccountView, account
from tradeagent.venue.state import MarketSpec, VenueConfig, VenueState

__all__ = [
    "AccountView",
    "Event",
    "FundingRow",
    "MarketSpec",
    "Outcome",
    "VenueConfig",
    "VenueOrder",
    "VenueState",
    "account",
    "events",
    "order_status",
    "step",
]
