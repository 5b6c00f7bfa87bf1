"""The ledger file: durable, all or nothing, queued between processes, and plain about what it cannot open."""

import resource
import sqlite3
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from tradeagent.domain.errors import BusyError, DataError, Defect, NotFound
from tradeagent.domain.names import EventKind
from tradeagent.ledger import events, notes
from tradeagent.ledger.schema import kv
from tradeagent.ledger.store import Ledger, create_ledger, open_ledger
from tradeagent.ledger.version import SCHEMA_VERSION, schema_version


@pytest.fixture
def file(tmp_path: Path) -> Path:
    create_ledger(tmp_path / "ledger.db").close()
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(file: Path):  # type: ignore[no-untyped-def]
    opened = open_ledger(file)
    yield opened
    opened.close()


def settings_of(ledger: Ledger) -> dict[str, object]:
    with ledger.reading() as tx:
        return {row.key: row.value for row in tx.execute(select(kv))}


def test_a_money_transaction_is_synced_and_a_heartbeat_is_not(ledger: Ledger, file: Path) -> None:
    for durable, level in ((True, 2), (False, 1), (True, 2)):
        with ledger.transaction(durable=durable) as tx:
            assert tx.exec_driver_sql("PRAGMA synchronous").scalar_one() == level
    assert sqlite3.connect(file).execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_a_replays_ledger_never_pays_for_a_sync_and_is_never_switched_off(file: Path) -> None:
    ledger = open_ledger(file, durable=False)
    for durable in (True, False):
        with ledger.transaction(durable=durable) as tx:
            assert tx.exec_driver_sql("PRAGMA synchronous").scalar_one() == 1
    ledger.close()


def test_a_transaction_that_fails_leaves_nothing(ledger: Ledger) -> None:
    with pytest.raises(RuntimeError), ledger.transaction() as tx:
        notes.put_setting(tx, "a", 1)
        raise RuntimeError("in the middle")
    assert settings_of(ledger) == {}
    with ledger.transaction() as tx:
        notes.put_setting(tx, "b", 2)
    assert settings_of(ledger) == {"b": 2}


def test_an_interrupt_in_a_transaction_leaves_nothing(ledger: Ledger) -> None:
    with pytest.raises(KeyboardInterrupt), ledger.transaction() as tx:
        notes.put_setting(tx, "a", 1)
        raise KeyboardInterrupt
    assert settings_of(ledger) == {}


def test_a_reader_sees_one_instant_and_does_not_wait_for_a_writer(ledger: Ledger, file: Path) -> None:
    other = open_ledger(file)
    with ledger.transaction() as tx:
        notes.put_setting(tx, "a", 1)
        with other.reading() as reader:
            assert notes.setting(reader, "a") is None
    with other.reading() as reader:
        assert notes.setting(reader, "a") == 1
        with ledger.transaction() as tx:
            notes.put_setting(tx, "a", 2)
        assert notes.setting(reader, "a") == 1
    other.close()


def test_a_commit_of_another_connection_is_noticed(ledger: Ledger, file: Path) -> None:
    before = ledger.data_version()
    assert ledger.data_version() == before
    other = open_ledger(file)
    with other.transaction() as tx:
        notes.put_setting(tx, "a", 1)
    other.close()
    assert ledger.data_version() != before


WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from tradeagent.domain.names import EventKind
    from tradeagent.ledger import events
    from tradeagent.ledger.store import open_ledger

    name, count = sys.argv[2], int(sys.argv[3])
    ledger = open_ledger(Path(sys.argv[1]), durable=False)
    for i in range(count):
        with ledger.transaction() as tx:
            held = tx.exec_driver_sql("SELECT value FROM kv WHERE key = 'n'").scalar()
            events.append(tx, EventKind.EQUITY, i, wallet=name, subject=str(held))
            tx.exec_driver_sql("INSERT OR REPLACE INTO kv VALUES ('n', ?)", (str(int(held or 0) + 1),))
    ledger.close()
