"""The language of conditions: text → a checked tree. A hand-written parser with a whitelist; nothing here is ever given to Python's own.

Values are computed from the tree in `formulas`; what a name means is the caller's business.
"""

import functools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NoReturn

from tradeagent.domain.errors import InvalidInput, near

MAX_CHARACTERS = 1_000
MAX_DEPTH = 40
MAX_WINDOW = 100_000
BAR_NAMES = ("open", "high", "low", "close", "volume", "funding")
_SHOWN = 60
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?![\w.])"
    r"|(?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?)"
    r"|(?P<sign><=|>=|==|!=|[-<>+*/(),]))",
    re.ASCII,
)
_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
_MEANT: Mapping[str, str] = {"=": "==", "&": "and", "|": "or", "!": "not", "≥": ">=", "≤": "<=", "×": "*", "^": "a product", "%": "* and /"}

Kind = Literal["number", "yes or no"]


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the language. `window` says that its last argument is a fixed whole number of bars, `many` that it takes more."""

    usage: str
    meaning: str
    arguments: int
    gives: Kind | Literal["the same"] = "number"
    window: bool = False
    many: bool = False


FUNCTIONS: Mapping[str, Function] = {
    "cross_above": Function("cross_above(a, b)", "`a` is above `b` now and was not one bar ago", 2, "yes or no"),
    "cross_below": Function("cross_below(a, b)", "`a` is below `b` now and was not one bar ago", 2, "yes or no"),
    "rising": Function("rising(x, n)", "`x` rose on each of the last `n` bars", 2, "yes or no", window=True),
    "falling": Function("falling(x, n)", "`x` fell on each of the last `n` bars", 2, "yes or no", window=True),
    "highest": Function("highest(x, n)", "the largest of the last `n` values of `x`, this bar's included", 2, window=True),
    "lowest": Function("lowest(x, n)", "the smallest of the last `n` values of `x`, this bar's included", 2, window=True),
    "shift": Function("shift(x, n)", "the value of `x` `n` bars ago", 2, "the same", window=True),
    "abs": Function("abs(x)", "`x` without its sign", 1),
    "min": Function("min(a, b, …)", "the smaller of its values", 2, many=True),
    "max": Function("max(a, b, …)", "the larger of its values", 2, many=True),
}


@dataclass(frozen=True, slots=True)
class Number:
    value: float


@dataclass(frozen=True, slots=True)
class Name:
    """`at` is its first character in the text."""

    text: str
    at: int


@dataclass(frozen=True, slots=True)
class Negative:
    of: "Node"


@dataclass(frozen=True, slots=True)
class Arithmetic:
    sign: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Comparison:
    sign: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Logic:
    """`and` or `or` of two or more parts."""

    word: str
    parts: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Not:
    of: "Node"


@dataclass(frozen=True, slots=True)
class Call:
    function: str
    arguments: "tuple[Node, ...]"
    at: int


Node = Number | Name | Negative | Arithmetic | Comparison | Logic | Not | Call


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed text; `names` in the order of their first use, without doubles."""

    text: str
    root: Node
    kind: Kind
    names: tuple[Name, ...]


def condition(text: str) -> Expression:
    """A text that is true or false on each bar. Raises InvalidInput that shows the place with a caret and how to write it."""
    parsed = _parsed(text)
    if parsed.kind != "yes or no":
        raise problem_at(text, 0, "a number, not a condition", "compare it with something, like `rsi < 30`")
    return parsed


def formula(text: str) -> Expression:
    """A text that is a number on each bar. Raises InvalidInput as `condition` does."""
    parsed = _parsed(text)
    if parsed.kind != "number":
        raise problem_at(text, 0, "a condition, not a number", "write arithmetic, like `0.5 + rsi / 100`")
    return parsed


