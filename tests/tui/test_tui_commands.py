"""Commands given by key to a real runner: rows it executes, answers on screen, and a screen that never waits."""

import asyncio
import threading
from typing import Any

import pytest
from textual.widgets import Input
from tui_stage import PATIENCE_S, Running, Stage, opened, running

from tradeagent.domain.clock import SystemClock
from tradeagent.domain.errors import BusyError
from tradeagent.domain.names import DeploymentState
from tradeagent.ledger import runs
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.ledger.schema import commands
from tradeagent.ledger.store import open_ledger
from tradeagent.runtime import control, lease
from tradeagent.runtime.stops import StopReason
from tradeagent.workspace.latch import is_latched
from tradeagent.workspace.paths import Workspace


def row_of(workspace: Workspace, deployment: str) -> DeploymentRow:
    ledger = open_ledger(workspace.ledger_file)
    with ledger.reading() as tx:
        found = runs.get_deployment(tx, deployment)
    ledger.close()
    return found


def given(workspace: Workspace) -> list[tuple[str, str]]:
    """(kind, state) of every command row."""
    ledger = open_ledger(workspace.ledger_file)
    with ledger.reading() as tx:
        found = [(row.kind, row.state) for row in tx.execute(commands.select())]
    ledger.close()
    return found


async def chosen(stage: Stage, runner: Running) -> None:
    """Wait until the running deployment is chosen, and its account shown."""
    await stage.ready()
    await stage.until(lambda: stage.screen.chosen is not None and stage.screen.chosen.id == runner.deployment)
    await stage.until(lambda: stage.screen.chosen is not None and stage.screen.chosen.state is DeploymentState.RUNNING)


async def test_p_pauses_and_resumes(workspace: Workspace) -> None:
    async with running(workspace) as runner, opened(workspace) as stage:
        await chosen(stage, runner)
        await stage.pilot.press("p")
        await stage.until(lambda: f"pause {runner.deployment}: done, acknowledged in" in stage.toasts())
        assert row_of(workspace, runner.deployment).state == "paused"
        await stage.until(lambda: stage.screen.chosen is not None and stage.screen.chosen.state is DeploymentState.PAUSED)
        await stage.until(lambda: "paused" in stage.list())
        await stage.pilot.press("p")
        await stage.until(lambda: f"resume {runner.deployment}: done" in stage.toasts())
        assert row_of(workspace, runner.deployment).state == "running"
    assert given(workspace) == [("pause", "done"), ("resume", "done")]


async def test_s_ends_the_run_after_its_tick(workspace: Workspace) -> None:
    async with running(workspace) as runner, opened(workspace) as stage:
        await chosen(stage, runner)
        await stage.pilot.press("s")
        assert await asyncio.wait_for(asyncio.shield(runner.task), PATIENCE_S) is StopReason.COMMAND
        await stage.until(lambda: "stopped" in stage.text())
    assert given(workspace) == [("stop", "done")]


async def test_f_asks_first_and_enter_is_no(workspace: Workspace) -> None:
    async with running(workspace) as runner, opened(workspace) as stage:
        await chosen(stage, runner)
        await stage.pilot.press("f")
        await stage.until(lambda: f"Flatten {runner.deployment} on btc_momentum?" in stage.text())
        await stage.pilot.press("enter")
        await stage.until(lambda: len(stage.app.screen_stack) == 1)
        await stage.pilot.press("f", "escape")
        await stage.pilot.pause(0.2)
        assert given(workspace) == []
        await stage.pilot.press("f", "y")
        await stage.until(lambda: f"flatten {runner.deployment}: done" in stage.toasts())
        assert row_of(workspace, runner.deployment).state == "paused"
    assert given(workspace) == [("flatten", "done")]


async def test_shift_k_asks_and_then_latches_and_closes(workspace: Workspace) -> None:
    async with running(workspace) as runner, opened(workspace) as stage:
        await chosen(stage, runner)
        await stage.pilot.press("K")
        await stage.until(lambda: f"Kill {runner.deployment} on btc_momentum?" in stage.text())
        await stage.pilot.press("escape")
        await stage.pilot.pause(0.2)
        assert not is_latched(workspace.kill_dir, "btc_momentum")
        await stage.pilot.press("K", "y")
        await stage.until(lambda: "latched in" in stage.toasts())
        assert "flat" in stage.toasts()
        assert is_latched(workspace.kill_dir, "btc_momentum")
        await stage.until(lambda: row_of(workspace, runner.deployment).state == "halted")
    assert given(workspace) == []


