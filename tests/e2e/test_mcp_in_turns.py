"""MCP servers in real turns: an agent's tick and a conversation call a tool that was approved; a replay, and what was not, offers none."""

import asyncio
import json
import shlex
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from minds import Scripted
from product import Product
from scripted_model import ScriptedModel, call, say

from tradeagent.domain.clock import SimulatedClock
from tradeagent.domain.names import RunMode
from tradeagent.ledger.store import open_ledger
from tradeagent.llm.contract import ModelDelta, ToolCallFinished
from tradeagent.market.instruments import HYPERLIQUID
from tradeagent.market.series import BarSeries
from tradeagent.market.warehouse import Warehouse
from tradeagent.runtime.assembly import Place, RunRequest, assembled
from tradeagent.runtime.assistant import ChatRequest, hosted_turn, opened_chat
from tradeagent.runtime.ground import Pace
from tradeagent.runtime.runner import Runner
from tradeagent.workspace.config import load_config
from tradeagent.workspace.paths import Workspace

OUTSIDER = Path(__file__).resolve().parents[1] / "tools" / "outsider.py"
STEP = 300_000
END = 1_767_787_200_000
AGENT = """\
---
name: Asker
description: Asks another program.
model: offline/hold
markets: [BTC]
tick_interval: 5m
mcp_servers: {{out: {{command: '{command}', env: {{GIVEN: env:MY_VALUE}}}}}}
limits: {{max_daily_loss_quote: 50, max_single_order_quote: 1000, max_position_size_quote: 1000}}
---

# Asker

Ask.
"""
ECHO = ("out__echo", {"text": "hello"})


@pytest.fixture
def product(tmp_path: Path) -> Product:
    """An agent with a server of its own, and five-minute bars that end at the clock of its runs."""
    product = Product(tmp_path / "ws", {"MY_VALUE": "given"})
    assert product.here("init", str(product.root)).code == 0
    ts = np.arange(END - 600 * STEP, END, STEP)
    flat = np.full(len(ts), 100_000.0)
    Warehouse(Workspace(product.root).warehouse_dir).append_bars(BarSeries(HYPERLIQUID, "BTC", STEP, ts, flat, flat, flat, flat, flat))
    calls = tmp_path / "calls.log"
    calls.write_text("")
    calls.with_suffix(".words").write_text("Says it back.")
    command = shlex.join([sys.executable, "-I", str(OUTSIDER), "plain", str(calls)])
    folder = product.agents / "asker"
    folder.mkdir()
    (folder / "agent.md").write_text(AGENT.format(command=command))
    return product


def ticked(product: Product, *, replay: str | None = None) -> Scripted:
    """One tick of the agent, in which the model calls the server's tool."""
    model = Scripted([ECHO])
    workspace = Workspace(product.root)
    ledger = open_ledger(workspace.ledger_file)
    place = Place(workspace, load_config(workspace.config_file, {}), ledger, SimulatedClock(END + 1_000))
    request = RunRequest("asker", Pace(RunMode.RUN_ONCE, replay, speed=Decimal(1)))
    with (
        mock.patch("tradeagent.runtime.assembly.open_model", lambda *_: model),
        mock.patch.dict("os.environ", product.environment()),
        assembled(place, request) as run,
    ):
        asyncio.run(Runner(run).run())
    ledger.close()
    return model


def test_an_agent_calls_a_tool_that_was_approved_for_it(product: Product) -> None:
    refused = ticked(product)
    assert not any("__" in name for name in refused.offered[0])
    assert refused.results[0]["error"]["code"] == "unknown_tool"
    product.ask("mcp", "approve", "asker:out", "--yes")
    asked = ticked(product)
    assert "out__echo" in asked.offered[0] and "propose_order" in asked.offered[0]
    assert asked.results[0]["text"] == '<untrusted origin=mcp:out>\necho: {"text": "hello"}\n</untrusted>'


def test_a_replay_reaches_no_server_since_it_would_answer_from_the_future(product: Product) -> None:
    product.ask("mcp", "approve", "asker:out", "--yes")
    model = ticked(product, replay="hyperliquid:BTC:5m")
    assert model.offered and not any("__" in name for name in model.offered[0])


def test_what_was_approved_for_an_agent_is_not_approved_for_the_assistant(product: Product) -> None:
    product.ask("mcp", "approve", "asker:out", "--yes")
    (agents,) = product.ask("mcp", "list")
    product.ask("config", "set", "mcp_servers.out.command", agents["where"])
    states = {row["server"]: [tool["state"] for tool in row["tools"]] for row in product.ask("mcp", "list")}
    assert states == {"asker:out": ["approved"], "out": []}
    assert [tool["state"] for tool in product.ask("mcp", "test", "out")["tools"]] == ["new"]


def test_the_assistant_finds_a_server_and_calls_its_tool(product: Product) -> None:
    (agents,) = product.ask("mcp", "list")
    product.ask("config", "set", "mcp_servers.out.command", agents["where"])
    product.ask("mcp", "approve", "out", "--yes")
    calls = [call(name, json.dumps(arguments), name) for name, arguments in (("find_tools", {"query": "out"}), ECHO)]
    model = ScriptedModel(*([each, ModelDelta(done="stop")] for each in calls), [say("done")])
    results = asyncio.run(_conversation(product, model))
    assert results[0]["loaded"] == "out"
    assert results[1]["text"] == '<untrusted origin=mcp:out>\necho: {"text": "hello"}\n</untrusted>'


async def _conversation(product: Product, model: Any) -> list[dict[str, Any]]:
    workspace = Workspace(product.root)
    ledger = open_ledger(workspace.ledger_file)
    place = Place(workspace, load_config(workspace.config_file, {}), ledger, SimulatedClock(END + 1_000))
    with mock.patch("tradeagent.runtime.assistant.open_model", lambda *_: model), opened_chat(place, ChatRequest()) as setup:
        events = [event async for event in hosted_turn(place, setup, "ask the other program")]
    ledger.close()
    return [event.result.content for event in events if isinstance(event, ToolCallFinished)]
