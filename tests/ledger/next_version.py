"""A made-up next version of the ledger, so that upgrading real rows is tested before there is a second real version."""

import shutil
from pathlib import Path

import pytest

from tradeagent.ledger import migrate, store, wallets
from tradeagent.ledger.store import Ledger, create_ledger
from tradeagent.ledger.version import SCHEMA_VERSION
from tradeagent.ledger.wallets import WalletRow

NEXT = SCHEMA_VERSION + 1
SCRIPT = """\
from alembic import op
import sqlalchemy as sa

revision = "{revision}"
down_revision = "{previous}"


def upgrade():
    op.add_column("wallets", sa.Column("colour", sa.Text(), nullable=False, server_default="blue"))
    op.create_index("wallets_by_colour", "wallets", ["colour"])
    {last}
"""


def install(patch: pytest.MonkeyPatch, folder: Path, last: str = "pass") -> None:
    """Let the program believe that NEXT is its version; `last` is the last statement of its migration."""
    shutil.copytree(migrate.MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    script = SCRIPT.format(revision=migrate.revision_of(NEXT), previous=migrate.revision_of(SCHEMA_VERSION), last=last)
    (folder / "versions" / "next.py").write_text(script)
    patch.setattr(migrate, "MIGRATIONS", folder)
    patch.setattr(migrate, "SCHEMA_VERSION", NEXT)
    patch.setattr(store, "SCHEMA_VERSION", NEXT)


def old_ledger(file: Path) -> Ledger:
    """A ledger of today's version with 20 wallets."""
    ledger = create_ledger(file)
    with ledger.transaction() as tx:
        for number in range(20):
            wallets.create(tx, WalletRow(f"w{number}", "paper", "paper", "agent", {"max_leverage": "2"}, number))
        tx.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")
    return ledger
