"""Values of expressions on whole columns at once. A comparison with NaN is neither true nor false, so `not` of it is not true either."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from tradeagent.algos.bars import Floats, Truths
from tradeagent.algos.expressions import (
    MAX_WINDOW,
    Arithmetic,
    Call,
    Comparison,
    Expression,
    Logic,
    Name,
    Negative,
    Node,
    Not,
    Number,
    children,
    problem_at,
)

Value = Floats | float
_OPPOSITE: Mapping[str, str] = {"<": ">=", ">=": "<", ">": "<=", "<=": ">", "==": "!=", "!=": "=="}


@dataclass(frozen=True, slots=True, eq=False)
class _Mirror:
    """Where `left` is on the `sign` side of `right`."""

    sign: str
    left: Floats
    right: Floats
    truths: Truths


@dataclass(slots=True)
class Formulas:
    """Computes expressions over `rows` bars. `resolve` gives a name's column or constant.

    Two numbers within `tie` of each other count as equal: neither is greater. `zero_divisions` counts the rows that divided by zero and
    became NaN.
    """

    rows: int
    resolve: Callable[[Name, str], Value]
    tie: float = 0.0
    zero_divisions: int = field(default=0, init=False)
    _mirror: _Mirror | None = field(default=None, init=False)

    def truth(self, expression: Expression) -> Truths:
        """Where a condition is true; a new array."""
        with np.errstate(all="ignore"):
            found = self._truth(expression.root, expression.text, wanted=True)
        return np.broadcast_to(found, self.rows).copy() if found.shape != (self.rows,) else found

    def number(self, expression: Expression) -> Floats:
        """A formula's value on each bar, NaN where it has none; may be a read-only view."""
        with np.errstate(all="ignore"):
            return self._column(self._number(expression.root, expression.text))

    def look_back(self, node: Node, text: str) -> int:
        """How many earlier bars a tree needs beside what its names need."""
        below = max((self.look_back(child, text) for child in children(node)), default=0)
        match node:
            case Call("shift" | "rising" | "falling", (_, window), _):
                return below + self._window(window, node, text, 0)
            case Call("highest" | "lowest", (_, window), _):
                return below + self._window(window, node, text, 1) - 1
            case Call("cross_above" | "cross_below", _, _):
                return below + 1
        return below

    def _truth(self, node: Node, text: str, *, wanted: bool) -> Truths:
        """Where `node` is known to be `wanted`."""
        match node:
            case Not(of):
                return self._truth(of, text, wanted=not wanted)
            case Logic(word, parts):
                join = np.logical_and if (word == "and") == wanted else np.logical_or
                found = self._truth(parts[0], text, wanted=wanted)
                for part in parts[1:]:
                    found = join(found, self._truth(part, text, wanted=wanted))
                return found
            case Comparison(sign, left, right):
                return self._compare(sign if wanted else _OPPOSITE[sign], self._number(left, text), self._number(right, text))
            case Call("shift", (of, window), _):
                past = np.broadcast_to(self._truth(of, text, wanted=wanted), self.rows)
                return _delayed(past, self._window(window, node, text, 0), fill=False)
            case Call("rising" | "falling" as name, (of, window), _):
                values, count = self._column(self._number(of, text)), self._window(window, node, text, 1)
                return self._steps(values, count, ">" if name == "rising" else "<", wanted=wanted)
            case Call(name, (left, right), _):
                return self._cross(
                    self._number(left, text), self._number(right, text), ">" if name == "cross_above" else "<", wanted=wanted
                )
        raise AssertionError(node)

    def _number(self, node: Node, text: str) -> Value:
        match node:
            case Number(value):
                return value
            case Name():
                return self.resolve(node, text)
            case Negative(of):
                return -self._number(of, text)
            case Arithmetic(sign, left, right):
                return self._arithmetic(sign, self._number(left, text), self._number(right, text))
            case Call("abs", (of,), _):
                return np.abs(self._number(of, text))
            case Call("min" | "max" as name, arguments, _):
                pick = np.minimum if name == "min" else np.maximum
                found = self._number(arguments[0], text)
                for argument in arguments[1:]:
                    found = pick(found, self._number(argument, text))
                return found
            case Call("shift", (of, window), _):
                return _delayed(self._column(self._number(of, text)), self._window(window, node, text, 0), fill=np.nan)
            case Call(name, (of, window), _):
                pick = np.maximum if name == "highest" else np.minimum
                return _extreme(self._column(self._number(of, text)), self._window(window, node, text, 1), pick)
        raise AssertionError(node)

    def _arithmetic(self, sign: str, left: Value, right: Value) -> Value:
        match sign:
            case "+":
                return left + right
            case "-":
                return left - right
            case "*":
                return left * right
        zero = np.equal(right, 0.0)
        count = int(np.count_nonzero(zero))
        if not count:
            return left / right
        self.zero_divisions += count if np.ndim(zero) else self.rows
        return np.where(zero, np.nan, np.divide(left, right))

    def _compare(self, sign: str, left: Value, right: Value) -> Truths:
        if self.tie == 0 and sign in "<>" and self._is_lasting(left) and self._is_lasting(right):
            return self._strictly(sign, left, right)
        if self.tie == 0:
            return _plain(sign, left, right)
        apart = np.subtract(left, right)
        match sign:
            case "==" | "!=":
                return _plain("<=" if sign == "==" else ">", np.abs(apart), self.tie)
            case ">" | "<=":
                return _plain(sign, apart, self.tie)
        return _plain(sign, apart, -self.tie)

    def _strictly(self, sign: str, left: Floats, right: Floats) -> Truths:
        """Where one column is on one side of another. What holds for the other side is found in the same look and kept until it is asked
        for, because the rule of the short side is often the mirror of that of the long side."""
        from tradeagent.algos.codes import greater_and_less

        if self._mirror is not None and self._mirror.sign == sign and self._mirror.left is left and self._mirror.right is right:
            found, self._mirror = self._mirror.truths, None
            return found
        greater, less = np.empty((2, self.rows), np.bool_)
        greater_and_less(left, right, greater, less)
        if sign == ">":
            self._mirror = _Mirror("<", left, right, less)
            return greater
        self._mirror = _Mirror(">", left, right, greater)
        return less

    def _cross(self, left: Value, right: Value, sign: str, *, wanted: bool) -> Truths:
        left, right = self._column(left), self._column(right)
        beyond, behind = self._compare(sign, left, right), self._compare(_OPPOSITE[sign], left, right)
        found = np.zeros(self.rows, np.bool_)
        found[1:] = beyond[1:] & behind[:-1]
        if not wanted:
            known = beyond | behind
            found[1:] = known[1:] & known[:-1] & ~found[1:]
        return found

    def _steps(self, values: Floats, count: int, sign: str, *, wanted: bool) -> Truths:
        found = np.zeros(self.rows, np.bool_)
        if count >= self.rows:
            return found
        found[count:] = _rolled(self._compare(sign, values[1:], values[:-1]), count, np.logical_and)
        if not wanted:
            found[count:] = _rolled(~np.isnan(values), count + 1, np.logical_and) & ~found[count:]
        return found

    def _window(self, node: Node, call: Node, text: str, least: int) -> int:
        """The whole number that says how many bars a function looks back."""
        at = call.at if isinstance(call, Call) else 0
        value = self._number(node, text)
        if np.ndim(value):
            raise problem_at(text, at, "the number of bars changes from bar to bar", "write a whole number, or the name of a constant")
        count = float(value)
        if not count.is_integer() or not least <= count <= MAX_WINDOW:
            hint = (
                "a negative number of bars would look into the future" if count < 0 else f"write a whole number, {least} to {MAX_WINDOW:,}"
            )
            raise problem_at(text, at, f"{count:g} is no number of bars", hint)
        return int(count)

    def _is_lasting(self, value: Value) -> TypeGuard[Floats]:
        """Whether it is a column of bars or of an indicator, which nobody changes."""
        return isinstance(value, np.ndarray) and value.shape == (self.rows,) and value.flags.c_contiguous and not value.flags.writeable

    def _column(self, value: Value) -> Floats:
        return value if isinstance(value, np.ndarray) and value.shape == (self.rows,) else np.broadcast_to(np.float64(value), self.rows)


