"""A world of the execution tests before a nemesis, whose boundaries are counted, and which can be left and entered again.

A process that dies in it is a real one, and dies of SIGKILL: it begins with nothing open, and leaves its files and the world outside.
"""

import os
import pickle
import shutil
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from nemesis import Fault, Nemesis, Past, Request
from world import HandMadeFeed, World

from tradeagent.domain.bars import Bar
from tradeagent.domain.clock import SimulatedClock
from tradeagent.domain.costs import FeeSchedule
from tradeagent.domain.errors import BusyError, DataError, TradeAgentError, VenueError
from tradeagent.domain.names import ReconcilePhase
from tradeagent.execution.recover import recover

T = TypeVar("T")
LIMITS: dict[str, Any] = {"max_daily_trades": 1000}


def scratch() -> "tempfile.TemporaryDirectory[str]":
    """A folder for worlds, in memory where the system has that: processes end here, machines do not, so no write need reach a disk."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None)


@dataclass(frozen=True)
class Blow:
    """What happens at one boundary: a fault of the venue, an error of the ledger, `kill -9`, or two of these."""

    name: str
    fault: Fault | None = None
    error: Callable[[], TradeAgentError] | None = None
    dies: bool = False
    arrives_s: int | None = None  # a late request reaches the venue so many seconds after the first reconciliation


def _busy() -> TradeAgentError:
    return BusyError("the ledger is locked by another process")


def _full() -> TradeAgentError:
    return DataError("the disk is full, the ledger was not changed", code="disk_full")


LEDGER_BLOWS = {
    "begin": (Blow("dies", dies=True), Blow("busy", error=_busy)),
    "commit": (Blow("dies", dies=True), Blow("disk full", error=_full)),
    "committed": (Blow("dies", dies=True),),
}
WRITE_BLOWS = (
    Blow("dies before it is sent", Fault.LOST, dies=True),
    Blow("dies once it has arrived", Fault.UNANSWERED, dies=True),
    Blow("dies, it arrives after the restart", Fault.LATE, dies=True, arrives_s=5),
    Blow("dies, it arrives expired", Fault.LATE, dies=True, arrives_s=30),
    Blow("lost", Fault.LOST),
    Blow("answer lost", Fault.UNANSWERED),
    Blow("arrives late", Fault.LATE, arrives_s=5),
    Blow("arrives expired", Fault.LATE, arrives_s=30),
    Blow("twice", Fault.TWICE),
    Blow("429", Fault.BUSY),
    Blow("garbage", Fault.GARBAGE),
)
READ_BLOWS = (Blow("dies", Fault.LOST, dies=True), Blow("no answer", Fault.LOST))
LAGS = Blow("lags behind", Fault.STALE)
RECORD_BLOWS = (*READ_BLOWS, LAGS, Blow("told twice", Fault.REPEATED), Blow("fill before acknowledgement", Fault.SWAPPED))


def blows_at(boundary: str) -> tuple[Blow, ...]:
    """Everything that may happen at a boundary of this name."""
    if boundary in LEDGER_BLOWS:
        return LEDGER_BLOWS[boundary]
    if boundary == "activity_since":
        return RECORD_BLOWS
    return WRITE_BLOWS if boundary in ("place", "cancel", "set_leverage") else (*READ_BLOWS, LAGS)


def _immortal() -> NoReturn:
    raise AssertionError("only a life of its own may end")


@dataclass
class Boundaries:
    """Counts the boundaries that are crossed, and strikes at one of them."""

    die: Callable[[], NoReturn] = _immortal

    at: int | None = None
    blow: Blow | None = None
    seen: list[str] = field(default_factory=list)
    is_counting: bool = False

    def cross(self, name: str) -> Blow | None:
        if not self.is_counting:
            return None
        self.seen.append(name)
        return self.blow if len(self.seen) == self.at else None


class Edge(Nemesis):
    """The engine's broker: a nemesis whose fault is the blow at this boundary."""

    def __init__(self, broker: Any, boundaries: Boundaries, refuses_repeats: bool) -> None:
        super().__init__(broker, refuses_repeats=refuses_repeats)
        self._boundaries = boundaries

    def _befall(self, name: str) -> Fault | None:
        self.blow = self._boundaries.cross(name)
        return self.blow.fault if self.blow else None

    def _write(self, request: Request, cloids: Sequence[str] = ()) -> Any:
        return self._mortal(lambda: super(Edge, self)._write(request, cloids))

    def _read(self, name: str) -> Fault | None:
        return self._mortal(lambda: super(Edge, self)._read(name))

    def _mortal(self, call: Callable[[], T]) -> T:
        """With the process goes whoever waited for the answer."""
        self.blow = None
        try:
            return call()
        except VenueError:
            if self.blow is not None and self.blow.dies:
                self._boundaries.die()
            raise


