"""Small changes to a module that a test should notice: other comparisons, sums, constants, conditions, return values, statements left out.

Texts are left alone (docstrings, messages, names, the choice between two wordings of a message), and so are annotations, decorators,
imports and what is raised: a message may be worded anew without a test being wrong. Numbers, comparisons, branches and calls are not.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
SILENT = (ast.JoinedStr, ast.Raise, ast.Import, ast.ImportFrom)
WORDS = frozenset({"message", "hint", "detail", "reason"})


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: `was` becomes `now` from (line, column) to (end line, end column) of `file`, counted as ast does, columns in bytes.

    `statement` is the line at which the statement around it begins.
    """

    file: str
    start: tuple[int, int]
    end: tuple[int, int]
    was: str
    now: str
    statement: int

    def __str__(self) -> str:
        was = " ".join(self.was.split())
        return f"{self.file}:{self.start[0]}: {was if len(was) < 90 else was[:87] + '...'}  →  {' '.join(self.now.split())[:90]}"

    @property
    def lines(self) -> range:
        """The lines that hold what is changed."""
        return range(self.start[0], self.end[0] + 1)

    def applied(self, source: str) -> str:
        """The module with this change."""
        lines = source.encode().splitlines(keepends=True)
        first, last = self.start[0] - 1, self.end[0] - 1
        head, tail = lines[first][: self.start[1]], lines[last][self.end[1] :]
        return b"".join([*lines[:first], head + self.now.encode() + tail, *lines[last + 1 :]]).decode()


def mutants_of(file: str, source: str) -> list[Mutant]:
    """Every change of a module, each of which still compiles, in the order of the text."""
    found = {}
    for node, now, statement in _changes(ast.parse(source)):
        was = ast.get_source_segment(source, node)
        if was is None or was == now or node.end_lineno is None or node.end_col_offset is None:
            continue
        mutant = Mutant(file, (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset), was, now, statement)
        try:
            compile(mutant.applied(source), file, "exec")
        except SyntaxError:
            continue
        found[(mutant.start, mutant.end, now)] = mutant
    return [found[key] for key in sorted(found)]


def _changes(tree: ast.Module) -> Iterator[tuple[ast.expr | ast.stmt, str, int]]:
    waiting: list[tuple[ast.AST, int]] = [(tree, 1)]
    while waiting:
        node, statement = waiting.pop()
        if _is_wording(node):
            continue
        if isinstance(node, ast.expr):
            yield from ((node, f"({text})", statement) for text in _of_expression(node))
        elif isinstance(node, ast.stmt):
            statement = node.lineno
            yield from ((place, text, statement) for place, text in _of_statement(node))
        waiting += ((child, statement) for child in _inside(node))


def _inside(node: ast.AST) -> Iterator[ast.AST]:
    """What is worth changing within a node."""
    if isinstance(node, SILENT):
        return
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases", "keywords" if isinstance(node, ast.ClassDef) else ""):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not (isinstance(child, ast.keyword) and child.arg in WORDS):
                yield child


def _of_expression(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Compare(ops=[op], left=left, comparators=comparators):
            yield ast.unparse(ast.Compare(left, [COMPARED[type(op)]()], comparators))
        case ast.Compare(ops=ops, left=left, comparators=comparators):
            for place, op in enumerate(ops):
                yield ast.unparse(ast.Compare(left, [*ops[:place], COMPARED[type(op)](), *ops[place + 1 :]], comparators))
        case ast.BinOp(op=op, left=left, right=right) if type(op) in COMPUTED and not _is_type(node):
            yield ast.unparse(ast.BinOp(left, COMPUTED[type(op)](), right))
        case ast.BoolOp(op=op, values=values):
            yield ast.unparse(ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values))
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield ast.unparse(operand)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield ast.unparse(ast.IfExp(ast.UnaryOp(ast.Not(), test), body, orelse))
        case ast.Constant(value=bool(value)):
            yield str(not value)
        case ast.Constant(value=int(value)):
            yield from (str(value + 1), str(value - 1))


def _of_statement(node: ast.stmt) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    match node:
        case ast.Expr(value=ast.Call() | ast.Await()):
            yield node, "pass"
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value in (None, False)):
            yield node, "return None"
        case ast.AugAssign(op=op, target=target, value=value):
            yield node, "pass"
            if type(op) in COMPUTED:
                yield node, ast.unparse(ast.AugAssign(target, COMPUTED[type(op)](), value))
        case ast.If(test=test):
            yield test, f"not ({ast.unparse(test)})"
        case ast.Continue():
            yield node, "break"
        case ast.Break():
            yield node, "continue"


def _is_wording(node: ast.AST) -> bool:
    """A choice between two texts that a person reads: what programs read has no space in it."""
    return (
        isinstance(node, ast.IfExp)
        and all(_words(side) for side in (node.body, node.orelse))
        and " " in _words(node.body) + _words(node.orelse)
    )


def _words(node: ast.expr) -> str:
    """The letters of a text, a dot for each value in it; nothing for what is no text."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(part.value if isinstance(part, ast.Constant) else "." for part in parts)
    return ""


def _is_type(node: ast.BinOp) -> bool:
    """`int | None` as a value, which is a type in words."""
    sides = (node.left, node.right)
    return isinstance(node.op, ast.BitOr) and any(isinstance(side, ast.Constant) and side.value is None for side in sides)
