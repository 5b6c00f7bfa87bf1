"""The atomic writer: what a reader, a crash, a full disk and a person with an editor see."""

import errno
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tradeagent.domain.errors import BusyError, DataError, TradeAgentError, UserError
from tradeagent.workspace.files import (
    append_text,
    content_hash,
    keep_beside,
    read_settled,
    read_text,
    replace_if_unchanged,
    try_replace,
    write_atomic,
    write_new,
)
from tradeagent.workspace.swap import exchange_names


@pytest.fixture
def fsyncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    real = os.fsync

    def counted(descriptor: int) -> None:
        calls.append(descriptor)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", counted)
    return calls


def only(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_durable_write_syncs_the_file_and_its_directory(tmp_path: Path, fsyncs: list[int]) -> None:
    write_atomic(tmp_path / "a.md", "hello\n", durable=True)
    assert len(fsyncs) == 2
    assert read_text(tmp_path / "a.md") == "hello\n"


def test_a_replay_write_never_syncs(tmp_path: Path, fsyncs: list[int]) -> None:
    path = tmp_path / "a.md"
    write_atomic(path, "one", durable=False)
    append_text(path, "two\n", durable=False)
    assert replace_if_unchanged(path, content_hash("one\ntwo\n"), "three", durable=False) is None
    assert fsyncs == []


def test_an_append_to_an_existing_file_syncs_once(tmp_path: Path, fsyncs: list[int]) -> None:
    append_text(tmp_path / "a.md", "x\n", durable=True)
    assert len(fsyncs) == 2
    append_text(tmp_path / "a.md", "y\n", durable=True)
    assert len(fsyncs) == 3


def test_an_append_closes_a_torn_last_line(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("whole\nto")
    append_text(path, "next\n", durable=False)
    assert path.read_text() == "whole\nto\nnext\n"


def test_bytes_that_are_not_utf8_survive_a_read_and_write(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_bytes(b"caf\xe9\r\nna\xefve\n")
    write_atomic(path, read_text(path) + "ü\n", durable=False)
    assert path.read_bytes() == b"caf\xe9\r\nna\xefve\n\xc3\xbc\n"


def test_a_write_keeps_the_permissions_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("x")
    path.chmod(0o600)
    write_atomic(path, "y", durable=False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.ENOSPC, "disk_full"),
        (errno.EDQUOT, "disk_full"),
        (errno.EROFS, "data_error"),
        (errno.EACCES, "data_error"),
        (errno.EIO, "data_error"),
    ],
)
@pytest.mark.parametrize("function", ["write", "fsync"])
def test_a_failing_disk_leaves_the_old_text_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, code: int, expected: str
) -> None:
    path = tmp_path / "journal.md"
    path.write_text("old")

    def fail(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(TradeAgentError) as caught:
        write_atomic(path, "new", durable=True)
    monkeypatch.undo()
    assert caught.value.code == expected
    assert str(path) in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 2
    assert path.read_text() == "old"
    assert only(tmp_path) == ["journal.md"]


def test_a_failing_rename_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(DataError):
        write_atomic(tmp_path / "taken", "x", durable=False)
    assert only(tmp_path) == ["taken"]


def test_a_file_size_limit_is_a_full_disk_and_the_old_text_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("old")
    code = (
        "import resource, signal, sys; from pathlib import Path; from tradeagent.workspace.files import write_atomic\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "from tradeagent.domain.errors import UserError\n"
        "try: write_atomic(Path(sys.argv[1]), 'x' * 10000, durable=True)\n"
        "except UserError as error: print(error.code)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "disk_full"
    assert path.read_text() == "old"
    assert only(tmp_path) == ["a.md"]


def test_write_new_never_touches_an_existing_file(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    assert write_new(path, "first", durable=False)
    assert not write_new(path, "second", durable=False)
    assert path.read_text() == "first"
    assert only(tmp_path) == ["a.md"]


def test_a_changed_file_stays_and_our_text_is_kept_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "learnings.md"
    path.write_text("read by us")
    seen = content_hash("read by us")
    path.write_text("edited by a person")
    conflict = replace_if_unchanged(path, seen, "ours", durable=False)
    assert conflict is not None
    assert path.read_text() == "edited by a person"
    assert conflict.kept == tmp_path / "learnings.conflict-1.md"
    assert conflict.kept.read_text() == "ours"
    assert str(path) in str(conflict) and conflict.kept.name in str(conflict)


def test_a_deleted_file_is_a_conflict_too(tmp_path: Path) -> None:
    assert replace_if_unchanged(tmp_path / "a.md", content_hash("gone"), "ours", durable=False) is not None
    assert only(tmp_path) == ["a.conflict-1.md"]


def test_a_file_that_appeared_is_a_conflict(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("theirs")
    conflict = replace_if_unchanged(path, None, "ours", durable=False)
    assert conflict is not None
    assert path.read_text() == "theirs"


def test_the_same_conflict_is_kept_once(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    assert keep_beside(path, "x", durable=False) == keep_beside(path, "x", durable=False)
    assert keep_beside(path, "y", durable=False).name == "a.conflict-2.md"


def test_a_save_between_the_check_and_the_exchange_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.md"
    path.write_text("read by us")
    calls: list[str] = []

    def sneak(first: str, second: str) -> bool:
        calls.append(second)
        if len(calls) == 1:
            (tmp_path / "editor.tmp").write_text("late save")
            (tmp_path / "editor.tmp").rename(path)
        return exchange_names(first, second)

    monkeypatch.setattr("tradeagent.workspace.files.exchange_names", sneak)
    assert not try_replace(path, content_hash("read by us"), "ours", durable=False)
    assert path.read_text() == "late save"
    assert len(calls) == 2
    assert only(tmp_path) == ["a.md"]


def test_where_names_cannot_be_exchanged_a_rename_does_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.md"
    path.write_text("old")
    monkeypatch.setattr("tradeagent.workspace.files.exchange_names", lambda *_: False)
    assert try_replace(path, content_hash("old"), "new", durable=False)
    assert path.read_text() == "new"
    assert only(tmp_path) == ["a.md"]


@pytest.mark.parametrize("style", ["rename", "truncate"])
def test_no_saved_line_of_an_editor_is_lost_while_we_write(tmp_path: Path, style: str) -> None:
    """An editor adds lines to what it last read, saving as vim does (rename) or as VS Code does (truncate, then write)."""
    path = tmp_path / "a.md"
    path.write_text("")
    saves = 25

    def save(text: bytes) -> None:
        if style == "rename":
            (tmp_path / "swp").write_bytes(text)
            (tmp_path / "swp").rename(path)
            return
        with path.open("wb", buffering=0) as handle:
            for start in range(0, len(text), 40):
                handle.write(text[start : start + 40])

    def editor() -> None:
        buffer = b""
        for number in range(saves):
            buffer += f"person {number}\n".encode()
            save(buffer)
            time.sleep(0.03)

    thread = threading.Thread(target=editor)
    thread.start()
    mine, known = 0, content_hash("")
    while thread.is_alive():
        text = read_settled(path, known)
        known = content_hash(text)
        ours = f"{text}agent {mine}\n"
        if try_replace(path, known, ours, durable=False):
            mine, known = mine + 1, content_hash(ours)
    thread.join()
    assert mine > saves
    assert [line for line in read_text(path).splitlines() if line.startswith("person")] == [f"person {n}" for n in range(saves)]
    assert only(tmp_path) == ["a.md"]


def test_a_settled_read_waits_for_an_editor_that_is_half_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "agent.md"
    path.write_text("half")
    saved = iter(["half a te", "whole text", "whole text"])
    monkeypatch.setattr("time.sleep", lambda _: path.write_text(next(saved)))
    assert read_settled(path, content_hash("older")) == "whole text"


def test_a_known_text_is_read_without_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "agent.md"
    path.write_text("known")
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("waited"))
    assert read_settled(path, content_hash("known")) == "known"


def test_a_file_that_never_settles_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "agent.md"
    path.write_text("0")
    monkeypatch.setattr("time.sleep", lambda _: path.write_text(path.read_text() + "0"))
    with pytest.raises(BusyError, match=r"agent\.md"):
        read_settled(path)


def test_a_folder_in_place_of_a_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        read_text(tmp_path)


def test_threads_that_write_the_same_file_leave_one_whole_text(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    texts = [str(n) * 50_000 for n in range(6)]
    threads = [threading.Thread(target=write_atomic, args=(path, text), kwargs={"durable": False}) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in texts
    assert only(tmp_path) == ["a.md"]


def test_a_write_into_a_missing_folder_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(TradeAgentError) as caught:
        write_atomic(tmp_path / "no" / "a.md", "x", durable=False)
    assert not isinstance(caught.value, UserError) or caught.value.code == "data_error"
    assert "a.md" in caught.value.message


PIPE_CALLS = """
import sys
from pathlib import Path
from tradeagent.domain.errors import DataError
from tradeagent.workspace import files
path = Path(sys.argv[1])
calls = (
    lambda: files.read_text(path), lambda: files.read_settled(path), lambda: files.read_plain(path, 10),
    lambda: files.append_text(path, "x", durable=False), lambda: path.is_symlink() or files.append_raw(path, "x"),
    lambda: files.try_replace(path, "0", "x", durable=False), lambda: files.replace_if_unchanged(path, "0", "x", durable=False),
)
for call in calls:
    try:
        call()
    except DataError as error:
        assert str(path) in error.message and "rm " in error.hint, error
        print("refused")
"""


@pytest.mark.parametrize("where", ["pipe", "link", "device"])
def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path, where: str) -> None:
    pipe, link = tmp_path / "pipe.md", tmp_path / "link.md"
    os.mkfifo(pipe)
    link.symlink_to(pipe if where == "link" else "/dev/zero")
    path = pipe if where == "pipe" else link
    done = subprocess.run([sys.executable, "-c", PIPE_CALLS, str(path)], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split().count("refused") == (7 if where == "pipe" else 6)  # no link is appended to as it is, whatever it leads to
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_socket_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        with pytest.raises(DataError, match="not a file"):
            read_text(path)
