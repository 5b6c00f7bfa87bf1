"""Search finds what a plain look through every note finds, whoever changed the notes, and whatever happened to the index."""

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tradeagent.assistant import meaning
from tradeagent.assistant.meaning import Embedding, pieces
from tradeagent.assistant.memory import Memory
from tradeagent.domain.clock import SimulatedClock, SystemClock
from tradeagent.domain.errors import InvalidInput, ModelError, TradeAgentError, UserError
from tradeagent.workspace.changes import Changes
from tradeagent.workspace.paths import Workspace

WORDS = ("btc", "eth", "funding", "basis", "grid", "drawdown", "Momentum", "stop_loss", "0.05", "café")
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(" ".join)
paths = st.sampled_from(["a.md", "b.md", "research/a.md", "research/deep/c.md", "user/btc.md", "insights/grid.md"])


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    opened = Memory(Workspace(tmp_path), SystemClock(), durable=False)
    yield opened
    opened.close()


def note(root: Path, path: str, text: str) -> None:
    """A note as a person saves it, past everything of ours."""
    file = root / "memory" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def keys(memory: Memory, query: str, folder: str = "") -> list[str]:
    return sorted(hit.key for hit in memory.search(query, folder=folder, limit=100).hits)


def tokens(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold().replace("é", "e"))


def naive(root: Path, query: str, folder: str) -> list[str]:
    """Every note whose path or text holds each word of the query; without one, those that hold any."""
    held: dict[str, list[bool]] = {}
    for file in (root / "memory").rglob("*.md"):
        path = str(file.relative_to(root / "memory"))
        if path.startswith(folder):
            fields = [f" {' '.join(tokens(text))} " for text in (path.removesuffix(".md"), file.read_text())]
            held[path] = [any(f" {' '.join(tokens(word))} " in field for field in fields) for word in query.split()]
    return sorted(path for path, found in held.items() if all(found)) or sorted(path for path, found in held.items() if any(found))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["save", "save", "edit", "delete", "move", "write", "append", "drop index"]), paths, texts),
        min_size=1,
        max_size=10,
    ),
    query=st.lists(st.sampled_from(WORDS), min_size=1, max_size=2).map(" ".join),
    folder=st.sampled_from(["", "research", "res"]),
)
def test_search_agrees_with_a_look_at_every_note(tmp_path: Path, steps: Sequence[tuple[str, str, str]], query: str, folder: str) -> None:
    for name in ("memory", "state"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    memory = Memory(Workspace(tmp_path), SystemClock(), durable=False)
    try:
        for step, path, text in steps:
            file = tmp_path / "memory" / path
            if step == "save":
                note(tmp_path, path, text)
            elif step == "edit" and file.exists():
                with file.open("a") as opened:
                    opened.write(f" {text}")
            elif step == "delete" and file.exists():
                file.unlink()
            elif step == "move" and (tmp_path / "memory/research").exists() and not (tmp_path / "memory/moved").exists():
                (tmp_path / "memory/research").rename(tmp_path / "memory/moved")
            elif step in ("write", "append"):
                getattr(memory, step)(path, text)
            elif step == "drop index":
                memory.close()
                shutil.rmtree(tmp_path / "state", ignore_errors=True)
            assert keys(memory, query, folder) == naive(tmp_path, query, f"{folder}/" if folder else "")
    finally:
        memory.close()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.one_of(st.text(max_size=40), st.text(alphabet='"*()^:-+{}AND OR NOT NEAR a', max_size=40)))
def test_no_query_is_a_syntax_error(memory: Memory, tmp_path: Path, query: str) -> None:
    note(tmp_path, "a.md", "x")
    try:
        memory.search(query)
    except InvalidInput as error:
        assert "has no word" in error.message


