"""The limits table: every cap, its default by who proposes, and the platform ceiling. Only a person writes their values."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from tradeagent.domain.errors import InvalidConfig, UnknownKey
from tradeagent.domain.money import parse_decimal
from tradeagent.domain.names import LimitKind

Value = Decimal | bool | None
Network = Literal["paper", "live"]


@dataclass(frozen=True, slots=True)
class LimitSpec:
    """One row of the table: defaults for agent, algo, engine, manual, and the ceilings for paper and live; None = off.

    `most` bounds what is a probability or a share of a whole.
    """

    key: str
    meaning: str
    defaults: tuple[Value, Value, Value, Value]
    ceilings: tuple[Value, Value] = (None, None)
    whole: bool = False
    most: int | None = None


def _d(text: str | None) -> Value:
    return None if text is None else Decimal(text)


def _row(
    key: str,
    meaning: str,
    defaults: tuple[str | None, ...],
    ceilings: tuple[str | None, str | None] = (None, None),
    whole: bool = False,
    most: int | None = None,
) -> LimitSpec:
    agent, algo, engine, manual = (_d(value) for value in defaults)
    return LimitSpec(key, meaning, (agent, algo, engine, manual), (_d(ceilings[0]), _d(ceilings[1])), whole, most)


LIMITS: tuple[LimitSpec, ...] = (
    _row("max_single_order_quote", "planned total of one order or executor, quote", ("100", None, None, None), (None, "500")),
    _row("max_position_size_quote", "the deployment's worst case over all its markets, quote", ("500", None, None, None), (None, "2000")),
    _row("max_position_pct", "worst case in one market, % of equity", ("20", "100", "20", "100"), ("1000", "100")),
    _row("max_total_exposure_pct", "worst case over the wallet, % of equity", ("100", "100", "100", "300"), ("1000", "300")),
    _row("max_leverage", "leverage setting, and total notional over equity", ("3", "3", "3", "10"), ("50", "10")),
    _row("max_open_executors", "executors alive at once", ("5", "5", "5", "20"), (None, "100"), whole=True),
    _row("max_open_positions", "markets with a position", ("3", "3", "3", "10"), (None, "50"), whole=True),
    _row("max_positions_per_market", "entries holding inventory in one market", ("5", "1", "1", "5"), (None, "20"), whole=True),
    _row("max_daily_loss_quote", "loss since 00:00 UTC that halts, quote", ("50", None, None, None)),
    _row("max_daily_loss_pct", "loss since 00:00 UTC that halts, % of day-start equity", (None, "5", "2", None), (None, "20"), most=100),
    _row("max_drawdown_pct", "drawdown of nav that locks entries, %", ("10", "20", "10", None), ("100", "50")),
    _row("halt_drawdown_pct", "drawdown of nav that halts and flattens, %", ("15", "30", "15", None), ("100", "75")),
    _row("max_risk_per_trade_pct", "|entry − stop| · size, % of equity", ("0.5", None, "0.5", None), (None, "5"), most=100),
    _row("max_portfolio_risk_quote", "open risk of positions and pending entries, quote", ("50", None, None, None)),
    _row("max_market_risk_pct", "open risk in one market, % of the effective portfolio cap", ("40", None, None, None), most=100),
    _row("max_daily_trades", "entries accepted since 00:00 UTC", ("12", None, "12", None), (None, "1000"), whole=True),
    _row("cooldown_minutes", "minutes after going flat before a new entry in that market", ("0", "0", "30", "0")),
    _row("min_confidence", "least confidence of an entry, 0 to 1", ("0", "0", "0.6", "0"), most=1),
    _row("min_conviction", "least conviction of a risk trade, 0 to 100", ("0", "0", "0", "0"), most=100),
    _row("min_reward_risk", "least reward over risk when both levels are given", ("1.0", None, "1.0", None)),
    _row("min_stop_to_cost", "least stop distance over round-trip cost", (None, None, "2", None)),
    LimitSpec("require_stops", "an entry must carry a stop", (True, False, True, False)),
    LimitSpec("require_targets", "an entry must carry a target", (False, False, True, False)),
    _row("price_band_pct", "limit price at most this far from the mark, %", ("5", "5", "5", "5"), ("80", "80")),
)
SPECS: Mapping[str, LimitSpec] = {spec.key: spec for spec in LIMITS}
WALLET_WIDE = (
    "max_position_pct",
    "max_total_exposure_pct",
    "max_leverage",
    "max_open_positions",
    "max_daily_loss_quote",
    "max_daily_loss_pct",
    "max_drawdown_pct",
    "halt_drawdown_pct",
    "max_portfolio_risk_quote",
    "max_market_risk_pct",
)
"""Caps on what the whole wallet holds, risks or has lost, whoever trades on it."""
_KINDS = (LimitKind.AGENT, LimitKind.ALGO, LimitKind.ENGINE, LimitKind.MANUAL)
_MINIMUMS = frozenset({"min_confidence", "min_conviction", "min_reward_risk", "min_stop_to_cost", "cooldown_minutes"})


@dataclass(frozen=True, slots=True)
class Limits:
    """Resolved limits of one kind of proposer; `origin` says where each value came from."""

    kind: LimitKind
    values: Mapping[str, Value]
    origin: Mapping[str, str]

    def number(self, key: str) -> Decimal | None:
        """The cap, or None when off."""
        value = self.values[key]
        return value if isinstance(value, Decimal) else None

    def flag(self, key: str) -> bool:
        return self.values[key] is True

    def as_dict(self) -> dict[str, str | bool | None]:
        return {key: value if isinstance(value, bool) or value is None else str(value) for key, value in self.values.items()}


def parse_limit(key: str, raw: Any, where: str = "limits") -> Value:
    """One value as a person wrote it: a number ≥ 0, true or false, or null (off). Errors name the key and the fix."""
    spec = SPECS.get(key)
    if spec is None:
        near = difflib.get_close_matches(key, SPECS, n=1)
        raise UnknownKey(
            f"{where}: unknown limit {key!r}",
            hint=f"did you mean {near[0]!r}?" if near else f"known limits: {', '.join(SPECS)}",
            details={"key": key},
        )
    if isinstance(spec.defaults[0], bool):
        if isinstance(raw, bool):
            return raw
        if isinstance(raw, str) and raw.lower() in ("true", "false"):
            return raw.lower() == "true"
        raise InvalidConfig(f"{where}.{key}: {raw!r} is not true or false", details={"key": key})
    if raw is None or raw in ("off", "–", "-"):
        return None
    if isinstance(raw, bool) or not isinstance(raw, (int, float, str, Decimal)):
        raise InvalidConfig(f"{where}.{key}: {raw!r} is not a number", hint=f"write {key}: 100", details={"key": key})
    value = parse_decimal(str(raw), f"{where}.{key}")
    if value < 0 or (value == 0 and key not in _MINIMUMS):
        raise InvalidConfig(f"{where}.{key}: {value} must be above 0", hint="write null to switch the limit off", details={"key": key})
    if spec.most is not None and value > spec.most:
        least = "from 0 to" if key in _MINIMUMS else "above 0 and at most"
        raise InvalidConfig(
            f"{where}.{key}: {value} must be {least} {spec.most}",
            hint=f"write {key}: {spec.most} or less, or null to switch the limit off",
            details={"key": key, "value": str(value), "most": str(spec.most)},
        )
    if spec.whole and value != value.to_integral_value():
        raise InvalidConfig(f"{where}.{key}: {value} must be a whole number", details={"key": key})
    return value


def resolve_limits(
    kind: LimitKind,
    written: Mapping[str, Any],
    *,
    network: Network = "paper",
    ceilings: Mapping[str, Any] | None = None,
    where: str = "limits",
) -> Limits:
    """Defaults of `kind` under what a person wrote, checked against each other and the ceilings; never clamped silently.

    Raises UnknownKey or InvalidConfig naming the key, its value and the bound.
    """
    values: dict[str, Value] = {spec.key: spec.defaults[_KINDS.index(kind)] for spec in LIMITS}
    origin = dict.fromkeys(values, "default")
    for key, raw in written.items():
        values[key] = parse_limit(key, raw, where)
        origin[key] = where
    if "max_drawdown_pct" in written and "halt_drawdown_pct" not in written:
        cap = values["max_drawdown_pct"]
        values["halt_drawdown_pct"] = min(Decimal(100), cap * Decimal("1.5")) if isinstance(cap, Decimal) else None
        origin["halt_drawdown_pct"] = "1.5 × max_drawdown_pct"
    _check_ceilings(values, origin, written, network, ceilings or {}, where)
    lock, halt = values["max_drawdown_pct"], values["halt_drawdown_pct"]
    is_off = origin["max_drawdown_pct"] == "ceiling"
    if isinstance(lock, Decimal) and isinstance(halt, Decimal) and halt < lock and not is_off:
        raise InvalidConfig(
            f"{where}: halt_drawdown_pct {halt} is below max_drawdown_pct {lock}",
            hint=f"set halt_drawdown_pct to at least {lock}",
            details={"key": "halt_drawdown_pct"},
        )
    return Limits(kind, values, origin)


def sharing(limits: Limits, tenant: Limits) -> Limits:
    """`limits` of somebody who trades beside a deployment: of each cap on the whole wallet, the tighter of the two."""
    values, origin = dict(limits.values), dict(limits.origin)
    for key in WALLET_WIDE:
        own, other = limits.number(key), tenant.number(key)
        if other is not None and (own is None or other < own):
            values[key], origin[key] = other, "the deployment"
    return Limits(limits.kind, values, origin)


def ceiling_of(key: str, network: Network, overrides: Mapping[str, Any] | None = None) -> Decimal | None:
    """The platform ceiling of a limit on paper or live, or None."""
    if overrides and key in overrides:
        value = parse_limit(key, overrides[key], f"ceilings.{network}")
    else:
        value = SPECS[key].ceilings[0 if network == "paper" else 1]
    return value if isinstance(value, Decimal) else None


def _check_ceilings(
    values: dict[str, Value], origin: dict[str, str], written: Mapping[str, Any], network: Network, overrides: Mapping[str, Any], where: str
) -> None:
    """A written value above its ceiling is an error; a default above it, or a limit that is off, is bound by it and says so."""
    for key, value in values.items():
        ceiling = ceiling_of(key, network, overrides)
        if ceiling is None or (isinstance(value, Decimal) and value <= ceiling):
            continue
        if key in written and value is not None:
            raise InvalidConfig(
                f"{where}.{key}: {value} is above the {network} ceiling {ceiling}",
                hint=f"lower it to {ceiling} or raise ceilings.{network}.{key} in config.yml",
                details={"key": key, "value": str(value), "ceiling": str(ceiling)},
            )
        values[key], origin[key] = ceiling, "ceiling"


def limit_warnings(limits: Limits) -> list[str]:
    """Pairs where the tighter cap binds anyway, said so that nobody wonders."""
    pairs = (("max_single_order_quote", "max_position_size_quote"), ("max_portfolio_risk_quote", "max_daily_loss_quote"))
    found = []
    for inner, outer in pairs:
        a, b = limits.number(inner), limits.number(outer)
        if a is not None and b is not None and a > b:
            found.append(f"{inner} {a} is above {outer} {b}: the tighter one binds")
    return found
