"""The product as its users meet it: the command line in a process of its own, or, where that is all that matters, in this one."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from tradeagent.cli import entry
from tradeagent.cli.session import session

BTC = "hyperliquid:BTC:5m"
FINE = {"OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Answer:
    """What a command line came to."""

    code: int
    out: str
    err: str
    seconds: float = 0.0

    @property
    def document(self) -> Any:
        """The one JSON document on stdout; the test fails when there is anything else."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error of a refused command, in its one shape."""
        document = self.document
        assert set(document) == {"error"}, document
        assert set(document["error"]) == {"code", "message", "hint", "details"}
        return dict(document["error"])


@dataclass(frozen=True)
class Product:
    """One workspace and the ways to type at it."""

    root: Path
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def agents(self) -> Path:
        return self.root / "trading_agents"

    @property
    def ledger_file(self) -> Path:
        return self.root / "state" / "ledger.sqlite"

    def paper_file(self, wallet: str) -> Path:
        return self.root / "state" / "paper" / f"{wallet}.sqlite"

    def session_folder(self, slug: str, number: int = 1) -> Path:
        return self.agents / slug / "sessions" / f"session_{number}"

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tradeagent", "--workspace", str(self.root), *arguments]

    def run(self, *arguments: str, timeout: float = 120, **options: Any) -> Answer:
        """In a process of its own, without a terminal and with stdin at its end."""
        begin = time.monotonic()
        options = {"env": self.environment(), "stdin": subprocess.DEVNULL, **options}
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=timeout, check=False, **options)
        return Answer(done.returncode, done.stdout, done.stderr, time.monotonic() - begin)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """In the background."""
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def environment(self) -> dict[str, str]:
        return {**{key: value for key, value in os.environ.items() if not key.startswith("TRADEAGENT_")}, **FINE, **self.env}

    def here(self, *arguments: str) -> Answer:
        """In this process: the same code from argv to exit code, without the half second of starting Python."""
        out, err, begin = io.StringIO(), io.StringIO(), time.monotonic()
        with (
            mock.patch.dict(os.environ, self.environment(), clear=True),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = entry.run(["--workspace", str(self.root), *arguments])
        if "ledger" in vars(session()):
            session().ledger.close()
        return Answer(code, out.getvalue(), err.getvalue(), time.monotonic() - begin)

    def ask(self, *arguments: str) -> Any:
        """The JSON answer of a command that must succeed."""
        answer = self.here(*arguments, "--json")
        assert answer.code == 0, answer
        return answer.document

    def rewrite(self, slug: str, *changes: tuple[str, str]) -> None:
        """Edit an agent.md as a person would: replace text that is there."""
        path = self.agents / slug / "agent.md"
        text = path.read_text()
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new, 1)
        path.write_text(text)


def copied(template: Path, target: Path) -> Product:
    """A fresh workspace like the template; the stored bars are only read, so they are shared by hard links."""
    shutil.copytree(template, target, copy_function=_linked)
    return Product(target)


def _linked(source: str, target: str) -> None:
    if "/data/" in source and source.endswith(".parquet"):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


@contextlib.contextmanager
def running(product: Product, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A run in the background, live when the block begins; ended when it ends."""
    process = product.start("run", *arguments, "--json")
    try:
        wait_until(lambda: process.poll() is not None or any(row["state"] == "running" for row in rows_of(product)))
        assert process.poll() is None, process.communicate()
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=30)


def rows_of(product: Product) -> list[dict[str, Any]]:
    """The deployments of `status`."""
    return list(product.ask("status")["deployments"])


def wait_until(fact: Any, seconds: float = 30.0) -> None:
    """Wait for something to become true; the test fails when it does not."""
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
