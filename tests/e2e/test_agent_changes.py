"""Suggestions in the product: a model asks in a run, a person answers with a command, the next prompt says so; versions, diff, restore."""

import os
import pty
import subprocess
from pathlib import Path

from minds import Scripted, run_with
from product import BTC, Product

HOLD = [("journal_action", {"action": "hold", "reasoning": "nothing to do"})]
LOOP = ("btc_momentum", "--replay", BTC)
WIDER = ("suggest_config", {"key": "stop_atr", "value": 2.5, "reason": "stops are hit by noise"})
MORE = ("suggest_config", {"key": "max_single_order_quote", "value": 5000, "reason": "I am sure"})
RISK = ("suggest_config", {"key": "risk_per_trade_pct", "value": 0.2, "reason": "more"})


def allowed(product: Product) -> None:
    product.rewrite("btc_momentum", ("budget:", "tools: [market, portfolio, journal, propose_order, config]\nbudget:"))


def test_a_model_asks_a_person_decides_and_the_next_prompts_say_so_once(product: Product) -> None:
    allowed(product)
    model = Scripted([WIDER, MORE, RISK], HOLD)
    assert run_with(model, product, *LOOP, "--max-ticks", "2").code == 0
    first, limit, _ = model.results[:3]
    assert (first["state"], first["old"], first["new"]) == ("open", "1.8", "2.5")
    assert limit["error"]["code"] == "invalid_config" and "is a limit" in limit["error"]["message"]
    risk, wider = sorted(product.ask("agent", "suggestions", "btc_momentum"), key=lambda row: row["key"])
    assert {"id", "agent", "deployment", "tick", "key", "old", "new", "reason", "state", "time", "decided_at", "note"} == set(wider)
    assert (wider["key"], wider["tick"], wider["deployment"], wider["state"]) == ("stop_atr", 1, "btc_momentum_1", "open")

    config = product.agents / "btc_momentum" / "config.yml"
    assert not config.exists()
    assert product.run("agent", "approve", wider["id"], "--json").document["state"] == "approved"
    assert config.read_text() == "stop_atr: 2.5\n"
    answer = product.run("agent", "reject", risk["id"], "--reason", "enough risk already", "--json")
    assert (answer.code, answer.document["state"], answer.document["note"]) == (0, "rejected", "enough risk already")
    again = product.run("agent", "approve", risk["id"], "--json")
    assert (again.code, again.error["code"]) == (3, "gate_failed")
    assert "rejected already (enough risk already)" in again.error["message"]

    dry = Scripted([RISK])
    assert run_with(dry, product, "btc_momentum", "--mode", "dry-run", "--replay", BTC).code == 0
    after = Scripted([RISK], HOLD)
    assert run_with(after, product, *LOOP, "--max-ticks", "2").code == 0
    told = "stop_atr 1.8 → 2.5: approved and is in force from the next run"
    assert [told in prompt for prompt in (*dry.prompts, *after.prompts)] == [True, True, False], "a dry run does not use it up"
    assert [prompt.count("rejected (enough risk already)") for prompt in after.prompts] == [1, 0]
    assert [prompt.count("stop_atr=2.5") for prompt in (*model.prompts, *after.prompts)] == [0, 0, 1, 1]
    assert "the user rejected risk_per_trade_pct 0.2: enough risk already" in after.results[0]["error"]["message"]

    journal = product.ask("journal", "btc_momentum", "--session", "1")["text"]
    assert "stop_atr 1.8 → 2.5 approved -- stops are hit by noise" in journal
    assert "risk_per_trade_pct 0.1 → 0.2 rejected -- enough risk already" in journal
    assert len(product.ask("agent", "suggestions", "btc_momentum", "--all")) == 2
    assert product.ask("agent", "suggestions", "btc_momentum") == []


def test_an_agent_without_the_tool_cannot_suggest(product: Product) -> None:
    model = Scripted([WIDER])
    assert run_with(model, product, *LOOP, "--max-ticks", "1").code == 0
    assert model.results[0]["error"]["code"] == "unknown_tool"
    assert product.ask("agent", "suggestions", "btc_momentum", "--all") == []


