"""Running jobs: one worker a workspace takes them in order, each as a command of this product in a process group of its own.

A worker that dies leaves its job running in the ledger without a process behind it; the next worker runs it again. `optimize` and
`cv` then go on with the study they had begun, the others begin anew.
"""

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tradeagent.domain.clock import Clock
from tradeagent.domain.errors import BusyError, Defect, InvalidInput
from tradeagent.domain.names import JobState
from tradeagent.ledger import jobs
from tradeagent.ledger.jobs import JobRow
from tradeagent.ledger.store import Ledger
from tradeagent.runtime.place import Place
from tradeagent.workspace.claims import boot_id
from tradeagent.workspace.locks import file_lock
from tradeagent.workspace.paths import Workspace

COMMANDS = {
    "optimize": ("optimize", "run"),
    "cv": ("cv", "run"),
    "backtest": ("backtest", "run"),
    "fetch": ("data", "fetch"),
    "routine": ("routine", "run"),
}
LOCK = "jobs.lock"
LOOK_EVERY_S, TELL_EVERY_S, GRACE_S = 0.1, 0.5, 10.0
LOOK_FOR_JOBS_S = 0.25
_TAIL = 400


def start_waiting(place: Place) -> bool:
    """Start a detached worker when a job waits and nobody works; whether it did. Cheap enough to ask every second."""
    with place.ledger.reading() as tx:
        if not jobs.waiting(tx):
            return False
    if _is_worked_on(place.workspace):
        return False
    place.workspace.logs_dir.mkdir(parents=True, exist_ok=True)
    with (place.workspace.logs_dir / "jobs.log").open("ab") as log:
        worker = subprocess.Popen(
            _command(place.workspace, ["jobs", "work"]), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    threading.Thread(target=worker.wait, daemon=True).start()  # it outlives a short command, and a long one buries it
    return True


@asynccontextmanager
async def at_work(place: Place) -> AsyncIterator[None]:
    """While this is open, and once more at its end, jobs that are queued find a worker."""
    working = asyncio.create_task(_keep_working(place))
    try:
        yield
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await asyncio.to_thread(start_waiting, place)


async def _keep_working(place: Place) -> None:
    while True:
        await asyncio.to_thread(start_waiting, place)
        await asyncio.sleep(LOOK_FOR_JOBS_S)


def work(place: Place) -> int:
    """Run what waits until nothing does; how many jobs were run. Nothing happens while another worker is at it."""
    done = 0
    with place.ledger.reading() as tx:
        is_asked = jobs.waiting(tx)
    while is_asked:
        try:
            with file_lock(place.workspace.locks_dir / LOCK, 0):
                done += _work_off(place)
        except BusyError:
            return done
        with place.ledger.reading() as tx:  # one that was queued while the lock was still held has nobody else
            is_asked = jobs.next_queued(tx) is not None
    return done


def cancel(place: Place, reference: str) -> JobRow:
    """End a job: its process is interrupted as by Ctrl-C and keeps what is done. RefusedError when it has ended."""
    with place.ledger.transaction() as tx:
        row = jobs.get(tx, reference)
        jobs.cancel(tx, row, place.clock.now_ms())
        row = jobs.get(tx, row.id)
    if not _is_worked_on(place.workspace):
        _end_orphan(row, signal.SIGINT)
    return row


def _work_off(place: Place) -> int:
    _take_over(place)
    done = 0
    while True:
        with place.ledger.reading() as tx:
            row = jobs.next_queued(tx)
        if row is None:
            return done
        _run(place, row)
        done += 1


def _take_over(place: Place) -> None:
    """Jobs of a worker that is gone wait again; a process it left behind is ended first, so that none runs twice."""
    with place.ledger.reading() as tx:
        orphans = jobs.running(tx)
    for row in orphans:
        _end_orphan(row, signal.SIGKILL)
        with place.ledger.transaction() as tx:
            jobs.requeue(tx, row, place.clock.now_ms())


def _end_orphan(row: JobRow, number: signal.Signals) -> None:
    """End the process of a job that nobody watches; a killed one is gone on return. Its number may belong to somebody else by now."""
    if row.pid is None or row.boot_id != boot_id() or not _is_ours(row.pid, row.id):
        return
    try:
        process = os.pidfd_open(row.pid)
    except ProcessLookupError:
        return
    try:
        _interrupt(row.pid, number)
        if number is signal.SIGKILL:
            select.select([process], [], [], GRACE_S)
    finally:
        os.close(process)


def _is_worked_on(workspace: Workspace) -> bool:
    try:
        with file_lock(workspace.locks_dir / LOCK, 0):
            return False
    except BusyError:
        return True


def _run(place: Place, row: JobRow) -> None:
    """One job from its process to its row."""
    argv = row.argv
    known = COMMANDS.get(row.kind)
    if known is None or tuple(argv[:2]) != known:
        _refuse(place, row, InvalidInput(f"job {row.id}: {' '.join(argv[:2])!r} is no {row.kind}", hint=f"one of {', '.join(COMMANDS)}"))
        return
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output, tempfile.TemporaryDirectory() as folder:
        errors = Path(folder) / "stderr"
        with errors.open("w", encoding="utf-8") as written:
            process = subprocess.Popen(
                _command(place.workspace, [*argv, "--json", "--verbose"]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=written,
                start_new_session=True,
                env={**os.environ, _MARK: row.id},
            )
        with place.ledger.transaction() as tx:
            is_wanted = jobs.start(tx, row, process.pid, boot_id(), place.clock.now_ms())
        if is_wanted:
            _watch(place.ledger, place.clock, row, process, errors)
        else:
            _end(process)
        output.seek(0)
        text = output.read()
        result = _document(text) or _no_document(process.returncode, errors)
        progress = _progress(errors)
    state = JobState.DONE if process.returncode == 0 else JobState.FAILED
    with place.ledger.transaction() as tx:
        if progress is not None:
            jobs.tell(tx, row.id, progress)
        jobs.finish(tx, row, state, result, place.clock.now_ms())


def _watch(ledger: Ledger, clock: Clock, row: JobRow, process: "subprocess.Popen[bytes]", errors: Path) -> None:
    """Follow a process to its end; tell how far it is, and stop it when its job is cancelled."""
    told: dict[str, Any] | None = None
    since, seen = clock.monotonic(), -1
    while True:
        try:
            process.wait(LOOK_EVERY_S)
            return
        except subprocess.TimeoutExpired:
            pass
        version = ledger.data_version()
        if version != seen:
            seen = version
            with ledger.reading() as tx:
                if not jobs.get(tx, row.id).is_open:
                    _end(process)
                    return
        progress = _progress(errors)
        if progress is not None and progress != told and clock.monotonic() - since >= TELL_EVERY_S:
            with ledger.transaction(durable=False) as tx:
                jobs.tell(tx, row.id, progress)
            told, since = progress, clock.monotonic()


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Interrupt a process group as Ctrl-C would, and kill it when it does not end."""
    _interrupt(process.pid, signal.SIGINT)
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        _interrupt(process.pid, signal.SIGKILL)
        process.wait()


def _interrupt(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return  # it has ended by itself


def _is_ours(pid: int, job: str) -> bool:
    """Whether that process was started for this job."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"{_MARK}={job}".encode() in environment.split(b"\0")


def _refuse(place: Place, row: JobRow, error: InvalidInput) -> None:
    with place.ledger.transaction() as tx:
        if jobs.start(tx, row, os.getpid(), boot_id(), place.clock.now_ms()):
            jobs.finish(tx, row, JobState.FAILED, {"error": error.as_dict()}, place.clock.now_ms())


def _command(workspace: Workspace, argv: list[str]) -> list[str]:
    return [sys.executable, "-m", "tradeagent", "--workspace", str(workspace.root), *argv]


def _document(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _no_document(code: int, errors: Path) -> dict[str, Any]:
    last = errors.read_text(encoding="utf-8", errors="replace")[-_TAIL:].strip()
    return {"error": Defect(f"the command ended with {code} and without a document: {last}").as_dict()}


def _progress(errors: Path) -> dict[str, Any] | None:
    """The last line of progress that the command has written."""
    with errors.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
        lines = file.read().decode("utf-8", errors="replace").splitlines()
    found = (_document(line) for line in reversed(lines))
    return next((line["progress"] for line in found if line is not None and isinstance(line.get("progress"), dict)), None)


_MARK = "TRADEAGENT_JOB"
