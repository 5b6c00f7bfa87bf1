"""One workspace with real bars and accounts for all conversations, and a fresh copy for each test that talks."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path += [str(Path(__file__).resolve().parents[1] / room) for room in ("llm", "tools")]

from chat_stage import ChatStage, opened
from desk_stage import make


@pytest.fixture(scope="session")
def prepared(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("chat") / "ws"
    make(root, shared_data)
    return root


@pytest.fixture
def chat(prepared: Path, tmp_path: Path) -> Iterator[ChatStage]:
    shutil.copytree(prepared, tmp_path / "ws")
    stage = opened(tmp_path / "ws")
    yield stage
    stage.place.ledger.close()


@pytest.fixture(scope="module")
def one_chat(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatStage]:
    """A copy for a whole module."""
    root = tmp_path_factory.mktemp("one") / "ws"
    shutil.copytree(prepared, root)
    stage = opened(root)
    yield stage
    stage.place.ledger.close()
