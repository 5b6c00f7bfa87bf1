"""Servers that others publish, run for real: what a stranger's package says and answers goes the same way as our own servers' words."""

import asyncio
import importlib.util
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from tradeagent.cli.entry import run
from tradeagent.ledger.store import open_ledger
from tradeagent.llm.contract import ToolResult
from tradeagent.llm.loop import handled
from tradeagent.runtime.workspace import init_workspace
from tradeagent.tools.mcp_servers import servers_of
from tradeagent.tools.mcp_tools import Outside
from tradeagent.workspace.config import load_config
from tradeagent.workspace.paths import Workspace

PACKAGE = "mcp_server_time"
pytestmark = pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason="mcp-server-time (a development dependency) is not here")
TOOLS = {
    "time__get_current_time": ({"timezone": "UTC"}, "UTC"),
    "time__convert_time": ({"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}, "+9.0h"),
}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    init_workspace(tmp_path / "ws")
    return Workspace(tmp_path / "ws")


def typed(workspace: Workspace, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    code = run([*words, "-w", str(workspace.root), "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out)


async def called(workspace: Workspace) -> dict[str, ToolResult]:
    ledger = open_ledger(workspace.ledger_file)
    outside = Outside(servers_of(load_config(workspace.config_file, {})), ledger, dict(os.environ))
    try:
        assert {tool.name for tool in outside.tools()} == set(TOOLS)
        return {tool.name: (await handled(tool, tool.arguments.model_validate(TOOLS[tool.name][0]), None))[0] for tool in outside.tools()}
    finally:
        await outside.close()
        ledger.close()


def test_the_time_server_is_tested_approved_and_called(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    typed(workspace, capsys, "config", "set", "mcp_servers.time.command", shlex.join([sys.executable, "-m", PACKAGE]))
    tested = typed(workspace, capsys, "mcp", "test", "time")["tools"]
    assert {tool["tool"] for tool in tested} == {name.removeprefix("time__") for name in TOOLS}
    assert {tool["state"] for tool in tested} == {"new"}
    assert set(typed(workspace, capsys, "mcp", "approve", "time", "--yes")["approved"]) == {tool["tool"] for tool in tested}
    answers = asyncio.run(called(workspace))
    for name, (_, part) in TOOLS.items():
        answer = answers[name]
        assert not answer.is_error, answer
        assert answer.content["text"].startswith("<untrusted origin=mcp:time")
        assert part in answer.content["text"]
