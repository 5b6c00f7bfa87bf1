"""A picture made of characters: a grid of cells with a tone each, for the terminal, the screen and plain text alike."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby


class Tone(Enum):
    """What a cell means; whoever shows it picks the colour, and no meaning is carried by colour alone."""

    PLAIN = ""
    MUTED = "2"
    UP = "32"
    DOWN = "31"
    LINE = "36"
    MARK = "33"


@dataclass(slots=True)
class Picture:
    """`height` rows of `width` cells, blank at first. Writing outside is ignored, so a label may stick out."""

    width: int
    height: int
    _cells: list[list[tuple[str, Tone]]] = field(init=False)

    def __post_init__(self) -> None:
        self._cells = [[(" ", Tone.PLAIN)] * self.width for _ in range(self.height)]

    def put(self, row: int, column: int, text: str, tone: Tone = Tone.PLAIN) -> None:
        """Write `text` from a cell to the right."""
        if 0 <= row < self.height:
            for offset, char in enumerate(text):
                if 0 <= column + offset < self.width:
                    self._cells[row][column + offset] = (char, tone)

    def place(self, other: "Picture", row: int, column: int) -> None:
        """Copy another picture with its upper left corner at (row, column)."""
        for y, line in enumerate(other._cells):
            for x, (char, tone) in enumerate(line):
                self.put(row + y, column + x, char, tone)

    def runs(self) -> Iterator[list[tuple[str, Tone]]]:
        """Each row as runs of one tone, trailing blanks dropped."""
        for line in self._cells:
            end = max((i + 1 for i, (char, _) in enumerate(line) if char != " "), default=0)
            yield [("".join(char for char, _ in run), tone) for tone, run in groupby(line[:end], key=lambda cell: cell[1])]

    def plain(self) -> str:
        """Text without colours."""
        return "\n".join("".join(text for text, _ in row) for row in self.runs())

    def ansi(self, codes: Mapping[Tone, str] | None = None) -> str:
        """Text with ANSI colours; `codes` replaces the parameters of a tone."""
        shown = {tone: tone.value for tone in Tone} | dict(codes or {})
        return "\n".join("".join(_painted(text, shown[tone]) for text, tone in row) for row in self.runs())


def _painted(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if code else text
