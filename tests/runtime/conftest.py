"""The way to helpers that other rooms' tests have."""

import sys
from pathlib import Path

for room in ("research", "algos", "e2e", "llm"):
    sys.path.append(str(Path(__file__).resolve().parents[1] / room))

from workspaces import product, shared, template  # noqa: E402, F401
