"""Routines: a person's own Python helpers beside an agent (agents.md §6), found, read again when they change, and run confined.

A routine is `NAME.py` with a docstring, `class Config(BaseModel)` and `async def run(config, context)`. It computes from the market as of
one instant and reaches nothing else: no file, no network, no clock. What is wrong with one is said once for each content it has.
"""

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tradeagent.algos.sandbox import Limits
from tradeagent.algos.sandbox.process import GATE, Process
from tradeagent.domain.clock import DAY_MS
from tradeagent.domain.errors import InvalidInput, NotFound, RefusedError, TradeAgentError, near
from tradeagent.workspace.files import content_hash, read_text
from tradeagent.workspace.names import SLUG
from tradeagent.workspace.plain_text import visible

if TYPE_CHECKING:
    from tradeagent.market.feed import MarketFeed
    from tradeagent.market.series import BarSeries

MAX_SOURCE, MOST_ROUTINES = 64_000, 100
LIMITS = Limits(cpu_s=120, wall_s=120)
BROKEN = "routine_broken"
_LONGEST_ANSWER = 64_000
_NAME_HINT = "name it like funding_scan.py, with a-z, 0-9 and _"
_FORM_HINT = 'write """What it finds.""", class Config(BaseModel) and async def run(config, context)'


@dataclass(frozen=True, slots=True)
class Routine:
    """One file. `problem` says why it cannot run, as far as can be seen without running it; empty when it looks right."""

    name: str
    path: Path
    description: str
    source: str
    problem: str = ""

    @property
    def hash(self) -> str:
        return content_hash(self.source)


@dataclass(frozen=True, slots=True)
class Sight:
    """What a routine is shown: an instant (UTC ms), the agent, its config values, and bars and funding that were known then."""

    now_ms: int
    agent: str
    configs: Mapping[str, Any]
    interval_ms: int
    bars: Mapping[str, "BarSeries"]
    funding: Mapping[str, Sequence[tuple[int, float]]]


def _unwatched(_process: Process) -> None:
    """Nobody ends it early."""


class Routines:
    """The routines of one agent: `folders` nearest first, a name in a nearer one hides the same name farther away.

    `found_broken` are sentences for incidents that nobody has taken yet: one for each routine, content and fault.
    """

    def __init__(self, folders: Sequence[Path], *, limits: Limits = LIMITS, allow_unsafe: bool = False) -> None:
        self._folders = tuple(folders)
        self._limits = limits
        self._allow_unsafe = allow_unsafe
        self._read: dict[Path, tuple[tuple[int, int], Routine]] = {}
        self._said: set[tuple[str, str, str]] = set()
        self.found_broken: list[str] = []

    def listed(self) -> tuple[Routine, ...]:
        """By name, as the files are now; at most 100."""
        found: dict[str, Routine] = {}
        for folder in self._folders:
            for path in sorted(folder.glob("*.py")) if folder.is_dir() else ():
                if not path.name.startswith(("_", ".")) and path.stem not in found:
                    found[path.stem] = self._at(path)
        routines = tuple(found[name] for name in sorted(found)[:MOST_ROUTINES])
        for routine in routines:
            if routine.problem:
                self._report(routine, _broken(routine.name, routine.problem))
        return routines

    def get(self, name: str) -> Routine:
        """NotFound names the nearest; InvalidInput `routine_broken` says what is wrong with it."""
        listed = {routine.name: routine for routine in self.listed()}
        if name not in listed:
            hint = near(name, listed) if listed else "there are none: the user writes them, in routines/ of the agent or the workspace"
            raise NotFound(f"name: no routine {name!r}", hint=hint)
        routine = listed[name]
        if routine.problem:
            raise _broken(name, routine.problem)
        return routine

    def schema(self, name: str, on_start: Callable[[Process], None] = _unwatched) -> dict[str, Any]:
        """The JSON schema of a routine's Config. Errors as `run`."""
        return self._asked(self.get(name), on_start, b"D")

    def run(self, name: str, config: Mapping[str, Any], sight: Sight, on_start: Callable[[Process], None] = _unwatched) -> dict[str, Any]:
        """What it found: `text`, `table`, `chart`, `sections`, those that it gave. `on_start` gets the process, to kill it from outside.

        InvalidInput for a config it does not take. InvalidInput `routine_broken` (it raised, or gave no result) and RefusedError (too slow,
        too much memory, something forbidden), which are in `found_broken` too; RefusedError where a system cannot confine it.
        """
        found = self._asked(self.get(name), on_start, b"R", *_packed(config, sight))
        return {key: found[key] for key in ("text", "table", "chart", "sections") if key in found}

    def take_broken(self) -> list[str]:
        """The sentences for incidents, once."""
        taken, self.found_broken = self.found_broken, []
        return taken

    def _at(self, path: Path) -> Routine:
        """A routine as its file is now, read again when the file changed."""
        try:
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            if path not in self._read or self._read[path][0] != stamp:
                self._read[path] = (stamp, _parsed(path, stat.st_size))
            return self._read[path][1]
        except (OSError, TradeAgentError) as error:
            return Routine(path.stem, path, "", "", f"it cannot be read: {_line(str(error))}")

    def _asked(self, routine: Routine, on_start: Callable[[Process], None], letter: bytes, *request: bytes | memoryview) -> dict[str, Any]:
        process = Process(self._limits, "routine_child.py", f"routine {routine.name}")
        on_start(process)
        try:
            if process.missing and not self._allow_unsafe:
                raise RefusedError(
                    f"this system cannot lock up routines: it lacks {' and '.join(process.missing)}",
                    hint="run it on Linux; for files you wrote yourself set sandbox.allow_unsafe in config.yml",
                    details={"reason": "sandbox_unavailable", "missing": list(process.missing)},
                    code=GATE,
                )
            process.send(b"C", routine.source.encode(errors="replace"))
            process.send(letter, *request)
            return self._understood(routine, *process.answer(_LONGEST_ANSWER))
        except TradeAgentError as error:
            is_its_fault = error.code in (GATE, BROKEN) and error.details.get("reason") != "sandbox_unavailable"
            if is_its_fault and not process.is_killed:
                self._report(routine, error)
            raise
        finally:
            process.stop()

    def _understood(self, routine: Routine, letter: bytes, body: bytes) -> dict[str, Any]:
        """An answer, which somebody else's code may have written: it is looked at before it is believed."""
        try:
            told = json.loads(body)
            if letter == b"=":
                return dict(_shown(told))
            kind, message, line = str(told["kind"]), _line(str(told["message"])), told["line"]
            trace = [_line(str(frame)) for frame in told["trace"][:5]]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise _broken(routine.name, "it wrote something that is no answer") from None
        if kind == "config":
            raise InvalidInput(f"routine {routine.name}: {message}", hint=f"list_routines with name {routine.name} shows its fields")
        if kind == "memory":
            message = f"it needs more than {self._limits.memory_mb:,} MB"
        where = f"line {line}: " if isinstance(line, int) else ""
        if kind in ("memory", "denied"):
            details = {"reason": f"sandbox_{kind}", "trace": trace}
            hint = "a routine may compute, and nothing else; the user corrects it"
            raise RefusedError(f"routine {routine.name}: {where}{message}", hint=hint, details=details, code=GATE)
        raise _broken(routine.name, f"{where}{message}", trace)

    def _report(self, routine: Routine, error: TradeAgentError) -> None:
        said = (routine.name, routine.hash, error.message)
        if said not in self._said:
            self._said.add(said)
            steps = " → ".join(error.details.get("trace", ()))
            self.found_broken.append(f"{error.message} ({steps})" if steps else error.message)


