"""The Trade screen over a ledger that a real run has left: the same figures as the commands print, and every way to an action."""

import asyncio
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from textual.content import Content
from textual.widgets import Footer, Static
from textual.widgets._footer import FooterKey
from tui_stage import opened

from tradeagent.domain.clock import SystemClock
from tradeagent.domain.names import EventKind
from tradeagent.ledger import events
from tradeagent.ledger.store import open_ledger
from tradeagent.runtime.status import status_view
from tradeagent.runtime.views import wallet_view
from tradeagent.tui.actions import TRADE_ACTIONS
from tradeagent.tui.app import TradeAgentApp
from tradeagent.tui.deployments import Deployments
from tradeagent.tui.feed import Feed
from tradeagent.tui.palette import ActionCommands
from tradeagent.tui.stream import KEEP_PAGES, TickStream
from tradeagent.tui.text import money, price, signed
from tradeagent.tui.ticker import Ticker
from tradeagent.tui.trade import TradeScreen
from tradeagent.workspace.config import load_config
from tradeagent.workspace.paths import Workspace


def add_fill_event(workspace: Workspace, number: int) -> None:
    """Another process commits an event."""
    ledger = open_ledger(workspace.ledger_file)
    with ledger.transaction(durable=False) as tx:
        data = {"market": "BTC", "side": "buy", "size": "0.001", "price": str(50_000 + number), "fee": "0.02", "realised_pnl": "0"}
        events.append(tx, EventKind.FILL, 1_742_000_000_000 + number, wallet="btc_momentum", deployment="btc_momentum_1", data=data)
    ledger.close()


def thread(workspace: Workspace) -> Path:
    return workspace.threads_dir / "btc_momentum_1.md"


def say(workspace: Workspace, text: str) -> None:
    with thread(workspace).open("a") as growing:
        growing.write(text)


async def test_panes_show_what_the_commands_print_and_dim_what_is_over(workspace: Workspace) -> None:
    config, ledger, clock = load_config(workspace.config_file, {}), open_ledger(workspace.ledger_file), SystemClock()
    wallet = wallet_view(workspace, config, ledger, clock, "btc_momentum")
    row = status_view(workspace, clock)["deployments"][0]
    with ledger.reading() as tx:
        fill = events.read(tx, kinds=("fill",), limit=1, newest=True)[0]["data"]
    ledger.close()
    async with opened(workspace) as stage:
        await stage.ready()
        account, card = stage.account(), stage.screen.query_one(Deployments).copied_text()
        ticker, screen = stage.screen.query_one(Ticker).content, stage.text()
        drawn = stage.screen.query("AccountPane Static").first(Static).content
    lines = {line[:20].strip(): line.split()[-1] for line in account.splitlines() if line.strip()}
    assert lines["equity USDC"] == money(Decimal(wallet["equity"]))
    assert lines["cash"] == money(Decimal(wallet["cash"]))
    assert lines["margin used"] == money(Decimal(wallet["margin_used"]))
    assert lines["exposure, worst case"] == money(Decimal(wallet["exposure"]))
    assert lines["ledger and venue"] == wallet["reconciliation"] == "consistent"
    assert f"as of {wallet['as_of'][:10]} {wallet['as_of'][11:16]} UTC" in account
    assert card.splitlines()[0].split() == [row["id"], "PAPER"]
    assert "completed" in card
    assert card.splitlines()[2].split() == [money(Decimal(row["equity"])), signed(Decimal(row["day_pnl"])), "day"]
    assert isinstance(ticker, Content)
    assert f"at {price(Decimal(fill['price']))}" in ticker.plain
    assert "rule-based" in screen
    assert "tick 45" in screen
    assert "not running (completed)" in account
    assert isinstance(drawn, Content)
    assert any(span.style == "dim" and span.start == 0 and span.end == len(drawn.plain) for span in drawn.spans)


async def test_a_commit_of_another_process_is_on_screen_at_once(workspace: Workspace) -> None:
    async with opened(workspace) as stage:
        await stage.ready()
        await asyncio.to_thread(add_fill_event, workspace, 7)
        await stage.until(lambda: "50,007" in stage.text())


async def test_what_an_agent_says_streams_in_and_old_ticks_leave(workspace: Workspace) -> None:
    async with opened(workspace) as stage:
        await stage.ready()
        stream = stage.screen.query_one(TickStream)
        for number in range(100, 100 + 3 * KEEP_PAGES):
            say(workspace, f"\n\n## tick {number}\n\nhello from {number}\n\n")
            await asyncio.sleep(0.01)
        await stage.until(lambda: f"hello from {99 + 3 * KEEP_PAGES}" in stage.stream() and stream.page_count <= KEEP_PAGES)
        assert "hello from 100" not in stage.stream()
        assert stream.scroll_offset.y >= stream.max_scroll_y - 1


