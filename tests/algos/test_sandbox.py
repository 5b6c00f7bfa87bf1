"""Python algorithms: what comes in, what must come out, and what is said when it does not."""

from decimal import Decimal

import numpy as np
import pytest

from tests.algos.indicator_bars import walk
from tests.algos.sandboxed import run_python
from tradeagent.algos.sandbox import Limits, Sandbox, lookahead_of_python, require_no_lookahead
from tradeagent.algos.sandbox import sandbox as module
from tradeagent.algos.sandbox.process import Process
from tradeagent.domain.errors import InvalidInput, RefusedError, TradeAgentError

BARS = walk(300)
MOMENTUM = """
import numpy as np

def signals(bars, length=20, side="both"):
    close = bars["close"]
    length = int(length)
    out = np.zeros(len(close))
    out[length:] = np.sign(close[length:] - close[:-length])
    return np.maximum(out, 0) if side == "long" else out
"""


def body(*lines: str) -> str:
    return "import numpy as np\ndef signals(bars, **params):\n" + "".join(f"    {line}\n" for line in lines)


def refused(source: str, **more: object) -> TradeAgentError:
    with pytest.raises((InvalidInput, RefusedError)) as caught:
        run_python(source, BARS, {}, **more)
    return caught.value


def test_signals_are_one_whole_number_a_bar() -> None:
    said = run_python(MOMENTUM, BARS, {})
    expected = np.zeros(300, np.int8)
    expected[20:] = np.sign(BARS.close[20:] - BARS.close[:-20])
    assert said.dtype == np.int8 and said.tolist() == expected.tolist()


def test_parameters_arrive_by_name_and_the_bars_are_sent_once() -> None:
    with Sandbox(MOMENTUM, BARS) as sandbox:
        for length in (Decimal("2.0"), 5, 7.0):
            said = sandbox.signals({"length": length, "side": "long"})
            assert said[int(length) :].tolist() == (BARS.close[int(length) :] > BARS.close[: -int(length)]).astype(int).tolist()
        assert sandbox.signals({}, 30).tolist() == run_python(MOMENTUM, BARS.rows(0, 30), {}).tolist()
        assert sandbox.signals({}, 1).tolist() == [0]
        assert len(sandbox.signals({})) == 300


def test_the_bars_are_columns_that_cannot_be_written() -> None:
    source = body(
        "kinds = {name: column.dtype.str for name, column in bars.items()}",
        "wanted = dict.fromkeys(['open', 'high', 'low', 'close', 'volume', 'funding'], '<f8') | {'time': '<i8'}",
        "assert kinds == wanted, kinds",
        "assert bars['time'][1] - bars['time'][0] == 60_000 and np.isnan(bars['funding']).all()",
        "bars['close'][0] = 1",
    )
    assert "read-only" in refused(source).message


def test_what_an_algorithm_keeps_does_not_reach_its_next_run() -> None:
    source = "seen = []\ndef signals(bars):\n    seen.append(1)\n    return [len(seen) - 1] * len(bars['close'])\n"
    with Sandbox(source, BARS) as sandbox:
        assert not sandbox.signals({}).any()
        assert not sandbox.signals({}).any()


@pytest.mark.parametrize(
    "lines",
    [
        "import math, statistics, itertools, functools, collections, numpy.linalg, numpy.random, numpy.fft",
        "from numpy.lib.stride_tricks import sliding_window_view as windows",
        "np.polynomial.Polynomial.fit(bars['time'], bars['close'], 1), np.linalg.svd(np.eye(50)), np.fft.fft(bars['close'])",
        "print(*range(1000))",
    ],
)
def test_what_numbers_need_is_there(lines: str) -> None:
    assert not run_python(body(lines, "return np.zeros(len(bars['close']), bool)"), BARS, {}).any()


def test_no_bars_give_no_signals() -> None:
    source = "def signals(bars):\n    return []\n"
    assert len(run_python(source, BARS.rows(0, 0), {})) == 0
    assert lookahead_of_python(source, BARS.rows(0, 0), {}) is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("return np.zeros(10)", "signals gave 10 instead of 300 rows"),
        ("return np.zeros((300, 2))", "signals gave 300 × 2 instead of 300 rows"),
        ("return None", "signals gave a single value instead of 300 rows"),
        ("return ['buy'] * 300", "signals gave values of type <U3 instead of numbers"),
        ("return np.zeros(300, complex)", "signals gave values of type complex128 instead of numbers"),
        ("return [None] * 300", "signals gave values of type object instead of numbers"),
        ("out = np.zeros(300); out[7] = np.nan; return out", "signals gave nan in row 7, not -1, 0 or 1"),
        ("out = np.zeros(300); out[9] = 0.5; return out", "signals gave 0.5 in row 9, not -1, 0 or 1"),
        ("return np.full(300, 257)", "signals gave 257 in row 0, not -1, 0 or 1"),
    ],
)
def test_an_answer_that_is_none_is_named(lines: str, message: str) -> None:
    error = refused(body(lines))
    assert error.details["reason"] == "algo_output" and message in error.message


