"""Hyperliquid's answers about markets and an account, parsed: `meta`, marks and `clearinghouseState` (hyperliquid.md §5).

Keys that nothing here computes with are let through, because the venue adds some from time to time.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, RootModel, Tag, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from tradeagent.domain.errors import DataError, InvalidInput, NotFound
from tradeagent.domain.money import parse_decimal
from tradeagent.workspace.files import read_text

_HINT = "write {meta, marks, clearinghouseState}: the answers of the venue's info endpoint, and a mark price by coin"


def _number(value: object) -> Decimal:
    """A decimal as the venue writes it, in a string; a JSON number is read digit by digit as well."""
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        raise PydanticCustomError("number", "{found} is not a number", {"found": _shown(value)})
    try:
        return parse_decimal(value, "number")
    except InvalidInput:
        raise PydanticCustomError("number", "{found} is not a number", {"found": _shown(value)}) from None


Number = Annotated[Decimal, BeforeValidator(_number)]
Above0 = Annotated[Number, Field(gt=0)]
Leverage = Annotated[int, Field(ge=1, le=1000, strict=True)]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=False)


class Tier(_Answer):
    """From `lower_bound` USDC of notional up."""

    lower_bound: Number
    max_leverage: Leverage


class MarginTable(_Answer):
    margin_tiers: Annotated[tuple[Tier, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _begins_at_zero_and_ascends(self) -> "MarginTable":
        bounds = [tier.lower_bound for tier in self.margin_tiers]
        if bounds[0] != 0 or sorted(set(bounds)) != bounds:
            raise PydanticCustomError("tiers", "lower bounds must begin at 0 and ascend")
        return self


class Market(_Answer):
    """One entry of the universe. A margin table id below 50 is one tier with that leverage."""

    name: str
    sz_decimals: Annotated[int, Field(ge=0, le=6, strict=True)]
    max_leverage: Leverage
    margin_table_id: Annotated[int, Field(strict=True)] | None = None
    is_delisted: bool = False


class Meta(_Answer):
    universe: tuple[Market, ...]
    margin_tables: tuple[tuple[int, MarginTable], ...] = ()


class LeverageSetting(_Answer):
    """`raw_usd` is the isolated position's own USDC, and absent from a cross position."""

    type: Literal["cross", "isolated"]
    value: Leverage
    raw_usd: Number | None = None

    @model_validator(mode="after")
    def _has_its_usd(self) -> "LeverageSetting":
        if self.type == "isolated" and self.raw_usd is None:
            raise PydanticCustomError("isolated", "rawUsd is missing, and the position is isolated")
        return self


class HeldPosition(_Answer):
    """A position with what the venue published about it, whatever it published."""

    coin: str
    szi: Number
    entry_px: Above0
    leverage: LeverageSetting
    position_value: Number | None = None
    unrealized_pnl: Number | None = None
    margin_used: Number | None = None
    liquidation_px: Number | None = None
    max_leverage: Leverage | None = None


class AssetPosition(_Answer):
    position: HeldPosition


class Summary(_Answer):
    account_value: Number
    total_raw_usd: Number
    total_ntl_pos: Number
    total_margin_used: Number


class ClearinghouseState(_Answer):
    """`margin_summary` is of all positions, `cross_margin_summary` of the cross ones."""

    cross_margin_summary: Summary
    margin_summary: Summary | None = None
    cross_maintenance_margin_used: Number | None = None
    withdrawable: Number | None = None
    asset_positions: tuple[AssetPosition, ...]
    time: int | None = None

    @property
    def positions(self) -> tuple[HeldPosition, ...]:
        return tuple(entry.position for entry in self.asset_positions if entry.position.szi)


class AssetContext(_Answer):
    mark_px: Above0


class ContextAnswer(_Answer):
    """All that `metaAndAssetCtxs` says of one market, also of a delisted one; `mid_px` is null while a side of its book is empty."""

    mark_px: Number
    oracle_px: Number
    mid_px: Number | None = None
    prev_day_px: Number
    funding: Number
    open_interest: Number
    day_ntl_vlm: Number


