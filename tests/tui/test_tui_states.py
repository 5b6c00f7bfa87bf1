"""When there is nothing to show, or nothing can be read: a named state on screen, never a crash."""

import asyncio
import os
import shutil
import sqlite3
from functools import partial
from pathlib import Path

import pytest
from tui_stage import Stage, opened

from tradeagent.domain.clock import SystemClock
from tradeagent.domain.names import IncidentCode, Level
from tradeagent.ledger import notes
from tradeagent.ledger.store import open_ledger
from tradeagent.runtime.workspace import init_workspace
from tradeagent.tui.feed import Feed
from tradeagent.tui.stream import TickStream
from tradeagent.workspace.paths import Workspace


@pytest.fixture
def empty(tmp_path: Path) -> Workspace:
    init_workspace(tmp_path / "empty")
    return Workspace(tmp_path / "empty")


async def test_an_empty_workspace_offers_three_doors(empty: Workspace) -> None:
    async with opened(empty, size=(80, 24)) as stage:
        await stage.until(lambda: "Three doors" in stage.text())
        for command in ("tradeagent demo", "tradeagent agent new", "tradeagent data import FILE --market BTC --interval 5m"):
            assert command in stage.text()
        await stage.pilot.press("s", "p", "f", "d", "i")
        await stage.until(lambda: "No incident is open" in stage.text())
        assert stage.toasts() == ""


async def test_a_missing_ledger_has_a_name_and_a_fix_and_is_noticed_when_it_comes(empty: Workspace, finished_run: Path) -> None:
    empty.ledger_file.unlink()
    async with opened(empty) as stage:
        await stage.until(lambda: "NO LEDGER" in stage.text())
        assert "tradeagent init" in stage.text()
        for name in ("ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"):
            source = Workspace(finished_run).state_dir / name
            if source.exists():
                shutil.copy(source, empty.state_dir / name)
        await stage.until(lambda: "btc_momentum_1" in stage.text())
        await stage.until(lambda: "NO LEDGER" not in stage.text())


async def test_a_file_that_is_no_ledger_is_unreadable(empty: Workspace) -> None:
    empty.ledger_file.write_bytes(os.urandom(8_192))
    async with opened(empty) as stage:
        await stage.until(lambda: "LEDGER UNREADABLE" in stage.text())


async def test_a_ledger_replaced_by_garbage_dims_what_was_read(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradeagent.tui.feed.LOOK_ANYWAY_S", 0.3)
    async with opened(workspace) as stage:
        await stage.ready()
        garbage = workspace.state_dir / "garbage"
        garbage.write_bytes(os.urandom(8_192))
        garbage.replace(workspace.ledger_file)
        await stage.until(lambda: "LEDGER UNREADABLE" in stage.text())
        assert "ledger not readable" in stage.account()
        assert "equity USDC" in stage.account()


async def test_a_locked_ledger_is_busy_and_recovers(empty: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr("tradeagent.tui.feed.RETRY_S", 0.1)
    monkeypatch.setattr("sqlite3.connect", lambda *names, **options: connect(*names, **{**options, "timeout": 0.05}))
    holder = connect(empty.ledger_file)
    holder.execute("PRAGMA locking_mode=EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    async with opened(empty) as stage:
        await stage.until(lambda: "LEDGER BUSY" in stage.text())
        holder.rollback()
        holder.close()
        await stage.until(lambda: "Three doors" in stage.text())


async def test_a_defect_of_the_feed_is_shown_and_r_starts_it_again(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    look = Feed._look
    broken = [True]

    def sometimes(self: Feed) -> None:
        if broken[0]:
            raise ZeroDivisionError("oh [red]no")
        look(self)

    monkeypatch.setattr(Feed, "_look", sometimes)
    async with opened(workspace) as stage:
        await stage.until(lambda: "ZeroDivisionError: oh [red]no" in stage.text())
        broken[0] = False
        await stage.pilot.press("r")
        await stage.ready()
        assert "ZeroDivisionError" not in stage.text()


async def test_incidents_and_the_kill_switch_are_in_the_top_line_and_can_be_read(workspace: Workspace) -> None:
    ledger = open_ledger(workspace.ledger_file)
    message = "no [bold]stop[/bold] \x1b[31mhere"
    with ledger.transaction() as tx:
        incident = notes.Incident(IncidentCode.NAKED_POSITION, Level.CRITICAL, message, "btc_momentum", "btc_momentum_1")
        notes.open_incident(tx, "one", incident, SystemClock().now_ms())
        notes.put_setting(tx, notes.KILL_SWITCH, True)
    ledger.close()
    async with opened(workspace) as stage:
        await stage.ready()
        assert "1 incident (i)" in stage.text()
        assert "KILL SWITCH ON" in stage.text()
        assert "KILL SWITCH" in stage.account()
        await stage.pilot.press("i")
        await stage.until(lambda: "critical naked_position" in stage.text())
        assert "no [bold]stop[/bold] [31mhere" in stage.text()
        await stage.pilot.press("escape")
        assert len(stage.app.screen_stack) == 1


def says(stage: Stage, text: str) -> bool:
    return text in stage.stream()


HOSTILE = {
    "markup": ("[red]not red[/red] [@click=app.quit]x[/]", "[red]not red[/red] [@click=app.quit]x[/]"),
    "unclosed markup": ("[bold [/] [[", "[bold [/] [["),
    "escape sequences": ("\x1b[31mred\x1b[0m \x1b]0;title\x07", "[31mred[0m ]0;title"),
    "html": ("<b>bold</b> <script>alert(1)</script>", "<b>bold</b> <script>alert(1)</script>"),
    "html block": ("<div>\nhidden?\n</div>", "hidden?"),
    "reordering": ("pay \u202e001\u202c now", "pay 001 now"),
    "deep quotes": (">" * 1_000 + " deep", "deep"),
    "deep list": ("".join("  " * depth + "- x\n" for depth in range(60)), "x"),
    "wide table": ("|" + "a|" * 500 + "\n|" + "-|" * 500 + "\n|" + "b|" * 500, "b|b|b"),
    "one long line": ("a" * 15_000, "aaaa"),
}


async def test_hostile_text_is_shown_as_letters(workspace: Workspace) -> None:
    async with opened(workspace) as stage:
        await stage.ready()
        for number, (name, (text, shown)) in enumerate(HOSTILE.items(), 100):
            with (workspace.threads_dir / "btc_momentum_1.md").open("a") as growing:
                growing.write(f"\n\n## tick {number}\n\n{text}\n\n## tick {number} ended\n\nstill here {number}\n")
            await stage.until(partial(says, stage, f"still here {number}"), name)
            assert shown in stage.stream(), name
            assert not any(ord(letter) < 32 and letter != "\n" for letter in stage.stream()), name
        assert not stage.app._exit


async def test_a_link_of_a_model_opens_nothing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    went: list[str] = []
    monkeypatch.setattr("textual.app.App.open_url", lambda self, url, new_tab=True: went.append(url))
    async with opened(workspace) as stage:
        await stage.ready()
        with (workspace.threads_dir / "btc_momentum_1.md").open("a") as growing:
            growing.write("\n\n## tick 77\n\n[open me](http://example.com)\n")
        await stage.until(lambda: "open me" in stage.stream())
        await asyncio.sleep(0.3)
        page = stage.screen.query_one(TickStream).query("MarkdownParagraph").last()
        await stage.pilot.click(page, offset=(2, 0))
        await stage.pilot.pause()
        assert went == []
