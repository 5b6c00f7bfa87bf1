"""The MCP servers that a mind of this workspace may use, and all that are configured anywhere in it."""

import os
from collections.abc import Callable
from functools import partial

from tradeagent.agents.folder import Agent, list_agents, load_agent
from tradeagent.domain.errors import NotFound, UserError
from tradeagent.runtime.place import Place
from tradeagent.tools.known import known_to_agents
from tradeagent.tools.mcp_servers import ServerSpec, servers_of, servers_of_agent
from tradeagent.tools.mcp_tools import Outside


def outside_of_assistant(place: Place) -> Outside:
    """The servers of config.yml. InvalidConfig names what is wrong with one."""
    return Outside(servers_of(place.config), place.ledger, os.environ)


def outside_of_agent(place: Place, agent: Agent) -> Callable[[], Outside]:
    """Makes what one turn of an agent may use of the servers in its agent.md. InvalidConfig as above."""
    return partial(Outside, servers_of_agent(agent), place.ledger, os.environ)


def configured(place: Place) -> dict[str, ServerSpec]:
    """Every server by the key it is pinned under; an agent whose files are wrong is left out, `agent validate` says why."""
    found = servers_of(place.config)
    known = known_to_agents(place.config)
    for folder in list_agents(place.workspace.agents_dir):
        try:
            found |= servers_of_agent(load_agent(folder, known))
        except (UserError, NotFound):
            continue
    return found


def server(place: Place, key: str) -> ServerSpec:
    """One of them. NotFound names those that there are."""
    found = configured(place)
    if key not in found:
        there = ", ".join(sorted(found)) or "none is configured: tradeagent config set mcp_servers.NAME.command 'PROGRAM …'"
        raise NotFound(f"no MCP server {key!r}", hint=f"one of: {there}" if found else there)
    return found[key]
