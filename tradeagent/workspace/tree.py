"""A folder whose files a model may name: nothing outside it is read or written, whatever stands in it.

Every component of a path is opened below the one before it without following a link, and only plain files with one name are opened, so that
a link, a pipe or a device planted there, even between a check and an open, leads nowhere. Writes are atomic; writers of several processes
take turns; what a person's editor saves meanwhile is never overwritten unread (as in `files`).
"""

import errno
import itertools
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tradeagent.domain.errors import BusyError, DataError, NotFound, TradeAgentError, UserError
from tradeagent.workspace.files import content_hash, disk_errors, encode, sync_file, write_all
from tradeagent.workspace.locks import file_lock
from tradeagent.workspace.plain_text import visible
from tradeagent.workspace.swap import exchange_names, rename_new
from tradeagent.workspace.tree_paths import MAX_DEPTH, name_problem, parts_of, refused, suffix_of

MAX_BYTES = 1024 * 1024
MAX_FILES = 10_000
ATTEMPTS = 5
ANYTHING = "anything"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Non-blocking, because opening a pipe waits for its other end.
_PLAIN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LINK_ERRORS = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EMLINK})
_LEFT_OVER = re.compile(r"\.(.+)\.\d+-\d+-\d+\.tmp")
_serial = itertools.count()


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a tree: its path below the root, size in bytes, time of the last write (UTC), and what tells one state from another."""

    path: str
    size: int
    modified_ns: int
    inode: int

    @property
    def modified_ms(self) -> int:
        return self.modified_ns // 1_000_000


@dataclass(frozen=True, slots=True)
class Listing:
    """Files by path; `skipped` says of everything else that is there why it is not used."""

    entries: tuple[Entry, ...]
    skipped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A file as it was read: `hash` is of its bytes, to be given back with a change of it."""

    entry: Entry
    text: str
    hash: str


