"""Fills on a position: cash flows are conserved to the last unit; fees and funding are cut toward zero."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeagent.domain.costs import FeeSchedule, break_even_price, fee, funding_payment
from tradeagent.domain.names import Direction, Liquidity, Side
from tradeagent.domain.position import Position, apply_fill

D = Decimal
FILLS = st.lists(
    st.tuples(
        st.sampled_from(Side),
        st.integers(1, 10**7).map(lambda lots: D(lots).scaleb(-5)),
        st.integers(1, 10**7).map(lambda ticks: D(ticks).scaleb(-1)),
    ),
    max_size=30,
)


@given(fills=FILLS, mark=st.integers(1, 10**7).map(lambda ticks: D(ticks).scaleb(-1)))
def test_realised_and_unrealised_are_exactly_the_cash_flows(fills: list[tuple[Side, Decimal, Decimal]], mark: Decimal) -> None:
    position, realised, flows = Position("X"), D(0), D(0)
    for side, size, price in fills:
        before = position
        booked = apply_fill(position, side, size, price)
        position, realised = booked.position, realised + booked.realised_pnl
        flows -= side.sign * size * price
        assert booked.closed + booked.opened == size
        assert position.size == before.size + side.sign * size
        assert booked.closed == (min(size, abs(before.size)) if before.size * side.sign < 0 else 0)
        assert position.size * position.cost > 0 or position.is_flat
        if position.is_flat:
            assert position.cost == 0
    assert realised + position.unrealised(mark) == flows + position.size * mark


@given(
    start=st.tuples(st.sampled_from(Side), st.integers(2, 10**6), st.integers(1, 10**6)),
    lots=st.integers(1, 10**6),
    price=st.integers(1, 10**6),
)
def test_a_reduce_keeps_the_average_entry_and_a_flip_opens_at_the_fill(start: tuple[Side, int, int], lots: int, price: int) -> None:
    side, held, entry = start
    position = apply_fill(Position("X"), side, D(held).scaleb(-3), D(entry).scaleb(-2)).position
    after = apply_fill(position, side.opposite, D(lots).scaleb(-3), D(price).scaleb(-2)).position
    if lots < held:
        assert after.entry_price is not None and position.entry_price is not None
        assert abs(after.cost - after.size * position.entry_price) <= D("0.0000005")
    elif lots == held:
        assert after.is_flat and after.entry_price is None and after.direction is None
    else:
        assert after.entry_price == D(price).scaleb(-2) and after.size * side.sign < 0


def test_a_flip_by_hand() -> None:
    long = apply_fill(Position("X"), Side.BUY, D(2), D(100))
    more = apply_fill(long.position, Side.BUY, D(1), D(103))
    assert more.position.entry_price == 101 and more.position.direction is Direction.LONG
    flip = apply_fill(more.position, Side.SELL, D(5), D(110))
    assert (flip.realised_pnl, flip.closed, flip.opened) == (27, 3, 2)
    assert (flip.position.size, flip.position.cost, flip.position.unrealised(D(105))) == (-2, -220, 10)
    assert flip.position.notional(D(105)) == 210


@pytest.mark.parametrize(
    ("price", "size", "rate", "charged"), [("4307.4", "0.0025", "0.00045", "0.004845"), ("66.653", "1", "0.00015", "0.009997")]
)
def test_recorded_fees_of_the_venue(price: str, size: str, rate: str, charged: str) -> None:
    assert fee(D(price), D(size), D(rate)) == fee(D(price), -D(size), D(rate)) == D(charged)


def test_the_default_rates_are_those_of_the_first_tier() -> None:
    assert (FeeSchedule().rate(Liquidity.TAKER), FeeSchedule().rate(Liquidity.MAKER)) == (D("0.00045"), D("0.00015"))


@given(
    size=st.integers(-(10**8), 10**8).map(lambda lots: D(lots).scaleb(-5)),
    oracle=st.integers(1, 10**7).map(lambda ticks: D(ticks).scaleb(-1)),
    rate=st.integers(-(10**7), 10**7).map(lambda units: D(units).scaleb(-10)),
)
def test_funding_is_cut_toward_zero_and_longs_pay_a_positive_rate(size: Decimal, oracle: Decimal, rate: Decimal) -> None:
    paid, exact = funding_payment(size, oracle, rate), size * oracle * rate
    assert abs(paid) <= abs(exact) < abs(paid) + D("0.000001")
    assert paid * size * rate >= 0
    assert funding_payment(-size, oracle, rate) == -paid


@given(
    side=st.sampled_from(Side),
    lots=st.integers(1, 10**6),
    entry=st.integers(100, 10**6),
    funding=st.integers(-(10**6), 10**6).map(lambda micro: D(micro).scaleb(-6)),
)
def test_closing_at_the_break_even_price_earns_nothing(side: Side, lots: int, entry: int, funding: Decimal) -> None:
    taker = FeeSchedule().taker
    position = apply_fill(Position("X"), side, D(lots).scaleb(-2), D(entry).scaleb(-1)).position
    paid = fee(D(entry).scaleb(-1), position.size, taker)
    price = break_even_price(position.size, position.cost, paid, funding, taker)
    if price is None:
        return
    net = position.unrealised(price) - paid - funding - abs(position.size) * price * taker
    assert abs(net) < D("1e-9")


def test_a_flat_position_has_no_break_even_price() -> None:
    assert break_even_price(D(0), D(0), D(1), D(1), D("0.00045")) is None
    assert break_even_price(D(1), D(1), D(0), D(-5), D("0.00045")) is None, "paid for already"
