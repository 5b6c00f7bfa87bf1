"""The kill latch: files that stop every new order of a wallet, or of all wallets, whatever ledger, runner and model are doing.

Protocol (execution.md §6). A sender locks a file of its own, then looks for the latch, then touches the venue, then unlocks. Kill sets the
latch, then tries every sender's lock: whoever still holds one after half a second is ended, which is safe, because starting is recovering.
A lock taken before that look is seen by kill; one taken after it sees the latch. So nothing new is sent once `drain` has returned.

Setting the latch renames a file that is there already, which also works on a full disk.
"""

import fcntl
import itertools
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tradeagent.domain.errors import RefusedError
from tradeagent.domain.names import KillPolicy, Rule
from tradeagent.workspace.files import sync_directory, write_atomic

EVERYTHING = "everything"
RESERVE, RESERVE_BYTES = "reserve", 2 * 2**20
GRACE_S = 0.5
END_S = 5.0
POLL_S = 0.005
_serial = itertools.count()


class Latched(RefusedError):
    """The latch is set: nothing was sent."""


class Gate:
    """What one process keeps to touch the venue of one wallet. Not for two threads at once: a wallet has one admission point."""

    def __init__(self, folder: Path, wallet: str) -> None:
        self._latch = _latch(folder, wallet)
        self._all = _latch(folder, None)
        self._file = folder / f"{_stem(wallet)}.{os.getpid()}-{next(_serial)}.sender"
        self._descriptor = -1
        self._depth = 0
        self._of = folder, wallet

    @property
    def policy(self) -> KillPolicy:
        """What a kill does with the positions here."""
        return policy_of(*self._of)

    def latched(self) -> Rule | None:
        """KILL_SWITCH for all wallets, HALTED for this one, None while orders may pass."""
        if os.path.exists(self._all):  # noqa: PTH110  # asked before every order and twenty times a second
            return Rule.KILL_SWITCH
        return Rule.HALTED if os.path.exists(self._latch) else None  # noqa: PTH110

    def make_room(self) -> bool:
        """Before a flatten: see `make_room`."""
        return make_room(self._of[0])

    def clear(self) -> None:
        """Undo the latch of this wallet alone."""
        clear_latch(*self._of)

    @contextmanager
    def touching(self) -> Iterator[None]:
        """Hold this while the venue is written to, so that kill never meets a half-done call."""
        if self._depth == 0:
            self._lock()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    @contextmanager
    def sending(self, *, reduces: bool) -> Iterator[None]:
        """Hold this around sending an order. Raises Latched when the latch is set and the order does not only reduce risk."""
        with self.touching():
            rule = None if reduces else self.latched()
            if rule is not None:
                raise Latched("the kill latch is on: nothing was sent", hint="`tradeagent kill --clear` undoes it", code=rule.value)
            yield

    def close(self) -> None:
        if self._descriptor >= 0:
            with suppress(FileNotFoundError):
                self._file.unlink()
            os.close(self._descriptor)
            self._descriptor = -1

    def _lock(self) -> None:
        """Whoever finds a lock file free may delete it, so look again whether the file that was locked is still there."""
        while True:
            if self._descriptor < 0:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            if os.fstat(self._descriptor).st_nlink:
                return
            os.close(self._descriptor)
            self._descriptor = -1


def arm(folder: Path, wallet: str, policy: KillPolicy | None = None) -> None:
    """Make what `set_latch` renames and `make_room` deletes, and note what kill does with this wallet (agents.md `on_kill_switch`).

    Without a policy the one that was noted stays. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _keep_reserve(folder / RESERVE)
    for latch in (_latch(folder, wallet), _latch(folder, None)):
        if not latch.exists():
            _armed(latch).touch()
    policy_file = folder / f"{_stem(wallet)}.policy"
    if policy is not None and policy_of(folder, wallet) != policy:
        write_atomic(policy_file, policy.value, durable=True)


def policy_of(folder: Path, wallet: str) -> KillPolicy:
    """What a kill does with the positions of a wallet: closes them, unless its run said otherwise."""
    try:
        return KillPolicy((folder / f"{_stem(wallet)}.policy").read_text())
    except (OSError, ValueError):
        return KillPolicy.FLATTEN_ALL


def make_room(folder: Path) -> bool:
    """On a disk that is as good as full, give up the space that was kept for getting out of the market; whether that was needed."""
    reserve = folder / RESERVE
    if not reserve.exists() or shutil.disk_usage(folder).free >= RESERVE_BYTES:
        return False
    reserve.unlink(missing_ok=True)
    return True


def _keep_reserve(reserve: Path) -> None:
    """Space that nobody else can take; where next to none is left, or it was just given up, there is nothing to keep."""
    if reserve.exists() or shutil.disk_usage(reserve.parent).free < 2 * RESERVE_BYTES:
        return
    descriptor = os.open(reserve, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
    except OSError:
        reserve.unlink()
    finally:
        os.close(descriptor)


def set_latch(folder: Path, wallet: str | None) -> bool:
    """Latch one wallet, or all with None, durably; False when it was latched already. Raises OSError."""
    latch = _latch(folder, wallet)
    if latch.exists():
        return False
    folder.mkdir(parents=True, exist_ok=True)
    armed = _armed(latch)
    armed.touch()
    armed.replace(latch)
    sync_directory(folder, durable=True)
    return True


def clear_latch(folder: Path, wallet: str | None) -> bool:
    """Undo `set_latch`; False when nothing was latched."""
    latch = _latch(folder, wallet)
    if not latch.exists():
        return False
    latch.replace(_armed(latch))
    sync_directory(folder, durable=True)
    return True


def is_latched(folder: Path, wallet: str | None) -> bool:
    """Whether this wallet alone, or with None all of them, is latched."""
    return _latch(folder, wallet).exists()


def drain(folder: Path, wallet: str | None) -> list[int]:
    """Wait until nobody touches the venue of a latched wallet (None: of any); the processes that had to be ended for it.

    Raises PermissionError when such a process belongs to another user, TimeoutError when it does not end.
    """
    deadline = time.monotonic() + GRACE_S
    ended = []
    for file in sorted(folder.glob(f"{_stem(wallet) if wallet else 'wallet-*'}.*.sender")):
        if _falls_free(file, deadline):
            continue
        process = int(file.name.split(".")[-2].partition("-")[0])
        os.kill(process, signal.SIGKILL)
        ended.append(process)
        if not _falls_free(file, time.monotonic() + END_S):
            raise TimeoutError(f"process {process} did not end within {END_S:g} s")
    return ended


def _falls_free(file: Path, deadline: float) -> bool:
    """Whether a sender's lock is, or becomes, free; the file of a sender that is gone is deleted."""
    try:
        descriptor = os.open(file, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(POLL_S)
            else:
                file.unlink(missing_ok=True)  # a living sender sees that it is gone and makes another
                return True
    finally:
        os.close(descriptor)


def _stem(wallet: str) -> str:
    return f"wallet-{wallet}"


def _latch(folder: Path, wallet: str | None) -> Path:
    return folder / f"{EVERYTHING if wallet is None else _stem(wallet)}.latch"


def _armed(latch: Path) -> Path:
    return latch.with_suffix(".armed")
