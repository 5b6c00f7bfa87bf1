"""What the screen shows, read from the ledger in one go: the same figures as `status`, `wallet show` and `limits` print.

Imported by the feed's thread only: it loads what reads the ledger, and the first paint does not wait for that.
"""

import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from tradeagent.domain.clock import Clock, to_ms
from tradeagent.domain.errors import BusyError, DataError
from tradeagent.domain.names import DeploymentState, EventKind, RunMode
from tradeagent.execution.opening import network_of
from tradeagent.execution.reading import read_state, tenant_of
from tradeagent.execution.usage import LimitUse, limit_usage
from tradeagent.ledger import events, notes, runs, wallets
from tradeagent.ledger.store import Ledger, open_ledger
from tradeagent.ledger.wallets import REPLAY
from tradeagent.runtime.status import status_view
from tradeagent.runtime.views import surroundings
from tradeagent.turns.snapshot import RuntimeSnapshot, active_trade, runtime_snapshot
from tradeagent.workspace.config import Config
from tradeagent.workspace.paths import Workspace

TICKER_KINDS = (
    EventKind.FILL.value,
    EventKind.LIQUIDATION.value,
    EventKind.HALT.value,
    EventKind.LOCKOUT.value,
    EventKind.INCIDENT_OPENED.value,
    EventKind.INCIDENT_CLOSED.value,
    EventKind.PROPOSAL_REJECTED.value,
    EventKind.COMMAND_STATE.value,
    EventKind.DEPLOYMENT_STATE.value,
    EventKind.NOTIFICATION.value,
)
TICKS = (EventKind.TICK_FINISHED.value, EventKind.TICK_BLOCKED.value)
TICKER_EVENTS = 40
MAX_INCIDENTS = 100
_WHO_HOLDS_IT = "`tradeagent doctor` shows who holds it"
_ENDINGS = ("done", "failed")


@dataclass(frozen=True, slots=True)
class Card:
    """One deployment as the list shows it. Times UTC ms in the wallet's own time, money in quote units."""

    id: str
    slug: str
    wallet: str
    network: str
    state: DeploymentState
    mode: RunMode
    model: str
    ticks: int
    equity: Decimal
    day_pnl: Decimal
    open_positions: int
    next_ms: int | None
    last_ms: int | None
    reconciliation: str
    halt: str | None
    incidents: int
    stopped_because: str | None
    replay: str | None
    speed: Decimal

    @property
    def is_live(self) -> bool:
        """Whether a runner drives it now."""
        return self.state.is_live

    @property
    def is_rule_based(self) -> bool:
        return self.model.startswith("offline/")


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """Something open that needs a person."""

    time_ms: int
    level: str
    code: str
    where: str
    message: str


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the ticker."""

    time_ms: int
    kind: str
    where: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Glance:
    """The workspace and its deployments, running ones first."""

    network: str
    kill_switch: bool
    open_incidents: int
    cards: tuple[Card, ...]
    incidents: tuple[IncidentRow, ...]


@dataclass(frozen=True, slots=True)
class AccountPicture:
    """The account of one deployment. `market_ms` = close of the last bar that its marks come from; `multiples` = R by market
    of what the deployment itself holds, which the venue's net position does not know."""

    card: Card
    snapshot: RuntimeSnapshot
    uses: tuple[LimitUse, ...]
    market_ms: int | None
    on_replay: bool
    last_tick: dict[str, Any] | None
    directives: int
    multiples: dict[str, Decimal]