class WatchedLedger:
    """A ledger whose transactions have three boundaries: before the first statement, before the commit, after it."""

    def __init__(self, ledger: Any, boundaries: Boundaries) -> None:
        self._ledger = ledger
        self._boundaries = boundaries

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    @contextmanager
    def transaction(self, **how: Any) -> Iterator[Any]:
        self._cross("begin")
        with self._ledger.transaction(**how) as tx:
            yield tx
            self._cross("commit")
        self._cross("committed")

    def _cross(self, name: str) -> None:
        blow = self._boundaries.cross(name)
        if blow is not None and blow.dies:
            self._boundaries.die()
        if blow is not None and blow.error is not None:
            raise blow.error()


@dataclass(frozen=True)
class Outside:
    """What goes on without any process: the instant, the market, what is under way to the venue and what a slow reader still sees there."""

    now_ms: int
    bars: dict[str, tuple[Bar, ...]]
    late: tuple[Request, ...] = ()
    past: Past | None = None


@dataclass(frozen=True)
class Save:
    """A world on disk: its folder, and what is outside."""

    root: Path
    outside: Outside


class Arena(World):
    """A world with the product's costs and durability. `save` leaves it; `rewind` goes back to a save, as a process that starts there."""

    def __init__(self, root: Path, *, save: Save | None = None, **settings: Any) -> None:
        self.boundaries = Boundaries()
        self.edge: Edge | None = None
        self._refuses_repeats = False
        self._outside: Outside | None = None
        if save is not None:
            shutil.copytree(save.root, root)
            self._outside = save.outside
            settings |= {"cash": 0, "start_ms": save.outside.now_ms}
        more = {"fees": FeeSchedule(), "slippage_bps": Decimal(2), "limits": LIMITS, "manual": LIMITS, "durable": True}
        super().__init__(root, **{**more, **settings})

    def save(self) -> Save:
        """Close the world; its folder is the save."""
        self.done()
        return Save(self.root, self.outside)

    @property
    def outside(self) -> Outside:
        bars = {market: tuple(bars) for market, bars in self.feed.bars.items()}
        return Outside(self.now, bars, tuple(self.edge.late), self.edge.past) if self.edge else Outside(self.now, bars)

    def lay(self, save: Save, *, refuses_repeats: bool = False) -> None:
        """Everything as it was saved, and nothing open."""
        self.done()
        shutil.rmtree(self.root)
        shutil.copytree(save.root, self.root)
        self._outside, self._refuses_repeats = save.outside, refuses_repeats

    def rewind(self, save: Save, *, refuses_repeats: bool = False) -> None:
        self.lay(save, refuses_repeats=refuses_repeats)
        self.begin()

    def begin(self) -> None:
        """Start where the world was laid, as a new world does after its making."""
        self._open()
        recover(self.engine)
        self._start()

    def restart(self) -> ReconcilePhase:
        """As a new process: every connection is closed first. The ledger opens the next by itself, and knows its statements already."""
        self.done()
        return super().restart()

    def kill(self, life: Callable[[], object]) -> None:
        """`life` in a process of its own, which begins with nothing open and must end by SIGKILL."""
        self.done()
        assert threading.active_count() == 1, "a fork takes one thread with it"
        come, go = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(come)
            self._live(life, go)
        os.close(go)
        with os.fdopen(come, "rb") as pipe:
            left = pipe.read()
        _, status = os.waitpid(process, 0)
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            raise AssertionError(f"not killed: {left.decode()}")
        self._outside = pickle.loads(left)

    def _live(self, life: Callable[[], object], go: int) -> NoReturn:
        def die() -> NoReturn:
            with os.fdopen(go, "wb") as pipe:
                pickle.dump(self.outside, pipe)
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError("SIGKILL was survived")

        self.boundaries.die = die
        try:
            life()
            word = f"boundary {self.boundaries.at} is not among {self.boundaries.seen}"
        except BaseException:  # noqa: BLE001  # whatever it is, this child must not go on with what its parent was doing
            word = traceback.format_exc()
        os.write(go, word.encode())
        os._exit(1)

    def _open(self) -> None:
        if self._outside is not None:
            self.clock = SimulatedClock(self._outside.now_ms)
            self.feed = HandMadeFeed({market: list(bars) for market, bars in self._outside.bars.items()})
        outside, self._outside = self._outside or self.outside, None
        super()._open()
        self.edge = Edge(self.paper, self.boundaries, self._refuses_repeats)
        self.edge.late, self.edge.past = list(outside.late), outside.past
        self.engine.broker = self.edge
        self.engine.ledger = WatchedLedger(self.ledger, self.boundaries)  # type: ignore[assignment]

    @contextmanager
    def counting(self, at: int | None = None, blow: Blow | None = None) -> Iterator[Boundaries]:
        """Count boundaries inside the block, and strike at one of them."""
        self.boundaries.at, self.boundaries.blow, self.boundaries.seen = at, blow, []
        self.boundaries.is_counting = True
        try:
            yield self.boundaries
        finally:
            self.boundaries.is_counting = False
