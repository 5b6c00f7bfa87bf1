"""One workspace with real bars and accounts for all conversations, and a fresh copy for each test that talks."""

import gc
import shutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path += [str(Path(__file__).resolve().parents[1] / room) for room in ("llm", "tools", "e2e")]

from chat_stage import MODEL_KEY, WALLET_KEY, ChatStage, opened
from desk_stage import make

from tradeagent.llm.gateway import load_litellm


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


@pytest.fixture(scope="module")
def litellm() -> Iterator[None]:
    """LiteLLM imported once, its import-time deprecations silenced."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_litellm()
        yield
        gc.collect()  # what it dropped goes while that is not an error


@pytest.fixture
def provider(litellm: None, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("OPENAI_API_KEY", MODEL_KEY)
    monkeypatch.setenv("HYPERLIQUID_PRIVATE_KEY", WALLET_KEY)
    return monkeypatch