class LedgerView:
    """An open ledger and what was seen in it so far. Used by one thread."""

    def __init__(self, workspace: Workspace, config: Config, clock: Clock) -> None:
        self._workspace = workspace
        self._config = config
        self._clock = clock
        self._ledger = _opened(workspace)
        self._inode = workspace.ledger_file.stat().st_ino
        self._cursor = 0
        self._happenings: deque[Happening] = deque(maxlen=TICKER_EVENTS)
        self._sources: dict[str, dict[str, Any]] = {}

    def version(self) -> int:
        """Changes whenever another process has committed."""
        with _named():
            return self._ledger.data_version()

    def was_replaced(self) -> bool:
        """Whether the file under that name is another one now."""
        try:
            return self._workspace.ledger_file.stat().st_ino != self._inode
        except FileNotFoundError:
            return True

    def close(self) -> None:
        self._ledger.close()

    def glance(self) -> Glance:
        """The workspace as it is now."""
        with _named():
            status = status_view(self._workspace, self._clock)
            with self._ledger.reading() as tx:
                cards = [self._card(tx, row) for row in status["deployments"]]
                count: int = status["incidents"]
                incidents = notes.list_incidents(tx, only_open=True, limit=MAX_INCIDENTS) if count else []
        return Glance(
            network=status["network"],
            kill_switch=status["kill_switch"],
            open_incidents=count,
            cards=tuple(sorted(cards, key=lambda card: not card.is_live)),
            incidents=tuple(map(_incident, incidents)),
        )

    def happenings(self) -> tuple[Happening, ...]:
        """The newest events of the ticker's kinds, oldest first; a first look takes only as many as are kept."""
        limit = TICKER_EVENTS if self._cursor == 0 else 1_000
        with _named(), self._ledger.reading() as tx:
            rows = events.read(tx, after=self._cursor, kinds=TICKER_KINDS, limit=limit, newest=True)
        for row in rows:
            self._cursor = row["seq"]
            if row["kind"] == EventKind.COMMAND_STATE.value and row["data"].get("state") not in _ENDINGS:
                continue
            where = row["deployment"] or row["wallet"] or ""
            self._happenings.append(Happening(row["time_ms"], row["kind"], where, row["data"]))
        return tuple(self._happenings)

    def account(self, card: Card) -> AccountPicture:
        """The wallet of a deployment, from the same snapshot as `wallet show` and the prompt."""
        with _named(), self._ledger.reading() as tx:
            deployment = runs.get_deployment(tx, card.id)
            wallet = wallets.get(tx, deployment.wallet)
            state = read_state(tx, self._config, wallet, self._clock, tenant_of(deployment))
            ticks = events.read(tx, deployment=card.id, kinds=TICKS, limit=1, newest=True)
            waiting = len(runs.waiting_directives(tx, card.id))
            around = surroundings(tx, self._workspace, self._config, state, deployment, self._clock)
        own = [active_trade(state, row) for row in state.positions if row.controller_id == card.id and row.size]
        network = network_of(wallet)
        return AccountPicture(
            card=card,
            snapshot=runtime_snapshot(state, around),
            uses=tuple(limit_usage(state, network, self._config.section("ceilings", network))),
            market_ms=state.risk.market_clock_ms,
            on_replay=state.risk.clock_source == REPLAY,
            last_tick={**ticks[0]["data"], "time_ms": ticks[0]["time_ms"]} if ticks else None,
            directives=waiting,
            multiples={trade.market: trade.r for trade in own if trade.r is not None},
        )

    def _card(self, tx: Any, row: dict[str, Any]) -> Card:
        source = self._source(tx, row["id"])
        return Card(
            id=row["id"],
            slug=row["slug"],
            wallet=row["wallet"],
            network=row["network"],
            state=DeploymentState(row["state"]),
            mode=RunMode(row["mode"]),
            model=row["model"],
            ticks=row["ticks"],
            equity=Decimal(row["equity"]),
            day_pnl=Decimal(row["day_pnl"]),
            open_positions=row["open_positions"],
            next_ms=_ms(row["next_tick_at"]),
            last_ms=_ms(row["last_tick_at"]),
            reconciliation=row["reconciliation"],
            halt=row["halt"],
            incidents=row["incidents"],
            stopped_because=row["stopped_because"],
            replay=source.get("replay"),
            speed=Decimal(source.get("speed", "1")),
        )

    def _source(self, tx: Any, deployment: str) -> dict[str, Any]:
        """Where a run's bars come from never changes: read once."""
        if deployment not in self._sources:
            self._sources[deployment] = runs.get_deployment(tx, deployment).source
        return self._sources[deployment]


def _incident(row: dict[str, Any]) -> IncidentRow:
    return IncidentRow(row["time_ms"], row["level"], row["code"], row["deployment"] or row["wallet"] or "", row["message"])


def _ms(text: str | None) -> int | None:
    return None if text is None else to_ms(datetime.fromisoformat(text))


def _opened(workspace: Workspace) -> Ledger:
    try:
        return open_ledger(workspace.ledger_file)
    except DataError as error:
        if "locked" in error.message:
            raise BusyError(error.message, hint=_WHO_HOLDS_IT) from error
        raise


@contextmanager
def _named() -> Iterator[None]:
    """What the database says becomes an error with a name of its own."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        if "locked" in str(error):
            raise BusyError(f"the ledger is locked: {error}", hint=_WHO_HOLDS_IT) from error
        raise DataError(f"the ledger cannot be read: {error}", hint="`tradeagent doctor` says more; a backup can replace it") from error
