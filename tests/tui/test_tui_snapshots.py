"""Pictures of the screen: dark, light, 80×24, a question on top. A change of look is a change of these files.

`pytest tests/tui --snapshot-update` accepts the new look, after a person has seen it.
"""

import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sample_ledger import AGENT, NOW, WALLET, build
from textual.pilot import Pilot
from tui_stage import Stage

from tradeagent.domain.clock import SimulatedClock
from tradeagent.ledger.store import open_ledger
from tradeagent.runtime import lease
from tradeagent.tui.app import TradeAgentApp
from tradeagent.tui.stream import TickStream
from tradeagent.workspace.config import load_config
from tradeagent.workspace.paths import Workspace

pytestmark = pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="pictures are taken on Python 3.11 only")
Compare = Callable[..., bool]


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TradeAgentApp]:
    """The screen on the sample ledger at a frozen instant, with the wallet of its agent held as by a runner."""
    build(tmp_path / "sample")
    monkeypatch.chdir(tmp_path)
    workspace, clock = Workspace(Path("sample")), SimulatedClock(NOW)
    ledger = open_ledger(workspace.ledger_file)
    held = lease.take(workspace, ledger, WALLET, AGENT, clock)
    yield TradeAgentApp(workspace, load_config(workspace.config_file, {}), clock)
    held.release()
    ledger.close()


def settled(*keys: str) -> Callable[[Pilot[None]], Awaitable[None]]:
    """Wait until everything is drawn, then press keys."""

    async def settle(pilot: Pilot[None]) -> None:
        app: Any = pilot.app
        stage = Stage(app, pilot)
        await stage.until(lambda: stage.screen.query(TickStream), "the composed screen")
        await stage.until(lambda: "DAILY_TRADES" in stage.stream() and "equity USDC" in stage.account())
        await pilot.press(*keys)
        await pilot.pause(0.3)

    return settle


def test_the_trade_screen_in_the_dark(app: TradeAgentApp, snap_compare: Compare) -> None:
    assert snap_compare(app, terminal_size=(120, 40), run_before=settled())


def test_the_trade_screen_in_the_light(app: TradeAgentApp, snap_compare: Compare) -> None:
    assert snap_compare(app, terminal_size=(120, 40), run_before=settled("ctrl+t"))


def test_the_trade_screen_at_80_by_24(app: TradeAgentApp, snap_compare: Compare) -> None:
    assert snap_compare(app, terminal_size=(80, 24), run_before=settled())


def test_the_account_at_80_by_24(app: TradeAgentApp, snap_compare: Compare) -> None:
    assert snap_compare(app, terminal_size=(80, 24), run_before=settled("a"))


def test_the_question_before_flatten(app: TradeAgentApp, snap_compare: Compare) -> None:
    assert snap_compare(app, terminal_size=(120, 40), run_before=settled("f"))