""")


def test_processes_take_turns_and_the_feed_keeps_commit_order(file: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(file), name, "40"]) for name in ("a", "b", "c")]
    ledger, cursor, seen = open_ledger(file), 0, []
    while any(writer.poll() is None for writer in writers) or not seen:
        with ledger.reading() as tx:
            fresh = events.read(tx, after=cursor, limit=1000)
        seen += fresh
        cursor = fresh[-1]["seq"] if fresh else cursor
    with ledger.reading() as tx:
        seen += events.read(tx, after=cursor, limit=1000)
        everything = events.read(tx, limit=1000)
    ledger.close()
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert [e["seq"] for e in seen] == [e["seq"] for e in everything], "a follower misses nothing"
    assert [e["subject"] for e in everything] == ["None", *(str(n) for n in range(1, 120))], "nothing is lost, nothing overlaps"
    for name in ("a", "b", "c"):
        assert [e["time_ms"] for e in everything if e["wallet"] == name] == list(range(40))


def test_events_are_read_forward_backward_and_filtered(ledger: Ledger) -> None:
    with ledger.transaction() as tx:
        for i in range(6):
            kind = EventKind.FILL if i % 2 else EventKind.EQUITY
            events.append(tx, kind, i, wallet="w" if i < 4 else "v", deployment="d" if i == 2 else None, data={"i": i})
    with ledger.reading() as tx:
        assert [e["data"]["i"] for e in events.read(tx, wallet="w")] == [0, 1, 2, 3]
        assert [e["data"]["i"] for e in events.read(tx, limit=2, newest=True)] == [4, 5]
        assert [e["data"]["i"] for e in events.read(tx, kinds=["fill"], after=2)] == [3, 5]
        assert [e["data"]["i"] for e in events.read(tx, deployment="d")] == [2]


def test_a_killed_writer_leaves_what_it_committed_and_nothing_of_the_rest(file: Path) -> None:
    script = textwrap.dedent("""
        import os, sys
        from pathlib import Path
        from tradeagent.ledger import notes
        from tradeagent.ledger.store import open_ledger
        ledger = open_ledger(Path(sys.argv[1]))
        with ledger.transaction() as tx:
            notes.put_setting(tx, "committed", 1)
        with ledger.transaction() as tx:
            notes.put_setting(tx, "half", 1)
            os.kill(os.getpid(), 9)
    """)
    assert subprocess.run([sys.executable, "-c", script, str(file)], check=False).returncode == -9
    ledger = open_ledger(file)
    assert settings_of(ledger) == {"committed": 1}
    with ledger.transaction() as tx:
        notes.put_setting(tx, "after", 1)
    ledger.close()


def test_a_writer_that_waits_too_long_says_who_to_ask(file: Path) -> None:
    holder, waiter = open_ledger(file), Ledger(file, lock_timeout_s=0.05)
    caught: list[BusyError] = []

    def wait() -> None:
        try:
            with waiter.transaction():
                raise AssertionError("two writers at once")
        except BusyError as error:
            caught.append(error)

    with holder.transaction():
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join()
    assert caught and caught[0].exit_code == 6 and "doctor" in caught[0].hint
    holder.close()
    waiter.close()


def test_threads_of_one_process_take_turns(ledger: Ledger) -> None:
    def add() -> None:
        for _ in range(20):
            with ledger.transaction(durable=False) as tx:
                notes.put_setting(tx, "n", (notes.setting(tx, "n") or 0) + 1)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert settings_of(ledger) == {"n": 80}


def test_a_ledger_of_a_newer_version_is_refused(file: Path) -> None:
    with sqlite3.connect(file) as raw:
        raw.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    with pytest.raises(DataError) as caught:
        open_ledger(file)
    assert caught.value.exit_code == 2
    assert str(SCHEMA_VERSION + 1) in caught.value.message and str(SCHEMA_VERSION) in caught.value.message and "update" in caught.value.hint
    with pytest.raises(DataError):
        create_ledger(file)
    assert schema_version(file) == SCHEMA_VERSION + 1, "nothing was changed"


@pytest.mark.parametrize("content", [b"this is a letter, not a database" * 200, b"SQLite format 3\x00" + b"\xff" * 4096])
def test_a_file_that_is_no_database_is_named(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        open_ledger(file)
    assert str(file) in caught.value.message and "backup" in caught.value.hint
    assert file.read_bytes() == content


def test_a_missing_ledger_is_not_made_by_opening_it(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        open_ledger(tmp_path / "no" / "ledger.db")
    assert "init" in caught.value.hint and not (tmp_path / "no").exists()


def test_creating_twice_opens_what_is_there(file: Path) -> None:
    first = create_ledger(file)
    with first.transaction() as tx:
        notes.put_setting(tx, "a", 1)
    first.close()
    second = create_ledger(file)
    assert settings_of(second) == {"a": 1}
    second.close()


def test_a_full_disk_is_said_and_nothing_is_half_written(ledger: Ledger) -> None:
    with ledger.transaction() as tx:
        notes.put_setting(tx, "before", 1)
        pages = tx.exec_driver_sql("PRAGMA page_count").scalar_one()
        tx.exec_driver_sql(f"PRAGMA max_page_count={pages + 2}")
    with pytest.raises(DataError) as caught, ledger.transaction() as tx:
        for i in range(100):
            notes.put_setting(tx, f"big{i}", "x" * 4000)
    assert caught.value.code == "disk_full" and "full" in caught.value.message
    assert settings_of(ledger) == {"before": 1}
    with ledger.transaction() as tx:
        tx.exec_driver_sql("PRAGMA max_page_count=1000000")
        notes.put_setting(tx, "after", 1)
    assert settings_of(ledger) == {"before": 1, "after": 1}


FULL = textwrap.dedent("""
    import resource, signal, sys
    from pathlib import Path
    from tradeagent.domain.errors import TradeAgentError
    from tradeagent.ledger import notes
    from tradeagent.ledger.store import open_ledger
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    file = Path(sys.argv[1])
    ledger = open_ledger(file)
    with ledger.transaction() as tx:
        notes.put_setting(tx, "before", 1)
    room = Path(str(file) + "-wal").stat().st_size + 30_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    try:
        with ledger.transaction() as tx:
            for i in range(60):
                notes.put_setting(tx, f"big{i}", "x" * 4000)
    except TradeAgentError as error:
        print(type(error).__name__, error.exit_code)
        with ledger.reading() as tx:
            print(notes.setting(tx, "before"), notes.setting(tx, "big0"))
