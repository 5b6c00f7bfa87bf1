"""Python algorithms run in a process that can compute and nothing else."""

from tradeagent.algos.sandbox.process import Limits
from tradeagent.algos.sandbox.sandbox import Difference, Sandbox, lookahead_of_python, require_no_lookahead

__all__ = ["Difference", "Limits", "Sandbox", "lookahead_of_python", "require_no_lookahead"]
