"""A pytest plugin of the mutation campaign: it writes down which test runs which line, or plays only the tests it is told, fast ones first.

`REACH_OUT` names the folder that coverage data and durations go to; `REACH_ONLY` a file with one test id a line, in the order to play.
"""

import functools
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest


class Listener:
    """Says to coverage which test is running, and how much processor time each took."""

    def __init__(self, folder: Path, rooms: list[str]) -> None:
        self._folder = folder
        self._seconds: dict[str, float] = {}
        self._coverage = coverage.Coverage(data_file=str(folder / "lines"), include=rooms, config_file=False)
        self._coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._coverage.switch_context(item.nodeid)
        _forget()
        began = time.process_time()
        try:
            return (yield)
        finally:
            self._seconds[item.nodeid] = time.process_time() - began
            self._coverage.switch_context("")

    def pytest_sessionfinish(self) -> None:
        self._coverage.stop()
        self._coverage.save()
        (self._folder / "seconds.json").write_text(json.dumps(self._seconds), encoding="utf-8")


def _forget() -> None:
    """What the package has remembered since it was asked before: who asks again runs those lines too."""
    for name, module in list(sys.modules.items()):
        if name.startswith("tradeagent."):
            for value in list(vars(module).values()):
                if isinstance(value, functools._lru_cache_wrapper):
                    value.cache_clear()


class Chooser:
    """Keeps the tests of a list, in its order."""

    def __init__(self, wanted: list[str]) -> None:
        self._place = {name: place for place, name in enumerate(wanted)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((item for item in items if item.nodeid in self._place), key=lambda item: self._place[item.nodeid])


def pytest_configure(config: pytest.Config) -> None:
    if folder := os.environ.get("REACH_OUT"):
        config.pluginmanager.register(Listener(Path(folder), os.environ["REACH_ROOMS"].split(os.pathsep)), "listener")
    if listed := os.environ.get("REACH_ONLY"):
        config.pluginmanager.register(Chooser(Path(listed).read_text(encoding="utf-8").split("\n")), "chooser")
