"""Conditions: what they mean on each bar, against a slow reading of the same tree, and what is said about the ones that are wrong."""

import math
from collections.abc import Callable
from decimal import Decimal
from itertools import product

import numpy as np
import pytest

from tradeagent.algos.bars import Floats
from tradeagent.algos.expressions import FUNCTIONS, MAX_CHARACTERS, MAX_DEPTH, Name, condition, formula
from tradeagent.algos.formulas import Formulas, Value, look_back
from tradeagent.domain.errors import InvalidInput

COLUMNS = ("close", "open", "rsi", "bb.upper")
Tree = tuple[object, ...]


def formulas(columns: dict[str, list[float]], tie: float = 0.0) -> Formulas:
    """Names stand for columns; a column of one value is a constant."""
    arrays: dict[str, Value] = {name: lasting(values) if len(values) > 1 else values[0] for name, values in columns.items()}
    return Formulas(max(map(len, columns.values())), lambda name, _: arrays[name.text], tie)


def lasting(values: list[float]) -> Floats:
    """A column that nobody may change, as those of bars and indicators are."""
    column = np.array(values)
    column.setflags(write=False)
    return column


def truth(text: str, tie: float = 0.0, **columns: list[float]) -> list[int]:
    return formulas(columns, tie).truth(condition(text)).astype(int).tolist()


def number(text: str, **columns: list[float]) -> list[float]:
    return formulas(columns).number(formula(text)).tolist()


NAN = math.nan


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a > 2", [0, 0, 1, 0]),
        ("a >= 2", [0, 1, 1, 0]),
        ("a == 2 or a == 1", [1, 1, 0, 0]),
        ("a != 2", [1, 0, 1, 0]),
        ("not a > 2", [1, 1, 0, 0]),
        ("not (a > 2 or a < 2)", [0, 1, 0, 0]),
        ("1 < a < 3", [0, 1, 0, 0]),
        ("a > 1 and a < 3 or a == 1", [1, 1, 0, 0]),
        ("a > 1 and (a < 3 or a == 1)", [0, 1, 0, 0]),
        ("1 + 2 * 3 == 7", [1, 1, 1, 1]),
        ("10 - 4 - 3 == 3", [1, 1, 1, 1]),
        ("-a + 1 < 0", [0, 1, 1, 0]),
        ("8 / 4 / 2 == 1", [1, 1, 1, 1]),
        ("min(a, 2) == 2 and max(a, 2, 0.5) == 3", [0, 0, 1, 0]),
        ("abs(a - 2) == 1", [1, 0, 1, 0]),
    ],
)
def test_operators_bind_as_in_arithmetic_and_nan_is_never_true(text: str, expected: list[int]) -> None:
    assert truth(text, a=[1, 2, 3, NAN]) == expected


@pytest.mark.parametrize("asked", ["".join(each) for each in product("<>", repeat=4)])
def test_both_sides_of_the_same_columns_in_any_order_are_what_each_alone_is(asked: str) -> None:
    columns = {"close": [1.0, 2.0, 3.0, NAN, 2.0], "open": [2.0, 2.0, 1.0, 1.0, NAN]}
    both = formulas(columns)
    for sign in asked:
        found = both.truth(condition(f"close {sign} open"))
        assert found.astype(int).tolist() == ([0, 0, 1, 0, 0] if sign == ">" else [1, 0, 0, 0, 0])
        assert both.truth(condition(f"open {sign} close")).astype(int).tolist() == ([1, 0, 0, 0, 0] if sign == ">" else [0, 0, 1, 0, 0])
        found[:] = True  # whoever asked may write into the answer


def test_a_cross_is_one_bar_long_and_needs_both_bars() -> None:
    a, b = [1.0, 3, 3, 1, 2, 3, NAN, 3], [2.0, 2, 2, 2, 2, 2, 2, 2]
    assert truth("cross_above(a, b)", a=a, b=b) == [0, 1, 0, 0, 0, 1, 0, 0]
    assert truth("cross_below(a, b)", a=a, b=b) == [0, 0, 0, 1, 0, 0, 0, 0]
    assert truth("cross_above(a, 2)", a=a) == [0, 1, 0, 0, 0, 1, 0, 0]
    assert truth("not cross_above(a, b)", a=a, b=b) == [0, 0, 1, 1, 1, 0, 0, 0], "unknown on the first bar and beside NaN"


