"""Campaign: the file system fails at every step of a run with orders: each write, sync, rename and folder, once or from then on.

The run, its recovery and its checks are those of `tests/faults/kill_driver.py`; here a step raises ENOSPC or EIO where it kills there. A
run may end with an error of the product or go on; nothing may be sent before its intent is on the disk, and after the next run ledger and
venue agree, and every text is there that the broken disk kept from being written (journal, snapshot, status, directive).
Needs the shared bars (TRADEAGENT_SHARED, or `shared` beside the repository), and plays nothing without them.
"""

import errno
import functools
import json
import os
import shutil
import sqlite3
import tempfile
import traceback
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import kill_driver
from figures import Figures
from product import Product
from workspaces import _template

import tradeagent.workspace.files as files_module
from tradeagent.brokers.paper import PaperBroker
from tradeagent.domain.errors import Defect, TradeAgentError

FULL_SIZE = 1_000
CALLS = ("write", "fsync", "replace", "rename", "link", "mkdir")
TROUBLES = (errno.ENOSPC, errno.EIO)
ROOT = Path(__file__).resolve().parents[2]


class Failing:
    """Counts what reaches the file system and refuses the n-th, or all from it on."""

    def __init__(self, at: int | None, code: int, *, lasts: bool) -> None:
        self._at = at
        self._code = code
        self._lasts = lasts
        self.seen: list[str] = []

    def instrument(self) -> None:
        for name in CALLS:
            self._wrap(os, name)
        self._wrap(files_module, "exchange_names")

    def _wrap(self, module: Any, name: str) -> None:
        real = getattr(module, name)

        @functools.wraps(real)
        def counted(*arguments: Any, **options: Any) -> Any:
            self.seen.append(name)
            if self._at is not None and (len(self.seen) == self._at or (self._lasts and len(self.seen) > self._at)):
                raise OSError(self._code, os.strerror(self._code))
            return real(*arguments, **options)

        setattr(module, name, counted)


def run(seed: int = 1, size: int = FULL_SIZE) -> Figures:
    """At most `size` points, spread evenly over all there are; the order of the points is fixed, so the seed changes nothing."""
    figures = Figures("disk_tick", seed)
    figures.counts |= {"points": 0, "steps": 0, "ended with an error": 0, "went on": 0}
    data = Path(os.environ.get("TRADEAGENT_SHARED", ROOT.parent / "shared")) / "data"
    if not data.is_dir():
        return figures
    with tempfile.TemporaryDirectory() as folder:
        prepared = _prepared(Path(folder), data)
        steps = _told(Path(folder), prepared, None)["seen"]
        figures.counts["steps"] = len(steps)
        points = [(at, code, lasts) for at in range(1, len(steps) + 1) for code in TROUBLES for lasts in (False, True)]
        for at, code, lasts in points[:: max(1, len(points) // size)][:size]:
            said = _told(Path(folder), prepared, (at, code, lasts))
            figures.count("points")
            figures.count("ended with an error" if said["error"] else "went on")
            word = f"{errno.errorcode[code]} at step {at}, {steps[at - 1]}{', and from then on' if lasts else ''}"
            figures.violations += [f"{word}: {line}" for line in said["problems"]]
    return figures


def _prepared(folder: Path, data: Path) -> Path:
    """A small workspace with one agent, one wallet, a month of bars and a run that ended well.

    Made in processes of their own: this one forks for every point, so it must not have started threads.
    """
    root = folder / "prepared"
    if kill_driver.forked(lambda: _made(folder / "template", root, data)) or kill_driver.forked(lambda: kill_driver.prepare(root)):
        raise RuntimeError("the workspace could not be prepared, see stderr")
    return root


def _made(template: Path, root: Path, data: Path) -> None:
    def too_much(_: str, names: list[str]) -> list[str]:
        others = {"ETH", "HYPE", "eth_mean_reversion", "hype_breakout_rules"}
        return [name for name in names if name in others or (name.endswith(".parquet") and name != "2025-03.parquet")]

    shutil.copytree(_template(template, data), root, ignore=too_much)
    Product(root).ask("wallet", "new", "btc_momentum")


def _told(folder: Path, prepared: Path, fault: tuple[int, int, bool] | None) -> dict[str, Any]:
    """One run under one fault and the run after it, each in a process of its own: what they said."""
    root, answer = folder / "ws", folder / "answer"
    shutil.rmtree(root, ignore_errors=True)
    answer.unlink(missing_ok=True)
    shutil.copytree(prepared, root)
    at, code, lasts = fault or (None, 0, False)
    failing = Failing(at, code, lasts=lasts)
    if kill_driver.forked(lambda: _struck(root, failing, answer)):
        return {"seen": [], "error": "", "problems": ["the process under the fault ended badly, see stderr"]}
    said: dict[str, Any] = json.loads(answer.read_text())
    if fault is not None:
        if kill_driver.forked(lambda: kill_driver.recover(root, answer)):
            said["problems"].append("the next run failed, see stderr")
        else:
            said["problems"] += json.loads(answer.read_text())
    return said


def _struck(root: Path, failing: Failing, answer: Path) -> None:
    """In the child: the run of the kill tests on a failing file system."""
    write, place = os.write, kill_driver.place_of(root, kill_driver.BEGIN_MS)
    problems = list[str]()
    _watch_sends(root, problems)
    failing.instrument()
    error = ""
    try:
        kill_driver.play(place, kill_driver.Busy(place, kill_driver.FIRST, kill_driver.SECOND), 2)
    except TradeAgentError as raised:
        error = f"{raised.code}: {raised.message}"
        if isinstance(raised, Defect) or not raised.hint:
            problems.append(f"does not say exactly why: {error} (hint {raised.hint!r})")
    except Exception:  # noqa: BLE001  # a person would see this trace
        error = traceback.format_exc(limit=-4)
        problems.append(f"a bare error: {error}")
    descriptor = os.open(answer, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    write(descriptor, json.dumps({"seen": failing.seen, "error": error, "problems": problems}).encode())
    os.close(descriptor)


def _watch_sends(root: Path, problems: list[str]) -> None:
    """From now on every order that reaches the paper account is looked up in the ledger's file first."""
    real: Callable[..., Any] = PaperBroker.place
    ledger_file = Product(root).ledger_file

    def place(self: PaperBroker, orders: Any) -> Any:
        with closing(sqlite3.connect(ledger_file)) as ledger:
            known = {row[0] for row in ledger.execute("SELECT cloid FROM orders JOIN intents ON intents.id = orders.intent_id")}
        problems.extend(f"sent without an intent on the disk: {order.cloid}" for order in orders if order.cloid not in known)
        return real(self, orders)

    PaperBroker.place = place  # type: ignore[method-assign]
