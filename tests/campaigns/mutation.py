"""Campaign: small changes to the rooms of the order path, by chance over all there are, and whether a test notices (mutation score).

Each is made in a copy of the tree, never here. The tests that run the changed line are played until one fails: those of its own room
first, then the fast ones, up to a minute of them. A change that no test notices is named as a remark; a room below 85 % is a violation.
"""

import json
import math
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from figures import Figures
from mutants import Mutant, mutants_of

from tradeagent import __file__ as package

FULL_SIZE = 60
ROOMS = ("execution", "venue", "brokers", "ledger", "domain")
LEAST_PCT = 85
MOST_SECONDS = 60
GRACE_S = 60
TREE = Path(package).resolve().parents[1]
COPIED = ("tradeagent", "tests", "trading_agents", "pyproject.toml", "config.example.yml", "docs")
TESTS = ("execution", "venue", "brokers", "ledger", "domain", "conformance", "hyperliquid")
LEFT_OUT = (  # tables and lists of names, and what the tests of research play
    "ledger/migrations/*",
    "ledger/schema.py",
    "ledger/research_schema.py",
    "ledger/minds_schema.py",
    "ledger/algos.py",
    "ledger/studies.py",
    "domain/names.py",
    "execution/backtest_door.py",
)
KILLED, SURVIVED, TIMEOUT = "killed", "survived", "timeouts"


@dataclass(frozen=True, slots=True)
class Reached:
    """Which tests run a line, by (file, line), and the seconds that each test takes."""

    tests: dict[tuple[str, int], set[str]]
    seconds: dict[str, float]

    def of(self, mutant: Mutant) -> list[str]:
        """The tests to play for a change: those of its own room first, then fast before slow."""
        found = {test for line in mutant.lines for test in self.tests.get((mutant.file, line), ())}
        found = found or self.tests.get((mutant.file, mutant.statement), set()) or self._of_file(mutant.file)
        own = f"tests/{mutant.file.split('/')[1]}/"
        chosen, spent = [], 0.0
        for test in sorted(found, key=lambda name: (not name.startswith(own), self.seconds[name], name)):
            spent += self.seconds[test]
            if chosen and spent > MOST_SECONDS:
                break
            chosen.append(test)
        return chosen

    def _of_file(self, name: str) -> set[str]:
        """The tests of what runs when a module is loaded: all that run anything in it, or in its room when it only declares."""
        room = name.rpartition("/")[0]
        inside = {test for (file, _), tests in self.tests.items() if file == name for test in tests}
        return inside or {test for (file, _), tests in self.tests.items() if file.startswith(f"{room}/") for test in tests}


def run(seed: int = 1, size: int = FULL_SIZE, room: str | None = None) -> Figures:
    """`size` changes a room, of the named ones (`venue,brokers`) or of all; survivors are told as they are found."""
    figures = Figures("mutation", seed)
    with tempfile.TemporaryDirectory(prefix="mutation") as scratch:
        copy = copied(Path(scratch))
        reached = listen(copy, Path(scratch))
        for name in room.split(",") if room else ROOMS:
            every = mutants_in(copy, name)
            drawn = random.Random(seed).sample(every, min(size, len(every)))
            ends = [_tried(mutant, copy, reached, figures) for mutant in drawn]
            _sum_up(figures, name, len(every), ends)
    return figures


def _sum_up(figures: Figures, room: str, every: int, ends: list[str]) -> None:
    caught = len(ends) - ends.count(SURVIVED)
    low, high = wilson(caught, len(ends))
    for what in (KILLED, SURVIVED, TIMEOUT):
        figures.count(f"{room} {what}", ends.count(what))
    score = 100 * caught / len(ends)
    said = f"{room}: {caught} of {len(ends)} noticed, of {every:,} there are: {score:.1f} % (95 %: {100 * low:.1f} to {100 * high:.1f} %)"
    print(said, file=sys.stderr, flush=True)
    figures.remarks.append(said)
    if score < LEAST_PCT:
        figures.violations.append(f"{room}: {score:.1f} % of its changes are noticed, at least {LEAST_PCT} % must be")


