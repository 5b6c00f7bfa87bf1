"""The process that runs a Python algorithm: confines itself, then answers requests over two pipes until its parent hangs up.

Started by path with `python -I -S -B`; knows nothing of this package. A request is a letter, a length (8 bytes, little endian) and as many
bytes: `B` a JSON head and the columns of the bars behind it, `C` source, `R` the parameters as JSON. An answer has the same form: `+` ready
(JSON), `=` signals (one int8 a row), `!` what went wrong (JSON). Whoever reads them trusts none: the code may have written them.
"""

import builtins
import importlib
import json
import os
import runpy
import struct
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

ALLOWED = ("collections", "functools", "itertools", "math", "numpy", "statistics")
_WITHHELD = ("open", "eval", "exec", "compile", "input", "breakpoint", "exit", "quit", "help", "__import__")
_FILE = "<algorithm>"
_HEAD = struct.Struct("<cQ")
_LONGEST = 400


class Wrong(Exception):
    """What the algorithm did wrong: `kind` is one of source, import, denied, output."""

    def __init__(self, kind: str, message: str, line: int | None = None):
        super().__init__(message)
        self.kind = kind
        self.line = line


def _import(name: str, *rest: object) -> types.ModuleType:
    if name.partition(".")[0] not in ALLOWED:
        raise Wrong("import", f"import {name} is not allowed")
    return builtins.__import__(name, *rest)  # type: ignore[arg-type]  # The same arguments, handed on.


def _withheld(name: str) -> Callable[..., object]:
    def refuse(*_: object, **__: object) -> object:
        raise Wrong("denied", f"{name}() is not allowed")

    return refuse


def _namespace() -> dict[str, object]:
    """What the code finds: the built-in functions but those that reach out. Manners only: the walls are the operating system's."""
    given: dict[str, object] = {name: getattr(builtins, name) for name in dir(builtins)}
    given.update({name: _withheld(name) for name in _WITHHELD})
    given["__import__"] = _import
    return {"__name__": "algorithm", "__builtins__": given}


def _compiled(source: str, file: str) -> types.CodeType:
    try:
        return compile(source, file, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise Wrong("source", f"{error.msg}", error.lineno) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise Wrong("source", f"{error}") from None


def _signals_of(source: str) -> Callable[..., object]:
    code, space = _compiled(source, _FILE), _namespace()
    exec(code, space)
    signals = space.get("signals")
    if not callable(signals):
        raise Wrong("source", "it defines no function signals(bars, **params)")
    return signals


def _answer_of(said: object, rows: int) -> bytes:
    import numpy as np

    values = np.asarray(said)
    if values.shape != (rows,):
        shape = " × ".join(map(str, values.shape)) or "a single value"
        raise Wrong("output", f"signals gave {shape} instead of {rows} rows")
    if values.dtype.kind not in "biuf":
        raise Wrong("output", f"signals gave values of type {values.dtype} instead of numbers")
    wrong = np.flatnonzero(~((values == 0) | (values == 1) | (values == -1)))
    if len(wrong):
        raise Wrong("output", f"signals gave {values[wrong[0]]} in row {wrong[0]}, not -1, 0 or 1")
    return bytes(values.astype(np.int8).tobytes())


def _line_of(error: BaseException) -> int | None:
    """The line of the algorithm in which it happened, the innermost one."""
    found, at = None, error.__traceback__
    while at is not None:
        if at.tb_frame.f_code.co_filename == _FILE:
            found = at.tb_lineno
        at = at.tb_next
    return found


class Desk:
    """Bars and source as they came last, and the pipe to answer on."""

    def __init__(self, requests: int, answers: int):
        self._requests = os.fdopen(requests, "rb")
        self._answers = answers
        self._bars: Mapping[str, object] = {}
        self._rows = 0
        self._source = ""

    def serve(self) -> None:
        while head := self._requests.read(_HEAD.size):
            letter, length = _HEAD.unpack(head)
            self.heed(letter, self._requests.read(length))

    def heed(self, letter: bytes, body: bytes) -> None:
        if letter == b"B":
            self._take(body)
        elif letter == b"C":
            self._source = body.decode()
        else:
            self.answer(partial(self._ran, json.loads(body)))

    def answer(self, work: Callable[[], bytes]) -> None:
        try:
            answer = work()
        except BaseException as error:  # noqa: BLE001 -- the boundary of a process: whatever the code raised is what is reported
            self.say(b"!", json.dumps(self.described(error)).encode())
        else:
            self.say(b"=", answer)

    def described(self, error: BaseException) -> dict[str, object]:
        """What went wrong, and in which line."""
        line = _line_of(error)
        if isinstance(error, Wrong):
            return {"kind": error.kind, "message": str(error)[:_LONGEST], "line": error.line or line}
        if isinstance(error, MemoryError):
            return {"kind": "memory", "message": "", "line": line}
        kind = "denied" if isinstance(error, PermissionError) else "raised"
        return {"kind": kind, "message": f"{type(error).__name__}: {error}"[:_LONGEST], "line": line}

    def say(self, letter: bytes, body: bytes) -> None:
        view = memoryview(_HEAD.pack(letter, len(body)) + body)
        while view:
            view = view[os.write(self._answers, view) :]

    def _take(self, body: bytes) -> None:
        import numpy as np

        length = int.from_bytes(body[:4], "little")
        head = json.loads(body[4 : 4 + length])
        self._rows = head["rows"]
        at, columns = 4 + length, {}
        for name, kind in head["columns"]:
            columns[name] = np.frombuffer(body, kind, self._rows, at)
            at += 8 * self._rows
        self._bars = columns

    def _ran(self, params: dict[str, object]) -> bytes:
        return _answer_of(_signals_of(self._source)(dict(self._bars), **params), self._rows)


def _prepare(packages: str) -> list[str]:
    """Import everything that is allowed while there are no walls yet. The folders that stay readable."""
    sys.path.append(packages)
    for name in (*ALLOWED, "numpy.random"):
        importlib.import_module(name)
    return [f"{packages}/{name}" for name in ("numpy", "numpy.libs")]


def main(arguments: Sequence[str], prepare: Callable[[str], list[str]] = _prepare, desk: type[Desk] = Desk) -> None:
    """Arguments: MB of memory, CPU seconds, the folder NumPy lies in."""
    memory_mb, cpu_s, packages = int(arguments[0]), int(arguments[1]), arguments[2]
    readable = prepare(packages)
    requests, answers, nowhere = os.dup(0), os.dup(1), os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.close(nowhere)
    confine = runpy.run_path(str(Path(__file__).with_name("confine.py")))["confine"]
    own = [folder for folder in [*sys.path[:-1], *readable] if Path(folder).is_dir()]
    missing = confine(own, memory_mb, cpu_s)
    served = desk(requests, answers)
    served.say(b"+", json.dumps({"missing": missing}).encode())
    served.serve()


if __name__ == "__main__":
    main(sys.argv[1:])
