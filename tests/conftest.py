"""Fixtures every test may use. Real bars are read from the shared folder when it is there."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: a fifth of the suite's time is spent waiting for processes, locks and clocks."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real Hyperliquid bars and funding; the test is skipped where it is absent."""
    root = Path(os.environ.get("TRADEAGENT_SHARED", REPO.parent / "shared")) / "data"
    if not root.is_dir():
        pytest.skip(f"no shared market data at {root}; set TRADEAGENT_SHARED")
    return root


@pytest.fixture
def on_a_terminal() -> Iterator[None]:
    """Ctrl-C is heard. Tests that run in the background of a script were told to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
