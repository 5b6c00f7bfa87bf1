"""Fixtures of the fault tests: the workspaces of the end-to-end tests."""

import sys
from pathlib import Path

sys.path += [str(Path(__file__).resolve().parents[1] / room) for room in ("e2e", "llm")]

from workspaces import product, shared, template  # noqa: F401
