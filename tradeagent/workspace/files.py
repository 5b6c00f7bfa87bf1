"""The one atomic writer: temporary file, fsync, rename, directory fsync, and compare-and-swap on what was read.

A rewrite never overwrites bytes that nobody read (agents.md §4, reliability.md R16): where the system can exchange two
names, the text that was displaced is checked again before it is thrown away. A symbolic link at the path is replaced, not followed.
"""

import errno
import hashlib
import itertools
import os
import re
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tradeagent.domain.errors import BusyError, DataError, TradeAgentError, UserError
from tradeagent.workspace.swap import exchange_names

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NO_ACCESS = frozenset({errno.EACCES, errno.EPERM})
QUIET_S = 0.02
QUIET_READS = 25
Identity = tuple[int, int, int]
_NO_IDENTITY = (0, 0, 0)
_HALF_PAIR = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_serial = itertools.count()


@dataclass(frozen=True, slots=True)
class Conflict:
    """Somebody else changed `path` since it was read; their text stays, ours is in `kept`."""

    path: Path
    kept: Path

    def __str__(self) -> str:
        return f"{self.path} was edited meanwhile: the edit stays, the other text is kept in {self.kept.name}"


def content_hash(text: str | bytes) -> str:
    """SHA-256 of the bytes as stored (UTF-8), hex."""
    return hashlib.sha256(encode(text)).hexdigest()


def read_text(path: Path) -> str:
    """The whole file as UTF-8; bytes that are not UTF-8 survive a read and write unchanged.

    Raises FileNotFoundError, which callers turn into what the absence means to them, or DataError when it cannot be read.
    """
    return _decode(_read_bytes(path))


def identity(path: Path) -> Identity | None:
    """Inode, size and time of the last write (ns); None without a file. While they stay the same, nobody else has written it."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def read_settled(path: Path, known_hash: str | None = None) -> str:
    """`read_text`, but a text unlike `known_hash` must stay the same for 20 ms: an editor may be half way through saving.

    Raises FileNotFoundError, DataError, and BusyError when the file keeps changing.
    """
    data = _read_bytes(path)
    if content_hash(data) == known_hash:
        return _decode(data)
    for _ in range(QUIET_READS):
        time.sleep(QUIET_S)
        again = _read_bytes(path)
        if again == data:
            return _decode(data)
        data = again
    raise BusyError(f"{path} keeps changing while it is read", hint="save it once and try again", details={"file": str(path)})


def write_atomic(path: Path, content: str | bytes, *, durable: bool) -> None:
    """Write the whole file so that a reader sees the old text or the new one, whatever happens meanwhile.

    `durable` = two fsyncs (file, directory); False in replay and simulation. Raises UserError with code `disk_full` or
    `read_only`, DataError for any other trouble of the disk; the message names the file.
    """
    with disk_errors(path):
        temporary = _write_temporary(path, encode(content), durable)
        try:
            Path(temporary).replace(path)
        except BaseException:
            _remove(temporary)
            raise
        sync_directory(path.parent, durable=durable)


def write_new(path: Path, content: str, *, durable: bool) -> bool:
    """Create the file with this text; False when one of that name exists already (the existing one is untouched)."""
    with disk_errors(path):
        temporary = _write_temporary(path, encode(content), durable)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            _remove(temporary)
        sync_directory(path.parent, durable=durable)
    return True


def append_text(path: Path, text: str, *, durable: bool) -> None:
    """Add whole lines at the end of a file, made when missing; a torn last line of an earlier crash is closed first."""
    with disk_errors(path):
        is_new = not path.exists()
        descriptor = open_plain(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            write_all(descriptor, (b"\n" if torn else b"") + encode(text))
            if durable:
                sync_file(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            sync_directory(path.parent, durable=durable)


def append_raw(path: Path, text: str) -> None:
    """Add text just as it is, in the middle of a line too, not durable; the file is made when missing, a link at the path refused."""
    with disk_errors(path):
        descriptor = open_plain(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW)
        try:
            write_all(descriptor, encode(text))
        finally:
            os.close(descriptor)


def replace_if_unchanged(path: Path, expected_hash: str | None, new_text: str, *, durable: bool) -> Conflict | None:
    """Replace the file if its content still has `expected_hash` (None: if it still does not exist).

    Otherwise the other text stays where it is, `new_text` is kept beside it as `<name>.conflict-<n>.md`, and the
    Conflict is returned so that the caller opens an incident. Errors as `write_atomic`.
    """
    if try_replace(path, expected_hash, new_text, durable=durable) is not None:
        return None
    return Conflict(path, keep_beside(path, new_text, durable=durable))


def try_replace(path: Path, expected_hash: str | None, new_text: str, *, durable: bool, known: Identity | None = None) -> Identity | None:
    """`replace_if_unchanged` for a caller that can merge: None leaves the file as the other writer left it.

    Returns the identity of what was written; given back as `known`, it spares the first look at the content. What the exchange
    displaces is compared by its hash in any case.
    """
    if expected_hash is None:
        return _NO_IDENTITY if write_new(path, new_text, durable=durable) else None
    if (known is None or identity(path) != known) and _hash_of(path) != expected_hash:
        return None
    with disk_errors(path):
        temporary = _write_temporary(path, encode(new_text), durable)
        try:
            written = identity(Path(temporary))
            swapped = _exchange_checked(temporary, path, expected_hash, new_text)
        finally:
            _remove(temporary)
        if swapped:
            sync_directory(path.parent, durable=durable)
    return written if swapped else None


def keep_beside(path: Path, text: str, *, durable: bool) -> Path:
    """Save `text` as the first free `<name>.conflict-<n>.md` next to `path`; the same text is not kept twice."""
    for number in itertools.count(1):
        kept = path.with_name(f"{path.stem}.conflict-{number}.md")
        if write_new(kept, text, durable=durable) or _hash_of(kept) == content_hash(text):
            return kept
    raise AssertionError("unreachable")


def _exchange_checked(temporary: str, path: Path, expected_hash: str, new_text: str) -> bool:
    """Put the new file in place; an unread text that it displaced goes back, and the answer is False."""
    try:
        if not exchange_names(temporary, str(path)):
            Path(temporary).replace(path)
            return True
        displaced = _hash_of(Path(temporary))
        if displaced == expected_hash:
            return True
        seen = {content_hash(new_text)}
        while displaced not in seen:
            seen.add(str(displaced))
            exchange_names(temporary, str(path))
            displaced = _hash_of(Path(temporary))
    except FileNotFoundError:
        pass
    return False


def _write_temporary(path: Path, data: bytes, durable: bool) -> str:
    name, descriptor = _open_temporary(path)
    try:
        try:
            with suppress(FileNotFoundError):
                os.fchmod(descriptor, path.stat().st_mode & 0o777)
            write_all(descriptor, data)
            if durable:
                sync_file(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        _remove(name)
        raise
    return name


def _open_temporary(path: Path) -> tuple[str, int]:
    """A fresh hidden file in the same directory; the name carries process and thread, so that writers never share one."""
    while True:
        name = f"{path.parent}/.{path.name}.{os.getpid()}-{threading.get_ident()}-{next(_serial)}.tmp"
        try:
            return name, os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue


def write_all(descriptor: int, data: bytes) -> None:
    """Every byte, however many the system takes at once."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_file(descriptor: int) -> None:
    """Put an open file, or an open folder, on stable storage."""
    os.fsync(descriptor)
    if sys.platform == "darwin":
        import fcntl

        # macOS fsync stops at the drive's cache.
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)


