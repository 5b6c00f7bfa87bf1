"""Progress of long work on stderr: a line that is rewritten when a person watches, lines of JSON with --json --verbose, else nothing."""

import json
import sys
import time

from tradeagent.cli.output import Output

_EVERY_S, _JSON_EVERY_S = 0.1, 0.5


class Progress:
    """Count, rate and time left of one piece of work."""

    def __init__(self, output: Output) -> None:
        self._shown = sys.stderr.isatty() and not output.json and not output.quiet
        self._told = output.json and output.verbose
        self._begin = time.monotonic()
        self._last = 0.0
        self._total = 0
        self._name = ""

    def begin(self, name: str, total: int) -> None:
        self._name, self._total, self._begin = name, total, time.monotonic()

    def tick(self, done: int, text: str) -> None:
        """`done` units so far; the last one is always told."""
        now = time.monotonic()
        is_soon = now - self._last < (_JSON_EVERY_S if self._told else _EVERY_S)
        if not (self._shown or self._told) or (is_soon and done != self._total):
            return
        self._last = now
        if self._told:
            progress = {"name": self._name, "done": done, "total": self._total, "text": text[:60]}
            sys.stderr.write(json.dumps({"progress": progress}, ensure_ascii=False) + "\n")
            sys.stderr.flush()
            return
        rate = done / max(now - self._begin, 1e-6)
        left = f", {(self._total - done) / rate:.0f} s left" if self._total else ""
        of = f"/{self._total}" if self._total else ""
        sys.stderr.write(f"\r\x1b[2K{self._name}  {done}{of}  {rate:.0f}/s{left}  {text[:60]}")
        sys.stderr.flush()

    def end(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()


def tell_compiling(output: Output) -> None:
    """Say why the first run on a machine takes so long."""
    from tradeagent.research.kernel import is_compiled

    if not is_compiled():
        output.say("compiling indicators and kernel for this machine; it happens once and takes about half a minute …")
