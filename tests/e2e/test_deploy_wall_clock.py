"""An algo by the wall clock: it waits for each bar of its interval, decides once on it, and fills at an open after that."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from test_wall_clock import BEGIN, HELD, _bars, _place, _until

from tradeagent.domain.clock import MINUTE_MS, SimulatedClock
from tradeagent.domain.names import Actor, DeploymentState, RunMode
from tradeagent.ledger import runs, trading
from tradeagent.market.warehouse import Warehouse
from tradeagent.runtime.algo_assembly import assembled_algo
from tradeagent.runtime.algo_mind import Step
from tradeagent.runtime.assembly import Place
from tradeagent.runtime.deploy import DeployRequest
from tradeagent.runtime.deploying import recorded
from tradeagent.runtime.ground import Pace
from tradeagent.runtime.runner import Runner
from tradeagent.runtime.wallets import WalletRequest, create_wallet

ALGO = """\
name: above
market: BTC
interval: 1m
direction: long
indicators: {slow: {kind: sma, length: 5}}
entry: {long: {required: ["close > 100050", "slow > 0"]}}
exit: {long: {required: ["close < 100050"], state: true, stop_loss: {pct: 5}}}
sizing: {pct_of_equity: 50}
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    from tradeagent.algos.store import save

    place = _place(tmp_path / "ws")
    save(place.ledger, "above", ALGO, 0)
    create_wallet(place.workspace, place.config, place.ledger, place.clock, WalletRequest("trend", group="algo", cash="10000"))
    return place


def test_it_decides_on_each_bar_that_comes_and_fills_at_an_open_after_it(place: Place) -> None:
    warehouse = Warehouse(place.workspace.warehouse_dir)
    row = recorded(place, DeployRequest("algo", "above", "trend"))
    assert row.id == "above_a1" and row.version == 1

    def now() -> int:
        return (place.clock.now_ms() - BEGIN) // MINUTE_MS

    def held() -> bool:
        with place.ledger.reading() as tx:
            return any(one.size for one in trading.positions_of(tx, "trend"))

    async def story(runner: Runner[Step]) -> None:
        running = asyncio.create_task(runner.run())
        await asyncio.sleep(1.5)
        assert runner.tally.ticks == 0, "no bar has closed since it began"
        came = now()
        _bars(warehouse, HELD, *[100_000.0] * (came - HELD - 1), 100_100.0)
        await _until(lambda: runner.tally.executed == 1)
        assert not held(), "it waits for an open"
        filled = now()
        _bars(warehouse, came, *[100_100.0] * (filled - came + 2))
        await _until(held)
        _bars(warehouse, filled + 2, *[100_000.0] * 2)
        await _until(lambda: runner.tally.executed == 2)
        _bars(warehouse, filled + 4, *[100_000.0] * (now() - filled))
        await _until(lambda: not held())
        runner.interrupt()
        await running

    with assembled_algo(place, row.id) as run:
        asyncio.run(story(Runner(run)))
    with place.ledger.reading() as tx:
        entry, leaving = trading.fills_of(tx, wallet="trend")
        orders = {order.cloid: order for order in trading.orders_named(tx, [entry["cloid"], leaving["cloid"]])}
        ended, ticks = runs.get_deployment(tx, row.id), runs.ticks_of(tx, row.id)
    place.ledger.close()
    for fill in (entry, leaving):
        assert fill["time_ms"] % MINUTE_MS == 0
        assert fill["time_ms"] >= orders[fill["cloid"]].created_ms - 1_000, "nothing fills at a price from before it was placed"
    assert leaving["exit_reason"] == "signal" and leaving["deployment"] == row.id
    assert (ended.state, ended.stopped_because) == (DeploymentState.STOPPED, "interrupted")
    assert [tick["action"].split()[0] for tick in ticks] == ["long", "close"]
    assert len({tick["market_ms"] for tick in ticks}) == len(ticks)
    assert ended.kind == Actor.ALGO.value


@pytest.mark.parametrize(
    ("late_ms", "executed", "said"),
    [(0, 1, "long"), (3 * MINUTE_MS + 30_000, 1, "long"), (3 * MINUTE_MS + 30_001, 0, "the newest 1m bar of BTC closed 3 min ago")],
)
def test_once_decides_on_the_newest_bar_as_long_as_it_is_fresh(place: Place, late_ms: int, executed: int, said: str) -> None:
    _bars(Warehouse(place.workspace.warehouse_dir), HELD, 100_100.0)
    closed_ms = BEGIN + (HELD + 1) * MINUTE_MS
    then = replace(place, clock=SimulatedClock(closed_ms + late_ms))
    row = recorded(then, DeployRequest("algo", "above", "trend", pace=Pace(RunMode.RUN_ONCE)))
    with assembled_algo(then, row.id) as run:
        runner = Runner(run)
        asyncio.run(runner.run())
    with place.ledger.reading() as tx:
        (tick,) = runs.ticks_of(tx, row.id)
        assert runs.get_deployment(tx, row.id).last_tick_ms == tick["started_ms"] == closed_ms + late_ms
    place.ledger.close()
    assert (runner.tally.executed, tick["market_ms"]) == (executed, closed_ms)
    assert tick["action"].startswith(said)
    assert tick["rule"] == (None if executed else "FRESHNESS")


def test_bars_that_come_in_a_heap_are_decided_on_once(place: Place) -> None:
    warehouse = Warehouse(place.workspace.warehouse_dir)
    row = recorded(place, DeployRequest("algo", "above", "trend"))

    async def story(runner: Runner[Step]) -> None:
        running = asyncio.create_task(runner.run())
        await asyncio.sleep(3.2)
        count = (place.clock.now_ms() - BEGIN) // MINUTE_MS - HELD
        assert count >= 3
        _bars(warehouse, HELD, *[100_100.0] * (count - 1), 100_000.0)
        await _until(lambda: runner.tally.ticks > 0)
        await asyncio.sleep(0.3)
        runner.interrupt()
        await running

    with assembled_algo(place, row.id) as run:
        asyncio.run(story(Runner(run)))
    with place.ledger.reading() as tx:
        assert runs.get_deployment(tx, row.id).ticks == 1
        assert trading.fills_of(tx, wallet="trend") == [], "an entry that fired in the middle of the heap is past"
    place.ledger.close()
