"""The paper account is a venue of its own: it survives kill -9, is shared by processes, and repeats nothing."""

import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from tradeagent.brokers.paper import PaperBroker
from tradeagent.brokers.paper_store import FORMAT
from tradeagent.brokers.protocol import Activity, CashFlow, Liquidation, OrderChange
from tradeagent.brokers.refusing import RefusingBroker
from tradeagent.domain.bars import Bar
from tradeagent.domain.clock import SimulatedClock
from tradeagent.domain.costs import FeeSchedule
from tradeagent.domain.errors import DataError, RefusedError, VenueError
from tradeagent.domain.instrument import Instrument, MarginTier
from tradeagent.domain.names import ExitReason, OrderState, OrderType, Rule, Side
from tradeagent.domain.order import Fill, FundingPayment, OrderRequest
from tradeagent.domain.position import Position, apply_fill

D = Decimal
X = Instrument("v", "X", 3, (MarginTier(D(0), 50),))
STEP = 300_000
T0 = 1_767_787_200_000


def bar(open_ms: int, *prices: float) -> Bar:
    o, h, low, c = (int(D(str(p)) * 1000) for p in (prices * 4 if len(prices) == 1 else prices))
    return Bar("X", open_ms, STEP, o, h, low, c, 1_000_000)


def play(broker: PaperBroker, open_ms: int, *prices: float, funding: tuple[tuple[str, int, int], ...] = ()) -> None:
    broker.play_close(open_ms + STEP, {"X": bar(open_ms, *prices)}, funding)


def order(cloid: str, side: Side = Side.BUY, size: str = "1", **more: object) -> OrderRequest:
    return OrderRequest(cloid, "X", side, more.pop("type", OrderType.MARKET), D(size), **more)  # type: ignore[arg-type]


def stop(cloid: str, trigger: str, size: str = "1", **more: object) -> OrderRequest:
    return order(cloid, Side.SELL, size, type=OrderType.STOP_MARKET, trigger=D(trigger), reduce_only=True, **more)


def open_broker(root: Path, **more: object) -> PaperBroker:
    return PaperBroker(root / "paper.db", {"X": X}, more.pop("clock", SimulatedClock(0)), durable=False, **more)  # type: ignore[arg-type]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[PaperBroker]:
    made = open_broker(tmp_path)
    made.transfer(D(10_000))
    play(made, T0, 100)
    yield made
    made.close()


def again(broker: PaperBroker, root: Path) -> PaperBroker:
    broker.close()
    return open_broker(root)


def replayed(activity: list[Activity]) -> tuple[Decimal, Position]:
    """Cash and position as they follow from the record alone."""
    cash, position = D(0), Position("X")
    for entry in activity:
        item = entry.item
        if isinstance(item, Fill):
            booked = apply_fill(position, item.side, item.size, item.price)
            assert booked.realised_pnl == item.realised_pnl
            position, cash = booked.position, cash + item.realised_pnl - item.fee
        elif isinstance(item, FundingPayment):
            cash -= item.payment
        elif isinstance(item, CashFlow):
            cash += item.amount
        elif isinstance(item, Liquidation) and item.kind == "backstop":
            cash -= item.amount
    return cash, position


def agrees(broker: PaperBroker) -> None:
    cash, position = replayed(list(broker.activity_since(0)))
    account = broker.account()
    assert account.cash == cash
    assert account.positions == ({} if position.is_flat else {"X": (position.size, position.cost)})


def test_an_order_waits_for_the_open_and_pays_slippage_and_fee(broker: PaperBroker) -> None:
    (report,) = broker.place([order("0x1")])
    assert (report.state, report.filled, report.average_price) == (OrderState.PENDING, 0, None)
    play(broker, T0 + STEP, 101, 103, 100, 102)
    done = broker.order_status("0x1")
    assert done is not None and (done.state, done.filled, done.average_price) == (OrderState.FILLED, 1, D("101.021"))
    fill = next(a.item for a in broker.activity_since(0) if isinstance(a.item, Fill))
    assert (fill.time_ms, fill.fee, fill.price) == (T0 + STEP, D("0.045459"), D("101.021"))
    assert broker.account().cash == D("9999.954541")
    agrees(broker)


