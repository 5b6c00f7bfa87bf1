"""The Trade screen over a ledger that a real run has left: the same figures as the commands print, and every way to an action."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from textual.content import Content
from textual.widgets import Footer, OptionList
from textual.widgets._footer import FooterKey
from tui_stage import Stage, opened

from tradeagent.domain.clock import SystemClock
from tradeagent.domain.names import EventKind
from tradeagent.ledger import events, wallets
from tradeagent.ledger.store import open_ledger
from tradeagent.runtime.status import status_view
from tradeagent.runtime.views import wallet_view
from tradeagent.tui.actions import TRADE_ACTIONS
from tradeagent.tui.app import TradeAgentApp
from tradeagent.tui.deployments import Deployments
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


async def test_the_account_shows_what_wallet_show_prints(workspace: Workspace) -> None:
    config, ledger = load_config(workspace.config_file, {}), open_ledger(workspace.ledger_file)
    wallet = wallet_view(workspace, config, ledger, SystemClock(), "btc_momentum")
    with ledger.reading() as tx:
        risk = wallets.risk(tx, "btc_momentum")
    ledger.close()
    async with opened(workspace) as stage:
        await stage.ready()
        lines = {line[:20].strip(): line.split()[-1] for line in stage.account().splitlines() if line.strip()}
        shown = " ".join(stage.account().split())
    assert lines["equity USDC"] == f"{float(wallet['equity']):,.2f}"
    assert lines["cash"] == money(risk.cash)
    assert lines["margin used"] == f"{float(wallet['margin_used']):,.2f}"
    assert lines["ledger and venue"] == wallet["reconciliation"] == "consistent"
    assert f"as of {wallet['as_of'][:10]} {wallet['as_of'][11:16]} UTC" in shown
    for position in wallet["positions"]:
        assert f"{position['market']} {position['direction']}" in shown


async def test_the_list_shows_what_status_prints(workspace: Workspace) -> None:
    ledger = open_ledger(workspace.ledger_file)
    row = status_view(workspace, ledger, SystemClock())["deployments"][0]
    ledger.close()
    async with opened(workspace) as stage:
        await stage.ready()
        card = stage.screen.query_one(Deployments).copied_text()
    assert row["id"] in card
    assert "completed" in card
    assert "PAPER" in card
    assert money(__import__("decimal").Decimal(row["equity"])) in card
    assert f"{signed(__import__('decimal').Decimal(row['day_pnl']))} day" in card


async def test_figures_of_a_run_that_ended_say_so_and_dim(workspace: Workspace) -> None:
    async with opened(workspace) as stage:
        await stage.ready()
        content = stage.screen.query("AccountPane Static").first().content
        assert isinstance(content, Content)
        assert "not running (completed)" in content.plain
        assert any(span.style == "dim" and span.start == 0 and span.end == len(content.plain) for span in content.spans)


async def test_the_stream_shows_the_transcript_and_says_that_rules_wrote_it(workspace: Workspace) -> None:
    async with opened(workspace) as stage:
        await stage.ready()
        await stage.until(lambda: "journal_action" in stage.stream())
        assert "rule-based" in stage.text()
        assert "tick 45" in stage.text()


async def test_fills_are_in_the_ticker(workspace: Workspace) -> None:
    ledger = open_ledger(workspace.ledger_file)
    with ledger.reading() as tx:
        last = events.read(tx, kinds=("fill",), limit=1, newest=True)[0]["data"]
    ledger.close()
    async with opened(workspace) as stage:
        await stage.ready()
        content = stage.screen.query_one(Ticker).content
        assert isinstance(content, Content)
        assert f"at {price(__import__('decimal').Decimal(last['price']))}" in content.plain


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
    async with opened(workspace) as stage:
        await stage.ready()
        await asyncio.sleep(1.0)
        painted: list[Any] = []
        display = TradeAgentApp._display
        monkeypatch.setattr(TradeAgentApp, "_display", lambda self, screen, what: (painted.append(what), display(self, screen, what)))
        await asyncio.sleep(4.0)
        assert not [what for what in painted if what is not None]


async def test_every_action_has_its_method_and_is_in_help_and_palette(workspace: Workspace) -> None:
    async with opened(workspace) as stage:
        await stage.ready()
        for action in TRADE_ACTIONS:
            owner, _, name = action.name.rpartition(".")
            assert hasattr(stage.app if owner else TradeScreen, f"action_{name}"), action.name
        titles = {title for title, _, _ in ActionCommands(stage.screen)._commands()}
        assert {action.label for action in TRADE_ACTIONS} - {title.partition(" · ")[0] for title in titles} == {"Palette"}
        assert "btc_momentum_1" in titles
        await stage.pilot.press("question_mark")
        await stage.pilot.pause()
        shown = stage.text()
        for action in TRADE_ACTIONS:
            assert action.help[:40] in shown


async def test_the_footer_names_its_keys_and_says_that_quitting_stops_nothing(workspace: Workspace) -> None:
    async with opened(workspace) as stage:
        await stage.ready()
        keys = {key.description: key._disabled for key in stage.screen.query_one(Footer).query(FooterKey)}
    assert {"Stop", "Pause", "Flatten", "Directive", "Incidents", "Help", "Quit (agents run on)"} <= set(keys)
    assert not keys["Stop"]


async def test_the_palette_runs_an_action(workspace: Workspace) -> None:
    async with opened(workspace) as stage:
        await stage.ready()
        await stage.pilot.press("ctrl+p", *"flatten")
        await stage.pilot.pause(0.3)
        await stage.pilot.press("enter")
        await stage.until(lambda: "Flatten btc_momentum_1 on btc_momentum?" in stage.text())


async def test_y_copies_what_has_the_focus(workspace: Workspace) -> None:
    async with opened(workspace) as stage:
        await stage.ready()
        await stage.pilot.press("y")
        assert stage.app.clipboard.startswith("btc_momentum_1")
        await stage.pilot.press("enter", "y")
        assert "[rule-based offline/momentum]" in stage.app.clipboard


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


async def test_the_theme_toggles_between_dark_and_light(workspace: Workspace) -> None:
    async with opened(workspace) as stage:
        await stage.ready()
        assert stage.app.current_theme.dark
        await stage.pilot.press("ctrl+t")
        assert not stage.app.current_theme.dark


async def test_the_first_paint_does_not_wait_for_the_ledger(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    release = asyncio.Event()
    import threading

    gate = threading.Event()
    from tradeagent.tui.feed import Feed

    opened_ledger = Feed._opened

    def slow(self: Feed) -> Any:
        gate.wait(5)
        return opened_ledger(self)

    monkeypatch.setattr(Feed, "_opened", slow)
    async with opened(workspace) as stage:
        await stage.pilot.pause()
        assert "opening the ledger" in stage.text()
        assert "deployments" in stage.text()
        gate.set()
        await stage.ready()
    assert not release.is_set()


def stage_has_no_option(stage: Stage) -> bool:
    return stage.screen.query_one(OptionList).option_count == 0
