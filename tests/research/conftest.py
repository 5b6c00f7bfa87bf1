"""The parity tests draw their algos from the generator of the algo tests."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "algos"))
