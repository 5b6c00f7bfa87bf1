"""What the conformance suite needs around a broker: an account with money, a market that moves when told, and more connections to it.

A broker joins the suite with one entry in `STAGES`: a class with the methods of `Stage`.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from nemesis import Nemesis

from tradeagent.brokers.paper import PaperBroker
from tradeagent.brokers.protocol import Activity, CashFlow, Liquidation, OrderChange, SimulatedBroker
from tradeagent.domain.bars import Bar
from tradeagent.domain.clock import SimulatedClock
from tradeagent.domain.errors import RefusedError
from tradeagent.domain.instrument import Instrument, MarginTier
from tradeagent.domain.names import OrderState, OrderType, Side
from tradeagent.domain.order import Fill, FundingPayment, OrderReport, OrderRequest
from tradeagent.domain.position import Position, apply_fill

D = Decimal
NOON = 1_767_787_200_000  # 2026-01-07 12:00 UTC
STEP = 300_000
CASH = D(10_000)
PRICES = {"BTC": D(100), "ETH": D(50)}
INSTRUMENTS = {
    "BTC": Instrument("v", "BTC", 3, (MarginTier(D(0), 50),)),
    "ETH": Instrument("v", "ETH", 3, (MarginTier(D(0), 20), MarginTier(D(50_000), 10))),
}
Shape = Decimal | int | str | tuple[Any, Any, Any, Any]


class Stage(Protocol):
    """An account with 10,000 USDC at a venue where BTC is at 100 and ETH at 50, sizes in thousandths."""

    broker: SimulatedBroker
    clock: SimulatedClock

    def connect(self) -> SimulatedBroker:
        """One more connection to the same account."""

    def reopen(self) -> SimulatedBroker:
        """Close every connection and connect anew, as after a restart."""

    def bar(self, *, funding: Iterable[tuple[str, int, int]] = (), volume: int = 1_000_000, **shapes: Shape) -> None:
        """Five minutes pass: `BTC=(open, high, low, close)` or one price, other markets stay where they are."""

    def thin(self, percent: int) -> None:
        """From now on one bar fills at most this share of its volume."""

    def close(self) -> None:
        """End everything."""


class PaperStage:
    """The paper broker."""

    def __init__(self, root: Path) -> None:
        self.clock = SimulatedClock(NOON - STEP)
        self._root = root
        self._close_of = dict(PRICES)
        self._percent: int | None = None
        self._open: list[tuple[PaperBroker, SimulatedBroker]] = []
        self.broker = self.connect()
        self.broker.transfer(CASH)
        self.bar()

    def connect(self) -> SimulatedBroker:
        paper = PaperBroker(self._root / "paper.db", INSTRUMENTS, self.clock, durable=False)
        paper._config = replace(paper._config, volume_cap_pct=self._percent)
        made = self.wrapped(paper)
        self._open.append((paper, made))
        return made

    def wrapped(self, paper: PaperBroker) -> SimulatedBroker:
        return paper

    def reopen(self) -> SimulatedBroker:
        self.close()
        self.broker = self.connect()
        return self.broker

    def bar(self, *, funding: Iterable[tuple[str, int, int]] = (), volume: int = 1_000_000, **shapes: Shape) -> None:
        open_ms = self.clock.now_ms() - self.clock.now_ms() % STEP
        bars = {}
        for market, last in self._close_of.items():
            shape = shapes.get(market, last)
            prices = tuple(D(x) for x in shape) if isinstance(shape, tuple) else (D(shape),) * 4
            o, h, low, c = (int(price.scaleb(3)) for price in prices)
            bars[market] = Bar(market, open_ms, STEP, o, h, low, c, volume)
        self._close_of = {market: D(bar.close).scaleb(-3) for market, bar in bars.items()}
        self.clock.advance_to(open_ms + STEP)
        for _, broker in self._open:
            broker.play_close(open_ms + STEP, bars, tuple(funding))

    def thin(self, percent: int) -> None:
        self._percent = percent
        for paper, _ in self._open:
            paper._config = replace(paper._config, volume_cap_pct=percent)

    def close(self) -> None:
        for paper, _ in self._open:
            paper.close()
        self._open = []


class QuietNemesisStage(PaperStage):
    """The paper broker behind a nemesis that does nothing."""

    def wrapped(self, paper: PaperBroker) -> SimulatedBroker:
        return Nemesis(paper, clock=self.clock)


class RefusingRepeatsStage(PaperStage):
    """A venue that refuses a repeated cloid, behind a client that asks for the order's status first, as a broker has to."""

    def wrapped(self, paper: PaperBroker) -> SimulatedBroker:
        return AskingFirst(Nemesis(paper, clock=self.clock, refuses_repeats=True))


