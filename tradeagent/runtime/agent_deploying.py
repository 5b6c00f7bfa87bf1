"""Deploying an agent: the request checked, and the command that runs it, at first and whenever it goes on."""

from dataclasses import replace

from tradeagent.domain.errors import InvalidInput
from tradeagent.domain.names import RunMode
from tradeagent.ledger import wallets
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.runtime.assembly import RunRequest
from tradeagent.runtime.deploy import DeployRequest
from tradeagent.runtime.deploying import require_group, require_unheld
from tradeagent.runtime.ground import pace_of
from tradeagent.runtime.place import Place
from tradeagent.runtime.repair import settled_agent
from tradeagent.runtime.wanted import require_free
from tradeagent.tools.known import known_to_agents


def checked_agent(place: Place, request: DeployRequest) -> RunRequest:
    """The run that a request for an agent asks for; what is wrong with it is said before anything starts."""
    settled_agent(place.ledger, place.clock, place.workspace.agent_dir(request.name), known_to_agents(place.config))
    for name, given in (("--market", request.market), ("--interval", request.interval), ("--param", request.params)):
        if given:
            raise InvalidInput(f"{name} is for algos: an agent's own file says what it trades", hint=f"leave {name} out")
    with place.ledger.reading() as tx:
        wallet = wallets.get(tx, request.wallet)
        require_free(tx, wallet.name)
    require_group(wallet, request)
    require_unheld(place, wallet.name)
    return RunRequest(request.name, request.pace, request.wallet, is_deployed=True)


def resumed_request(row: DeploymentRow) -> RunRequest:
    """The run that goes on where a deployed agent's run has ended: on its wallet, from where that is."""
    pace = pace_of(row)
    most = pace.max_ticks
    left = replace(pace, from_ms=None, max_ticks=max(1, most - row.ticks) if most else most)
    return RunRequest(row.slug, left, row.wallet, is_deployed=True)


def agent_command(request: RunRequest) -> list[str]:
    """The command that runs an agent so."""
    pace = request.pace
    words = ["deploy" if request.is_deployed else "run", *(["agent"] if request.is_deployed else []), request.slug]
    options = {
        "--mode": {RunMode.LOOP: "loop", RunMode.RUN_ONCE: "once", RunMode.DRY_RUN: "dry-run"}[pace.mode],
        "--wallet": request.wallet,
        "--cash": request.cash,
        "--replay": pace.replay,
        "--from": pace.from_ms,
        "--to": pace.to_ms,
        "--speed": f"{pace.speed:f}" if pace.speed else "max",
        "--max-ticks": pace.max_ticks,
        "--seed": pace.seed,
    }
    return words + [word for name, value in options.items() if value is not None for word in (name, str(value))]
