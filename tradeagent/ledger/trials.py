"""Every try at an idea, counted once and kept for ever, so that a good result can be weighed against how often one looked."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.sqlite import insert as upsert

from tradeagent.ledger.research_schema import trials


@dataclass(frozen=True, slots=True)
class Trial:
    """One try. `sharpe_daily` is the Sharpe ratio of its daily returns, not annualised; None when it has none."""

    key: str
    idea: str
    source: str
    sharpe_daily: float | None


@dataclass(frozen=True, slots=True)
class Tries:
    """How often an idea was tried, and the daily Sharpe ratios of the tries that have one."""

    count: int
    sharpes: tuple[float, ...]


def idea_of(lineage: str, market: str) -> str:
    """An idea is the lineage of an algo on one market, whatever its version, parameters or interval."""
    return f"{lineage}@{market}"


def key_of(algo_hash: str, params: Mapping[str, object], series: tuple[str, int, int, int], costs: Mapping[str, object]) -> str:
    """What makes two tries the same: the algo, all its parameters, `series` (market, interval in ms, first and last bar in UTC ms), and
    the costs. Numbers count by value, so that 2 and 2.0 are one."""
    parts = [algo_hash, _plain(params), list(series), _plain(costs)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def add(tx: Connection, tries: Sequence[Trial], now_ms: int) -> int:
    """Count the tries that were not there yet; how many those were."""
    before = _size(tx)
    if tries:
        rows = [{**asdict(one), "time_ms": now_ms} for one in tries]
        tx.execute(upsert(trials).on_conflict_do_nothing(index_elements=["key"]), rows)
    return _size(tx) - before


def of_idea(tx: Connection, idea: str) -> Tries:
    """All tries at an idea, of every session, backtest, optimisation and validation."""
    found = tx.scalars(select(trials.c.sharpe_daily).where(trials.c.idea == idea).order_by(trials.c.key)).all()
    return Tries(len(found), tuple(sharpe for sharpe in found if sharpe is not None))


def _size(tx: Connection) -> int:
    return int(tx.execute(select(func.count()).select_from(trials)).scalar_one())


def _plain(values: Mapping[str, object]) -> dict[str, str]:
    return {key: _text(value) for key, value in values.items()}


def _text(value: object) -> str:
    is_number = isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
    return f"{Decimal(str(value)).normalize():f}" if is_number else str(value)
