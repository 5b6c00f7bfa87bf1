"""RiskState: everything a rule may look at, frozen, read inside the transaction that records the intent."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property

from tradeagent.domain.costs import FeeSchedule
from tradeagent.domain.instrument import Instrument
from tradeagent.domain.limits import Limits
from tradeagent.domain.margin import Account
from tradeagent.domain.money import ZERO
from tradeagent.domain.names import Actor, DeploymentState, OrderType, ReconcilePhase
from tradeagent.domain.performance import Penalty
from tradeagent.domain.position import Position
from tradeagent.execution.entry_times import EntryTimes
from tradeagent.ledger.trading import NET, OrderRow, PositionRow, Reservation
from tradeagent.ledger.wallets import RiskRow, WalletRow

MANUAL_CONTROLLER = "manual"


@dataclass(frozen=True, slots=True)
class MarketState:
    """A market as last seen. `mark` is the last closed bar's close (paper) or the venue's mark; None when never seen."""

    instrument: Instrument
    mark: Decimal | None = None
    mark_ms: int = 0
    interval_ms: int = 0
    bar_range_pct: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Scope:
    """What the caller may touch: its markets (None = any known one) and the name its inventory is kept under."""

    actor: Actor
    controller_id: str
    markets: frozenset[str] | None
    deployment: str | None = None

    @property
    def owner(self) -> str:
        """Whose caps bind what it holds: an executor's are those of the deployment that created it."""
        return self.controller_id.partition("/")[0]


def belongs_to(controller_id: str, deployment: str) -> bool:
    """Whether a controller is a deployment itself or one of its executors, which are named `DEPLOYMENT/EXECUTOR`."""
    return controller_id == deployment or controller_id.startswith(f"{deployment}/")


@dataclass(frozen=True, slots=True)
class Spend:
    """Model spend of the agent today against its cap, USD."""

    used: Decimal = ZERO
    cap: Decimal | None = None


