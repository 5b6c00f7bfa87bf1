"""Under every fault at once nothing is ordered twice and the record stays whole; alone, each fault does what its name says."""

import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from nemesis import DUPLICATE, READS, RECORD, WORLD, WRITES, Fault, Nemesis, seeded
from stage import PaperStage, agrees, buy, fills, group, held, order, stop

from tradeagent.brokers.protocol import OrderChange
from tradeagent.domain.errors import RefusedError, VenueError
from tradeagent.domain.names import OrderState, Side
from tradeagent.domain.order import OrderRequest

D = Decimal
EVERYTHING = dict.fromkeys((*WRITES, *RECORD, Fault.STEP, Fault.HAND), 0.06) | {Fault.CRASH: 0.002}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[PaperStage]:
    made = PaperStage(tmp_path)
    yield made
    made.close()


def one(stage: PaperStage, fault: Fault, **more: bool) -> Nemesis:
    """A nemesis that strikes the next call with one fault, and then no more."""
    faults = iter([fault])
    return Nemesis(stage.broker, choose=lambda _: next(faults, None), clock=stage.clock, **more)


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.BUSY, Fault.DOWN])
def test_what_is_lost_never_arrives(stage: PaperStage, fault: Fault) -> None:
    nemesis = one(stage, fault)
    with pytest.raises(VenueError, match="did not answer"):
        nemesis.place([buy("0x1")])
    nemesis.calm()
    assert nemesis.order_status("0x1") is None


@pytest.mark.parametrize("fault", [Fault.UNANSWERED, Fault.GARBAGE])
def test_what_is_unanswered_has_arrived(stage: PaperStage, fault: Fault) -> None:
    nemesis = one(stage, fault)
    with pytest.raises(VenueError):
        nemesis.place([buy("0x1", at_mark=True)])
    assert held(nemesis) == 1
    assert nemesis.place([buy("0x1", at_mark=True)])[0].state is OrderState.FILLED and held(nemesis) == 1


def test_what_is_late_arrives_when_it_does(stage: PaperStage) -> None:
    nemesis = one(stage, Fault.LATE)
    with pytest.raises(VenueError):
        nemesis.place([buy("0x1", at_mark=True)])
    assert stage.broker.order_status("0x1") is None
    nemesis.arrive()
    assert held(nemesis) == 1


@pytest.mark.parametrize("refuses", [False, True])
def test_what_is_doubled_happens_once(stage: PaperStage, refuses: bool) -> None:
    nemesis = one(stage, Fault.TWICE, refuses_repeats=refuses)
    (report,) = nemesis.place([buy("0x1", at_mark=True)])
    assert report.state is OrderState.FILLED and held(nemesis) == 1
    again = nemesis.place([buy("0x1", at_mark=True)])[0]
    assert (again.state, again.reason) == ((OrderState.REJECTED, DUPLICATE) if refuses else (OrderState.FILLED, "filled"))
    assert held(nemesis) == 1


def test_what_is_slow_misses_the_open(stage: PaperStage) -> None:
    nemesis = one(stage, Fault.SLOW)
    before = stage.clock.now_ms()
    nemesis.place([buy("0x1")])
    assert before < stage.clock.now_ms() <= before + 20_000


@pytest.mark.parametrize("fault", [f for f in READS if f is not Fault.STALE])
def test_a_read_that_fails_says_so_and_loses_nothing(stage: PaperStage, fault: Fault) -> None:
    stage.broker.place([buy("0x1", at_mark=True)])
    for read in (lambda n: n.account(), lambda n: n.order_status("0x1"), lambda n: n.activity_since(0)):
        nemesis = one(stage, fault)
        with pytest.raises(VenueError):
            read(nemesis)
        agrees(nemesis)


def test_a_stale_read_is_of_before_the_last_write_and_the_next_one_is_not(stage: PaperStage) -> None:
    faults = iter([None, Fault.STALE, Fault.STALE, Fault.STALE])
    nemesis = Nemesis(stage.broker, choose=lambda _: next(faults, None))
    before, record = stage.broker.account(), list(stage.broker.activity_since(0))
    nemesis.place([buy("0x1", at_mark=True)])
    assert nemesis.account() == before
    assert nemesis.order_status("0x1") is None
    assert list(nemesis.activity_since(0)) == record
    agrees(nemesis)
    assert held(nemesis) == 1


