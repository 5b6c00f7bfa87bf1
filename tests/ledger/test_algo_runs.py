"""What an algo's state is rebuilt from: its last exit, the entry it waits for, and its runs."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection
from test_lists import a_run, an_intent
from test_records import NOON, a_fill, an_order

from tradeagent.ledger import algo_runs, runs, trading

D = Decimal


def trip(tx: Connection, closed_ms: int, **more: Any) -> None:
    values = {"wallet": "w", "deployment": "d_1", "controller_id": "d_1", "market": "X", "direction": "long", "opened_ms": NOON}
    money = dict.fromkeys(("entry_price", "exit_price", "size", "realised_pnl", "fees", "funding", "pnl", "mfe", "mae"), D(7))
    words = {"r_multiple": None, "entry_reason": "", "exit_reason": "stop"}
    trading.add_round_trip(tx, {**values, **money, **words, "closed_ms": closed_ms, **more})


def entry(tx: Connection, name: str, proposal: dict[str, Any], order: dict[str, Any] | None = None, **more: Any) -> None:
    rows = [] if order is None else [an_order(f"0x{name}", intent_id=name, **order)]
    trading.add_intent(tx, an_intent(name, proposal=proposal, **more), None, rows)


def test_the_last_exit_is_the_newest_of_these_runs_on_this_wallet_and_market(tx: Connection) -> None:
    assert algo_runs.last_exit(tx, "w", "X", ["d_1"]) is None
    trip(tx, NOON + 1)
    trip(tx, NOON + 2, controller_id="d_2", direction="short", exit_reason="signal")
    for other in ({"wallet": "v"}, {"market": "Y"}, {"controller_id": "d_3"}):
        trip(tx, NOON + 9, **other)
    for number, (at_ms, price) in enumerate(((NOON + 2, 98), (NOON + 2, 99), (NOON + 3, 50))):
        trading.add_fill(tx, "w", a_fill(number, time_ms=at_ms, price=D(price)), None)
    trading.add_fill(tx, "v", a_fill(7, time_ms=NOON + 2, price=D(1)), None)
    trading.add_fill(tx, "w", a_fill(8, time_ms=NOON + 2, price=D(2), market="Y"), None)
    found = algo_runs.last_exit(tx, "w", "X", ["d_1", "d_2"])
    assert found == algo_runs.LastExit(NOON + 2, "short", "signal", D(99)), "at the price of the fill that ended it"
    first = algo_runs.last_exit(tx, "w", "X", ["d_1"])
    assert first == algo_runs.LastExit(NOON + 1, "long", "stop", D(7)), "without a fill of that instant at the price of the trade"


@pytest.mark.parametrize(
    ("order", "price"),
    [(None, D(95)), ({}, D(95)), ({"reason": "tooFar"}, D(95)), ({"reason": "canceled"}, None), ({"filled": D("0.1")}, None)],
    ids=["refused by a rule", "open", "refused by the venue", "withdrawn", "partly filled"],
)
def test_a_limit_entry_is_asked_for_until_it_filled_or_was_withdrawn(
    tx: Connection, order: dict[str, Any] | None, price: Decimal | None
) -> None:
    entry(tx, "i1", {"type": "limit", "price": "95"}, order)
    assert algo_runs.last_limit(tx, "d_1", "X", NOON) == price


def test_the_newest_entry_decides_and_only_one_asked_for_since(tx: Connection) -> None:
    limit = {"type": "limit", "price": "95"}
    entry(tx, "i1", limit, created_ms=NOON + 1, kind="increase")
    assert algo_runs.last_limit(tx, "d_1", "X", NOON + 1) == 95
    assert algo_runs.last_limit(tx, "d_1", "X", NOON + 2) is None
    for name, other in (("i2", {"kind": "close"}), ("i3", {"controller_id": "d_2"}), ("i4", {"market": "Y"})):
        entry(tx, name, {"type": "limit", "price": "1"}, created_ms=NOON + 5, **other)
    assert algo_runs.last_limit(tx, "d_1", "X", NOON) == 95
    entry(tx, "i5", {"type": "limit", "price": "96"}, created_ms=NOON + 1)
    assert algo_runs.last_limit(tx, "d_1", "X", NOON) == 96, "of one instant the later one"
    entry(tx, "i6", {"type": "market"}, created_ms=NOON + 2)
    assert algo_runs.last_limit(tx, "d_1", "X", NOON) is None
    assert algo_runs.last_limit(tx, "d_1", "Y", NOON) == 1


def test_the_stop_of_an_entry_is_not_the_entry(tx: Connection) -> None:
    rows = [an_order("0x1", intent_id="i1"), an_order("0x2", intent_id="i1", leg="stop", reason="canceled")]
    trading.add_intent(tx, an_intent("i1", proposal={"type": "limit", "price": "95"}), None, [rows[1], rows[0]])
    assert algo_runs.last_limit(tx, "d_1", "X", NOON) == 95


def test_the_runs_of_an_algo_are_numbered_over_all_wallets(tx: Connection) -> None:
    assert (algo_runs.runs_of(tx, "macd", "w"), algo_runs.next_number(tx, "macd")) == ([], 1)
    first = a_run("macd_1", kind="algo", slug="macd")
    for row in (first, replace(first, id="macd_7", number=7, wallet="v"), replace(first, id="macd_3", number=3)):
        runs.add_deployment(tx, row)
    runs.add_deployment(tx, replace(first, id="agent_9", kind="agent", number=9))
    runs.add_deployment(tx, replace(first, id="rsi_8", slug="rsi", number=8))
    assert sorted(algo_runs.runs_of(tx, "macd", "w")) == ["macd_1", "macd_3"]
    assert (algo_runs.next_number(tx, "macd"), algo_runs.next_number(tx, "rsi")) == (8, 9)
