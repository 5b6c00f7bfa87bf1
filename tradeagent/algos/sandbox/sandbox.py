"""Python algorithms: `def signals(bars, **params)` run on bars in a process without files, network or anybody to talk to.

Bars and signals travel as raw columns over pipes, which NumPy maps without copying; Arrow would add its 40 MB to every child for nothing.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import NoReturn, Self

import numpy as np
import numpy.typing as npt

from tradeagent.algos.bars import Bars
from tradeagent.algos.sandbox.child import ALLOWED
from tradeagent.algos.sandbox.process import GATE, Limits, Process
from tradeagent.domain.errors import InvalidInput, RefusedError, TradeAgentError

Said = npt.NDArray[np.int8]
Params = Mapping[str, Decimal | float | int | str]
COLUMNS = ("time", "open", "high", "low", "close", "volume", "funding")
CUTS = 20
_LONGEST_TEXT = 16_384
_DEFAULT = Limits()


@dataclass(frozen=True, slots=True)
class Difference:
    """The first row whose signal changes when the bars from `cut` on are taken away: `cut_value` instead of `value`."""

    row: int
    cut: int
    value: int
    cut_value: int


class Sandbox:
    """One algorithm on one market's bars, for any number of parameters; the bars are sent once. After a failure the next run starts anew.

    RefusedError `sandbox_unavailable` where the system lacks Landlock or seccomp, unless `allow_unsafe`; `missing` says what it lacks.
    """

    def __init__(self, source: str, bars: Bars, *, limits: Limits = _DEFAULT, allow_unsafe: bool = False):
        self._source = source
        self._bars = bars
        self._limits = limits
        self._allow_unsafe = allow_unsafe
        self._process: Process | None = None
        self._sent_rows = -1
        self.missing: Sequence[str] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None

    def signals(self, params: Params, rows: int | None = None) -> Said:
        """+1, 0 or −1 a row, on the first `rows` bars (None: all).

        InvalidInput: `algo_source` (syntax, no `signals`, an import), `algo_raised`, `algo_output` (length, type, value).
        RefusedError: `sandbox_denied`, `sandbox_memory`, `sandbox_time`, `sandbox_crashed`, `sandbox_unavailable`.
        """
        count = len(self._bars) if rows is None else min(rows, len(self._bars))
        request = json.dumps({name: float(value) if isinstance(value, Decimal) else value for name, value in params.items()})
        try:
            process = self._started()
            if count != self._sent_rows:
                process.send(b"B", *_packed(self._bars.rows(0, count)))
                self._sent_rows = count
            process.send(b"R", request.encode())
            letter, body = process.answer(max(_LONGEST_TEXT, count))
        except BaseException:
            self.close()
            raise
        if letter == b"!":
            self._report(body)
        said = np.frombuffer(body, np.int8)
        if letter != b"=" or len(said) != count or not np.isin(said, (-1, 0, 1)).all():
            self._garbled()
        return said.copy()

    def look_ahead(self, params: Params) -> Difference | None:
        """The first difference when the bars are cut at up to 20 evenly spaced rows, None when the past never changes.

        In a new process and from the shortest cut on, so that nothing can be remembered of bars that are not given yet.
        """
        self.close()
        parts = {cut: self.signals(params, cut) for cut in _cuts(len(self._bars))}
        whole = self.signals(params)
        for cut, part in parts.items():
            changed = np.flatnonzero(part != whole[:cut])
            if len(changed):
                row = int(changed[0])
                return Difference(row, cut, int(whole[row]), int(part[row]))
        return None

    def _started(self) -> Process:
        if self._process is None:
            self._process = process = Process(self._limits)
            self._sent_rows = -1
            self.missing = process.missing
            if process.missing and not self._allow_unsafe:
                raise RefusedError(
                    f"this system cannot lock up Python algorithms: it lacks {' and '.join(process.missing)}",
                    hint="run it on Linux; if you wrote it yourself, add --unsafe-python, or set sandbox.allow_unsafe in config.yml",
                    details={"reason": "sandbox_unavailable", "missing": list(process.missing)},
                    code=GATE,
                )
            process.send(b"C", self._source.encode(errors="replace"))
        return self._process

    def _garbled(self) -> NoReturn:
        self.close()
        raise RefusedError("the algorithm's process wrote something that is no answer", details={"reason": "sandbox_crashed"}, code=GATE)

    def _report(self, body: bytes) -> NoReturn:
        """The error that the child described. Its words are somebody else's: cleaned and cut."""
        try:
            told = json.loads(body)
            kind, line, message = str(told["kind"]), told["line"], _clean(str(told["message"]))
        except (ValueError, KeyError, TypeError):
            self._garbled()
        raise _error(kind, message, line if isinstance(line, int) else None, self._limits)


