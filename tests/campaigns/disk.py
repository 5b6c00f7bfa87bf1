"""Campaign: the disk is full or broken at every write of an order, for one write or for good, in the ledger and in the paper account.

At every point: nothing is sent whose intent is not on the disk, what went wrong is told as an error of the product with a hint, a flatten
while the disk is still broken either works or says exactly why not, and with a healthy disk one start makes ledger and venue agree. Faults
are errors of single statements, and SQLite's own `database or disk is full` on a file that may not grow.
"""

import random
import sqlite3
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from arena import Arena, Save, scratch
from books import audit
from exactly_once import FIRST, MINUTE_S, Step, made_up
from figures import Figures

from tradeagent.domain.errors import Defect, TradeAgentError
from tradeagent.domain.names import Actor, ExitReason
from tradeagent.domain.order import OrderReport, OrderRequest
from tradeagent.execution.halts import flatten
from tradeagent.execution.recover import recover

FULL_SIZE = 3_000
WRITING = ("BEGIN IMMEDIATE", "INSERT", "UPDATE", "DELETE", "REPLACE", "COMMIT")
TROUBLES = {"ENOSPC": "database or disk is full", "EIO": "disk I/O error"}
TOLD = ("disk_full", "data_error", "venue_error", "busy", "read_only")
PAGES = range(4)


class Disk:
    """Sees every writing statement of every connection and fails the chosen one, or all from it on."""

    def __init__(self) -> None:
        self.connections: weakref.WeakSet[sqlite3.Connection] = weakref.WeakSet()
        self.heal()

    def heal(self) -> None:
        self.seen: list[str] = []
        self.at: int | None = None
        self.lasts = False
        self.text = ""
        self.is_counting = False
        for connection in list(self.connections):
            try:
                connection.execute("PRAGMA max_page_count=1073741823")
            except sqlite3.ProgrammingError:
                self.connections.discard(connection)

    def fail(self, at: int, text: str, *, lasts: bool) -> None:
        self.heal()
        self.at, self.text, self.lasts, self.is_counting = at, text, lasts, True

    def stop_growing(self, file: str, pages: int) -> None:
        """A real full disk: this file gets no more than `pages` more pages."""
        self.heal()
        for connection in list(self.connections):
            if Path(connection.execute("PRAGMA database_list").fetchone()[2]).name == file:
                now = connection.execute("PRAGMA page_count").fetchone()[0]
                connection.execute(f"PRAGMA max_page_count={now + pages}")

    def before(self, statement: str) -> None:
        if not self.is_counting or not statement.lstrip().upper().startswith(WRITING):
            return
        self.seen.append(statement.split(maxsplit=1)[0])
        if self.at is not None and (len(self.seen) == self.at or (self.lasts and len(self.seen) > self.at)):
            raise sqlite3.OperationalError(self.text)

    @contextmanager
    def under(self) -> Iterator[None]:
        """Every connection made inside the block is on this disk."""
        disk, connect = self, sqlite3.dbapi2.connect

        class Cursor(sqlite3.Cursor):
            def execute(self, statement: str, *values: Any) -> "Cursor":
                disk.before(statement)
                super().execute(statement, *values)
                return self

            def executemany(self, statement: str, *values: Any) -> "Cursor":
                disk.before(statement)
                super().executemany(statement, *values)
                return self

        class Connection(sqlite3.Connection):
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


def struck(arena: Arena, step: Step, disk: Disk, figures: Figures) -> list[str]:
    """One step on the broken disk, a flatten on it, then a healthy disk and one start."""
    found: list[str] = []
    said: list[str] = []
    watch_sends(arena, found)
    word, wrong = told(lambda: step(arena))
    figures.count("told", bool(word))
    word, unclear = told(lambda: said.extend(v.message for v in flatten(arena.engine, Actor.MANUAL, ExitReason.FLATTEN)))
    left = dict(arena.paper.account().positions)
    figures.count("said why not" if left else "flattened")
    if left and not word and not any(said):
        unclear.append(f"flatten said nothing and left {left}")
    figures.count("sends", arena.sends)  # type: ignore[attr-defined]
    disk.heal()
    arena.restart()
    arena.clock.advance_to(arena.now + MINUTE_S * 1000)
    recover(arena.engine)
    return [*found, *wrong, *(f"flatten {line}" for line in unclear), *(f"healed: {line}" for line in audit(arena.root))]


def run(seed: int = 1, size: int = FULL_SIZE) -> Figures:
    """At least `size` points, or every point of as many scenarios as that takes."""
    figures = Figures("disk", seed)
    figures.counts |= {"points": 0, "writes": 0, "scenarios": 0, "told": 0, "flattened": 0, "said why not": 0, "sends": 0}
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
            for word, fault in faults(disk, writes):
                if figures.counts["points"] >= size:
                    return
                arena.rewind(save)
                fault()
                found = struck(arena, step, disk, figures)
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


def faults(disk: Disk, writes: int) -> Iterator[tuple[str, Callable[[], None]]]:
    """Every fault of a step with so many writes, in words and as what brings it about."""
    for at in range(1, writes + 1):
        for name, text in TROUBLES.items():
            for lasts in (False, True):
                word = f"{name} at write {at}{' and from then on' if lasts else ''}"
                yield word, lambda at=at, text=text, lasts=lasts: disk.fail(at, text, lasts=lasts)  # type: ignore[misc]
    for file in ("ledger.db", "paper.db"):
        for pages in PAGES:
            yield f"{file} may grow {pages} pages", lambda file=file, pages=pages: disk.stop_growing(file, pages)  # type: ignore[misc]
