"""Run by Alembic for each command, on the connection it is handed."""

from typing import Any, Literal

from alembic import context

from tradeagent.ledger.minds_schema import metadata
from tradeagent.ledger.schema import Json, Money


def _plain_types(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Write our decorated types as what SQLite stores, so that an old script never depends on today's code."""
    return "sa.Text()" if kind == "type" and isinstance(item, (Json, Money)) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_item=_plain_types,
)
with context.begin_transaction():
    context.run_migrations()
