"""A process that stops dead at the worst moment: `python frozen.py WORKSPACE WALLET WHERE`, WHERE = ledger or venue."""

import os
import signal
import sqlite3
import sys
from pathlib import Path

from tradeagent.ledger.store import open_ledger
from tradeagent.workspace.latch import Gate
from tradeagent.workspace.paths import Workspace


def freeze() -> None:
    print("frozen", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)


def main(root: str, wallet: str, where: str) -> None:
    workspace = Workspace(Path(root))
    if where == "ledger":
        with open_ledger(workspace.ledger_file).transaction() as tx:
            tx.exec_driver_sql("UPDATE wallets SET kind = kind")
            freeze()
        return
    venue = sqlite3.connect(workspace.paper_file(wallet), isolation_level=None)
    with Gate(workspace.kill_dir, wallet).sending(reduces=False):
        venue.execute("BEGIN IMMEDIATE")
        freeze()


if __name__ == "__main__":
    main(*sys.argv[1:])