def _tried(mutant: Mutant, copy: Path, reached: Reached, figures: Figures) -> str:
    tests = reached.of(mutant)
    end = played(mutant, copy, tests, reached) if tests else SURVIVED
    if end != KILLED:
        figures.remarks.append(f"{end}: {mutant}")
        print(f"  {end} {len(tests)} tests: {mutant}", file=sys.stderr, flush=True)
    return end


def copied(scratch: Path) -> Path:
    """A copy of this tree."""
    copy = scratch / "tree"
    for name in COPIED:
        source = TREE / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, copy / name)
    return copy


def listen(copy: Path, scratch: Path) -> Reached:
    """Play every test of the order path once, unchanged; Defect when one fails."""
    rooms = os.pathsep.join(f"{copy}/tradeagent/{room}/*" for room in ROOMS)
    done = _pytest(copy, [f"tests/{name}" for name in TESTS], 7200, REACH_OUT=str(scratch), REACH_ROOMS=rooms)
    if done.returncode != 0:
        raise SystemExit(f"the tests fail without any change:\n{done.stdout[-4000:]}")
    import coverage

    data = coverage.CoverageData(basename=str(scratch / "lines"))
    data.read()
    tests: dict[tuple[str, int], set[str]] = {}
    for file in data.measured_files():
        name = str(Path(file).relative_to(copy))
        for line, names in data.contexts_by_lineno(file).items():
            tests[(name, line)] = {each for each in names if each}
    return Reached(tests, json.loads((scratch / "seconds.json").read_text(encoding="utf-8")))


def mutants_in(copy: Path, room: str) -> list[Mutant]:
    """Every change there is in a room, without what is left out."""
    found = []
    for file in sorted((copy / "tradeagent" / room).rglob("*.py")):
        if not any(file.relative_to(copy / "tradeagent").match(pattern) for pattern in LEFT_OUT) and "migrations" not in file.parts:
            found += mutants_of(str(file.relative_to(copy)), file.read_text(encoding="utf-8"))
    return found


def played(mutant: Mutant, copy: Path, tests: list[str], reached: Reached) -> str:
    """How one change ends when `tests` are played on it."""
    file, listed = copy / mutant.file, copy / "only.txt"
    kept = copy / "kept.py"
    shutil.copy2(file, kept)
    listed.write_text("\n".join(tests), encoding="utf-8")
    file.write_text(mutant.applied(file.read_text(encoding="utf-8")), encoding="utf-8")
    within = GRACE_S + 4 * sum(reached.seconds[test] for test in tests)
    try:
        done = _pytest(copy, sorted({test.partition("::")[0] for test in tests}), within, REACH_ONLY=str(listed))
    except subprocess.TimeoutExpired:
        return TIMEOUT
    finally:
        kept.replace(file)
    ends = {0: SURVIVED, -signal.SIGXCPU: TIMEOUT, -signal.SIGKILL: TIMEOUT}
    return ends.get(done.returncode, KILLED)


def _pytest(copy: Path, places: list[str], within: float, **more: str) -> "subprocess.CompletedProcess[str]":
    """Play tests of the copy, whose package goes before the installed one, for so many seconds of processor time.

    A machine that is busy otherwise may take twenty times as long; TimeoutExpired then.
    """
    paths = os.pathsep.join([str(copy), str(copy / "tests" / "campaigns")])
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "0", **more}
    if "REACH_ONLY" in more:
        environment["PYTHONDONTWRITEBYTECODE"] = "1"  # a change within a second and of the same length would run what was compiled before
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "reach", "-p", "no:cacheprovider", "--hypothesis-seed=1", *places]
    limits = partial(resource.setrlimit, resource.RLIMIT_CPU, (int(within), int(within) + GRACE_S))
    return subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, timeout=20 * within, check=False, preexec_fn=limits
    )


def wilson(caught: int, tried: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson's score interval)."""
    share, rest = caught / tried, z * z / tried
    middle = (share + rest / 2) / (1 + rest)
    half = z / (1 + rest) * math.sqrt(share * (1 - share) / tried + rest / (4 * tried))
    return max(0.0, middle - half), min(1.0, middle + half)
