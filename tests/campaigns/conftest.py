"""The campaigns stand on the worlds of the execution tests and the nemesis of the conformance tests."""

import sys
from pathlib import Path

sys.path += [str(Path(__file__).resolve().parents[1] / room) for room in ("conformance", "execution")]