def test_fees_slippage_and_path_are_configured(tmp_path: Path) -> None:
    broker = open_broker(tmp_path, fees=FeeSchedule(D("0.001"), D(0)), slippage_bps=D("0"), path="nearest")
    broker.transfer(D(1000))
    play(broker, T0, 100)
    broker.place(
        [
            order("0x1"),
            stop("0x2", "95", parent_cloid="0x1"),
            order("0x3", Side.SELL, type=OrderType.TAKE_PROFIT_MARKET, trigger=D(110), reduce_only=True, parent_cloid="0x1"),
        ]
    )
    play(broker, T0 + STEP, 100)
    play(broker, T0 + 2 * STEP, 100, 112, 80, 100)  # the high is nearer to the open than the low
    assert [a.item.reason for a in broker.activity_since(0) if isinstance(a.item, Fill)] == [None, ExitReason.TARGET]
    assert broker.account().cash == D("1009.79")
    broker.close()


def test_a_restart_changes_nothing(broker: PaperBroker, tmp_path: Path) -> None:
    broker.place([order("0x1", size="2"), stop("0x2", "95", "2", parent_cloid="0x1")])
    play(broker, T0 + STEP, 100)
    broker.place([order("0x3", type=OrderType.LIMIT, price=D(90))])
    before, record = broker.account(), list(broker.activity_since(0))
    second = again(broker, tmp_path)
    assert second.account() == before and list(second.activity_since(0)) == record
    assert before.open_cloids == {"0x2", "0x3"}
    assert [r.state for r in second.place([order("0x3", type=OrderType.LIMIT, price=D(90))])] == [OrderState.OPEN]
    told = list(second.activity_since(record[-1].seq))
    assert second.account() == before and [type(a.item) for a in told] == [OrderChange], "only told again what it is"
    agrees(second)
    second.close()


def test_a_known_cloid_sent_again_gets_the_same_answer_and_does_nothing(broker: PaperBroker, tmp_path: Path) -> None:
    group = [order("0x1"), stop("0x2", "95", parent_cloid="0x1")]
    broker.place(group)
    play(broker, T0 + STEP, 100)
    first = broker.account()
    assert [r.state for r in broker.place(group)] == [OrderState.FILLED, OrderState.OPEN]
    second = again(broker, tmp_path)
    assert [r.state for r in second.place(group)] == [OrderState.FILLED, OrderState.OPEN]
    assert second.account() == first and len([a for a in second.activity_since(0) if isinstance(a.item, Fill)]) == 1
    refused = order("0x9", size="0.001")
    assert [second.place([refused])[0].reason for _ in range(2)] == ["Order must have minimum value of $10."] * 2
    second.close()


def writes(root: Path) -> int:
    with sqlite3.connect(root / "paper.db") as raw:
        return int(raw.execute("SELECT version FROM venue").fetchone()[0])


def test_a_bar_on_an_idle_account_is_not_written(broker: PaperBroker, tmp_path: Path) -> None:
    before = writes(tmp_path)
    for i in range(2, 8):
        play(broker, T0 + i * STEP, 100, 101, 99, 100 + i / 10)
    assert writes(tmp_path) == before


def test_with_a_position_every_mark_is_kept_and_playing_a_bar_again_gives_the_same(broker: PaperBroker, tmp_path: Path) -> None:
    broker.place([order("0x1"), stop("0x2", "95", parent_cloid="0x1")])
    play(broker, T0 + STEP, 100)
    for i in range(2, 8):
        play(broker, T0 + i * STEP, 100, 101, 99, 100 + i / 10)
    free = broker.free()
    second = again(broker, tmp_path)
    assert second.free() == free, "whoever opens the account next closes at the newest price"
    for i in range(2, 8):
        play(second, T0 + i * STEP, 100, 101, 99, 100 + i / 10)
    assert second.free() == free
    play(second, T0 + 8 * STEP, 100, 100, 94, 94)
    assert second.account().positions == {}
    agrees(second)
    second.close()


def test_a_mark_never_overwrites_what_another_process_did_meanwhile(broker: PaperBroker, tmp_path: Path) -> None:
    broker.place([order("0x1")])
    play(broker, T0 + STEP, 100)
    other = open_broker(tmp_path)
    other.account()
    reload, closed = broker._store.reload, []

    def reload_then_lose_the_race() -> object:
        found = reload()
        if not closed:
            closed.extend(other.place([order("0x2", Side.SELL, reduce_only=True, at_mark=True)]))
        return found

    broker._store.reload = reload_then_lose_the_race  # type: ignore[method-assign]
    play(broker, T0 + 2 * STEP, 100)
    assert broker.account().positions == {}
    assert closed[0].state is OrderState.FILLED
    other.close()
    agrees(broker)