def test_the_best_note_is_first_with_its_words_shown(memory: Memory, tmp_path: Path) -> None:
    note(tmp_path, "a.md", "# About BTC\n\n" + "other words " * 50 + "basis trades pay when funding is high\x1b[31m")
    note(tmp_path, "b.md", "funding " + "x " * 500 + "basis")
    note(tmp_path, "basis/funding.md", "short")
    found = memory.search("funding basis")
    assert [hit.key for hit in found.hits] == ["basis/funding.md", "a.md", "b.md"]
    second = found.hits[1]
    assert second.title == "About BTC"
    assert "**basis** trades pay when **funding** is high" in second.snippet
    assert "\x1b" not in second.snippet
    assert found.matched == "all"
    assert [hit.score for hit in found.hits] == sorted((hit.score for hit in found.hits), reverse=True)


def test_notes_that_hold_some_words_come_when_none_holds_all(memory: Memory, tmp_path: Path) -> None:
    note(tmp_path, "a.md", "grid")
    found = memory.search("grid nowhere")
    assert (found.matched, [hit.key for hit in found.hits]) == ("any", ["a.md"])


def test_a_star_finds_the_beginnings_of_words(memory: Memory, tmp_path: Path) -> None:
    note(tmp_path, "a.md", "drawdown")
    assert keys(memory, "draw*") == ["a.md"]
    assert keys(memory, "draw") == []


@pytest.mark.parametrize("wreck", ["garbage", "empty", "cut", "flipped", "version", "another"])
def test_a_damaged_index_is_made_again(tmp_path: Path, wreck: str) -> None:
    for number in range(200):
        note(tmp_path, f"n{number}.md", f"common words {number} " * 20)
    first = Memory(Workspace(tmp_path), SystemClock())
    assert keys(first, "common 7") == ["n7.md"]
    first.close()
    file = tmp_path / "state" / "memory.sqlite"
    data = bytearray(file.read_bytes())
    if wreck == "version":
        with sqlite3.connect(file) as database:
            database.execute("PRAGMA user_version = 99")
        database.close()
    elif wreck == "another":
        file.unlink()
        with sqlite3.connect(file) as database:
            database.execute("CREATE TABLE theirs (x)")
        database.close()
    else:
        for at in range(0, len(data), 512):
            data[at] ^= 0xFF
        file.write_bytes({"garbage": b"no database" * 999, "empty": b"", "cut": bytes(data[:5000]), "flipped": bytes(data)}[wreck])
    again = Memory(Workspace(tmp_path), SystemClock())
    assert keys(again, "common 7") == ["n7.md"]
    again.close()


def test_a_full_or_locked_disk_is_said_and_nothing_is_thrown_away(memory: Memory, tmp_path: Path) -> None:
    note(tmp_path, "a.md", "grid")
    (tmp_path / "state").write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"memory\.sqlite"):
        memory.search("grid")
    (tmp_path / "state").unlink()
    assert keys(memory, "grid") == ["a.md"]


