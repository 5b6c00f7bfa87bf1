"""Fixtures of the fault tests: the workspaces of the end-to-end tests."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "e2e"))

from workspaces import product, shared, template  # noqa: F401
