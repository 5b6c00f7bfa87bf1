"""Runs a command line in this process and gives it SIGINT at one call of a Python function, wherever that is: no clock is involved.

    python -m tests.cli.interrupted CALL FILE ARGUMENT …

CALL counts from the first function of the program on; with 0 nothing is sent. `string` is the first call of code that is run from a
string. FILE gets the number of calls that were counted until the end of the interpreter.
"""

import atexit
import os
import signal
import sys
from pathlib import Path
from types import FrameType


def main(at: str, file: Path, arguments: list[str]) -> None:
    calls, wanted, strikes = 0, int(at) if at.isdigit() else -1, at == "string"

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls, strikes
        if event != "call":
            return
        calls += 1
        if calls == wanted or (strikes and frame.f_code.co_filename == "<string>"):
            strikes = False
            os.kill(os.getpid(), signal.SIGINT)

    def note() -> None:
        sys.setprofile(None)
        file.write_text(str(calls))

    atexit.register(note)
    # As on a terminal, also when the tests run in the background of a script, where it would be ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from tradeagent.__main__ import main as product

    sys.argv = ["tradeagent", *arguments]
    sys.setprofile(count)
    product()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
