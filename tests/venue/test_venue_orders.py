"""Placing, refusing, cancelling: error texts, reduce-only, groups, idempotence, timing."""

from dataclasses import replace

import pytest
from venue_driver import ETH, FREE_OF_COST, USDC, Exchange, buy, limit, long_account, order, sell, stop, target, usd

from tradeagent.domain.names import ExitReason, Liquidity, OrderState, OrderType, Side, Tif
from tradeagent.venue import VenueState, account, order_status, step
from tradeagent.venue.events import Cancel, Flow, Flowed, Modify, OrderUpdate, Refused, SetLeverage
from tradeagent.venue.margin import booked
from tradeagent.venue.state import FINISHED_KEPT, Holding

INCREASE = "Reduce only order would increase position."
BAD_TRIGGER = "Invalid TP/SL price."


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (limit("x", Side.BUY, 0), "Order has invalid price."),
        (order("x", Side.BUY, OrderType.LIMIT), "Order has invalid price."),
        (limit("x", Side.BUY, 1999.99), "Price must be divisible by tick size."),
        (buy("x", size=0), "Order has zero size."),
        (buy("x", size=-1), "Order has invalid size."),
        (buy("x", size=49), "Order must have minimum value of $10."),
        (limit("x", Side.BUY, 1000, size=99), "Order must have minimum value of $10."),
        (buy("x", size=51 * ETH * 20), "Insufficient margin to place order."),
        (limit("x", Side.BUY, 2000.1, tif=Tif.ALO), "Post only order would have immediately matched, bbo was 2000@2000."),
        (order("x", Side.BUY, OrderType.STOP_MARKET, trigger=1990), BAD_TRIGGER),
        (order("x", Side.BUY, OrderType.STOP_MARKET, trigger=2000), BAD_TRIGGER),
        (order("x", Side.SELL, OrderType.STOP_MARKET, trigger=2010), BAD_TRIGGER),
        (order("x", Side.SELL, OrderType.STOP_MARKET, trigger=2000), BAD_TRIGGER),
        (order("x", Side.BUY, OrderType.TAKE_PROFIT_MARKET, trigger=2010), BAD_TRIGGER),
        (order("x", Side.SELL, OrderType.TAKE_PROFIT_MARKET, trigger=1990), BAD_TRIGGER),
        (sell("x", reduce_only=True), INCREASE),
        (stop(1900, cloid="x"), INCREASE),
        (limit("x", Side.SELL, 2100, reduce_only=True), INCREASE),
        (buy("x", market="DOGE"), "Unknown market DOGE."),
    ],
)
def test_an_order_the_venue_cannot_take_is_refused_with_its_text(wrong, text):
    venue = Exchange()
    before = venue.state
    venue.place(wrong)
    update = venue.all(OrderUpdate)[-1]
    assert (update.state, update.reason, update.oid) == (OrderState.REJECTED, text, None)
    assert (venue.state.orders, venue.state.cash) == (before.orders, before.cash)


