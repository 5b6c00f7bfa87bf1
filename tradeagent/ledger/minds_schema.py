"""Tables of what minds say, prepare and ask for: threads, drafts, cards, suggestions, jobs, and who may call over MCP. They hold no money;
a card or a suggestion changes nothing until a person decides, and then once."""

from sqlalchemy import Boolean, Column, Index, Integer, Table, Text

from tradeagent.ledger.research_schema import metadata
from tradeagent.ledger.schema import Json

__all__ = ["cards", "drafts", "jobs", "mcp_pins", "messages", "metadata", "suggestions", "threads", "tokens", "watchlist"]

threads = Table(
    "threads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("session", Text, nullable=True),
    Column("deployment", Text, nullable=True),
    Column("state", Text, nullable=False),
    Column("created_ms", Integer, nullable=False),
    Column("updated_ms", Integer, nullable=False),
    Index("threads_by_deployment", "deployment", "updated_ms"),
)

messages = Table(
    "messages",
    metadata,
    Column("thread", Text, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("role", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("content", Json, nullable=False),
    Column("created_ms", Integer, nullable=False),
    Column("done_ms", Integer, nullable=True),
    Index("messages_by_state", "state", "thread", "seq"),
)

drafts = Table(
    "drafts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("session", Text, nullable=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("body", Json, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("saved", Text, nullable=True),
    Column("created_ms", Integer, nullable=False),
    Column("updated_ms", Integer, nullable=False),
    Index("drafts_by_session", "session", "updated_ms"),
)

cards = Table(
    "cards",
    metadata,
    Column("id", Text, primary_key=True),
    Column("session", Text, nullable=True),
    Column("kind", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("action", Json, nullable=False),
    Column("consequences", Json, nullable=False),
    Column("seen", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_ms", Integer, nullable=False),
    Column("expires_ms", Integer, nullable=False),
    Column("decided_ms", Integer, nullable=True),
    Column("result", Json, nullable=True),
    Index("cards_by_state", "state", "created_ms"),
)

suggestions = Table(
    "suggestions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("slug", Text, nullable=False),
    Column("deployment", Text, nullable=True),
    Column("tick", Integer, nullable=True),
    Column("key", Text, nullable=False),
    Column("old", Json, nullable=True),
    Column("new", Json, nullable=True),
    Column("reason", Text, nullable=False),
    Column("base_version", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_ms", Integer, nullable=False),
    Column("decided_ms", Integer, nullable=True),
    Column("told_ms", Integer, nullable=True),
    Column("note", Text, nullable=False),
    Index("suggestions_by_slug", "slug", "state", "created_ms"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("session", Text, nullable=True),
    Column("arguments", Json, nullable=False),
    Column("state", Text, nullable=False),
    Column("progress", Json, nullable=True),
    Column("result", Json, nullable=True),
    Column("pid", Integer, nullable=True),
    Column("boot_id", Text, nullable=True),
    Column("created_ms", Integer, nullable=False),
    Column("started_ms", Integer, nullable=True),
    Column("ended_ms", Integer, nullable=True),
    Index("jobs_by_state", "state", "created_ms"),
)

watchlist = Table(
    "watchlist",
    metadata,
    Column("market", Text, primary_key=True),
    Column("note", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("added_ms", Integer, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("hash", Text, nullable=False, unique=True),
    Column("created_ms", Integer, nullable=False),
    Column("used_ms", Integer, nullable=True),
    Column("revoked_ms", Integer, nullable=True),
)

mcp_pins = Table(
    "mcp_pins",
    metadata,
    Column("server", Text, primary_key=True),
    Column("tool", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("is_read_only", Boolean, nullable=False),
    Column("described", Json, nullable=False),
    Column("state", Text, nullable=False),
    Column("decided_ms", Integer, nullable=False),
)
