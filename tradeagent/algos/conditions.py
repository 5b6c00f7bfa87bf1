"""The conditions of an algo over a span of bars: what each said, which of them form one requirement, and where one alone was missing."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tradeagent.algos.bars import Truths
from tradeagent.algos.evaluate import Evaluator
from tradeagent.algos.expressions import condition
from tradeagent.algos.scope import sides_of
from tradeagent.algos.spec import AlgoSpec, EntryRule, ExitRule


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """One condition of a rule, a value a bar. `requirement` is what it is part of: itself when it is required, else any of the optional
    ones. `missing` counts the unmet requirements of the whole rule."""

    text: str
    is_optional: bool
    true: Truths
    requirement: Truths
    missing: npt.NDArray[np.uint8]

    @property
    def names(self) -> tuple[str, ...]:
        """Indicators and bar columns that it reads."""
        return tuple(dict.fromkeys(name.text.partition(".")[0] for name in condition(self.text).names))

    @property
    def true_bars(self) -> int:
        return int(np.count_nonzero(self.true))

    @property
    def flips(self) -> int:
        """How often it changed."""
        return int(np.count_nonzero(self.true[1:] != self.true[:-1]))

    @property
    def blocked(self) -> int:
        """Bars on which its requirement alone was missing."""
        return int(np.count_nonzero((self.missing == 1) & ~self.requirement))

    @property
    def others_met(self) -> int:
        """Bars on which everything else was there."""
        return int(np.count_nonzero(self.missing == ~self.requirement))


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One entry or exit rule that has conditions; `missing` as in `Condition`."""

    side: str
    part: str
    is_state: bool
    requirements: int
    missing: npt.NDArray[np.uint8]
    conditions: tuple[Condition, ...]

    @property
    def holds(self) -> Truths:
        holds: Truths = self.missing == 0
        return holds

    @property
    def missing_counts(self) -> tuple[int, ...]:
        """How many bars lacked none, one, two … of the requirements."""
        return tuple(int(np.count_nonzero(self.missing == count)) for count in range(self.requirements + 1))


def rules_of(evaluator: Evaluator, spec: AlgoSpec, first: int) -> Iterator[Rule]:
    """Every rule with conditions, on the bars from `first` on; a Python algorithm has none."""
    for side, rules in sides_of(spec) if spec.python is None else ():
        for part, rule in (("entry", rules.entry), ("exit", rules.exit)):
            if rule.required or rule.optional:
                yield _rule(evaluator, spec, side, part, rule, first)


def _rule(evaluator: Evaluator, spec: AlgoSpec, side: str, part: str, rule: EntryRule | ExitRule, first: int) -> Rule:
    required, optional = ([evaluator.truth(spec, text)[first:] for text in texts] for texts in (rule.required, rule.optional))
    either = [np.logical_or.reduce(optional)] if optional else []
    missing = np.zeros(len((required or either)[0]), np.uint8)
    for requirement in (*required, *either):
        missing += ~requirement
    conditions = [Condition(text, False, true, true, missing) for text, true in zip(rule.required, required, strict=True)]
    conditions += [Condition(text, True, true, either[0], missing) for text, true in zip(rule.optional, optional, strict=True)]
    return Rule(side, part, rule.state, len(required) + len(either), missing, tuple(conditions))
