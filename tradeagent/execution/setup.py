"""What a door is opened with: whose it is, on what terms somebody may trade through it, and what a fill costs."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tradeagent.domain.clock import Clock
from tradeagent.domain.costs import FeeSchedule
from tradeagent.domain.limits import Limits
from tradeagent.domain.names import Actor
from tradeagent.execution.entry_times import EntryTimes
from tradeagent.execution.state import MarketState, Scope
from tradeagent.ledger.wallets import WalletRow
from tradeagent.workspace.latch import Gate

Approve = Callable[[dict[str, Any]], Awaitable[str]]
"""Asks a person about a plan (as JSON); an empty answer is a yes, anything else says why not."""


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms somebody may trade through this door; `approve` asks a person about each entry (copilot)."""

    scope: Scope
    limits: Limits
    slug: str = ""
    budget_cap: Decimal | None = None
    approve: Approve | None = None


@dataclass(frozen=True, slots=True)
class Costs:
    """What a simulated fill costs."""

    fees: FeeSchedule
    slippage_bps: Decimal


@dataclass(frozen=True, slots=True)
class Setup:
    """Whose door it is: the wallet with its fencing token, the terms by actor, costs, the markets (kept current by the playback),
    and the gate that a kill shuts.

    `wall` counts model spend by real days, also when `clock` is a replay's.
    """

    wallet: WalletRow
    token: int
    terms: dict[Actor, Terms]
    markets: dict[str, MarketState]
    gate: Gate
    costs: Costs
    dry_run: bool = False
    in_thread: bool = True
    wall: Clock | None = None
    entry_times: EntryTimes = field(default_factory=EntryTimes)
