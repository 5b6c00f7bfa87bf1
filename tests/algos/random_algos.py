"""Random valid algos from a seeded generator: every feature of the format, small indicators, so that a few hundred bars are enough."""

import json
from typing import Any

import numpy as np

from tradeagent.algos.parse import parse_algo
from tradeagent.algos.spec import AlgoSpec
from tradeagent.domain.bars import interval_text

INDICATORS: dict[str, tuple[dict[str, tuple[int, int]], list[str]]] = {
    "sma": ({"length": (2, 12)}, ["close > {n}", "close < {n}", "cross_above(close, {n})", "cross_below(close, {n})", "rising({n}, 2)"]),
    "ema": ({"length": (2, 12)}, ["low > {n}", "high < {n}", "falling({n}, 3)", "{n} > shift({n}, 2)", "abs(close - {n}) / close > 0.001"]),
    "rsi": ({"length": (3, 10)}, ["{n} < 40", "{n} > 60", "not ({n} > 45)", "cross_above({n}, 50)", "40 < {n} < 55"]),
    "donchian": (
        {"length": (3, 12)},
        ["close > shift({n}.upper, 1)", "low < shift({n}.lower, 1)", "close > 0.5 * ({n}.upper + {n}.lower)"],
    ),
    "atr": ({"length": (3, 10)}, ["high - low > {n}", "{n} > lowest({n}, 5)", "close - open > 0.5 * {n} or open - close > 0.5 * {n}"]),
    "bollinger": ({"length": (4, 15)}, ["close < {n}.lower", "close > {n}.upper", "cross_below(close, {n}.middle)"]),
}
BARE = ["close > open", "close < open", "volume > 0", "close > highest(shift(high, 1), 3)", "close < lowest(shift(low, 1), 3)",
        "max(open, close) < shift(high, 1)", "funding >= 0 or funding < 0"]  # fmt: skip


def random_algo(rng: np.random.Generator, market: str, interval_ms: int, *, levels: bool = True) -> AlgoSpec:
    """A valid algo on bars of `interval_ms`; the same generator state gives the same algo. `levels` False leaves all levels out."""
    return parse_algo(random_text(rng, market, interval_ms, levels=levels), "random.yml")


def random_text(rng: np.random.Generator, market: str, interval_ms: int, *, levels: bool = True) -> str:
    """Its YAML (written as JSON, which is YAML)."""
    make = _Maker(rng, interval_ms, levels=levels)
    direction = make.pick(["both", "both", "long", "short"])
    sides = ["long", "short"] if direction == "both" else [direction]
    entry = {side: make.entry() for side in sides}
    written: dict[str, Any] = {"name": "random", "market": market, "interval": interval_text(interval_ms), "direction": direction}
    written["entry"] = entry
    written["exit"] = {side: make.exit() for side in sides}
    written["sizing"] = make.sizing(written["exit"])
    written["leverage"] = int(make.pick([1, 1, 2, 3, 5]))
    written["timeout"] = {"mode": make.pick(["cooldown_only", "regular", "strict"]), "bars": int(make.pick([0, 0, 1, 3, 8]))}
    written["indicators"] = make.indicators
    if make.chance(0.2):
        written["tie"] = make.number(0.0, 0.5)
    return json.dumps(written, ensure_ascii=False)


class _Maker:
    """Draws parts; the indicators they need collect in `indicators`."""

    def __init__(self, rng: np.random.Generator, interval_ms: int, *, levels: bool) -> None:
        self._rng = rng
        self._interval_ms = interval_ms
        self._levels = levels
        self.indicators: dict[str, dict[str, Any]] = {}

    def pick(self, options: list[Any]) -> Any:
        return options[int(self._rng.integers(len(options)))]

    def chance(self, share: float) -> bool:
        return bool(self._rng.random() < share)

    def number(self, low: float, high: float) -> float:
        return round(float(self._rng.uniform(low, high)), 2)

    def entry(self) -> dict[str, Any]:
        rule = self._conditions(1, 2)
        if self.chance(0.3):
            rule["state"] = True
        if self.chance(0.15):
            rule["armed_by"] = self.pick(["stop", "target"])
        if self.chance(0.2) and self._levels:
            rule["buy_back"] = {**self._distance(), "trailing": self.chance(0.5)}
        return rule

    def exit(self) -> dict[str, Any]:
        rule = self._conditions(0, 1)
        if rule.get("required") and self.chance(0.3):
            rule["state"] = True
        if not self._levels:
            return rule
        if self.chance(0.75):
            rule["stop_loss"] = self._distance()
            if self.chance(0.4):
                rule["trailing"] = True if self.chance(0.5) else self._distance()
        if self.chance(0.6):
            rule["take_profit"] = {"rr": self.number(0.5, 3.0)} if "stop_loss" in rule and self.chance(0.6) else self._distance()
        return rule

    def sizing(self, exits: dict[str, dict[str, Any]]) -> dict[str, Any]:
        kinds = ["abs", "pct_of_equity", "pct_of_equity", "dynamic"]
        if all("stop_loss" in rule for rule in exits.values()):
            kinds += ["risk_pct", "risk_pct"]
        kind = self.pick(kinds)
        if kind != "dynamic":
            low, high = {"abs": (50.0, 900.0), "pct_of_equity": (5.0, 120.0), "risk_pct": (0.1, 3.0)}[kind]
            return {kind: self.number(low, high)}
        name = self._indicator("rsi")
        return {"dynamic": {"pct": self.number(20.0, 100.0), "by": name, "inverted": self.chance(0.5)}}

    def _conditions(self, least: int, most: int) -> dict[str, Any]:
        rule: dict[str, Any] = {}
        required = [self._condition() for _ in range(int(self._rng.integers(least, most + 1)))]
        if required:
            rule["required"] = required
        if self.chance(0.25) and (required or least):
            rule["optional"] = [self._condition() for _ in range(int(self._rng.integers(1, 3)))]
        return rule

    def _condition(self) -> str:
        if self.chance(0.2):
            return str(self.pick(BARE))
        kind = self.pick(list(INDICATORS))
        return str(self.pick(INDICATORS[kind][1])).format(n=self._indicator(kind))

    def _indicator(self, kind: str) -> str:
        for name, use in self.indicators.items():
            if use["kind"] == kind and self.chance(0.5):
                return name
        name = f"{kind}_{len(self.indicators)}"
        use = {"kind": kind} | {key: int(self._rng.integers(*ends)) for key, ends in INDICATORS[kind][0].items()}
        if self.chance(0.2):
            use["interval"] = interval_text(self._interval_ms * int(self.pick([2, 3, 4])))
        self.indicators[name] = use
        return name

    def _distance(self) -> dict[str, Any]:
        kind = self.pick(["pct", "pct", "atr", "abs"])
        if kind == "atr":
            return {"atr": self.number(0.5, 4.0), "length": int(self._rng.integers(3, 15)), "ma": self.pick(["rma", "sma"])}
        return {kind: self.number(0.1, 4.0)} if kind == "pct" else {kind: self.number(0.5, 300.0)}
