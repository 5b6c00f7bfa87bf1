"""What the tests of commands share: an empty workspace, and a command typed in it in this process."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tradeagent.cli import entry
from tradeagent.runtime.workspace import init_workspace


@pytest.fixture
def root(tmp_path: Path) -> Path:
    init_workspace(tmp_path / "ws")
    return tmp_path / "ws"


@pytest.fixture
def ask(root: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Any]]:
    """Exit code and JSON document of a command line."""

    def typed(*arguments: str) -> tuple[int, Any]:
        code = entry.run(["--workspace", str(root), *arguments, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return typed
