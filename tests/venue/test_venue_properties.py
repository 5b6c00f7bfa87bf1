"""What holds for every sequence of events: money is conserved, state round-trips, nothing depends on how bars are sent."""

from decimal import Decimal

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from venue_driver import ETH, INTERVAL, MARKETS, USDC

from tradeagent.domain.bars import Bar
from tradeagent.domain.costs import fee, funding_payment
from tradeagent.domain.names import ExitReason, Liquidity, OrderState, OrderType, Side, Tif
from tradeagent.domain.position import Position, apply_fill
from tradeagent.venue import FundingRow, VenueConfig, VenueOrder, VenueState, account, order_status, step
from tradeagent.venue.events import (
    Cancel,
    CloseBars,
    Event,
    Filled,
    Flow,
    Flowed,
    FundingPaid,
    Liquidated,
    Marked,
    Modify,
    OpenBars,
    OrderUpdate,
    Place,
    SetLeverage,
)
from tradeagent.venue.margin import booked, is_liquidatable
from tradeagent.venue.state import Holding, Phase

ROUNDS = 6
PRICE = 200_000
NAMES = ("ETH", "SOL")

configs = st.builds(
    VenueConfig,
    st.just(MARKETS),
    taker_rate=st.sampled_from([0, 45_000]),
    maker_rate=st.sampled_from([-300, 0, 15_000]),
    slippage_tenth_bps=st.sampled_from([0, 1, 20, 500]),
    path=st.sampled_from(["adverse", "nearest"]),
    volume_cap_pct=st.sampled_from([None, 5]),
    fill_no_volume=st.booleans(),
)


