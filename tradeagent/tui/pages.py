"""Cutting a transcript into pages, so that the screen keeps a few of them and never slows: one page a tick, none too long."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

TICK_HEADING = "## tick "
PAGE_CHARACTERS = 1_200
_FENCES = ("```", "~~~")
_MARKS = "> -+*#`~"
_MANY_MARKS = 12
_DEEPEST_INDENT = 20
_MANY_COLUMNS = 24


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a page; `begins` = of a new one."""

    text: str
    begins: bool = False


class PageCutter:
    """Takes a transcript in any pieces and gives it back cut into pages.

    A page begins at a heading `## tick N`, or at an empty line after PAGE_CHARACTERS (at any line after twice, anywhere after
    four times as many). A line that may still become a heading or a fence is held back until that is known.
    """

    def __init__(self) -> None:
        self._held = ""
        self._length = 0
        self._at_line_start = True
        self._is_blank = True
        self._after_gap = False
        self._fenced = False

    def feed(self, text: str) -> list[Piece]:
        """The pieces of `text`, in order."""
        whole, self._held = self._held + text, ""
        found: list[Piece] = []
        for part in whole.splitlines(keepends=True):
            if not part.endswith("\n") and self._at_line_start and _is_undecided(part):
                self._held = part
                break
            found.extend(self._take(cut) for cut in _cuts(part))
        return _joined(found)

    def _take(self, part: str) -> Piece:
        begins = self._begins_page(part)
        if begins:
            self._length, self._fenced = 0, False
        starts_line = self._at_line_start
        if starts_line:
            self._is_blank = True
            self._fenced ^= part.startswith(_FENCES)
        self._is_blank = self._is_blank and not part.strip()
        if self._length or part.strip():
            self._length += len(part)
        self._at_line_start = part.endswith("\n")
        self._after_gap = self._at_line_start and self._is_blank
        return Piece(part if self._fenced else _harmless(part, starts_line=starts_line), begins)

    def _begins_page(self, part: str) -> bool:
        if self._at_line_start and part.startswith(TICK_HEADING):
            return self._length > 0
        if self._length >= PAGE_CHARACTERS * 4:
            return True
        if self._at_line_start and self._length >= PAGE_CHARACTERS * 2:
            return True
        return self._after_gap and not self._fenced and self._length >= PAGE_CHARACTERS


def newest(pieces: Sequence[Piece], most_pages: int, most_blocks: int) -> int:
    """Where the newest pages begin that are worth drawing: an index into `pieces`, 0 when all are."""
    start, pages, blocks = 0, 0, 0
    for index in range(len(pieces) - 1, -1, -1):
        blocks += 1 + pieces[index].text.count("\n\n")
        if not pieces[index].begins:
            continue
        pages += 1
        if pages > 1 and (pages > most_pages or blocks > most_blocks):
            return start
        start = index
    return 0 if blocks <= most_blocks else start


def _is_undecided(part: str) -> bool:
    """Whether more text decides what kind of line this is."""
    return len(part) < PAGE_CHARACTERS and (part.startswith(TICK_HEADING) or TICK_HEADING.startswith(part) or not part.strip(_MARKS))


def _cuts(part: str) -> Iterator[str]:
    """A line without an end would be a page without an end."""
    for start in range(0, len(part), PAGE_CHARACTERS):
        yield part[start : start + PAGE_CHARACTERS]


def _harmless(part: str, *, starts_line: bool) -> str:
    """What would cost a widget a cell, or hide in blocks nested deeper than the parser follows, is shown as it was written."""
    if starts_line:
        indent = len(part) - len(part.lstrip(" "))
        marks = len(part) - len(part.lstrip(_MARKS)) - indent
        part = part[max(0, indent - _DEEPEST_INDENT) :]
        part = "\\" + part if marks > _MANY_MARKS else part
    return part.replace("|", "\\|") if part.count("|") > _MANY_COLUMNS else part


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Pieces of one page as one."""
    joined: list[Piece] = []
    for piece in pieces:
        if joined and not piece.begins:
            joined[-1] = Piece(joined[-1].text + piece.text, joined[-1].begins)
        else:
            joined.append(piece)
    return joined
