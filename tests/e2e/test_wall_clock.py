"""A run on the wall clock, with new bars coming while it waits for its next tick. The clock here is sixty times as fast as the wall."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tradeagent.domain.clock import MINUTE_MS, SystemClock
from tradeagent.domain.names import CommandKind, DeploymentState, EventKind, IncidentCode, ReconcilePhase
from tradeagent.ledger import events, notes, runs, trading
from tradeagent.ledger.store import open_ledger
from tradeagent.llm.contract import Message, ModelDelta, ToolSpec
from tradeagent.market.instruments import HYPERLIQUID
from tradeagent.market.series import BarSeries
from tradeagent.market.warehouse import Warehouse
from tradeagent.runtime import assembly, control
from tradeagent.runtime import runner as runner_module
from tradeagent.runtime.assembly import Place, RunRequest, assembled
from tradeagent.runtime.ground import Pace
from tradeagent.runtime.runner import Runner
from tradeagent.runtime.stops import StopReason
from tradeagent.runtime.workspace import init_workspace
from tradeagent.workspace.config import load_config
from tradeagent.workspace.paths import Workspace

BEGIN = 1_767_787_200_000
HELD = 300
AGENT = """\
---
name: Holder
description: Does nothing for an hour.
model: offline/hold
markets: [BTC]
tick_interval: 1h
limits: {max_daily_loss_quote: 50, max_single_order_quote: 1000, max_position_size_quote: 1000, max_portfolio_risk_quote: null}
---

# Holder

Hold.
"""


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds of this clock are a sixth of one."""
    monkeypatch.setattr(control, "ACK_TIMEOUT_S", control.ACK_TIMEOUT_S * 60)


class FastClock(SystemClock):
    """A minute a second, from the close of the bars that are there. In a `sleep_s` only the wall clock goes on."""

    def __init__(self) -> None:
        super().__init__(0)
        self._began = super().monotonic()
        self.sleep_s = 0.0

    def now_ms(self) -> int:
        return BEGIN + HELD * MINUTE_MS + 100 + int((self.monotonic() + self.sleep_s) * 1000)

    def monotonic(self) -> float:
        return (super().monotonic() - self._began) * 60


def _bars(warehouse: Warehouse, first: int, *closes: float) -> None:
    """Minute bars from number `first` on: open = the close before, which is 100,000 at the start."""
    close = np.array(closes)
    opened = np.concatenate([[100_000.0 if first < HELD + 3 else closes[0]], close[:-1]])
    ts = BEGIN + (first + np.arange(len(close))) * MINUTE_MS
    high, low = np.maximum(opened, close), np.minimum(opened, close)
    warehouse.append_bars(BarSeries(HYPERLIQUID, "BTC", MINUTE_MS, ts, opened, high, low, close, np.full(len(close), 10.0)))


def _place(root: Path) -> Place:
    init_workspace(root)
    workspace = Workspace(root)
    _bars(Warehouse(workspace.warehouse_dir), 0, *[100_000.0] * HELD)
    (workspace.agent_dir("holder")).mkdir()
    (workspace.agent_dir("holder") / "agent.md").write_text(AGENT)
    return Place(workspace, load_config(workspace.config_file, {}), open_ledger(workspace.ledger_file), FastClock())


