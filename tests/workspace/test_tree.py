"""A tree whose files a model may name: nothing outside it is ever read, written or removed, whatever stands in it."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tradeagent.domain.errors import BusyError, DataError, InvalidInput, NotFound, TradeAgentError, UserError
from tradeagent.workspace import tree as tree_module
from tradeagent.workspace.swap import exchange_names
from tradeagent.workspace.tree import MAX_BYTES, Tree

SECRET = "the ledger's secret"
PARTS = ("notes", "a.md", "b.md", "link", "link.md", "dead.md", "fifo.md", "hard.md", "folder.md", "deep", "..", ".", "", "~", "NUL.md")
TRICKS = (
    "%2e%2e",
    "．．",
    "‥",
    "a\0.md",
    "..\\..",
    "a/../b.md",
    "C:",
    "con.md",
    "é.md",
    "é.md",
    "A.MD",
    "x" * 4000 + ".md",
    "a.md.",
    " a.md",
    "\u202ea.md",
)
anything = st.one_of(
    st.lists(st.sampled_from(PARTS + TRICKS), min_size=1, max_size=5).map("/".join),
    st.text(max_size=30),
    st.sampled_from(["/etc/passwd", "../../etc/passwd", "//x", "outside/secret.md", "link/secret.md", "deep/link/secret.md"]),
)


def make(folder: Path, **options: object) -> Tree:
    (folder / "ws").mkdir(exist_ok=True)
    return Tree(folder / "ws", "memory", folder / "locks" / "memory.lock", suffix=".md", durable=False, **options)  # type: ignore[arg-type]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return make(tmp_path)


def planted(folder: Path) -> Path:
    """Everything hostile that a file system can hold, in and beside a tree."""
    memory, outside = folder / "ws" / "memory", folder / "outside"
    shutil.rmtree(folder / "ws", ignore_errors=True)
    shutil.rmtree(outside, ignore_errors=True)
    outside.mkdir()
    (outside / "secret.md").write_text(SECRET)
    (outside / "hard.md").write_text(SECRET)
    (folder / "ws" / "secret.md").parent.mkdir()
    (folder / "ws" / "secret.md").write_text(SECRET)
    (memory / "deep" / "folder.md").mkdir(parents=True)
    for place in (memory, memory / "deep"):
        (place / "link").symlink_to(outside, target_is_directory=True)
        (place / "link.md").symlink_to(outside / "secret.md")
        (place / "dead.md").symlink_to(outside / "new.md")
        os.link(outside / "hard.md", place / "hard.md")
        os.mkfifo(place / "fifo.md")
        (place / "a.md").write_text("mine\n")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(memory / "socket.md"))
    return outside


def state(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from(["read", "write", "append", "remove"]), anything), min_size=1, max_size=8))
def test_no_path_leads_out_of_the_tree(tmp_path: Path, steps: list[tuple[str, str]]) -> None:
    outside = planted(tmp_path)
    tree, before = make(tmp_path), state(outside)
    for operation, path in steps:
        try:
            if operation == "read":
                assert SECRET not in tree.read(path).text
            elif operation == "remove":
                tree.remove(path)
            else:
                getattr(tree, operation)(path, "written\n")
        except (UserError, NotFound) as error:
            assert error.message
            assert error.hint
            assert SECRET not in error.message
    assert state(outside) == before
    assert (tmp_path / "ws" / "secret.md").read_text() == SECRET
    assert {path.name for path in tmp_path.iterdir()} <= {"locks", "outside", "ws"}
    assert sorted(path.name for path in (tmp_path / "ws").iterdir()) == ["memory", "secret.md"]


@pytest.mark.parametrize("name", ["link.md", "dead.md", "fifo.md", "hard.md", "socket.md", "deep/folder.md", "link/secret.md"])
@pytest.mark.parametrize("operation", ["read", "write", "append", "remove"])
def test_what_is_no_plain_file_is_refused_by_its_name(tmp_path: Path, name: str, operation: str) -> None:
    planted(tmp_path)
    tree = make(tmp_path)
    with pytest.raises(InvalidInput, match=r"memory/(link|dead|fifo|hard|socket|deep/folder)"):
        getattr(tree, operation)(name, *(() if operation in ("read", "remove") else ("x",)))
    assert name not in [entry.path for entry in tree.listing().entries]


def test_a_listing_names_what_it_does_not_use(tmp_path: Path) -> None:
    planted(tmp_path)
    (tmp_path / "ws/memory/other.txt").write_text("x")
    (tmp_path / "ws/memory/big.md").write_bytes(b"x" * (MAX_BYTES + 1))
    (tmp_path / "ws/memory/bad\x1b[31mname.md").write_text("x")
    listing = make(tmp_path).listing()
    assert [entry.path for entry in listing.entries] == ["a.md", "deep/a.md"]
    said = "\n".join(listing.skipped)
    for name in ("link", "dead.md", "fifo.md", "hard.md", "socket.md", "other.txt", "big.md", "bad[31mname.md", "deep/link"):
        assert f"{name}: " in said, name
    assert "\x1b" not in said


def test_the_root_itself_is_no_link(tmp_path: Path) -> None:
    outside = planted(tmp_path)
    shutil.rmtree(tmp_path / "ws" / "memory")
    (tmp_path / "ws" / "memory").symlink_to(outside, target_is_directory=True)
    tree = make(tmp_path)
    for operation in (lambda: tree.read("secret.md"), lambda: tree.write("secret.md", "x"), tree.listing):
        with pytest.raises(InvalidInput, match="links are not followed"):
            operation()
    assert (outside / "secret.md").read_text() == SECRET


@pytest.mark.parametrize("operation", ["read", "write", "append"])
def test_a_file_swapped_for_a_link_between_check_and_open_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    outside = planted(tmp_path)
    tree, note = make(tmp_path), tmp_path / "ws/memory/a.md"
    real = os.stat

    def swapped(path: object, *arguments: object, **options: object) -> os.stat_result:
        found = real(path, *arguments, **options)  # type: ignore[call-overload]
        if path == "a.md" and not note.is_symlink():
            note.unlink()
            note.symlink_to(outside / "secret.md")
        return found  # type: ignore[no-any-return]

    monkeypatch.setattr(tree_module.os, "stat", swapped)
    with pytest.raises(UserError):
        getattr(tree, operation)("a.md", *(() if operation == "read" else ("x",)))
    monkeypatch.undo()
    assert state(outside)["secret.md"] == SECRET


def test_a_folder_swapped_for_a_link_while_others_write_leads_nowhere(tmp_path: Path) -> None:
    outside = planted(tmp_path)
    tree, memory = make(tmp_path), tmp_path / "ws" / "memory"
    before, stop = state(outside), threading.Event()

    (memory / "notes").mkdir()
    (memory / "aside").symlink_to(outside, target_is_directory=True)

    def swap() -> None:
        while not stop.is_set():
            exchange_names(str(memory / "notes"), str(memory / "aside"))

    thread = threading.Thread(target=swap)
    thread.start()
    refused = 0
    try:
        for number in range(300):
            try:
                tree.write(f"notes/{number}.md", "x")
            except TradeAgentError:
                refused += 1
    finally:
        stop.set()
        thread.join()
    assert state(outside) == before
    assert 0 < refused < 300


def test_a_write_and_an_append_are_whole_lines_without_what_nobody_sees(tree: Tree) -> None:
    tree.write("a/b.md", "one\r\n\x1b]0;title\x07two\u202e\u200b")
    tree.append("a/b.md", "three")
    tree.append("a/b.md", "four\n\n")
    assert tree.read("a/b.md").text == "one\n]0;titletwo\nthree\nfour\n"
    assert [(entry.path, entry.size) for entry in tree.listing("a").entries] == [("a/b.md", 27)]


def test_a_change_is_refused_when_somebody_saved_meanwhile(tree: Tree) -> None:
    tree.write("a.md", "one", expected=None)
    read = tree.read("a.md")
    tree.write("a.md", "two", expected=read.hash)
    for hash_ in (read.hash, None):
        with pytest.raises(BusyError, match=r"memory/a\.md was changed meanwhile"):
            tree.write("a.md", "three", expected=hash_)
    assert tree.read("a.md").text == "two"


@pytest.mark.parametrize("late", ["saved by an editor", None])
def test_a_save_during_an_append_is_not_lost(tree: Tree, monkeypatch: pytest.MonkeyPatch, late: str | None) -> None:
    """The editor saves, or deletes, between what was read and the exchange: the line goes to the end of what is there then."""
    tree.write("a.md", "old")
    real, calls = tree_module.write_all, []

    def sneak(descriptor: int, data: bytes) -> None:
        real(descriptor, data)
        if not calls:
            (tree.root / "a.md").unlink()
            if late:
                (tree.root / "a.md").write_text(late)
        calls.append(data)

    monkeypatch.setattr(tree_module, "write_all", sneak)
    tree.append("a.md", "ours")
    assert tree.read("a.md").text == (f"{late}\nours\n" if late else "ours\n")
    assert [path.name for path in tree.root.iterdir()] == ["a.md"]


def test_limits_of_size_number_depth_and_case_name_the_rule(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="at most 1,048,576"):
        tree.write("big.md", "x" * (MAX_BYTES + 1))
    tree.write("big.md", "x" * MAX_BYTES)
    with pytest.raises(InvalidInput, match="at most 1,048,576"):
        tree.append("big.md", "x")
    assert tree.read("big.md").entry.size == MAX_BYTES
    with pytest.raises(InvalidInput, match="8 levels"):
        tree.write("/".join("abcdefgh") + "/x.md", "x")
    with pytest.raises(InvalidInput, match="only in case"):
        tree.write("BIG.md", "x")
    tree.write("folder/x.md", "x")
    with pytest.raises(InvalidInput, match="only in case"):
        tree.write("Folder/y.md", "x")
    monkeypatch.setattr(tree_module, "MAX_FILES", 2)
    with pytest.raises(InvalidInput, match="at most 2 files"):
        tree.write("third.md", "x")
    tree.write("big.md", "changed")
    tree.remove("folder/x.md")
    assert not (tree.root / "folder").exists()
    tree.write("third.md", "x")


def test_a_file_that_cannot_be_a_note_is_told_apart(tree: Tree) -> None:
    tree.write("a.md", "x")
    (tree.root / "a.md").write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match=r"memory/a\.md is not UTF-8: byte 4"):
        tree.read("a.md")
    tree.append("a.md", "more")
    assert (tree.root / "a.md").read_bytes() == b"caf\xe9\nmore\n"
    (tree.root / "a.md").write_bytes(b"x" * (MAX_BYTES + 1))
    with pytest.raises(DataError, match="over 1,048,576 bytes"):
        tree.read("a.md")
    with pytest.raises(NotFound, match="no folder memory/no"):
        tree.read("no/such.md")
    assert tree.listing("no").entries == ()


APPENDER = """
import sys
from pathlib import Path
from tradeagent.workspace.tree import Tree
tree = Tree(Path(sys.argv[1]) / "ws", "memory", Path(sys.argv[1]) / "locks/memory.lock", suffix=".md", durable=False)
for number in range(int(sys.argv[3])):
    tree.append("log.md", f"{sys.argv[2]} {number} " + "x" * 200)
    print(number, flush=True)
