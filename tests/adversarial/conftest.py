"""Fixtures of the adversary: a template of an agent's workspace and one of the user's desk, and the way to what other rooms' tests have."""

import sys
from pathlib import Path

import pytest

sys.path += [str(Path(__file__).resolve().parents[1] / room) for room in ("e2e", "llm", "tools", "assistant")]

from workspaces import product, template  # noqa: F401


@pytest.fixture(scope="session")
def desk_template(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from desk_play import template as made

    return made(tmp_path_factory.mktemp("desk") / "ws", shared_data)
