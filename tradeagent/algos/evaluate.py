"""From an algo and a market's bars to signals: indicators computed once each, conditions as columns, one byte of codes a row."""

from collections import OrderedDict
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from tradeagent.algos.align import Coarser, coarser
from tradeagent.algos.bars import Bars, Floats, Truths
from tradeagent.algos.expressions import Name, condition, formula
from tradeagent.algos.formulas import Formulas, Value, look_back
from tradeagent.algos.indicators import INDICATORS, compute, warmup
from tradeagent.algos.indicators.hot import SIMPLE, two_averages
from tradeagent.algos.memory import keep_freed_columns
from tradeagent.algos.scope import SINGLE, BarColumn, Output, atr_use, expressions_of, meaning_of, sides_of, sizing_output, used_by
from tradeagent.algos.signals import Code, Codes, Distance, Levels, Signals
from tradeagent.algos.spec import AlgoSpec, IndicatorUse, Level, LevelKind, Param, SideRules, SizingKind
from tradeagent.domain.bars import interval_text
from tradeagent.domain.errors import DataError

MEMORY_BYTES = 256 * 1024 * 1024
_FIRE = {"long": Code.FIRE_LONG, "short": Code.FIRE_SHORT}
_HOLDS = {"long": Code.HOLDS_LONG, "short": Code.HOLDS_SHORT}
_EXIT = {"long": Code.EXIT_LONG, "short": Code.EXIT_SHORT}
_Asked = tuple[str, tuple[tuple[str, int | float], ...]]
_Key = tuple[str, tuple[tuple[str, Param], ...], int]


