"""Fixtures of the end-to-end tests, and the way to helpers that other rooms' tests have."""

import sys
from pathlib import Path

sys.path.extend(str(Path(__file__).resolve().parents[1] / room) for room in ("llm", "research"))

from workspaces import product, shared, template  # noqa: F401
