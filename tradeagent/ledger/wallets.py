"""Wallets and their running risk state: cash, nav, day, penalty, halt. One row each, updated with what moves it."""

from dataclasses import asdict, dataclass, field, fields, replace
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from tradeagent.domain.clock import Clock, day_start_ms
from tradeagent.domain.errors import InvalidInput, NotFound
from tradeagent.domain.money import ZERO
from tradeagent.domain.names import Actor, EventKind
from tradeagent.domain.performance import Day, Nav, Penalty
from tradeagent.ledger import events, notes
from tradeagent.ledger.direct import Write
from tradeagent.ledger.schema import kv, risk_state, wallets

REPLAY = "replay"
WALL = "wall"
_REMOVED = "removed_wallet:"


@dataclass(frozen=True, slots=True)
class WalletRow:
    """An account on a venue. `kind` is its group, agent or algo; `limits` are a person's limits for manual orders on it."""

    name: str
    venue: str
    network: str
    kind: str
    limits: dict[str, Any]
    created_ms: int

    @property
    def is_live(self) -> bool:
        return self.network not in ("paper", "rehearsal")


@dataclass(frozen=True, slots=True)
class RiskRow:
    """Running totals of a wallet, quote units; `cash` is C of execution.md §2."""

    wallet: str
    cash: Decimal = ZERO
    realised: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO
    flows: Decimal = ZERO
    nav_units: Decimal = ZERO
    nav_peak: Decimal = Decimal(1)
    day_start_ms: int = 0
    day_start_equity: Decimal = ZERO
    day_flows: Decimal = ZERO
    peak_equity: Decimal = ZERO
    last_equity: Decimal = ZERO
    last_equity_ms: int = 0
    penalty: Decimal = ZERO
    penalty_ms: int = 0
    lockout_ms: int | None = None
    halt: str | None = None
    halt_ms: int | None = None
    market_clock_ms: int | None = None
    clock_source: str | None = None
    activity_cursor: int = 0
    entries_today: dict[str, int] = field(default_factory=dict)
    losing_streak: int = 0

    def now_ms(self, clock: Clock) -> int:
        """The instant the wallet is at: its market clock under a replay, else the wall clock."""
        return self.market_clock_ms if self.clock_source == REPLAY and self.market_clock_ms is not None else clock.now_ms()

    @property
    def nav(self) -> Nav:
        return Nav(self.nav_units, self.nav_peak)

    @property
    def day(self) -> Day:
        return Day(self.day_start_ms, self.day_start_equity, self.day_flows)

    @property
    def penalty_state(self) -> Penalty:
        return Penalty(self.penalty, self.penalty_ms)

    def with_nav(self, nav: Nav) -> "RiskRow":
        return replace(self, nav_units=nav.units, nav_peak=nav.peak)

    def with_penalty(self, penalty: Penalty) -> "RiskRow":
        return replace(self, penalty=penalty.amount, penalty_ms=penalty.at_ms)

    def marked(self, equity: Decimal, now_ms: int) -> "RiskRow":
        """Take an equity point: roll the day (a point at midnight itself starts it), follow the nav's peak."""
        row = self.rolled(now_ms, equity if now_ms == day_start_ms(now_ms) else self.last_equity)
        nav, peak = row.nav.sample(equity), max(row.peak_equity, equity)
        return replace(row, nav_units=nav.units, nav_peak=nav.peak, last_equity=equity, last_equity_ms=now_ms, peak_equity=peak)

    def rolled(self, now_ms: int, equity_at_midnight: Decimal) -> "RiskRow":
        """The same wallet on the day of `now_ms`."""
        day = self.day.at(now_ms, equity_at_midnight)
        if day == self.day:
            return self
        return replace(self, day_start_ms=day.start_ms, day_start_equity=day.start_equity, day_flows=day.flows, entries_today={})

    def with_flow(self, amount: Decimal, equity_before: Decimal, now_ms: int) -> "RiskRow":
        """A deposit or withdrawal: moves cash and units, never a PnL figure. The first deposit starts the first day."""
        row = self.with_nav(self.nav.flow(amount, equity_before))
        if self.nav_units == 0 and self.flows == 0 and self.fees == 0:
            return replace(
                row,
                cash=self.cash + amount,
                flows=self.flows + amount,
                day_start_ms=day_start_ms(now_ms),
                day_start_equity=amount,
                day_flows=ZERO,
                last_equity=amount,
                last_equity_ms=now_ms,
                peak_equity=amount,
            )
        after = equity_before + amount
        return replace(
            row,
            cash=self.cash + amount,
            flows=self.flows + amount,
            day_flows=self.day_flows + amount,
            last_equity=after,
            last_equity_ms=now_ms,
            peak_equity=max(self.peak_equity + amount, after),
        )