async def _until(condition: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


def test_a_crash_between_two_ticks_halts_and_flattens_without_waiting_for_the_next(tmp_path: Path) -> None:
    place = _place(tmp_path / "ws")
    order = {"market": "BTC", "side": "buy", "controller_id": "manual", "kind": "open", "type": "market", "tif": "gtc"}

    def of_run(read: Callable[..., Any]) -> Any:
        with place.ledger.reading() as tx:
            return read(tx)

    async def story(runner: Runner) -> None:
        running = asyncio.create_task(runner.run())
        await _until(lambda: runner.tally.ticks == 1)
        with place.ledger.transaction() as tx:
            asked = {"proposal": order | {"quote": "900", "stop": "60000", "reason": "by hand"}}
            runs.add_command(tx, place.clock.new_id(), "holder", None, CommandKind.SUBMIT, asked, place.clock.now_ms())
        await _until(lambda: bool(of_run(lambda tx: trading.live_orders(tx, "holder"))))
        warehouse = Warehouse(place.workspace.warehouse_dir)
        now = (place.clock.now_ms() - BEGIN) // MINUTE_MS
        _bars(warehouse, HELD, *[100_000.0] * (now - HELD + 3))
        await _until(lambda: any(row.size for row in of_run(lambda tx: trading.positions_of(tx, "holder"))))
        _bars(warehouse, now + 3, 90_000.0)
        await _until(lambda: of_run(lambda tx: runs.get_deployment(tx, "holder_1")).state == DeploymentState.HALTED)
        await _until(lambda: not any(row.size for row in of_run(lambda tx: trading.positions_of(tx, "holder"))))
        assert runner.tally.ticks == 1, "the next tick is an hour away"
        runner.interrupt()
        await running

    with assembled(place, RunRequest("holder", Pace(), cash="10000")) as run:
        asyncio.run(story(Runner(run)))
    with place.ledger.reading() as tx:
        entry, exit_ = trading.fills_of(tx, wallet="holder", limit=10)
        placed = trading.orders_named(tx, [entry["cloid"]])[0].created_ms
    place.ledger.close()
    assert entry["time_ms"] % MINUTE_MS == 0
    assert entry["time_ms"] >= placed - 1_000, "nothing fills at a price from before it was placed"
    assert exit_["exit_reason"] == "halt"


class Thinking:
    """A model that says nothing until it is told to."""

    id = "test/thinking"
    is_rule_based = True

    def __init__(self) -> None:
        self.asked, self.may_answer = 0, asyncio.Event()

    async def estimate_usd(self, messages: Sequence[Message], max_tokens: int, tools: Sequence[ToolSpec] = ()) -> Decimal:
        return Decimal(0)

    async def stream(self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, max_tokens: int) -> AsyncGenerator[ModelDelta, None]:
        self.asked += 1
        await self.may_answer.wait()
        yield ModelDelta(text="hold", done="stop")


def test_a_stop_fills_and_a_halt_comes_while_the_model_thinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, model = _place(tmp_path / "ws"), Thinking()
    monkeypatch.setattr(assembly, "open_model", lambda *_: model)
    order = {"market": "BTC", "side": "buy", "controller_id": "manual", "kind": "open", "type": "market", "tif": "gtc"}

    def of_run(read: Callable[..., Any]) -> Any:
        with place.ledger.reading() as tx:
            return read(tx)

    def buy(stop: str) -> None:
        asked = {"proposal": order | {"quote": "900", "stop": stop, "reason": "by hand"}}
        with place.ledger.transaction() as tx:
            runs.add_command(tx, place.clock.new_id(), "holder", None, CommandKind.SUBMIT, asked, place.clock.now_ms())

    def number() -> int:
        return (place.clock.now_ms() - BEGIN) // MINUTE_MS

    def is_held() -> bool:
        return any(row.size for row in of_run(lambda tx: trading.positions_of(tx, "holder")))

    async def story(runner: Runner) -> None:
        warehouse, running = Warehouse(place.workspace.warehouse_dir), asyncio.create_task(runner.run())
        await _until(lambda: model.asked == 1)
        buy("97000")
        await _until(lambda: bool(of_run(lambda tx: trading.live_orders(tx, "holder"))))
        there = number() + 3
        _bars(warehouse, HELD, *[100_000.0] * (there - HELD))
        await _until(is_held)
        _bars(warehouse, there, 96_000.0)
        await _until(lambda: not is_held())
        buy("60000")
        await _until(lambda: bool(of_run(lambda tx: trading.live_orders(tx, "holder"))))
        _bars(warehouse, there + 1, *[96_000.0] * (number() + 3 - there))
        await _until(is_held)
        _bars(warehouse, number() + 4, 86_000.0)
        await _until(lambda: of_run(lambda tx: runs.get_deployment(tx, "holder_1")).state == DeploymentState.HALTED)
        await _until(lambda: not is_held())
        assert runner.tally.last is None, "the model still thinks"
        model.may_answer.set()
        await _until(lambda: runner.tally.last is not None)
        runner.interrupt()
        await running

    with assembled(place, RunRequest("holder", Pace(), cash="10000")) as run:
        asyncio.run(story(Runner(run)))
    reasons = [row["exit_reason"] for row in of_run(lambda tx: trading.fills_of(tx, wallet="holder", limit=10)) if row["exit_reason"]]
    place.ledger.close()
    assert sorted(reasons) == ["halt", "stop"]


def test_a_run_whose_background_work_dies_ends_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_: Any) -> None:
        await asyncio.sleep(0.1)
        raise RuntimeError("a defect beside the ticks")

    monkeypatch.setattr(runner_module, "keep_consistent", broken)
    place = _place(tmp_path / "ws")
    with assembled(place, RunRequest("holder", Pace(), cash="10000")) as run:
        assert asyncio.run(Runner(run).run()) is StopReason.FAILED
    with place.ledger.reading() as tx:
        row, told = runs.get_deployment(tx, "holder_1"), notes.list_incidents(tx, only_open=True)
    place.ledger.close()
    assert (row.state, row.stopped_because) == (DeploymentState.ERROR, StopReason.FAILED)
    assert "a defect beside the ticks" in told[0]["message"]


def test_a_run_on_a_machine_that_slept_says_so_and_goes_on(tmp_path: Path) -> None:
    place = _place(tmp_path / "ws")

    async def story(runner: Runner) -> None:
        running = asyncio.create_task(runner.run())
        await _until(lambda: runner.tally.last is not None)
        _bars(Warehouse(place.workspace.warehouse_dir), HELD, *[100_000.0] * (8 * 60 + 60))
        place.clock.sleep_s = 8 * 3600.0

        def told() -> bool:
            with place.ledger.reading() as tx:
                return any(row["code"] == IncidentCode.CLOCK_STEP.value for row in notes.list_incidents(tx, only_open=True))

        await _until(told)
        await _until(lambda: runner.tally.last is not None and runner.tally.last.number == 2)
        assert runner.tally.blocked == 0, "the first tick after it need not wait for the next comparison"
        runner.interrupt()
        await running

    with assembled(place, RunRequest("holder", Pace(), cash="10000")) as run:
        asyncio.run(story(Runner(run)))
        assert run.door.engine.phase is ReconcilePhase.CONSISTENT
    with place.ledger.reading() as tx:
        skipped = events.read(tx, kinds=[EventKind.TICK_SKIPPED.value])
    place.ledger.close()
    assert len(skipped) <= 1, "eight hours of missed ticks are one"
