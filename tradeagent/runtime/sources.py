"""Where a run's bars come from: the replay that was asked for, or the newest bars that were imported."""

from collections.abc import Mapping

from tradeagent.agents.folder import Agent
from tradeagent.domain.errors import InvalidInput
from tradeagent.domain.instrument import Instrument
from tradeagent.market.feed import WarehouseFeed
from tradeagent.market.replay import parse_replay
from tradeagent.market.stored_feed import finest
from tradeagent.market.warehouse import Warehouse


def feed_for(warehouse: Warehouse, agent: Agent, replay: str | None, instruments: Mapping[str, Instrument]) -> WarehouseFeed:
    """Bars of the replay, or of the agent's markets as imported: the finest interval that is there for each."""
    if replay is None:
        return WarehouseFeed(warehouse, [finest(warehouse, market) for market in agent.definition.markets], instruments, wait=True)
    sources = parse_replay(replay)
    for source in sources:
        if source.market not in instruments:
            raise InvalidInput(
                f"--replay: unknown market {source.market!r}",
                hint=f"config.yml instruments.{source.market}: {{size_decimals: 3, max_leverage: 10}} adds it",
            )
    missing = [m for m in agent.definition.markets if m not in {source.market for source in sources}]
    if missing:
        raise InvalidInput(
            f"--replay: {agent.slug} trades {', '.join(missing)}, which {replay!r} does not replay",
            hint=f"add it: --replay {replay},{sources[0].venue}:{missing[0]}:{replay.rpartition(':')[2]}",
        )
    return WarehouseFeed(warehouse, sources, instruments)