class AskingFirst(Nemesis):
    """Turns a venue that refuses repeats into a broker: what is known is answered, and only the unknown is sent."""

    def __init__(self, venue: Nemesis) -> None:
        super().__init__(venue)

    def _place(self, orders: Any) -> list[OrderReport]:
        known = [self.broker.order_status(order.cloid) for order in orders]
        grouped = any(order.parent_cloid for order in orders)
        if grouped and any(known):
            return [report for report in known if report is not None]
        new = [order for order, report in zip(orders, known, strict=True) if report is None]
        fresh = iter(self.broker.place(new) if new else ())
        return [report or next(fresh) for report in known]


STAGES: dict[str, type[Stage]] = {
    "paper": PaperStage,
    "paper behind a quiet nemesis": QuietNemesisStage,
    "a venue that refuses repeats": RefusingRepeatsStage,
}


def order(cloid: str, side: Side = Side.BUY, size: Any = 1, **more: Any) -> OrderRequest:
    """A request; market unless a type, price or trigger says otherwise. Numbers as text or integers."""
    kind = more.pop("type", OrderType.LIMIT if "price" in more else OrderType.MARKET)
    numbers = {key: D(more.pop(key)) for key in ("price", "trigger") if key in more}
    return OrderRequest(cloid, more.pop("market", "BTC"), side, kind, D(size), **numbers, **more)


def buy(cloid: str, size: Any = 1, **more: Any) -> OrderRequest:
    return order(cloid, Side.BUY, size, **more)


def sell(cloid: str, size: Any = 1, **more: Any) -> OrderRequest:
    return order(cloid, Side.SELL, size, **more)


def stop(cloid: str, trigger: Any, size: Any = 1, **more: Any) -> OrderRequest:
    """A reduce-only stop of a long position."""
    return sell(cloid, size, type=OrderType.STOP_MARKET, trigger=trigger, reduce_only=True, **more)


def target(cloid: str, trigger: Any, size: Any = 1, **more: Any) -> OrderRequest:
    """A reduce-only target of a long position."""
    return sell(cloid, size, type=OrderType.TAKE_PROFIT_MARKET, trigger=trigger, reduce_only=True, **more)


def group(name: str, size: Any = 1, *, stop_at: Any = 90, target_at: Any = 120, **entry: Any) -> list[OrderRequest]:
    """A long entry with its stop and target, cloids NAMEe, NAMEs and NAMEt."""
    parent = f"{name}e"
    return [
        buy(parent, size, **entry),
        stop(f"{name}s", stop_at, size, parent_cloid=parent),
        target(f"{name}t", target_at, size, parent_cloid=parent),
    ]


def state_of(broker: SimulatedBroker, cloid: str) -> OrderState:
    report = broker.order_status(cloid)
    assert report is not None, f"{cloid} is not known"
    return report.state


def fills(broker: SimulatedBroker, cloid: str | None = None) -> list[Fill]:
    found = [one.item for one in broker.activity_since(0) if isinstance(one.item, Fill)]
    return [fill for fill in found if cloid in (None, fill.cloid)]


def held(broker: SimulatedBroker, market: str = "BTC") -> Decimal:
    return broker.account().positions.get(market, (D(0), D(0)))[0]


def replayed(activity: Iterable[Activity]) -> tuple[Decimal, dict[str, tuple[Decimal, Decimal]], frozenset[str]]:
    """Cash, positions and live orders as they follow from the record alone."""
    cash, positions, live = D(0), {market: Position(market) for market in PRICES}, {}
    for one in activity:
        item = one.item
        if isinstance(item, Fill):
            booked = apply_fill(positions[item.market], item.side, item.size, item.price)
            assert booked.realised_pnl == item.realised_pnl
            positions[item.market], cash = booked.position, cash + item.realised_pnl - item.fee
        elif isinstance(item, FundingPayment):
            cash -= item.payment
        elif isinstance(item, CashFlow):
            cash += item.amount
        elif isinstance(item, OrderChange):
            live[item.report.cloid] = item.report.state.is_live
        elif isinstance(item, Liquidation) and item.kind == "backstop":
            cash -= item.amount
    there = {market: (p.size, p.cost) for market, p in positions.items() if p.size}
    return cash, there, frozenset(cloid for cloid, is_live in live.items() if is_live)


def agrees(broker: SimulatedBroker) -> None:
    """The account is what its record says, to the last unit."""
    account = broker.account()
    assert (account.cash, dict(account.positions), account.open_cloids) == replayed(broker.activity_since(0))


def quietly(call: Any) -> None:
    """Do something whose refusal is as good."""
    with suppress(RefusedError):
        call()
