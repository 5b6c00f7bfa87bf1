"""Every broker of `stage.STAGES` goes through every case."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from stage import STAGES, Stage, agrees

from tradeagent.brokers.protocol import SimulatedBroker


@pytest.fixture(params=STAGES.values(), ids=STAGES.keys())
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """A funded account; after the case it must still be what its record says."""
    made: Stage = request.param(tmp_path)
    yield made
    agrees(made.broker)
    made.close()


@pytest.fixture
def broker(stage: Stage) -> SimulatedBroker:
    return stage.broker
