"""The process that runs a person's routine: `class Config(BaseModel)` and `async def run(config, context)`, confined like an algorithm.

Started as `child.py` is, with its framing and its walls. Requests: `C` source, `D` describe the configuration, `R` run, with the length of
a JSON head (4 bytes), the head, and the columns of the bars behind it. Answers: `=` JSON, `!` what went wrong (JSON).
"""

import builtins
import importlib
import json
import runpy
import sys
import traceback
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

_CHILD = runpy.run_path(str(Path(__file__).with_name("child.py")))
_Wrong: Any = _CHILD["Wrong"]
_Desk: Any = _CHILD["Desk"]
_ALLOWED = (*_CHILD["ALLOWED"], "__future__", "dataclasses", "decimal", "enum", "json", "pydantic", "re", "typing")
_RESULTS = "tradeagent.agents.routines"
_FILE = "<routine>"
_MOST_BYTES = 12_000
_FRAMES = 5


@dataclass(frozen=True)
class RoutineResult:
    """What a routine found: a text, rows of a table, numbers to draw, and texts by title. All of it JSON."""

    text: str = ""
    table: Sequence[Any] = ()
    chart: Any = None
    sections: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """The instant (UTC ms), the agent's name, markets and config values, and of each market its closed bars (columns time, open, high, low,
    close, volume) and funding ([hour, percent per hour])."""

    now_ms: int
    agent: str
    markets: Sequence[str]
    interval_ms: int
    configs: Mapping[str, Any]
    bars: Mapping[str, Mapping[str, Any]]
    funding: Mapping[str, Sequence[Any]]


def _import(name: str, *rest: object) -> types.ModuleType:
    if name == _RESULTS:
        return sys.modules[_RESULTS]
    if name.partition(".")[0] not in _ALLOWED:
        raise _Wrong("import", f"import {name} is not allowed")
    return builtins.__import__(name, *rest)  # type: ignore[arg-type]  # The same arguments, handed on.


def _module(source: str) -> types.ModuleType:
    """The routine as a module of its own, so that pydantic finds the names its annotations use."""
    code = _CHILD["_compiled"](source, _FILE)
    module = types.ModuleType("routine")
    given = _CHILD["_namespace"]()["__builtins__"]
    given["__import__"] = _import
    module.__dict__.update({"__builtins__": given, "RoutineResult": RoutineResult})
    sys.modules["routine"] = module
    exec(code, module.__dict__)
    return module


def _config_class(module: types.ModuleType) -> Any:
    from pydantic import BaseModel

    found = getattr(module, "Config", None)
    if not (isinstance(found, type) and issubclass(found, BaseModel)):
        raise _Wrong("source", "it defines no class Config(BaseModel)")
    return found


def _configured(module: types.ModuleType, values: Mapping[str, Any]) -> Any:
    from pydantic import ValidationError

    wanted = _config_class(module)
    unknown = sorted(set(values) - {name for key, info in wanted.model_fields.items() for name in (key, info.alias)})
    if unknown:
        raise _Wrong("config", f"config: no field {unknown[0]!r}; there are {', '.join(wanted.model_fields) or 'none'}")
    try:
        return wanted.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise _Wrong("config", f"config.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _awaited(module: types.ModuleType, config: Any, context: Context) -> object:
    run = getattr(module, "run", None)
    if not callable(run):
        raise _Wrong("source", "it defines no async def run(config, context)")
    running = run(config, context)
    if not isinstance(running, types.CoroutineType):
        raise _Wrong("source", "run is no async function")
    while True:
        try:
            waits_for = running.send(None)
        except StopIteration as end:
            return end.value
        if waits_for is not None:
            raise _Wrong("denied", "it waits for something: a routine computes from what it is given")


def _answer_of(said: object) -> bytes:
    if isinstance(said, str):
        said = RoutineResult(said)
    if not isinstance(said, RoutineResult):
        raise _Wrong("output", f"run gave {type(said).__name__} instead of a text or a RoutineResult")
    if not (isinstance(said.text, str) and isinstance(said.sections, Mapping)):
        raise _Wrong("output", "RoutineResult: text is a str, sections a dict of texts by title")
    shown = {
        name: value for name in ("text", "table", "chart", "sections") if (value := _plain(getattr(said, name))) not in ("", [], {}, None)
    }
    try:
        answer = json.dumps(shown, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError, UnicodeEncodeError) as error:
        raise _Wrong("output", f"the result is no JSON: {error}") from None
    return _bounded("result", answer)


def _bounded(what: str, answer: bytes) -> bytes:
    if len(answer) > _MOST_BYTES:
        raise _Wrong("output", f"the {what} has {len(answer):,} bytes, at most {_MOST_BYTES:,} are passed on")
    return answer


def _plain(value: Any) -> Any:
    """NumPy's and pydantic's values as JSON has them; anything else as it is."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    for convert in ("tolist", "model_dump"):
        if hasattr(value, convert):
            return _plain(getattr(value, convert)())
    return float(value) if type(value).__name__ == "Decimal" else value


def _context(body: bytes) -> tuple[dict[str, Any], Context]:
    """The values of the configuration, and the rest of a request."""
    import numpy as np

    length = int.from_bytes(body[:4], "little")
    head = json.loads(body[4 : 4 + length])
    at, bars = 4 + length, {}
    for market, rows in head.pop("rows"):
        columns = {}
        for name in ("time", "open", "high", "low", "close", "volume"):
            columns[name] = np.frombuffer(body, "i8" if name == "time" else "f8", rows, at)
            at += 8 * rows
        bars[market] = columns
    return head.pop("config"), Context(**head, bars=bars)


class Desk(_Desk):  # type: ignore[misc]  # A class of a file that is run, not imported.
    """Answers for one routine."""

    def heed(self, letter: bytes, body: bytes) -> None:
        if letter == b"C":
            self._source = body.decode()
        elif letter == b"D":
            self.answer(self._schema)
        else:
            self.answer(partial(self._ran, body))

    def described(self, error: BaseException) -> dict[str, object]:
        """What went wrong, and through which lines of the routine."""
        frames = [at for at in traceback.extract_tb(error.__traceback__) if at.filename == _FILE][-_FRAMES:]
        told = super().described(error)
        line = told["line"] or (frames[-1].lineno if frames else None)
        return {**told, "line": line, "trace": [f"line {at.lineno} in {at.name}" for at in frames]}

    def _schema(self) -> bytes:
        schema = _config_class(_module(self._source)).model_json_schema()
        return _bounded("schema of Config", json.dumps(schema, default=str).encode())

    def _ran(self, body: bytes) -> bytes:
        values, context = _context(body)
        module = _module(self._source)
        return _answer_of(_awaited(module, _configured(module, values), context))


def _prepare(packages: str) -> list[str]:
    """Import all that may be asked for while there are no walls yet. The folders that stay readable."""
    sys.path.append(packages)
    for name in (*_ALLOWED, "numpy.random"):
        importlib.import_module(name)
    results = types.ModuleType(_RESULTS)
    results.__dict__["RoutineResult"] = RoutineResult
    sys.modules[_RESULTS] = results
    from pydantic import BaseModel, Field

    class Warm(BaseModel):
        number: float = Field(default=1, ge=0)
        texts: list[str] = []

    Warm.model_validate({"texts": ["a"]})
    Warm.model_json_schema()
    return [f"{packages}/{name}" for name in ("numpy", "numpy.libs", "pydantic", "pydantic_core")]


if __name__ == "__main__":
    _CHILD["main"](sys.argv[1:], _prepare, Desk)
