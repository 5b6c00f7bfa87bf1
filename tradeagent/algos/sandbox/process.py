"""The parent's side of a sandboxed process: starts it, sends requests, and believes nothing it answers without looking."""

import json
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

from tradeagent.domain.errors import RefusedError

GATE = "gate_failed"
_HEAD = struct.Struct("<cQ")
_LONGEST_TEXT = 16_384
_START_S = 30
_PARTING_S = 2
_LIFETIME_CPU_S = 36_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may take. Wall seconds bound a run that waits instead of computing; memory is address space, with the interpreter's."""

    cpu_s: int = 10
    wall_s: int = 60
    memory_mb: int = 1_024


class Process:
    """One child that runs `program`. Any failure ends it; `stop` always does. `what` is what errors call the code."""

    def __init__(self, limits: Limits, program: str = "child.py", what: str = "the algorithm"):
        """RefusedError `sandbox_crashed` when it does not come up."""
        import numpy as np

        self._limits = limits
        self._what = what
        self.is_killed = False
        self._cwd = tempfile.TemporaryDirectory(prefix="tradeagent-sandbox-")
        packages = str(Path(np.__file__).parent.parent)
        command = [sys.executable, "-I", "-S", "-B", str(Path(__file__).with_name(program))]
        self._child = subprocess.Popen(
            [*command, str(limits.memory_mb), str(_LIFETIME_CPU_S), packages],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd=self._cwd.name,
            env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"},
            close_fds=True,
            start_new_session=True,
        )
        os.set_blocking(cast(BinaryIO, self._child.stdin).fileno(), False)
        try:
            _, body = self._read(_LONGEST_TEXT, time.monotonic() + _START_S)
            self.missing: Sequence[str] = tuple(map(str, json.loads(body)["missing"]))
        except BaseException:
            self.stop()
            raise

    def send(self, letter: bytes, *parts: bytes | memoryview) -> None:
        """RefusedError `sandbox_crashed` or `sandbox_time` when nobody reads any more."""
        until = time.monotonic() + self._limits.wall_s
        pipe = cast(BinaryIO, self._child.stdin)
        try:
            for part in (_HEAD.pack(letter, sum(len(part) for part in parts)), *parts):
                view = memoryview(part)
                while view:
                    self._wait(pipe, select.POLLOUT, until)
                    view = view[pipe.write(view) or 0 :]
        except BrokenPipeError:
            self._ended()

    def answer(self, most: int) -> tuple[bytes, bytes]:
        """Letter and body of the next answer, not longer than `most` bytes. RefusedError when it takes too long, ends or makes no sense."""
        self._allow_cpu()
        return self._read(most, time.monotonic() + self._limits.wall_s)

    def kill(self) -> None:
        """End the child from another thread; whoever waits for its answer gets the error, and stops it."""
        self.is_killed = True
        self._child.kill()

    def stop(self) -> None:
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()
        self._cwd.cleanup()

    def _allow_cpu(self) -> None:
        """Move the limit of the child's CPU to what it has used and one run more. Where that cannot be done the wall clock bounds it."""
        try:
            import resource

            stat = Path(f"/proc/{self._child.pid}/stat").read_text().rpartition(")")[2].split()
            used = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
            resource.prlimit(self._child.pid, resource.RLIMIT_CPU, (int(used) + self._limits.cpu_s + 1, _LIFETIME_CPU_S))
        except (ImportError, AttributeError, OSError):
            return

    def _read(self, most: int, until: float) -> tuple[bytes, bytes]:
        letter, length = _HEAD.unpack(self._exactly(_HEAD.size, until))
        if length > most:
            self._garbled()
        return letter, self._exactly(length, until)

    def _exactly(self, count: int, until: float) -> bytes:
        pipe = cast(BinaryIO, self._child.stdout)
        got = bytearray()
        while len(got) < count:
            self._wait(pipe, select.POLLIN, until)
            part = os.read(pipe.fileno(), count - len(got))
            if not part:
                self._ended()
            got += part
        return bytes(got)

    def _wait(self, pipe: BinaryIO, event: int, until: float) -> None:
        poll = select.poll()
        poll.register(pipe, event)
        if poll.poll(max(0.0, until - time.monotonic()) * 1000):
            return
        self.stop()
        raise RefusedError(
            f"{self._what} gave no answer within {self._limits.wall_s} s",
            hint="the time is fixed: compute with whole arrays instead of loops, wait for nothing, or run it on fewer bars",
            details={"reason": "sandbox_time"},
            code=GATE,
        )

    def _ended(self) -> NoReturn:
        try:
            code = self._child.wait(_PARTING_S)
        except subprocess.TimeoutExpired:
            self._garbled()
        self.stop()
        if code == -signal.SIGXCPU:
            raise RefusedError(
                f"{self._what} took more than {self._limits.cpu_s} s of CPU",
                hint="the time is fixed: compute with whole arrays instead of loops, or run it on fewer bars",
                details={"reason": "sandbox_time"},
                code=GATE,
            )
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"left with {code}"
        raise RefusedError(
            f"{self._what}'s process {how} before it answered",
            hint="run it on fewer bars",
            details={"reason": "sandbox_crashed"},
            code=GATE,
        )

    def _garbled(self) -> NoReturn:
        self.stop()
        raise RefusedError(f"{self._what}'s process wrote something that is no answer", details={"reason": "sandbox_crashed"}, code=GATE)
