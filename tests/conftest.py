"""Fixtures every test may use. Real bars are read from the shared folder when it is there."""

import os
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real Hyperliquid bars and funding; the test is skipped where it is absent."""
    root = Path(os.environ.get("TRADEAGENT_SHARED", REPO.parent / "shared")) / "data"
    if not root.is_dir():
        pytest.skip(f"no shared market data at {root}; set TRADEAGENT_SHARED")
    return root