def look_back(expression: Expression, constants: Mapping[str, Decimal]) -> int:
    """How many earlier bars an expression needs beside what its indicators need."""

    def resolve(name: Name, _: str) -> Value:
        return float(constants[name.text]) if name.text in constants else np.full(1, np.nan)

    return Formulas(1, resolve).look_back(expression.root, expression.text)


def _plain(sign: str, left: Value, right: Value) -> Truths:
    match sign:
        case ">":
            found = np.greater(left, right)
        case "<":
            found = np.less(left, right)
        case ">=":
            found = np.greater_equal(left, right)
        case "<=":
            found = np.less_equal(left, right)
        case "==":
            found = np.equal(left, right)
        case _:
            found = np.logical_or(np.less(left, right), np.greater(left, right))
    return np.asarray(found)


def _delayed(values: npt.NDArray[Any], count: int, fill: float) -> npt.NDArray[Any]:
    found = np.full(len(values), fill, values.dtype)
    found[count:] = values[: max(0, len(values) - count)]
    return found


def _extreme(values: Floats, count: int, pick: np.ufunc) -> Floats:
    found = np.full(len(values), np.nan)
    if count <= len(values):
        found[count - 1 :] = _rolled(values, count, pick)
    return found


def _rolled(values: npt.NDArray[Any], count: int, join: np.ufunc) -> npt.NDArray[Any]:
    """`join` over each window of `count` ≤ len(values), by doubling: log₂ passes instead of one a bar of the window."""
    width = 1
    while width * 2 <= count:
        values = join(values[width:], values[:-width])
        width *= 2
    rest = count - width
    return join(values[rest:], values[:-rest]) if rest else values
