"""Worlds are closed after each test, so that no connection is left open."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from world import World


@pytest.fixture
def new_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Make a world from keyword settings; see `World`."""
    made: list[World] = []

    def make(**settings: Any) -> World:
        made.append(World(tmp_path / str(len(made)), **settings))
        return made[-1]

    yield make
    for world in made:
        world.done()
