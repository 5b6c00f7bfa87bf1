"""Upgrading a ledger: the scripts build today's schema, rows survive with a backup, and a kill leaves the old file or the new one."""

import json
import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from next_version import NEXT, install, old_ledger
from sqlalchemy import insert

from tradeagent.domain.errors import BusyError, Defect, RefusedError
from tradeagent.ledger import migrate, wallets
from tradeagent.ledger.migrate import upgrade
from tradeagent.ledger.schema import intents
from tradeagent.ledger.store import create_ledger, open_ledger
from tradeagent.ledger.version import SCHEMA_VERSION, schema_version

DRIFT = """\
schema.py and the scripts in tradeagent/ledger/migrations/versions disagree.
Before the first release: make migration NAME=baseline
After it: raise SCHEMA_VERSION in version.py, then make migration NAME=what_changed"""


def schema_of(file: Path) -> dict[str, str]:
    """Every table and index of the file as SQL, one space between words."""
    with closing(sqlite3.connect(file)) as connection:
        found = connection.execute("SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_master").fetchall()
    return {name: " ".join(sql.split()) for name, sql in found}


@pytest.fixture
def next_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path / "migrations")


def test_the_migration_scripts_build_the_schema_of_a_new_ledger(tmp_path: Path) -> None:
    migrated, fresh = tmp_path / "migrated.sqlite", tmp_path / "fresh.sqlite"
    migrated.touch()
    upgrade(migrated)
    create_ledger(fresh).close()
    assert schema_of(migrated) == schema_of(fresh), DRIFT
    assert schema_version(migrated) == schema_version(fresh) == SCHEMA_VERSION


def test_the_newest_script_is_the_version_of_the_program() -> None:
    scripts = sorted((migrate.MIGRATIONS / "versions").glob("*.py"))
    assert scripts[-1].name.startswith(f"{migrate.revision_of(SCHEMA_VERSION)}_"), DRIFT


def test_a_ledger_whose_creation_was_killed_is_completed_when_it_is_opened(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    file.touch()
    ledger = open_ledger(file)
    with ledger.reading() as tx:
        assert wallets.all_wallets(tx) == []
    ledger.close()


@pytest.mark.usefixtures("next_version")
def test_an_older_ledger_is_upgraded_when_opened_with_its_rows_and_a_backup(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    old_ledger(file).close()
    old_schema = schema_of(file)

    ledger = open_ledger(file)
    with ledger.reading() as tx:
        assert len(wallets.all_wallets(tx)) == 20
        assert tx.exec_driver_sql("SELECT DISTINCT colour FROM wallets").scalars().all() == ["blue"]
    ledger.close()

    backup = tmp_path / f"ledger.sqlite.backup-v{SCHEMA_VERSION}"
    assert schema_version(file) == NEXT
    assert schema_version(backup) == SCHEMA_VERSION
    assert schema_of(backup) == old_schema


@pytest.mark.usefixtures("next_version")
def test_an_intent_with_an_unknown_outcome_stops_the_upgrade(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    ledger = old_ledger(file)
    row = {"wallet": "w1", "controller_id": "c", "actor": "agent", "kind": "open", "market": "BTC", "proposal": {}, "checks": []}
    with ledger.transaction() as tx:
        tx.execute(insert(intents).values(id="i1", state="unknown", fencing_token=1, created_ms=1, updated_ms=1, **row))
    ledger.close()
    before = schema_of(file)

    with pytest.raises(RefusedError, match="i1"):
        upgrade(file)
    assert schema_version(file) == SCHEMA_VERSION
    assert schema_of(file) == before


@pytest.mark.usefixtures("next_version")
def test_a_ledger_that_another_process_has_open_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "BUSY_TIMEOUT_S", 0.05)
    file = tmp_path / "ledger.sqlite"
    reader = old_ledger(file)
    with pytest.raises(BusyError, match="another tradeagent process has it open"):
        upgrade(file)
    assert schema_version(file) == SCHEMA_VERSION
    with reader.transaction() as tx:
        wallets.create(tx, wallets.WalletRow("late", "paper", "paper", "agent", {}, 1))
    reader.close()
    upgrade(file)
    assert schema_version(file) == NEXT


def test_a_migration_that_fails_leaves_the_ledger_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path / "migrations", last='op.execute("UPDATE no_such_table SET x = 1")')
    file = tmp_path / "ledger.sqlite"
    old_ledger(file).close()
    before = schema_of(file)
    with pytest.raises(Defect, match="no_such_table"):
        upgrade(file)
    assert schema_of(file) == before
    assert schema_version(file) == SCHEMA_VERSION
    assert not list(tmp_path.glob("*.upgrading*"))


@pytest.mark.usefixtures("next_version")
def test_of_two_upgrades_at_once_one_waits_and_finds_it_done(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    old_ledger(file).close()
    with ThreadPoolExecutor(2) as pool:
        for attempt in [pool.submit(upgrade, file) for _ in range(2)]:
            attempt.result(timeout=30)
    assert schema_version(file) == NEXT


def test_kill_9_at_every_step_leaves_the_old_ledger_or_the_new_one(tmp_path: Path) -> None:
    script = Path(__file__).with_name("crash_upgrade.py")
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["old"] >= 30, "the kill points no longer cover the whole upgrade"
    assert outcome["new"] >= 1, "no kill point after the rename"


@pytest.mark.usefixtures("next_version")
def test_the_name_of_the_new_ledger_is_on_the_disk_before_anybody_writes_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ledger.sqlite"
    old_ledger(file).close()
    synced: list[int] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if os.fstat(descriptor).st_ino == tmp_path.stat().st_ino:
            synced.append(schema_version(file))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    upgrade(file)
    assert synced[-1:] == [NEXT]


def test_opening_a_current_ledger_does_not_load_alembic(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tradeagent.ledger.store import create_ledger, open_ledger;"
        f"file = Path({str(tmp_path / 'ledger.sqlite')!r}); create_ledger(file).close(); open_ledger(file).close();"
        "sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