async def test_d_writes_a_directive_for_the_next_tick(workspace: Workspace) -> None:
    async with running(workspace) as runner, opened(workspace) as stage:
        await chosen(stage, runner)
        await stage.pilot.press("p")
        await stage.until(lambda: "pause" in stage.toasts())
        await stage.pilot.press("d")
        await stage.until(lambda: isinstance(stage.app.focused, Input))
        await stage.pilot.press(*"q [x]", "enter")
        await stage.until(lambda: f"directive {runner.deployment}: queued" in stage.toasts())
        ledger = open_ledger(workspace.ledger_file)
        with ledger.reading() as tx:
            waiting = runs.waiting_directives(tx, runner.deployment)
        ledger.close()
        assert [row["text"] for row in waiting] == ["q [x]"]
        await stage.until(lambda: "1 directive(s) wait" in stage.text())


async def test_a_refused_command_says_why_and_an_empty_directive_says_nothing(workspace: Workspace) -> None:
    async with opened(workspace) as stage:
        await stage.ready()
        await stage.pilot.press("d", "enter", "d", "x", "escape")
        await stage.pilot.press("p")
        await stage.until(lambda: "btc_momentum_1 is not running (completed)" in stage.toasts())
        assert "tradeagent run btc_momentum --mode loop" in stage.toasts()
        assert "directive" not in stage.toasts()
        assert "pause …" not in stage.text()


async def test_flatten_of_a_run_that_ended_closes_its_positions_here(workspace: Workspace) -> None:
    async with opened(workspace) as stage:
        await stage.ready()
        await stage.pilot.press("f", "y")
        await stage.until(lambda: "flatten btc_momentum_1: done" in stage.toasts())
        await stage.until(lambda: "flat" in stage.account())
        assert stage.screen.chosen is not None
        await stage.until(lambda: stage.screen.chosen is not None and stage.screen.chosen.open_positions == 0)


async def test_the_screen_goes_on_while_a_command_waits(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def slow(*_: Any) -> dict[str, Any]:
        answered.wait(PATIENCE_S)
        raise BusyError("the runner did not answer", hint="`tradeagent status` shows [it]")

    monkeypatch.setattr(control, "command", slow)
    async with opened(workspace) as stage:
        await stage.ready()
        await stage.pilot.press("s")
        await stage.until(lambda: "stop …" in stage.text())
        await stage.pilot.press("question_mark")
        await stage.until(lambda: "choose the next deployment" in stage.text())
        await stage.pilot.press("escape")
        assert not answered.is_set()
        answered.set()
        await stage.until(lambda: "the runner did not answer\n`tradeagent status` shows [it]" in stage.toasts())
        await stage.until(lambda: "stop …" not in stage.text())


async def test_quitting_leaves_the_runner_alone(workspace: Workspace) -> None:
    async with running(workspace) as runner:
        async with opened(workspace) as stage:
            await chosen(stage, runner)
            await stage.pilot.press("q")
            await stage.pilot.pause()
            assert stage.app._exit
        ticks = row_of(workspace, runner.deployment).ticks
        for _ in range(200):
            if row_of(workspace, runner.deployment).ticks > ticks:
                break
            await asyncio.sleep(0.05)
        assert row_of(workspace, runner.deployment).ticks > ticks
        assert not runner.task.done()
    assert given(workspace) == []


async def test_a_killed_runner_is_noticed_without_a_word_in_the_ledger(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradeagent.tui.feed.LOOK_ANYWAY_S", 0.3)
    ledger = open_ledger(workspace.ledger_file)
    held = lease.take(workspace, ledger, "btc_momentum", "btc_momentum_1", SystemClock())
    with ledger.transaction() as tx:
        runs.update_deployment(tx, "btc_momentum_1", state="running", boot_id=lease.boot_id())
    async with opened(workspace) as stage:
        await stage.ready()
        await stage.until(lambda: "running" in stage.list())
        held._lock.release()
        await stage.until(lambda: "interrupted" in stage.list())
    ledger.close()
