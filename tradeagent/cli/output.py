"""stdout and exit codes: one JSON document, or text for people; narration and errors go to stderr."""

import io
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tradeagent.cli import interrupts
from tradeagent.domain.errors import TradeAgentError


@dataclass(frozen=True, slots=True)
class Output:
    """How to answer: `json` for programs, otherwise text; `verbose` says more on stderr."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False

    def document(self, data: Any, text: str, paint: Callable[[str], str] = str) -> None:
        """Print the answer: `data` as JSON or `text` for a person, whose colours `paint` adds."""
        self.line(data, text, paint)
        interrupts.answered()

    def line(self, data: Any, text: str, paint: Callable[[str], str] = str) -> None:
        """One line of a stream."""
        sys.stdout.write((json.dumps(data, ensure_ascii=False, default=str) if self.json else paint(_safe(text)).rstrip("\n")) + "\n")
        sys.stdout.flush()

    def raw(self, text: str) -> None:
        """A part of what a person watches growing, as it is."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """Narration, on stderr, silent with --quiet or --json."""
        if not self.quiet and not self.json:
            sys.stderr.write(_safe(text) + "\n")
            sys.stderr.flush()


def nobody_reads() -> None:
    """Whoever read stdout has gone: what is still buffered goes nowhere, without a word about it at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(error: TradeAgentError, output: Output) -> int:
    """Print an error in its one shape and give its exit code."""
    if output.json and not interrupts.is_late():
        try:
            sys.stdout.write(json.dumps({"error": error.as_dict()}, ensure_ascii=False, default=str) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            nobody_reads()
    told = [(f"error: {error.message}", error.hint)]
    file = error.details.get("file")
    for problem in error.details.get("problems", [])[1:]:
        place = f"{file}:{problem['line']}: " if problem.get("line") else ""
        told.append((f"also: {place}{problem['message']}", problem.get("hint")))
    for message, hint in told:
        sys.stderr.write(_safe(f"{message}\n" + (f"  fix: {hint}\n" if hint else "")))
    return error.exit_code


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, right: Iterable[str] = (), empty: str = "nothing here yet") -> str:
    """A plain table; `right` columns are right-aligned, None shows as a dash. `empty` says what to do next."""
    if not rows:
        return empty
    numbers = set(right)
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[i]) for line in cells)) for i, column in enumerate(columns)]

    def render(line: Sequence[str]) -> str:
        parts = [text.rjust(w) if c in numbers else text.ljust(w) for text, w, c in zip(line, widths, columns, strict=True)]
        return "  ".join(parts).rstrip()

    return "\n".join([render([c.replace("_", " ") for c in columns]), *(render(line) for line in cells)])


def pairs(data: Mapping[str, Any]) -> str:
    """Key and value, one a line."""
    width = max((len(key) for key in data), default=0)
    return "\n".join(f"{key.replace('_', ' ').ljust(width)}  {_cell(value)}" for key, value in data.items())


def _safe(text: str) -> str:
    """Text without what a terminal would obey: much of it comes from models and from outside."""
    from tradeagent.workspace.plain_text import visible

    return visible(text)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "–"
    return str(value)


def exact(value: float) -> str | None:
    """A stored price or volume as text without exponent, the shortest that reads back to it; None for one that is missing."""
    from tradeagent.domain.money import plain

    return plain(Decimal(repr(value))) if math.isfinite(value) else None


def open_missing_streams() -> None:
    """Stand in for a closed stdin, stdout or stderr, before a file of ours gets its number; a character the stream lacks becomes `?`."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def is_interactive() -> bool:
    """Whether a person sits at this terminal; when not, nothing prompts and nothing is drawn."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
