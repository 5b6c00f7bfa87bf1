"""What an agent.md may name in a workspace: the one answer for runs, commands, drafts and cards."""

from tradeagent.agents.folder import Known
from tradeagent.execution.opening import instruments_of
from tradeagent.llm.offline.policies import POLICIES
from tradeagent.workspace.config import Config

BASE_INTERVALS = ("1m", "5m", "15m", "30m", "1h", "4h", "1d")


def known_to_agents(config: Config) -> Known:
    """Tools, models, intervals and markets that exist here, and the ceilings of its limits."""
    from tradeagent.tools.registry import known_names  # the registry lists tools that ask this

    return Known(
        tools=known_names(),
        offline_policies=POLICIES,
        intervals=BASE_INTERVALS,
        markets=frozenset(instruments_of(config)),
        ceilings=config.section("ceilings", "paper"),
    )