def problem_at(text: str, at: int, problem: str, hint: str) -> InvalidInput:
    """An error that shows the text with a caret under character `at`; a long text is cut around it."""
    start = max(0, min(at - _SHOWN // 2, len(text) - _SHOWN))
    shown = text[start : start + _SHOWN].translate({9: " ", 10: " ", 13: " "})
    before, after = "…" if start else "", "…" if start + _SHOWN < len(text) else ""
    caret = " " * (len(before) + at - start) + "^"
    return InvalidInput(
        f"{problem}\n    {before}{shown}{after}\n    {caret}", hint=hint, details={"expression": text[:200], "column": at + 1}
    )


@functools.lru_cache(maxsize=4096)
def _parsed(text: str) -> Expression:
    if not text.strip():
        raise InvalidInput("an empty condition", hint="write one, like `rsi < 30`, or remove the line")
    if len(text) > MAX_CHARACTERS:
        raise InvalidInput(f"a condition of {len(text):,} characters; {MAX_CHARACTERS:,} are allowed", hint="split it over several lines")
    parser = _Parser(text)
    root = parser.whole()
    names: dict[str, Name] = {}
    for name in names_in(root):
        names.setdefault(name.text, name)
    return Expression(text, root, _kind(root), tuple(names.values()))


def names_in(node: Node) -> Iterator[Name]:
    """Every name of a tree, from left to right."""
    if isinstance(node, Name):
        yield node
    for child in children(node):
        yield from names_in(child)


def children(node: Node) -> "tuple[Node, ...]":
    """The trees directly below a node, from left to right."""
    match node:
        case Negative(of) | Not(of):
            return (of,)
        case Arithmetic(_, left, right) | Comparison(_, left, right):
            return (left, right)
        case Logic(_, parts):
            return parts
        case Call(_, arguments, _):
            return arguments
    return ()


def _kind(node: Node) -> Kind:
    match node:
        case Comparison() | Logic() | Not():
            return "yes or no"
        case Call(function, arguments, _):
            gives = FUNCTIONS[function].gives
            return _kind(arguments[0]) if gives == "the same" else gives
    return "number"


def _depth(node: Node) -> int:
    return 1 + max(map(_depth, children(node)), default=0)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            wrong = text[at]
            meant = _MEANT.get(wrong)
            hint = f"write {meant}" if meant else "use names, numbers, + - * / ( ) , < <= > >= == != and, or, not"
            raise problem_at(text, at, f"{wrong!r} is not part of the language", hint)
        kind = match.lastgroup or ""
        yield _Token(kind, match[kind], match.start(kind))
        at = match.end()
    yield _Token("end", "", len(text.rstrip()))


class _Parser:
    """Recursive descent; `_deep` bounds the recursion, the height of the finished tree is bounded too."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._next = 0
        self._deep = 0

    def whole(self) -> Node:
        root = self._either()
        if self._here.kind != "end":
            self._fail(self._here, f"{self._here.text!r} is not expected here", "join conditions with `and` or `or`")
        return root

    @property
    def _here(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, *texts: str) -> _Token | None:
        token = self._here
        if token.kind in ("sign", "name") and token.text in texts:
            self._next += 1
            return token
        return None

    def _either(self) -> Node:
        return self._joined("or", self._all)

    def _all(self) -> Node:
        return self._joined("and", self._negated)

    def _joined(self, word: str, part: Callable[[], Node]) -> Node:
        start = self._here
        parts = [part()]
        while self._take(word):
            self._want("yes or no", parts[-1], start)
            start = self._here
            parts.append(part())
        if len(parts) == 1:
            return parts[0]
        self._want("yes or no", parts[-1], start)
        return self._bounded(Logic(word, tuple(parts)))

    def _negated(self) -> Node:
        if (token := self._take("not")) is None:
            return self._compared()
        with_of = self._nested(token, self._negated)
        self._want("yes or no", with_of, token)
        return self._bounded(Not(with_of))

    def _compared(self) -> Node:
        start = self._here
        left = self._sum()
        found: list[Node] = []
        while (sign := self._take(*_COMPARISONS)) is not None:
            self._want("number", left, start)
            start = self._here
            right = self._sum()
            self._want("number", right, start)
            found.append(self._bounded(Comparison(sign.text, left, right)))
            left = right
        if not found:
            return left
        return found[0] if len(found) == 1 else self._bounded(Logic("and", tuple(found)))

    def _sum(self) -> Node:
        return self._chain(("+", "-"), self._product)

    def _product(self) -> Node:
        return self._chain(("*", "/"), self._signed)

    def _chain(self, signs: tuple[str, ...], part: Callable[[], Node]) -> Node:
        start = self._here
        left = part()
        while (sign := self._take(*signs)) is not None:
            self._want("number", left, start)
            start = self._here
            right = part()
            self._want("number", right, start)
            left = self._bounded(Arithmetic(sign.text, left, right))
        return left

    def _signed(self) -> Node:
        if (token := self._take("-", "+")) is None:
            return self._simple()
        of = self._nested(token, self._signed)
        self._want("number", of, token)
        return self._bounded(Negative(of)) if token.text == "-" else of

    def _simple(self) -> Node:
        token = self._here
        self._next += 1
        if token.kind == "number":
            value = float(token.text)
            if math.isinf(value):
                self._fail(token, f"{token.text} is too large", "write a smaller number")
            return Number(value)
        if token.kind == "sign" and token.text == "(":
            inner = self._nested(token, self._either)
            self._close(token)
            return inner
        if token.kind == "name" and token.text not in ("and", "or", "not"):
            return self._call(token) if self._here.text == "(" else Name(token.text, token.at)
        said = f"{token.text!r} is not expected here" if token.text else "the condition ends too early"
        raise self._problem(token, said, "a name, a number or `(` belongs here")

    def _call(self, name: _Token) -> Node:
        function = FUNCTIONS.get(name.text)
        if function is None:
            self._fail(name, f"{name.text!r} is not a function", near(name.text, FUNCTIONS))
        opened = self._here
        self._next += 1
        arguments: list[Node] = []
        while not arguments or self._take(","):
            start = self._here
            arguments.append(self._nested(opened, self._either))
            if function.gives != "the same" or len(arguments) > 1:
                self._want("number", arguments[-1], start)
        self._close(opened)
        count = len(arguments)
        if count < function.arguments or (count > function.arguments and not function.many):
            self._fail(name, f"{name.text} with {count} argument{'s' * (count != 1)}", f"write {function.usage}")
        return self._bounded(Call(name.text, tuple(arguments), name.at))

    def _close(self, opened: _Token) -> None:
        if self._take(")") is None:
            if self._here.kind == "end":
                self._fail(opened, "a `(` that is never closed", "add `)`")
            self._fail(self._here, f"{self._here.text!r} is not expected here", "close the `(` with `)` first, or write an operator")

    def _nested(self, at: _Token, part: Callable[[], Node]) -> Node:
        self._deep += 1
        if self._deep > MAX_DEPTH:
            self._fail(at, f"nested deeper than {MAX_DEPTH} levels", "split it over several lines")
        found = part()
        self._deep -= 1
        return found

    def _bounded(self, node: Node) -> Node:
        if _depth(node) > MAX_DEPTH:
            self._fail(self._here, f"nested deeper than {MAX_DEPTH} levels", "split it over several lines")
        return node

    def _want(self, kind: Kind, node: Node, start: _Token) -> None:
        if _kind(node) != kind:
            if kind == "number":
                self._fail(start, "a condition where a number belongs", "join conditions with `and` or `or`, with brackets around each")
            self._fail(start, "a number where a condition belongs", "compare it with something, like `rsi < 30`")

    def _fail(self, token: _Token, problem: str, hint: str) -> NoReturn:
        raise self._problem(token, problem, hint)

    def _problem(self, token: _Token, problem: str, hint: str) -> InvalidInput:
        return problem_at(self._text, token.at, problem, hint)