""")


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="this system has no file size limit")
def test_a_write_the_system_refuses_is_a_data_error_and_nothing_is_half_written(file: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(file)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["DataError", "2", "1", "None"], done.stdout + done.stderr
    ledger = open_ledger(file)
    assert settings_of(ledger) == {"before": 1}
    ledger.close()


def test_a_read_only_ledger_is_a_data_error(file: Path) -> None:
    ledger = open_ledger(file)
    with ledger.transaction() as tx:
        tx.exec_driver_sql("PRAGMA query_only=ON")  # what the file system does to a reader, whoever runs this test
    with pytest.raises(DataError, match="cannot be written"), ledger.transaction() as tx:
        tx.execute(insert(kv).values(key="a", value=1))
    ledger.close()


def test_a_folder_that_cannot_be_written_is_a_data_error(file: Path, tmp_path: Path) -> None:
    (tmp_path / "ledger.db.lock").unlink(missing_ok=True)
    (tmp_path / "ledger.db.lock").mkdir()
    ledger = open_ledger(file)
    with pytest.raises(DataError, match="cannot be written"), ledger.transaction():
        raise AssertionError("not queued")
    ledger.close()
    (tmp_path / "letter").write_text("not a folder")
    with pytest.raises(DataError, match="cannot be written"):
        create_ledger(tmp_path / "letter" / "ledger.db")


def test_a_damaged_ledger_is_a_data_error(file: Path) -> None:
    ledger = open_ledger(file)
    with ledger.transaction() as tx:
        notes.put_setting(tx, "a", "x" * 5000)
    ledger.close()
    content = bytearray(file.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    file.write_bytes(content)
    ledger = open_ledger(file)
    with pytest.raises(DataError, match=r"ledger\.db"), ledger.reading() as tx:
        notes.setting(tx, "a")
    with pytest.raises(DataError, match=r"ledger\.db"), ledger.transaction() as tx:
        notes.setting(tx, "a")
    ledger.close()


def test_a_programming_mistake_stays_a_defect(ledger: Ledger) -> None:
    with pytest.raises(Defect), ledger.transaction() as tx:
        tx.exec_driver_sql("INSERT INTO nowhere VALUES (1)")
    with pytest.raises(Defect), ledger.transaction() as tx:
        tx.execute(insert(kv).values(key="a", value=1))
        tx.execute(insert(kv).values(key="a", value=2))
    assert settings_of(ledger) == {}


def test_a_busy_and_a_full_database_are_told_apart_from_a_broken_one(file: Path) -> None:
    from tradeagent.ledger.store import _explained

    said = {
        text: _explained(sqlite3.OperationalError(text), file)
        for text in (
            "database is locked",
            "database or disk is full",
            "disk I/O error",
            "attempt to write a readonly database",
            "no such table: x",
        )
    }
    kinds = [type(error) for error in said.values()]
    assert kinds == [BusyError, DataError, DataError, DataError, Defect]
    assert said["database or disk is full"].code == "disk_full"
    assert all(str(file) in error.message for error in said.values())
