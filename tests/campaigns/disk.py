"""Campaign: the disk is full or broken at every write of an order, for one write or for good, in the ledger and in the paper account.

At every point: nothing is sent whose intent is not on the disk, what went wrong is told as an error of the product with a hint, a flatten
while the disk is still broken either works or says exactly why not, and with a healthy disk one start makes ledger and venue agree. Where
flatten cannot write its intents, a kill, which needs no ledger, must get flat, as long as the paper account itself can still be written.
Faults are errors of single statements, and SQLite's own `database or disk is full` on a file that may not grow.
"""

import asyncio
import random
import sqlite3
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from arena import Arena, Save, scratch
from books import audit
from exactly_once import FIRST, MINUTE_S, Step, made_up
from figures import Figures
from world import INSTRUMENTS, WALLET

from tradeagent.brokers.paper import PaperBroker
from tradeagent.domain.errors import Defect, TradeAgentError
from tradeagent.domain.names import Actor, ExitReason, KillPolicy
from tradeagent.domain.order import OrderReport, OrderRequest
from tradeagent.execution.halts import flatten
from tradeagent.execution.kill import wipe
from tradeagent.execution.recover import recover
from tradeagent.workspace import latch

FULL_SIZE = 3_000
WRITING = ("BEGIN IMMEDIATE", "INSERT", "UPDATE", "DELETE", "REPLACE", "COMMIT")
TROUBLES = {"ENOSPC": "database or disk is full", "EIO": "disk I/O error"}
TOLD = ("disk_full", "data_error", "venue_error", "busy")
PAGES = range(4)
LEDGER = "ledger.db"


class Disk:
    """Sees every writing statement of every connection and fails the chosen one, or all from it on."""

    def __init__(self) -> None:
        self.connections: weakref.WeakSet[sqlite3.Connection] = weakref.WeakSet()
        self.heal()

    def heal(self) -> None:
        self.seen: list[str] = []
        self.at: int | None = None
        self.lasts = False
        self.file = ""
        self.text = ""
        self.is_counting = False
        for connection in list(self.connections):
            try:
                connection.execute("PRAGMA max_page_count=1073741823")
            except sqlite3.ProgrammingError:
                self.connections.discard(connection)

    def fail(self, at: int, text: str, *, lasts: bool, file: str = "") -> None:
        """Fail write `at`, or all from it on; with a file only the writes to that one."""
        self.heal()
        self.at, self.text, self.lasts, self.file, self.is_counting = at, text, lasts, file, True

    def stop_growing(self, file: str, pages: int) -> None:
        """A real full disk: this file gets no more than `pages` more pages."""
        self.heal()
        for connection in list(self.connections):
            if Path(connection.execute("PRAGMA database_list").fetchone()[2]).name == file:
                now = connection.execute("PRAGMA page_count").fetchone()[0]
                connection.execute(f"PRAGMA max_page_count={now + pages}")

    def before(self, statement: str, file: str) -> None:
        if not self.is_counting or not statement.lstrip().upper().startswith(WRITING):
            return
        self.seen.append(statement.split(maxsplit=1)[0])
        is_struck = self.at is not None and (len(self.seen) == self.at or (self.lasts and len(self.seen) > self.at))
        if is_struck and file.endswith(self.file):
            raise sqlite3.OperationalError(self.text)

    @contextmanager
    def under(self) -> Iterator[None]:
        """Every connection made inside the block is on this disk."""
        disk, connect = self, sqlite3.dbapi2.connect

        class Cursor(sqlite3.Cursor):
            connection: "Connection"

            def execute(self, statement: str, *values: Any) -> "Cursor":
                disk.before(statement, self.connection.file)
                super().execute(statement, *values)
                return self

            def executemany(self, statement: str, *values: Any) -> "Cursor":
                disk.before(statement, self.connection.file)
                super().executemany(statement, *values)
                return self

        class Connection(sqlite3.Connection):
            def __init__(self, database: Any, *arguments: Any, **options: Any) -> None:
                super().__init__(database, *arguments, **options)
                self.file = str(database)

            def cursor(self, *_: Any) -> Cursor:  # type: ignore[override]
                return super().cursor(Cursor)

            def execute(self, statement: str, *values: Any) -> Cursor:
                return self.cursor().execute(statement, *values)

            def executemany(self, statement: str, *values: Any) -> Cursor:
                return self.cursor().executemany(statement, *values)

        def made(*arguments: Any, **options: Any) -> sqlite3.Connection:
            connection = connect(*arguments, **{**options, "factory": Connection})
            disk.connections.add(connection)
            return connection

        with mock.patch("sqlite3.dbapi2.connect", made), mock.patch("sqlite3.connect", made):
            yield


def watch_sends(arena: Arena, found: list[str]) -> None:
    """From now on every order that is sent is looked up in the ledger's file first."""
    assert arena.edge is not None
    place: Callable[[Sequence[OrderRequest]], list[OrderReport]] = arena.edge.place
    looks = sqlite3.Connection(str(arena.root / "ledger.db"))  # not on the disk that fails

    def watched(orders: Sequence[OrderRequest]) -> list[OrderReport]:
        query = "SELECT count(*) FROM orders JOIN intents ON intents.id = orders.intent_id WHERE orders.cloid = ?"
        found.extend(f"sent without an intent on the disk: {o.cloid}" for o in orders if not looks.execute(query, (o.cloid,)).fetchone()[0])
        arena.sends += 1  # type: ignore[attr-defined]
        return place(orders)

    arena.sends = 0  # type: ignore[attr-defined]
    arena.edge.place = watched  # type: ignore[method-assign]
    weakref.finalize(arena.edge, looks.close)


