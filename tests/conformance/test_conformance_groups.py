"""Conformance of a broker, second part: groups, partial fills, repeated cloids and cancels. Nothing is ever half done."""

from decimal import Decimal

import pytest
from stage import Stage, agrees, buy, fills, group, held, sell, state_of, stop, target

from tradeagent.brokers.protocol import SimulatedBroker
from tradeagent.domain.errors import RefusedError
from tradeagent.domain.names import OrderState, OrderType, Tif

D = Decimal
ORPHANED = (OrderState.CANCELLED, OrderState.REJECTED)


# --- entry, stop and target as one action -------------------------------------------------------------------------------------


def test_children_wait_for_their_entry(stage: Stage, broker: SimulatedBroker) -> None:
    reports = broker.place(group("0x", price=95))
    assert [r.cloid for r in reports] == ["0xe", "0xs", "0xt"] and all(r.state.is_live for r in reports)
    stage.bar(BTC=(100, 125, 97, 100))
    assert [state_of(broker, c) for c in ("0xe", "0xs", "0xt")] == [OrderState.OPEN, OrderState.PENDING, OrderState.PENDING]


def test_children_are_armed_when_the_entry_fills(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place(group("0x"))
    stage.bar()
    assert [state_of(broker, c) for c in ("0xe", "0xs", "0xt")] == [OrderState.FILLED, OrderState.OPEN, OrderState.OPEN]
    assert broker.account().open_cloids == {"0xs", "0xt"}


@pytest.mark.parametrize(("bar", "first", "other"), [((100, 125, 99, 110), "0xt", "0xs"), ((100, 101, 85, 90), "0xs", "0xt")])
def test_the_child_that_fills_takes_the_other_with_it(
    stage: Stage, broker: SimulatedBroker, bar: tuple[int, int, int, int], first: str, other: str
) -> None:
    broker.place(group("0x"))
    stage.bar()
    stage.bar(BTC=bar)
    report = broker.order_status(other)
    assert state_of(broker, first) is OrderState.FILLED and report is not None and report.state is OrderState.CANCELLED
    assert held(broker) == 0 and broker.account().open_cloids == frozenset()


def test_a_bar_that_holds_both_levels_is_a_stop(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place(group("0x"))
    stage.bar()
    stage.bar(BTC=(100, 130, 80, 100))
    assert [fill.cloid for fill in fills(broker)] == ["0xe", "0xs"]


def test_a_limit_entry_can_be_stopped_on_the_rest_of_its_bar(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place(group("0x", price=95, stop_at=90))
    stage.bar(BTC=(100, 100, 85, 88))
    assert [fill.cloid for fill in fills(broker)] == ["0xe", "0xs"]


def test_a_stop_that_is_passed_when_the_entry_fills_executes_at_once(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place(group("0x", price=95, stop_at=93))
    stage.bar(BTC=(90, 91, 89, 90))
    assert [fill.cloid for fill in fills(broker)] == ["0xe", "0xs"] and held(broker) == 0


def test_an_entry_with_a_stop_alone_is_a_group(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place(group("0x")[:2])
    stage.bar()
    assert broker.account().open_cloids == {"0xs"}


def test_cancelling_the_entry_cancels_its_children(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place(group("0x", price=95))
    assert broker.cancel("0xe").state is OrderState.CANCELLED
    assert broker.account().open_cloids == frozenset()
    assert [state_of(broker, c) for c in ("0xs", "0xt")] == [OrderState.CANCELLED] * 2
    stage.bar(BTC=(100, 130, 80, 100))
    assert fills(broker) == []


def test_a_refused_entry_leaves_no_child_behind(stage: Stage, broker: SimulatedBroker) -> None:
    reports = broker.place(group("0x", 10_000))
    assert (reports[0].state, reports[0].reason) == (OrderState.REJECTED, "Insufficient margin to place order.")
    assert all(report.state in ORPHANED for report in reports[1:]) and broker.account().open_cloids == frozenset()
    stage.bar(BTC=(100, 130, 80, 100))
    assert fills(broker) == []


@pytest.mark.parametrize(
    "orders",
    [
        group("0x", stop_at=101),
        group("0x", target_at=99),
        [*group("0x"), target("0x4", 130, parent_cloid="0xe")],
        [buy("0xe", type=OrderType.STOP_MARKET, trigger=105), stop("0xs", 90, parent_cloid="0xe")],
        [buy("0xe"), stop("0xs", 40, market="ETH", parent_cloid="0xe")],
        [buy("0xe"), stop("0xs", 90, parent_cloid="0xe"), stop("0xt", 80, parent_cloid="0xe")],
    ],
    ids=["stop above the entry", "target below the entry", "three children", "a trigger leads", "another market", "two stops"],
)
def test_a_group_that_does_not_fit_is_refused_whole(stage: Stage, broker: SimulatedBroker, orders: list[object]) -> None:
    reports = broker.place(orders)  # type: ignore[arg-type]
    assert len(reports) == len(orders) and all(report.state in ORPHANED for report in reports)
    assert reports[0].state is OrderState.REJECTED and reports[0].reason
    stage.bar(BTC=(100, 130, 80, 100))
    assert fills(broker) == [] and broker.account().open_cloids == frozenset()


def test_a_liquidation_ends_the_stops_of_what_it_took(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place([buy("0x1", 1500, at_mark=True), target("0x2", 130, 1500)])
    stage.bar(BTC=(100, 100, 60, 60))
    assert broker.account().positions == {} and broker.account().open_cloids == frozenset()


# --- partial fills ------------------------------------------------------------------------------------------------------------


def test_a_limit_fills_over_several_bars(stage: Stage, broker: SimulatedBroker) -> None:
    stage.thin(10)
    broker.place([buy("0x1", 5, price=95)])
    for seen in (1, 2, 3):
        stage.bar(BTC=(96, 96, 94, 96), volume=10_000)
        report = broker.order_status("0x1")
        assert report is not None and (report.state, report.filled, report.average_price) == (OrderState.PARTIALLY_FILLED, seen, 95)
        assert held(broker) == seen == sum(fill.size for fill in fills(broker, "0x1"))
    stage.bar(BTC=(96, 96, 94, 96), volume=1_000_000)
    assert state_of(broker, "0x1") is OrderState.FILLED and held(broker) == 5


def test_what_is_left_of_a_partly_filled_limit_can_be_cancelled(stage: Stage, broker: SimulatedBroker) -> None:
    stage.thin(10)
    broker.place([buy("0x1", 5, price=95)])
    stage.bar(BTC=(96, 96, 94, 96), volume=20_000)
    report = broker.cancel("0x1")
    assert (report.state, report.filled) == (OrderState.CANCELLED, 2)
    stage.bar(BTC=(96, 96, 90, 90))
    assert held(broker) == 2


@pytest.mark.parametrize("more", [{}, {"price": 101, "tif": Tif.IOC}], ids=["market", "ioc"])
def test_what_is_left_of_an_immediate_order_is_gone(stage: Stage, broker: SimulatedBroker, more: dict[str, object]) -> None:
    stage.thin(10)
    broker.place([buy("0x1", 5, **more)])
    stage.bar(volume=30_000)
    report = broker.order_status("0x1")
    assert report is not None and (report.state, report.filled) == (OrderState.CANCELLED, 3)
    stage.bar()
    assert held(broker) == 3


def test_a_stop_that_fills_in_parts_goes_on_until_it_is_done(stage: Stage, broker: SimulatedBroker) -> None:
    stage.thin(10)
    broker.place([buy("0x1", 5, at_mark=True), stop("0x2", 95, 5)])
    stage.bar(BTC=(94, 94, 93, 93), volume=20_000)
    assert held(broker) == 3
    stage.bar(BTC=92)
    assert held(broker) == 0 and state_of(broker, "0x2") is OrderState.FILLED
    assert len(fills(broker, "0x2")) == 2


def test_the_parts_of_an_order_add_up_to_its_average(stage: Stage, broker: SimulatedBroker) -> None:
    stage.thin(10)
    broker.place([buy("0x1", 5, at_mark=True), stop("0x2", 95, 5)])
    stage.bar(BTC=94, volume=20_000)
    stage.bar(BTC=92)
    report = broker.order_status("0x2")
    parts = fills(broker, "0x2")
    assert report is not None and len({part.price for part in parts}) == 2
    assert report.average_price == sum(part.price * part.size for part in parts) / 5


# --- what may still arrive ----------------------------------------------------------------------------------------------------


def test_an_order_that_comes_after_it_expired_is_refused(stage: Stage, broker: SimulatedBroker) -> None:
    now = stage.clock.now_ms()
    (report,) = broker.place([buy("0x1", expires_ms=now - 1, at_mark=True)])
    assert (report.cloid, report.state, report.filled) == ("0x1", OrderState.REJECTED, 0) and report.reason
    stage.bar()
    assert held(broker) == 0 and broker.account().open_cloids == frozenset()


def test_a_group_that_comes_after_it_expired_is_refused_whole(stage: Stage, broker: SimulatedBroker) -> None:
    past = stage.clock.now_ms() - 1
    reports = broker.place(group("0x", expires_ms=past))
    assert [report.state for report in reports] == [OrderState.REJECTED] * 3
    stage.bar(BTC=(100, 130, 80, 100))
    assert fills(broker) == []


def test_an_order_in_time_lives_on_after_its_expiry(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place([buy("0x1", price=95, expires_ms=stage.clock.now_ms() + 15_000)])
    stage.bar()
    assert state_of(broker, "0x1") is OrderState.OPEN
    stage.bar(BTC=(100, 100, 94, 96))
    assert held(broker) == 1


# --- the same order again -----------------------------------------------------------------------------------------------------


def test_a_live_order_sent_again_is_answered_as_it_is(broker: SimulatedBroker) -> None:
    first = broker.place([buy("0x1", price=95)])
    assert broker.place([buy("0x1", price=95)]) == first
    assert broker.account().open_cloids == {"0x1"}


def test_a_waiting_order_sent_again_fills_once(stage: Stage, broker: SimulatedBroker) -> None:
    for _ in range(3):
        broker.place([buy("0x1")])
    stage.bar()
    assert held(broker) == 1 and len(fills(broker)) == 1


def test_a_filled_order_sent_again_is_answered_and_not_filled_again(stage: Stage, broker: SimulatedBroker) -> None:
    first = broker.place([buy("0x1", at_mark=True)])
    assert broker.place([buy("0x1", at_mark=True)]) == first
    stage.bar()
    assert broker.place([buy("0x1")]) == first and held(broker) == 1


def test_a_cancelled_order_sent_again_stays_cancelled(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place([buy("0x1", price=95)])
    cancelled = broker.cancel("0x1")
    assert broker.place([buy("0x1", price=95)]) == [cancelled]
    stage.bar(BTC=(100, 100, 90, 90))
    assert held(broker) == 0


def test_a_refused_order_sent_again_stays_refused(broker: SimulatedBroker) -> None:
    first = broker.place([buy("0x1", 10_000, at_mark=True)])
    broker.transfer(D(1_000_000))
    assert broker.place([buy("0x1", 10_000, at_mark=True)]) == first and held(broker) == 0


def test_a_known_cloid_with_other_terms_is_still_the_first_order(broker: SimulatedBroker) -> None:
    first = broker.place([buy("0x1", price=95)])
    assert broker.place([sell("0x1", 3, at_mark=True)]) == first and held(broker) == 0


@pytest.mark.parametrize("when", ["waiting", "filled", "stopped"])
def test_a_group_sent_again_is_the_same_group(stage: Stage, broker: SimulatedBroker, when: str) -> None:
    broker.place(group("0x"))
    if when != "waiting":
        stage.bar()
    if when == "stopped":
        stage.bar(BTC=(100, 100, 85, 85))
    before = broker.account()
    known = [broker.order_status(cloid) for cloid in ("0xe", "0xs", "0xt")]
    assert broker.place(group("0x")) == known and broker.account() == before


def test_known_and_new_orders_in_one_action(broker: SimulatedBroker) -> None:
    broker.place([buy("0x1", price=95)])
    reports = broker.place([buy("0x1", price=95), buy("0x2", price=94)])
    assert [report.cloid for report in reports] == ["0x1", "0x2"]
    assert broker.account().open_cloids == {"0x1", "0x2"}


def test_the_same_order_again_after_a_restart(stage: Stage, broker: SimulatedBroker) -> None:
    requests = [buy("0x1", at_mark=True), buy("0x2", price=95), buy("0x3", 10_000)]
    first = broker.place(requests)
    again = stage.reopen()
    assert again.place(requests) == first and held(again) == 1


# --- cancels ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["limit", "waiting market", "stop", "child"])
def test_a_cancelled_order_never_fills(stage: Stage, broker: SimulatedBroker, kind: str) -> None:
    broker.place([sell("0x0", 2, at_mark=True)])
    orders = {
        "limit": [buy("0x1", price=95)],
        "waiting market": [buy("0x1")],
        "stop": [buy("0x1", type=OrderType.STOP_MARKET, trigger=110, reduce_only=True)],
        "child": [sell("0x2", price=105), buy("0x1", type=OrderType.STOP_MARKET, trigger=110, reduce_only=True, parent_cloid="0x2")],
    }
    broker.place(orders[kind])
    assert broker.cancel("0x1").state is OrderState.CANCELLED
    assert "0x1" not in broker.account().open_cloids
    stage.bar(BTC=(100, 120, 80, 100))
    assert fills(broker, "0x1") == [] and state_of(broker, "0x1") is OrderState.CANCELLED


@pytest.mark.parametrize("gone", ["unknown", "filled", "cancelled", "rejected"])
def test_cancelling_what_is_gone_is_refused_and_changes_nothing(stage: Stage, broker: SimulatedBroker, gone: str) -> None:
    if gone == "rejected":
        broker.place([buy("0x1", 10_000)])
    elif gone != "unknown":
        broker.place([buy("0x1", at_mark=True) if gone == "filled" else buy("0x1", price=95)])
    if gone == "cancelled":
        broker.cancel("0x1")
    before = broker.account(), list(broker.activity_since(0)), broker.order_status("0x1")
    with pytest.raises(RefusedError, match="never placed, already canceled, or filled") as caught:
        broker.cancel("0x1")
    assert caught.value.code == "venue_rejected"
    assert (broker.account(), list(broker.activity_since(0)), broker.order_status("0x1")) == before


def test_cancelling_one_child_leaves_the_rest_of_the_group(stage: Stage, broker: SimulatedBroker) -> None:
    broker.place(group("0x"))
    stage.bar()
    broker.cancel("0xt")
    stage.bar(BTC=(100, 130, 85, 85))
    assert [fill.cloid for fill in fills(broker)] == ["0xe", "0xs"]
    agrees(broker)
