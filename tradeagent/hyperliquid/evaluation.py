"""An account of the venue computed anew, by the arithmetic that paper and live share (domain.margin), for comparison with its own figures.

Hyperliquid counts margins in 10⁻⁶ USDC and drops the rest position by position before it sums them; so does this page, so that its figures
agree to the last published digit. A position's own maximum leverage goes before the tiers of its market.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal

from tradeagent.domain.instrument import Instrument, MarginTier
from tradeagent.domain.margin import Account, liquidation_price, maintenance_margin
from tradeagent.domain.money import ZERO, round_micro, trunc_micro
from tradeagent.domain.position import Position
from tradeagent.hyperliquid.wire import ClearinghouseState, HeldPosition, Market, Record, Summary

_FIRST_TABLE = 50
_LIQUIDATION_DIGIT = Decimal("1e-10")


# What the venue said about the same figures, by their names; None where it said nothing.
Published = Mapping[str, Decimal | None]


@dataclass(frozen=True, slots=True)
class PositionFigures:
    """One position, prices and quote units; the liquidation price is None when no price liquidates."""

    entry_price: Decimal
    notional: Decimal
    unrealised_pnl: Decimal
    margin_used: Decimal
    maintenance_margin: Decimal
    liquidation_price: Decimal | None


@dataclass(frozen=True, slots=True)
class AccountFigures:
    """The account or its cross part, quote units. An isolated position's margin used is its own equity."""

    equity: Decimal
    notional: Decimal
    margin_used: Decimal
    maintenance_margin: Decimal


@dataclass(frozen=True, slots=True)
class EvaluatedPosition:
    """One position with its figures; `max_leverage` is the one that its maintenance margin follows from at this notional."""

    market: str
    size: Decimal
    mark_price: Decimal
    leverage: int
    margin_mode: str
    max_leverage: int
    computed: PositionFigures
    published: Published


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`is_complete` is False when the venue's totals hold more than the listed positions; then the rest is taken as published."""

    is_complete: bool
    is_liquidatable: bool
    withdrawable: Decimal
    account: AccountFigures
    cross: AccountFigures
    published_withdrawable: Decimal | None
    published_account: Published
    published_cross: Published
    positions: tuple[EvaluatedPosition, ...]


@dataclass(frozen=True, slots=True)
class _Unlisted:
    """What the totals hold beyond the listed positions, quote units; all zero for a complete answer."""

    equity: Decimal = ZERO
    notional: Decimal = ZERO
    margin_used: Decimal = ZERO
    maintenance_margin: Decimal = ZERO


def evaluate(record: Record) -> Evaluation:
    """Equity, margins and liquidation prices at the record's marks."""
    state, marks = record.clearinghouse_state, record.mark_of
    markets = {market.name: _instrument(record, market) for market in record.meta.universe}
    instruments = {held.coin: _own(markets[held.coin], held) for held in state.positions}
    crossed = [held for held in state.positions if held.leverage.type == "cross"]
    unlisted = _unlisted(state, crossed, instruments)
    pool = _account(crossed, state.cross_margin_summary.total_raw_usd + unlisted.equity, marks, instruments)
    required = sum((_maintenance(held, marks[held.coin], instruments) for held in crossed), unlisted.maintenance_margin)
    rows = [
        _evaluated(held, pool, required, instruments)
        if held.leverage.type == "cross"
        else _evaluated(
            held,
            _account([held], held.leverage.raw_usd or ZERO, marks, instruments),
            _maintenance(held, marks[held.coin], instruments),
            instruments,
        )
        for held in state.positions
    ]
    cross = _cross_figures(rows, pool, required, unlisted)
    isolated = [row.computed for row in rows if row.margin_mode == "isolated"]
    return Evaluation(
        is_complete=unlisted == _Unlisted(),
        is_liquidatable=cross.equity < cross.maintenance_margin or any(own.margin_used < own.maintenance_margin for own in isolated),
        withdrawable=max(ZERO, cross.equity - cross.margin_used),
        account=_with_isolated(cross, isolated),
        cross=cross,
        published_withdrawable=state.withdrawable,
        published_account=_summary(state.margin_summary, None),
        published_cross=_summary(state.cross_margin_summary, state.cross_maintenance_margin_used),
        positions=tuple(rows),
    )


def _instrument(record: Record, market: Market) -> Instrument:
    table = dict(record.meta.margin_tables).get(market.margin_table_id or 0)
    if table is None or (market.margin_table_id or 0) < _FIRST_TABLE:
        tiers: tuple[MarginTier, ...] = (MarginTier(ZERO, market.max_leverage),)
    else:
        tiers = tuple(MarginTier(tier.lower_bound, tier.max_leverage) for tier in table.margin_tiers)
    return Instrument("hyperliquid", market.name, market.sz_decimals, tiers)


def _own(market: Instrument, held: HeldPosition) -> Instrument:
    """The market as this position has it."""
    if held.max_leverage is None:
        return market
    return Instrument(market.venue, market.symbol, market.size_decimals, (MarginTier(ZERO, held.max_leverage),))


