"""Campaign: a kill races real doors, again and again: no entry reaches the venue after its latch was reported.

Every sender is a process that owns a wallet: lease, ledger, engine and paper account, opened as commands open them, and enters and closes
through `ExecutionEngine.submit_now` as fast as it can. A race latches one wallet or all while some sender has an entry under way, and ends
when every sender it meant has finished what it was doing. What reached the venue is the paper account's own record, whose every row is
stamped inside the venue's write with a clock that all processes share. In every twentieth race a sender is frozen (SIGSTOP) inside its
ledger transaction, with the rules passed, and goes on once the latch was reported; in every fortieth one is frozen inside the venue's
write, is ended by the kill, and its successor starts under the latch.
"""

import mmap
import os
import random
import signal
import sqlite3
import time
import traceback
from bisect import bisect_left
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from arena import scratch
from figures import Figures
from sqlalchemy import Connection
from world import NOON, STEP, HandMadeFeed

from tradeagent.domain.bars import Bar
from tradeagent.domain.clock import SimulatedClock
from tradeagent.domain.names import Actor, IntentKind, Side
from tradeagent.domain.order import Proposal
from tradeagent.execution.intents import Intents
from tradeagent.execution.opening import Door
from tradeagent.execution.planning import Plan
from tradeagent.execution.playback import Playback
from tradeagent.execution.state import MANUAL_CONTROLLER
from tradeagent.ledger import wallets
from tradeagent.ledger.store import create_ledger, open_ledger
from tradeagent.runtime.wallets import WalletRequest, create_wallet, owned_door
from tradeagent.workspace import latch
from tradeagent.workspace.config import Config, load_config
from tradeagent.workspace.paths import Workspace

FULL_SIZE = 10_000
WALLETS = ("w0", "w1")
FREE = {"paper.taker_fee_bps": "0", "paper.slippage_bps": "0", "trading.min_free_disk_mib": "0"}
ENTRY = Proposal("BTC", Side.BUY, MANUAL_CONTROLLER, size=Decimal("0.0005"))
EXIT = Proposal("BTC", Side.SELL, MANUAL_CONTROLLER, kind=IntentKind.CLOSE, reduce_only=True)
JUDGED, DONE, FREEZE, CELLS = range(4)  # entries that passed the rules, rounds finished, where to freeze next
LEDGER, VENUE = 1, 2
FREEZES = {10: LEDGER, 30: LEDGER, 20: VENUE}  # of forty races
SHORTLY_NS = 5_000_000
DELAY_S = 0.003
PRICE = 1_000_000  # in ticks of a tenth
PATIENCE_S = 60.0
POLL_S = 0.0002


@dataclass(frozen=True)
class Window:
    """One race for one wallet, in ns of the shared clock: the latch is being set, was reported, and is about to be cleared."""

    begin: int
    reported: int
    end: int


