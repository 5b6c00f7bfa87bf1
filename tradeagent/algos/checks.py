"""What must hold between the parts of an algo: names resolve, ranges fit, sizes have what they need. Text is `parse`'s business."""

import ast
from collections.abc import Iterator, Mapping
from decimal import Decimal

import numpy as np

from tradeagent.algos.expressions import Expression, Name, condition, formula
from tradeagent.algos.formulas import Formulas, Value
from tradeagent.algos.indicators import INDICATORS, warmup
from tradeagent.algos.params import params_of, with_params
from tradeagent.algos.sandbox.child import ALLOWED
from tradeagent.algos.scope import meaning_of, sides_of, sizing_output, used_by
from tradeagent.algos.spec import AlgoSpec, IndicatorUse, Param, ParamRange, SizingKind
from tradeagent.domain.bars import interval_text
from tradeagent.domain.errors import TradeAgentError, near
from tradeagent.workspace.problems import Problem, dotted
from tradeagent.workspace.yaml_text import KeyPath


def check(spec: AlgoSpec) -> list[Problem]:
    """Everything that is wrong with an algo whose parts are each well written."""
    found = [problem for name, use in spec.indicators.items() for problem in _indicator(("indicators", name), use, spec.interval_ms)]
    if found:
        return found
    found += _conditions(spec)
    found += _sizing(spec)
    wrong = python_problem(spec.python) if spec.python is not None else None
    if wrong is not None:
        found.append(_wrong(("python",), f"line {wrong[0]}: {wrong[1]}", wrong[2]))
    return found or [*_aliases(spec), *_params(spec)]


def python_problem(source: str) -> tuple[int, str, str] | None:
    """(line, message, fix) of a Python algorithm that cannot run; it is read here, and run in the sandbox only."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return getattr(error, "lineno", None) or 1, str(error).partition(" (<unknown>")[0], "correct the Python"
    refused = [(line, name) for line, name in _imports(tree) if name.partition(".")[0] not in ALLOWED]
    if refused:
        line, name = min(refused)
        return line, f"import {name} is not allowed", f"allowed are {', '.join(ALLOWED)}"
    if any(isinstance(node, ast.FunctionDef) and node.name == "signals" for node in tree.body):
        return None
    return 1, "no function `signals`", "write def signals(bars, **params), which returns +1, 0 or -1 for each bar"


def _imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and module of every import; not of one inside a `try`, which may fail and the algorithm still run."""
    left = [tree]
    while left:
        node = left.pop()
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, f"{'.' * node.level}{node.module or ''}"
        elif not isinstance(node, (ast.Try, ast.TryStar)):
            left += ast.iter_child_nodes(node)


def warnings_of(spec: AlgoSpec) -> list[str]:
    """What is allowed and probably not meant."""
    used = used_by(spec)
    said = [f"indicator {name!r} is used by no condition" for name in spec.indicators if name not in used and spec.python is None]
    if spec.sizing.kind is SizingKind.PCT_OF_EQUITY and spec.sizing.value >= 100 * spec.leverage:
        said.append(f"sizing {spec.sizing.value} % of equity is cut to what leverage {spec.leverage} carries, about {99 * spec.leverage} %")
    for side, rules in sides_of(spec):
        rule = rules.exit
        closes = rule.required or rule.optional or rule.stop or rule.target or rule.trailing
        if not closes and (spec.long is None or spec.short is None) and spec.python is None:
            said.append(f"exit.{side} is empty: a {side} position is never closed")
    return said


def _indicator(path: KeyPath, use: IndicatorUse, interval_ms: int) -> Iterator[Problem]:
    indicator = INDICATORS.get(use.kind)
    if indicator is None:
        yield _wrong((*path, "kind"), f"{use.kind!r} is not an indicator", near(use.kind, INDICATORS))
        return
    for key in use.params:
        if key not in indicator.defaults:
            here = (*path, key)
            known = ("kind", "interval", *indicator.defaults)
            yield Problem(here, f"unknown key {dotted(here)!r}; {use.kind} has no such parameter", near(key, known), is_unknown_key=True)
            return
    try:
        warmup(use.kind, use.params)
    except TradeAgentError as error:
        yield Problem(path, error.message, error.hint)
    if use.interval_ms is not None and interval_ms and (use.interval_ms % interval_ms or use.interval_ms < interval_ms):
        said = f"{interval_text(use.interval_ms)} is not a multiple of the algo's {interval_text(interval_ms)}"
        yield _wrong((*path, "interval"), said, f"write a whole multiple of {interval_text(interval_ms)}, or remove it")