def told(call: Callable[[], object]) -> tuple[str, list[str]]:
    """What a call said went wrong, and what is wrong with how it said it."""
    try:
        call()
    except TradeAgentError as error:
        word = f"{type(error).__name__} {error.code}: {error.message}"
        if isinstance(error, Defect) or error.code not in TOLD or not error.hint:
            return word, [f"does not say exactly why: {word} (hint {error.hint!r})"]
        return word, []
    except Exception as error:  # noqa: BLE001  # whatever it is, a person would see a trace
        return str(error), [f"a bare {type(error).__name__}: {error}"]
    return "", []


def struck(arena: Arena, step: Step, disk: Disk, figures: Figures, *, breaks_venue: bool) -> list[str]:
    """One step on the broken disk, a flatten and if need be a kill on it, then a healthy disk and one start."""
    found: list[str] = []
    said: list[str] = []
    watch_sends(arena, found)
    word, wrong = told(lambda: step(arena))
    figures.count("told", bool(word))
    word, unclear = told(lambda: said.extend(v.message for v in flatten(arena.engine, Actor.MANUAL, ExitReason.FLATTEN)))
    left = held(arena)
    figures.count("said why not" if left else "flattened")
    if left and not word and not any(said):
        unclear.append(f"flatten said nothing and left {left}")
    figures.count("sends", arena.sends)  # type: ignore[attr-defined]
    if left and breaks_venue:
        figures.count("nor can the venue write")
    elif left:
        figures.count("then killed")
        wrong += [f"kill {line}" for line in told(lambda: kill(arena))[1]]
        wrong += [f"neither flatten nor kill got flat: {still}" for still in (held(arena),) if still]
    disk.heal()
    latch.clear_latch(arena.root / "kill", WALLET)
    arena.restart()
    arena.clock.advance_to(arena.now + MINUTE_S * 1000)
    recover(arena.engine)
    return [
        *found,
        *wrong,
        *(f"flatten {line}" for line in unclear),
        *(f"healed: {line}" for line in audit(arena.root, by_hand=killed(arena))),
    ]


def held(arena: Arena) -> dict[str, Any]:
    """The positions, by the venue's word."""
    return dict(arena.paper.account().positions)


def killed(arena: Arena) -> set[str]:
    """The orders of a kill, which stand in no ledger; their fills must."""
    query = "SELECT json_extract(data, '$.cloid') FROM activity WHERE kind = 'Fill' AND json_extract(data, '$.reason') = 'kill'"
    with closing(sqlite3.Connection(str(arena.root / "paper.db"))) as paper:
        return {cloid for (cloid,) in paper.execute(query)}


def kill(arena: Arena) -> None:
    """As another process does it: with a connection of its own to the paper account, and without the ledger."""
    folder = arena.root / "kill"
    latch.set_latch(folder, WALLET)
    latch.drain(folder, WALLET)
    paper = PaperBroker(
        arena.root / "paper.db", INSTRUMENTS, arena.clock, fees=arena.costs.fees, slippage_bps=arena.costs.slippage_bps, durable=False
    )
    try:
        asyncio.run(wipe(paper, KillPolicy.FLATTEN_ALL, arena.clock))
    finally:
        paper.close()


def run(seed: int = 1, size: int = FULL_SIZE) -> Figures:
    """At least `size` points, or every point of as many scenarios as that takes."""
    figures = Figures("disk", seed)
    figures.counts |= {"points": 0, "writes": 0, "scenarios": 0, "told": 0, "sends": 0}
    figures.counts |= {"flattened": 0, "said why not": 0, "then killed": 0, "nor can the venue write": 0}
    chance = random.Random(seed)
    while figures.counts["points"] < size:
        number = figures.counts["scenarios"]
        steps = FIRST if number == 0 else made_up(chance)
        with scratch() as folder, (disk := Disk()).under():
            scenario(Path(folder), steps, disk, figures, f"seed {seed} scenario {number}", size)
        figures.count("scenarios")
    return figures


def scenario(folder: Path, steps: Sequence[Step], disk: Disk, figures: Figures, name: str, size: int) -> None:
    save = Arena(folder / "0").save()
    arena = Arena(folder / "arena", save=save)
    try:
        for number, step in enumerate(steps, 1):
            writes, after = writes_of(step, save, folder / f"{number}", disk)
            figures.count("writes", writes)
            for word, breaks_venue, fault in faults(disk, writes):
                if figures.counts["points"] >= size:
                    return
                arena.rewind(save)
                fault()
                found = struck(arena, step, disk, figures, breaks_venue=breaks_venue)
                figures.count("points")
                figures.violations += [f"{name} step {number} {word}: {line}" for line in found]
            save = after
    finally:
        disk.heal()
        arena.done()


def writes_of(step: Step, save: Save, root: Path, disk: Disk) -> tuple[int, Save]:
    """How many writing statements a step makes, and the world after it."""
    quiet = Arena(root, save=save)
    disk.heal()
    disk.is_counting = True
    step(quiet)
    writes = len(disk.seen)
    disk.heal()
    return writes, quiet.save()


def faults(disk: Disk, writes: int) -> Iterator[tuple[str, bool, Callable[[], None]]]:
    """Every fault of a step with so many writes: in words, whether the venue cannot write any more either, and what brings it about."""
    for at in range(1, writes + 1):
        for name, text in TROUBLES.items():
            for lasts, file in ((False, ""), (True, ""), (True, LEDGER)):
                word = f"{name} at write {at}{' and from then on' if lasts else ''}{f' in {file}' if file else ''}"
                yield word, lasts and not file, partial(disk.fail, at, text, lasts=lasts, file=file)
    for file in (LEDGER, "paper.db"):
        for pages in PAGES:
            yield f"{file} may grow {pages} pages", file != LEDGER, partial(disk.stop_growing, file, pages)