@dataclass(frozen=True)
class RiskState:
    """One consistent view of a wallet for one proposal. Money in quote units, sizes in base units."""

    now_ms: int
    wallet: WalletRow
    risk: RiskRow
    limits: Limits
    scope: Scope
    markets: Mapping[str, MarketState]
    positions: tuple[PositionRow, ...]
    orders: tuple[OrderRow, ...]
    reservations: tuple[Reservation, ...]
    fees: FeeSchedule
    slippage_bps: Decimal
    token_is_current: bool
    deployment_state: DeploymentState | None
    kill_switch: bool
    phase: ReconcilePhase
    unknown_markets: frozenset[str] = frozenset()
    spend: Spend = field(default_factory=Spend)
    flipping: bool = False
    live_executors: int = 0
    entry_times: EntryTimes = field(default_factory=EntryTimes)
    waking: int | None = None

    def once_closed(self, market: str) -> "RiskState":
        """The view of a flip's opening leg: what the caller holds in `market` counts as closed at the mark."""
        own, net, mark = self.inventory(market), self.net.get(market), self.mark(market)
        if own == 0 or net is None or mark is None:
            return replace(self, flipping=True)
        everything = self.scope.actor in (Actor.MANUAL, Actor.SYSTEM)
        gone = [row for row in self.positions if row.market == market and (everything or row.controller_id == self.scope.controller_id)]
        taken = net if everything else gone[0]
        left = replace(net, size=net.size - taken.size, cost=net.cost - taken.cost)
        kept = tuple(row for row in self.positions if row not in gone and row is not net)
        flat = tuple(replace(row, size=ZERO, cost=ZERO) for row in gone if row.controller_id != NET)
        risk = replace(self.risk, cash=self.risk.cash + taken.size * mark - taken.cost)
        return replace(self, positions=(*kept, *flat, left), risk=risk, flipping=True)

    @cached_property
    def net(self) -> dict[str, PositionRow]:
        """The venue's netted positions by market, flat ones left out."""
        return {row.market: row for row in self.positions if row.controller_id == NET and row.size}

    @cached_property
    def account(self) -> Account:
        """The account at current marks; a market without a mark is valued at its entry."""
        held = tuple(Position(row.market, row.size, row.cost, row.leverage) for row in self.net.values())
        marks = {p.market: self.mark(p.market) or (p.entry_price or ZERO) for p in held}
        instruments = {p.market: self.markets[p.market].instrument for p in held}
        return Account(self.risk.cash, held, marks, instruments)

    @cached_property
    def equity(self) -> Decimal:
        return self.account.equity

    @property
    def day_pnl(self) -> Decimal:
        return self.risk.rolled(self.now_ms, self.risk.last_equity).day.pnl(self.equity)

    @cached_property
    def penalty(self) -> Penalty:
        """The penalty as of now, so that its half-life is computed once per view."""
        return Penalty(self.risk.penalty_state.value(self.now_ms), self.now_ms)

    @property
    def drawdown_pct(self) -> Decimal:
        return self.risk.nav.drawdown(self.equity) * 100

    def mark(self, market: str) -> Decimal | None:
        state = self.markets.get(market)
        return state.mark if state else None

    def row(self, market: str, controller_id: str) -> PositionRow | None:
        return next((row for row in self.positions if row.market == market and row.controller_id == controller_id), None)

    def inventory(self, market: str) -> Decimal:
        """What the caller holds, signed; a person closes the whole, so for a person it is the net position."""
        if self.scope.actor in (Actor.MANUAL, Actor.SYSTEM):
            net = self.net.get(market)
            return net.size if net else ZERO
        own = self.row(market, self.scope.controller_id)
        return own.size if own else ZERO

    def held_by(self, market: str, deployment: str) -> Decimal:
        """What a deployment holds in a market, signed: its own inventory and that of its executors."""
        rows = (row for row in self.positions if row.market == market and belongs_to(row.controller_id, deployment))
        return sum((row.size for row in rows), ZERO)

    def entries_resting(self, market: str | None = None, deployment: str | None = None) -> list[tuple[str, str, Decimal, Decimal, int]]:
        """Every entry that may still fill: (market, side, size left, price, leverage) of resting orders and live reservations;
        of one deployment and its executors when named."""
        found = []
        for order in self.orders:
            if order.reduce_only or (market and order.market != market) or (deployment and not belongs_to(order.controller_id, deployment)):
                continue
            price = order.price or order.trigger or self.mark(order.market) or ZERO
            found.append((order.market, order.side, order.size - order.filled, price, self._setting(order.market)))
        reserved_intents = {order.intent_id for order in self.orders}
        for held in self.reservations:
            if (
                held.intent_id in reserved_intents
                or (market and held.market != market)
                or (deployment and not belongs_to(held.controller_id, deployment))
            ):
                continue
            found.append((held.market, held.side, held.size, held.price, held.leverage))
        return found

    def leverage_of(self, market: str) -> int:
        """The market's leverage setting: the open position's, else the largest that limits and venue allow."""
        held = self.row(market, NET)
        if held and held.size:
            return held.leverage
        cap = self.limits.number("max_leverage")
        venue_max = self.markets[market].instrument.max_leverage
        return max(1, min(venue_max, int(cap))) if cap is not None else venue_max

    def _setting(self, market: str) -> int:
        """The leverage that the market was set to at the venue when an entry was sent there."""
        sent = self.row(market, NET)
        return sent.leverage if sent else self.leverage_of(market)

    def levels(self, market: str) -> list[OrderRow]:
        """The orders that protect what is held in a market: reduce-only triggers, without children that still wait for their entry."""
        live = {order.cloid for order in self.orders}
        return [
            order
            for order in self.orders
            if order.market == market
            and OrderType(order.type).is_trigger
            and order.reduce_only
            and order.trigger is not None
            and order.parent_cloid not in live
        ]

    def levels_of(self, market: str, controller_id: str) -> list[OrderRow]:
        """What protects one controller's inventory, with NET everybody's: its own levels, and a person's who holds nothing there."""
        persons = self.row(market, MANUAL_CONTROLLER)
        owners = (controller_id,) if persons is not None and persons.size else (controller_id, MANUAL_CONTROLLER)
        return [order for order in self.levels(market) if controller_id == NET or order.controller_id in owners]

    def stops(self, market: str) -> list[tuple[Decimal, Decimal]]:
        """(trigger, size left) of the live stops of a market."""
        stops = [order for order in self.levels(market) if OrderType(order.type).is_stop]
        return [(order.trigger, order.size - order.filled) for order in stops if order.trigger is not None]
