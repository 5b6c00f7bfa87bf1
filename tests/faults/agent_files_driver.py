"""Kills `agent approve` or `agent restore` at every durable step, one step a process, goes on as a person would, and looks at the files.

    python agent_files_driver.py SCRATCH approve|restore

Steps are found by running, as `kill_driver` does. Prints one JSON document: the steps, and every problem found.
"""

import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from kill_driver import Steps, instrument

from tradeagent.agents.folder import load_agent, payload_of, read_texts
from tradeagent.agents.suggestions import SuggestionBox
from tradeagent.agents.versions import folder_side
from tradeagent.cli import entry
from tradeagent.cli.app import tree
from tradeagent.domain.clock import SimulatedClock
from tradeagent.ledger import notes
from tradeagent.ledger.store import open_ledger
from tradeagent.runtime.workspace import init_workspace
from tradeagent.tools.known import known_to_agents
from tradeagent.workspace.config import load_config
from tradeagent.workspace.paths import Workspace

SLUG = "btc_momentum"
CONFIG = "# mine\nstop_atr: 2   # wide\n"
NOW = 1_741_953_600_000


def prepare(root: Path) -> str:
    """Two versions with other files, a folder with an edit that neither holds, and a suggestion over it; the suggestion's id."""
    init_workspace(root)
    workspace, clock = Workspace(root), SimulatedClock(NOW)
    folder, known = workspace.agent_dir(SLUG), known_to_agents(load_config(workspace.config_file, {}))
    ledger = open_ledger(workspace.ledger_file)
    for config in ("# the first\nstop_atr: 1\n", "# the second\nstop_atr: 3\n"):
        (folder / "config.yml").write_text(config)
        (folder / "agent.md").write_text((folder / "agent.md").read_text() + "One more sentence.\n")
        agent = load_agent(folder, known)
        with ledger.transaction() as tx:
            notes.save_version(tx, SLUG, agent.payload, agent.payload_hash, "used by a run", NOW)
    (folder / "config.yml").write_text(CONFIG)
    asked = SuggestionBox(load_agent(folder, known), ledger, clock, f"{SLUG}_1", 1).add("stop_atr", 4, "wider")
    ledger.close()
    return str(asked["suggestion"])


def command(root: Path, *arguments: str) -> int:
    return entry.run(["--workspace", str(root), *arguments, "--quiet"])


def in_a_process(work: Callable[[], object]) -> int:
    """The exit status of a child that does it; output goes nowhere."""
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        code = work()
        os._exit(code if isinstance(code, int) else 0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def ledger_says(root: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(Workspace(root).ledger_file)) as ledger:
        return list(ledger.execute(query))


def approved(root: Path, suggestion: str) -> list[str]:
    """What must hold once somebody has looked at the suggestions, and then has approved what is still open."""
    config = Workspace(root).agent_dir(SLUG) / "config.yml"
    found = [f"looking failed: {code}"] if (code := in_a_process(lambda: command(root, "agent", "suggestions", SLUG))) else []
    [(state,)] = ledger_says(root, "SELECT state FROM suggestions")
    after = CONFIG.replace("2  ", "4  ")
    if (state, config.read_text()) not in (("open", CONFIG), ("approved", after)):
        found.append(f"{state} with {config.read_text()!r}")
    if state == "open" and (code := in_a_process(lambda: command(root, "agent", "approve", suggestion))):
        found.append(f"approving again failed: {code}")
    answers = ledger_says(root, "SELECT count(*) FROM events WHERE kind = 'suggestion.state' AND data LIKE '%approved%'")
    versions = ledger_says(root, f"SELECT count(*) FROM agent_versions WHERE note = 'approved suggestion {suggestion}'")
    if config.read_text() != after or answers != [(1,)] or versions != [(1,)]:
        found.append(f"in the end {config.read_text()!r}, {answers} answers, {versions} versions")
    return found


def restored(root: Path, _suggestion: str) -> list[str]:
    """What must hold once the agent was started again: one version or the other, whole, and the edits kept."""
    workspace = Workspace(root)
    saved = ledger_says(root, "SELECT payload, note FROM agent_versions ORDER BY version")
    first, edited = str(saved[0][0]), EDITED
    code = in_a_process(lambda: command(root, "run", SLUG, "--mode", "dry-run"))
    found = [] if code == 3 else [f"the next run: {code}"]  # there are no bars, so its only tick is blocked
    payload = folder_side(workspace.agent_dir(SLUG)).payload
    if payload not in (first, edited):
        found.append(f"the folder is neither: {payload}")
    kept = [note for text, note in saved if text == edited]
    if payload == first and not kept:
        found.append("the edits are gone")
    if payload == edited and code == 3 and any("restored" in str(note) for _, note in saved):
        found.append("said to be restored, and is not")
    return found


ACTIONS: dict[str, tuple[Callable[[Path, str], tuple[str, ...]], Callable[[Path, str], list[str]]]] = {
    "approve": (lambda _root, suggestion: ("agent", "approve", suggestion), approved),
    "restore": (lambda _root, _suggestion: ("agent", "restore", SLUG, "1", "--yes"), restored),
}
EDITED = ""


def main(scratch: Path, action: str) -> None:
    global EDITED  # noqa: PLW0603 - what the folder held before the command, for the check after it
    base, log = scratch / "base", scratch / "steps.log"
    suggestion = prepare(base)
    tree()  # before the forks, so that no child has to
    EDITED = payload_of(*read_texts(Workspace(base).agent_dir(SLUG)))
    words, check = ACTIONS[action]
    problems: list[str] = []
    for step in range(1, 200):
        root = scratch / f"step_{step}"
        shutil.copytree(base, root)

        def die(root: Path = root, step: int = step) -> int:
            instrument(Steps(step, log))
            return command(root, *words(root, suggestion))

        code = in_a_process(die)
        problems += [f"step {step}: {problem}" for problem in check(root, suggestion)]
        shutil.rmtree(root)
        if code == 0:
            break
        if code != -9:
            problems.append(f"step {step}: exit {code}")
    print(json.dumps({"steps": log.read_text().split("\n")[:-1], "problems": problems}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
