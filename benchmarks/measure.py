"""Measuring: the CPU and memory of a child process, medians, and the floors that stand beside the figures."""

import compileall
import gc
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tradeagent
from benchmarks.report import Floor

RUNS = 5
WITHIN_S = 900


@dataclass(frozen=True, slots=True)
class Usage:
    """What one child process took: CPU and wall seconds, the most memory it held in MB, and what it printed."""

    cpu_s: float
    wall_s: float
    peak_mb: float
    output: str


def child(arguments: Sequence[str]) -> Usage:
    """Run `python ARGUMENTS` to its end; RuntimeError with its last words when it fails."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        began = time.perf_counter()
        process = subprocess.Popen([sys.executable, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=environment)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            raise RuntimeError(f"python {' '.join(arguments)} left with {process.returncode}: {errors.read()[-500:]}")
        scale = 1024 if sys.platform == "darwin" else 1
        return Usage(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024 / scale, output.read())


def tradeagent_command(*arguments: str) -> Usage:
    """Run the product's command line."""
    return child(["-m", "tradeagent", *arguments])


def median(measure: Callable[[], float], runs: int = RUNS) -> float:
    return statistics.median(measure() for _ in range(runs))


def spent(work: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """Seconds that one call takes by a clock; CPU of this process without one. The garbage of the call before is gone by then."""
    gc.collect()
    began = clock()
    work()
    return clock() - began


def peak_of(work: Callable[[], object]) -> int:
    """The most bytes that this process holds while it works, above what it holds now; Linux keeps both."""
    Path("/proc/self/clear_refs").write_text("5")  # the mark of the most memory starts again from here
    before = _resident("VmRSS")
    work()
    return _resident("VmHWM") - before


def _resident(which: str) -> int:
    return int(Path("/proc/self/status").read_text().split(f"{which}:")[1].split()[0]) * 1024


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for one benchmark, with the product compiled, as it is where it is installed."""
    compileall.compile_dir(str(Path(tradeagent.__file__).parent), quiet=2)
    with tempfile.TemporaryDirectory(prefix="tradeagent-benchmark-") as folder:
        yield Path(folder)


def bare_python() -> Floor:
    """CPU seconds of an interpreter that does nothing."""
    return Floor("python -c pass", median(lambda: child(["-c", "pass"]).cpu_s))


def bare_commit_ms(folder: Path, commits: int = 100) -> float:
    """Wall ms of one durable SQLite commit (WAL, FULL) of a small row on the disk of `folder`."""
    database = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, text TEXT)")

    def commit() -> float:
        began = time.perf_counter()
        database.execute("INSERT INTO rows (text) VALUES (?)", ("x" * 200,))
        return (time.perf_counter() - began) * 1000

    took = median(commit, commits)
    database.close()
    return took


def bare_json_ms(text: str) -> float:
    """CPU ms of writing a text as JSON and reading it back: what any model's prompt costs at least."""

    def once() -> float:
        began = time.process_time()
        for _ in range(100):
            json.loads(json.dumps(text))
        return (time.process_time() - began) * 10

    return median(once)
