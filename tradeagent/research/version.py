"""What a stored result was made with."""

import functools
import hashlib
from importlib.metadata import version
from pathlib import Path


@functools.cache
def kernel_version() -> str:
    """12 hex digits of the source of kernel, state machine, levels and indicators, and of the version of the library that computes some
    of these: a result that another one made is stale.
    """
    research = Path(__file__).parent
    algos = research.parent / "algos"
    folders = (research / "kernel", algos / "indicators")
    sources = [*(source for folder in folders for source in folder.glob("*.py")), algos / "machine.py", algos / "levels.py"]
    digest = hashlib.sha256(version("pandas-ta-classic").encode())
    for source in sorted(sources):
        digest.update(source.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:12]
