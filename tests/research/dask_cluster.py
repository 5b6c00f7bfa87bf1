"""A real Dask scheduler and real workers, each in a process of its own on this machine."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


def environment() -> Mapping[str, str]:
    """This process's, with the modules of these tests."""
    known = [str(Path(__file__).parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, known))}


@contextmanager
def scheduler(folder: Path) -> Iterator[str]:
    """Its address."""
    file = folder / "scheduler.json"
    where = ["--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file)]
    with _program("dask_scheduler", *where, "--no-dashboard", "--no-jupyter"):
        yield str(json.loads(awaited(lambda: file.read_text() if file.exists() else ""))["address"])


@contextmanager
def dask_worker(address: str, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Named as its folder."""
    folder.mkdir()
    settings = ["--name", folder.name, "--nthreads", "2", "--no-nanny", "--no-dashboard", "--local-directory", str(folder)]
    with _program("dask_worker", address, *settings) as process:
        yield process


@contextmanager
def _program(name: str, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, "-m", f"distributed.cli.{name}", *arguments], env=environment(), stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def awaited(look: Callable[[], object], within_s: float = 30.0) -> str:
    """The first thing seen that is not empty."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if found := look():
            return str(found)
        time.sleep(0.05)
    raise AssertionError("nothing happened in time")