async def test_a_reader_further_up_is_left_where_he_reads(workspace: Workspace) -> None:
    async with opened(workspace) as stage:
        await stage.ready()
        stream = stage.screen.query_one(TickStream)
        say(workspace, "".join(f"\n\n## tick {number}\n\n{'words ' * 60}" for number in range(50, 56)))
        await stage.until(lambda: stream.max_scroll_y > 10)
        await stage.pilot.press("enter", "pageup")
        await stage.until(lambda: stream.scroll_offset.y < stream.max_scroll_y - 1)
        await asyncio.sleep(0.3)
        before = stream.scroll_offset.y
        say(workspace, "\n\n## tick 99\n\nnews\n\n")
        await stage.until(lambda: "news" in stage.stream())
        await asyncio.sleep(0.2)
        assert stream.scroll_offset.y == before
        await stage.pilot.press("end")
        await stage.until(lambda: stream.scroll_offset.y >= stream.max_scroll_y - 1)


async def test_nothing_is_painted_while_nothing_happens(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradeagent.tui.feed.LOOK_ANYWAY_S", 0.2)
    async with opened(workspace) as stage:
        await stage.ready()
        painted: list[Any] = []
        display = TradeAgentApp._display

        def noted(self: TradeAgentApp, screen: Any, what: Any) -> None:
            painted.append(what)
            display(self, screen, what)

        monkeypatch.setattr(TradeAgentApp, "_display", noted)
        for _ in range(10):
            painted.clear()
            await asyncio.sleep(0.5)
            if not painted:
                break
        await asyncio.sleep(1.0)
        assert not [what for what in painted if what is not None]


async def test_every_action_has_its_method_and_is_in_footer_help_and_palette(workspace: Workspace) -> None:
    async with opened(workspace) as stage:
        await stage.ready()
        for action in TRADE_ACTIONS:
            owner, _, name = action.name.rpartition(".")
            assert hasattr(stage.app if owner else TradeScreen, f"action_{name}"), action.name
        titles = {title for title, _, _ in ActionCommands(stage.screen)._commands()}
        assert {action.label for action in TRADE_ACTIONS} - {title.partition(" · ")[0] for title in titles} == {"Palette"}
        assert "btc_momentum_1" in titles
        keys = {key.description: key._disabled for key in stage.screen.query_one(Footer).query(FooterKey)}
        assert {"Stop", "Pause", "Flatten", "Directive", "Incidents", "Help", "Quit (agents run on)"} <= set(keys)
        assert not keys["Stop"]
        await stage.pilot.press("question_mark")
        await stage.until(lambda: all(action.help[:40] in stage.text() for action in TRADE_ACTIONS))


async def test_the_palette_runs_an_action(workspace: Workspace) -> None:
    async with opened(workspace) as stage:
        await stage.ready()
        await stage.pilot.press("ctrl+p", *"flatten")
        await stage.pilot.pause(0.3)
        await stage.pilot.press("enter")
        await stage.until(lambda: "Flatten btc_momentum_1 on btc_momentum?" in stage.text())


async def test_y_copies_what_has_the_focus_and_ctrl_t_turns_the_light_on(workspace: Workspace) -> None:
    async with opened(workspace) as stage:
        await stage.ready()
        await stage.pilot.press("y")
        assert stage.app.clipboard.startswith("btc_momentum_1")
        await stage.pilot.press("enter", "y")
        assert "## tick 45" in stage.app.clipboard
        assert stage.app.current_theme.dark
        await stage.pilot.press("ctrl+t")
        assert not stage.app.current_theme.dark


async def test_the_account_hides_behind_a_key_on_a_narrow_terminal(workspace: Workspace) -> None:
    async with opened(workspace, size=(80, 24)) as stage:
        await stage.ready()
        await stage.pilot.pause()
        assert "equity USDC" not in stage.text()
        await stage.pilot.press("a")
        await stage.until(lambda: "equity USDC" in stage.text())
        await stage.pilot.press("a")
        await stage.until(lambda: "equity USDC" not in stage.text())
        assert all(len(line) <= 80 for line in stage.text().splitlines())


async def test_the_first_paint_does_not_wait_for_the_ledger(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, open_view = threading.Event(), Feed._opened

    def slow(self: Feed) -> Any:
        gate.wait(5)
        return open_view(self)

    monkeypatch.setattr(Feed, "_opened", slow)
    async with opened(workspace) as stage:
        await stage.pilot.pause()
        assert "opening the ledger" in stage.text()
        assert "deployments" in stage.text()
        gate.set()
        await stage.ready()
