"""Tailing a transcript: whatever way the bytes arrive, the same text comes out, once."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradeagent.tui.tail import TranscriptTail
from tradeagent.tui.text import clean

TEXT = st.text(alphabet=st.one_of(st.characters(codec="utf-8"), st.sampled_from("\n\r\x1b|é漢😀")), max_size=300)


def chunks_of(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(edges)]


@settings(max_examples=60)
@given(text=TEXT, cuts=st.lists(st.integers(min_value=0), max_size=12))
def test_any_chunking_of_the_bytes_gives_the_same_text(tmp_path_factory: pytest.TempPathFactory, text: str, cuts: list[int]) -> None:
    file = tmp_path_factory.mktemp("tail") / "thread.md"
    file.touch()
    tail = TranscriptTail(file)
    found = ""
    for chunk in chunks_of(text.encode(), cuts):
        with file.open("ab") as growing:
            growing.write(chunk)
        found += tail.read().text
    assert found == clean(text)


def test_a_read_without_news_finds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "thread.md"
    file.write_text("one\n")
    tail = TranscriptTail(file)
    assert tail.read().text == "one\n"
    again = tail.read()
    assert (again.text, again.restarted) == ("", False)


def test_a_file_that_comes_later_is_found(tmp_path: Path) -> None:
    tail = TranscriptTail(tmp_path / "thread.md")
    assert tail.read().text == ""
    tail.file.write_text("hello\n")
    assert tail.read().text == "hello\n"


def test_a_cut_file_begins_anew(tmp_path: Path) -> None:
    file = tmp_path / "thread.md"
    file.write_text("a long first life\n")
    tail = TranscriptTail(file)
    tail.read()
    file.write_text("short\n")
    found = tail.read()
    assert (found.text, found.restarted) == ("short\n", True)


def test_a_replaced_file_begins_anew_even_when_it_is_longer(tmp_path: Path) -> None:
    file = tmp_path / "thread.md"
    file.write_text("first\n")
    tail = TranscriptTail(file)
    tail.read()
    (tmp_path / "other").write_text("another file, and a longer one\n")
    (tmp_path / "other").rename(file)
    found = tail.read()
    assert (found.text, found.restarted) == ("another file, and a longer one\n", True)


def test_a_removed_file_empties_the_stream_once(tmp_path: Path) -> None:
    file = tmp_path / "thread.md"
    file.write_text("first\n")
    tail = TranscriptTail(file)
    tail.read()
    file.unlink()
    assert tail.read().restarted
    assert not tail.read().restarted


def test_a_long_transcript_starts_at_a_line_near_its_end(tmp_path: Path) -> None:
    file = tmp_path / "thread.md"
    file.write_text("".join(f"line {number} é\n" for number in range(1_000)))
    found = TranscriptTail(file, last_bytes=100).read().text
    assert found.endswith("line 999 é\n")
    assert found.startswith("line 99")
    assert len(found.encode()) <= 100


def test_a_backlog_larger_than_what_is_shown_is_skipped(tmp_path: Path) -> None:
    file = tmp_path / "thread.md"
    file.write_text("old\n")
    tail = TranscriptTail(file, last_bytes=100)
    tail.read()
    with file.open("a") as growing:
        growing.write("".join(f"line {number}\n" for number in range(1_000)))
    found = tail.read()
    assert found.restarted
    assert found.text.endswith("line 999\n")
    assert len(found.text) <= 100


def test_bytes_that_are_no_text_do_not_stop_the_stream(tmp_path: Path) -> None:
    file = tmp_path / "thread.md"
    file.write_bytes(b"before \xff\xfe after\n")
    assert TranscriptTail(file).read().text == "before \ufffd\ufffd after\n"


def test_escape_sequences_lose_their_escape(tmp_path: Path) -> None:
    file = tmp_path / "thread.md"
    file.write_bytes("\x1b[31mred\x1b[0m \x07bell \u202egnp\r\n".encode())
    assert TranscriptTail(file).read().text == "[31mred[0m bell gnp\n"
