"""The workspace that something happens in, with what is open in it."""

from dataclasses import dataclass

from tradeagent.domain.clock import Clock
from tradeagent.ledger.store import Ledger
from tradeagent.workspace.config import Config
from tradeagent.workspace.paths import Workspace


@dataclass(frozen=True, slots=True)
class Place:
    """One workspace: where it is, its configuration and ledger, and the wall clock."""

    workspace: Workspace
    config: Config
    ledger: Ledger
    clock: Clock