def sync_directory(directory: Path, *, durable: bool) -> None:
    """Put the names in a directory on stable storage; nothing when not `durable`. Raises the disk errors of `write_atomic`."""
    if not durable:
        return
    with disk_errors(directory):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove(name: str) -> None:
    with suppress(FileNotFoundError):
        Path(name).unlink()


def open_plain(path: Path, flags: int) -> int:
    """A descriptor of a plain file, through links too; never waits. Raises DataError for a pipe, a socket or a device, else OSError.

    Whoever has the account may put a pipe where a file was: opening one waits for its other end, and reading it has no end.
    """
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY, 0o666)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise _not_plain(path) from None
        raise
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise _not_plain(path)


def read_plain(path: Path, most: int = -1) -> bytes:
    """The bytes of a plain file, at most `most` of them. Errors as `open_plain`."""
    with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
        return file.read(most)


def _not_plain(path: Path) -> DataError:
    return DataError(
        f"{path} is a pipe, a socket or a device, not a file",
        hint=f"remove it (rm {path}), or put a file in its place",
        details={"file": str(path)},
    )


def _read_bytes(path: Path) -> bytes:
    try:
        return read_plain(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", hint="check its permissions", details={"file": str(path)}) from error


def _hash_of(path: Path) -> str | None:
    try:
        return content_hash(_read_bytes(path))
    except FileNotFoundError:
        return None


def encode(text: str | bytes) -> bytes:
    """The bytes as they are stored: UTF-8, and bytes that were read as something else unchanged."""
    if isinstance(text, bytes):
        return text
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        # Half a surrogate pair, as a model's broken escapes give it, is no character and stands for no byte.
        return _HALF_PAIR.sub("\ufffd", text).encode("utf-8", "surrogateescape")


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of a write into what `disk_error` says of it."""
    try:
        yield
    except OSError as error:
        raise disk_error(path, error) from error


def disk_error(path: Path, error: OSError) -> TradeAgentError:
    """What an OSError of a write means to the person: which file, what is wrong, what to do."""
    details = {"file": str(path), "errno": error.errno}
    if error.errno in DISK_FULL:
        hint = "free some space on that disk, then repeat"
        return UserError(f"cannot write {path}: the disk is full", hint=hint, details=details, code="disk_full")
    if error.errno == errno.EROFS:
        problem, hint = "the file system is read-only", "use --workspace with a writable folder"
    elif error.errno in NO_ACCESS:
        problem, hint = "permission denied", f"make {path.parent} writable for you"
    else:
        problem, hint = error.strerror or "", "check the disk and the folder"
    return DataError(f"cannot write {path}: {problem}", hint=hint, details=details)
