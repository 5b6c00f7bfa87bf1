"""Conformance of a broker, third part: the record, the account, leverage, transfers, restarts and several connections."""

import random
from decimal import Decimal

import pytest
from stage import (
    CASH,
    NOON,
    STEP,
    Stage,
    agrees,
    buy,
    fills,
    group,
    held,
    order,
    quietly,
    replayed,
    sell,
    state_of,
    stop,
)

from tradeagent.brokers.protocol import CashFlow, Liquidation, OrderChange, SimulatedBroker
from tradeagent.domain.errors import RefusedError
from tradeagent.domain.names import OrderState, OrderType, Side
from tradeagent.domain.order import Fill, FundingPayment

D = Decimal
CENT = D("0.000001")


def a_busy_hour(stage: Stage, chance: random.Random, bars: int = 12) -> None:
    """Orders of every kind, cancels, transfers and moving prices."""
    broker, price = stage.broker, {"BTC": D(100), "ETH": D(50)}
    for number in range(bars):
        for market, at in price.items():
            side, size = chance.choice(list(Side)), D(chance.randint(200, 4000)).scaleb(-3)
            away = at * chance.randint(5, 40) / 1000
            cloid = f"0x{number}{market}"
            resting = {"price": (at - side.sign * away).quantize(D("0.01"))} if chance.random() < 0.4 else {}
            orders = [order(cloid, side, size, market=market, **resting)]
            if chance.random() < 0.5:
                level = (resting.get("price", at) - side.sign * away).quantize(D("0.01"))
                more = {"type": OrderType.STOP_MARKET, "trigger": level, "reduce_only": True, "parent_cloid": cloid}
                orders.append(order(f"{cloid}s", side.opposite, size, market=market, **more))
            broker.place(orders)
            if chance.random() < 0.3:
                held_now = held(broker, market)
                if held_now:
                    close = Side.SELL if held_now > 0 else Side.BUY
                    broker.place([order(f"{cloid}c", close, abs(held_now), market=market, reduce_only=True, at_mark=True)])
        live = sorted(broker.account().open_cloids)
        if live and chance.random() < 0.5:
            quietly(lambda live=live: broker.cancel(chance.choice(live)))
        if chance.random() < 0.3:
            quietly(lambda: broker.transfer(D(chance.randint(-3000, 3000))))
        shapes = {}
        for market, last in price.items():
            ends = [(last * (1000 + chance.randint(-25, 25)) / 1000).quantize(D("0.01")) for _ in range(4)]
            shapes[market] = (ends[0], max(ends), min(ends), ends[1])
            price[market] = ends[1]
        hour = stage.clock.now_ms() - stage.clock.now_ms() % 3_600_000
        rate = chance.randint(-200_000, 200_000)
        stage.bar(funding=[("BTC", hour, rate)], **shapes)


# --- statuses -----------------------------------------------------------------------------------------------------------------


def test_an_unknown_order_has_no_status(broker: SimulatedBroker) -> None:
    assert broker.order_status("0x404") is None


def test_a_status_is_the_report_that_placing_gave(broker: SimulatedBroker) -> None:
    for request in (buy("0x1"), buy("0x2", price=95), buy("0x3", at_mark=True), buy("0x4", 10_000)):
        assert broker.place([request]) == [broker.order_status(request.cloid)]


def test_an_order_keeps_its_id_and_no_two_share_one(stage: Stage, broker: SimulatedBroker) -> None:
    first = {report.cloid: report.oid for report in broker.place(group("0x"))}
    first |= {report.cloid: report.oid for report in broker.place([buy("0x9", price=95)])}
    assert None not in first.values() and len(set(first.values())) == 4
    stage.bar(BTC=(100, 130, 99, 120))
    statuses = {cloid: broker.order_status(cloid) for cloid in first}
    assert {cloid: report.oid for cloid, report in statuses.items() if report} == first