def test_a_bar_played_twice_fills_and_pays_once(broker: PaperBroker) -> None:
    broker.place([order("0x1")])
    for _ in range(2):
        broker.play_open(T0 + STEP, {"X": bar(T0 + STEP, 100)}, (("X", T0, 100_000),))
        play(broker, T0 + STEP, 100, funding=(("X", T0, 100_000),))
    for _ in range(2):
        play(broker, T0 + 2 * STEP, 100, funding=(("X", T0 + 2 * STEP, 100_000),))
    items = [a.item for a in broker.activity_since(0)]
    assert len([i for i in items if isinstance(i, Fill)]) == 1
    assert [(i.size, i.oracle_price, i.rate, i.payment) for i in items if isinstance(i, FundingPayment)] == [
        (1, 100, D("0.00001"), D("0.001"))
    ]
    agrees(broker)


def test_two_processes_see_each_others_writes(broker: PaperBroker, tmp_path: Path) -> None:
    broker.place([order("0x1", size="2")])
    play(broker, T0 + STEP, 100)
    script = textwrap.dedent(f"""
        import sys
        from decimal import Decimal as D
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_paper import open_broker, order, Side
        broker = open_broker(Path(sys.argv[1]))
        broker.place([order("0x7", Side.SELL, "2", reduce_only=True, at_mark=True)])
        broker.transfer(D(5))
        broker.close()
    """)
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    assert broker.account().positions == {}
    closed = broker.order_status("0x7")
    assert closed is not None and closed.state is OrderState.FILLED
    broker.place([order("0x8")])
    play(broker, T0 + 2 * STEP, 100)
    assert broker.account().positions["X"][0] == 1
    agrees(broker)


def test_two_processes_that_write_at_once_lose_and_double_nothing(broker: PaperBroker, tmp_path: Path) -> None:
    broker.place([order("0x1", size="0.2", at_mark=True)])  # the mark goes into the file with it
    script = textwrap.dedent(f"""
        import sys
        from decimal import Decimal as D
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_paper import open_broker, order
        broker = open_broker(Path(sys.argv[1]))
        for i in range(40):
            broker.place([order(f"0x{{sys.argv[2]}}{{i}}", size="0.2", at_mark=True)])
            broker.place([order(f"0xboth{{i}}", size="0.2", at_mark=True)])
            broker.transfer(D(1))
    """)
    done = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), name]) for name in ("a", "b")]
    assert [process.wait() for process in done] == [0, 0]
    fills = [a.item for a in broker.activity_since(0) if isinstance(a.item, Fill)]
    assert len({f.trade_id for f in fills}) == len(fills) == 121 and len({f.cloid for f in fills}) == 121
    assert broker.account().positions["X"][0] == D("24.2")
    agrees(broker)


KILLED = """
import os, random, signal, sys, threading, time
from decimal import Decimal as D
from pathlib import Path
sys.path.insert(0, {here!r})
from test_paper import STEP, T0, Side, open_broker, order, play
broker = open_broker(Path(sys.argv[1]))
first = int(sys.argv[2])
threading.Timer(float(sys.argv[3]), lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
for i in range(first, 100_000):
    side = Side.BUY if i % 2 else Side.SELL
    broker.place([order(f"0x{{i}}", side, "0.3")])
    play(broker, T0 + (i + 1) * STEP, 100 + i % 3)
    print(i, flush=True)
"""


def test_killed_at_any_moment_nothing_is_lost_and_nothing_is_doubled(broker: PaperBroker, tmp_path: Path) -> None:
    broker.close()
    said = 0
    for delay in ("0.03", "0.05", "0.08"):
        script = KILLED.format(here=str(Path(__file__).parent))
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path), str(said + 1), delay], capture_output=True, text=True, check=False
        )
        assert done.returncode == -9, done.stderr
        said = max([said, *(int(line) for line in done.stdout.split())])
        alive = open_broker(tmp_path)
        fills = [a.item for a in alive.activity_since(0) if isinstance(a.item, Fill)]
        assert len({f.cloid for f in fills}) == len(fills), "nothing twice"
        assert {f"0x{i}" for i in range(1, said + 1)} <= {f.cloid for f in fills}, "what was answered is there"
        assert len(fills) <= said + 1
        seqs = [a.seq for a in alive.activity_since(0)]
        assert seqs == sorted(set(seqs))
        agrees(alive)
        alive.close()
    assert said > 5


