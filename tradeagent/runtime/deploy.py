"""Deploying: a checked agent or algo on a free wallet, driven by a process of its own that outlives whoever asked."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from tradeagent.domain.names import RunMode
from tradeagent.runtime.ground import Place


@dataclass(frozen=True, slots=True)
class DeployRequest:
    """What to run where. `name` is an agent's folder, or an algo as NAME, NAME@VERSION or a built-in.

    Only algos have `market` and `interval` (empty: the algo's own), `params` (NAME=VALUE), `leverage` and `limits` (a kind or a file).
    Times UTC ms; `speed` 0 = without waiting; `replay` None = the newest stored bars by the wall clock.
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
    mode: RunMode = RunMode.LOOP
    replay: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    speed: Decimal = Decimal(0)
    max_ticks: int | None = None
    seed: int = 0
    unsafe_python: bool = False


def deploy(place: Place, request: DeployRequest) -> dict[str, Any]:
    """Check the request, record the deployment, and start its runner in the background; what `deploy --detach --json` prints.

    InvalidInput or NotFound for what is wrong with the request, BusyError for a wallet that has a running deployment.
    """
    from tradeagent.runtime.deploying import deployed

    return deployed(place, request)
