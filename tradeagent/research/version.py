"""What a stored result was made with."""

import functools
import hashlib
from pathlib import Path


@functools.cache
def kernel_version() -> str:
    """12 hex digits of the source of kernel, state machine and levels: a result that another one made is stale."""
    research = Path(__file__).parent
    algos = research.parent / "algos"
    sources = [*(research / "kernel").glob("*.py"), algos / "machine.py", algos / "levels.py"]
    digest = hashlib.sha256()
    for source in sorted(sources):
        digest.update(source.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:12]
