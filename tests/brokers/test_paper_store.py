"""The file of a paper account: its format, what each change leaves in it, and who notices that somebody else wrote."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from test_paper import STEP, T0, X, again, agrees, bar, open_broker, order, play, stop

from tradeagent.brokers.paper import PaperBroker
from tradeagent.brokers.paper_store import PaperStore
from tradeagent.brokers.protocol import CashFlow, OrderChange
from tradeagent.domain.clock import SimulatedClock
from tradeagent.domain.costs import FeeSchedule
from tradeagent.domain.errors import DataError
from tradeagent.domain.names import Liquidity, OrderState, OrderType, Side
from tradeagent.domain.order import Fill
from tradeagent.venue import VenueState

D = Decimal
FIRST_FORMAT = Path(__file__).with_name("paper_v1.sql")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[PaperBroker]:
    made = open_broker(tmp_path)
    made.transfer(D(10_000))
    play(made, T0, 100)
    yield made
    made.close()


def some_of_everything(root: Path) -> PaperBroker:
    """An account that was paid in, bought, protects what it bought, and took one order back."""
    broker = open_broker(root)
    broker.transfer(D(1000))
    play(broker, T0, 100)
    broker.place([order("0x1"), stop("0x2", "95", parent_cloid="0x1")])
    play(broker, T0 + STEP, 100, funding=(("X", T0, 100_000),))
    broker.place([order("0x3", type=OrderType.LIMIT, price=D(90))])
    broker.cancel("0x3")
    return broker


def dump(root: Path) -> str:
    with closing(sqlite3.connect(root / "paper.db")) as raw:
        (version,) = raw.execute("PRAGMA user_version").fetchone()
        return "\n".join([f"PRAGMA user_version={version};", *raw.iterdump()]) + "\n"


def rows(root: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(root / "paper.db")) as raw:
        return raw.execute(query).fetchall()


def test_the_format_of_the_file_is_the_one_that_accounts_of_users_have(tmp_path: Path) -> None:
    some_of_everything(tmp_path).close()
    assert dump(tmp_path) == FIRST_FORMAT.read_text(encoding="utf-8"), "another format needs another number and a way to read this one"


def test_an_account_written_earlier_opens_and_trades_on(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "paper.db")) as raw:
        raw.executescript(FIRST_FORMAT.read_text(encoding="utf-8"))
    broker = open_broker(tmp_path)
    account = broker.account()
    assert (account.cash, account.positions, account.open_cloids) == (D("999.954991"), {"X": (1, D("100.02"))}, {"0x2"})
    told = {cloid: broker.order_status(cloid) for cloid in ("0x1", "0x2", "0x3")}
    states = [OrderState.FILLED, OrderState.OPEN, OrderState.CANCELLED]
    assert [found.state for found in told.values() if found is not None] == states
    play(broker, T0 + 2 * STEP, 100, 100, 94, 94)
    assert broker.account().positions == {}
    agrees(broker)
    broker.close()


def test_a_file_goes_where_there_is_no_folder_yet_and_opening_it_again_changes_nothing(tmp_path: Path) -> None:
    root = tmp_path / "wallets" / "one"
    open_broker(root).close()
    before = dump(root)
    open_broker(root).close()
    assert dump(root) == before


def test_a_file_that_cannot_be_opened_says_which(tmp_path: Path) -> None:
    (tmp_path / "paper.db").mkdir()
    with pytest.raises(DataError, match=r"paper\.db cannot be opened"):
        open_broker(tmp_path)


def test_each_change_leaves_its_own_rows_and_a_refused_one_none(broker: PaperBroker, tmp_path: Path) -> None:
    def wrote(after: int) -> list[str]:
        return [type(entry.item).__name__ for entry in broker.activity_since(after)]

    def last() -> int:
        return max(entry.seq for entry in broker.activity_since(0))

    begin = last()
    broker.set_leverage("X", 5)
    assert wrote(begin) == []
    broker.place([order("0x1", at_mark=True)])
    assert wrote(begin) == ["Fill", "OrderChange"]
    begin = last()
    broker.transfer(D(5))
    assert [entry.item for entry in broker.activity_since(begin)] == [CashFlow(T0 + STEP, D(5))]
    begin = last()
    broker.place([order("0x2", type=OrderType.LIMIT, price=D(90))])
    assert rows(tmp_path, "SELECT cloid FROM finished") == [("0x1",)], "an open order has not ended"
    broker.cancel("0x2")
    items = [entry.item for entry in broker.activity_since(begin)]
    assert [item.report.state for item in items if isinstance(item, OrderChange)] == [OrderState.OPEN, OrderState.CANCELLED]
    assert rows(tmp_path, "SELECT cloid FROM finished") == [("0x1",), ("0x2",)]
    (version,) = rows(tmp_path, "SELECT version FROM venue")
    assert list(broker.activity_since(last())) == [] and rows(tmp_path, "SELECT version FROM venue") == [version], "reading writes nothing"


def test_every_write_counts_one_up_whoever_makes_it(broker: PaperBroker, tmp_path: Path) -> None:
    other = open_broker(tmp_path)
    for count, writer in enumerate((broker, other, other, broker), start=2):
        writer.transfer(D(1))
        assert rows(tmp_path, "SELECT id, version FROM venue") == [(1, count)]
    assert broker.account().cash == other.account().cash == 10_004
    other.close()


def test_a_reader_gets_the_state_once_and_again_only_after_somebody_else_wrote(broker: PaperBroker, tmp_path: Path) -> None:
    store = PaperStore(tmp_path / "paper.db", durable=False)
    first = store.reload()
    assert first is not None and first.cash == 10_000_000_000
    assert store.reload() is None
    broker.transfer(D(1))
    second = store.reload()
    assert second is not None and second.cash == 10_001_000_000 and store.reload() is None
    with store.transaction():
        store.save(second, (), ())
    assert store.reload() is None, "its own write is known to it"
    store.close()


def test_an_empty_account_has_no_state_and_is_read_when_it_gets_one(tmp_path: Path) -> None:
    first, second = open_broker(tmp_path), open_broker(tmp_path)
    assert first.account().cash == second.account().cash == 0
    first.transfer(D(7))
    assert second.account().cash == 7
    first.close()
    second.close()


def test_who_dies_after_the_commit_reads_what_it_wrote(broker: PaperBroker) -> None:
    store = broker._store
    with pytest.raises(KeyboardInterrupt), store.transaction():
        store.save(VenueState(cash=3_000_000), (), ())
        store._db.execute("COMMIT")
        raise KeyboardInterrupt
    assert broker.account().cash == 3, "its memory did not move with the file"


def test_who_dies_before_the_commit_leaves_no_trace(broker: PaperBroker, tmp_path: Path) -> None:
    before = dump(tmp_path)
    with pytest.raises(KeyboardInterrupt), broker._store.transaction():
        broker._store.save(VenueState(cash=3_000_000), (CashFlow(T0, D(3)),), ())
        raise KeyboardInterrupt
    assert dump(tmp_path) == before and broker.account().cash == 10_000
    broker.transfer(D(1))
    assert broker.account().cash == 10_001


def test_a_bar_is_played_on_what_another_process_placed_while_it_came(broker: PaperBroker, tmp_path: Path) -> None:
    broker.place([order("0x1", at_mark=True)])
    other = open_broker(tmp_path)
    reload, placed = broker._store.reload, []

    def reload_then_lose_the_race() -> VenueState | None:
        found = reload()
        if not placed:
            placed.extend(other.place([order("0x2", Side.SELL, type=OrderType.LIMIT, price=D(101), reduce_only=True)]))
        return found

    broker._store.reload = reload_then_lose_the_race  # type: ignore[method-assign]
    broker.play_open(T0 + STEP, {"X": bar(T0 + STEP, 100, 102, 100, 102)}, ())
    play(broker, T0 + STEP, 100, 102, 100, 102)
    assert [report.state for report in placed] == [OrderState.OPEN]
    sold = broker.order_status("0x2")
    assert sold is not None and sold.state is OrderState.FILLED and broker.account().positions == {}
    agrees(broker)
    other.close()


def test_a_mark_that_came_too_late_is_not_said_to_be_kept(broker: PaperBroker, tmp_path: Path) -> None:
    state = broker._fresh()
    with closing(sqlite3.connect(tmp_path / "paper.db")) as raw, raw:
        raw.execute("CREATE TABLE beside (x)")
    before = dump(tmp_path)
    assert broker._store.note(state) is False and dump(tmp_path) == before
    broker._fresh()
    assert broker._store.note(state) is True and rows(tmp_path, "SELECT version FROM venue") == [(2,)]


def test_only_the_newest_ended_orders_are_remembered_after_a_restart(
    broker: PaperBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradeagent.brokers.paper_store.FINISHED_KEPT", 3)
    for number in range(5):
        broker.place([order(f"0x{number}", type=OrderType.LIMIT, price=D(90))])
        broker.cancel(f"0x{number}")
    second = again(broker, tmp_path)
    assert [second.order_status(f"0x{number}") is not None for number in range(5)] == [False, False, True, True, True]
    assert list(second._fresh().finished) == ["0x2", "0x3", "0x4"], "the oldest is the first to be forgotten"
    second.close()


def test_a_resting_order_pays_the_fee_of_a_maker_and_others_that_of_a_taker(tmp_path: Path) -> None:
    broker = PaperBroker(tmp_path / "paper.db", {"X": X}, SimulatedClock(0), fees=FeeSchedule(D("0.0005"), D("0.0002")), durable=False)
    broker.transfer(D(10_000))
    play(broker, T0, 100)
    broker.place([order("0x1", type=OrderType.LIMIT, price=D(90)), order("0x2", at_mark=True)])
    play(broker, T0 + STEP, 100, 100, 80, 100)
    fills = {entry.item.cloid: entry.item for entry in broker.activity_since(0) if isinstance(entry.item, Fill)}
    assert (fills["0x1"].liquidity, fills["0x1"].price, fills["0x1"].fee) == (Liquidity.MAKER, 90, D("0.018"))
    assert (fills["0x2"].liquidity, fills["0x2"].price, fills["0x2"].fee) == (Liquidity.TAKER, D("100.02"), D("0.05001"))
    broker.close()


def test_the_last_to_close_leaves_one_file_and_one_thread_may_open_what_another_uses(tmp_path: Path) -> None:
    broker = open_broker(tmp_path)
    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(broker.transfer, D(1)).result()
    assert broker.account().cash == 1
    broker.close()
    assert [file.name for file in tmp_path.iterdir()] == ["paper.db"]


def test_an_open_that_is_sent_alone_fills_what_waits_for_it(broker: PaperBroker) -> None:
    broker.place([order("0x1")])
    broker.play_open(T0 + STEP, {"X": bar(T0 + STEP, 101)}, ())
    filled = broker.order_status("0x1")
    assert filled is not None and filled.average_price == D("101.021")
    assert broker.activity_since(0)[-1].time_ms == T0 + STEP
    agrees(broker)
