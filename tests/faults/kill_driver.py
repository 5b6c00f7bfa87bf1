"""Kills a run at every durable step it makes, one step a process, recovers, and checks what is left against the venue and the files.

    python kill_driver.py WORKSPACE SCRATCH FIRST STEP [DIED]

A step is whatever reaches the disk: a commit of the ledger or of the paper account, a file written (whole, and half), synced, linked,
renamed, exchanged or removed, a folder made. The steps are found by running, not listed by hand: point N dies before its N-th step, and
the points end where a run gets through. The run is not a replay, so everything is written as durably as it ever is. With DIED, a run was
killed at that step already, and it is the start after it that is killed again. Prints one JSON document: the steps and every problem found.
"""

import asyncio
import concurrent.futures.thread
import itertools
import json
import os
import re
import shutil
import signal
import sqlite3
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import filelock
import numpy.ma
import pydantic.type_adapter
import ruamel.yaml

# Before the forks, so that no child has to.
LOADED = (duckdb, filelock, numpy.ma, pydantic.type_adapter, ruamel.yaml, concurrent.futures.thread)
for _room in ("e2e", "llm"):
    sys.path.append(str(Path(__file__).resolve().parents[1] / _room))

from minds import Scripted  # noqa: E402

import tradeagent.runtime.assembly as assembly_module  # noqa: E402
import tradeagent.workspace.files as files_module  # noqa: E402
from tradeagent.agents.folder import load_agent  # noqa: E402
from tradeagent.agents.snapshots import parse_snapshot  # noqa: E402
from tradeagent.domain.clock import SimulatedClock  # noqa: E402
from tradeagent.domain.names import CommandKind  # noqa: E402
from tradeagent.execution.opening import open_paper  # noqa: E402
from tradeagent.ledger import runs  # noqa: E402
from tradeagent.ledger.store import open_ledger  # noqa: E402
from tradeagent.runtime.assembly import Place, RunRequest, assembled  # noqa: E402
from tradeagent.runtime.ground import Pace  # noqa: E402
from tradeagent.runtime.runner import Runner  # noqa: E402
from tradeagent.tools.known import known_to_agents  # noqa: E402
from tradeagent.tools.registry import TOOLS  # noqa: E402
from tradeagent.workspace.config import load_config  # noqa: E402
from tradeagent.workspace.paths import Workspace  # noqa: E402

BEGIN_MS = 1_741_976_400_000  # 2025-03-14 18:20 UTC
AGAIN_MS = BEGIN_MS + 20 * 60_000
AFTER_MS = AGAIN_MS + 20 * 60_000
WALLET = "btc_momentum"
DIRECTIVE = "told before the fall"
LEARNED = "a lesson that must not be doubled"
TICK_LINE = re.compile(r"^- tick#(\d+) \|", re.MULTILINE)


class Steps:
    """Counts durable steps and ends the process, as `kill -9` does, before the one it was told."""

    def __init__(self, last: int, log: Path) -> None:
        self._last = last
        self._log = log.open("a", encoding="utf-8")
        self._count = itertools.count(1)

    def before(self, name: str, half: Callable[[], object] | None = None) -> None:
        """The next thing on the disk is `name`; `half` does a part of it, which is a step of its own."""
        self._reach(name)
        if half is not None:
            self._reach(f"{name} (half)", half)

    def _reach(self, name: str, last_act: Callable[[], object] = lambda: None) -> None:
        if next(self._count) == self._last:
            self._log.write(name + "\n")
            self._log.flush()
            last_act()
            os.kill(os.getpid(), signal.SIGKILL)