def test_a_repeated_record_overlaps_and_a_swapped_one_has_the_fill_first(stage: PaperStage) -> None:
    stage.broker.place([buy("0x1", at_mark=True), buy("0x2", at_mark=True)])
    record = list(stage.broker.activity_since(0))
    again = list(one(stage, Fault.REPEATED).activity_since(record[-1].seq))
    assert again and again == record[-len(again) :]
    swapped = list(one(stage, Fault.SWAPPED).activity_since(0))
    assert sorted(swapped, key=lambda found: found.seq) == record


def test_a_hand_trades_where_no_ledger_looks(stage: PaperStage) -> None:
    nemesis = one(stage, Fault.HAND)
    nemesis.account()
    assert len(nemesis.by_hand) == 1 and held(nemesis) != 0


def test_the_clock_steps_forward_only(stage: PaperStage) -> None:
    before = stage.clock.now_ms()
    one(stage, Fault.STEP).account()
    assert stage.clock.now_ms() > before


def test_a_market_that_falls_takes_the_position(stage: PaperStage) -> None:
    stage.broker.place([buy("0x1", 1500, at_mark=True)])
    faults = iter([Fault.CRASH])
    nemesis = Nemesis(stage.broker, choose=lambda _: next(faults, None), crash=lambda: stage.bar(BTC=(100, 100, 50, 50)))
    assert nemesis.account().positions == {}


def _stubborn(nemesis: Nemesis, requests: list[OrderRequest]) -> None:
    """A client that sends the same bytes until it has an answer, as an exactly-once client may."""
    for _ in range(200):
        try:
            nemesis.place(requests)
        except VenueError:
            continue
        return
    raise AssertionError("never answered")


@pytest.mark.parametrize("refuses", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_under_every_fault_at_once_nothing_is_doubled_and_the_record_is_whole(stage: PaperStage, seed: int, refuses: bool) -> None:
    chance = random.Random(seed)
    nemesis = Nemesis(
        stage.broker,
        choose=seeded(EVERYTHING, chance),
        chance=chance,
        refuses_repeats=refuses,
        clock=stage.clock,
        crash=lambda: stage.bar(BTC=(100, 100, 60, 60)),
    )
    asked: dict[str, Decimal] = {}
    seen, cursor = {}, 0
    for number in range(15):
        size = D(chance.randint(200, 3000)).scaleb(-3)
        requests = [order(f"0x{number}", chance.choice(list(Side)), size, at_mark=chance.random() < 0.5)]
        if chance.random() < 0.3:
            requests = group(f"0x{number}", size)
        asked |= {request.cloid: request.size for request in requests}
        _stubborn(nemesis, requests)
        try:
            found = nemesis.activity_since(cursor)
            nemesis.cancel(chance.choice(sorted(nemesis.account().open_cloids) or ["0x404"]))
        except (VenueError, RefusedError):
            found = []
        seen |= {one.seq: one for one in found}
        cursor = max([cursor, *seen]) if all(n in seen for n in range(1, max(seen, default=0) + 1)) else cursor
        stage.bar(BTC=100 + chance.randint(-2, 2))
    nemesis.calm()
    record = list(nemesis.activity_since(0))
    assert record == list(stage.broker.activity_since(0)) and [one.seq for one in record] == sorted({one.seq for one in record})
    assert all(one == seen[one.seq] for one in record if one.seq in seen), "what was read under faults was true"
    oids: dict[str, set[int]] = {}
    for one_ in record:
        if isinstance(one_.item, OrderChange) and one_.item.report.oid is not None:
            oids.setdefault(one_.item.report.cloid, set()).add(one_.item.report.oid)
    assert all(len(ids) == 1 for ids in oids.values()), "an order was made twice"
    assert set(asked) <= set(oids) | {c for c in asked if _was_refused(nemesis, c)}, "an order that was answered is gone"
    for cloid, size in asked.items():
        assert sum((fill.size for fill in fills(nemesis, cloid)), D(0)) <= size
    agrees(nemesis)


def _was_refused(nemesis: Nemesis, cloid: str) -> bool:
    report = nemesis.order_status(cloid)
    return report is not None and report.oid is None


def test_the_same_seed_is_the_same_history(tmp_path: Path) -> None:
    histories = []
    for name in ("a", "b"):
        stage = PaperStage(tmp_path / name)
        chance = random.Random(11)
        nemesis = Nemesis(stage.broker, choose=seeded(EVERYTHING, chance), chance=chance, clock=stage.clock)
        for number in range(10):
            _stubborn(nemesis, [buy(f"0x{number}"), stop(f"0x{number}s", 50)])
            stage.bar()
        histories.append((nemesis.done, list(stage.broker.activity_since(0))))
        stage.close()
    assert histories[0] == histories[1] and set(histories[0][0]) & set(WRITES) and set(WORLD) & set(histories[0][0])