def test_windows_look_back_and_never_ahead() -> None:
    x = [1.0, 2, 3, 2, 5, 6]
    assert truth("rising(x, 2)", x=x) == [0, 0, 1, 0, 0, 1]
    assert truth("falling(x, 1)", x=x) == [0, 0, 0, 1, 0, 0]
    np.testing.assert_array_equal(number("highest(x, 3)", x=x), [NAN, NAN, 3, 3, 5, 6])
    np.testing.assert_array_equal(number("lowest(x, 2)", x=x), [NAN, 1, 2, 2, 2, 5])
    np.testing.assert_array_equal(number("shift(x, 2)", x=x), [NAN, NAN, 1, 2, 3, 2])
    np.testing.assert_array_equal(number("shift(x, 0) - x", x=x), [0] * 6)
    assert truth("shift(x > 2, 1)", x=x) == [0, 0, 0, 1, 0, 1]
    assert truth("highest(x, 9) > 0", x=x) == [0] * 6
    assert number("highest(x, n)", x=x, n=[1.0]) == x


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 13, 64, 100])
def test_highest_of_any_length_is_the_maximum_of_its_window(count: int) -> None:
    x = np.random.default_rng(count).normal(size=150)
    found = formulas({"x": x.tolist()}).number(formula(f"highest(x, {count})"))
    assert np.isnan(found[: count - 1]).all()
    assert found[count - 1 :].tolist() == [x[i - count + 1 : i + 1].max() for i in range(count - 1, 150)]


def test_within_the_tie_neither_is_greater() -> None:
    a = [1.0, 1.04, 1.06, 0.94]
    assert truth("a > 1", 0.05, a=a) == [0, 0, 1, 0]
    assert truth("a < 1", 0.05, a=a) == [0, 0, 0, 1]
    assert truth("a == 1", 0.05, a=a) == [1, 1, 0, 0]
    assert truth("a <= 1", 0.05, a=a) == [1, 1, 0, 1]
    assert truth("cross_above(a, 1)", 0.05, a=a) == [0, 0, 1, 0]


def test_a_division_by_zero_is_false_and_counted() -> None:
    computed = formulas({"a": [1.0, 2, 3], "b": [1.0, 0, -1]})
    assert computed.truth(condition("a / b > -9")).tolist() == [True, False, True]
    assert computed.truth(condition("not (a / b > 9)")).tolist() == [True, False, True]
    assert computed.zero_divisions == 2
    assert formulas({"a": [1.0, 2]}).truth(condition("a / 0 > 1")).tolist() == [False, False]


@pytest.mark.parametrize(
    ("text", "bars"),
    [("a > 1", 0), ("shift(a, 3) > a", 3), ("highest(shift(a, 5), 20) > 1", 24), ("cross_above(rising_x, 2)", 1), ("rising(a, n)", 4)],
)
def test_look_back_counts_the_bars_that_functions_need(text: str, bars: int) -> None:
    assert look_back(condition(text), {"n": Decimal(4)}) == bars


GOLDEN = [
    ("rsi << 30", "'<' is not expected here\n    rsi << 30\n         ^", "a name, a number or `(` belongs here"),
    ("rsi = 30", "'=' is not part of the language\n    rsi = 30\n        ^", "write =="),
    ("rsi < 30 && close > 1", "'&' is not part of the language\n    rsi < 30 && close > 1\n             ^", "write and"),
    ("(rsi < 30", "a `(` that is never closed\n    (rsi < 30\n    ^", "add `)`"),
    ("rsi < 30)", "')' is not expected here\n    rsi < 30)\n            ^", "join conditions with `and` or `or`"),
    ("rsi <", "the condition ends too early\n    rsi <\n         ^", "a name, a number or `(` belongs here"),
    ("rsi", "a number, not a condition\n    rsi\n    ^", "compare it with something, like `rsi < 30`"),
    ("rsi and close > 1", "a number where a condition belongs\n    rsi and close > 1\n    ^", "compare it with something, like `rsi < 30`"),
    ("(a > b) + 1 > 2", "a condition where a number belongs\n    (a > b) + 1 > 2\n    ^", "brackets around each"),
    ("frobnicate(a, b)", "'frobnicate' is not a function\n    frobnicate(a, b)\n    ^", "known: abs, cross_above"),
    ("cross_abve(a, b)", "'cross_abve' is not a function\n    cross_abve(a, b)\n    ^", "did you mean 'cross_above'?"),
    ("cross_above(a)", "cross_above with 1 argument\n    cross_above(a)\n    ^", "write cross_above(a, b)"),
    ("__import__('os')", '"\'" is not part of the language', "use names, numbers"),
    ("a > 1e999", "1e999 is too large\n    a > 1e999\n        ^", "write a smaller number"),
    ("a.b.c > 1", "'.' is not part of the language\n    a.b.c > 1\n       ^", "use names"),
    ("   ", "an empty condition", "write one, like `rsi < 30`"),
    ("a > 1 else 2", "'else' is not expected here\n    a > 1 else 2\n          ^", "join conditions"),
]