def test_a_write_that_fails_moves_neither_file_nor_memory(broker: PaperBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    broker.place([order("0x1")])
    before, record = broker.account(), list(broker.activity_since(0))

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(broker._store, "save", fail)
        with pytest.raises(VenueError, match="disk is full"):
            broker.place([order("0x2", at_mark=True)])
        with pytest.raises(VenueError):
            play(broker, T0 + STEP, 100)
    assert broker.account() == before and list(broker.activity_since(0)) == record
    assert broker.order_status("0x2") is None
    play(broker, T0 + STEP, 100)
    agrees(broker)


def test_refusals_are_the_venues_words(broker: PaperBroker) -> None:
    with pytest.raises(RefusedError, match="never placed") as caught:
        broker.cancel("0x404")
    assert caught.value.code == "venue_rejected" and caught.value.exit_code == 3
    with pytest.raises(RefusedError):
        broker.set_leverage("X", 51)
    with pytest.raises(RefusedError):
        broker.transfer(D("-10000.000001"))
    assert broker.free() == 10_000
    assert broker.place([order("0x1", size="6000", at_mark=True)])[0].reason == "Insufficient margin to place order."
    assert broker.order_status("0x404") is None
    agrees(broker)


def test_cancelling_ends_an_order_and_its_children(broker: PaperBroker) -> None:
    broker.place([order("0x1", type=OrderType.LIMIT, price=D(90)), stop("0x2", "80", parent_cloid="0x1")])
    assert broker.cancel("0x1").state is OrderState.CANCELLED
    assert broker.account().open_cloids == frozenset()
    states = [(a.item.report.cloid, a.item.report.state) for a in broker.activity_since(0) if isinstance(a.item, OrderChange)]
    assert states[-2:] == [("0x1", OrderState.CANCELLED), ("0x2", OrderState.CANCELLED)]


def test_a_withdrawal_keeps_the_margin_of_what_is_held(broker: PaperBroker) -> None:
    broker.set_leverage("X", 10)
    broker.place([order("0x1", size="10", at_mark=True)])
    free = broker.free()
    assert free < 9_900
    with pytest.raises(RefusedError):
        broker.transfer(-free - D("0.000001"))
    broker.transfer(-free)
    assert broker.free() == 0
    agrees(broker)


def test_a_liquidation_is_in_the_record(broker: PaperBroker) -> None:
    broker.place([order("0x1", size="900", at_mark=True)])
    play(broker, T0 + STEP, 100, 100, 60, 60)
    items = [a.item for a in broker.activity_since(0)]
    assert any(isinstance(i, Liquidation) for i in items) and broker.account().positions == {}
    agrees(broker)


def test_an_account_of_a_newer_format_and_a_file_that_is_none_are_refused(tmp_path: Path) -> None:
    open_broker(tmp_path).close()
    with sqlite3.connect(tmp_path / "paper.db") as raw:
        raw.execute(f"PRAGMA user_version={FORMAT + 1}")
    with pytest.raises(DataError, match="update"):
        try:
            open_broker(tmp_path)
        except DataError as error:
            raise DataError(error.hint) from error
    other = tmp_path / "other"
    other.mkdir()
    (other / "paper.db").write_bytes(b"a letter " * 1000)
    with pytest.raises(DataError, match=r"paper\.db"):
        open_broker(other)


def test_a_durable_account_is_synced_on_each_write(tmp_path: Path) -> None:
    for durable, level in ((True, 2), (False, 1)):
        broker = PaperBroker(tmp_path / f"{durable}.db", {"X": X}, SimulatedClock(0), durable=durable)
        assert broker._store._db.execute("PRAGMA synchronous").fetchone()[0] == level
        assert broker._store._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert broker._store._db.execute("PRAGMA fullfsync").fetchone()[0] == 1, "where the system has it"
        broker.close()
    kept = PaperBroker(tmp_path / "default.db", {"X": X}, SimulatedClock(0))
    assert kept._store._db.execute("PRAGMA synchronous").fetchone()[0] == 2, "unless somebody says otherwise"
    kept.close()


def test_a_dry_runs_broker_reads_and_refuses_every_write(broker: PaperBroker, tmp_path: Path) -> None:
    broker.place([order("0x1", at_mark=True)])
    dry = RefusingBroker(broker)
    before = writes(tmp_path)
    assert dry.account() == broker.account() and dry.order_status("0x1") == broker.order_status("0x1")
    assert list(dry.activity_since(0)) == list(broker.activity_since(0))
    for write in (lambda: dry.place([order("0x2")]), lambda: dry.cancel("0x1"), lambda: dry.set_leverage("X", 2)):
        with pytest.raises(RefusedError, match="dry run") as caught:
            write()
        assert caught.value.code == Rule.DRY_RUN.value
    assert writes(tmp_path) == before
    public = {name for name in dir(RefusingBroker) if not name.startswith("_")}
    assert public == {
        "account",
        "open_orders",
        "order_status",
        "activity_since",
        "delivers_late",
        "place",
        "cancel",
        "set_leverage",
    }, "nothing else can write"


def test_an_order_is_in_the_book_from_the_first_open_after_it_was_placed(tmp_path: Path) -> None:
    clock = SimulatedClock(T0 + STEP)
    broker = open_broker(tmp_path, clock=clock)
    broker.transfer(D(10_000))
    play(broker, T0, 100)
    clock.advance_to(T0 + STEP + STEP // 2)
    broker.place([order("0x1")])
    play(broker, T0 + STEP, 101, 103, 100, 102)
    waiting = broker.order_status("0x1")
    assert waiting is not None and waiting.state is OrderState.PENDING
    play(broker, T0 + 2 * STEP, 105)
    filled = broker.order_status("0x1")
    assert filled is not None and filled.average_price == D("105.021")
    broker.close()


def test_open_orders_are_told_as_they_were_placed_and_what_they_wait_for(broker: PaperBroker) -> None:
    broker.place([order("0x1", type=OrderType.LIMIT, price=D(90)), stop("0x2", "85", parent_cloid="0x1")])
    broker.set_leverage("X", 7)
    entry, child = sorted(broker.open_orders(), key=lambda found: found.cloid)
    assert (entry.cloid, entry.side, entry.type, entry.size, entry.filled) == ("0x1", Side.BUY, OrderType.LIMIT, 1, 0)
    assert (entry.price, entry.trigger, entry.reduce_only, entry.waits, entry.state) == (90, None, False, False, OrderState.OPEN)
    assert (child.trigger, child.reduce_only, child.waits, child.reason) == (85, True, True, "waitingForFill")
    assert RefusingBroker(broker).open_orders() == broker.open_orders() and not RefusingBroker(broker).delivers_late
    assert broker.account().leverage == {"X": 7}


def test_an_order_that_has_expired_is_refused_in_the_words_of_the_venue(tmp_path: Path) -> None:
    clock = SimulatedClock(T0)
    broker = open_broker(tmp_path, clock=clock)
    broker.transfer(D(1000))
    play(broker, T0 - STEP, 100)
    assert broker.place([order("0x1", type=OrderType.LIMIT, price=D(90), expires_ms=T0)])[0].state is OrderState.OPEN
    clock.advance_to(T0 + 1)
    [late] = broker.place([order("0x2", type=OrderType.LIMIT, price=D(90), expires_ms=T0)])
    assert (late.state, late.reason, late.oid) == (OrderState.REJECTED, "Action already expired", None)
    assert broker.order_status("0x2") is None and len(broker.open_orders()) == 1
    broker.close()


def test_an_order_that_fits_no_market_or_grid_is_a_report_and_no_exception(broker: PaperBroker) -> None:
    before = len(broker.activity_since(0))
    asked = {
        "Unknown market Y.": replace(order("0x1"), market="Y"),
        "Order has invalid size.": order("0x2", size="0.00001"),
        "Price must be divisible by tick size.": order("0x3", type=OrderType.LIMIT, price=D("99.0000001")),
    }
    for text, request in asked.items():
        (report,) = broker.place([request])
        assert (report.state, report.reason) == (OrderState.REJECTED, text)
    assert len(broker.activity_since(0)) == before


def test_a_repeat_after_its_expiry_gets_the_same_answer_and_a_late_order_none(tmp_path: Path) -> None:
    clock = SimulatedClock(T0 + STEP)
    broker = open_broker(tmp_path, clock=clock)
    broker.transfer(D(10_000))
    play(broker, T0, 100)
    sent = replace(order("0x1", at_mark=True), expires_ms=T0 + STEP + 10)
    (first,) = broker.place([sent])
    clock.advance_to(T0 + STEP + 11)
    assert broker.place([sent]) == [first]
    (late,) = broker.place([replace(sent, cloid="0x2")])
    assert (late.state, broker.order_status("0x2")) == (OrderState.REJECTED, None)
    broker.close()


def test_an_account_that_cannot_be_read_is_a_venue_error(broker: PaperBroker) -> None:
    broker._store._db.close()
    for read in (broker.account, broker.open_orders, lambda: broker.order_status("0x1"), lambda: broker.activity_since(0)):
        with pytest.raises(VenueError, match="did not answer"):
            read()


def test_a_commit_that_ends_its_own_transaction_leaves_nothing_to_roll_back(broker: PaperBroker) -> None:
    with pytest.raises(RuntimeError, match="after the commit"), broker._store.transaction():
        broker._store._db.execute("COMMIT")
        raise RuntimeError("after the commit")
    assert broker.account().cash == 10_000


def test_an_order_in_a_market_that_the_venue_does_not_have_is_turned_away(broker: PaperBroker) -> None:
    elsewhere = replace(order("0xelse"), market="NOPE")
    (report,) = broker.place([elsewhere])
    assert (report.state, report.reason, broker.order_status("0xelse")) == (OrderState.REJECTED, "Unknown market NOPE.", None)


def test_an_order_the_account_never_saw_is_an_unknown_outcome(broker: PaperBroker) -> None:
    with pytest.raises(VenueError, match="does not know order 0xnever"):
        broker._known("0xnever")


def test_a_mark_is_kept_without_waiting_for_the_disk_and_an_order_is_waited_for(tmp_path: Path) -> None:
    broker = PaperBroker(tmp_path / "paper.db", {"X": X}, SimulatedClock(0), durable=True)
    broker.transfer(D(10_000))
    play(broker, T0, 100)
    broker.place([order("0x1", at_mark=True)])
    said: list[str] = []
    broker._store._db.set_trace_callback(said.append)
    play(broker, T0 + STEP, 101)
    levels = [line.partition("=")[2] for line in said if line.startswith("PRAGMA synchronous")]
    assert levels == ["NORMAL", "FULL"] and said.index("PRAGMA synchronous=NORMAL") < said.index("BEGIN IMMEDIATE")
    said.clear()
    broker.place([order("0x2", at_mark=True)])
    assert not [line for line in said if line.startswith("PRAGMA synchronous")] and "BEGIN IMMEDIATE" in said
    broker.close()


def test_a_dry_runs_broker_knows_whether_its_venue_delivers_late(broker: PaperBroker) -> None:
    class Far:
        delivers_late = True

    assert RefusingBroker(broker).delivers_late is False
    assert RefusingBroker(Far()).delivers_late is True  # type: ignore[arg-type]


def test_with_a_resting_order_alone_every_mark_is_kept_too(broker: PaperBroker, tmp_path: Path) -> None:
    broker.place([order("0x1", type=OrderType.LIMIT, price=D(90))])
    before = writes(tmp_path)
    play(broker, T0 + STEP, 100, 101, 99, 99.5)
    assert writes(tmp_path) != before
    second = again(broker, tmp_path)
    assert second._fresh().marks["X"] == 99_500
    second.close()


@pytest.mark.parametrize(("cap", "most"), [("0.25", 250), ("0.257", 250), ("0.0001", 10), ("1", 300)])
def test_a_fill_takes_at_most_its_share_of_the_volume_of_a_bar(tmp_path: Path, cap: str, most: int) -> None:
    broker = open_broker(tmp_path, volume_cap=D(cap))
    broker.transfer(D(10_000))
    play(broker, T0, 100)
    broker.place([order("0x1", size="300")])
    play(broker, T0 + STEP, 100)
    assert broker.account().positions["X"][0] == most, "of 1,000 traded, in whole hundredths and at least one of them"
    broker.close()


def test_a_trailing_stop_reaches_the_venue_as_it_was_asked_for(broker: PaperBroker) -> None:
    broker.place([order("0x1", at_mark=True), stop("0x2", "90", trail_rate=D("0.015"), activation=D(102), parent_cloid="0x1")])
    play(broker, T0 + STEP, 100, 101, 100, 101)
    assert [found.trigger for found in broker.open_orders()] == [90], "not active yet"
    play(broker, T0 + 2 * STEP, 101, 110, 101, 109)
    assert [found.trigger for found in broker.open_orders()] == [D("108.35")], "1.5 % below the best price"
