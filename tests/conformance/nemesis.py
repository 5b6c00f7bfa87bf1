"""A broker between a client and another broker that fails as networks, venues and people do, by a seed or by a script.

Without faults it is the broker behind it. What it does to a write is one `Fault`; what it does to a read never loses or invents anything
for good: once it is calm, every read says what the venue says.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from tradeagent.brokers.protocol import Activity, BrokerAccount, BrokerOrder, OrderChange, SimulatedBroker
from tradeagent.domain.bars import Bar
from tradeagent.domain.clock import SimulatedClock
from tradeagent.domain.errors import RefusedError, VenueError
from tradeagent.domain.names import OrderState, OrderType, Side
from tradeagent.domain.order import Fill, OrderReport, OrderRequest

DUPLICATE = "Client order id was used before."


class Fault(StrEnum):
    """What goes wrong with one call."""

    LOST = "lost"  # the request never arrives: a timeout
    UNANSWERED = "unanswered"  # it arrives, the answer does not
    LATE = "late"  # a timeout; it arrives later, see `arrive`
    TWICE = "twice"  # the network doubles it; the first answer counts
    BUSY = "429"  # turned away
    DOWN = "503"  # not delivered, and the answer does not say so
    GARBAGE = "garbage"  # it arrives, the answer cannot be read
    SLOW = "slow"  # it arrives seconds later
    STALE = "stale"  # a read of a moment ago
    REPEATED = "repeated"  # activity from before the cursor once more
    SWAPPED = "swapped"  # an order's acknowledgement after its fill
    STEP = "step"  # the clock steps forward
    HAND = "hand"  # a person trades at the venue meanwhile
    CRASH = "crash"  # the market falls through the liquidation price meanwhile


WRITES = (Fault.LOST, Fault.UNANSWERED, Fault.LATE, Fault.TWICE, Fault.BUSY, Fault.DOWN, Fault.GARBAGE, Fault.SLOW)
READS = (Fault.LOST, Fault.BUSY, Fault.DOWN, Fault.GARBAGE, Fault.STALE)
RECORD = (*READS, Fault.REPEATED, Fault.SWAPPED)
WORLD = (Fault.STEP, Fault.HAND, Fault.CRASH)
_WORDS = {
    Fault.LOST: "no answer within 10 s",
    Fault.UNANSWERED: "connection reset by peer",
    Fault.LATE: "no answer within 10 s",
    Fault.BUSY: "429 Too Many Requests",
    Fault.DOWN: "503 Service Unavailable",
    Fault.GARBAGE: "the answer is not JSON: <html>",
}
_SILENT = (Fault.LOST, Fault.BUSY, Fault.DOWN)
Choice = Callable[[str], Fault | None]
"""Which fault befalls the next call of this name."""
Request = tuple[str, tuple[Any, ...]]
"""A write on its way to the venue, as data: the name of the call and its arguments. It may outlive the process that sent it."""


def no_fault(_name: str) -> Fault | None:
    return None


def seeded(chances: Mapping[Fault, float], chance: random.Random) -> Choice:
    """Faults at random: `chances` is the share of the calls each befalls, where the call can suffer it."""

    def choose(name: str) -> Fault | None:
        possible = {"activity_since": RECORD, "account": READS, "open_orders": READS, "order_status": READS}.get(name, WRITES) + WORLD
        for fault in possible:
            if chance.random() < chances.get(fault, 0.0):
                return fault
        return None

    return choose


@dataclass
class Past:
    """What the venue said just before the last write: what a read that lags behind still says."""

    account: BrokerAccount
    seq: int
    statuses: dict[str, OrderReport | None]


class Nemesis:
    """`broker` behind faults. `refuses_repeats`: the venue answers a known cloid with a rejection instead of its report."""

    def __init__(
        self,
        broker: SimulatedBroker,
        *,
        choose: Choice = no_fault,
        chance: random.Random | None = None,
        refuses_repeats: bool = False,
        clock: SimulatedClock | None = None,
        crash: Callable[[], None] | None = None,
    ) -> None:
        self.broker = broker
        self.choose = choose
        self.late: list[Request] = []
        self.done: list[Fault] = []
        self.by_hand: set[str] = set()
        self._chance = chance or random.Random(0)
        self._refuses_repeats = refuses_repeats
        self._clock = clock
        self._crash = crash
        self.past: Past | None = None

    @property
    def delivers_late(self) -> bool:
        return True

    def calm(self) -> None:
        """No more faults; what is still under way arrives."""
        self.choose = no_fault
        self.arrive()

    def arrive(self) -> None:
        """Late requests reach the venue; nobody waits for their answers any more."""
        while self.late:
            self._unheard(self.late.pop(0))

    # --- writes -----------------------------------------------------------------------------------------------------------

    def place(self, orders: Sequence[OrderRequest]) -> list[OrderReport]:
        reports: list[OrderReport] = self._write(("place", (tuple(orders),)), [order.cloid for order in orders])
        return reports

    def cancel(self, cloid: str) -> OrderReport:
        report: OrderReport = self._write(("cancel", (cloid,)), [cloid])
        return report

    def set_leverage(self, market: str, leverage: int) -> None:
        self._write(("set_leverage", (market, leverage)))

    def _write(self, request: Request, cloids: Sequence[str] = ()) -> Any:
        fault = self._befall(request[0])
        self._remember(cloids)
        if fault in _SILENT:
            raise _lost(fault)
        if fault is Fault.LATE:
            self.late.append(request)
            raise _lost(fault)
        if fault is Fault.SLOW and self._clock is not None:
            self._clock.advance_to(self._clock.now_ms() + self._chance.randint(1, 20) * 1000)
        if fault in (Fault.UNANSWERED, Fault.GARBAGE):
            self._unheard(request)
            raise _lost(fault)
        answer = self._deliver(request)
        if fault is Fault.TWICE:
            self._unheard(request)
        return answer

    def _remember(self, cloids: Sequence[str]) -> None:
        known = self.past.seq if self.past else 0
        seq = max((one.seq for one in self.broker.activity_since(known)), default=known)
        self.past = Past(self.broker.account(), seq, {cloid: self.broker.order_status(cloid) for cloid in cloids})

    def _deliver(self, request: Request) -> Any:
        name, arguments = request
        return self._place(*arguments) if name == "place" else getattr(self.broker, name)(*arguments)

    def _unheard(self, request: Request) -> None:
        """Deliver what nobody hears the answer to, also when it is a refusal."""
        try:
            self._deliver(request)
        except RefusedError:
            return

    def _place(self, orders: Sequence[OrderRequest]) -> list[OrderReport]:
        if self._refuses_repeats and any(self.broker.order_status(order.cloid) for order in orders):
            return [OrderReport(order.cloid, None, OrderState.REJECTED, Decimal(0), None, DUPLICATE) for order in orders]
        return self.broker.place(orders)

    # --- reads ------------------------------------------------------------------------------------------------------------

    def account(self) -> BrokerAccount:
        fault = self._read("account")
        return self.past.account if fault is Fault.STALE and self.past is not None else self.broker.account()

    def open_orders(self) -> Sequence[BrokerOrder]:
        self._read("open_orders")
        return self.broker.open_orders()

    def order_status(self, cloid: str) -> OrderReport | None:
        fault = self._read("order_status")
        if fault is Fault.STALE and self.past is not None and cloid in self.past.statuses:
            return self.past.statuses[cloid]
        return self.broker.order_status(cloid)

    def activity_since(self, cursor: int) -> Sequence[Activity]:
        fault = self._read("activity_since")
        if fault is Fault.REPEATED:
            return self.broker.activity_since(max(0, cursor - self._chance.randint(1, 8)))
        found = list(self.broker.activity_since(cursor))
        if fault is Fault.STALE:
            return [one for one in found if self.past is not None and one.seq <= self.past.seq]
        return _swapped(found) if fault is Fault.SWAPPED else found

    def _read(self, name: str) -> Fault | None:
        fault = self._befall(name)
        if fault in (*_SILENT, Fault.GARBAGE):
            raise _lost(fault)
        return fault

    # --- the world --------------------------------------------------------------------------------------------------------

    def _befall(self, name: str) -> Fault | None:
        """The fault of this call; requests that are late may arrive before it, and the world may move."""
        if self.late and self._chance.random() < 0.3:
            self.arrive()
        fault = self.choose(name)
        if fault is not None:
            self.done.append(fault)
        if fault is Fault.HAND:
            self.trade_by_hand()
        elif fault is Fault.CRASH and self._crash is not None:
            self._crash()
        elif fault is Fault.STEP and self._clock is not None:
            self._clock.advance_to(self._clock.now_ms() + self._chance.randint(1, 3600) * 1000)
        return None if fault in WORLD else fault

    def trade_by_hand(self, market: str = "BTC") -> OrderReport:
        """A person's order at the venue, which no ledger knows."""
        cloid = f"0xhand{len(self.by_hand)}"
        self.by_hand.add(cloid)
        side = Side.BUY if self._chance.random() < 0.5 else Side.SELL
        size = Decimal(self._chance.randint(200, 3000)).scaleb(-3)
        return self.broker.place([OrderRequest(cloid, market, side, OrderType.MARKET, size, at_mark=True)])[0]

    def play_open(self, time_ms: int, bars: Mapping[str, Bar], funding: Sequence[tuple[str, int, int]]) -> None:
        self.broker.play_open(time_ms, bars, funding)

    def play_close(self, time_ms: int, bars: Mapping[str, Bar], funding: Sequence[tuple[str, int, int]]) -> None:
        self.broker.play_close(time_ms, bars, funding)

    def transfer(self, amount: Decimal) -> None:
        self.broker.transfer(amount)


def _lost(fault: Fault | None) -> VenueError:
    return VenueError(f"the venue did not answer: {_WORDS[fault or Fault.LOST]}")


def _swapped(found: list[Activity]) -> list[Activity]:
    """Every fill that follows another order's news moves before it: the acknowledgement comes after the fill."""
    made = list(found)
    for index in range(len(made) - 1):
        if isinstance(made[index].item, OrderChange) and isinstance(made[index + 1].item, Fill):
            made[index], made[index + 1] = made[index + 1], made[index]
    return made
