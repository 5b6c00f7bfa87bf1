"""File locks between processes: waiting is bounded and a timeout names the lock. Trading is guarded by leases, not by these."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tradeagent.domain.errors import BusyError
from tradeagent.workspace.files import disk_error


@contextmanager
def file_lock(path: Path, timeout_s: float = 10.0) -> Iterator[None]:
    """Hold the lock file `path` exclusively; the system releases it when the process dies.

    Raises BusyError after `timeout_s` seconds, and the disk errors of `files` when the lock file cannot be made.
    """
    from filelock import FileLock, Timeout

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        lock.acquire(timeout=timeout_s)
    except Timeout:
        raise BusyError(
            f"{path.name} is held by another process for over {timeout_s:g} s",
            hint="wait for the other tradeagent command to end, or see `tradeagent doctor`",
            details={"lock": str(path)},
        ) from None
    except OSError as error:
        raise disk_error(path, error) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def fair_lock(path: Path, timeout_s: float = 10.0) -> Iterator[None]:
    """As `file_lock`, in turn: whoever holds the second lock beside it is next, so one who comes back at once overtakes nobody."""
    with ExitStack() as held:
        with file_lock(path.with_name(f"{path.name}.next"), timeout_s):
            held.enter_context(file_lock(path, timeout_s))
        yield