def instrument(steps: Steps) -> None:
    """Put the counter in front of every call that changes what is on the disk."""
    for name in ("fsync", "replace", "rename", "link", "unlink", "mkdir"):
        _wrap(os, name, steps)
    _wrap(files_module, "exchange_names", steps)
    write = os.write

    def halved(descriptor: int, data: Any) -> int:
        steps.before("write", lambda: write(descriptor, bytes(data)[: len(data) // 2]))
        return write(descriptor, data)

    os.write = halved
    connect = sqlite3.dbapi2.connect

    def traced(database: Any, *arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(database, *arguments, **options)
        connection.set_trace_callback(_commits(Path(str(database)).parent.name, steps))
        return connection

    sqlite3.connect = sqlite3.dbapi2.connect = traced  # type: ignore[assignment]


def _wrap(module: Any, name: str, steps: Steps) -> None:
    real = getattr(module, name)

    def counted(*arguments: Any, **options: Any) -> Any:
        steps.before(name)
        return real(*arguments, **options)

    setattr(module, name, counted)


def _commits(where: str, steps: Steps) -> Callable[[str], None]:
    """Sees the statements of one connection; only the end of a writing transaction reaches the disk."""
    writing = False

    def see(statement: str) -> None:
        nonlocal writing
        if statement.startswith("BEGIN IMMEDIATE"):
            writing = True
        elif statement == "COMMIT" and writing:
            writing = False
            steps.before(f"commit {'paper' if where == 'paper' else 'ledger'}")

    return see


class Busy(Scripted):
    """In its second tick a person orders too, and the model is slow enough for that to be obeyed meanwhile."""

    def __init__(self, place: Place, *ticks: Any) -> None:
        super().__init__(*ticks)
        self.place = place

    async def stream(self, messages: Any, tools: Any, *, max_tokens: int) -> Any:
        if messages[-1].role != "tool" and len(self.prompts) == 1:
            order = {
                "market": "BTC",
                "side": "buy",
                "controller_id": "manual",
                "kind": "open",
                "type": "market",
                "tif": "gtc",
                "quote": "50",
                "stop": "80000",
                "reason": "by hand",
            }
            now = self.place.clock.now_ms()
            with self.place.ledger.transaction() as tx:
                runs.add_command(tx, self.place.clock.new_id(), WALLET, None, CommandKind.SUBMIT, {"proposal": order}, now)
            await asyncio.sleep(0.15)
        async for delta in super().stream(messages, tools, max_tokens=max_tokens):
            yield delta


HOLD = [("journal_action", {"action": "hold", "reasoning": "nothing to do"})]
FIRST = [
    ("propose_order", {"market": "BTC", "side": "buy", "quote": "90", "stop": "80000", "target": "99000", "reason": "scripted"}),
    ("add_learning", {"section": "Active insights", "text": LEARNED}),
    ("update_canvas", {"thesis": "up until it is not"}),
    ("journal_action", {"action": "bought", "reasoning": "scripted"}),
]
SECOND = [
    ("modify_protection", {"market": "BTC", "stop": "81000"}),
    ("close_position", {"market": "BTC"}),
    ("journal_action", {"action": "closed", "reasoning": "scripted"}),
]


def place_of(root: Path, now_ms: int) -> Place:
    workspace = Workspace(root)
    return Place(workspace, load_config(workspace.config_file, {}), open_ledger(workspace.ledger_file), SimulatedClock(now_ms))


def play(place: Place, model: Scripted, ticks: int) -> dict[str, int]:
    """A run as the command line makes it, on the wallet's own market time and with every write durable."""
    assembly_module.open_model = lambda *_: model  # type: ignore[assignment]
    request = RunRequest("btc_momentum", Pace(max_ticks=ticks))
    with assembled(place, request) as run:
        runner = Runner(run)
        asyncio.run(runner.run())
    place.ledger.close()
    return {"ticks": runner.tally.ticks, "blocked": runner.tally.blocked, "failures": runner.tally.failures_in_row}


def prepare(root: Path) -> None:
    """An earlier run that ended well, and a directive that nobody has read yet."""
    place = place_of(root, BEGIN_MS - 10 * 60_000)
    play(place, Scripted(HOLD), 1)
    place = place_of(root, BEGIN_MS)
    with place.ledger.transaction() as tx:
        runs.add_directive(tx, place.clock.new_id(), "btc_momentum_1", DIRECTIVE, BEGIN_MS)
    place.ledger.close()


def die(root: Path, last: int, log: Path) -> None:
    """The run that is killed."""
    place = place_of(root, BEGIN_MS)
    instrument(Steps(last, log))
    play(place, Busy(place, FIRST, SECOND), 2)


def die_again(root: Path, last: int, log: Path) -> None:
    """The start after a kill, killed."""
    place = place_of(root, AGAIN_MS)
    instrument(Steps(last, log))
    play(place, Scripted(HOLD), 1)


def recover(root: Path, answer: Path) -> None:
    """Start again, as a person would, and look at everything."""
    tally = play(place_of(root, AFTER_MS), Scripted(HOLD, HOLD), 2)
    problems = [f"the next run: {tally}"] if tally != {"ticks": 2, "blocked": 0, "failures": 0} else []
    problems += check(root)
    answer.write_text(json.dumps(problems))


def check(root: Path) -> list[str]:
    """What must hold after any kill and one restart."""
    workspace = Workspace(root)
    with closing(sqlite3.connect(workspace.ledger_file)) as ledger, closing(sqlite3.connect(workspace.paper_file(WALLET))) as paper:
        ledger.row_factory = paper.row_factory = sqlite3.Row
        return [*_money(root, ledger, paper), *_rows(ledger), *_files(workspace, ledger)]


def _money(root: Path, ledger: sqlite3.Connection, paper: sqlite3.Connection) -> list[str]:
    """Ledger and venue tell the same story, and nothing happened twice."""
    found = [f"{name}: {row[0]}" for name, db in (("ledger", ledger), ("paper", paper)) for row in db.execute("PRAGMA integrity_check")]
    found = [line for line in found if not line.endswith(": ok")]
    workspace = Workspace(root)
    broker = open_paper(workspace, load_config(workspace.config_file, {}), WALLET, SimulatedClock(BEGIN_MS))
    venue = broker.account()
    cash = Decimal(ledger.execute("SELECT cash FROM risk_state WHERE wallet = ?", (WALLET,)).fetchone()[0])
    held = {
        row["market"]: (Decimal(row["size"]), Decimal(row["cost"]))
        for row in ledger.execute("SELECT market, size, cost FROM positions WHERE wallet = ? AND controller_id = ''", (WALLET,))
        if Decimal(row["size"])
    }
    if venue.cash != cash or dict(venue.positions) != held:
        found.append(f"venue has {venue.cash} {venue.positions}, ledger {cash} {held}")
    happened = [json.loads(row["data"]) for row in paper.execute("SELECT data FROM activity WHERE kind = 'Fill' ORDER BY seq")]
    booked = [row["trade_id"] for row in ledger.execute("SELECT trade_id FROM fills WHERE wallet = ? ORDER BY trade_id", (WALLET,))]
    if [fill["trade_id"] for fill in happened] != booked:
        found.append(f"fills at the venue {[fill['trade_id'] for fill in happened]}, in the ledger {booked}")
    orders = {row["cloid"]: row for row in ledger.execute("SELECT cloid, intent_id, leg, state FROM orders")}
    reported = {json.loads(row["data"])["report"]["cloid"] for row in paper.execute("SELECT data FROM activity WHERE kind = 'OrderChange'")}
    if strangers := (reported | {fill["cloid"] for fill in happened}) - orders.keys():
        found.append(f"the venue knows orders that the ledger does not: {strangers}")
    entries = Counter(orders[cloid]["intent_id"] for cloid in reported & orders.keys() if orders[cloid]["leg"] in ("entry", "close"))
    found += [f"intent {intent} has {count} orders at the venue" for intent, count in entries.items() if count > 1]
    live = {row["cloid"] for row in orders.values() if row["state"] in ("pending", "open", "partially_filled", "triggered", "unknown")}
    if live != set(venue.open_cloids):
        found.append(f"resting at the venue {sorted(venue.open_cloids)}, in the ledger {sorted(live)}")
    stops = [cloid for cloid in venue.open_cloids if cloid in orders and orders[cloid]["leg"] == "stop"]
    if held and not stops:
        found.append("a position without a stop")
    if not held and venue.open_cloids:
        found.append("flat, with orders resting")
    broker.close()
    return found


def _rows(ledger: sqlite3.Connection) -> list[str]:
    """Nothing is left half-way in the ledger."""
    found = []
    left = {
        "intents": "SELECT id, state FROM intents WHERE state IN ('pending', 'sent', 'unknown')",
        "reservations": "SELECT intent_id, market FROM reservations WHERE active",
        "commands": "SELECT kind, state FROM commands WHERE state IN ('queued', 'acked')",
        "ticks": "SELECT deployment, number FROM ticks WHERE state = 'running'",
        "deployments": "SELECT id, state FROM deployments WHERE ended_ms IS NULL AND state != 'error'",
        "directives": "SELECT text, tick FROM directives WHERE tick IS NULL",
        "equity": "SELECT wallet, time_ms FROM equity_points GROUP BY wallet, time_ms HAVING count(*) > 1",
    }
    for table, query in left.items():
        if rows := [tuple(row) for row in ledger.execute(query)]:
            found.append(f"left in {table}: {rows}")
    by_actor = Counter(row[0] for row in ledger.execute("SELECT actor FROM intents WHERE kind = 'open' AND state = 'executed'"))
    if by_actor["agent"] > 1 or by_actor["manual"] > 1:
        found.append(f"entries that went out: {dict(by_actor)}")
    phase = ledger.execute("SELECT data FROM events WHERE kind = 'reconcile.phase' ORDER BY seq DESC LIMIT 1").fetchone()
    if json.loads(phase["data"])["phase"] != "consistent":
        found.append(f"reconciliation: {phase['data']}")
    return found


def _files(workspace: Workspace, ledger: sqlite3.Connection) -> list[str]:
    """Every committed tick is in its files once, and no file is half-written."""
    agent = workspace.agents_dir / "btc_momentum"
    found = [problem for session in sorted((agent / "sessions").iterdir()) for problem in _session(session, ledger)]
    told = [line for path in agent.glob("sessions/*/journal.md") for line in path.read_text().split("\n") if line.endswith(DIRECTIVE)]
    if len(told) != 1:
        found.append(f"the directive is in {len(told)} journal lines")
    learnings = (agent / "learnings.md").read_text() if (agent / "learnings.md").exists() else ""
    if learnings.count(LEARNED) > 1 or (learnings and "## Retired" not in learnings):
        found.append(f"learnings: {learnings!r}")
    found += [f"left behind: {path.name}" for path in agent.rglob(".*.tmp")]
    return found


def _session(session: Path, ledger: sqlite3.Connection) -> list[str]:
    """The files of one session against the ledger's ticks."""
    found = []
    name = f"btc_momentum_{session.name.rpartition('_')[2]}"
    done = [row[0] for row in ledger.execute("SELECT number FROM ticks WHERE deployment = ? AND state = 'done'", (name,))]
    journal = session / "journal.md"
    text = journal.read_text() if journal.exists() else ""
    listed = [int(number) for number in TICK_LINE.findall(text)]
    if listed != done:
        found.append(f"{name}: ticks {done} are in the ledger, {listed} in the journal")
    if text and not text.startswith(f"# Journal - {name}\n\n## Summary\n"):
        found.append(f"{name}: the journal is torn: {text[:80]!r}")
    snapshots = {int(path.stem.rpartition("_")[2]): path for path in session.glob("snapshots/snapshot_*.md")}
    if sorted(snapshots) != done:
        found.append(f"{name}: ticks {done} are in the ledger, snapshots {sorted(snapshots)}")
    for number, path in snapshots.items():
        if parse_snapshot(path.read_text(), path).number != number:
            found.append(f"{path} is not its tick")
    if not (session / "config.yml").exists() and done:
        found.append(f"{name} has no config.yml")
    status, row = session / "status.json", ledger.execute("SELECT state FROM deployments WHERE id = ?", (name,)).fetchone()
    if row is not None and (not status.exists() or json.loads(status.read_text())["state"] != row["state"]):
        found.append(f"{name}: status.json differs from the ledger's {row['state']}")
    return found


def make_ready(root: Path) -> None:
    """Make what a process makes once and keeps: schemas of tools, values of the files read. No child has to then."""
    workspace = Workspace(root)
    config = load_config(workspace.config_file, {})
    load_agent(workspace.agent_dir("btc_momentum"), known_to_agents(config))
    for tool in TOOLS.values():
        _ = tool.spec


def forked(work: Callable[[], None]) -> int:
    """Do something in a process of its own; its wait status."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except Exception:  # noqa: BLE001  # the boundary of a process
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitpid(child, 0)[1]


def main() -> int:
    template, scratch, first, step, *died = (Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
    scratch.mkdir(parents=True)
    log, steps, problems = scratch / "steps", {}, []
    prepared, kill = scratch / "prepared", die_again if died else die
    shutil.copytree(template, prepared)
    if forked(lambda: prepare(prepared)):
        return 1
    make_ready(prepared)
    if died and not os.WIFSIGNALED(forked(lambda: die(prepared, died[0], scratch / "died"))):
        return 1
    for last in itertools.count(first, step):
        root, answer = scratch / f"ws{last}", scratch / f"answer{last}"
        shutil.copytree(prepared, root)
        ended = forked(lambda root=root, last=last: kill(root, last, log))
        if not os.WIFSIGNALED(ended):
            problems += ["the run itself failed"] if ended else []
            break
        failed = forked(lambda root=root, answer=answer: recover(root, answer))
        found = ["the next run failed, see stderr"] if failed else json.loads(answer.read_text())
        steps[last] = log.read_text().splitlines()[-1]
        problems += [f"killed before step {last}, {steps[last]}: {problem}" for problem in found]
        if not found:
            shutil.rmtree(root)
    print(json.dumps({"steps": steps, "problems": problems}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
