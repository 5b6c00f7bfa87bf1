"""A machine that sleeps between a decision and its order: nothing decided before is entered, and first the venue is compared."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.execution.world import WALLET, World
from tradeagent.domain.clock import HOUR_MS, SimulatedClock
from tradeagent.domain.names import Actor, ExecutorType, IncidentCode, ReconcilePhase, Rule, VerdictKind
from tradeagent.execution.executors.admission import Order, create_now
from tradeagent.execution.executors.specs import parse_spec
from tradeagent.execution.reconcile import reconcile
from tradeagent.execution.sleep import GAP_S, SleepWatch
from tradeagent.ledger import notes
from tradeagent.runtime import checks


class Hands(SimulatedClock):
    """Both clocks moved by hand."""

    def __init__(self) -> None:
        super().__init__(HOUR_MS)
        self.running_s = 5.0
        self.set_back_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() - self.set_back_ms

    def monotonic(self) -> float:
        return self.running_s

    def run(self, seconds: float) -> None:
        self.running_s += seconds
        self.sleep_for(seconds)

    def sleep_for(self, seconds: float) -> None:
        self.advance_to(self._now_ms + round(seconds * 1000))


@pytest.fixture
def wall() -> Hands:
    return Hands()


@pytest.fixture
def world(tmp_path: Path, wall: Hands) -> World:
    """A door that counts its sleeps by `wall`."""
    world = World(tmp_path)
    world.engine.wall = wall
    world.engine.sleep = SleepWatch(wall)
    return world


@pytest.mark.parametrize(("slept", "is_sleep"), [(0.0, False), (10.0, False), (GAP_S, False), (GAP_S + 0.001, True), (14 * 3600.0, True)])
def test_a_sleep_is_time_that_passed_without_the_process(wall: Hands, slept: float, *, is_sleep: bool) -> None:
    watch = SleepWatch(wall)
    wall.run(3600)
    wall.sleep_for(slept)
    assert watch.look() is is_sleep and not watch.look()
    assert watch.slept_s == pytest.approx(slept if is_sleep else 0.0)
    assert watch.wakings == int(is_sleep)


def test_sleeps_add_up_until_they_are_told(wall: Hands) -> None:
    watch = SleepWatch(wall)
    for _ in range(2):
        wall.sleep_for(60)
        assert watch.look()
    assert watch.slept_s == pytest.approx(120)


@pytest.mark.parametrize(("slept_s", "set_back_ms"), [(8 * 3600, 0), (0, HOUR_MS)])
def test_what_was_decided_before_a_sleep_is_never_entered(world: World, wall: Hands, slept_s: int, set_back_ms: int) -> None:
    stated: dict[str, Any] = {"size": 1, "waking": world.engine.waking()}
    assert world.submit(**stated).kind is VerdictKind.EXECUTED
    wall.sleep_for(slept_s)
    wall.set_back_ms = set_back_ms
    assert world.submit(**stated).rule is Rule.RECONCILING, "the door itself finds the sleep"
    assert reconcile(world.engine, routine=True).phase is ReconcilePhase.CONSISTENT
    verdict = world.submit(**stated)
    assert verdict.rule is Rule.FRESHNESS and verdict.rejection is not None and "before the machine slept" in verdict.rejection.message
    assert world.submit(size=1, waking=world.engine.waking()).kind is VerdictKind.EXECUTED
    assert world.submit("sell", reduce_only=True, **stated).kind is VerdictKind.EXECUTED, "an exit goes out"


def test_an_operation_decided_before_a_sleep_does_not_begin(world: World, wall: Hands) -> None:
    fields = {"market": "BTC", "side": "buy", "amount": "1", "strategy": "market"}
    wanted = Order(ExecutorType.ORDER, parse_spec(ExecutorType.ORDER, fields), "because", waking=world.engine.waking())
    wall.sleep_for(60)
    world.engine.look_for_sleep()
    reconcile(world.engine, routine=True)
    verdict, row = create_now(world.engine, wanted, Actor.AGENT)
    assert (verdict.rule, row) == (Rule.FRESHNESS, None)


def test_a_replay_does_not_sleep(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.engine.waking() is None
    world.play_many(30)
    assert world.submit(size=1).kind is VerdictKind.EXECUTED


@pytest.mark.parametrize(("set_back_ms", "slept_s", "words"), [(0, 8 * 3600, "slept"), (HOUR_MS, 0, "set back by 60 min")])
async def test_a_run_that_wakes_compares_at_once_and_says_so(
    world: World, wall: Hands, monkeypatch: pytest.MonkeyPatch, set_back_ms: int, slept_s: int, words: str
) -> None:
    monkeypatch.setattr(checks, "LOOK_S", 0.01)
    watch, task = world.engine.sleep, asyncio.create_task(checks.keep_consistent(world.engine))
    while world.engine.sleep is watch:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    wall.set_back_ms = set_back_ms
    wall.sleep_for(slept_s)

    def told() -> list[str]:
        with world.ledger.reading() as tx:
            rows = notes.list_incidents(tx, only_open=True)
        return [row["message"] for row in rows if row["code"] == IncidentCode.CLOCK_STEP.value and row["wallet"] == WALLET]

    while not told() or world.engine.is_unresolved:
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(told()) == 1 and words in told()[0]
    assert world.engine.phase is ReconcilePhase.CONSISTENT
