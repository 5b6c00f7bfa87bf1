"""Between the keys of a conversation on the terminal: a person is asked about calls outside, and a defect leaves the line to type in."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tradeagent.cli import chat_repl
from tradeagent.cli.chat_repl import Repl
from tradeagent.domain.clock import SystemClock
from tradeagent.ledger.store import open_ledger
from tradeagent.runtime.assembly import Place
from tradeagent.runtime.assistant import ChatRequest, opened_chat
from tradeagent.runtime.workspace import init_workspace
from tradeagent.turns.assistant import AssistantSetup, queue_message
from tradeagent.workspace.config import load_config
from tradeagent.workspace.paths import Workspace


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    init_workspace(tmp_path / "ws")
    workspace = Workspace(tmp_path / "ws")
    place = Place(workspace, load_config(workspace.config_file, {}), open_ledger(workspace.ledger_file), SystemClock())
    yield place
    place.ledger.close()


@pytest.fixture
def setup(place: Place) -> Iterator[AssistantSetup]:
    with opened_chat(place, ChatRequest()) as opened:
        yield opened


@pytest.mark.parametrize(("key", "answer"), [("y", None), ("n", "the user said no")])
async def test_a_call_outside_waits_for_the_person(
    place: Place, setup: AssistantSetup, capsys: pytest.CaptureFixture[str], key: str, answer: str | None
) -> None:
    repl = Repl(place, setup)
    assert setup.ask is not None
    asking = asyncio.ensure_future(setup.ask("notes__delete", {"page": "plans"}))
    await asyncio.sleep(0)
    assert "notes__delete may change something outside: page=plans" in capsys.readouterr().out
    assert await repl._take(key) is None
    assert await asking == answer


async def test_a_defect_in_a_turn_is_told_and_the_conversation_stays(
    place: Place, setup: AssistantSetup, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(chat_repl, "hosted_turn", broken)
    repl = Repl(place, setup)
    queue_message(setup, "hello")
    await repl._run_turns()
    assert "a defect in tradeagent: RuntimeError: boom" in capsys.readouterr().out