class Level(_Answer):
    px: Above0
    sz: Number
    n: int | None = None


class BookAnswer(_Answer):
    """`l2Book`: bids, then asks."""

    coin: str
    time: int
    levels: tuple[tuple[Level, ...], tuple[Level, ...]]


class Mids(RootModel[Mapping[str, Number]]):
    """`allMids`."""


_BY_COIN, _CONTEXTS = "by_coin", "contexts"


def _form(value: object) -> str:
    return _CONTEXTS if isinstance(value, (list, tuple)) else _BY_COIN


class Record(_Answer):
    """One recorded account with its market: `marks` by coin, or the contexts of `metaAndAssetCtxs`, in the order of the universe."""

    meta: Meta
    marks: Annotated[
        Annotated[Mapping[str, Above0], Tag(_BY_COIN)] | Annotated[tuple[AssetContext, ...], Tag(_CONTEXTS)], Discriminator(_form)
    ]
    clearinghouse_state: ClearinghouseState

    @property
    def mark_of(self) -> Mapping[str, Decimal]:
        if isinstance(self.marks, tuple):
            return {market.name: context.mark_px for market, context in zip(self.meta.universe, self.marks, strict=False)}
        return self.marks


def read_record(file: Path) -> Record:
    """Parse a file that holds one Record; NotFound without one, DataError naming the file and the field that is wrong."""
    try:
        text = read_text(file)
    except FileNotFoundError:
        raise NotFound(f"{file}: there is no such file", hint=_HINT) from None
    try:
        data = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        where = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(f"{file}: this is not JSON{where}", hint=_HINT, details={"file": str(file)}) from None
    if not isinstance(data, dict):
        raise DataError(f"{file}: this is {_kind(data)}, not an object", hint=_HINT, details={"file": str(file)})
    try:
        record = Record.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        _refuse(file, _path(first["loc"]), _said(first))
    _complete(file, record)
    return record


def _refuse(file: Path, field: str, what: str) -> NoReturn:
    """DataError about one field of the file."""
    raise DataError(f"{file}: {field}: {what}", hint=_HINT, details={"file": str(file), "field": field})


def _complete(file: Path, record: Record) -> None:
    """What no model of one part can see: each position once, with its market, its mark and its margin table."""
    markets = {market.name: market for market in record.meta.universe}
    tables = dict(record.meta.margin_tables)
    seen: set[str] = set()
    for number, entry in enumerate(record.clearinghouse_state.asset_positions):
        held, field = entry.position, f"clearinghouseState.assetPositions[{number}].position"
        if held.coin in seen:
            _refuse(file, f"{field}.coin", f"{held.coin} is there twice")
        seen.add(held.coin)
        if held.coin not in markets:
            _refuse(file, "meta.universe", f"there is no {held.coin}, which {field} is in")
        if held.szi and held.coin not in record.mark_of:
            _refuse(file, f"marks.{held.coin}", f"is missing, and {field} needs it")
        table = markets[held.coin].margin_table_id
        if held.max_leverage is None and table is not None and table >= 50 and table not in tables:
            _refuse(file, "meta.marginTables", f"there is no table {table}, which {held.coin} uses")


def _path(parts: tuple[int | str, ...]) -> str:
    """`clearinghouseState.assetPositions[0].position.szi`, without the tag of the form that `marks` has."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts if part not in (_BY_COIN, _CONTEXTS))
    return text.removeprefix(".")


def _said(problem: Any) -> str:
    if problem["type"] == "missing":
        return "is missing"
    if problem["type"] in ("number", "isolated", "tiers"):
        return str(problem["msg"])
    return f"{problem['msg'].replace('Input should', 'must')}, not {_shown(problem['input'])}"


def _shown(value: object) -> str:
    """A value in an error line: small things as they are, big ones by their kind."""
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= 60 else _kind(value)


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
