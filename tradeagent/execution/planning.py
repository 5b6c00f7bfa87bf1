"""From a proposal to a plan: sizes and levels on the grid, never at more risk than asked for.

Explicit sizes are strict; `pct_of_equity` and `risk_per_trade_pct` are wishes, cut to the tightest cap and recorded as
requested, final and clipped_by.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal

from tradeagent.domain.errors import InvalidInput
from tradeagent.domain.instrument import Instrument
from tradeagent.domain.money import ZERO, limit_price, on_size_grid, plain, protective_price, size_down
from tradeagent.domain.names import Direction, IntentKind, OrderType, Rule, Tif
from tradeagent.domain.order import Proposal, Rejection
from tradeagent.execution.state import RiskState

LARGEST_NUMBER = Decimal(10) ** 12


@dataclass(frozen=True, slots=True)
class Plan:
    """A proposal that can be sent: base-unit `size` on the lot grid, quote-unit values, levels on the price grid.

    With `executor` (its type) it is a whole operation of several orders, judged as one entry of its `planned_quote`.
    """

    proposal: Proposal
    kind: IntentKind
    instrument: Instrument
    size: Decimal
    entry: Decimal
    price: Decimal | None
    trigger: Decimal | None
    stop: Decimal | None
    target: Decimal | None
    leverage: int
    requested: Decimal | None = None
    clipped_by: str | None = None
    closes_all: bool = False
    warnings: tuple[str, ...] = ()
    planned_quote: Decimal | None = None
    executor: str | None = None

    @property
    def is_entry(self) -> bool:
        return self.kind in (IntentKind.OPEN, IntentKind.INCREASE)

    @property
    def notional(self) -> Decimal:
        return self.size * self.entry if self.planned_quote is None else self.planned_quote

    @property
    def risk(self) -> Decimal | None:
        """|entry − stop| · size, None without a stop."""
        return abs(self.entry - self.stop) * self.size if self.stop is not None else None

    def as_dict(self) -> dict[str, str | int | list[str] | None]:
        operation = {} if self.executor is None else {"executor": self.executor}
        return {
            **operation,
            "kind": self.kind.value,
            "market": self.proposal.market,
            "side": self.proposal.side.value,
            "type": self.proposal.type.value,
            "size": plain(self.size),
            "entry": plain(self.entry),
            "price": _maybe(self.price),
            "trigger": _maybe(self.trigger),
            "stop": _maybe(self.stop),
            "target": _maybe(self.target),
            "leverage": self.leverage,
            "notional": plain(self.notional),
            "risk": _maybe(self.risk),
            "requested": _maybe(self.requested),
            "final": plain(self.size),
            "clipped_by": self.clipped_by,
            "warnings": list(self.warnings),
        }


def _maybe(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


class Unshapely(Exception):
    """Raised while planning: carries the SHAPE rejection."""

    def __init__(self, message: str, *, value: str | None = None, max_ok: str | None = None) -> None:
        super().__init__(message)
        self.rejection = Rejection(Rule.SHAPE, message, value=value, max_ok=max_ok)


def plan(proposal: Proposal, state: RiskState, clip: Callable[[Plan], tuple[Decimal, str | None]]) -> Plan:
    """The plan of a proposal; raises Unshapely. `clip` gives the largest size under every cap, and the cap that bound it."""
    market = state.markets.get(proposal.market)
    if market is None:
        raise Unshapely(f"unknown market {proposal.market!r}; known here: {', '.join(sorted(state.markets)) or 'none'}")
    check_numbers(proposal)
    if proposal.kind in (IntentKind.UPDATE, IntentKind.CANCEL):
        raise Unshapely(f"a {proposal.kind.value} is not an order")
    reference = proposal.price if proposal.type.has_price else (proposal.trigger if proposal.type.is_trigger else market.mark)
    if reference is None:
        raise Unshapely(f"{proposal.market} has no price yet; import bars or state a limit price")
    kind = intent_kind(proposal, state)
    if kind in (IntentKind.REDUCE, IntentKind.CLOSE):
        return _plan_exit(proposal, state, market.instrument, reference, kind)
    draft = _with_levels(proposal, state, market.instrument, reference, kind)
    return _sized_entry(draft, state, clip)


def intent_kind(proposal: Proposal, state: RiskState) -> IntentKind:
    """What a proposal really is, given what is held: only risk that grows is an entry."""
    held = state.inventory(proposal.market)
    if proposal.reduce_only or proposal.kind in (IntentKind.REDUCE, IntentKind.CLOSE):
        return IntentKind.CLOSE if proposal.kind is IntentKind.CLOSE or proposal.whole_position else IntentKind.REDUCE
    if held * proposal.side.sign < 0 and proposal.size is not None and proposal.size <= abs(held) and not proposal.type.is_trigger:
        return IntentKind.REDUCE
    return IntentKind.INCREASE if held * proposal.side.sign > 0 else IntentKind.OPEN


def check_numbers(proposal: Proposal) -> None:
    """Raise Unshapely unless every stated number is finite, positive and of a size that prices and amounts can have."""
    for name in ("size", "quote", "risk_quote", "pct_of_equity", "risk_per_trade_pct", "price", "trigger", "stop", "target"):
        value = getattr(proposal, name)
        if value is not None and (not value.is_finite() or value <= 0):
            raise Unshapely(f"{name} must be a positive number, not {value}", value=str(value))
        if value is not None and value > LARGEST_NUMBER:
            raise Unshapely(f"{name} {value} is above {LARGEST_NUMBER:f}", value=str(value), max_ok=plain(LARGEST_NUMBER))
    if proposal.confidence is not None and not (proposal.confidence.is_finite() and 0 <= proposal.confidence <= 1):
        raise Unshapely(f"confidence must be from 0 to 1, not {proposal.confidence}", value=str(proposal.confidence))
    if proposal.conviction is not None and not (proposal.conviction.is_finite() and 0 <= proposal.conviction <= 100):
        raise Unshapely(f"conviction must be from 0 to 100, not {proposal.conviction}", value=str(proposal.conviction))
    if proposal.leverage is not None and proposal.leverage < 1:
        raise Unshapely(f"leverage must be at least 1, not {proposal.leverage}", value=str(proposal.leverage))
    if proposal.type.has_price and proposal.price is None:
        raise Unshapely(f"a {proposal.type.value} order needs a price")
    if proposal.type.is_trigger and proposal.trigger is None:
        raise Unshapely(f"a {proposal.type.value} order needs a trigger")
    _check_type(proposal)


def _check_type(proposal: Proposal) -> None:
    """Raise Unshapely for what an order of this type would silently leave out."""
    name = proposal.type.value
    if proposal.price is not None and not proposal.type.has_price:
        instead = f"{name.removesuffix('market')}limit"
        raise Unshapely(f"a {name} order has no price; {instead} is the type that has", value=plain(proposal.price))
    if proposal.trigger is not None and not proposal.type.is_trigger:
        raise Unshapely(f"a {name} order has no trigger; stop_{name} and take_profit_{name} have one", value=plain(proposal.trigger))
    if proposal.tif is Tif.ALO and proposal.type is not OrderType.LIMIT:
        raise Unshapely(f"alo rests or is refused, and a {name} order takes what is there; it goes with limit", value=Tif.ALO.value)


def _on_grid(proposal: Proposal, instrument: Instrument) -> tuple[Decimal | None, Decimal | None]:
    price = limit_price(instrument, proposal.side, proposal.price) if proposal.price is not None and proposal.type.has_price else None
    trigger = None
    if proposal.type.is_trigger and proposal.trigger is not None:
        closing = Direction.SHORT if proposal.side.sign > 0 else Direction.LONG
        trigger = protective_price(instrument, closing, proposal.trigger, is_stop=proposal.type.is_stop)
    for name, value in (("price", price), ("trigger", trigger)):
        if value is not None and value <= 0:
            raise Unshapely(f"{name} rounds to {value}, which is not a price")
    return price, trigger


def _plan_exit(proposal: Proposal, state: RiskState, instrument: Instrument, reference: Decimal, kind: IntentKind) -> Plan:
    held = state.inventory(proposal.market)
    if held * proposal.side.sign >= 0:
        raise Unshapely(f"nothing to reduce: no {'short' if proposal.side.sign > 0 else 'long'} inventory in {proposal.market}")
    wanted = _stated_size(proposal, state, instrument, reference) if _states_size(proposal) else abs(held)
    size = min(wanted, abs(held))
    closes_all = size == abs(held)
    price, trigger = _on_grid(proposal, instrument)
    if not closes_all and size * reference < instrument.min_notional:
        raise Unshapely(
            f"{plain(size)} {proposal.market} is {plain(size * reference)} USDC, below the minimum of {instrument.min_notional}; "
            "close all instead",
            value=plain(size * reference),
        )
    actual = IntentKind.CLOSE if closes_all else IntentKind.REDUCE
    return Plan(
        proposal,
        actual if kind is IntentKind.REDUCE else IntentKind.CLOSE,
        instrument,
        size,
        price or reference,
        price,
        trigger,
        None,
        None,
        state.leverage_of(proposal.market),
        closes_all=closes_all,
    )


def _with_levels(proposal: Proposal, state: RiskState, instrument: Instrument, reference: Decimal, kind: IntentKind) -> Plan:
    direction = Direction.LONG if proposal.side.sign > 0 else Direction.SHORT
    price, trigger = _on_grid(proposal, instrument)
    stop = protective_price(instrument, direction, proposal.stop, is_stop=True) if proposal.stop is not None else None
    target = protective_price(instrument, direction, proposal.target, is_stop=False) if proposal.target is not None else None
    entry = price or trigger or reference
    leverage = proposal.leverage or state.leverage_of(proposal.market)
    return Plan(proposal, kind, instrument, ZERO, entry, price, trigger, stop, target, leverage)


def _states_size(proposal: Proposal) -> bool:
    return any((proposal.size, proposal.quote, proposal.risk_quote, proposal.pct_of_equity, proposal.risk_per_trade_pct))


def _stated_size(proposal: Proposal, state: RiskState, instrument: Instrument, entry: Decimal) -> Decimal:
    """Size asked for, rounded down to the lot; an explicit base size off the lot grid is refused."""
    stated = [n for n in ("size", "quote", "risk_quote", "pct_of_equity", "risk_per_trade_pct") if getattr(proposal, n) is not None]
    if len(stated) != 1:
        raise Unshapely(
            f"state exactly one of size, quote, risk_quote, pct_of_equity, risk_per_trade_pct; got {', '.join(stated) or 'none'}"
        )
    if proposal.size is not None:
        if not on_size_grid(instrument, proposal.size):
            raise Unshapely(
                f"size {plain(proposal.size)} is off the step {instrument.lot:f}",
                value=plain(proposal.size),
                max_ok=plain(size_down(instrument, proposal.size)),
            )
        return proposal.size
    if proposal.quote is not None:
        return size_down(instrument, proposal.quote / entry)
    if proposal.pct_of_equity is not None:
        return size_down(instrument, state.equity * proposal.pct_of_equity / 100 / entry)
    if proposal.stop is None or proposal.stop == entry:
        raise Unshapely("a risk-sized order needs a stop away from its entry")
    risk = proposal.risk_quote
    if risk is None and proposal.risk_per_trade_pct is not None:
        risk = state.equity * proposal.risk_per_trade_pct / 100
    return size_down(instrument, max(ZERO, risk or ZERO) / abs(entry - proposal.stop))


def _sized_entry(draft: Plan, state: RiskState, clip: Callable[[Plan], tuple[Decimal, str | None]]) -> Plan:
    proposal, instrument = draft.proposal, draft.instrument
    try:
        requested = _stated_size(proposal, state, instrument, draft.entry)
    except InvalidInput as error:
        raise Unshapely(error.message) from None
    sized = replace(draft, size=requested, requested=requested)
    if proposal.pct_of_equity is not None or proposal.risk_per_trade_pct is not None:
        most, bound_by = clip(sized)
        if most < requested:
            sized = replace(sized, size=size_down(instrument, max(ZERO, most)), clipped_by=bound_by)
    if sized.size <= 0 or sized.notional < instrument.min_notional:
        raise Unshapely(
            f"{plain(sized.size)} {proposal.market} at {plain(sized.entry)} is {plain(sized.notional)} USDC, "
            f"below the minimum of {instrument.min_notional}" + (f" after {sized.clipped_by} cut it" if sized.clipped_by else ""),
            value=plain(sized.notional),
        )
    return replace(sized, warnings=_warnings(sized, state))


def _warnings(draft: Plan, state: RiskState) -> tuple[str, ...]:
    if draft.stop is None or state.limits.number("min_stop_to_cost") is not None:
        return ()
    cost = round_trip_cost(draft.entry, state)
    if abs(draft.entry - draft.stop) < 2 * cost:
        return (f"stop distance {plain(abs(draft.entry - draft.stop))} is under 2 × the round-trip cost {plain(cost)}",)
    return ()


def round_trip_cost(price: Decimal, state: RiskState) -> Decimal:
    """2 × (taker fee + slippage) per unit of base, quote units."""
    return 2 * price * (state.fees.taker + state.slippage_bps / 10_000)