"""


def appender(folder: Path, name: str, lines: int) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", APPENDER, str(folder), name, str(lines)], stdout=subprocess.PIPE, text=True)


def test_processes_that_append_at_once_lose_nothing(tmp_path: Path) -> None:
    tree, names, lines = make(tmp_path), "abcd", 15
    processes = [appender(tmp_path, name, lines) for name in names]
    assert [process.wait(120) for process in processes] == [0] * len(names)
    for process in processes:
        process.stdout.close()  # type: ignore[union-attr]
    written = [line.split()[:2] for line in tree.read("log.md").text.splitlines()]
    assert sorted(written) == sorted([name, str(number)] for name in names for number in range(lines))
    for name in names:
        assert [number for who, number in written if who == name] == [str(number) for number in range(lines)]


def test_a_killed_writer_leaves_whole_lines_and_no_rubbish(tmp_path: Path) -> None:
    tree = make(tmp_path)
    said = 0
    for name in "abcdef":
        process = appender(tmp_path, name, 10_000)
        assert process.stdout
        for _ in range(3):
            said += bool(process.stdout.readline())
        process.kill()
        process.wait()
        said += len(process.stdout.readlines())
        process.stdout.close()
    lines = tree.read("log.md").text.splitlines()
    assert all(line.endswith(" " + "x" * 200) for line in lines)
    assert said <= len(lines) <= said + 6
    tree.write("fresh.md", "x")
    assert sorted(path.name for path in tree.root.iterdir()) == ["fresh.md", "log.md"]


DYING = """
import os, sys
from pathlib import Path
from tradeagent.workspace import tree as module
left, whole = int(sys.argv[2]), module.write_all
def dying(function):
    def call(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            if function is whole:
                function(arguments[0], arguments[1][: len(arguments[1]) // 2])
            os._exit(9)
        return function(*arguments, **options)
    return call
for place, names in ((module, ("write_all", "sync_file", "exchange_names", "rename_new")), (os, ("fsync", "unlink", "mkdir"))):
    for name in names:
        setattr(place, name, dying(getattr(place, name)))
tree = module.Tree(Path(sys.argv[1]) / "ws", "memory", Path(sys.argv[1]) / "locks/memory.lock", suffix=".md")
tree.append("log.md", "second")
tree.write("new/b.md", "fresh")
tree.write("log.md", "third")
"""


@pytest.mark.slow
def test_a_crash_at_any_step_of_a_write_leaves_the_old_text_or_the_new_one(tmp_path: Path) -> None:
    for step in range(1, 100):
        shutil.rmtree(tmp_path / "ws", ignore_errors=True)
        tree = make(tmp_path)
        tree.write("log.md", "first")
        code = subprocess.run([sys.executable, "-c", DYING, str(tmp_path), str(step)], check=False).returncode
        assert tree.read("log.md").text in ("first", "first\nsecond\n", "third"), step
        for entry in tree.listing("new").entries:
            assert tree.read(entry.path).text == "fresh", step
        tree.write("c.md", "x")
        assert sorted(path.name for path in tree.root.iterdir() if path.is_file()) == ["c.md", "log.md"], step
        if code == 0:
            break
        assert code == 9
    assert step >= 12
