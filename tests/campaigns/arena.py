"""A world of the execution tests before a nemesis, whose boundaries are counted, and which can be left and entered again."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from nemesis import Fault, Nemesis
from world import HandMadeFeed, World

from tradeagent.domain.bars import Bar
from tradeagent.domain.clock import SimulatedClock
from tradeagent.domain.costs import FeeSchedule
from tradeagent.domain.errors import BusyError, DataError, TradeAgentError, VenueError
from tradeagent.execution.recover import recover

T = TypeVar("T")
LIMITS: dict[str, Any] = {"max_daily_trades": 1000}


def scratch() -> "tempfile.TemporaryDirectory[str]":
    """A folder for worlds, in memory where the system has that: processes end here, machines do not, so no write need reach a disk."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None)


class Crash(BaseException):
    """The process ends here."""


@dataclass(frozen=True)
class Blow:
    """What happens at one boundary: a fault of the venue, an error of the ledger, the end of the process, or two of these."""

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


@dataclass
class Boundaries:
    """Counts the boundaries that are crossed, and strikes at one of them."""

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

    def _write(self, name: str, deliver: Callable[[], T], cloids: Sequence[str] = ()) -> T:
        return self._mortal(lambda: super(Edge, self)._write(name, deliver, cloids))

    def _read(self, name: str) -> Fault | None:
        return self._mortal(lambda: super(Edge, self)._read(name))

    def _mortal(self, call: Callable[[], T]) -> T:
        """With the process goes whoever waited for the answer."""
        self.blow = None
        try:
            return call()
        except VenueError as error:
            if self.blow is not None and self.blow.dies:
                raise Crash from error
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
            raise Crash
        if blow is not None and blow.error is not None:
            raise blow.error()


@dataclass(frozen=True)
class Save:
    """A world on disk: its folder, its instant and the bars of its feed."""

    root: Path
    now_ms: int
    bars: dict[str, tuple[Bar, ...]]


class Arena(World):
    """A world with the product's costs. `save` leaves it; `rewind` goes back to a save, as a process that starts there."""

    def __init__(self, root: Path, *, save: Save | None = None, **settings: Any) -> None:
        self.boundaries = Boundaries()
        self.edge: Edge | None = None
        self._refuses_repeats = False
        self._saved = save
        if save is not None:
            shutil.copytree(save.root, root)
            settings |= {"cash": 0, "start_ms": save.now_ms}
        more = {"fees": FeeSchedule(), "slippage_bps": Decimal(2), "limits": LIMITS, "manual": LIMITS}
        super().__init__(root, **{**more, **settings})

    def save(self) -> Save:
        """Close the world; its folder is the save."""
        self.done()
        return Save(self.root, self.now, {market: tuple(bars) for market, bars in self.feed.bars.items()})

    def rewind(self, save: Save, *, refuses_repeats: bool = False) -> None:
        """Both files as they were saved; the ledger stays open, which is what makes thousands of points affordable."""
        self.paper.close()
        for suffix in ("", "-wal", "-shm"):
            (self.root / f"paper.db{suffix}").unlink(missing_ok=True)
        shutil.copy(save.root / "paper.db", self.root / "paper.db")
        with closing(sqlite3.connect(save.root / "ledger.db")) as saved, closing(sqlite3.connect(self.root / "ledger.db")) as ledger:
            ledger.execute("PRAGMA synchronous=OFF")
            saved.backup(ledger)
        self._refuses_repeats, self._saved, self.edge = refuses_repeats, save, None
        self.clock = SimulatedClock(save.now_ms)
        self._open()
        recover(self.engine)
        self._start()

    def _open(self) -> None:
        if self._saved is not None:
            self.feed = HandMadeFeed({market: list(bars) for market, bars in self._saved.bars.items()})
            self._saved = None
        super()._open()
        before, self.edge = self.edge, Edge(self.paper, self.boundaries, self._refuses_repeats)
        if before is not None:
            before.broker = self.paper  # what is still under way reaches the venue as it is now
            self.edge.late, self.edge.past = before.late, before.past
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
