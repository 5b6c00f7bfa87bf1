"""Another hand on the paper account: what breaks the world that a comparison puts right."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

from world import INSTRUMENTS, WALLET, World

from tradeagent.brokers.paper import PaperBroker
from tradeagent.domain.names import OrderType, Side
from tradeagent.domain.order import OrderReport, OrderRequest
from tradeagent.ledger import events, notes
from tradeagent.venue import VenueState
from tradeagent.venue.state import Order

D = Decimal


@contextmanager
def other_hand(world: World) -> Iterator[PaperBroker]:
    """The same account, opened by somebody else."""
    broker = PaperBroker(world.root / "paper.db", INSTRUMENTS, world.clock, fees=world.costs.fees, slippage_bps=D(0), durable=False)
    yield broker
    broker.close()


def by_another_hand(world: World, side: str = "buy", size: str = "1", cloid: str = "0xother", **more: Any) -> OrderReport:
    """An order that somebody places past the door; at the mark unless it has a price or trigger."""
    kind = OrderType(more.pop("type", "market"))
    more = {key: D(value) if key in ("price", "trigger") else value for key, value in more.items()}
    request = OrderRequest(cloid, "BTC", Side(side), kind, D(size), at_mark=kind is OrderType.MARKET, **more)
    return world.paper.place([request])[0]


def tamper(world: World, change: Callable[[VenueState], VenueState]) -> None:
    """Change the venue's state without a word in its record."""
    with other_hand(world) as broker:
        state = change(broker._fresh())
        with broker._store.transaction():
            broker._store.save(state, (), ())


def tampered_order(world: World, cloid: str, **values: Any) -> None:
    """Change one open order at the venue silently."""

    def change(state: VenueState) -> VenueState:
        return replace(state, orders={oid: replace(o, **values) if o.cloid == cloid else o for oid, o in state.orders.items()})

    tamper(world, change)


def at_venue(world: World, cloid: str) -> Order | None:
    """An open order as the venue has it."""
    return next((order for order in world.paper._fresh().orders.values() if order.cloid == cloid), None)


def fills_at_most(world: World, size: Decimal | int | None) -> None:
    """How much of BTC the bar that opens next can fill, said before anything is placed on it; None takes the cap away."""
    world.paper._config = replace(world.paper._config, volume_cap_pct=None if size is None else 50)
    if size is not None:
        bars = world.feed.bars["BTC"]
        bars[-1] = replace(bars[-1], volume=int(size * 2_000))


def incidents(world: World, *, only_open: bool = True) -> dict[str, str]:
    """Messages of incidents by code."""
    with world.ledger.reading() as tx:
        return {str(row["code"]): str(row["message"]) for row in notes.list_incidents(tx, only_open=only_open)}


def phases(world: World) -> list[str]:
    with world.ledger.reading() as tx:
        return [row["data"]["phase"] for row in events.read(tx, wallet=WALLET, kinds=("reconcile.phase",), limit=10_000)]


def told(world: World, kind: str) -> list[dict[str, Any]]:
    """The data of every event of a kind."""
    with world.ledger.reading() as tx:
        return [row["data"] for row in events.read(tx, wallet=WALLET, kinds=(kind,), limit=10_000)]


def no_trade_next(world: World, market: str = "BTC") -> None:
    """The bar that opens next has no trade in it."""
    bars = world.feed.bars[market]
    bars[-1] = replace(bars[-1], volume=0)