def _parsed(path: Path, size: int) -> Routine:
    if not SLUG.fullmatch(path.stem):
        return Routine(path.stem, path, "", "", f"its name is no name for a tool; {_NAME_HINT}")
    if size > MAX_SOURCE:
        return Routine(path.stem, path, "", "", f"it has {size:,} bytes, at most {MAX_SOURCE:,}")
    source = read_text(path)
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = f"line {error.lineno}: {error.msg}" if isinstance(error, SyntaxError) else str(error)
        return Routine(path.stem, path, "", source, where)
    doc = (ast.get_docstring(tree) or "").strip().split("\n")[0]
    has_config = any(isinstance(node, ast.ClassDef) and node.name == "Config" for node in tree.body)
    has_run = any(isinstance(node, ast.AsyncFunctionDef) and node.name == "run" for node in tree.body)
    lacks = [what for what, there in (("a docstring", doc), ("class Config", has_config), ("async def run", has_run)) if not there]
    return Routine(path.stem, path, _line(doc), source, f"it lacks {' and '.join(lacks)}; {_FORM_HINT}" if lacks else "")


def sight_of(feed: "MarketFeed", now_ms: int, agent: str, configs: Mapping[str, Any], interval_ms: int | None, count: int) -> Sight:
    """What was known at an instant: of each market its newest closed bars, and the funding of the last week."""
    interval = interval_ms or max(feed.interval_ms(market) for market in feed.markets)
    bars = {market: feed.history(market, interval, now_ms, count) for market in feed.markets}
    rates = {market: feed.funding(market, now_ms - 7 * DAY_MS, now_ms) for market in feed.markets}
    funding = {market: [(hour, rate / 1e8) for hour, rate in found] for market, found in rates.items()}
    return Sight(now_ms, agent, configs, interval, bars, funding)


def _packed(config: Mapping[str, Any], sight: Sight) -> tuple[bytes | memoryview, ...]:
    """Length and text of a JSON head, then the columns of each market."""
    head = {
        "config": config,
        "now_ms": sight.now_ms,
        "agent": sight.agent,
        "configs": sight.configs,
        "interval_ms": sight.interval_ms,
        "markets": list(sight.bars),
        "funding": sight.funding,
        "rows": [(market, len(bars)) for market, bars in sight.bars.items()],
    }
    text = json.dumps(head, default=float).encode()
    columns = (
        np.ascontiguousarray(column, np.int64 if index == 0 else np.float64).view(np.uint8).data
        for bars in sight.bars.values()
        for index, column in enumerate((bars.ts, bars.open, bars.high, bars.low, bars.close, bars.volume))
    )
    return len(text).to_bytes(4, "little"), text, *columns


def _shown(value: Any) -> Any:
    """A result without characters that nobody sees."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, list):
        return [_shown(one) for one in value]
    if isinstance(value, dict):
        return {visible(key): _shown(one) for key, one in value.items()}
    return value


def _line(text: str) -> str:
    return " ".join(visible(text).split())[:400]


def _broken(name: str, what: str, trace: Sequence[str] = ()) -> InvalidInput:
    hint = "the user corrects it; go on without it"
    return InvalidInput(f"routine {name}: {what}", hint=hint, details={"trace": list(trace)}, code=BROKEN)
