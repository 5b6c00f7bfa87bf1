"""`kill -9` at every side effect of an upgrade: run as a script with an empty folder, prints one JSON object.

Each point is a fork that dies at its n-th opened file, rename, removal or SQL statement; what it leaves is checked, then upgraded.
"""

import json
import os
import shutil
import signal
import sqlite3
import sys
import traceback
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from next_version import NEXT, install, old_ledger

from tradeagent.ledger.migrate import upgrade
from tradeagent.ledger.version import SCHEMA_VERSION, schema_version

WATCHED = {"open", "os.rename", "os.remove", "sqlite3.connect"}


def in_a_fork(action) -> int:
    """Exit status of `action` in a child process, as os.waitpid gives it."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            action()
            status = 0
        finally:
            if status:
                traceback.print_exc()
            os._exit(status)
    return os.waitpid(child, 0)[1]


def die_at(point: int, folder: Path) -> None:
    seen = 0

    def step(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event in WATCHED and str(folder) in str(arguments[0]):
            step()

    class Traced(sqlite3.Connection):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)
            self.set_trace_callback(step)

    sys.addaudithook(watch)
    for module in (sqlite3, sqlite3.dbapi2):
        module.connect = partial(module.connect, factory=Traced)


def rows(file: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return connection.execute("SELECT name, venue, limits, created_ms FROM wallets ORDER BY name").fetchall()


def main(folder: Path) -> dict[str, int]:
    template = folder / "template"
    # The child dies with its ledger open, so the rows are in the write-ahead log when the upgrade starts.
    assert in_a_fork(lambda: old_ledger(template / "ledger.sqlite")) == 0
    assert (template / "ledger.sqlite-wal").stat().st_size > 0
    install(pytest.MonkeyPatch(), folder / "migrations")
    outcome: Counter[str] = Counter()
    for point in range(1, 1000):
        place = folder / str(point)
        shutil.copytree(template, place)
        file = place / "ledger.sqlite"

        def killed(point: int = point, place: Path = place, file: Path = file) -> None:
            die_at(point, place)
            upgrade(file)

        status = in_a_fork(killed)
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL, f"point {point}: status {status}"
        version = schema_version(file)
        assert version in (SCHEMA_VERSION, NEXT), f"point {point}: version {version}"
        outcome["new" if version == NEXT else "old"] += 1
        check(place, file)
        shutil.rmtree(place)
    return dict(outcome)


def check(place: Path, file: Path) -> None:
    """The killed upgrade lost nothing, and the next one ends it without leaving anything but the backup."""
    before = rows(file)
    assert len(before) == 20
    assert in_a_fork(lambda: upgrade(file)) == 0
    assert schema_version(file) == NEXT
    assert rows(file) == before
    backup = place / f"ledger.sqlite.backup-v{SCHEMA_VERSION}"
    assert schema_version(backup) == SCHEMA_VERSION
    assert rows(backup) == before
    left = {path.name for path in place.iterdir()} - {file.name, backup.name, "ledger.sqlite.lock"}
    assert not left, f"left behind: {left}"


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
