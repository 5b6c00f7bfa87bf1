"""Giving a command, in a thread of its own: a row for the runner, or done on the spot when nobody runs; and the kill, which needs neither.

This is all the screen writes.
"""

from typing import Any

from tradeagent.domain.clock import Clock
from tradeagent.domain.names import CommandKind
from tradeagent.workspace.config import Config
from tradeagent.workspace.paths import Workspace


def give(workspace: Workspace, config: Config, clock: Clock, deployment: str, kind: CommandKind, payload: dict[str, Any]) -> dict[str, Any]:
    """Give a command and wait for its result, as the command line does. Blocking; TradeAgentError says what to do instead."""
    from tradeagent.ledger.store import open_ledger
    from tradeagent.runtime.control import command
    from tradeagent.runtime.place import Place

    workspace.require_writable()
    ledger = open_ledger(workspace.ledger_file)
    try:
        return command(Place(workspace, config, ledger, clock), deployment, kind, payload)
    finally:
        ledger.close()


def kill(workspace: Workspace, clock: Clock, deployment: str) -> dict[str, Any]:
    """Latch a deployment's wallet, then cancel and close, as `tradeagent kill` does. Blocking."""
    from tradeagent.runtime.kill import wipe
    from tradeagent.runtime.latching import latch_now, target_of

    target = target_of(workspace, deployment)
    return wipe(workspace, clock, target, latch_now(workspace, clock, target))


def killed(result: dict[str, Any]) -> str:
    """What a kill came to, in words."""
    closed = sum(len(row["closed"]) for row in result["wallets"])
    flat = "flat" if result["flat"] else "NOT FLAT: press K again"
    return f"latched in {result['latched_ms']} ms, {closed} position(s) closed, {flat}"


def answer(result: dict[str, Any]) -> str:
    """A result in words: state, how fast the runner acknowledged, and what it changed."""
    words = [str(result["state"])]
    if "latency_ms" in result:
        words.append(f"acknowledged in {result['latency_ms']} ms")
    if "deployment_state" in result:
        words.append(f"now {result['deployment_state']}")
    if "closed" in result:
        words.append(f"{len(result['closed'])} position(s) closed")
    if result["command"] == CommandKind.DIRECTIVE.value:
        words.append("it is in the next prompt")
    return ", ".join(words)
