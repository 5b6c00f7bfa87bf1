"""Cutting a transcript into pages: nothing is lost, a tick is a page, and no page grows without end."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tradeagent.tui.pages import PAGE_CHARACTERS, PageCutter, Piece, newest

LINE = st.sampled_from(
    ["## tick 7 · 12:00\n", "\n", "words and more words\n", "```\n", "x" * 400 + "\n", "#", "## ", "`", "> **tool** ok: done\n"]
)


def pages(chunks: list[str]) -> list[str]:
    """The pages after feeding these chunks and an end that settles what was held back."""
    cutter, found = PageCutter(), [""]
    for chunk in [*chunks, "\n."]:
        for piece in cutter.feed(chunk):
            if piece.begins:
                found.append("")
            found[-1] += piece.text
    return found


@settings(max_examples=60)
@given(lines=st.lists(LINE, max_size=40), cuts=st.lists(st.integers(min_value=0), max_size=12))
def test_chunks_do_not_matter_and_nothing_is_lost(lines: list[str], cuts: list[int]) -> None:
    text = "".join(lines)
    edges = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    chunks = [text[a:b] for a, b in pairwise(edges)]
    assert pages(chunks) == pages([text])
    assert "".join(pages(chunks)).replace("\\", "") == text + "\n."


def test_every_tick_begins_a_page() -> None:
    text = "".join(f"## tick {number}\n\nsome words\n\n" for number in range(1, 6))
    assert [page.splitlines()[0] for page in pages([text])] == [f"## tick {number}" for number in range(1, 6)]


def test_a_heading_is_found_when_it_arrives_letter_by_letter() -> None:
    assert len(pages(list("before\n\n## tick 2\n\nafter"))) == 2


def test_a_transcript_without_headings_is_cut_between_paragraphs() -> None:
    found = pages(["a paragraph of words\n\n" * 500])
    assert len(found) > 5
    assert all(page.startswith("a paragraph") and len(page) < PAGE_CHARACTERS + 100 for page in found)


def test_a_code_block_is_not_cut_at_its_empty_lines() -> None:
    code = "```\n" + "code\n\n" * (PAGE_CHARACTERS // 6 + 20) + "```\n\n"
    assert pages([code + "after\n"])[0].rstrip().endswith("```")


def test_a_line_without_end_is_cut_all_the_same() -> None:
    assert max(map(len, pages(["x" * 100_000]))) <= 6 * PAGE_CHARACTERS


def test_a_table_of_a_thousand_columns_is_shown_as_text() -> None:
    wide = "|" + "a|" * 1_000 + "\n"
    assert "|a|" not in "".join(pages([wide]))


def test_only_the_newest_pages_of_a_backlog_are_drawn() -> None:
    pieces = [Piece(f"page {number}", begins=True) for number in range(50)]
    assert newest(pieces, 12, 1_000) == 38
    assert newest(pieces[:5], 12, 1_000) == 0


def test_the_newest_page_is_drawn_however_long_it_is() -> None:
    pieces = [Piece("short", begins=True), Piece("long\n\n" * 500, begins=True)]
    assert newest(pieces, 12, 70) == 1
