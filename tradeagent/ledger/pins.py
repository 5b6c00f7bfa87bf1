"""What a person has said about tools of MCP servers: a tool is used as it was described then, or not at all."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from tradeagent.domain.names import PinState
from tradeagent.ledger.minds_schema import mcp_pins


@dataclass(frozen=True, slots=True)
class PinRow:
    """`fingerprint` covers where the server is and all that it says of the tool; `described` is what models are told of it.

    `is_read_only`: the person lets it run unasked. `decided_ms` is UTC ms.
    """

    server: str
    tool: str
    fingerprint: str
    is_read_only: bool
    described: dict[str, Any]
    state: str
    decided_ms: int


def put(tx: Connection, row: PinRow) -> None:
    """Record a decision, in place of an earlier one."""
    tx.execute(delete(mcp_pins).where(mcp_pins.c.server == row.server, mcp_pins.c.tool == row.tool))
    tx.execute(insert(mcp_pins).values(**asdict(row)))


def listed(tx: Connection, servers: Collection[str] | None = None) -> list[PinRow]:
    """By server and tool; None is all servers."""
    query = select(mcp_pins).order_by(mcp_pins.c.server, mcp_pins.c.tool)
    if servers is not None:
        query = query.where(mcp_pins.c.server.in_(servers))
    return [PinRow(**row._mapping) for row in tx.execute(query)]


def drop(tx: Connection, server: str, tools: Collection[str]) -> None:
    """Forget tools that are there no more."""
    tx.execute(delete(mcp_pins).where(mcp_pins.c.server == server, mcp_pins.c.tool.in_(tools)))


def mark_changed(tx: Connection, server: str, tools: Collection[str]) -> None:
    """These are not what was approved any more."""
    approved = (mcp_pins.c.server == server, mcp_pins.c.tool.in_(tools), mcp_pins.c.state == PinState.APPROVED.value)
    tx.execute(update(mcp_pins).where(*approved).values(state=PinState.CHANGED.value))
