"""How an algo meets a span of bars: how often each condition and rule is true, where one condition alone stood in the way, and which."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tradeagent.algos.conditions import Condition, Rule, rules_of
from tradeagent.algos.evaluate import Evaluator, edges
from tradeagent.algos.signals import Code
from tradeagent.algos.spec import AlgoSpec
from tradeagent.domain.errors import DataError, InvalidInput


@dataclass(frozen=True, slots=True)
class ConditionUse:
    """One condition over the bars after the warm-up. `blocked`: bars on which it alone was missing; `flips`: how often it changed."""

    condition: str
    group: str
    true_bars: int
    true_pct: float
    flips: int
    blocked: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RuleUse:
    """One entry or exit rule. `fires` counts its signals, `near_misses` the bars that lacked one requirement; all optional conditions
    together are one requirement. `missing[k]` counts the bars that lacked k."""

    side: str
    part: str
    requirements: int
    true_bars: int
    true_pct: float
    fires: int
    near_misses: int
    missing: tuple[int, ...]
    conditions: tuple[ConditionUse, ...]


def explore(evaluator: Evaluator, spec: AlgoSpec) -> dict[str, Any]:
    """Everything about an algo on the evaluator's bars that needs no account, as JSON values.

    `ambiguous` counts the bars on which both sides fired; `zero_divisions` the rows on which a condition divided by zero.
    """
    signals = evaluator.signals(spec)
    codes, warm = signals.codes, signals.warmup
    rules = [_used(rule) for rule in rules_of(evaluator, spec, warm)]
    both = Code.FIRE_LONG | Code.FIRE_SHORT
    return {
        "bars": len(codes),
        "warmup": warm,
        "signals": {code.name.lower(): int(np.count_nonzero(codes & code)) for code in Code if code.name},
        "ambiguous": int(np.count_nonzero((codes & both) == both)),
        "zero_divisions": signals.zero_divisions,
        "rules": [asdict(rule) for rule in rules],
        "blockers": _blockers(rules),
        "indicators": {name: _summary(values) for name, values in evaluator.columns(spec).items()},
    }


def write_values(path: Path, evaluator: Evaluator, spec: AlgoSpec) -> list[str]:
    """Write a Parquet file of time (ms), open, high, low, close, volume and every indicator output; the names of its columns.

    Raises InvalidInput for another suffix, DataError when the file cannot be written; it is written whole or not at all.
    """
    import duckdb

    if path.suffix != ".parquet":
        raise InvalidInput(f"--values: {path} does not end in .parquet", hint="write --values values.parquet")
    bars = evaluator.bars
    columns: dict[str, npt.NDArray[Any]] = {name: getattr(bars, name) for name in ("time", "open", "high", "low", "close", "volume")}
    columns |= {name: values for name, values in evaluator.columns(spec).items() if name not in columns}
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with duckdb.connect(":memory:") as connection:
            connection.register("columns", columns)
            connection.execute(f"COPY (SELECT * FROM columns) TO '{str(temporary).replace(chr(39), chr(39) * 2)}' (FORMAT parquet)")
        temporary.replace(path)
    except (duckdb.Error, OSError) as error:
        raise DataError(f"--values: {path} cannot be written: {error}", hint="check that its folder exists and can be written") from error
    finally:
        temporary.unlink(missing_ok=True)
    return list(columns)


def _used(rule: Rule) -> RuleUse:
    fires = rule.holds if rule.is_state else edges(rule.holds)
    counts = rule.missing_counts
    near = counts[1] if rule.requirements > 1 else 0
    uses = tuple(_condition(use) for use in rule.conditions)
    true_pct = _pct(counts[0], len(rule.missing))
    return RuleUse(rule.side, rule.part, rule.requirements, counts[0], true_pct, int(np.count_nonzero(fires)), near, counts, uses)


def _condition(use: Condition) -> ConditionUse:
    group = "optional" if use.is_optional else "required"
    return ConditionUse(use.text, group, use.true_bars, _pct(use.true_bars, len(use.true)), use.flips, use.blocked, use.names)


def _blockers(rules: list[RuleUse]) -> list[dict[str, Any]]:
    """What stood alone in the way of entries, the most frequent first, by condition and with the indicators it reads."""
    found = [
        {"side": rule.side, "condition": use.condition, "indicators": list(use.names), "blocked": use.blocked}
        for rule in rules
        if rule.part == "entry" and rule.requirements > 1
        for use in rule.conditions
        if use.blocked
    ]
    return sorted(found, key=lambda row: -int(str(row["blocked"])))


def _summary(values: npt.NDArray[np.float64]) -> dict[str, float | int | None]:
    known = values[~np.isnan(values)]
    if not len(known):
        return {"values": 0, "lowest": None, "mean": None, "highest": None, "last": None}
    last = float(values[-1])
    span = {"lowest": float(known.min()), "mean": float(known.mean()), "highest": float(known.max())}
    return {"values": len(known), **span, "last": None if np.isnan(last) else last}


def _pct(count: int, of: int) -> float:
    return 100.0 * count / of if of else 0.0