def test_an_edit_that_leaves_size_and_time_is_found(tmp_path: Path) -> None:
    """Two saves within one step of the file system's clock."""
    note(tmp_path, "a.md", "btc")
    at = (tmp_path / "memory/a.md").stat().st_mtime_ns
    memory = Memory(Workspace(tmp_path), SimulatedClock(at // 1_000_000 + 1))
    assert keys(memory, "btc") == ["a.md"]
    note(tmp_path, "a.md", "eth")
    os.utime(tmp_path / "memory/a.md", ns=(at, at))
    assert (keys(memory, "eth"), keys(memory, "btc")) == (["a.md"], [])
    memory.close()


def test_two_processes_may_use_one_index(memory: Memory, tmp_path: Path) -> None:
    other = Memory(Workspace(tmp_path), SystemClock())
    note(tmp_path, "a.md", "grid")
    assert keys(memory, "grid") == keys(other, "grid") == ["a.md"]
    note(tmp_path, "b.md", "grid")
    assert keys(other, "grid") == keys(memory, "grid") == ["a.md", "b.md"]
    other.close()


def test_a_memory_that_is_a_link_is_refused_until_it_is_none(memory: Memory, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "memory").symlink_to(tmp_path / "elsewhere")
    for _ in range(2):
        with pytest.raises(InvalidInput, match="links are not followed"):
            memory.search("grid")
    (tmp_path / "memory").unlink()
    note(tmp_path, "a.md", "grid")
    assert keys(memory, "grid") == ["a.md"]


def test_without_the_system_s_help_every_search_looks_itself(memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Changes, "watch", lambda *_: False)
    note(tmp_path, "a.md", "grid")
    assert keys(memory, "grid") == ["a.md"]
    note(tmp_path, "deep/b.md", "grid")
    assert keys(memory, "grid") == ["a.md", "deep/b.md"]
    (tmp_path / "memory/a.md").unlink()
    assert keys(memory, "grid") == ["deep/b.md"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors")
def test_searching_for_long_leaks_no_descriptor(memory: Memory, tmp_path: Path) -> None:
    note(tmp_path, "deep/a.md", "grid")
    memory.search("grid")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(250):
        note(tmp_path, f"deep/{number % 5}/b.md", "grid")
        memory.search("grid")
        if number % 50 == 0:
            shutil.rmtree(tmp_path / "memory/deep")
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1


def vector(text: str) -> list[float]:
    """Texts about money, about nature, and others: what a model would tell apart."""
    found = [float(sum(word in text.lower() for word in words)) for words in (("fund", "carry", "basis"), ("tree", "forest"), ("x",))]
    return [*found, 0.01]


class Model:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed(self, texts: list[str]) -> list[list[float]]:
        self.asked += texts
        return [vector(text) for text in texts]


def test_notes_are_found_by_meaning_and_each_piece_is_asked_once(memory: Memory, tmp_path: Path) -> None:
    note(tmp_path, "carry.md", "the basis pays")
    note(tmp_path, "wood.md", "a forest of trees")
    model = Model()
    embedding = Embedding("model-a", model.embed)
    found = memory.search("funding", embedding=embedding)
    assert found.hits[0].key == "carry.md"
    assert found.notice == ""
    assert len(model.asked) == 3
    memory.search("funding", embedding=embedding)
    assert model.asked[3:] == ["funding"]
    note(tmp_path, "carry.md", "trees")
    note(tmp_path, "more/new.md", "funding carry")
    assert memory.search("funding", embedding=embedding).hits[0].key == "more/new.md"
    assert len(model.asked) == 4 + 3
    other = Model()
    memory.search("funding", embedding=Embedding("model-b", other.embed))
    assert len(other.asked) == 4
    assert [hit.key for hit in memory.search("funding", folder="more", embedding=embedding).hits] == ["more/new.md"]


@pytest.mark.parametrize("answer", [[], [[1.0]], [[float("nan")], [1.0]], [[], []]])
def test_a_model_that_fails_leaves_the_search_by_words(memory: Memory, tmp_path: Path, answer: list[list[float]]) -> None:
    note(tmp_path, "a.md", "grid")
    note(tmp_path, "b.md", "tree")
    found = memory.search("grid", embedding=Embedding("m", lambda _: answer))
    assert [hit.key for hit in found.hits] == ["a.md"]
    assert "not searched by meaning: m: " in found.notice

    def fails(_: list[str]) -> list[list[float]]:
        raise ModelError("m: no answer")

    assert memory.search("grid", embedding=Embedding("m", fails)).notice == "not searched by meaning: m: no answer"


@given(st.lists(st.sampled_from(["word ", "\n\n", "\n", "x" * 700, "é"]), max_size=40).map("".join))
def test_pieces_cover_a_text_without_gap_and_within_bounds(text: str) -> None:
    found = pieces(text)
    assert len(found) <= meaning.MAX_PIECES
    assert "".join(text[begin : begin + length] for begin, length in found) == text
    assert all(length <= meaning.PIECE_CHARACTERS for _, length in found)


def test_errors_of_the_notes_name_the_path(memory: Memory) -> None:
    for call in (lambda: memory.write("a.md", " \n"), lambda: memory.append("a.md", "")):
        with pytest.raises(InvalidInput, match="a note needs words"):
            call()
    with pytest.raises(TradeAgentError, match=r"there is no memory/a\.md|no folder memory"):
        memory.read("a.md")
    with pytest.raises(InvalidInput, match=r"'\.\./x' must go down"):
        memory.search("x", folder="../x")