def _conditions(spec: AlgoSpec) -> Iterator[Problem]:
    for side, rules in sides_of(spec):
        for part, rule in (("entry", rules.entry), ("exit", rules.exit)):
            for key in ("required", "optional"):
                for index, text in enumerate(getattr(rule, key)):
                    yield from _expression(spec, (part, side, key, index), text)
        if rules.entry.confidence:
            yield from _expression(spec, ("entry", side, "confidence"), rules.entry.confidence)


def _expression(spec: AlgoSpec, path: KeyPath, text: str) -> Iterator[Problem]:
    try:
        if path[-1] == "confidence":
            _trial(spec, formula(text), is_condition=False)
        else:
            _trial(spec, condition(text), is_condition=True)
    except TradeAgentError as error:
        yield Problem(path, f"{dotted(path)}: {error.message}", error.hint)


def _trial(spec: AlgoSpec, expression: Expression, *, is_condition: bool) -> None:
    """Compute it once over a single unknown bar: every name and every number of bars is looked at."""

    def resolve(name: Name, text: str) -> Value:
        meaning = meaning_of(name, text, spec.indicators, spec.constants)
        return float(meaning) if isinstance(meaning, Decimal) else np.full(1, np.nan)

    formulas = Formulas(1, resolve)
    if is_condition:
        formulas.truth(expression)
    else:
        formulas.number(expression)


def _sizing(spec: AlgoSpec) -> Iterator[Problem]:
    if spec.sizing.kind is SizingKind.DYNAMIC:
        try:
            sizing_output(spec)
        except TradeAgentError as error:
            yield Problem(("sizing", "dynamic", "by"), f"sizing.dynamic.by: {error.message}", error.hint)
    if spec.sizing.kind is SizingKind.RISK_PCT:
        for side, rules in sides_of(spec):
            if rules.exit.stop is None:
                said = f"the size follows the stop's distance, and exit.{side} has no stop_loss"
                yield _wrong(("sizing", "risk_pct"), said, f"add stop_loss: {{pct: 2}} to exit.{side}, or write pct_of_equity")


def _aliases(spec: AlgoSpec) -> Iterator[Problem]:
    known = params_of(spec)
    for alias, targets in spec.aliases.items():
        if alias in known and alias not in spec.aliases:
            yield _wrong(("aliases", alias), "is a parameter already", "give the alias another name")
        for target in targets:
            if target in spec.aliases:
                yield _wrong(("aliases", alias), f"{target!r} is itself an alias", "write the parameters it stands for")
            elif target not in known:
                yield _wrong(("aliases", alias), f"{target!r} is not a parameter", near(target, known))


def _params(spec: AlgoSpec) -> Iterator[Problem]:
    known = params_of(spec)
    for name, space in spec.params.items():
        path: KeyPath = ("params", name)
        if name not in known:
            hint = (
                near(name, known) if "." in name or not name.isidentifier() else f"write constants: {{{name}: 25}}, or {near(name, known)}"
            )
            yield _wrong(path, "is not a parameter of this algo", hint)
            continue
        for value in _ends(space):
            try:
                with_params(spec, {name: value})
            except TradeAgentError as error:
                yield Problem(path, error.message, error.hint)
                break
        if space.only_if is not None:
            yield from _only_if((*path, "only_if"), name, space.only_if[0], spec.params)


def _ends(space: ParamRange) -> list[Param]:
    ends = [end for end in (space.low, space.high) if end is not None]
    return [*space.choices, *(int(end) if space.whole else end for end in ends)]


def _only_if(path: KeyPath, name: str, other: str, params: Mapping[str, ParamRange]) -> Iterator[Problem]:
    seen = [name]
    while other in params and other not in seen:
        seen.append(other)
        space = params[other]
        if space.only_if is None:
            return
        other = space.only_if[0]
    if other in seen:
        yield _wrong(path, f"{' and '.join(seen)} wait for each other", "remove one of the conditions")
    else:
        yield _wrong(path, f"{other!r} is not one of the params", near(other, params))


def _wrong(path: KeyPath, message: str, hint: str) -> Problem:
    return Problem(path, f"{dotted(path)}: {message}", hint)