def _position(held: HeldPosition) -> Position:
    """Its cost is exact where the venue published value and PnL; `entryPx` has lost the digits beyond the market's grid."""
    cost = held.szi * held.entry_px
    if held.position_value is not None and held.unrealized_pnl is not None:
        cost = held.position_value.copy_sign(held.szi) - held.unrealized_pnl
    return Position(held.coin, held.szi, cost, held.leverage.value)


def _account(held: Sequence[HeldPosition], raw_usd: Decimal, marks: Mapping[str, Decimal], known: Mapping[str, Instrument]) -> Account:
    """The venue's raw USD is cash less what the positions cost."""
    positions = tuple(map(_position, held))
    return Account(raw_usd + sum((position.cost for position in positions), ZERO), positions, marks, known)


def _maintenance(held: HeldPosition, mark: Decimal, instruments: Mapping[str, Instrument]) -> Decimal:
    return trunc_micro(maintenance_margin(instruments[held.coin].tiers, abs(held.szi) * mark))


def _unlisted(state: ClearinghouseState, crossed: Sequence[HeldPosition], instruments: Mapping[str, Instrument]) -> _Unlisted:
    """The published totals less the published positions, at the published marks; a state without position values counts as complete."""
    total = state.cross_margin_summary
    values = [(held, held.position_value) for held in crossed if held.position_value is not None]
    listed = sum((value for _, value in values), ZERO)
    if len(values) < len(crossed) or listed == total.total_ntl_pos:
        return _Unlisted()
    signed = sum((value.copy_sign(held.szi) for held, value in values), ZERO)
    own = sum((trunc_micro(maintenance_margin(instruments[held.coin].tiers, value)) for held, value in values), ZERO)
    used = sum((trunc_micro(value / held.leverage.value) for held, value in values), ZERO)
    required = own if state.cross_maintenance_margin_used is None else state.cross_maintenance_margin_used
    return _Unlisted(
        equity=total.account_value - total.total_raw_usd - signed,
        notional=total.total_ntl_pos - listed,
        margin_used=total.total_margin_used - used,
        maintenance_margin=required - own,
    )


def _evaluated(held: HeldPosition, account: Account, required: Decimal, instruments: Mapping[str, Instrument]) -> EvaluatedPosition:
    """`required` is the maintenance margin of the account that carries the position: the cross pool, or the position alone."""
    position = next(found for found in account.positions if found.market == held.coin)
    mark, instrument, is_cross = account.marks[held.coin], instruments[held.coin], held.leverage.type == "cross"
    notional, tick = position.notional(mark), Decimal(1).scaleb(-instrument.price_decimals)
    available_others = account.equity - position.unrealised(mark) - (required - maintenance_margin(instrument.tiers, notional))
    price = liquidation_price(position, instrument.tiers, available_others)
    computed = PositionFigures(
        entry_price=(position.cost / position.size).quantize(tick, rounding=ROUND_DOWN),
        notional=notional,
        unrealised_pnl=position.unrealised(mark),
        margin_used=trunc_micro(notional / held.leverage.value) if is_cross else round_micro(account.equity),
        maintenance_margin=_maintenance(held, mark, instruments),
        liquidation_price=None if price is None else price.quantize(_LIQUIDATION_DIGIT, rounding=ROUND_HALF_EVEN),
    )
    published = {
        "entry_price": held.entry_px,
        "notional": held.position_value,
        "unrealised_pnl": held.unrealized_pnl,
        "margin_used": held.margin_used,
        "maintenance_margin": None,
        "liquidation_price": held.liquidation_px,
    }
    at = next(tier for tier in reversed(instrument.tiers) if notional >= tier.lower_bound)
    return EvaluatedPosition(held.coin, held.szi, mark, held.leverage.value, held.leverage.type, at.max_leverage, computed, published)


def _cross_figures(rows: Sequence[EvaluatedPosition], pool: Account, required: Decimal, unlisted: _Unlisted) -> AccountFigures:
    used = sum((row.computed.margin_used for row in rows if row.margin_mode == "cross"), unlisted.margin_used)
    return AccountFigures(round_micro(pool.equity), pool.notional + unlisted.notional, used, required)


def _with_isolated(cross: AccountFigures, isolated: Sequence[PositionFigures]) -> AccountFigures:
    """The cross part and the isolated positions, each of which carries itself."""
    own = sum((figures.margin_used for figures in isolated), ZERO)
    return AccountFigures(
        equity=cross.equity + own,
        notional=cross.notional + sum((figures.notional for figures in isolated), ZERO),
        margin_used=cross.margin_used + own,
        maintenance_margin=cross.maintenance_margin + sum((figures.maintenance_margin for figures in isolated), ZERO),
    )


def _summary(summary: Summary | None, maintenance: Decimal | None) -> Published:
    if summary is None:
        return {"equity": None, "notional": None, "margin_used": None, "maintenance_margin": maintenance}
    return {
        "equity": summary.account_value,
        "notional": summary.total_ntl_pos,
        "margin_used": summary.total_margin_used,
        "maintenance_margin": maintenance,
    }
