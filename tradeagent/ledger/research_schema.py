"""Tables of algorithms and of the trials made with them. They hold no money, and belong to the ledger because they must survive it all:
a saved version is immutable, and a trial once counted stays counted (research.md §3)."""

from sqlalchemy import Column, Float, Index, Integer, Table, Text, UniqueConstraint

from tradeagent.ledger.schema import Json, metadata

__all__ = ["algo_versions", "algos", "metadata", "studies", "study_trials", "trials"]

algos = Table(
    "algos",
    metadata,
    Column("name", Text, primary_key=True),
    Column("lineage", Text, nullable=False),
    Column("created_ms", Integer, nullable=False),
)

algo_versions = Table(
    "algo_versions",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("hash", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("created_ms", Integer, nullable=False),
    UniqueConstraint("name", "hash"),
)

trials = Table(
    "trials",
    metadata,
    Column("key", Text, primary_key=True),
    Column("idea", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("sharpe_daily", Float, nullable=True),
    Column("time_ms", Integer, nullable=False),
    Index("trials_by_idea", "idea"),
)

studies = Table(
    "studies",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("plan", Json, nullable=False),
    Column("result", Json, nullable=True),
    Column("time_ms", Integer, nullable=False),
)

study_trials = Table(
    "study_trials",
    metadata,
    Column("study", Text, primary_key=True),
    Column("fold", Integer, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("state", Text, nullable=False),
    Column("params", Json, nullable=False),
    Column("score", Float, nullable=True),
    Column("result", Json, nullable=False),
)
