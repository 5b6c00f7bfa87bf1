"""What the registry loads: every start of an agent pays for it."""

import subprocess
import sys

import pytest

HEAVY = [
    "litellm",
    "textual",
    "pandas",
    "numba",
    "duckdb",
    "pyarrow",
    "matplotlib",
    "optuna",
    "feedparser",
    "httpx",
    "prompt_toolkit",
    "mcp",
]


@pytest.mark.parametrize("module", ["tradeagent.tools.registry", "tradeagent.turns.tick"])
def test_the_registry_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_loads_no_tools() -> None:
    code = (
        "import sys; from tradeagent.cli.entry import run; run(['--help']);"
        "print([name for name in sys.modules if name.startswith('tradeagent.tools')], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip().splitlines()[-1] == "[]"