class Tree:
    """The folder `inside` below `base`; `base` itself is trusted. `suffix` is the only ending a file may have, any when empty."""

    def __init__(self, base: Path, inside: str, lock: Path, *, suffix: str = "", durable: bool = True) -> None:
        self.inside = inside
        self.root = base / inside
        self._base = base
        self._folders = parts_of(inside, "folder")
        self._lock = lock
        self._suffix = suffix
        self._durable = durable

    def listing(self, folder: str = "") -> Listing:
        """Every file below `folder` that could be read, by path; nothing when there is no such folder. Raises InvalidInput."""
        entries: list[Entry] = []
        skipped: list[str] = []
        for found, passed in self.folders(folder).values():
            entries += found
            skipped += passed
        if len(entries) > MAX_FILES:
            skipped.append(f"{len(entries) - MAX_FILES} files: {self.inside} may have {MAX_FILES:,}")
        return Listing(tuple(sorted(entries, key=lambda entry: entry.path)[:MAX_FILES]), tuple(sorted(skipped)))

    def folders(self, folder: str = "", *, below: bool = True) -> dict[str, tuple[list[Entry], list[str]]]:
        """Each folder with its own files and what is skipped in it; `below=False`: only `folder` itself."""
        found: dict[str, tuple[list[Entry], list[str]]] = {}
        parts = parts_of(folder, "folder")
        with suppress(NotFound), self._open_folder(parts) as opened:
            self._walk(opened, parts, below, found)
        return found

    def read(self, path: str) -> Text:
        """The text of a file. Raises InvalidInput (a path or thing that is not allowed), NotFound, DataError (size, not UTF-8)."""
        *folders, name = self._parts(path)
        with self._open_folder(tuple(folders), path) as folder:
            data, entry = self._read(folder, name, path)
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            problem = f"{self._shown(path)} is not UTF-8: byte {error.start + 1}"
            raise DataError(problem, hint="save it as UTF-8 in your editor", details={"path": path}) from None
        return Text(entry, visible(text), content_hash(data))

    def write(self, path: str, text: str, *, expected: str | None = ANYTHING) -> Entry:
        """Make `text` the whole of a file. With `expected` only if it still has that hash (None: if it still does not exist).

        Control and invisible characters are left out. Raises InvalidInput, BusyError when somebody changed it, and the errors of the disk.
        """
        data = encode(visible(text))

        def whole(before: bytes | None) -> bytes:
            if expected != ANYTHING and (None if before is None else content_hash(before)) != expected:
                raise BusyError(f"{self._shown(path)} was changed meanwhile", hint="read it again, then repeat", details={"path": path})
            return data

        return self._change(path, whole)

    def append(self, path: str, text: str) -> Entry:
        """Add `text` as lines of their own at the end of a file, made when missing; all of it or nothing. Errors as `write`."""
        added = encode(visible(text)).rstrip(b"\n") + b"\n"

        def longer(before: bytes | None) -> bytes:
            start = before or b""
            return start + (b"" if not start or start.endswith(b"\n") else b"\n") + added

        return self._change(path, longer)

    def remove(self, path: str) -> None:
        """Delete a file, and the folders it leaves empty. Raises InvalidInput, NotFound, and the errors of the disk."""
        *folders, name = self._parts(path)
        with file_lock(self._lock), self._open_folder(tuple(folders), path) as folder:
            self._look(folder, name, path)
            with disk_errors(self.root / path):
                os.unlink(name, dir_fd=folder)
                self._sync(folder)
        for depth in range(len(folders), 0, -1):
            with suppress(OSError, TradeAgentError), self._open_folder(tuple(folders[: depth - 1])) as parent:
                os.rmdir(folders[depth - 1], dir_fd=parent)

    @contextmanager
    def opened(self, path: str, flags: int) -> Iterator[int]:
        """A file of any size as a descriptor, opened with `flags` and closed afterwards. Errors as `read`."""
        *folders, name = self._parts(path)
        with self._open_folder(tuple(folders), create=bool(flags & os.O_CREAT)) as folder:
            descriptor = self._open(folder, name, path, flags)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _change(self, path: str, change: Callable[[bytes | None], bytes]) -> Entry:
        """Replace a file by what `change` makes of its bytes, again when an editor was quicker."""
        *folders, name = self._parts(path)
        if self._suffix and suffix_of(name) != self._suffix:
            raise refused(path, "path", f"does not end with {self._suffix}")
        with file_lock(self._lock), self._open_folder(tuple(folders), create=True) as folder, disk_errors(self.root / path):
            for _ in range(ATTEMPTS):
                try:
                    before = self._read(folder, name, path)[0]
                except NotFound:
                    before = None
                    self._check_new(folder, name, path)
                after = change(before)
                if len(after) > MAX_BYTES:
                    raise refused(path, "path", f"would have {len(after):,} bytes: a file has at most {MAX_BYTES:,}", "split it")
                if after == before or self._replace(folder, name, after, before):
                    return self._look(folder, name, path)
        raise BusyError(f"{self._shown(path)} keeps changing", hint="save it once and try again", details={"path": path})

    def _replace(self, folder: int, name: str, data: bytes, before: bytes | None) -> bool:
        """Put new bytes in the place of `before`; False, and nothing changed, when others are there by now."""
        temporary = f".{name}.{os.getpid()}-{threading.get_ident()}-{next(_serial)}.tmp"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _PLAIN, 0o666, dir_fd=folder)
        try:
            try:
                if before is not None:
                    os.fchmod(descriptor, os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode & 0o777)
                write_all(descriptor, data)
                if self._durable:
                    sync_file(descriptor)
            finally:
                os.close(descriptor)
            if before is None:
                rename_new(temporary, name, folder)
            elif not exchange_names(temporary, name, folder):
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            elif self._bytes(folder, temporary) != before:
                exchange_names(temporary, name, folder)
                return False
        except (FileExistsError, FileNotFoundError):
            return False
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
        self._sync(folder)
        return True

    def _check_new(self, folder: int, name: str, path: str) -> None:
        """A new file has room, and a name that no other means where case does not count; what a killed writer left is swept up."""
        for other in os.listdir(folder):
            if other.casefold() == name.casefold() and other != name:
                raise refused(path, "path", f"differs from {other!r} only in case", f"use {other!r}, or another name")
            if _LEFT_OVER.fullmatch(other):
                with suppress(OSError):
                    os.unlink(other, dir_fd=folder)
        if sum(len(found) for found, _ in self.folders().values()) >= MAX_FILES:
            problem = f"would be one too many: {self.inside} has at most {MAX_FILES:,} files"
            raise refused(path, "path", problem, "remove old files first")

    def _parts(self, path: str) -> tuple[str, ...]:
        parts = parts_of(path, "path")
        if not parts:
            raise refused(path, "path", "names no file")
        return parts

    @contextmanager
    def _open_folder(self, parts: tuple[str, ...], path: str = "", *, create: bool = False) -> Iterator[int]:
        """The folder `parts` below the root. Raises NotFound, of `path` where the root itself is not made yet, or InvalidInput for a link
        or a file in its way."""
        try:
            current = os.open(self._base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            problem = f"{self._base} is no folder: {error.strerror}"
            raise NotFound(problem, hint="tradeagent init", details={"path": str(self._base)}) from None
        try:
            for depth, part in enumerate((*self._folders, *parts), 1):
                shown = "/".join((*self._folders, *parts)[:depth])
                missing = self._shown(path) if path and depth <= len(self._folders) else f"folder {shown}"
                inner = self._enter(current, part, shown, missing, create=create)
                os.close(current)
                current = inner
            yield current
        finally:
            os.close(current)

    def _enter(self, parent: int, name: str, shown: str, missing: str, *, create: bool) -> int:
        try:
            return os.open(name, _FOLDER, dir_fd=parent)
        except FileNotFoundError:
            if not create:
                raise _absent(missing) from None
        except OSError as error:
            raise _in_the_way(error, shown) from None
        if twin := next((other for other in os.listdir(parent) if other.casefold() == name.casefold()), None):
            raise refused(shown, "path", f"differs from the folder {twin!r} only in case", f"use {twin!r}")
        with disk_errors(self._base / shown), suppress(FileExistsError):
            os.mkdir(name, dir_fd=parent)
            self._sync(parent)
        try:
            return os.open(name, _FOLDER, dir_fd=parent)
        except OSError as error:
            raise _in_the_way(error, shown) from None

    def _open(self, folder: int, name: str, path: str, flags: int) -> int:
        """A plain file. What it is is looked at before, since opening a device may do something, and after, since it may change."""
        with suppress(FileNotFoundError):
            self._check_plain(os.stat(name, dir_fd=folder, follow_symlinks=False), path)
        try:
            descriptor = os.open(name, flags | _PLAIN, 0o666, dir_fd=folder)
        except FileNotFoundError:
            raise _absent(self._shown(path)) from None
        except OSError as error:
            raise _in_the_way(error, self._shown(path)) from None
        try:
            self._check_plain(os.fstat(descriptor), path)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _check_plain(self, found: os.stat_result, path: str) -> None:
        if problem := _kind_problem(found):
            raise refused(self._shown(path), "path", f"is {problem}: only plain files are opened", "remove it, or use another name")

    def _look(self, folder: int, name: str, path: str) -> Entry:
        """Size and times of a plain file, by its name alone."""
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            raise _absent(self._shown(path)) from None
        self._check_plain(found, path)
        return _entry(path, found)

    def _read(self, folder: int, name: str, path: str) -> tuple[bytes, Entry]:
        descriptor = self._open(folder, name, path, os.O_RDONLY)
        try:
            data = _all_of(descriptor)
            entry = _entry(path, os.fstat(descriptor))
        finally:
            os.close(descriptor)
        if len(data) > MAX_BYTES:
            problem = f"{self._shown(path)} has over {MAX_BYTES:,} bytes, the most a file may have"
            raise DataError(problem, hint="split it into smaller files", details={"path": path})
        return data, entry

    def _bytes(self, folder: int, name: str) -> bytes | None:
        """What a name holds; None for anything but a plain file."""
        try:
            return self._read(folder, name, name)[0]
        except TradeAgentError:
            return None

    def _walk(self, folder: int, parts: tuple[str, ...], below: bool, found: dict[str, tuple[list[Entry], list[str]]]) -> None:
        start = "".join(f"{part}/" for part in parts)
        entries: list[Entry] = []
        skipped: list[str] = []
        found[start[:-1]] = entries, skipped
        inner: list[str] = []
        with os.scandir(folder) as names:
            for item in names:
                if item.name.startswith("."):
                    continue
                path = start + item.name
                if problem := name_problem(item.name):
                    skipped.append(f"{visible(path)}: {problem}")
                elif item.is_dir(follow_symlinks=False):
                    inner.append(item.name)
                else:
                    with suppress(FileNotFoundError):
                        state = item.stat(follow_symlinks=False)
                        if problem := self._file_problem(path, state):
                            skipped.append(f"{path}: {problem}")
                        else:
                            entries.append(_entry(path, state))
        for name in inner if below else ():
            if len(parts) + 1 >= MAX_DEPTH:
                skipped.append(f"{start}{name}: deeper than {MAX_DEPTH} levels")
                continue
            with suppress(OSError):
                opened = os.open(name, _FOLDER, dir_fd=folder)
                try:
                    self._walk(opened, (*parts, name), below, found)
                finally:
                    os.close(opened)

    def _file_problem(self, path: str, found: os.stat_result) -> str | None:
        if problem := _kind_problem(found):
            return problem
        if self._suffix and suffix_of(path) != self._suffix:
            return f"does not end with {self._suffix}"
        return f"over {MAX_BYTES:,} bytes" if found.st_size > MAX_BYTES else None

    def _shown(self, path: str) -> str:
        return f"{self.inside}/{path}"

    def _sync(self, folder: int) -> None:
        if self._durable:
            os.fsync(folder)


def _entry(path: str, found: os.stat_result) -> Entry:
    return Entry(path, found.st_size, found.st_mtime_ns, found.st_ino)


def _absent(shown: str) -> NotFound:
    return NotFound(f"there is no {shown}", hint="see what is there, or check the name", details={"path": shown})


def _in_the_way(error: OSError, shown: str) -> UserError:
    """What keeps a component from being opened."""
    if error.errno in _LINK_ERRORS:
        return refused(shown, "path", "is a link, or no folder where one must be: links are not followed", "remove it, or use another name")
    return DataError(f"cannot open {shown}: {error.strerror}", hint="check its permissions", details={"path": shown})


def _kind_problem(found: os.stat_result) -> str | None:
    """Why something is no plain file; None when it is one."""
    if stat.S_ISLNK(found.st_mode):
        return "a link"
    if stat.S_ISDIR(found.st_mode):
        return "a folder"
    if not stat.S_ISREG(found.st_mode):
        return "a pipe, a socket or a device"
    return "one file under several names" if found.st_nlink > 1 else None


def _all_of(descriptor: int) -> bytes:
    """The bytes of an open file, one more than allowed at most."""
    data = bytearray()
    while len(data) <= MAX_BYTES and (more := os.read(descriptor, MAX_BYTES + 1 - len(data))):
        data += more
    return bytes(data)
