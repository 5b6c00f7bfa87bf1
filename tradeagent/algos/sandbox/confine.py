"""What the operating system takes from a process that runs somebody's code: files, network, other processes, and more memory and time.

Runs inside the child, by path, and needs the standard library only. Landlock (Linux 5.13) allows reading under a few folders and nothing
else; a seccomp filter answers EPERM to every system call that is not on a short list. Both hold for root too, and cannot be undone.
"""

import contextlib
import ctypes
import os
import platform
import resource
import struct
from collections.abc import Sequence

_NO_NEW_PRIVS = 38
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_RIGHTS_OF_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 1
_ALL_THREADS = 1

# Machine: audit architecture, number of seccomp(2), of openat(2), and the other calls that NumPy and the interpreter live on.
_MACHINES = {
    "x86_64": (
        0xC000003E,
        317,
        257,
        "0 1 3 4 5 6 8 9 10 11 12 13 14 15 17 19 20 21 24 25 28 39 60 63 72 79 89 96 99 102 104 107 108 110 131 186 202 204 217 219 228 "
        "229 231 262 267 269 318 324 332 334",
    ),
    "aarch64": (
        0xC00000B7,
        277,
        56,
        "17 25 48 57 61 62 63 64 65 66 67 78 79 80 93 94 98 113 114 123 124 128 132 134 135 139 160 169 172 173 174 175 176 177 178 179 "
        "214 215 216 222 226 233 278 283 291 293",
    ),
}


def confine(readable: Sequence[str], memory_mb: int, cpu_s: int) -> list[str]:
    """Give up everything but reading under `readable`. Returns what this system could not give, in words; empty is complete."""
    _limit(memory_mb, cpu_s)
    missing = []
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "prctl") or libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
        return ["no_new_privs, Landlock and seccomp (not a Linux system)"]
    if not _landlock(libc, readable):
        missing.append("Landlock (Linux 5.13 or later, switched on)")
    if not _seccomp(libc):
        missing.append(f"a seccomp filter (Linux on {' or '.join(_MACHINES)})")
    return missing


def _limit(memory_mb: int, cpu_s: int) -> None:
    for name, most in (
        (resource.RLIMIT_AS, memory_mb << 20),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_NPROC, 0),
    ):
        _, hard = resource.getrlimit(name)
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(ValueError, OSError):  # macOS refuses some of them; there `missing` is not empty anyway.
            resource.setrlimit(name, (bound, bound))


def _landlock(libc: ctypes.CDLL, readable: Sequence[str]) -> bool:
    abi = libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if abi < 1:
        return False
    rights = (1 << _RIGHTS_OF_ABI.get(abi, 16)) - 1
    attributes = struct.pack("QQQ", rights, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    ruleset = libc.syscall(_LANDLOCK_CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    if ruleset < 0:
        return False
    for folder in readable:
        beneath = os.open(folder, os.O_PATH | os.O_CLOEXEC)
        rule = struct.pack("=Qi", _READ_FILE | _READ_DIR, beneath)
        refused = libc.syscall(_LANDLOCK_ADD, ruleset, 1, rule, ctypes.c_uint32(0))
        os.close(beneath)
        if refused:
            return False
    held = libc.syscall(_LANDLOCK_RESTRICT, ruleset, ctypes.c_uint32(0))
    os.close(ruleset)
    return bool(held == 0)


def _seccomp(libc: ctypes.CDLL) -> bool:
    if platform.machine() not in _MACHINES:
        return False
    audit, seccomp, openat, calls = _MACHINES[platform.machine()]
    program = _filter(audit, openat, [int(call) for call in calls.split()])
    code = ctypes.create_string_buffer(program, len(program))
    handle = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    return bool(libc.syscall(seccomp, 1, _ALL_THREADS, handle) == 0)


def _filter(audit: int, openat: int, calls: Sequence[int]) -> bytes:
    """Classic BPF: another architecture is refused, `openat` allowed without any writing flag, `calls` allowed, the rest refused."""
    load, equal, any_bit, give = 0x20, 0x15, 0x45, 0x06
    number, architecture, flags = 0, 4, 32
    count = len(calls)
    lines = [
        (load, 0, 0, architecture),
        (equal, 0, count + 4, audit),
        (load, 0, 0, number),
        (equal, 0, 2, openat),
        (load, 0, 0, flags),
        (any_bit, count, count + 1, _WRITING),
        *((equal, count - i, 0, call) for i, call in enumerate(calls)),
        (give, 0, 0, _REFUSE),
        (give, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("HBBI", *line) for line in lines)
