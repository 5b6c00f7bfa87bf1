"""What a benchmark says: rows of a table, as text, JSON or the page docs/benchmarks.md."""

import argparse
import json
import os
import platform
import sqlite3
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
COLUMNS = ("what", "measured", "bound", "floor in the same run", "× floor", "verdict")


@dataclass(frozen=True, slots=True)
class Floor:
    """The bare thing beside the work, in the unit of its row."""

    what: str
    value: float


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `bound` None = recorded only; a figure at its bound passes."""

    what: str
    measured: float
    unit: str
    bound: float | None = None
    floor: Floor | None = None

    @property
    def verdict(self) -> str:
        if self.bound is None:
            return "recorded"
        return "pass" if self.measured <= self.bound else "FAIL"

    def as_dict(self) -> dict[str, object]:
        ratio = self.measured / self.floor.value if self.floor and self.floor.value else None
        return {**asdict(self), "ratio": ratio, "verdict": self.verdict}

    def cells(self) -> tuple[str, ...]:
        floor = f"{self.floor.what}: {_figure(self.floor.value)}" if self.floor else "–"
        ratio = _figure(self.measured / self.floor.value) if self.floor and self.floor.value else "–"
        bound = "–" if self.bound is None else f"≤ {_figure(self.bound)}"
        return self.what, f"{_figure(self.measured)} {self.unit}", bound, floor, ratio, self.verdict


def _figure(value: float) -> str:
    """Three significant figures, never as a power of ten."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".") if abs(value) >= 0.001 else f"{value:.5f}"


def row_of(data: dict[str, object]) -> Row:
    """A row back from its JSON."""
    values = {name: data[name] for name in ("what", "measured", "unit", "bound")}
    floor = data["floor"]
    return Row(**values, floor=Floor(**floor) if isinstance(floor, dict) else None)  # type: ignore[arg-type]  # as `as_dict` wrote it


def main(measure: Callable[[], Sequence[Row]]) -> None:
    """The command of one benchmark: its rows as text, or as JSON with --json."""
    parser = argparse.ArgumentParser(description=measure.__doc__)
    parser.add_argument("--json", action="store_true", help="rows as JSON")
    asked = parser.parse_args()
    show(measure(), as_json=asked.json)


def show(rows: Sequence[Row], *, as_json: bool) -> None:
    print(json.dumps([row.as_dict() for row in rows], ensure_ascii=False) if as_json else text_table(rows))


def text_table(rows: Sequence[Row]) -> str:
    """Columns padded for a terminal."""
    lines = [COLUMNS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def machine() -> str:
    """What the figures depend on, without naming the machine."""
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"{platform.python_implementation()} {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    )


def write_page(rows: Sequence[Row], *, is_whole: bool) -> Path:
    """Write docs/benchmarks.md anew, or, not `is_whole`, replace what it says of these rows, if it is of the same day and machine."""
    measured = f"Measured on {datetime.now(UTC):%Y-%m-%d}: {machine()}."
    lines = [_line(row.cells()) for row in rows]
    if not is_whole:
        present = PAGE.read_text(encoding="utf-8")
        if measured not in present:
            sys.exit(f"{PAGE.name} is of another day or machine: write the whole page, without names")
        lines = _replaced([line for line in present.splitlines() if line.startswith("| ")][1:], lines)
    table = "\n".join([_line(COLUMNS), f"|{'---|' * len(COLUMNS)}", *lines])
    PAGE.write_text(PAGE_TEXT.format(measured=measured, table=table), encoding="utf-8")
    return PAGE


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _replaced(present: Sequence[str], changed: Sequence[str]) -> list[str]:
    """Each changed line in the place of the first that tells of the same thing and was not replaced yet; new ones at the end."""
    left, lines = list(changed), []
    for line in present:
        same = next((each for each in left if each.split(" | ")[0] == line.split(" | ")[0]), line)
        lines.append(same)
        if same in left:
            left.remove(same)
    return [*lines, *left]


PAGE_TEXT = """\
# Benchmarks

`make bench` runs every module of `benchmarks/`, each in a process of its own; `python -m benchmarks.replay` runs one of them, `--json`
gives it as data, and `python -m benchmarks --write` writes this page, with names the rows of those.

CPU is what the operating system counted for the process that did the work, in user and system mode; wall time only where waiting is the
point. Each figure is the median of several runs; a p99, a worst, the CPU of the fleet and the start that adopts another hand's orders
are of one. A floor is the bare thing measured beside it in the same run, so that a slow or busy machine shows in both: compare the ratio,
not the seconds, between machines. The kernel waits for memory that other tenants of a machine use too: it is measured in four rounds, and
told of the one with the lowest floor.

{measured}

{table}
"""
