"""The results file: what is kept comes back, many processes share it without seeing a lock, and a bad file says what to do."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from run_samples import HOUR, clock, trades_of

from tradeagent.domain.errors import BusyError, DataError, NotFound
from tradeagent.research import store
from tradeagent.research.run import Trades
from tradeagent.research.store import Stored, get, listed, mark, opened, save

METRICS = {"total_return_pct": 1.5, "sharpe": None, "max_drawdown_pct": 2.0, "trades": 2}


def sample(identity: str, created: int = 1, algo: str = "sma", bars: int = 50) -> Stored:
    trades = trades_of([{"entry_row": 1, "exit_row": 4, "gross": 10**15 + 1}, {"direction": -1, "entry_row": 5, "exit_row": 9}])
    document = {
        "algo": algo,
        "version": None,
        "algo_hash": "ff",
        "kernel": "k1",
        "metrics": METRICS,
        "data": {"market": "BTC", "fingerprint": "f"},
    }
    equity = 10**9 + np.arange(bars, dtype=np.int64) ** 3
    return Stored(identity, created, {"interval_ms": HOUR, "text": "name: ß"}, document, clock(bars) + HOUR, equity, trades)


def test_a_backtest_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    file, kept = tmp_path / "data" / store.FILE_NAME, sample("01AAA111")
    file.parent.mkdir()
    save(file, kept)
    found = get(file, "a111")
    assert (found.id, found.created_ms, found.config, found.document, found.moved) == ("01AAA111", 1, kept.config, kept.document, None)
    assert np.array_equal(found.equity, kept.equity) and np.array_equal(found.closes, kept.closes)
    assert all(np.array_equal(getattr(found.trades, name), getattr(kept.trades, name)) for name in Trades.__slots__)


def test_a_list_is_newest_first_and_can_be_narrowed(tmp_path: Path) -> None:
    file = tmp_path / store.FILE_NAME
    assert listed(file) == []
    for number, algo in enumerate(("sma", "rsi", "sma")):
        save(file, sample(f"01AAA{number}", number, algo))
    assert [row["id"] for row in listed(file)] == ["01AAA2", "01AAA1", "01AAA0"]
    assert [row["id"] for row in listed(file, algo="sma")] == ["01AAA2", "01AAA0"]
    assert [row["id"] for row in listed(file, limit=1)] == ["01AAA2"]
    assert listed(file, market="ETH") == []
    assert get(file, "last").id == "01AAA2"
    mark(file, "01AAA1", "kernel")
    assert [row["moved"] for row in listed(file)] == [None, "kernel", None]


def test_an_unknown_or_ambiguous_id_is_not_found(tmp_path: Path) -> None:
    file = tmp_path / store.FILE_NAME
    with pytest.raises(NotFound, match="no research results"):
        get(file, "last")
    save(file, sample("01AAA1"))
    save(file, sample("01BBB1"))
    with pytest.raises(NotFound, match="more than one backtest ends with '1'"):
        get(file, "1")
    for wrong in ("", "%", "01CCC", "' OR 1=1 --"):
        with pytest.raises(NotFound, match="no backtest"):
            get(file, wrong)


def test_an_error_inside_the_block_leaves_nothing_behind(tmp_path: Path) -> None:
    file = tmp_path / store.FILE_NAME
    save(file, sample("01AAA1"))
    with pytest.raises(ZeroDivisionError), opened(file, write=True) as connection:
        connection.execute("DELETE FROM backtests")
        1 / 0  # noqa: B018
    assert get(file, "last").id == "01AAA1"


def test_a_file_that_is_no_database_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / store.FILE_NAME
    file.write_bytes(b"not a database" * 1000)
    with pytest.raises(DataError, match=r"research.duckdb cannot be used") as caught:
        listed(file)
    assert "can be made again" in caught.value.hint


def test_waiting_for_the_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / store.FILE_NAME
    save(file, sample("01AAA1"))
    monkeypatch.setattr(store, "LOCK_TIMEOUT_S", 0.2)
    with opened(file, write=False), pytest.raises(BusyError, match="held by another process"):
        listed(file)


def _visit(file: Path, number: int, failures: "multiprocessing.Queue[str]") -> None:
    try:
        for turn in range(3):
            save(file, sample(f"01P{number}T{turn}", number * 10 + turn, bars=2_000))
            assert any(row["id"] == f"01P{number}T{turn}" for row in listed(file, limit=1000))
            assert len(get(file, f"P{number}T{turn}").equity) == 2_000
    except BaseException as error:
        failures.put(f"{number}: {error!r}")
        raise


def test_many_processes_write_and_read_without_seeing_a_lock(tmp_path: Path) -> None:
    file = tmp_path / store.FILE_NAME
    context = multiprocessing.get_context("spawn")
    failures: multiprocessing.Queue[str] = context.Queue()
    visitors = [context.Process(target=_visit, args=(file, number, failures)) for number in range(4)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join(60)
    assert [visitor.exitcode for visitor in visitors] == [0] * 4, [failures.get(timeout=1) for _ in range(failures.qsize())]
    assert len(listed(file, limit=1000)) == 12


def test_a_writer_that_is_killed_leaves_a_file_that_opens(tmp_path: Path) -> None:
    file = tmp_path / store.FILE_NAME
    save(file, sample("01AAA1"))
    context = multiprocessing.get_context("spawn")
    victim = context.Process(target=_die_while_writing, args=(file,))
    victim.start()
    victim.join(60)
    assert victim.exitcode == -9
    assert [row["id"] for row in listed(file)] == ["01AAA1"]
    save(file, sample("01AAA2", 2))
    assert get(file, "last").id == "01AAA2"


def _die_while_writing(file: Path) -> None:
    import os

    with opened(file, write=True) as connection:
        connection.execute("DELETE FROM backtests")
        os.kill(os.getpid(), 9)
