"""`tradeagent --help`: what every completion, wrapper and curious person waits for."""

from benchmarks.measure import bare_python, child, median, scratch, tradeagent_command
from benchmarks.report import Row, main

HEAVY = ("litellm", "textual", "duckdb", "pyarrow", "pandas", "numba", "hyperliquid", "numpy", "sqlalchemy", "pydantic")
_LOADED = """
import contextlib, io, sys
from tradeagent.cli.entry import run
with contextlib.redirect_stdout(io.StringIO()):
    run(["--help"])
print(len([name for name in sys.argv[1:] if name in sys.modules]))
"""


def rows() -> list[Row]:
    """CPU of `--help`, and how many heavy packages it loads."""
    with scratch():
        help_cpu = median(lambda: tradeagent_command("--help").cpu_s)
        heavy = int(child(["-c", _LOADED, *HEAVY]).output)
    loaded = Row(f"`--help`: loaded of {', '.join(HEAVY)}", heavy, "packages", bound=0)
    return [Row("`tradeagent --help`", help_cpu, "CPU s", bound=0.15, floor=bare_python()), loaded]


if __name__ == "__main__":
    main(rows)
