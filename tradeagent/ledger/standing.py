"""What the door asks about its caller with every proposal, in one question: the statements cost more than their answers."""

from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import Connection, bindparam, exists, func, select

from tradeagent.domain.money import ZERO
from tradeagent.domain.names import IntentState
from tradeagent.ledger.direct import Read
from tradeagent.ledger.executors import is_live
from tradeagent.ledger.notes import KILL_SWITCH
from tradeagent.ledger.schema import deployments, executors, intents, kv, leases, llm_spend, orders, reservations
from tradeagent.ledger.trading import is_live_order


@dataclass(frozen=True, slots=True)
class Standing:
    """The wallet's newest fencing token, the deployment's state, the kill switch, the agent's model spend of a day in USD,
    whether the wallet has live orders, active reservations, intents of unknown outcome: mostly it has none to read; and how many
    executors of the deployment are alive."""

    token: int | None
    deployment_state: str | None
    kill_switch: bool
    spent: Decimal
    has_orders: bool
    has_reservations: bool
    has_unknown: bool
    live_executors: int


_STANDING = Read(
    select(
        select(leases.c.fencing_token).where(leases.c.wallet == bindparam("wallet")).scalar_subquery(),
        select(deployments.c.state).where(deployments.c.id == bindparam("deployment")).scalar_subquery(),
        select(kv.c.value).where(kv.c.key == KILL_SWITCH).scalar_subquery(),
        select(llm_spend.c.cost_usd)
        .where(llm_spend.c.slug == bindparam("slug"), llm_spend.c.day_ms == bindparam("day_ms"))
        .scalar_subquery(),
        exists().where(orders.c.wallet == bindparam("wallet"), is_live_order),
        exists().where(reservations.c.wallet == bindparam("wallet"), reservations.c.active),
        exists().where(intents.c.wallet == bindparam("wallet"), intents.c.state == IntentState.UNKNOWN.value),
        select(func.count()).select_from(executors).where(executors.c.deployment == bindparam("deployment"), is_live).scalar_subquery(),
    )
)


def standing(tx: Connection, wallet: str, deployment: str | None, slug: str, day_ms: int) -> Standing:
    """How the ledger sees a caller now; None where it knows no lease or no such deployment. `day_ms` starts a UTC day."""
    asked = {"wallet": wallet, "deployment": deployment, "slug": slug, "day_ms": day_ms}
    token, state, switch, spent, *present = _STANDING.rows(tx, asked)[0]
    return Standing(token, state, bool(switch), spent or ZERO, *present)
