"""Searching ten thousand notes inside a process, as the assistant's tool does, after every note was looked at for edits made by hand."""

import itertools
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.measure import scratch
from benchmarks.report import Floor, Row, main
from tradeagent.assistant.memory import INDEX_NAME, Memory
from tradeagent.assistant.search import words_of
from tradeagent.domain.clock import SystemClock
from tradeagent.workspace.paths import Workspace

NOTES, FOLDERS, WORDS_A_NOTE, RUNS = 10_000, 100, 200, 200
BOUND_MS = 10
QUERIES = ("funding basis", "grid drawdown btc", "momentum", "stop volatility eth")
_BARE = """
SELECT key, snippet(words, 1, '', '', '…', 24) FROM words JOIN documents ON documents.id = words.rowid
WHERE words MATCH ? AND words.rank MATCH 'bm25(3.0, 1.0)' ORDER BY words.rank LIMIT 10
"""


def rows() -> list[Row]:
    """Wall ms of a search, beside the same query typed into the index; after an edit by hand; and of making the index."""
    with scratch() as folder:
        workspace = Workspace(folder)
        _write_notes(folder / "memory")
        memory = Memory(workspace, SystemClock())
        began = time.perf_counter()
        memory.search(QUERIES[0])
        built = (time.perf_counter() - began) * 1000
        queries = itertools.cycle(QUERIES)
        searched = _times(lambda: len(memory.search(next(queries)).hits))
        spent = _times(lambda: len(memory.search(next(queries)).hits), clock=time.process_time)
        bare = statistics.median(_times(_bare(workspace.state_dir / INDEX_NAME)))
        edited = _times(lambda: _found_after_edit(folder, memory), 20)
        memory.close()
    what = f"search of {NOTES:,} notes inside a process"
    return [
        Row(f"{what}: median", statistics.median(searched), "ms", BOUND_MS, Floor("the bare FTS5 query", bare)),
        Row(f"{what}: p95", sorted(spent)[int(len(spent) * 0.95)], "CPU ms", BOUND_MS),
        Row(f"{what}: median of the first after an edit by hand", statistics.median(edited), "ms"),
        Row(f"index of {NOTES:,} notes, made anew", built, "ms"),
    ]


def _write_notes(folder: Path) -> None:
    """Notes whose words are as unevenly common as those of a language."""
    chance = random.Random(7)
    asked = sorted({word for query in QUERIES for word in query.split()})
    words = [*(f"word{number}" for number in range(5_000)), *asked]
    weights = [1 / (rank + 1) for rank in range(5_000)] + [0.01] * len(asked)
    for number in range(NOTES):
        place = folder / f"folder{number % FOLDERS}"
        place.mkdir(parents=True, exist_ok=True)
        text = " ".join(chance.choices(words, weights, k=WORDS_A_NOTE))
        (place / f"note{number}.md").write_text(f"# Note {number}\n\n{text}\n")


def _bare(index: Path) -> Callable[[], int]:
    """The same queries on the index file, without looking at the notes and without what is made of the rows."""
    import sqlite3

    database, queries = sqlite3.connect(index), itertools.cycle(QUERIES)
    return lambda: len(database.execute(_BARE, (" ".join(words_of(next(queries))),)).fetchall())


def _found_after_edit(folder: Path, memory: Memory) -> int:
    with (folder / "memory/folder3/note3.md").open("a") as note:
        note.write("xylophone ")
    return len(memory.search("xylophone").hits)


def _times(search: Callable[[], int], runs: int = RUNS, clock: Callable[[], float] = time.perf_counter) -> Sequence[float]:
    """Ms of each by the clock, wall time without one; every query has hits."""
    taken = []
    for _ in range(runs):
        began = clock()
        assert search()
        taken.append((clock() - began) * 1000)
    return taken


if __name__ == "__main__":
    main(rows)
