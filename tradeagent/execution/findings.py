"""What one rule of the door found."""

from collections.abc import Callable
from dataclasses import dataclass

from tradeagent.domain.names import Rule
from tradeagent.domain.order import Rejection
from tradeagent.execution.planning import Plan
from tradeagent.execution.state import RiskState


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule saw: shown value and limit, and the rejection when it refuses."""

    value: str | None = None
    limit: str | None = None
    rejection: Rejection | None = None


Check = Callable[[Plan, RiskState], Finding]
PASS = Finding()


def refuse(rule: Rule, message: str, *, key: str | None = None, limit: str | None = None, value: str | None = None) -> Finding:
    return Finding(value, limit, Rejection(rule, message, key, limit, value))