def test_whole_prices_are_valid_however_many_figures_they_have():
    venue = Exchange(mark=123_456)
    venue.place(limit("whole", Side.BUY, 123_455, size=ETH // 10), limit("half", Side.BUY, 123_455.5, size=ETH // 10))
    assert venue.status("whole")[0] is OrderState.OPEN
    assert venue.status("half") == (OrderState.REJECTED, "Price must be divisible by tick size.")


def test_ten_dollars_exactly_is_enough():
    venue = Exchange()
    venue.place(buy("x", size=50))
    assert venue.status("x")[0] is OrderState.PENDING


def test_a_reduce_only_order_below_ten_dollars_is_taken_only_when_it_closes_the_position():
    venue = long_account(size=60)
    venue.bar(150, 150, 150, 150)
    venue.place(sell("part", size=59, reduce_only=True), sell("all", size=60, reduce_only=True))
    venue.bar(150, 150, 150, 150)
    assert venue.status("part") == (OrderState.REJECTED, "Order must have minimum value of $10.")
    assert venue.position == 0


def test_a_market_order_at_the_mark_fills_at_once_with_slippage():
    venue = Exchange(replace(FREE_OF_COST, slippage_tenth_bps=100))
    venue.place(sell("x", at_mark=True, exit_reason=ExitReason.MANUAL))
    fill = venue.fills("x")[0]
    assert (fill.price, fill.time_ms, fill.reason) == (usd(1998), venue.state.clock_ms, ExitReason.MANUAL)


def test_without_a_mark_an_order_at_the_mark_finds_no_liquidity_and_a_plain_one_waits():
    venue = Exchange(mark=None)
    venue.place(buy("now", at_mark=True), buy("later"))
    assert venue.status("now") == (OrderState.REJECTED, "No liquidity available for market order.")
    assert venue.status("later") == (OrderState.PENDING, "queued")
    venue.bar(2000, 2000, 2000, 2000)
    assert venue.prices("later") == [2000]


def test_margin_is_checked_again_at_the_fill():
    venue = Exchange(cash=105 * USDC)
    venue.bracket(buy(), stop(1900))
    assert venue.status("entry")[0] is OrderState.PENDING
    venue.bar(2200, 2200, 2200, 2200)
    assert venue.status("entry") == (OrderState.CANCELLED, "marginCanceled")
    assert venue.status("stop") == (OrderState.CANCELLED, "canceled")


def test_margin_counts_fee_and_slippage_to_the_last_unit():
    config = replace(FREE_OF_COST, taker_rate=45_000, slippage_tenth_bps=20)
    needed = 100_000_000 + 400_000 + 900_180
    for cash, is_filled in [(needed, True), (needed - 1, False)]:
        venue = Exchange(config, cash=cash)
        venue.place(buy(at_mark=True))
        assert (venue.position == ETH) is is_filled, cash


def test_a_resting_limit_that_can_no_longer_be_carried_is_margin_cancelled():
    venue = Exchange(cash=200 * USDC)
    venue.place(limit("low", Side.BUY, 1950), buy(size=2 * ETH, at_mark=True))
    venue.bar(2000, 2000, 1945, 1950)
    assert venue.status("low") == (OrderState.CANCELLED, "marginCanceled")


def test_a_resting_order_needs_margin_for_the_fee_of_a_maker_when_it_fills():
    config = replace(FREE_OF_COST, taker_rate=1_000_000, maker_rate=500_000)
    needed = 99_495_000 + 9_950_000 + 100_000  # a twentieth of the mark, half a percent of the price, the tick between them
    for left, is_filled in [(needed, True), (needed - 1, False)]:
        venue = Exchange(config, cash=1000 * USDC)
        venue.place(limit("low", Side.BUY, 1990))
        venue.send(Flow(left - 1000 * USDC))
        venue.bar(2000, 2000, 1989.9, 1989.9)
        assert (venue.position == ETH) is is_filled, (left, venue.status("low"))


def test_reducing_and_closing_need_no_margin():
    venue = long_account(cash=101 * USDC)
    venue.bar(1960, 1960, 1960, 1960)
    venue.place(sell("half", size=ETH // 2, at_mark=True), sell("rest", size=ETH // 2, at_mark=True))
    assert venue.position == 0


def test_a_flip_to_the_same_size_needs_no_more_margin_than_there_was():
    venue = long_account(cash=101 * USDC)
    venue.bar(1960, 1960, 1960, 1960)
    venue.place(sell("flip", size=2 * ETH, at_mark=True))
    assert venue.position == -ETH


def test_adding_by_a_limit_values_only_the_new_part_at_its_price():
    venue = long_account(cash=149 * USDC)
    venue.place(limit("cheap", Side.BUY, 1000), limit("fits", Side.BUY, 980))
    assert venue.status("cheap") == (OrderState.REJECTED, "Insufficient margin to place order.")
    assert venue.status("fits") == (OrderState.OPEN, "open")


def test_a_larger_child_stop_replaces_the_older_stop_of_the_position():
    venue = long_account()
    venue.place(stop(1900, cloid="old"))
    venue.bracket(buy("more", at_mark=True), stop(1950, cloid="new", size=2 * ETH))
    assert venue.status("old") == (OrderState.CANCELLED, "reduceOnlyCanceled")
    assert [live.cloid for live in venue.state.orders.values()] == ["new"]


def test_a_reduce_only_order_larger_than_the_position_is_capped():
    venue = long_account()
    venue.place(sell("close", size=3 * ETH, reduce_only=True, at_mark=True))
    update = order_status(venue.state, "close")
    assert (venue.position, update.state, update.filled, update.size) == (0, OrderState.FILLED, ETH, 3 * ETH)


def test_a_flat_market_keeps_no_reduce_only_order():
    venue = long_account()
    venue.place(stop(1900), target(2100), limit("exit", Side.SELL, 2050, reduce_only=True), limit("entry2", Side.BUY, 1800))
    venue.place(sell("close", at_mark=True))
    assert {venue.status(cloid) for cloid in ("stop", "target", "exit")} == {(OrderState.CANCELLED, "reduceOnlyCanceled")}
    assert [live.cloid for live in venue.state.orders.values()] == ["entry2"]


def test_a_flip_takes_the_old_protection_and_keeps_the_new_one():
    venue = long_account()
    venue.place(stop(1900))
    venue.bracket(sell("flip", size=2 * ETH, at_mark=True), stop(2100, Side.BUY, cloid="new"))
    assert venue.position == -ETH
    assert [live.cloid for live in venue.state.orders.values()] == ["new"]
    flip = venue.fills("flip")[0]
    assert (flip.size, flip.realised) == (2 * ETH, 0)


def test_a_new_stop_for_the_whole_position_cancels_the_older_one():
    venue = long_account()
    venue.place(stop(1900, cloid="old"), target(2100), stop(1950, cloid="new"))
    assert venue.status("old") == (OrderState.CANCELLED, "reduceOnlyCanceled")
    assert {live.cloid for live in venue.state.orders.values()} == {"target", "new"}


def test_two_partial_stops_that_fit_the_position_both_stay():
    venue = long_account(size=2 * ETH)
    venue.place(stop(1900, cloid="one"), stop(1950, cloid="two"))
    assert len(venue.state.orders) == 2


def test_of_partial_stops_only_as_many_of_the_oldest_are_cancelled_as_the_newest_needs():
    venue = long_account(size=3 * ETH)
    venue.place(*(stop(1900 + number, cloid=f"stop{number}") for number in range(3)))
    venue.place(stop(1950, cloid="newest"))
    assert venue.status("stop0") == (OrderState.CANCELLED, "reduceOnlyCanceled")
    assert [live.cloid for live in venue.state.orders.values()] == ["stop1", "stop2", "newest"]
    venue.place(stop(1960, cloid="half", size=ETH // 2))
    assert [live.cloid for live in venue.state.orders.values()] == ["stop2", "newest", "half"]


def test_children_wait_for_a_full_entry_and_leave_with_it():
    venue = Exchange()
    venue.bracket(limit("entry", Side.BUY, 1950), stop(1900), target(2100))
    assert venue.status("stop") == (OrderState.PENDING, "waitingForFill")
    venue.cancel("entry")
    assert [venue.status(cloid) for cloid in ("entry", "stop", "target")] == [(OrderState.CANCELLED, "canceled")] * 3
    assert venue.state.orders == {}


def test_a_refused_entry_takes_its_children_along():
    venue = Exchange(cash=USDC)
    venue.bracket(buy(), stop(1900))
    assert venue.status("entry") == (OrderState.REJECTED, "Insufficient margin to place order.")
    assert venue.status("stop") == (OrderState.CANCELLED, "canceled")


@pytest.mark.parametrize(
    ("orders", "text"),
    [
        ((buy(),), "Unexpected number of trigger orders"),
        ((stop(1900), target(2100)), "Main order cannot be trigger order."),
        ((buy(), stop(2100)), BAD_TRIGGER),
        ((buy(), target(1900)), BAD_TRIGGER),
        ((limit("entry", Side.BUY, 1950), stop(1960)), BAD_TRIGGER),
        ((buy(), stop(1900, Side.BUY)), BAD_TRIGGER),
        ((buy(), stop(1900), stop(1800, cloid="target")), BAD_TRIGGER),
        ((buy(), order("stop", Side.SELL, OrderType.STOP_MARKET, trigger=1900)), BAD_TRIGGER),
        ((buy(), stop(1900, market="SOL")), BAD_TRIGGER),
        ((buy(), stop(1900.01)), "Price must be divisible by tick size."),
    ],
)
def test_a_group_that_does_not_fit_is_refused_as_a_whole(orders, text):
    venue = Exchange()
    venue.bracket(*orders)
    assert {venue.status(each.cloid) for each in orders} == {(OrderState.REJECTED, text)}
    assert venue.state.orders == {}


def test_a_known_cloid_gets_its_report_and_no_second_order():
    venue = Exchange()
    venue.place(limit("x", Side.BUY, 1950))
    venue.place(limit("x", Side.BUY, 1950))
    assert len(venue.state.orders) == 1
    venue.cancel("x")
    assert [update.state for update in venue.place(limit("x", Side.BUY, 1950))] == [OrderState.CANCELLED]
    venue.place(sell("bad", reduce_only=True))
    assert [update.reason for update in venue.place(sell("bad", reduce_only=True))] == [INCREASE]
    assert venue.state.orders == {}


def test_a_group_sent_twice_trades_once():
    venue = Exchange()
    group = (buy(at_mark=True), stop(1900), target(2100))
    venue.bracket(*group)
    again = venue.bracket(*group)
    assert venue.position == ETH
    assert [(update.cloid, update.state) for update in again] == [
        ("entry", OrderState.FILLED),
        ("stop", OrderState.OPEN),
        ("target", OrderState.OPEN),
    ]


def test_the_memory_of_finished_orders_is_bounded_and_drops_the_oldest():
    venue = Exchange()
    for number in range(FINISHED_KEPT + 5):
        venue.place(sell(f"n{number}", reduce_only=True))
    assert len(venue.state.finished) == FINISHED_KEPT
    assert order_status(venue.state, "n4") is None
    assert order_status(venue.state, "n5") is not None


def test_finished_orders_can_be_stored_apart():
    venue = Exchange()
    venue.place(limit("x", Side.BUY, 1950), limit("y", Side.BUY, 1940))
    venue.cancel("x")
    apart = list(venue.state.finished.values())
    assert VenueState.from_json(venue.state.to_json(with_finished=False), apart) == venue.state
    assert VenueState.from_json(venue.state.to_json()) == venue.state


def test_cancelling_works_by_cloid_and_oid_and_names_a_missing_order():
    venue = Exchange()
    venue.place(limit("x", Side.BUY, 1950), limit("y", Side.BUY, 1940))
    venue.cancel("x")
    venue.send(Cancel(oid=2))
    assert venue.state.orders == {}
    for missing, name in ((Cancel("x"), "x"), (Cancel(oid=2), 2), (Modify(limit("z", Side.BUY, 1950), oid=7), 7)):
        [refused] = venue.send(missing)
        assert isinstance(refused, Refused) and refused.details == {"order": name}
        assert refused.text.startswith("Order was never placed, already canceled, or filled.") or name == 7


def test_a_marketable_limit_waits_for_the_open_and_fills_there_as_taker():
    venue = Exchange()
    venue.place(limit("x", Side.BUY, 2010))
    venue.bar(2005, 2010, 2000, 2000)
    fill = venue.fills("x")[0]
    assert (fill.price, fill.liquidity) == (usd(2005), Liquidity.TAKER)


def test_a_marketable_limit_that_the_open_left_behind_rests_as_maker():
    venue = Exchange()
    venue.place(limit("x", Side.BUY, 2010))
    venue.bar(2020, 2020, 2010, 2020)
    assert venue.status("x") == (OrderState.OPEN, "open")
    venue.bar(2020, 2020, 2009.9, 2020)
    fill = venue.fills("x")[0]
    assert (fill.price, fill.liquidity) == (usd(2010), Liquidity.MAKER)


def test_a_taker_limit_never_slips_beyond_its_price():
    venue = Exchange(replace(FREE_OF_COST, slippage_tenth_bps=100))
    venue.place(limit("x", Side.BUY, 2001, at_mark=True))
    assert venue.prices("x") == [2001]


def test_an_ioc_limit_fills_at_the_open_or_is_cancelled():
    for opened, price in [(1990, [1990]), (2000, [])]:
        venue = Exchange()
        venue.place(limit("x", Side.BUY, 1995, tif=Tif.IOC))
        venue.bar(opened, 2100, 1900, 2000)
        assert venue.prices("x") == price
    assert venue.status("x") == (OrderState.REJECTED, "Order could not immediately match against any resting orders.")


def test_an_ioc_limit_at_the_mark_is_judged_at_once():
    venue = Exchange()
    venue.place(limit("x", Side.BUY, 1995, tif=Tif.IOC, at_mark=True))
    assert venue.status("x") == (OrderState.REJECTED, "Order could not immediately match against any resting orders.")


def test_a_post_only_order_away_from_the_market_rests():
    venue = Exchange()
    venue.place(limit("x", Side.BUY, 1999.9, tif=Tif.ALO))
    assert venue.status("x") == (OrderState.OPEN, "open")


def test_without_a_mark_a_post_only_order_rests_and_any_other_waits_for_the_open():
    venue = Exchange(mark=None)
    venue.place(limit("alo", Side.BUY, 1999, tif=Tif.ALO), limit("gtc", Side.BUY, 1999))
    assert (venue.status("alo"), venue.status("gtc")) == ((OrderState.OPEN, "open"), (OrderState.PENDING, "queued"))


def test_fees_are_truncated_and_makers_pay_their_own_rate():
    config = replace(FREE_OF_COST, taker_rate=45_000, maker_rate=15_000)
    venue = Exchange(config, mark=4307.4)
    venue.place(buy("taker", size=25, at_mark=True), limit("maker", Side.BUY, 4300, size=25))
    venue.bar(4307, 4307, 4290, 4300)
    assert [fill.fee for fill in venue.fills()] == [4845, 1612]


def test_a_maker_rebate_is_truncated_toward_zero():
    venue = Exchange(replace(FREE_OF_COST, maker_rate=-300), cash=1000 * USDC)
    venue.place(limit("maker", Side.BUY, 1999, size=51))
    venue.bar(2000, 2000, 1990, 2000)
    assert venue.fills("maker")[0].fee == -30


@pytest.mark.parametrize(("leverage", "most"), [(20, 100), (25, 100), (10, 100), (8, 50)])
def test_a_withdrawal_leaves_the_initial_margin_and_a_tenth_of_the_notional(leverage, most):
    venue = long_account(cash=300 * USDC)
    venue.send(SetLeverage("ETH", leverage))
    assert account(venue.state, venue.config).withdrawable == most * USDC
    venue.send(Flow(-most * USDC - 1))
    assert venue.refusal == "Insufficient free margin to withdraw."
    assert venue.all(Refused)[-1].details == {"amount": most * USDC + 1, "free": most * USDC}
    venue.send(Flow(-most * USDC))
    assert venue.equity == (300 - most) * USDC
    assert [flow.amount for flow in venue.all(Flowed)] == [300 * USDC, -most * USDC]


def test_a_withdrawal_without_a_position_may_take_all_and_a_deposit_is_always_taken():
    venue = Exchange(cash=300 * USDC)
    venue.send(Flow(-300 * USDC))
    assert venue.equity == 0
    venue = long_account(cash=101 * USDC)
    venue.bar(1960, 1960, 1960, 1960)
    assert account(venue.state, venue.config).withdrawable == 0
    venue.send(Flow(USDC))
    assert venue.all(Flowed)[-1].amount == USDC


def test_leverage_starts_at_twenty_and_obeys_the_market_maximum():
    venue = Exchange()
    for wrong in (0, 26):
        venue.send(SetLeverage("ETH", wrong))
        assert venue.refusal == "Invalid leverage value"
    assert venue.send(SetLeverage("ETH", 25)) == ()
    assert venue.state.leverage == {"ETH": 25}


def test_leverage_cannot_be_lowered_below_what_the_position_needs():
    venue = long_account(cash=200 * USDC)
    venue.send(SetLeverage("ETH", 9))
    assert venue.refusal.startswith("Cross position does not have sufficient margin available to decrease leverage.")
    assert venue.send(SetLeverage("ETH", 10)) == ()
    assert venue.state.leverage == {"ETH": 10}


def test_leverage_may_be_raised_on_a_position_that_is_short_of_initial_margin():
    venue = long_account(cash=100 * USDC)
    venue.bar(1960, 1960, 1960, 1960)
    assert venue.send(SetLeverage("ETH", 25)) == ()


def test_a_step_leaves_its_input_alone():
    venue = long_account()
    venue.place(stop(1900))
    before = venue.state.to_json()
    for event in (Flow(USDC), Cancel("stop"), SetLeverage("ETH", 5)):
        step(venue.state, event, venue.config)
    assert venue.state.to_json() == before


@pytest.mark.parametrize("sign", [1, -1])
def test_the_last_lot_of_a_position_keeps_its_own_cost(sign):
    assert booked(Holding(3 * sign, 300 * sign), -2 * sign, 150) == (Holding(sign, 100 * sign), 100 * sign)
    assert booked(Holding(3 * sign, 300 * sign), -3 * sign, 150) == (None, 150 * sign)
    assert booked(Holding(3 * sign, 300 * sign), -4 * sign, 150) == (Holding(-sign, -150 * sign), 150 * sign)
