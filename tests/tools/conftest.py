"""One workspace with real bars for all tests of tools that only add to it, and a fresh copy for those that change what others read."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path += [str(Path(__file__).resolve().parents[1] / room) for room in ("llm", "e2e")]

from desk_stage import Stage, make, opened


@pytest.fixture(scope="session")
def made(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("desk") / "ws"
    make(root, shared_data)
    return root


@pytest.fixture
def stage(made: Path, tmp_path: Path) -> Iterator[Stage]:
    """A copy of the workspace."""
    shutil.copytree(made, tmp_path / "ws")
    stage = opened(tmp_path / "ws")
    yield stage
    stage.ledger.close()


@pytest.fixture(scope="module")
def shared(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A copy for a whole module."""
    root = tmp_path_factory.mktemp("shared") / "ws"
    shutil.copytree(made, root)
    stage = opened(root)
    yield stage
    stage.ledger.close()