@pytest.mark.parametrize(
    ("source", "code", "message", "line"),
    [
        ("def signals(bars):\n    return (\n", "algo_source", "'(' was never closed", 2),
        ("x = 1\n\nif x\n", "algo_source", "expected ':'", 3),
        ("x = 1\n", "algo_source", "it defines no function signals", None),
        ("signals = 3\n", "algo_source", "it defines no function signals", None),
        ("\0", "algo_source", "null bytes", None),
        ("import os\n", "algo_source", "import os is not allowed", 1),
        (body("from pathlib import Path"), "algo_source", "import pathlib is not allowed", 3),
        (body("return 1 / 0"), "algo_raised", "ZeroDivisionError: division by zero", 3),
        (body("def f(): f()", "f()"), "algo_raised", "RecursionError", 3),
        ("def signals(bars, length):\n    return 0\n", "algo_raised", "TypeError", None),
        (body("raise SystemExit"), "algo_raised", "SystemExit", 3),
        (body("raise ValueError('red \\x1b[31m' + 'x' * 10**6)"), "algo_raised", "ValueError: red  [31mxxx", 3),
    ],
)
def test_what_is_wrong_with_the_code_is_said_with_its_line(source: str, code: str, message: str, line: int | None) -> None:
    error = refused(source)
    assert isinstance(error, InvalidInput) and error.details["reason"] == code
    assert message in error.message and len(error.message) < 600
    assert error.details.get("line") == line


@pytest.mark.parametrize("name", ["open", "eval", "exec", "compile", "input", "breakpoint"])
def test_functions_that_reach_out_are_withheld(name: str) -> None:
    error = refused(body(f"{name}('1')"))
    assert error.details["reason"] == "sandbox_denied" and f"{name}() is not allowed" in error.message


LOOKING_AHEAD = {
    "the next close": "close = bars['close']; return np.sign(np.append(close[1:], close[-1]) - close)",
    "the mean of all": "return np.sign(bars['close'] - bars['close'].mean())",
    "the last row": "return np.full(len(bars['close']), 1 if len(bars['close']) == 300 else 0)",
    "luck": "return np.random.default_rng().integers(-1, 2, len(bars['close']))",
    "memory": "rows = len(bars['close']); np.most = max(rows, getattr(np, 'most', 0)); return np.full(rows, int(np.most == rows == 300))",
    "what lies behind the array": (
        "below = bars['close']\n"
        "    while getattr(below, 'base', None) is not None: below = below.base\n"
        "    return np.full(len(bars['close']), int(len(bytes(below)) > 300 * 56))"
    ),
}


@pytest.mark.parametrize("how", LOOKING_AHEAD)
def test_code_that_looks_ahead_is_caught(how: str) -> None:
    source = body(LOOKING_AHEAD[how])
    found = lookahead_of_python(source, BARS, {})
    assert found is not None and found.row < found.cut < 300 and found.value != found.cut_value
    with pytest.raises(InvalidInput, match="look-ahead: the signal of row") as caught:
        require_no_lookahead(source, BARS, {})
    assert caught.value.details["reason"] == "look_ahead"


def test_code_that_does_not_look_ahead_passes() -> None:
    assert lookahead_of_python(MOMENTUM, BARS, {"length": 5}) is None
    require_no_lookahead(MOMENTUM, BARS.rows(0, 3), {"length": 1})


def test_a_run_that_failed_does_not_spoil_the_next() -> None:
    source = body("if params['way'] == 1: 1 / 0", "while params['way'] == 2: pass", "return np.ones(len(bars['close']))")
    with Sandbox(source, BARS, limits=Limits(wall_s=1)) as sandbox:
        for way, code in ((1, "algo_raised"), (2, "sandbox_time")):
            with pytest.raises(TradeAgentError) as caught:
                sandbox.signals({"way": way})
            assert caught.value.details["reason"] == code
            assert sandbox.signals({"way": 0}).all()


class Unlocked(Process):
    """A process on a system without Landlock."""

    def __init__(self, limits: Limits):
        super().__init__(limits)
        self.missing = ("Landlock",)


def test_without_isolation_it_refuses_unless_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Process", Unlocked)
    error = refused(MOMENTUM)
    assert error.details["reason"] == "sandbox_unavailable" and "lacks Landlock" in error.message
    with Sandbox(MOMENTUM, BARS, allow_unsafe=True) as sandbox:
        assert len(sandbox.signals({})) == 300
        assert sandbox.missing == ("Landlock",)
