"""What every run stands on, an agent's or an algo's: workspace, wallet, feed, clock and ledger, and how it starts on them."""

from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from tradeagent.domain.clock import Clock, SimulatedClock
from tradeagent.domain.names import DeploymentState, ReconcilePhase, RunMode
from tradeagent.execution.opening import Door
from tradeagent.execution.playback import Playback
from tradeagent.execution.recover import recover
from tradeagent.ledger import runs
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.ledger.store import Ledger, open_ledger
from tradeagent.ledger.wallets import REPLAY, WALL, WalletRow
from tradeagent.market.feed import WarehouseFeed
from tradeagent.runtime.place import Place
from tradeagent.runtime.schedule import NextMark
from tradeagent.runtime.stops import StopReason
from tradeagent.turns.record import Baseline, TickState


@dataclass(frozen=True, slots=True)
class Pace:
    """How a run was asked to go. Times UTC ms; `speed` 0 = without waiting; `replay` None = the newest stored bars."""

    mode: RunMode = RunMode.LOOP
    replay: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    speed: Decimal = Decimal(0)
    max_ticks: int | None = None
    seed: int = 0

    def as_source(self) -> dict[str, Any]:
        """JSON for the row of a deployment; `mode` has a column of its own."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "mode"} | {"speed": str(self.speed)}


def pace_of(row: DeploymentRow) -> Pace:
    """The pace that a row was made with."""
    source = row.source
    kept = {name: source[name] for name in Pace.__dataclass_fields__ if name in source}
    return Pace(**kept | {"mode": RunMode(row.mode), "speed": Decimal(source["speed"])})


@dataclass(frozen=True, slots=True)
class Ground:
    """The place, the wallet, the feed, the clock that the run lives by, the instant of its first tick, and its ledger connection."""

    place: Place
    pace: Pace
    wallet: WalletRow
    feed: WarehouseFeed
    clock: Clock
    start_ms: int
    ledger: Ledger

    @property
    def is_replay(self) -> bool:
        return self.pace.replay is not None

    @property
    def is_dry(self) -> bool:
        return self.pace.mode is RunMode.DRY_RUN


class Record(Protocol):
    """What a tick came to, as a runner counts it; `verdicts` are (verdict, rule)."""

    @property
    def number(self) -> int: ...
    @property
    def state(self) -> TickState: ...
    @property
    def verdicts(self) -> tuple[tuple[str, str | None], ...]: ...


R = TypeVar("R", bound=Record)


class Mind(Protocol[R]):
    """What a runner asks at each mark, and tells what happened in between: an agent's tick, or a step of an algo."""

    @property
    def interval_ms(self) -> int: ...

    @property
    def max_ticks(self) -> int:
        """Ticks after which it has done its work; 0 = no end."""

    @property
    def skips_missed(self) -> bool:
        """Whether marks that passed meanwhile are passed over by the wall clock."""

    def first_mark(self, now_ms: int) -> int: ...

    def marks(self, first_ms: int) -> NextMark: ...

    def is_ready(self, mark_ms: int) -> bool:
        """Whether a mark that has come can be ticked at; asked of runs by the wall clock."""

    async def tick(self, number: int, interval_ms: int, next_ms: int | None, resolve_s: float) -> R:
        """One tick. `resolve_s` is what it took to bring feed, venue and wallet to this instant."""

    async def converse(self) -> bool:
        """Answer the messages that wait for it; whether there were any."""

    def prune(self, number: int) -> None:
        """Forget what only recent ticks need."""

    def note(self, mark: str, now_ms: int, text: str, reason: str = "") -> None:
        """Something happened between ticks."""

    def tell(self, row: DeploymentRow, last: R | None) -> None:
        """The ledger's word on the run has changed."""


class Runnable(Protocol[R]):
    """An assembled run, whoever decides in it."""

    @property
    def stage(self) -> Ground: ...
    @property
    def row(self) -> DeploymentRow: ...
    @property
    def door(self) -> Door: ...
    @property
    def playback(self) -> Playback: ...
    @property
    def mind(self) -> Mind[R]: ...


def ledger_for(place: Place, replay: str | None, stack: ExitStack) -> Ledger:
    """A replay writes the workspace ledger on its own connection without waiting for the disk."""
    if replay is None:
        return place.ledger
    ledger = open_ledger(place.workspace.ledger_file, durable=False)
    stack.callback(ledger.close)
    return ledger


def started(ground: Ground, door: Door) -> Playback:
    """Compare ledger and venue, then show the door the market as of now."""
    move = ground.clock.advance_to if isinstance(ground.clock, SimulatedClock) else _stand_still
    playback = Playback(door.engine, door.paper, ground.feed, move)
    if ground.is_dry:
        door.engine.phase = ReconcilePhase.CONSISTENT
        playback.look(ground.clock.now_ms())
        return playback
    recover(door.engine)
    playback.start(ground.clock.now_ms(), REPLAY if ground.is_replay else WALL)
    if isinstance(ground.clock, SimulatedClock):
        playback.advance(ground.start_ms)
        ground.clock.advance_to(ground.start_ms)
    return playback


def baseline_of(door: Door) -> Baseline:
    """The wallet's totals as they are now."""
    book = door.engine.book
    return Baseline(book.equity(), book.risk.flows, book.risk.realised, book.risk.fees, book.risk.funding)


def _stand_still(_now_ms: int) -> None:
    """The wall clock moves by itself."""


def end_of_failed_start(ledger: Ledger, deployment: str) -> None:
    """A run that ended without its runner saying why did not start: its row must not claim to run."""
    with ledger.transaction(durable=False) as tx:
        row = runs.find_deployment(tx, deployment)
        if row is not None and row.state in _STARTING and row.ended_ms is None:
            runs.update_deployment(tx, deployment, state=DeploymentState.ERROR.value, stopped_because=StopReason.FAILED.value)


_STARTING = (DeploymentState.PROVISIONING.value, DeploymentState.RUNNING.value)