def _error(kind: str, message: str, line: int | None, limits: Limits) -> TradeAgentError:
    where = f"line {line} of the algorithm" if line else "the algorithm"
    details = {"line": line} if line else {}
    if kind == "memory":
        hint = "the memory is fixed: keep fewer and smaller arrays, or run it on fewer bars"
        return RefusedError(
            f"{where} needs more than {limits.memory_mb:,} MB", hint=hint, details={"reason": "sandbox_memory", **details}, code=GATE
        )
    if kind == "denied":
        hint = "an algorithm may compute, and nothing else: bars and parameters come in, signals go out"
        return RefusedError(
            f"{where} tried what the sandbox forbids: {message}", hint=hint, details={"reason": "sandbox_denied", **details}, code=GATE
        )
    hints = {
        "source": "write def signals(bars, **params) that returns +1, 0 or -1 for each bar",
        "import": f"allowed are {', '.join(ALLOWED)}",
        "output": "return an array as long as bars['close'] of +1, 0 and -1; 0 while there is nothing to say",
        "raised": "correct that line, then check it with `tradeagent algo validate FILE`",
    }
    reason = {"output": "algo_output", "raised": "algo_raised"}.get(kind, "algo_source")
    return InvalidInput(f"{where}: {message}", hint=hints.get(kind, ""), details={"reason": reason, **details})


def _clean(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)[:500]


def _packed(bars: Bars) -> tuple[bytes | memoryview, ...]:
    """Length and text of a JSON head, then the columns."""
    head = json.dumps({"rows": len(bars), "columns": [(name, "i8" if name == "time" else "f8") for name in COLUMNS]}).encode()
    columns = (np.ascontiguousarray(getattr(bars, name), np.int64 if name == "time" else np.float64) for name in COLUMNS)
    return len(head).to_bytes(4, "little"), head, *(column.view(np.uint8).data for column in columns)


def _cuts(rows: int) -> list[int]:
    return sorted({round(rows * step / (CUTS + 1)) for step in range(1, CUTS + 1)} - {0, rows})


def lookahead_of_python(
    source: str, bars: Bars, params: Params, *, limits: Limits = _DEFAULT, allow_unsafe: bool = False
) -> Difference | None:
    """Does the past change when the future is cut? The first difference, or None."""
    with Sandbox(source, bars, limits=limits, allow_unsafe=allow_unsafe) as sandbox:
        return sandbox.look_ahead(params)


def require_no_lookahead(source: str, bars: Bars, params: Params, *, limits: Limits = _DEFAULT, allow_unsafe: bool = False) -> None:
    """InvalidInput (reason `look_ahead`) when a signal changes once later bars are taken away; to be asked before any result is shown."""
    found = lookahead_of_python(source, bars, params, limits=limits, allow_unsafe=allow_unsafe)
    if found is not None:
        raise InvalidInput(
            f"look-ahead: the signal of row {found.row} is {found.value:+d}, but {found.cut_value:+d} when the bars from row {found.cut} "
            "on are taken away",
            hint="let row i use rows up to i only, and seed any random numbers",
            details={"reason": "look_ahead", "row": found.row, "cut": found.cut, "value": found.value, "cut_value": found.cut_value},
        )
