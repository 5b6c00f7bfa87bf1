"""What a name in a condition stands for: a column of the bars, a constant, or an output of one of the algo's indicators."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from tradeagent.algos.expressions import BAR_NAMES, Expression, Name, condition, formula, problem_at
from tradeagent.algos.indicators import INDICATORS
from tradeagent.algos.spec import AlgoSpec, IndicatorUse, Level, LevelKind, SideRules, SizingKind
from tradeagent.domain.errors import InvalidInput, near

SINGLE = "value"


@dataclass(frozen=True, slots=True)
class Output:
    """One output of the indicator `name` of an algo."""

    name: str
    output: str

    @property
    def text(self) -> str:
        return self.name if self.output == SINGLE else f"{self.name}.{self.output}"


@dataclass(frozen=True, slots=True)
class BarColumn:
    name: str


Meaning = Output | BarColumn | Decimal


def meaning_of(name: Name, text: str, indicators: Mapping[str, IndicatorUse], constants: Mapping[str, Decimal]) -> Meaning:
    """What a name of the expression `text` stands for. Raises InvalidInput with the place and the nearest name."""
    if name.text in constants:
        return constants[name.text]
    if name.text in BAR_NAMES:
        return BarColumn(name.text)
    head, _, tail = name.text.partition(".")
    use = indicators.get(head)
    if use is None or use.kind not in INDICATORS:
        hint = near(name.text, [*indicators, *constants, *BAR_NAMES])
        raise problem_at(text, name.at, f"{head!r} is not an indicator, a constant or a column of the bars", hint)
    return _output(head, tail, use.kind, name, text)


def _output(head: str, tail: str, kind: str, name: Name, text: str) -> Output:
    outputs = INDICATORS[kind].outputs
    if tail in outputs:
        return Output(head, tail)
    if tail:
        raise problem_at(text, name.at, f"{kind} has no output {tail!r}", near(tail, outputs))
    main = main_output(kind)
    if main is None:
        written = ", ".join(f"{head}.{output}" for output in outputs)
        raise problem_at(text, name.at, f"{kind} has several outputs", f"write one of {written}")
    return Output(head, main)


def main_output(kind: str) -> str | None:
    """The output that an indicator's bare name means: its only one, or the one named like its kind; else None."""
    outputs = INDICATORS[kind].outputs
    return outputs[0] if len(outputs) == 1 else kind if kind in outputs else None


def sides_of(spec: AlgoSpec) -> Iterator[tuple[str, SideRules]]:
    """The sides an algo may take, with their names."""
    if spec.long is not None:
        yield "long", spec.long
    if spec.short is not None:
        yield "short", spec.short


def expressions_of(spec: AlgoSpec) -> Iterator[Expression]:
    """Every condition and confidence formula of an algo."""
    for _, side in sides_of(spec):
        for text in (*side.entry.required, *side.entry.optional, *side.exit.required, *side.exit.optional):
            yield condition(text)
        if side.entry.confidence:
            yield formula(side.entry.confidence)


def levels_of(side: SideRules) -> Iterator[Level]:
    """Every distance of a side."""
    buy_back = side.entry.buy_back
    for level in (side.exit.stop, side.exit.target, side.exit.trailing, buy_back.distance if buy_back else None):
        if level is not None:
            yield level


def atr_use(level: Level) -> IndicatorUse:
    """The indicator behind a distance of kind ATR."""
    return IndicatorUse("atr", {"length": level.length, "ma": level.ma})


def sizing_output(spec: AlgoSpec) -> Output:
    """The indicator output that `dynamic` sizing follows. Raises InvalidInput when there is none, or it is not normalised to 0–100."""
    by = spec.sizing.by
    found = meaning_of(Name(by, 0), by, spec.indicators, {})
    kind = spec.indicators[found.name].kind if isinstance(found, Output) else by
    if not isinstance(found, Output) or not INDICATORS[kind].normalised:
        known = ", ".join(sorted(name for name, indicator in INDICATORS.items() if indicator.normalised))
        raise InvalidInput(f"{kind} has no fixed range of 0 to 100 that a size could follow", hint=f"use one of {known}")
    return found


def used_by(spec: AlgoSpec) -> dict[str, IndicatorUse]:
    """The indicators whose values decide something, by name; those behind ATR distances as `atr(length, ma)`."""
    names = [name for expression in expressions_of(spec) for name in expression.names]
    heads = {name.text.partition(".")[0] for name in names}
    if spec.sizing.kind is SizingKind.DYNAMIC:
        heads.add(spec.sizing.by.partition(".")[0])
    found = {name: use for name, use in spec.indicators.items() if name in heads}
    for _, side in sides_of(spec):
        for level in levels_of(side):
            if level.kind is LevelKind.ATR:
                found[f"atr({level.length}, {level.ma})"] = atr_use(level)
    return found
