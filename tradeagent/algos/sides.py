"""Entry and exit rules, levels and sizing as they are written in an algo's YAML."""

from collections.abc import Collection
from decimal import Decimal
from typing import Any

from tradeagent.algos.fields import Fields, shown
from tradeagent.algos.spec import BuyBack, EntryRule, ExitRule, Level, LevelKind, SideRules, Sizing, SizingKind
from tradeagent.domain.names import ExitReason
from tradeagent.workspace.yaml_text import KeyPath

ENTRY_KEYS = ("required", "optional", "state", "armed_by", "buy_back", "confidence")
EXIT_KEYS = ("required", "optional", "state", "stop_loss", "take_profit", "trailing")
DISTANCES = (LevelKind.PCT, LevelKind.ATR, LevelKind.ABS)
ATR_KEYS = ("length", "ma")
ATR_AVERAGES = ("rma", "sma")
ARMED_BY = (ExitReason.STOP, ExitReason.TARGET)
DEFAULT_SIZING = Sizing(SizingKind.PCT_OF_EQUITY, Decimal(50))
_MOST = 1_000_000_000


def read_side(fields: Fields, side: str, *, is_python: bool) -> SideRules:
    """Entry and exit of one side; a Python algorithm's carry levels only."""
    return SideRules(_entry(fields, ("entry", side), is_python=is_python), _exit(fields, ("exit", side), is_python=is_python))


def _entry(fields: Fields, path: KeyPath, *, is_python: bool) -> EntryRule:
    known = ("armed_by", "buy_back") if is_python else ENTRY_KEYS
    written = fields.section(path, known, 'long: {required: ["rsi < 30"]}')
    required, optional = fields.lines((*path, "required")), fields.lines((*path, "optional"))
    if not is_python and not required and not optional and not fields.has_problem(path):
        fields.wrong(path, "an empty condition: it would never enter", 'write required: ["rsi < 30"]')
    armed = written.get("armed_by")
    if armed is not None and armed not in ARMED_BY:
        fields.wrong((*path, "armed_by"), f"{shown(armed)} is not allowed", "write stop, target or null")
        armed = None
    return EntryRule(
        required=required,
        optional=optional,
        state=fields.flag((*path, "state")),
        armed_by=ExitReason(armed) if armed else None,
        buy_back=_buy_back(fields, (*path, "buy_back")),
        confidence=fields.text((*path, "confidence"), "", 'confidence: "0.5 + rsi / 200"'),
    )


def _exit(fields: Fields, path: KeyPath, *, is_python: bool) -> ExitRule:
    known = ("stop_loss", "take_profit", "trailing") if is_python else EXIT_KEYS
    written = fields.section(path, known, 'long: {required: ["rsi > 50"], stop_loss: {pct: 5}}')
    required, optional = fields.lines((*path, "required")), fields.lines((*path, "optional"))
    for key in ("required", "optional"):
        if written.get(key) == []:
            fields.wrong((*path, key), "an empty condition", "write one, or remove the line")
    stop = read_level(fields, (*path, "stop_loss"), DISTANCES)
    target = read_level(fields, (*path, "take_profit"), (*DISTANCES, LevelKind.RR))
    trailing = _trailing(fields, (*path, "trailing"))
    if stop is None and not fields.has_problem((*path, "stop_loss")):
        for key, level in (("take_profit", target if target and target.kind is LevelKind.RR else None), ("trailing", trailing)):
            if level is not None:
                what = "rr is a multiple of the stop's distance" if key == "take_profit" else "it moves a stop"
                fields.wrong((*path, key), f"{what}, and there is no stop_loss", "add stop_loss: {pct: 2}")
    return ExitRule(required, optional, stop, target, trailing, fields.flag((*path, "state")))


def read_level(fields: Fields, path: KeyPath, kinds: Collection[LevelKind]) -> Level | None:
    """A distance of exactly one kind: `{pct: 5}`, `{atr: 2, length: 14, ma: sma}`, `{abs: 100}`, `{rr: 2}`."""
    example = f"{path[-1]}: {{pct: 5}}"
    written = fields.section(path, (*kinds, *ATR_KEYS, *(("trailing",) if path[-1] == "buy_back" else ())), example)
    if not written or fields.has_problem(path):
        if fields.get(path) == {}:
            fields.wrong(path, "no distance is given", f"write {example}")
        return None
    found = [kind for kind in kinds if kind in written]
    if len(found) != 1:
        said = f"{' and '.join(found)} are both given" if found else "no distance is given"
        fields.wrong(path, said, f"write one of {', '.join(kinds)}: {example}")
        return None
    kind = found[0]
    extra = [key for key in ATR_KEYS if key in written and kind is not LevelKind.ATR]
    if extra:
        fields.wrong((*path, extra[0]), "belongs to atr only", "remove it, or write atr instead")
    if fields.get((*path, kind)) is None:
        fields.wrong((*path, kind), "no distance is given", f"write {example}")
        return None
    value = fields.number((*path, kind), Decimal(1), above=0, most=_MOST)
    average = fields.text((*path, "ma"), "rma", "ma: sma")
    if average not in ATR_AVERAGES:
        fields.wrong((*path, "ma"), f"{shown(average)} is not allowed", f"write {' or '.join(ATR_AVERAGES)}")
    if kind is LevelKind.PCT and value >= 100 and "long" in path and path[-1] in ("stop_loss", "trailing", "buy_back"):
        fields.wrong((*path, kind), f"{value} % below the price is no price", "write less than 100")
    return Level(kind, value, fields.whole((*path, "length"), 14, 1, 10_000), average)


def _trailing(fields: Fields, path: KeyPath) -> Level | None:
    value = fields.get(path)
    if value is None or value is False:
        return None
    if value is True:
        return Level(LevelKind.RR, Decimal(1))
    return read_level(fields, path, DISTANCES)


def _buy_back(fields: Fields, path: KeyPath) -> BuyBack | None:
    distance = read_level(fields, path, DISTANCES)
    return BuyBack(distance, fields.flag((*path, "trailing"))) if distance else None


def read_sizing(fields: Fields, path: KeyPath) -> Sizing:
    """Notional of an entry; half of the equity when nothing is written."""
    example = "sizing: {pct_of_equity: 50}"
    written = fields.section(path, tuple(SizingKind), example)
    if not written or fields.has_problem(path):
        if fields.get(path) == {}:
            fields.wrong(path, "no size is given", f"write {example}")
        return DEFAULT_SIZING
    found = [kind for kind in SizingKind if kind in written]
    if len(found) != 1:
        fields.wrong(path, f"{' and '.join(found)} are both given", f"keep one: {example}")
        return DEFAULT_SIZING
    kind = found[0]
    if kind is SizingKind.DYNAMIC:
        return _dynamic(fields, (*path, kind))
    most = {SizingKind.ABS: _MOST, SizingKind.PCT_OF_EQUITY: 10_000, SizingKind.RISK_PCT: 100}[kind]
    return Sizing(kind, fields.number((*path, kind), Decimal(1), above=0, most=most))


def _dynamic(fields: Fields, path: KeyPath) -> Sizing:
    example = "dynamic: {pct: 50, by: rsi, inverted: true}"
    written: dict[str, Any] = fields.section(path, ("pct", "by", "inverted"), example)
    for key in ("pct", "by"):
        if written.get(key) is None:
            fields.wrong((*path, key), "is missing", f"write {example}")
    pct = fields.number((*path, "pct"), Decimal(100), above=0, most=10_000)
    return Sizing(SizingKind.DYNAMIC, pct, fields.text((*path, "by"), "", "by: rsi"), fields.flag((*path, "inverted")))
