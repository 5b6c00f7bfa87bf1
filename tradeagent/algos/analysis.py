"""What an algo says about the newest closed bar, in words and numbers: its signal, confidence, levels, reasons and context."""

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tradeagent.algos.evaluate import Evaluator
from tradeagent.algos.expressions import Comparison, Expression, condition
from tradeagent.algos.params import params_of
from tradeagent.algos.scope import SINGLE, sides_of
from tradeagent.algos.signals import Code, Distance, Levels
from tradeagent.algos.spec import AlgoSpec, IndicatorUse, LevelKind, SideRules
from tradeagent.domain.clock import iso

NO_SIGNAL = "none"
_CODES = {"long": (Code.HOLDS_LONG, Code.FIRE_LONG), "short": (Code.HOLDS_SHORT, Code.FIRE_SHORT)}


@dataclass(frozen=True, slots=True)
class Analysis:
    """One bar judged. `signal` is long, short or none: the entry condition that holds at its close; `fires` says that an entry would be
    made of it now. `entry`, `stop`, `target` are prices measured from the close, None where there is none; `confidence` is 0–1.

    `values` are the indicators behind it, `atr` is that of the stop, else Wilder's of 14 bars.
    """

    time_ms: int | None
    signal: str
    fires: bool
    confidence: float | None
    entry: float | None
    stop: float | None
    target: float | None
    reasons: tuple[str, ...]
    params: dict[str, str]
    atr: float | None
    values: dict[str, float | None]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; prices are texts."""
        return {
            "time": iso(self.time_ms),
            "signal": self.signal,
            "fires": self.fires,
            "confidence": self.confidence,
            "levels": {name: text_of(getattr(self, name)) for name in ("entry", "stop", "target")},
            "reasons": list(self.reasons),
            "context": {"params": self.params, "atr": text_of(self.atr), "values": self.values},
        }


def analyse(evaluator: Evaluator, spec: AlgoSpec, row: int = -1) -> Analysis:
    """Judge one row, the newest unless another is named. Too few bars are no signal, never an error and never NaN."""
    bars = evaluator.bars
    row = row if row >= 0 else len(bars) + row
    params = {name: str(value) for name, value in params_of(spec).items()}
    warm = evaluator.warmup(spec)
    if not 0 <= row < len(bars) or row < warm:
        reason = f"too few bars: the first signal needs {warm + 1:,}, there are {max(0, row + 1):,}"
        time_ms = int(bars.time[row]) if 0 <= row < len(bars) else None
        return Analysis(time_ms, NO_SIGNAL, False, None, None, None, None, (reason,), params, None, {})
    signals = evaluator.signals(spec)
    code = int(signals.codes[row])
    held = [side for side, (holds, _) in _CODES.items() if code & holds]
    side = held[0] if len(held) == 1 else NO_SIGNAL
    levels = {"long": signals.long, "short": signals.short}.get(side, Levels())
    entry = float(bars.close[row]) if side != NO_SIGNAL else None
    stop = _price(entry, side, _distance(levels.stop, entry, row), against=True)
    far = None if entry is None or stop is None else abs(entry - stop)
    target = _price(entry, side, _distance(levels.target, entry, row, far), against=False)
    return Analysis(
        time_ms=int(bars.time[row]),
        signal=side,
        fires=side != NO_SIGNAL and bool(code & _CODES[side][1]),
        confidence=_finite(float(evaluator.confidence(spec, side)[row])) if side != NO_SIGNAL else None,
        entry=entry,
        stop=stop,
        target=target,
        reasons=tuple(_reasons(evaluator, spec, row, held)),
        params=params,
        atr=_atr(evaluator, spec, row),
        values={name: _finite(float(values[row])) for name, values in evaluator.columns(spec).items()},
    )


def _reasons(evaluator: Evaluator, spec: AlgoSpec, row: int, held: list[str]) -> list[str]:
    """The conditions that hold for the signal; without one, what each side is missing."""
    if spec.python is not None:
        return [f"the Python algorithm says {held[0] if held else 'nothing'}"]
    if len(held) == 2:
        return ["the conditions of both sides hold: no entry"]
    said = []
    for side, rules in sides_of(spec):
        if held and side != held[0]:
            continue
        if not held:
            said += [
                f"{side}: {text} is not true ({_values(evaluator, spec, text, row)})" for text in _missing(evaluator, spec, rules, row)
            ]
        else:
            true = [text for text in (*rules.entry.required, *rules.entry.optional) if evaluator.truth(spec, text)[row]]
            said += [f"{text} ({_values(evaluator, spec, text, row)})" for text in true]
    return said


def _missing(evaluator: Evaluator, spec: AlgoSpec, rules: SideRules, row: int) -> list[str]:
    missing = [text for text in rules.entry.required if not evaluator.truth(spec, text)[row]]
    optional = rules.entry.optional
    if optional and not any(evaluator.truth(spec, text)[row] for text in optional):
        missing.extend(optional)
    return missing


def _values(evaluator: Evaluator, spec: AlgoSpec, text: str, row: int) -> str:
    """What a condition compares, `28.4 against 30`; for one that is no plain comparison what its names stand at."""
    expression, formulas = condition(text), evaluator.formulas(spec)
    if isinstance(expression.root, Comparison):
        sides = (expression.root.left, expression.root.right)
        left, right = (float(formulas.number(Expression(text, side, "number", ()))[row]) for side in sides)
        return f"{left:,.6g} against {right:,.6g}"
    said = []
    for name in expression.names:
        value = formulas.resolve(name, text)
        number = float(value) if isinstance(value, float) else float(value[row])
        said.append(f"{name.text} {number:,.6g}")
    return ", ".join(said)


def _distance(distance: Distance | None, entry: float | None, row: int, stop: float | None = None) -> float | None:
    """A distance in quote units."""
    if distance is None or entry is None:
        return None
    value = float(distance.value)
    match distance.kind:
        case LevelKind.PCT:
            return entry * value / 100.0
        case LevelKind.RR:
            return None if stop is None else stop * value
        case LevelKind.ATR:
            return None if distance.series is None else _finite(value * float(distance.series[row]))
    return value


def _price(entry: float | None, side: str, distance: float | None, *, against: bool) -> float | None:
    if entry is None or distance is None:
        return None
    price = entry - distance if (side == "long") == against else entry + distance
    return price if price > 0 else None


def _atr(evaluator: Evaluator, spec: AlgoSpec, row: int) -> float | None:
    stops = [rules.exit.stop for _, rules in sides_of(spec)]
    level = next((stop for stop in stops if stop is not None and stop.kind is LevelKind.ATR), None)
    use = IndicatorUse("atr", {"length": level.length, "ma": level.ma} if level else {})
    return _finite(float(evaluator.outputs(use)[SINGLE][row]))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def text_of(value: float | None) -> str | None:
    """A price without the noise of binary fractions: ten significant figures, never in exponents."""
    return None if value is None else f"{Decimal(f'{value:.10g}'):f}"