def test_the_last_word_of_the_record_is_the_status(stage: Stage, broker: SimulatedBroker) -> None:
    a_busy_hour(stage, random.Random(1))
    last = {one.item.report.cloid: one.item.report for one in broker.activity_since(0) if isinstance(one.item, OrderChange)}
    assert len(last) > 20
    assert {cloid: broker.order_status(cloid) for cloid in last} == last


def test_open_orders_are_what_was_asked_for(broker: SimulatedBroker) -> None:
    broker.place([buy("0x0", 5, at_mark=True)])
    requests = [buy("0x1", 2, price=95), stop("0x2", 90, 3), sell("0x3", 1, price=105, reduce_only=True), buy("0x4", "0.7")]
    broker.place(requests)
    found = {one.cloid: one for one in broker.open_orders()}
    assert set(found) == {request.cloid for request in requests} == broker.account().open_cloids
    for request in requests:
        one, report = found[request.cloid], broker.order_status(request.cloid)
        assert report is not None and (one.state, one.oid, one.filled, one.reason) == (report.state, report.oid, 0, report.reason)
        for name in ("market", "side", "type", "size", "price", "trigger", "tif", "reduce_only"):
            assert getattr(one, name) == getattr(request, name), (request.cloid, name)
        assert not one.waits


def test_open_orders_tell_children_that_wait_from_levels_that_protect(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place(group("0x", price=95))
    assert {one.cloid: one.waits for one in broker.open_orders()} == {"0xe": False, "0xs": True, "0xt": True}
    stage.bar(BTC=(96, 97, 94, 95))
    assert {one.cloid: one.waits for one in broker.open_orders()} == {"0xs": False, "0xt": False}


@pytest.mark.parametrize("seed", range(3))
def test_open_orders_are_the_live_ones_of_the_record(stage: Stage, broker: SimulatedBroker, seed: int) -> None:
    a_busy_hour(stage, random.Random(seed))
    assert {one.cloid for one in broker.open_orders()} == broker.account().open_cloids == replayed(broker.activity_since(0))[2]


# --- the record ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_the_record_is_in_order_and_without_a_repeated_number(stage: Stage, broker: SimulatedBroker, seed: int) -> None:
    a_busy_hour(stage, random.Random(seed))
    record = list(broker.activity_since(0))
    assert [one.seq for one in record] == sorted({one.seq for one in record}) and record[0].seq > 0
    times = [one.time_ms for one in record if isinstance(one.item, (Fill, OrderChange))]
    assert times == sorted(times)


def test_every_cursor_gives_exactly_what_came_after_it(stage: Stage, broker: SimulatedBroker) -> None:
    a_busy_hour(stage, random.Random(2), bars=6)
    record = list(broker.activity_since(0))
    for index, one in enumerate(record):
        assert list(broker.activity_since(one.seq)) == record[index + 1 :]


def test_reading_changes_nothing(stage: Stage, broker: SimulatedBroker) -> None:
    a_busy_hour(stage, random.Random(3), bars=4)
    first = broker.account(), list(broker.activity_since(0)), broker.order_status("0x0BTC")
    assert (broker.account(), list(broker.activity_since(0)), broker.order_status("0x0BTC")) == first


def test_reading_piece_by_piece_is_reading_at_once(stage: Stage, broker: SimulatedBroker) -> None:
    pieces, cursor, chance = [], 0, random.Random(4)
    for _ in range(5):
        pieces += broker.activity_since(cursor)
        cursor = pieces[-1].seq if pieces else cursor
        broker.place([buy(f"0x{chance.random()}", "0.3", at_mark=True)])
        stage.bar()
    pieces += broker.activity_since(cursor)
    assert pieces == list(broker.activity_since(0))


def test_nothing_comes_after_the_end(broker: SimulatedBroker) -> None:
    last = list(broker.activity_since(0))[-1].seq
    assert list(broker.activity_since(last)) == [] and list(broker.activity_since(last + 1000)) == []


def test_trade_ids_are_unique_and_name_their_order(stage: Stage, broker: SimulatedBroker) -> None:
    a_busy_hour(stage, random.Random(5))
    found = fills(broker)
    assert len({fill.trade_id for fill in found}) == len(found) > 10
    oids = {one.item.report.cloid: one.item.report.oid for one in broker.activity_since(0) if isinstance(one.item, OrderChange)}
    assert all(fill.oid == oids[fill.cloid] for fill in found if fill.cloid)


@pytest.mark.parametrize("seed", range(3))
def test_no_order_fills_beyond_its_size_and_its_fills_are_its_filled(stage: Stage, broker: SimulatedBroker, seed: int) -> None:
    a_busy_hour(stage, random.Random(seed))
    for cloid in {fill.cloid for fill in fills(broker) if fill.cloid}:
        report = broker.order_status(cloid)
        assert report is not None and sum(fill.size for fill in fills(broker, cloid)) == report.filled


def test_flows_are_in_the_record(broker: SimulatedBroker) -> None:
    broker.transfer(D("12.345678"))
    broker.transfer(D(-100))
    assert [one.item.amount for one in broker.activity_since(0) if isinstance(one.item, CashFlow)] == [CASH, D("12.345678"), -100]


def test_funding_is_paid_once_an_hour_on_what_was_carried_in(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place([buy("0x1", 2, at_mark=True), sell("0x2", 3, market="ETH", at_mark=True)])
    rows = [("BTC", NOON, 125_000), ("ETH", NOON, 125_000)]
    stage.bar(funding=rows)
    stage.bar(funding=rows)
    paid = [one.item for one in broker.activity_since(0) if isinstance(one.item, FundingPayment)]
    assert [(p.market, p.size, p.payment) for p in paid] == [("BTC", 2, D("0.0025")), ("ETH", -3, D("-0.001875"))]
    assert len({p.payment_id for p in paid}) == 2


def test_a_liquidation_is_in_the_record_with_its_fills(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place([buy("0x1", 1500, at_mark=True)])
    stage.bar(BTC=(100, 100, 60, 60))
    assert any(isinstance(one.item, Liquidation) for one in broker.activity_since(0))
    assert held(broker) == 0 and any(not fill.cloid for fill in fills(broker))


def test_what_was_refused_leaves_no_trace_in_the_record(stage: Stage, broker: SimulatedBroker) -> None:
    before = list(broker.activity_since(0))
    for call in (lambda: broker.cancel("0x404"), lambda: broker.transfer(-CASH - 1), lambda: broker.set_leverage("BTC", 51)):
        with pytest.raises(RefusedError):
            call()
    assert list(broker.activity_since(0)) == before


def test_bars_without_orders_say_nothing(stage: Stage, broker: SimulatedBroker) -> None:
    before = list(broker.activity_since(0))
    for price in (101, 99, 100):
        stage.bar(BTC=price)
    assert list(broker.activity_since(0)) == before


# --- the account --------------------------------------------------------------------------------------------------------------


def test_a_new_account_holds_its_deposit_and_nothing_else(broker: SimulatedBroker) -> None:
    account = broker.account()
    assert (account.cash, dict(account.positions), account.open_cloids) == (CASH, {}, frozenset())


@pytest.mark.parametrize("seed", range(8))
def test_the_account_is_what_its_record_says(stage: Stage, broker: SimulatedBroker, seed: int) -> None:
    a_busy_hour(stage, random.Random(seed), bars=16)
    agrees(broker)


def test_a_round_trip_costs_its_fees_and_the_difference_of_prices(broker: SimulatedBroker) -> None:
    broker.place([buy("0x1", 2, at_mark=True)])
    broker.place([sell("0x2", 2, at_mark=True)])
    first, second = fills(broker)
    assert second.realised_pnl == (second.price - first.price) * 2
    assert broker.account().cash == CASH + second.realised_pnl - first.fee - second.fee


def test_a_flip_closes_and_opens(broker: SimulatedBroker) -> None:
    broker.place([buy("0x1", 2, at_mark=True)])
    broker.place([sell("0x2", 5, at_mark=True)])
    (fill,) = fills(broker, "0x2")
    assert broker.account().positions["BTC"] == (-3, -3 * fill.price)


def test_markets_do_not_mix(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place([buy("0x1", at_mark=True), sell("0x2", 2, market="ETH", at_mark=True)])
    broker.place([sell("0x3", reduce_only=True, at_mark=True)])
    assert set(broker.account().positions) == {"ETH"} and held(broker, "ETH") == -2


def test_makers_pay_less_than_takers(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place([buy("0x1", price=99), buy("0x2", at_mark=True)])
    stage.bar(BTC=(100, 100, 98, 99))
    maker, taker = fills(broker, "0x1")[0], fills(broker, "0x2")[0]
    assert 0 <= maker.fee / maker.price < taker.fee / taker.price


# --- leverage and transfers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("market", "leverage"), [("BTC", 51), ("BTC", 0), ("ETH", 21), ("DOGE", 2)])
def test_a_leverage_the_venue_does_not_have_is_refused(broker: SimulatedBroker, market: str, leverage: int) -> None:
    with pytest.raises(RefusedError, match="Invalid leverage value") as caught:
        broker.set_leverage(market, leverage)
    assert caught.value.code == "venue_rejected"


def test_leverage_decides_how_much_fits(broker: SimulatedBroker) -> None:
    broker.set_leverage("BTC", 2)
    assert broker.place([buy("0x1", 250, at_mark=True)])[0].state is OrderState.REJECTED
    broker.set_leverage("BTC", 10)
    assert broker.place([buy("0x2", 250, at_mark=True)])[0].state is OrderState.FILLED


def test_the_account_tells_the_leverage_that_was_set(stage: Stage, broker: SimulatedBroker) -> None:
    broker.set_leverage("BTC", 7)
    assert broker.account().leverage["BTC"] == 7
    with pytest.raises(RefusedError):
        broker.set_leverage("BTC", 51)
    assert broker.account().leverage["BTC"] == 7 and stage.reopen().account().leverage["BTC"] == 7


def test_leverage_under_a_position_falls_only_as_far_as_the_margin_allows(broker: SimulatedBroker) -> None:
    broker.set_leverage("BTC", 10)
    broker.place([buy("0x1", 500, at_mark=True)])
    with pytest.raises(RefusedError, match="decrease leverage"):
        broker.set_leverage("BTC", 3)
    broker.set_leverage("BTC", 8)
    assert held(broker) == 500


def test_setting_the_same_leverage_again_is_no_news(broker: SimulatedBroker) -> None:
    broker.set_leverage("BTC", 5)
    before = list(broker.activity_since(0))
    broker.set_leverage("BTC", 5)
    assert list(broker.activity_since(0)) == before


def test_all_that_is_free_may_leave_and_not_a_millionth_more(broker: SimulatedBroker) -> None:
    with pytest.raises(RefusedError):
        broker.transfer(-CASH - CENT)
    assert broker.account().cash == CASH
    broker.transfer(-CASH)
    assert broker.account().cash == 0


def test_the_margin_of_a_position_does_not_leave(broker: SimulatedBroker) -> None:
    broker.set_leverage("BTC", 10)
    broker.place([buy("0x1", 500, at_mark=True)])
    with pytest.raises(RefusedError):
        broker.transfer(D(-6000))
    broker.transfer(D(-4000))
    assert held(broker) == 500


# --- restarts -----------------------------------------------------------------------------------------------------------------


def test_a_restart_changes_nothing(stage: Stage, broker: SimulatedBroker) -> None:
    a_busy_hour(stage, random.Random(6))
    before = broker.account(), list(broker.activity_since(0))
    again = stage.reopen()
    assert (again.account(), list(again.activity_since(0))) == before


def test_a_waiting_order_survives_a_restart_and_fills_once(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place([buy("0x1")])
    again = stage.reopen()
    stage.bar()
    assert held(again) == 1 and len(fills(again)) == 1


def test_a_group_survives_a_restart_between_entry_and_stop(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place(group("0x", price=95))
    stage.reopen()
    stage.bar(BTC=(96, 97, 94, 95))
    again = stage.reopen()
    assert held(again) == 1 and again.account().open_cloids == {"0xs", "0xt"}
    stage.bar(BTC=(95, 95, 85, 85))
    assert [fill.cloid for fill in fills(again)] == ["0xe", "0xs"]


def test_leverage_survives_a_restart(stage: Stage, broker: SimulatedBroker) -> None:
    broker.set_leverage("BTC", 2)
    assert stage.reopen().place([buy("0x1", 250, at_mark=True)])[0].state is OrderState.REJECTED


def test_a_restart_after_every_bar_gives_the_same_account(stage: Stage, broker: SimulatedBroker) -> None:
    chance = random.Random(7)
    for number in range(6):
        stage.broker.place([order(f"0x{number}", chance.choice(list(Side)), chance.randint(1, 4))])
        stage.bar(BTC=100 + number)
        agrees(stage.reopen())
    assert len(fills(stage.broker)) == 6


def test_a_partly_filled_order_survives_a_restart(stage: Stage, broker: SimulatedBroker) -> None:
    stage.thin(10)
    broker.place([buy("0x1", 5, price=95)])
    stage.bar(BTC=(96, 96, 94, 96), volume=20_000)
    again = stage.reopen()
    report = again.order_status("0x1")
    assert report is not None and (report.state, report.filled) == (OrderState.PARTIALLY_FILLED, 2)
    stage.bar(BTC=(96, 96, 94, 96))
    assert held(again) == 5


# --- two connections ----------------------------------------------------------------------------------------------------------


def test_each_connection_sees_what_the_other_did(stage: Stage, broker: SimulatedBroker) -> None:
    other = stage.connect()
    broker.place([buy("0x1", price=95)])
    assert other.account().open_cloids == {"0x1"} and state_of(other, "0x1") is OrderState.OPEN
    other.place([buy("0x2", at_mark=True)])
    assert held(broker) == 1 and broker.account() == other.account()
    assert list(broker.activity_since(0)) == list(other.activity_since(0))


def test_one_connection_cancels_what_the_other_placed(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place([buy("0x1", price=95)])
    assert stage.connect().cancel("0x1").state is OrderState.CANCELLED
    with pytest.raises(RefusedError):
        broker.cancel("0x1")


def test_the_same_order_over_two_connections_is_one_order(stage: Stage, broker: SimulatedBroker) -> None:
    other = stage.connect()
    first = broker.place([buy("0x1", at_mark=True)])
    assert other.place([buy("0x1", at_mark=True)]) == first and held(broker) == 1


def test_a_bar_over_two_connections_happens_once(stage: Stage, broker: SimulatedBroker) -> None:
    stage.connect()
    broker.place([buy("0x1")])
    stage.bar(funding=[("BTC", NOON, 100_000)])
    stage.bar()
    assert held(broker) == 1 and len(fills(broker)) == 1


def test_two_connections_in_turn_lose_nothing(stage: Stage, broker: SimulatedBroker) -> None:
    pair = (broker, stage.connect())
    for number in range(20):
        pair[number % 2].place([buy(f"0x{number}", "0.3", at_mark=True)])
        pair[number % 2].transfer(D(1))
        if number % 5 == 4:
            stage.bar(BTC=100 + number)
    assert held(broker) == 6 and len(fills(pair[1])) == 20
    assert replayed(pair[0].activity_since(0)) == replayed(pair[1].activity_since(0))
    assert pair[0].account() == pair[1].account()


def test_a_stop_of_one_connection_protects_the_position_of_the_other(stage: Stage, broker: SimulatedBroker) -> None:
    other = stage.connect()
    broker.place([buy("0x1", at_mark=True)])
    other.place([stop("0x2", 95)])
    stage.bar(BTC=(100, 100, 90, 90))
    assert held(broker) == 0 and held(other) == 0


def test_time_stands_still_without_bars(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place([buy("0x1")])
    stage.clock.advance_to(stage.clock.now_ms() + STEP - 1)
    assert state_of(broker, "0x1").is_live and fills(broker) == []
