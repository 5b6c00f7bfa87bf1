"""A fresh ledger with a transaction open on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from tradeagent.ledger.store import create_ledger


@pytest.fixture
def tx(tmp_path: Path) -> Iterator[Connection]:
    ledger = create_ledger(tmp_path / "ledger.db")
    with ledger.transaction(durable=False) as opened:
        yield opened
    ledger.close()
