"""Ctrl-C, from the first line of the program to the last: it is always exit code 130, wherever it arrives.

Libraries turn a KeyboardInterrupt into errors of their own (DuckDB), or lose it in a callback, so that it is remembered here as well.
"""

import atexit
import os
import signal
from dataclasses import dataclass

EXIT_CODE = 130


@dataclass
class _State:
    """What has happened to this process so far."""

    heard: bool = False
    answered: bool = False


_state = _State()


def listen() -> None:
    """Raise KeyboardInterrupt at Ctrl-C, and remember it. Only the process that is the program itself does this; one that a script started
    in the background was told to ignore it, and does."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        return
    # Registered before anything else and so run last: what is left then is the interpreter's own end.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGINT, _hear)


def heard() -> bool:
    """Whether there was one since `listen`."""
    return _state.heard


def answered() -> None:
    """The command has printed its one document."""
    _state.answered = True


def is_late() -> bool:
    """Whether Ctrl-C came, and the document is out all the same: an error would be a second one."""
    return _state.heard and _state.answered


def leave() -> None:
    """The answer is given: what comes while the interpreter shuts down ends the process at once."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: os._exit(EXIT_CODE))


def _hear(*_: object) -> None:
    _state.heard = True
    raise KeyboardInterrupt
