"""What a kill does at the venue of one wallet, with a broker connection of its own: cancel what rests, close what is held.

It needs no ledger: the venue says what there is, and the ledger books it when somebody can write it again.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Protocol

from tradeagent.brokers.protocol import BrokerAccount
from tradeagent.domain.clock import Clock
from tradeagent.domain.errors import RefusedError, VenueError
from tradeagent.domain.names import ExitReason, KillPolicy, OrderState, OrderType, Side, Tif
from tradeagent.domain.order import OrderReport, OrderRequest
from tradeagent.execution.opening import open_paper
from tradeagent.execution.orders import cloid_of
from tradeagent.workspace.config import Config
from tradeagent.workspace.paths import Workspace

DEADLINE_S = 10.0
AGAIN_S = 0.05
TOO_LARGE = "Order value too large"


class Account(Protocol):
    """The part of a broker that a kill needs."""

    def account(self) -> BrokerAccount: ...
    def order_status(self, cloid: str) -> OrderReport | None: ...
    def cancel(self, cloid: str) -> OrderReport: ...
    def place(self, orders: Sequence[OrderRequest]) -> list[OrderReport]: ...


@dataclass(frozen=True, slots=True)
class Closed:
    """What one close of a kill took off a position: signed size, base units, and its average price, quote units."""

    market: str
    size: Decimal
    price: Decimal | None


@dataclass(frozen=True, slots=True)
class Wiped:
    """What there was to do and what is left; `flat` is the venue's word."""

    cancelled: int
    closed: tuple[Closed, ...]
    flat: bool


async def wipe_paper(workspace: Workspace, config: Config, wallet: str, policy: KillPolicy, clock: Clock) -> Wiped:
    """Cancel and close on a paper account, which is made by nobody: without a file there is nothing to do."""
    if not workspace.paper_file(wallet).exists():
        return Wiped(0, (), flat=True)
    paper = open_paper(workspace, config, wallet, clock)
    try:
        return await wipe(paper, policy, clock)
    finally:
        paper.close()


async def wipe(account: Account, policy: KillPolicy, clock: Clock) -> Wiped:
    """Cancel and close as the policy says, again and again until the venue says it is done or ten seconds are over.

    A close that cannot fill yet (an outage) is placed once and waits at the venue, also when the ten seconds are over.
    """
    deadline = clock.monotonic() + DEADLINE_S
    cancelled: set[str] = set()
    closes: dict[str, tuple[str, Decimal]] = {}
    closed: tuple[Closed, ...] = ()
    seen = BrokerAccount(Decimal(0), {}, frozenset())
    while True:
        try:
            seen = account.account()
            if policy is not KillPolicy.KEEP_ALL:
                cancelled |= _cancel_all(account, seen.open_cloids - closes.keys())
            if policy is KillPolicy.FLATTEN_ALL:
                _close_all(account, seen, closes, clock)
            seen = account.account()
            closed = _closed(account, closes, seen)
            if policy is KillPolicy.KEEP_ALL or (not seen.open_cloids and (policy is KillPolicy.CANCEL_ONLY or not seen.positions)):
                break
        except VenueError:
            pass  # the venue did not answer: ask it again until the deadline
        if clock.monotonic() > deadline:
            break
        await clock.sleep(AGAIN_S)
    return Wiped(len(cancelled), closed, flat=not seen.positions)


def _cancel_all(account: Account, cloids: AbstractSet[str]) -> set[str]:
    done = set()
    for cloid in sorted(cloids):
        try:
            account.cancel(cloid)
        except RefusedError:
            continue  # gone already, with its parent or its position
        done.add(cloid)
    return done


def _close_all(account: Account, seen: BrokerAccount, closes: dict[str, tuple[str, Decimal]], clock: Clock) -> None:
    """Send closes for every position that none waits for; `closes` remembers market and signed size by name."""
    waiting = {market for cloid, (market, _) in closes.items() if cloid in seen.open_cloids}
    for market, (size, _) in seen.positions.items():
        if market not in waiting:
            _close(account, market, size, closes, clock)


def _close(account: Account, market: str, size: Decimal, closes: dict[str, tuple[str, Decimal]], clock: Clock) -> None:
    """Close a position in one order, or in halves, quarters … of it when the venue says that one is too large."""
    left, part = abs(size), abs(size)
    while left and part:
        part = min(part, left)
        order = OrderRequest(
            cloid=cloid_of(f"kill/{clock.new_id()}", market),
            market=market,
            side=Side.SELL if size > 0 else Side.BUY,
            type=OrderType.MARKET,
            size=part,
            tif=Tif.IOC,
            reduce_only=True,
            at_mark=True,
            exit_reason=ExitReason.KILL,
        )
        closes[order.cloid] = (market, part.copy_sign(size))
        report = account.place([order])[0]
        if report.state is not OrderState.REJECTED:
            left -= part
        elif TOO_LARGE in report.reason:
            part = (part / 2).quantize(size, rounding=ROUND_FLOOR)
        else:
            return


def _closed(account: Account, closes: Mapping[str, tuple[str, Decimal]], seen: BrokerAccount) -> tuple[Closed, ...]:
    """What the closes that wait no more have taken."""
    ended = [(market, size, account.order_status(cloid)) for cloid, (market, size) in closes.items() if cloid not in seen.open_cloids]
    return tuple(Closed(m, report.filled.copy_sign(size), report.average_price) for m, size, report in ended if report and report.filled)