class Sender:
    """A process that trades one wallet as long as we live, and the cells of memory it shares with us."""

    def __init__(self, workspace: Workspace, wallet: str) -> None:
        self._workspace = workspace
        self.wallet = wallet
        self.cells = memoryview(mmap.mmap(-1, 8 * CELLS)).cast("q")
        self.windows: list[Window] = []
        self.start()

    def start(self) -> None:
        self.cells[FREEZE] = 0
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid:
            return
        try:
            _trade(self._workspace, self.wallet, self.cells, lambda: os.getppid() == parent)
        except Exception:  # noqa: BLE001  # the boundary of a process
            traceback.print_exc()
        finally:
            os._exit(1)

    def start_again(self) -> None:
        """After it was ended: wait for its end, and start its successor."""
        os.waitpid(self.pid, 0)
        self.start()

    def until_more(self, cell: int) -> None:
        """Until this counter has moved from where it is now."""
        before = self.cells[cell]
        deadline = time.monotonic() + PATIENCE_S
        while self.cells[cell] == before:
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                self.pid = 0
                raise RuntimeError(f"the sender of {self.wallet} ended, see stderr")
            if time.monotonic() > deadline:
                raise RuntimeError(f"the sender of {self.wallet} stands still")
            time.sleep(POLL_S)

    def freeze(self, where: int) -> None:
        self.cells[FREEZE] = where
        deadline = time.monotonic() + PATIENCE_S
        while not os.waitpid(self.pid, os.WUNTRACED | os.WNOHANG)[0]:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the sender of {self.wallet} never came to where it was to freeze")
            time.sleep(POLL_S)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def end(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def run(seed: int = 1, size: int = FULL_SIZE) -> Figures:
    """`size` races. The seed draws whom a race means and when it latches; the rest of the chance is the scheduler's."""
    figures = Figures("kill_latch", seed)
    figures.counts |= {"races": 0, "frozen in the ledger": 0, "frozen at the venue": 0, "ended": 0, "slowest latch ms": 0}
    chance = random.Random(seed)
    with scratch() as folder:
        workspace = _workspace(Path(folder))
        senders = [Sender(workspace, wallet) for wallet in WALLETS]
        try:
            for number in range(1, size + 1):
                race(workspace.kill_dir, senders, FREEZES.get(number % 40, 0), chance, figures)
        finally:
            for sender in senders:
                sender.end()
        for sender in senders:
            _judge(workspace, sender, figures)
    return figures


def _workspace(root: Path) -> Workspace:
    workspace = Workspace(root)
    with closing(create_ledger(workspace.ledger_file)) as ledger:
        for wallet in WALLETS:
            request = WalletRequest(wallet, cash="100000", limits=("max_daily_trades=off",))
            create_wallet(workspace, _config(workspace), ledger, SimulatedClock(NOON), request)
    return workspace


def _config(workspace: Workspace) -> Config:
    return load_config(workspace.config_file, {}, FREE)


# --- one race -----------------------------------------------------------------------------------------------------------------


def race(folder: Path, senders: Sequence[Sender], freeze: int, chance: random.Random, figures: Figures) -> None:
    """Latch while somebody sends, and clear once everybody who was meant is through."""
    meant = list(senders) if chance.random() < 0.5 else [chance.choice(senders)]
    target = meant[0].wallet if len(meant) == 1 else None
    victim = chance.choice(meant)
    if freeze:
        victim.freeze(freeze)
        figures.count("frozen in the ledger" if freeze == LEDGER else "frozen at the venue")
    else:
        victim.until_more(JUDGED)
        time.sleep(chance.random() * DELAY_S)
    begin = time.monotonic_ns()
    latch.set_latch(folder, target)
    ended = latch.drain(folder, target)
    reported = time.monotonic_ns()
    if freeze == VENUE and victim.pid not in ended:
        figures.violations.append(f"race {figures.counts['races']}: a process frozen while it sends was let live")
    if freeze and victim.pid not in ended:
        victim.thaw()
    for sender in meant:
        if sender.pid in ended:
            sender.start_again()
    for sender in meant:
        sender.until_more(DONE)
    end = time.monotonic_ns()
    latch.clear_latch(folder, target)
    for sender in meant:
        sender.windows.append(Window(begin, reported, end))
    figures.count("races")
    figures.count("ended", len(ended))
    if not ended:
        figures.counts["slowest latch ms"] = max(figures.counts["slowest latch ms"], (reported - begin) // 1_000_000)


# --- a sender, in its process -------------------------------------------------------------------------------------------------


def _trade(workspace: Workspace, wallet: str, cells: memoryview, is_wanted: Callable[[], bool]) -> None:
    """Enter and leave, round after round; what is refused is tried again in the next."""
    clock = SimulatedClock(NOON)
    with closing(open_ledger(workspace.ledger_file)) as ledger:
        with ledger.reading() as tx:
            row = wallets.get(tx, wallet)
        with owned_door(workspace, _config(workspace), ledger, clock, row) as door:
            _watch(door, cells)
            bars = [Bar("BTC", NOON + number * STEP, STEP, PRICE, PRICE, PRICE, PRICE, 10**9) for number in (-1, 0)]
            Playback(door.engine, door.paper, HandMadeFeed({"BTC": bars}), clock.advance_to).start(NOON, "replay")
            while is_wanted():
                door.engine.submit_now(ENTRY, Actor.MANUAL)
                door.engine.submit_now(EXIT, Actor.MANUAL)
                cells[DONE] += 1


def _watch(door: Door, cells: memoryview) -> None:
    """Count the entries that pass the rules, stamp what the venue writes down, and freeze on an entry where that is asked for."""
    begin, is_entering = Intents.begin, False

    def begun(self: Intents, tx: Connection, intent_id: str, made: Plan, *more: Any) -> None:
        nonlocal is_entering
        begin(self, tx, intent_id, made, *more)
        is_entering = made.is_entry
        cells[JUDGED] += is_entering
        freeze(LEDGER)

    def stamp() -> int:
        freeze(VENUE)
        return time.monotonic_ns()

    def freeze(here: int) -> None:
        if is_entering and cells[FREEZE] == here:
            cells[FREEZE] = 0
            os.kill(os.getpid(), signal.SIGSTOP)

    Intents.begin = begun  # type: ignore[method-assign]
    venue = door.paper._store._db
    venue.create_function("monotonic_ns", 0, stamp)
    venue.execute("CREATE TABLE IF NOT EXISTS stamps (seq INTEGER PRIMARY KEY, ns INTEGER NOT NULL)")
    venue.execute(
        "CREATE TEMP TRIGGER stamped AFTER INSERT ON main.activity BEGIN INSERT INTO stamps VALUES (new.seq, monotonic_ns()); END"
    )


# --- the judgement ------------------------------------------------------------------------------------------------------------


def _judge(workspace: Workspace, sender: Sender, figures: Figures) -> None:
    """What the account and the ledger of a wallet have, against its windows; nobody sells short, so every buy is an entry."""
    fills = "SELECT ns FROM activity JOIN stamps USING (seq) WHERE kind = 'Fill' AND json_extract(data, '$.side') = ? ORDER BY ns"
    with closing(sqlite3.connect(workspace.paper_file(sender.wallet))) as venue:
        entries, exits = ([ns for (ns,) in venue.execute(fills, (side,))] for side in ("buy", "sell"))
    with closing(sqlite3.connect(workspace.ledger_file)) as ledger:
        query = "SELECT count(*) FROM intents WHERE wallet = ? AND kind = 'open' AND state = 'cancelled'"
        (stopped,) = ledger.execute(query, (sender.wallet,)).fetchone()
    figures.count("entries", len(entries))
    figures.count("exits", len(exits))
    figures.count("refused at the gate", stopped)
    for window in sender.windows:
        figures.count("entries shortly before", _between(entries, window.begin - SHORTLY_NS, window.begin))
        figures.count("entries awaited", _between(entries, window.begin, window.reported))
        figures.count("exits after", _between(exits, window.reported, window.end))
        late = _between(entries, window.reported, window.end)
        figures.count("entries after", late)
        if late:
            figures.violations.append(f"{late} entries of {sender.wallet} reached the venue after a latch was reported")


def _between(instants: Sequence[int], begin: int, end: int) -> int:
    return bisect_left(instants, end) - bisect_left(instants, begin)
