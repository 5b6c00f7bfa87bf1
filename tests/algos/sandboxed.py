"""One run of a Python algorithm in a sandbox of its own."""

import numpy as np
import numpy.typing as npt

from tradeagent.algos.bars import Bars
from tradeagent.algos.sandbox import Limits, Sandbox


def run_python(source: str, bars: Bars, params: dict[str, float], *, limits: Limits | None = None) -> npt.NDArray[np.int8]:
    with Sandbox(source, bars, limits=limits or Limits()) as sandbox:
        return sandbox.signals(params)
