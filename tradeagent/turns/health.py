"""What a wallet's figures rest on: how old its feeds and its last comparison are, who holds it, its model and budget, its hours."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from tradeagent.domain.clock import day_start_ms, iso
from tradeagent.domain.money import plain
from tradeagent.domain.names import EventKind, IncidentCode
from tradeagent.domain.session_hours import SessionHours
from tradeagent.execution.state import RiskState
from tradeagent.ledger import events, notes, runs
from tradeagent.ledger.runs import DeploymentRow

MODEL_INCIDENTS = (IncidentCode.MODEL_FAILED, IncidentCode.BUDGET_EXHAUSTED)
BUDGET = "max_cost_per_day_usd"


@dataclass(frozen=True, slots=True)
class Health:
    """Ages in seconds of the wallet's own time, None = never; money USD, `spend_cap` None = no cap; `holder` None = nobody runs it."""

    feeds: dict[str, int | None]
    phase: str
    compared_s: int | None
    holder: str | None
    heartbeat_s: int | None
    model: str | None
    model_trouble: str | None
    spent: Decimal
    spend_cap: Decimal | None

    def as_dict(self) -> dict[str, Any]:
        """As `wallet show --json` shows it."""
        lease = None if self.holder is None else {"deployment": self.holder, "heartbeat_age_s": self.heartbeat_s}
        return {
            "feed_age_s": self.feeds,
            "reconciliation": {"phase": self.phase, "age_s": self.compared_s},
            "lease": lease,
            "model": None if self.model is None else {"id": self.model, "trouble": self.model_trouble},
            "budget": {"spent_today_usd": plain(self.spent), "cap_usd": None if self.spend_cap is None else plain(self.spend_cap)},
        }


@dataclass(frozen=True, slots=True)
class Hours:
    """When entries are placed: perpetual futures trade at all hours, so these are the person's own. `opens_ms` None = open now."""

    text: str | None
    opens_ms: int | None
    news_lockout_min: int

    def as_dict(self) -> dict[str, Any]:
        """As `wallet show --json` shows it."""
        return {
            "session_hours": self.text,
            "open": self.opens_ms is None,
            "opens_at": iso(self.opens_ms),
            "news_lockout_min": self.news_lockout_min,
        }


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a RuntimeSnapshot shows beside the money; `notes` are the user's pinned ones."""

    health: Health
    hours: Hours
    notes: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {
            "health": self.health.as_dict(),
            "market_hours": self.hours.as_dict(),
            "notes": self.notes.split("\n") if self.notes else [],
        }


def health_of(tx: Connection, state: RiskState, deployment: DeploymentRow | None, wall_ms: int) -> Health:
    """The health of a wallet with its newest deployment, of which model and budget are; spend is counted on days of the wall clock."""
    wallet, now = state.wallet.name, state.now_ms
    compared = events.read(tx, wallet=wallet, kinds=(EventKind.RECONCILE_PHASE.value,), limit=1, newest=True)
    lease = runs.lease(tx, wallet) or {}
    holder = lease.get("deployment")
    watched = sorted({*(deployment.markets if deployment else ()), *state.net})
    cap = deployment.source.get(BUDGET) if deployment else None
    return Health(
        feeds={market: _feed_age(state, market) for market in watched},
        phase=state.phase.value,
        compared_s=_age(now, compared[0]["time_ms"]) if compared else None,
        holder=holder,
        heartbeat_s=_age(now, lease["heartbeat_ms"]) if holder else None,
        model=(deployment.model or None) if deployment else None,
        model_trouble=_trouble(tx, deployment) if deployment else None,
        spent=notes.spent_on(tx, deployment.slug, day_start_ms(wall_ms)) if deployment else Decimal(0),
        spend_cap=None if cap is None else Decimal(cap),
    )


def hours_of(hours: SessionHours | None, news_lockout_min: int, now_ms: int) -> Hours:
    """The hours at an instant; None = always open."""
    is_open = hours is None or hours.is_open(now_ms)
    return Hours(hours.text if hours else None, None if is_open or hours is None else hours.opens_ms(now_ms), news_lockout_min)


def _feed_age(state: RiskState, market: str) -> int | None:
    """Of the newest mark; where nothing is held, of the newest bar the wallet has played: marks there stay as the last fill left them."""
    held = state.net.get(market)
    at = state.risk.market_clock_ms if held is None else held.mark_ms
    return None if at is None else _age(state.now_ms, at)


def _age(now_ms: int, at_ms: int) -> int:
    return max(0, now_ms - at_ms) // 1000


def _trouble(tx: Connection, deployment: DeploymentRow) -> str | None:
    """The code of an open incident about the model, when there is one."""
    codes = {code.value for code in MODEL_INCIDENTS}
    found = (row for row in notes.list_incidents(tx, only_open=True) if row["deployment"] == deployment.id and row["code"] in codes)
    return next((str(row["code"]) for row in found), None)