def test_versions_say_what_changed_and_a_restore_brings_one_back(product: Product) -> None:
    assert run_with(Scripted(HOLD), product, *LOOP, "--max-ticks", "1").code == 0
    original = (product.agents / "btc_momentum" / "agent.md").read_bytes()
    product.rewrite("btc_momentum", ("stop_atr: 1.8", "stop_atr: 2.2"), ("max_daily_trades: 12", "max_daily_trades: 3"))
    diff = product.run("agent", "diff", "btc_momentum", "--json").document
    assert [(one["key"], one["old"], one["new"]) for one in diff["changes"]] == [
        ("configs.stop_atr", "1.8", "2.2"),
        ("limits.max_daily_trades", "12", "3"),
    ]
    assert (diff["from"], diff["to"], diff["same"]) == (1, "folder", False)
    refused = product.run("agent", "restore", "btc_momentum", "1", "--json")
    assert (refused.code, refused.error["code"]) == (3, "gate_failed")
    assert "max_daily_trades 3 → 12" in refused.error["message"] and "--yes" in refused.error["hint"]
    done = product.run("agent", "restore", "btc_momentum", "1", "--yes", "--json").document
    assert (done["version"], done["kept"], done["restored"]) == (3, 2, 1)
    assert (product.agents / "btc_momentum" / "agent.md").read_bytes() == original
    assert product.ask("agent", "diff", "btc_momentum", "2", "1")["changes"][0]["key"] == "configs.stop_atr"
    listed = product.ask("agent", "versions", "btc_momentum")
    assert [(one["version"], one["note"]) for one in listed] == [
        (3, "restored from 1"),
        (2, "edits kept before a restore"),
        (1, "used by a run"),
    ]
    assert [len(one["changes"]) for one in listed] == [2, 2, 0] and len(listed[0]["payload_hash"]) == 64
    missing = product.run("agent", "diff", "btc_momentum", "7", "--json")
    assert (missing.code, missing.error["code"]) == (4, "not_found")


def test_a_diff_has_colours_on_a_terminal_only(product: Product) -> None:
    assert run_with(Scripted(HOLD), product, *LOOP, "--max-ticks", "1").code == 0
    product.rewrite("btc_momentum", ("stop_atr: 1.8", "stop_atr: 2.2"))
    assert "\x1b[" not in product.run("agent", "diff", "btc_momentum").out
    assert b"\x1b[32m+configs" in _on_a_terminal(product, "agent", "diff", "btc_momentum")
    assert b"\x1b[32m" not in _on_a_terminal(product, "agent", "diff", "btc_momentum", "--no-color")


def _on_a_terminal(product: Product, *arguments: str) -> bytes:
    ours, theirs = pty.openpty()
    done = subprocess.run(
        product.command(*arguments), env=product.environment(), stdout=theirs, stdin=subprocess.DEVNULL, check=True, timeout=60
    )
    os.close(theirs)
    assert done.returncode == 0
    said = b""
    with open(ours, "rb", buffering=0) as terminal:  # noqa: PTH123 - a descriptor, not a path
        try:
            while piece := terminal.read(65536):
                said += piece
        except OSError:  # the other end is closed, and all of it was read
            pass
    return said


def test_the_file_of_a_workspace_that_cannot_be_written_is_named(product: Product) -> None:
    allowed(product)
    assert run_with(Scripted([WIDER]), product, *LOOP, "--max-ticks", "1").code == 0
    [asked] = product.ask("agent", "suggestions", "btc_momentum")
    config = product.agents / "btc_momentum" / "config.yml"
    config.write_text("target_r: 2\n...\n")
    answer = product.run("agent", "approve", asked["id"], "--json")
    assert (answer.code, answer.error["code"]) == (2, "invalid_config")
    assert str(Path("btc_momentum") / "config.yml") in answer.error["message"] and "stop_atr: 2.5" in answer.error["hint"]
    assert config.read_text() == "target_r: 2\n...\n"