@pytest.mark.parametrize(("text", "message", "hint"), GOLDEN, ids=[text for text, *_ in GOLDEN])
def test_a_wrong_condition_shows_its_place_and_the_fix(text: str, message: str, hint: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        condition(text)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "a" * (MAX_CHARACTERS + 1),
        "a > 1 and " * 100_000 + "a > 1",
        "(" * 10_000 + "a > 1" + ")" * 10_000,
        "(" * 200 + "a > 1" + ")" * 200,
        "not " * 200 + "a > 1",
        "-" * 900 + "a > 1",
        "+".join("a" * (MAX_DEPTH + 5)) + " > 1",
        "abs(" * 60 + "a" + ")" * 60 + "> 1",
    ],
    ids=lambda text: f"{text[:12]}…{len(text)}",
)
def test_an_expression_too_long_or_too_deep_is_an_error_and_no_crash(text: str) -> None:
    with pytest.raises(InvalidInput):
        condition(text)


@pytest.mark.parametrize(
    ("text", "what"), [("shift(a, -1) > 1", "into the future"), ("highest(a, 1.5) > 1", "whole number"), ("rising(a, a)", "constant")]
)
def test_the_number_of_bars_is_whole_fixed_and_not_negative(text: str, what: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        truth(text, a=[1.0, 2.0])
    assert what in caught.value.hint and "^" in caught.value.message


def test_a_long_text_is_cut_around_the_caret() -> None:
    text = " and ".join(["close > 1"] * 30) + " and clse? > 1 and " + " and ".join(["close > 1"] * 30)
    with pytest.raises(InvalidInput) as caught:
        condition(text)
    _, shown, caret = caught.value.message.split("\n")
    assert len(shown) < 80 and shown[caret.index("^")] == "?"


def test_names_are_found_once_in_their_order() -> None:
    assert [name.text for name in condition("b.x > a and max(a, c) > b.x").names] == ["b.x", "a", "c"]
    assert condition(" a > 1").names == (Name("a", 1),)


@pytest.mark.parametrize("seed", range(60))
def test_columns_say_what_a_slow_reading_bar_by_bar_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns = {name: np.where(rng.random(40) < 0.1, NAN, rng.integers(-2, 4, 40)).tolist() for name in COLUMNS}
    tie = float(rng.choice([0.0, 0.0, 1.0]))
    for _ in range(6):
        tree = random_truth(rng, 3)
        fast = formulas(columns, tie).truth(condition(written(tree))).tolist()
        slow = [reading(tree, row, columns, tie) is True for row in range(40)]
        assert fast == slow, written(tree)


def random_truth(rng: np.random.Generator, depth: int) -> Tree:
    if depth == 0 or rng.random() < 0.3:
        sign = str(rng.choice(["<", "<=", ">", ">=", "==", "!="]))
        return (sign, random_number(rng, depth), random_number(rng, depth))
    kind = str(rng.choice(["and", "or", "not", "cross_above", "cross_below", "rising", "falling", "shift"]))
    if kind in ("and", "or"):
        return (kind, random_truth(rng, depth - 1), random_truth(rng, depth - 1))
    if kind == "not":
        return (kind, random_truth(rng, depth - 1))
    if kind == "shift":
        return (kind, random_truth(rng, depth - 1), int(rng.integers(0, 4)))
    if kind in ("rising", "falling"):
        return (kind, random_number(rng, depth - 1), int(rng.integers(1, 4)))
    return (kind, random_number(rng, depth - 1), random_number(rng, depth - 1))


def random_number(rng: np.random.Generator, depth: int) -> Tree:
    if depth <= 0 or rng.random() < 0.4:
        return ("name", str(rng.choice(COLUMNS))) if rng.random() < 0.7 else ("number", float(rng.integers(0, 4)) / 2)
    kind = str(rng.choice(["+", "-", "*", "/", "negative", "abs", "min", "max", "highest", "lowest", "shift"]))
    if kind in ("negative", "abs"):
        return (kind, random_number(rng, depth - 1))
    if kind in ("highest", "lowest", "shift"):
        return (kind, random_number(rng, depth - 1), int(rng.integers(1, 5)))
    return (kind, random_number(rng, depth - 1), random_number(rng, depth - 1))


def written(tree: Tree) -> str:
    match tree:
        case ("name", name):
            return str(name)
        case ("number", value):
            return str(value)
        case ("not", of):
            return f"not ({written(of)})"  # type: ignore[arg-type]
        case ("negative", of):
            return f"-({written(of)})"  # type: ignore[arg-type]
        case (kind, *parts) if kind in FUNCTIONS:
            return f"{kind}({', '.join(str(part) if isinstance(part, int) else written(part) for part in parts)})"  # type: ignore[arg-type]
        case (kind, left, right):
            return f"({written(left)}) {kind} ({written(right)})"  # type: ignore[arg-type]
    raise AssertionError(tree)


def reading(tree: Tree, row: int, columns: dict[str, list[float]], tie: float) -> bool | None:
    """True, False, or None where it is not known."""
    if row < 0:
        return None

    def at(part: object, when: int) -> float:
        return value(part, when, columns)  # type: ignore[arg-type]

    match tree:
        case ("not", of):
            inner = reading(of, row, columns, tie)  # type: ignore[arg-type]
            return None if inner is None else not inner
        case ("and" | "or" as word, left, right):
            parts = [reading(part, row, columns, tie) for part in (left, right)]  # type: ignore[arg-type]
            decisive = word == "or"
            return decisive if decisive in parts else None if None in parts else not decisive
        case ("shift", of, int(count)):
            return reading(of, row - count, columns, tie)  # type: ignore[arg-type]
        case ("rising" | "falling" as word, of, int(count)):
            window = [at(of, when) for when in range(row - count, row + 1)]
            if any(map(math.isnan, window)):
                return None
            pairs = zip(window[1:], window, strict=False)
            return all(compared(">" if word == "rising" else "<", later, earlier, tie) for later, earlier in pairs)
        case ("cross_above" | "cross_below" as word, left, right):
            sign = ">" if word == "cross_above" else "<"
            now, before = (compared(sign, at(left, when), at(right, when), tie) for when in (row, row - 1))
            return None if now is None or before is None else now and not before
        case (sign, left, right):
            return compared(str(sign), at(left, row), at(right, row), tie)
    raise AssertionError(tree)


def compared(sign: str, left: float, right: float, tie: float) -> bool | None:
    if math.isnan(left) or math.isnan(right):
        return None
    apart = left - right
    return {
        ">": apart > tie, "<": apart < -tie, ">=": apart >= -tie, "<=": apart <= tie, "==": abs(apart) <= tie, "!=": abs(apart) > tie,
    }[sign]  # fmt: skip


def value(tree: Tree, row: int, columns: dict[str, list[float]]) -> float:
    if row < 0:
        return NAN
    match tree:
        case ("name", str(name)):
            return columns[name][row]
        case ("number", float(number)):
            return number
        case ("negative", of):
            return -value(of, row, columns)  # type: ignore[arg-type]
        case ("abs", of):
            return abs(value(of, row, columns))  # type: ignore[arg-type]
        case ("shift", of, int(count)):
            return value(of, row - count, columns)  # type: ignore[arg-type]
        case ("highest" | "lowest" as word, of, int(count)):
            window = [value(of, when, columns) for when in range(row - count + 1, row + 1)]  # type: ignore[arg-type]
            return NAN if any(map(math.isnan, window)) else (max if word == "highest" else min)(window)
        case (kind, left, right):
            a, b = value(left, row, columns), value(right, row, columns)  # type: ignore[arg-type]
            return NAN if math.isnan(a) or math.isnan(b) else ARITHMETIC[str(kind)](a, b)
    raise AssertionError(tree)


ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b if b else NAN,
    "min": min,
    "max": max,
}