def tick_price(price: int) -> int:
    return max(10, price // 10 * 10)


@st.composite
def venue_orders(draw, cloid: str, market: str) -> VenueOrder:
    level = tick_price(PRICE + draw(st.integers(-300, 300)) * 50)
    size = draw(st.sampled_from([51, ETH // 7, ETH, 3 * ETH, 60 * ETH]))
    side = draw(st.sampled_from(list(Side)))
    if draw(st.integers(0, 4)) == 0:
        start = draw(st.sampled_from([None, tick_price(PRICE + side.sign * 9_000)]))
        trail, activation = draw(trails(side))
        kind = OrderType.STOP_MARKET
        return VenueOrder(cloid, market, side, kind, size, trigger=start, reduce_only=True, trail=trail, activation=activation)
    return VenueOrder(
        cloid,
        market,
        side,
        draw(st.sampled_from([OrderType.MARKET, *OrderType])),
        size if market == "ETH" else size * 3,
        price=tick_price(level + draw(st.integers(-3, 3)) * 10),
        trigger=level,
        tif=draw(st.sampled_from([Tif.GTC, Tif.GTC, Tif.IOC, Tif.ALO])),
        reduce_only=draw(st.booleans()),
        at_mark=draw(st.booleans()),
    )


@st.composite
def trails(draw, side: Side) -> tuple[int, int | None]:
    """Distance and activation of a trailing stop that closes with `side`."""
    activation = draw(st.sampled_from([None, None, PRICE, PRICE - side.sign * 3_000]))
    return draw(st.sampled_from([1, 500, 2_500, 7_000])), activation


@st.composite
def groups(draw, cloid: str, market: str) -> Place:
    side = draw(st.sampled_from(list(Side)))
    size = draw(st.sampled_from([ETH // 7, ETH, ETH, 3 * ETH, 60 * ETH]))
    kind = draw(st.sampled_from([OrderType.MARKET, OrderType.LIMIT]))
    entry = VenueOrder(cloid, market, side, kind, size, price=tick_price(PRICE + draw(st.integers(-40, 40)) * 50))
    away = draw(st.integers(1, 200)) * 50 * side.sign
    trail, activation = draw(trails(side.opposite)) if draw(st.booleans()) else (None, None)
    stop = VenueOrder(
        f"{cloid}s",
        market,
        side.opposite,
        OrderType.STOP_MARKET,
        size,
        trigger=tick_price(PRICE - away) if trail is None or draw(st.booleans()) else None,
        reduce_only=True,
        trail=trail,
        activation=activation,
    )
    kind = draw(st.sampled_from([OrderType.TAKE_PROFIT_MARKET, OrderType.TAKE_PROFIT_LIMIT]))
    level = tick_price(PRICE + away)
    target = VenueOrder(f"{cloid}t", market, side.opposite, kind, size, price=level, trigger=level, reduce_only=True)
    return Place((entry, stop, target), "normal_tpsl")


@st.composite
def bar_at(draw, market: str, index: int, around: int) -> Bar:
    opened = max(1000, around + draw(st.sampled_from([0, 0, -1_000, 1_500, -9_000, 20_000])))
    if draw(st.integers(0, 4)) == 0:
        return Bar(market, index * INTERVAL, INTERVAL, opened, opened, opened, opened, 0)
    high = opened + draw(st.integers(0, 8_000))
    low = max(1, opened - draw(st.integers(0, 8_000)))
    return Bar(
        market, index * INTERVAL, INTERVAL, opened, high, low, draw(st.integers(low, high)), draw(st.sampled_from([0, 20 * ETH, 10**9]))
    )


@st.composite
def pairs(draw, cloid: str, market: str, close: int) -> Place:
    """Two orders of opposite sides: one resting next to the market and one that takes, or two that wait for the same open."""
    side = draw(st.sampled_from(list(Side)))
    size = draw(st.sampled_from([ETH // 7, ETH // 2])) * (1 if market == "ETH" else 3)
    now = draw(st.booleans())
    kind, price = (OrderType.LIMIT, tick_price(close) - side.sign * 20) if now else (OrderType.MARKET, None)
    first = VenueOrder(f"{cloid}p", market, side, kind, size, price=price)
    return Place((first, VenueOrder(f"{cloid}q", market, side.opposite, OrderType.MARKET, size, at_mark=now)))


@st.composite
def actions(draw, number: int, closes: dict[str, int]) -> Event:
    market = draw(st.sampled_from(NAMES))
    kind = draw(st.integers(0, 11))
    if kind == 11:
        return draw(pairs(f"o{number}", market, closes[market]))
    if kind == 10:
        return Modify(draw(venue_orders("new", market)), oid=draw(st.integers(1, 20)), always_place=draw(st.booleans()))
    if kind < 4:
        return draw(groups(f"o{number}", market))
    if kind < 7:
        return Place((draw(venue_orders(f"o{number}", market)),), draw(st.sampled_from(["na", "na", "na", "position_tpsl"])))
    if kind == 7:
        return Cancel(oid=draw(st.integers(1, 20)))
    if kind == 8:
        return SetLeverage(market, draw(st.integers(1, 26)))
    return Flow(draw(st.integers(-2_000, 2_000)) * USDC)


@st.composite
def opening(draw, cash: int) -> Event:
    """A leveraged position with a stop far away, so that most accounts have something to lose."""
    side = draw(st.sampled_from(list(Side)))
    size = cash * ETH // 120
    entry = VenueOrder("first", "ETH", side, OrderType.MARKET, size, at_mark=draw(st.booleans()))
    level = PRICE - side.sign * 15_000
    return Place(
        (entry, VenueOrder("far", "ETH", side.opposite, OrderType.STOP_MARKET, size, trigger=level, reduce_only=True)), "normal_tpsl"
    )


@st.composite
def scenarios(draw) -> list[tuple[dict[str, Bar], tuple[FundingRow, ...], list[Event]]]:
    """Rounds of (bars, funding, what is done after the close), after a deposit."""
    closes = dict.fromkeys(NAMES, PRICE)
    cash = draw(st.sampled_from([110, 400, 8_000]))
    rounds = [({}, (), [Flow(cash * USDC)])]
    number = 0
    for index in range(1, draw(st.integers(3, 9))):
        markets = NAMES if index == 1 or draw(st.integers(0, 4)) else NAMES[:1]
        bars = {market: draw(bar_at(market, index, closes[market])) for market in markets}
        closes |= {market: each.close for market, each in bars.items()}
        rows = tuple(
            FundingRow(market, index * INTERVAL, draw(st.integers(-(10**7), 10**7)), draw(st.sampled_from([None, PRICE])))
            for market in markets
            if draw(st.booleans())
        )
        events = [draw(opening(cash))] if index == 1 else []
        for _ in range(draw(st.integers(0, 3))):
            events.append(draw(actions(number, closes)))
            number += 1
        rounds.append((bars, rows, events))
    return rounds


def stream(rounds, *, separate_opens: bool, act_at_open: bool = False) -> list[Event]:
    events: list[Event] = list(rounds[0][2])
    for index, (bars, rows, after) in enumerate(rounds[1:], start=1):
        if separate_opens:
            events.append(OpenBars(index * INTERVAL, bars, rows))
        if act_at_open:
            events += after
        events.append(CloseBars((index + 1) * INTERVAL, bars, rows))
        if not act_at_open:
            events += after
    return events


def play(events: list[Event], config: VenueConfig):
    state, outcomes = VenueState(), []
    for event in events:
        state, new = step(state, event, config)
        outcomes += new
    return state, outcomes


relaxed = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@relaxed
@given(scenarios(), configs, st.booleans())
def test_money_is_conserved_and_every_state_is_sound(rounds, config, act_at_open):
    state = VenueState()
    expected_cash = 0
    all_fills: list[Filled] = []
    positions = {name: Position(name) for name in NAMES}
    filled: dict[int | None, int] = {}
    for event in stream(rounds, separate_opens=act_at_open, act_at_open=act_at_open):
        before = state.to_json()
        after, outcomes = step(state, event, config)
        assert state.to_json() == before
        assert step(state, event, config) == (after, outcomes)
        assert VenueState.from_json(after.to_json()) == after
        check_levels(state, after)
        check_outages(state, after, outcomes, config)
        state = after
        for outcome in outcomes:
            match outcome:
                case Filled():
                    all_fills.append(outcome)
                    positions[outcome.market] = check_fill(positions[outcome.market], outcome, config)
                    expected_cash += outcome.realised - outcome.fee
                    filled[outcome.oid] = filled.get(outcome.oid, 0) + outcome.size
                case FundingPaid():
                    check_funding(outcome)
                    expected_cash -= outcome.payment
                case Liquidated():
                    expected_cash -= outcome.amount
                case Flowed():
                    expected_cash += outcome.amount
                case OrderUpdate() if outcome.cloid:
                    assert outcome.filled <= outcome.size
                    assert outcome.filled == filled.get(outcome.oid, 0)
                case Marked():
                    assert outcome.equity == account(state, config).equity
        assert state.cash == expected_cash
        assert state.traded == sum(fill.size * fill.price for fill in all_fills)
        check_holdings(state, positions)
        check_orders(state)
        if isinstance(event, CloseBars):
            check_close(state, event, config)


def check_fill(position: Position, fill: Filled, config: VenueConfig) -> Position:
    """The fill books exactly as domain.position and domain.costs do."""
    spec = MARKETS[fill.market]
    size, price = spec.size_out(fill.size), spec.price_out(fill.price)
    booked_fill = apply_fill(position, fill.side, size, price)
    assert Decimal(fill.realised).scaleb(-6) == booked_fill.realised_pnl
    rate = config.taker_rate if fill.liquidity is Liquidity.TAKER else config.maker_rate
    assert fill.size > 0
    if fill.fee or fill.cloid:
        assert Decimal(fill.fee).scaleb(-6) == fee(price, size, Decimal(rate).scaleb(-8))
    return booked_fill.position


def check_funding(paid: FundingPaid) -> None:
    spec = MARKETS[paid.market]
    expected = funding_payment(spec.size_out(paid.size), spec.price_out(paid.oracle), Decimal(paid.rate).scaleb(-10))
    assert Decimal(paid.payment).scaleb(-6) == expected


def check_holdings(state: VenueState, positions: dict[str, Position]) -> None:
    for name, position in positions.items():
        held = state.holdings.get(name, Holding(0, 0))
        assert (MARKETS[name].size_out(held.size), Decimal(held.cost).scaleb(-6)) == (position.size, position.cost)
    assert all(held.size for held in state.holdings.values())


def check_levels(before: VenueState, after: VenueState) -> None:
    """A live stop moves only towards the market, and only when it trails."""
    for oid, order in after.orders.items():
        old = before.orders.get(oid)
        if old is None or old.trigger is None:
            continue
        assert order.trigger is not None
        tighter = (old.trigger - order.trigger) * order.side.sign
        assert tighter == 0 if order.trail is None else tighter >= 0
        assert order.trailed or tighter == 0


def check_outages(before: VenueState, after: VenueState, outcomes: list[object], config: VenueConfig) -> None:
    """While the newest bar of a market is an outage nothing fills there, and no entry waits against a newer order."""
    assert not (config.fill_no_volume and after.outages)
    for market in after.outages:
        filled = [o for o in outcomes if isinstance(o, Filled) and o.market == market and o.reason is not ExitReason.LIQUIDATION]
        assert not filled
        waiting = [order for order in after.orders.values() if order.market == market and order.phase is Phase.QUEUED]
        for newest in [order for order in waiting if order.oid not in before.orders][-1:]:
            assert all(order.reduce_only or order.side is newest.side for order in waiting)


def check_orders(state: VenueState) -> None:
    for oid, order in state.orders.items():
        assert oid == order.oid
        assert 0 <= order.filled < order.size
        held = state.holdings.get(order.market, Holding(0, 0)).size
        if order.reduce_only and order.phase is not Phase.PARENT:
            assert held * order.side.sign < 0, "a reduce-only order lives without a position to reduce"
        if order.whole:
            assert order.remaining == abs(held)
        if order.phase is Phase.PARENT:
            assert order.parent_oid in state.orders
        status = order_status(state, order.cloid)
        assert status is not None
        assert status.state.is_live
    assert all(not update.state.is_live for update in state.finished.values())


def check_close(state: VenueState, event: CloseBars, config: VenueConfig) -> None:
    trading = [market for market, bar in event.bars.items() if config.fill_no_volume or not bar.is_outage]
    if set(state.holdings) <= set(trading):
        assert not (state.holdings and is_liquidatable(state, config))
    for market, bar in event.bars.items():
        assert state.marks[market] == bar.close
    for order in state.orders.values():
        if order.market in trading and config.volume_cap_pct is None:
            assert order.phase is not Phase.QUEUED or order.placed_ms == state.clock_ms


@relaxed
@given(scenarios(), configs)
def test_sending_the_open_apart_changes_nothing(rounds, config):
    together = play(stream(rounds, separate_opens=False), config)
    apart = play(stream(rounds, separate_opens=True), config)
    assert together == apart


@relaxed
@given(bar_at("ETH", 1, PRICE), configs)
def test_an_order_fills_the_same_whether_it_waits_for_the_open_or_is_placed_there(bar, config):
    bars = {"ETH": bar}
    place = Place((VenueOrder("x", "ETH", Side.BUY, OrderType.MARKET, ETH),))
    opening, closing = OpenBars(INTERVAL, bars), CloseBars(2 * INTERVAL, bars)
    waited = play([Flow(5_000 * USDC), place, opening, closing], config)
    at_open = play([Flow(5_000 * USDC), opening, place, closing], config)
    fills = [[outcome for outcome in outcomes if isinstance(outcome, Filled | Marked)] for _, outcomes in (waited, at_open)]
    if not bar.is_outage or config.fill_no_volume:
        assert fills[0] == fills[1]


@relaxed
@given(scenarios(), configs)
def test_replaying_old_bars_changes_nothing(rounds, config):
    events = stream(rounds, separate_opens=True)
    state, _ = play(events, config)
    for event in events:
        if isinstance(event, CloseBars):
            assert step(state, event, config) == (state, ())


@relaxed
@given(scenarios(), configs)
def test_fills_stay_inside_the_bar_and_limits_are_kept(rounds, config):
    state = VenueState()
    for event in stream(rounds, separate_opens=False):
        before = state
        state, outcomes = step(state, event, config)
        if not isinstance(event, CloseBars):
            continue
        limits = {order.cloid: order for order in before.orders.values() if order.price is not None}
        for fill in (outcome for outcome in outcomes if isinstance(outcome, Filled)):
            bar = event.bars.get(fill.market)
            order = limits.get(fill.cloid)
            if order is not None and order.price is not None:
                assert (fill.price - order.price) * order.side.sign <= 0
                assert fill.liquidity is Liquidity.TAKER or fill.price == order.price
            elif bar is not None:
                reach = config.slippage_tenth_bps
                assert bar.low * (10**5 - reach) // 10**5 <= fill.price <= -(-bar.high * (10**5 + reach) // 10**5)


@given(st.integers(-(10**6), 10**6).filter(bool), st.integers(0, 10**6), st.integers(1, 10**9), st.integers(1, 10**6), st.booleans())
def test_booking_a_fill_equals_the_domain_to_the_last_unit(size, dust, price, lots, is_buy):
    held = Holding(size, size * price + (dust if size > 0 else -dust))
    side = Side.BUY if is_buy else Side.SELL
    after, realised = booked(held, lots * side.sign, price + 7)
    spec = MARKETS["ETH"]
    position = Position("ETH", spec.size_out(size), Decimal(held.cost).scaleb(-6))
    expected = apply_fill(position, side, spec.size_out(lots), spec.price_out(price + 7))
    got = after or Holding(0, 0)
    assert (spec.size_out(got.size), Decimal(got.cost).scaleb(-6)) == (expected.position.size, expected.position.cost)
    assert Decimal(realised).scaleb(-6) == expected.realised_pnl


def test_the_scenarios_reach_what_they_are_meant_to_test():
    """Guards the generators: among many random runs every kind of outcome and ending turns up."""
    seen: set[object] = set()

    @settings(max_examples=300, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(scenarios(), configs)
    def collect(rounds, config):
        _, outcomes = play(stream(rounds, separate_opens=False), config)
        for outcome in outcomes:
            seen.add(type(outcome))
            if isinstance(outcome, OrderUpdate):
                seen.update((outcome.state, outcome.reason))
            elif isinstance(outcome, Filled):
                seen.update((outcome.reason, outcome.liquidity))
            elif isinstance(outcome, Liquidated):
                seen.add(outcome.kind)

    wanted: set[object] = {Filled, FundingPaid, Liquidated, Flowed, Marked, "market", "backstop", "marginCanceled", "liquidatedCanceled"}
    wanted |= {ExitReason.STOP, ExitReason.TARGET, ExitReason.TRAILING_STOP, "selfTradeCanceled", "replacedCanceled"}
    wanted |= {"siblingFilledCanceled", "reduceOnlyCanceled", OrderState.PARTIALLY_FILLED, OrderState.TRIGGERED, Liquidity.MAKER}
    for number in range(ROUNDS):
        seed(number)(collect)()
        if wanted <= seen:
            return
    assert wanted <= seen, wanted - seen
