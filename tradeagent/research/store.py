"""Research results on disk: one DuckDB file, opened briefly under a file lock with bounded waiting, so that no reader or writer ever meets
another one's lock. Nothing about money depends on it: a result can be made again from its config."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tradeagent.domain.errors import NotFound
from tradeagent.market.warehouse import explained
from tradeagent.research.run import Ints, Trades
from tradeagent.workspace.locks import fair_lock

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FILE_NAME = "research.duckdb"
LOCK_TIMEOUT_S = 30.0
LAST = "last"
_TABLES = """
CREATE TABLE IF NOT EXISTS backtests (
    id VARCHAR, created_ms BIGINT, algo VARCHAR, version INTEGER, market VARCHAR, interval_ms BIGINT, first_ms BIGINT, last_ms BIGINT,
    algo_hash VARCHAR, fingerprint VARCHAR, kernel VARCHAR, total_return_pct DOUBLE, sharpe DOUBLE, max_drawdown_pct DOUBLE, trades BIGINT,
    moved VARCHAR, config VARCHAR, document VARCHAR
);
CREATE TABLE IF NOT EXISTS backtest_equity (backtest VARCHAR, time_ms BIGINT, equity_micro BIGINT);
CREATE TABLE IF NOT EXISTS backtest_trades (
    backtest VARCHAR, number BIGINT, direction BIGINT, entry_row BIGINT, entry_price BIGINT, exit_row BIGINT, exit_price BIGINT,
    size BIGINT, gross BIGINT, fees BIGINT, funding BIGINT, mae BIGINT, mfe BIGINT, stop BIGINT, exit_reason BIGINT, leg BIGINT
);
"""
_LISTED = (
    "id", "created_ms", "algo", "version", "market", "interval_ms", "first_ms", "last_ms", "total_return_pct", "sharpe", "max_drawdown_pct",
    "trades", "kernel", "moved",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """One backtest as it is kept: `document` is what the command printed (with trades), `config` what makes it again.

    `closes` are the closes of its bars (UTC ms), `equity` in 10⁻⁶ quote units beside them. `moved` says what a later `--again` found
    different, "" when it was equal, None when nobody looked.
    """

    id: str
    created_ms: int
    config: Mapping[str, Any]
    document: Mapping[str, Any]
    closes: Ints
    equity: Ints
    trades: Trades
    moved: str | None = None

    @property
    def markets(self) -> tuple[str, ...]:
        """Those of its account, in the order of the legs."""
        return (self.config["market"], *self.config.get("others", ()))


@contextmanager
def opened(path: Path, *, write: bool) -> Iterator["DuckDBPyConnection"]:
    """The results file, held for the length of the block; keep it short. Others wait for it up to 30 s, then BusyError.

    `write` makes the file and its tables when they are missing, and commits the whole block or nothing of it.
    Raises DataError with DuckDB's reason when the file cannot be read or written, NotFound when it is missing and only read.
    """
    import duckdb

    if not write and not path.exists():
        raise NotFound("no research results are stored yet", hint="tradeagent backtest run sma_cross --market BTC --interval 5m")
    hint = f"check free space and permissions of {path.parent}; if it stays, move {path.name} away: results can be made again"
    with (
        fair_lock(path.with_suffix(".lock"), LOCK_TIMEOUT_S),
        explained(f"{path.name} cannot be used", hint),
        duckdb.connect(str(path), read_only=not write, config=_SETTINGS) as connection,
    ):
        if not write:
            yield connection
            return
        connection.execute("BEGIN")
        connection.execute(_TABLES)
        yield connection
        connection.execute("COMMIT")


_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "1GB",
    "threads": 2,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


def save(path: Path, stored: Stored) -> None:
    """Keep one backtest."""
    document, config = stored.document, stored.config
    metrics, data = document["metrics"], document["data"]
    row = {
        "id": stored.id,
        "created_ms": stored.created_ms,
        "algo": document["algo"],
        "version": document["version"],
        "market": data["market"],
        "interval_ms": config["interval_ms"],
        "first_ms": int(stored.closes[0]) - config["interval_ms"],
        "last_ms": int(stored.closes[-1]) - config["interval_ms"],
        "algo_hash": document["algo_hash"],
        "fingerprint": data["fingerprint"],
        "kernel": document["kernel"],
        **{key: metrics[key] for key in ("total_return_pct", "sharpe", "max_drawdown_pct", "trades")},
        "moved": stored.moved,
        "config": json.dumps(config, ensure_ascii=False),
        "document": json.dumps(document, ensure_ascii=False, allow_nan=False),
    }
    trades = {name: getattr(stored.trades, name) for name in Trades.__slots__}
    with opened(path, write=True) as connection:
        marks = ", ".join("?" * len(row))
        connection.execute(f"INSERT INTO backtests ({', '.join(row)}) VALUES ({marks})", list(row.values()))
        _insert(connection, "backtest_equity", stored.id, {"time_ms": stored.closes, "equity_micro": stored.equity})
        if len(stored.trades):
            _insert(connection, "backtest_trades", stored.id, {"number": np.arange(len(stored.trades)), **trades})


def _insert(connection: "DuckDBPyConnection", table: str, backtest: str, columns: Mapping[str, Ints]) -> None:
    connection.register("incoming", dict(columns))
    names = ", ".join(columns)
    connection.execute(f"INSERT INTO {table} (backtest, {names}) SELECT ?, {names} FROM incoming", [backtest])
    connection.unregister("incoming")


def mark(path: Path, backtest: str, moved: str) -> None:
    """Note what a re-creation found: "" for equal, else what moved."""
    with opened(path, write=True) as connection:
        connection.execute("UPDATE backtests SET moved = ? WHERE id = ?", [moved, backtest])


def listed(path: Path, limit: int = 50, algo: str | None = None, market: str | None = None) -> list[dict[str, Any]]:
    """Newest first, one dict each, without documents; [] when nothing is stored."""
    if not path.exists():
        return []
    tests = (("algo = ?", algo), ("list_contains(list_append(string_split(market, '+'), market), ?)", market))
    where = [(test, value) for test, value in tests if value is not None]
    condition = " AND ".join(test for test, _ in where) or "true"
    query = f"SELECT {', '.join(_LISTED)} FROM backtests WHERE {condition} ORDER BY created_ms DESC, id DESC LIMIT ?"
    with opened(path, write=False) as connection:
        rows = connection.execute(query, [*(value for _, value in where), limit]).fetchall()
    return [dict(zip(_LISTED, row, strict=True)) for row in rows]


def newest_document(path: Path, algo_hash: str, market: str, interval_ms: int) -> dict[str, Any] | None:
    """The document of the newest backtest of exactly this algo on a market and interval, None when none is stored."""
    if not path.exists():
        return None
    query = (
        "SELECT document FROM backtests WHERE algo_hash = ? AND market = ? AND interval_ms = ? ORDER BY created_ms DESC, id DESC LIMIT 1"
    )
    with opened(path, write=False) as connection:
        found = connection.execute(query, [algo_hash, market, interval_ms]).fetchone()
    return None if found is None else dict(json.loads(found[0]))


def get(path: Path, reference: str) -> Stored:
    """A backtest by its id, an end of it that fits only one, or `last`. NotFound names what was asked for."""
    with opened(path, write=False) as connection:
        found = _row(connection, reference)
        equity = connection.execute("SELECT time_ms, equity_micro FROM backtest_equity WHERE backtest = ? ORDER BY time_ms", [found["id"]])
        curve = equity.fetchnumpy()
        names = ", ".join(Trades.__slots__)
        kept = connection.execute(f"SELECT {names} FROM backtest_trades WHERE backtest = ? ORDER BY number", [found["id"]]).fetchnumpy()
    return Stored(
        found["id"],
        found["created_ms"],
        json.loads(found["config"]),
        json.loads(found["document"]),
        np.asarray(curve["time_ms"], np.int64),
        np.asarray(curve["equity_micro"], np.int64),
        Trades(*(np.asarray(kept[name], np.int64) for name in Trades.__slots__)),
        found["moved"],
    )


def _row(connection: "DuckDBPyConnection", reference: str) -> dict[str, Any]:
    columns: Sequence[str] = ("id", "created_ms", "config", "document", "moved")
    query = f"SELECT {', '.join(columns)} FROM backtests"
    if reference == LAST:
        rows = connection.execute(f"{query} ORDER BY created_ms DESC, id DESC LIMIT 1").fetchall()
    else:
        rows = connection.execute(f"{query} WHERE suffix(id, ?) LIMIT 2", [reference.upper()]).fetchall() if reference else []
    if len(rows) != 1:
        why = f"more than one backtest ends with {reference!r}" if rows else f"no backtest {reference!r}"
        raise NotFound(why, hint="last is the newest; `tradeagent backtest list` shows all of them", details={"id": reference})
    return dict(zip(columns, rows[0], strict=True))
