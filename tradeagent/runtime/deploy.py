"""Deploying: a checked agent or algo on a free wallet, driven by a process of its own that outlives whoever asked."""

from dataclasses import dataclass, field
from typing import Any, Literal

from tradeagent.runtime.ground import Pace
from tradeagent.runtime.place import Place


@dataclass(frozen=True, slots=True)
class DeployRequest:
    """What to run where. `name` is an agent's folder, or an algo as NAME, NAME@VERSION or a built-in.

    Only algos have `market` and `interval` (empty: the algo's own), `params` (NAME=VALUE), `leverage` and `limits` (a kind or a file).
    """

    kind: Literal["agent", "algo"]
    name: str
    wallet: str
    market: str = ""
    interval: str = ""
    venue: str = "hyperliquid"
    params: tuple[str, ...] = ()
    leverage: int | None = None
    limits: str = "algo"
    pace: Pace = field(default_factory=Pace)
    unsafe_python: bool = False


def deploy(place: Place, request: DeployRequest) -> dict[str, Any]:
    """Check the request, record the deployment, and start its runner in the background; what `deploy --detach --json` prints.

    InvalidInput or NotFound for what is wrong with the request, BusyError for a wallet that has a running deployment.
    """
    from tradeagent.runtime.deploying import deployed

    return deployed(place, request)