class Evaluator:
    """What any algo says about one market's bars. Each indicator is computed once per (kind, parameters, interval) and kept, up to
    `memory_bytes` of columns, the least recently used going first. `unlocked` names what the system lacked to lock up a Python algorithm
    that ran all the same. Not for several threads at once."""

    def __init__(self, bars: Bars, *, memory_bytes: int = MEMORY_BYTES) -> None:
        keep_freed_columns()
        self.bars = bars
        self._memory_bytes = memory_bytes
        self._held_bytes = 0
        self._outputs: OrderedDict[_Key, dict[str, Floats]] = OrderedDict()
        self._coarser: dict[int, Coarser] = {}
        self._python_answer: tuple[_Asked, npt.NDArray[np.int8]] | None = None
        self.unlocked: tuple[str, ...] = ()

    def signals(self, spec: AlgoSpec) -> Signals:
        """Codes, level distances and size factors of every row; rows before the warm-up are 0.

        Raises InvalidInput when the algo does not fit the bars' interval, DataError when a Python algorithm fails.
        """
        warm = min(self.warmup(spec), len(self.bars))
        self._average(spec)
        formulas = self.formulas(spec)
        codes = np.zeros(len(self.bars), np.uint8)
        levels = {"long": Levels(), "short": Levels()}
        for side, rules in sides_of(spec):
            levels[side] = self._levels(rules)
            if spec.python is None:
                holds = self._rule(formulas, rules.entry.required, rules.entry.optional)
                _flag(codes, holds, warm, _HOLDS[side], _FIRE[side], is_state=rules.entry.state)
                if rules.exit.required or rules.exit.optional:
                    leaves = self._rule(formulas, rules.exit.required, rules.exit.optional)
                    _flag(codes, leaves, warm, Code(0), _EXIT[side], is_state=rules.exit.state)
        if spec.python is not None:
            self._python(spec, codes, warm)
        return Signals(codes, warm, levels["long"], levels["short"], self._scale(spec), formulas.zero_divisions)

    def columns(self, spec: AlgoSpec) -> dict[str, Floats]:
        """Every indicator output of an algo as it is seen on each row, named `name`, or `name.output` where there are several."""
        found: dict[str, Floats] = {}
        for name, use in spec.indicators.items():
            for output, values in self.outputs(use).items():
                found[name if len(INDICATORS[use.kind].outputs) == 1 else f"{name}.{output}"] = values
        return found

    def formulas(self, spec: AlgoSpec) -> Formulas:
        """The means to compute an algo's expressions over these bars."""

        def resolve(name: Name, text: str) -> Value:
            meaning = meaning_of(name, text, spec.indicators, spec.constants)
            match meaning:
                case Decimal():
                    return float(meaning)
                case BarColumn(column):
                    values: Floats = getattr(self.bars, column)
                    return values
                case Output(head, output):
                    return self.outputs(spec.indicators[head])[output]

        return Formulas(len(self.bars), resolve, tie=float(spec.tie))

    def truth(self, spec: AlgoSpec, text: str) -> Truths:
        """Where one condition of an algo is true, its warm-up masked."""
        found = self.formulas(spec).truth(condition(text))
        found[: self.warmup(spec)] = False
        return found

    def confidence(self, spec: AlgoSpec, side: str) -> Floats:
        """The algo's stated confidence in an entry of one side, 0–1; NaN where it states none."""
        rules = dict(sides_of(spec)).get(side)
        if rules is None or not rules.entry.confidence:
            return np.full(len(self.bars), np.nan)
        return np.clip(self.formulas(spec).number(formula(rules.entry.confidence)), 0.0, 1.0)

    def outputs(self, use: IndicatorUse) -> dict[str, Floats]:
        """Every output of one indicator on each row, NaN while it warms up."""
        key = _key(use, self.bars.interval_ms)
        found = self._outputs.get(key)
        if found is not None:
            self._outputs.move_to_end(key)
            return found
        found = self._computed(use)
        self._keep(key, found)
        return found

    def _keep(self, key: _Key, found: dict[str, Floats]) -> None:
        for values in found.values():
            values.setflags(write=False)
        self._outputs[key] = found
        self._held_bytes += _bytes(found)
        while self._held_bytes > self._memory_bytes and len(self._outputs) > 1:
            _, dropped = self._outputs.popitem(last=False)
            self._held_bytes -= _bytes(dropped)

    def _average(self, spec: AlgoSpec) -> None:
        """Compute the simple averages that an algo takes of one column two at a time, which costs little more than one of them."""
        of_column: dict[str, dict[_Key, int]] = {}
        for use in used_by(spec).values():
            key = _key(use, self.bars.interval_ms)
            is_of_bars = use.interval_ms in (None, self.bars.interval_ms) and key not in self._outputs
            if is_of_bars and use.kind == SIMPLE and warmup(use.kind, use.params) < len(self.bars):
                params = dict(key[1])
                of_column.setdefault(str(params["source"]), {})[key] = int(params["length"])
        for column, lengths in of_column.items():
            keys = list(lengths)
            for first, second in zip(keys[::2], keys[1::2], strict=False):
                for key, values in zip((first, second), two_averages(self.bars, column, lengths[first], lengths[second]), strict=True):
                    self._keep(key, {SINGLE: values})

    def warmup(self, spec: AlgoSpec) -> int:
        """The first row on which everything that an algo uses has a value; may be at or beyond the number of rows."""
        rows = [self._first_row(use) for use in used_by(spec).values()]
        return max(rows, default=0) + max((look_back(each, spec.constants) for each in expressions_of(spec)), default=0)

    def _first_row(self, use: IndicatorUse) -> int:
        own = warmup(use.kind, use.params)
        if use.interval_ms in (None, self.bars.interval_ms):
            return own
        higher = self._at(use.interval_ms or 0)
        if own < len(higher.bars):
            return higher.first_row(own)
        return max(len(self.bars), _rows_of(own, higher.bars.interval_ms // self.bars.interval_ms))

    def _computed(self, use: IndicatorUse) -> dict[str, Floats]:
        if use.interval_ms in (None, self.bars.interval_ms):
            return compute(use.kind, self.bars, use.params)
        higher = self._at(use.interval_ms or 0)
        return {output: higher.spread(values) for output, values in compute(use.kind, higher.bars, use.params).items()}

    def _at(self, interval_ms: int) -> Coarser:
        if interval_ms not in self._coarser:
            self._coarser[interval_ms] = coarser(self.bars, interval_ms)
        return self._coarser[interval_ms]

    def _rule(self, formulas: Formulas, required: Sequence[str], optional: Sequence[str]) -> Truths:
        """All of `required`, and one of `optional` when there are any; what it says in the warm-up means nothing."""
        found: Truths | None = None
        for text in required:
            true = formulas.truth(condition(text))
            found = true if found is None else np.logical_and(found, true, out=found)
        if optional:
            either = formulas.truth(condition(optional[0]))
            for text in optional[1:]:
                np.logical_or(either, formulas.truth(condition(text)), out=either)
            found = either if found is None else np.logical_and(found, either, out=found)
        return np.zeros(len(self.bars), np.bool_) if found is None else found

    def _levels(self, rules: SideRules) -> Levels:
        leave, buy_back = rules.exit, rules.entry.buy_back
        stop = self._distance(leave.stop)
        trailing = stop if leave.trailing is not None and leave.trailing.kind is LevelKind.RR else self._distance(leave.trailing)
        return Levels(stop, self._distance(leave.target), trailing, self._distance(buy_back.distance if buy_back else None))

    def _distance(self, level: Level | None) -> Distance | None:
        if level is None:
            return None
        if level.kind is not LevelKind.ATR:
            return Distance(level.kind, level.value)
        return Distance(level.kind, level.value, self.outputs(atr_use(level))[SINGLE])

    def _scale(self, spec: AlgoSpec) -> Floats | None:
        if spec.sizing.kind is not SizingKind.DYNAMIC:
            return None
        by = sizing_output(spec)
        values = np.clip(self.outputs(spec.indicators[by.name])[by.output] / 100.0, 0.0, 1.0)
        return 1.0 - values if spec.sizing.inverted else values

    def _python(self, spec: AlgoSpec, codes: Codes, warm: int) -> None:
        """+1, 0, −1 of a Python algorithm as codes: it fires on the change to a side, and leaves as soon as it no longer says so."""
        said = self._said(spec)
        for side, value in (("long", 1), ("short", -1)):
            if getattr(spec, side) is None:
                continue
            holds = said == value
            _flag(codes, holds, warm, _HOLDS[side], _FIRE[side])
            holds[:warm] = False
            np.bitwise_or(codes, np.uint8(_EXIT[side]), out=codes, where=~holds)

    def _said(self, spec: AlgoSpec) -> npt.NDArray[np.int8]:
        """What a Python algorithm answers on these bars; the newest answer is kept, because asking starts a process."""
        from tradeagent.algos.sandbox import Sandbox

        source, params = spec.python or "", python_params(spec)
        asked = (source, tuple(params.items()))
        if self._python_answer is None or self._python_answer[0] != asked:
            with Sandbox(source, self.bars, allow_unsafe=spec.may_run_unlocked) as sandbox:
                self._python_answer = asked, sandbox.signals(params)
                self.unlocked = tuple(sandbox.missing)
        return self._python_answer[1]


def edges(holds: Truths) -> Truths:
    """Where a condition becomes true; what was before the first row counts as false."""
    found = holds.copy()
    np.greater(holds[1:], holds[:-1], out=found[1:])
    return found


def warmup_of(spec: AlgoSpec) -> int:
    """Bars that may pass before an algo can say anything, wherever the data begins: the longest of its indicators, functions included."""
    longest = 0
    for use in used_by(spec).values():
        own = warmup(use.kind, use.params)
        ratio = use.interval_ms // spec.interval_ms if use.interval_ms and spec.interval_ms else 1
        longest = max(longest, _rows_of(own, ratio))
    return longest + max((look_back(each, spec.constants) for each in expressions_of(spec)), default=0)


def python_params(spec: AlgoSpec) -> dict[str, int | float]:
    """What a Python algorithm's function is called with: the constants, whole ones as int."""
    return {name: int(value) if value == value.to_integral_value() else float(value) for name, value in spec.constants.items()}


def require_bars(spec: AlgoSpec, bars: Bars) -> None:
    """Raises DataError when there are too few bars for the algo to ever say anything."""
    need = Evaluator(bars).warmup(spec)
    if need >= len(bars):
        interval = interval_text(bars.interval_ms)
        raise DataError(
            f"{spec.name} needs more than {need:,} bars of {interval} before its first signal; there are {len(bars):,}",
            hint="import more bars, or shorten the longest indicator",
        )


def _rows_of(own: int, ratio: int) -> int:
    """Rows before the first value of an indicator that needs `own` bars `ratio` times as long, wherever the data begins in a bucket."""
    return own if ratio == 1 else (own + 2) * ratio - 2


def _flag(codes: Codes, true: Truths, warm: int, always: Code, begins: Code, *, is_state: bool = False) -> None:
    """Write a condition down: `always` where it is true after the warm-up, `begins` where it becomes so, or all along for a state."""
    from tradeagent.algos.codes import flag

    flag(codes, true, warm, np.uint8(always | begins if is_state else always), np.uint8(0 if is_state else begins))


def _key(use: IndicatorUse, interval_ms: int) -> _Key:
    params = {**INDICATORS[use.kind].defaults, **use.params}
    return use.kind, tuple(params.items()), use.interval_ms or interval_ms


def _bytes(outputs: dict[str, Floats]) -> int:
    return sum(values.nbytes for values in outputs.values())