_RISK_FIELDS = tuple(item.name for item in fields(RiskRow) if item.name != "wallet")
_SAVE_RISK = Write(update(risk_state).where(risk_state.c.wallet == bindparam("the_wallet")))


def create(tx: Connection, row: WalletRow) -> None:
    """Insert a wallet with an empty risk state; InvalidInput when the name is taken, NotFound by one that was removed."""
    require_in_use(tx, row.name)
    if tx.execute(select(wallets.c.name).where(wallets.c.name == row.name)).first():
        raise InvalidInput(f"wallet {row.name!r} exists", hint="see `tradeagent wallet list`")
    tx.execute(insert(wallets).values(**asdict(row)))
    tx.execute(insert(risk_state).values(**asdict(RiskRow(row.name))))


def find(tx: Connection, name: str) -> WalletRow | None:
    found = tx.execute(select(wallets).where(wallets.c.name == name)).first()
    return WalletRow(**found._mapping) if found else None


def get(tx: Connection, name: str) -> WalletRow:
    """The wallet, or NotFound."""
    row = find(tx, name)
    if row is None:
        raise NotFound(f"no wallet named {name!r}", hint=f"make one with `tradeagent wallet new {name}`, or see `tradeagent wallet list`")
    return row


def all_wallets(tx: Connection) -> list[WalletRow]:
    """Every wallet that a person has not removed."""
    gone = select(kv.c.key).where(kv.c.key == _REMOVED + wallets.c.name)
    return [WalletRow(**row._mapping) for row in tx.execute(select(wallets).where(~gone.exists()).order_by(wallets.c.name))]


def remove(tx: Connection, name: str, now_ms: int) -> None:
    """Take a wallet out of the lists and out of use. Its rows stay: they are the history of money, and keep its name."""
    notes.put_setting(tx, _REMOVED + name, now_ms)
    data = {"key": f"wallet.{name}", "old": "in use", "new": "removed"}
    events.append(tx, EventKind.CONFIG_CHANGED, now_ms, wallet=name, actor=Actor.MANUAL, data=data)


def removed_ms(tx: Connection, name: str) -> int | None:
    """When a person took a wallet out of use; None while it is in use."""
    at: int | None = notes.setting(tx, _REMOVED + name)
    return at


def require_in_use(tx: Connection, name: str) -> None:
    """NotFound for a wallet that a person has removed."""
    if removed_ms(tx, name) is not None:
        raise NotFound(
            f"wallet {name!r} was removed; its name stays with its history", hint="use another: `tradeagent wallet new NAME`, --wallet NAME"
        )


def risk(tx: Connection, name: str) -> RiskRow:
    """The running totals of a wallet; NotFound when it does not exist."""
    found = tx.execute(select(risk_state).where(risk_state.c.wallet == name)).first()
    if found is None:
        raise NotFound(f"no wallet named {name!r}", hint="see `tradeagent wallet list`")
    return RiskRow(**found._mapping)


def save_risk(tx: Connection, row: RiskRow) -> None:
    _SAVE_RISK.one(tx, {"the_wallet": row.wallet, **{name: getattr(row, name) for name in _RISK_FIELDS}})
