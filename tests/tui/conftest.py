"""A terminal that is the same everywhere, and a workspace in which an agent has really run."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
os.environ.pop("NO_COLOR", None)

from tradeagent.runtime.assembly import assembled
from tradeagent.runtime.demo import demo_place, demo_request
from tradeagent.runtime.runner import Runner
from tradeagent.workspace.paths import Workspace

TICKS = 45
KEPT_OF_THE_THREAD = 400


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's agent after 45 ticks on its synthetic market, through the real runner."""
    root = tmp_path_factory.mktemp("finished")
    place = demo_place(root, 7)
    with assembled(place, demo_request(TICKS, 7)) as run:
        asyncio.run(Runner(run).run())
    place.ledger.close()
    # The thread's last ticks are enough to look at, and a test's screen is slower with every block.
    thread = next(place.workspace.threads_dir.glob("*.md"))
    text = thread.read_text()
    thread.write_text(text[text.index("\n## tick", len(text) - KEPT_OF_THE_THREAD) :])
    return root


@pytest.fixture
def workspace(finished_run: Path, tmp_path: Path) -> Workspace:
    """A copy of the finished run's workspace."""
    root = tmp_path / "workspace"
    shutil.copytree(finished_run, root)
    return Workspace(root)
