"""What a search maximises: a named objective or an expression over metrics, and the constraints a trial must keep to count."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tradeagent.algos.expressions import Arithmetic, Call, Expression, Negative, Node, Number, formula, problem_at
from tradeagent.algos.expressions import Name as NameNode
from tradeagent.domain.errors import InvalidInput, near
from tradeagent.research.metrics import METRIC_KEYS, Metrics

NAMED: Mapping[str, str] = {
    "sharpe": "sharpe",
    "return": "total_return_pct",
    "drawdown": "-max_drawdown_pct",
    "calmar": "calmar",
    "sqn": "sqn",
}
_WRITE = f"one of {', '.join(NAMED)}, or arithmetic with + - * / abs min max over metrics, like 'sharpe - 0.1 * max_drawdown_pct'"
_CALLS: Mapping[str, Callable[[list[float]], float]] = {"abs": lambda values: abs(values[0]), "min": min, "max": max}


@dataclass(frozen=True, slots=True)
class Objective:
    """`text` as it was asked for, `expression` what is maximised; metrics must reach `min_trades` and stay within `max_drawdown_pct`."""

    text: str
    expression: str
    min_trades: int = 1
    max_drawdown_pct: float | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric that score and constraints read."""
        names = [name.text for name in formula(self.expression).names]
        return tuple(dict.fromkeys([*names, "trades", "max_drawdown_pct", "sharpe"]))

    def score(self, metrics: Metrics) -> float | None:
        """The value to maximise; None where a metric it needs is not defined or the arithmetic has no finite value."""
        value = _value(formula(self.expression).root, metrics)
        return value if value is not None and math.isfinite(value) else None

    def violation(self, metrics: Metrics) -> tuple[float, str]:
        """How far the constraints are missed (0: kept), and which one in words."""
        trades, drawdown = metrics["trades"] or 0, metrics["max_drawdown_pct"] or 0.0
        if trades < self.min_trades:
            return (self.min_trades - trades) / self.min_trades, f"fewer than {self.min_trades} trades"
        if self.max_drawdown_pct is not None and drawdown > self.max_drawdown_pct:
            missed = (drawdown - self.max_drawdown_pct) / 100
            return missed, f"a drawdown over {self.max_drawdown_pct:g} %"
        return 0.0, ""


def make_objective(text: str, min_trades: int = 1, max_drawdown_pct: float | None = None) -> Objective:
    """`sharpe`, `return`, `drawdown`, `calmar`, `sqn`, or arithmetic over metric keys like `sharpe - 0.1 * max_drawdown_pct`."""
    if min_trades < 0:
        raise InvalidInput(f"min_trades: {min_trades} is below 0", hint="0 or more")
    if max_drawdown_pct is not None and not 0 < max_drawdown_pct <= 100:
        raise InvalidInput(f"max_drawdown: {max_drawdown_pct:g} is not within 0 to 100 percent", hint="--max-drawdown 20")
    expression = NAMED.get(text.strip().lower(), text)
    parsed = _formula(expression)
    known = {*METRIC_KEYS, *(NAMED if isinstance(parsed.root, NameNode) else ())}
    for name in parsed.names:
        if name.text not in METRIC_KEYS:
            raise problem_at(expression, name.at, f"--objective: there is no metric {name.text!r}", near(name.text, known))
    _check(parsed, parsed.root)
    if not parsed.names:
        raise InvalidInput(f"--objective: {text!r} names no metric, so all trials are equal", hint=f"one of {', '.join(NAMED)}")
    return Objective(text.strip(), expression, max(min_trades, 0), max_drawdown_pct)


def _formula(text: str) -> Expression:
    """The parsed arithmetic; InvalidInput names the flag, and says how to write a score."""
    if not text.strip():
        raise InvalidInput("--objective: it is empty", hint=_WRITE)
    try:
        return formula(text)
    except InvalidInput as error:
        raise InvalidInput(f"--objective: {error.message}".replace("the condition", "it"), hint=_WRITE, details=error.details) from None


def _check(parsed: Expression, node: Node) -> None:
    match node:
        case Number() | NameNode():
            return
        case Negative(of):
            _check(parsed, of)
        case Arithmetic(_, left, right):
            _check(parsed, left)
            _check(parsed, right)
        case Call(function, arguments, at):
            if function not in _CALLS:
                told = f"--objective: {function} looks at bars, and a metric is one number"
                raise problem_at(parsed.text, at, told, "use abs, min or max")
            for argument in arguments:
                _check(parsed, argument)
        case _:
            raise InvalidInput(f"--objective: {parsed.text!r} compares; a score is a number", hint=_WRITE)


def _value(node: Node, metrics: Metrics) -> float | None:
    match node:
        case Number(value):
            return value
        case NameNode(text, _):
            found = metrics[text]
            return None if found is None else float(found)
        case Negative(of):
            inner = _value(of, metrics)
            return None if inner is None else -inner
        case Arithmetic(sign, left, right):
            one, other = _value(left, metrics), _value(right, metrics)
            return None if one is None or other is None else _joined(sign, one, other)
        case Call(function, arguments, _):
            values = [_value(argument, metrics) for argument in arguments]
            known = [value for value in values if value is not None]
            return _CALLS[function](known) if len(known) == len(values) else None
    return None


def _joined(sign: str, one: float, other: float) -> float | None:
    match sign:
        case "+":
            return one + other
        case "-":
            return one - other
        case "*":
            return one * other
    return one / other if other else None
