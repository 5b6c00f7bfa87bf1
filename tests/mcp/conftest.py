"""A workspace with synthetic hours and one saved algo, and the front door to it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "cli"))

from study_workspace import copied, make_workspace

from tradeagent.domain.clock import SystemClock
from tradeagent.ledger.store import open_ledger
from tradeagent.runtime.assembly import Place
from tradeagent.workspace.config import load_config
from tradeagent.workspace.paths import Workspace


@pytest.fixture(scope="session")
def mcp_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("mcp") / "ws")


@pytest.fixture
def place(mcp_base: Path, tmp_path: Path) -> Iterator[Place]:
    workspace = Workspace(copied(mcp_base, tmp_path / "ws"))
    ledger = open_ledger(workspace.ledger_file)
    yield Place(workspace, load_config(workspace.config_file, {}), ledger, SystemClock())
    ledger.close()
