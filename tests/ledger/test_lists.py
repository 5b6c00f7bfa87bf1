"""What is listed: how much of it, in which order, of whom, and from which instant on."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection
from test_records import NOON, a_fill, an_order

from tradeagent.domain.clock import DAY_MS
from tradeagent.domain.errors import NotFound
from tradeagent.domain.names import CommandKind, CommandState, EventKind, IncidentCode, IntentState, Level, OrderState, ReconcilePhase, Side
from tradeagent.ledger import events, executors, notes, runs, trading
from tradeagent.ledger.executors import ExecutorRow
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.ledger.standing import Standing, standing
from tradeagent.ledger.trading import OrderRow

D = Decimal


def an_intent(name: str, **more: Any) -> dict[str, Any]:
    values = {
        "id": name,
        "wallet": "w",
        "deployment": "d_1",
        "controller_id": "d_1",
        "actor": "agent",
        "kind": "open",
        "market": "X",
        "state": "executed",
        "proposal": {},
        "checks": [],
        "fencing_token": 1,
        "created_ms": NOON,
        "updated_ms": NOON,
    }
    return {**values, **more}


def a_run(name: str, **more: Any) -> DeploymentRow:
    row = DeploymentRow(
        id=name,
        kind="agent",
        slug="a",
        wallet="w",
        version=1,
        mode="loop",
        state="running",
        number=1,
        model="",
        markets=["X"],
        limits={},
        source={},
        equity_start=D(0),
        ticks=0,
        failures=0,
        created_ms=NOON,
        ended_ms=None,
        last_tick_ms=None,
        next_tick_ms=None,
        stopped_because=None,
        boot_id="",
        pid=0,
    )
    return replace(row, **more)


def orders_in(tx: Connection, *rows: OrderRow) -> None:
    for intent_id in dict.fromkeys(row.intent_id for row in rows):
        trading.add_intent(tx, an_intent(intent_id), None, [row for row in rows if row.intent_id == intent_id])


# --- how many, unless somebody says otherwise -----------------------------------------------------------------------------------


def test_the_newest_thousand_fills_are_listed_oldest_first(tx: Connection) -> None:
    for number in range(1, 1002):
        trading.add_fill(tx, "w", a_fill(number), None)
    assert [fill["trade_id"] for fill in trading.fills_of(tx)] == list(range(2, 1002))
    assert trading.fills_of(tx, wallet="v") == trading.fills_of(tx, deployment="d_1") == []


def test_the_newest_five_hundred_equity_points_are_listed_oldest_first(tx: Connection) -> None:
    for number in range(501):
        trading.add_equity_point(tx, "w", NOON + number, D(number), D(0), D(1))
    assert [point["time_ms"] - NOON for point in trading.equity_points_of(tx, "w")] == list(range(1, 501))
    assert [point["time_ms"] for point in trading.equity_points_of(tx, "w", since_ms=NOON + 500)] == [NOON + 500]


def test_the_newest_twenty_trades_are_listed_oldest_first(tx: Connection) -> None:
    for number in range(21):
        trip = {"controller_id": "d_1", "market": "X", "direction": "long", "opened_ms": NOON, "closed_ms": NOON + number}
        money = dict.fromkeys(("entry_price", "exit_price", "size", "realised_pnl", "fees", "funding", "pnl", "mfe", "mae"), D(1))
        words = {"r_multiple": None, "entry_reason": "", "exit_reason": "signal"}
        trading.add_round_trip(tx, {"wallet": "w", "deployment": "d_1" if number else "d_0", **trip, **money, **words})
    listed = trading.round_trips_of(tx, wallet="w")
    assert (
        [trip["closed_ms"] - NOON for trip in listed]
        == list(range(1, 21))
        == [trip["closed_ms"] - NOON for trip in trading.round_trips_of(tx, deployment="d_1")]
    )
    assert (trading.count_round_trips(tx, "d_1"), trading.count_round_trips(tx, "d_0")) == (20, 1)


def test_the_newest_hundred_runs_are_listed_newest_first(tx: Connection) -> None:
    for number in range(101):
        runs.add_deployment(tx, a_run(f"a_{number}", created_ms=NOON + number, slug="b" if number == 50 else "a"))
    assert [row.id for row in runs.all_deployments(tx)] == [f"a_{number}" for number in range(100, 0, -1)]
    assert [row.id for row in runs.all_deployments(tx, slug="b")] == ["a_50"]
    assert runs.all_deployments(tx, wallet="v") == [] and runs.get_deployment(tx, "a").id == "a_100"
    with pytest.raises(NotFound):
        runs.get_deployment(tx, "c")


def test_the_newest_hundred_incidents_are_listed_newest_first(tx: Connection) -> None:
    for number in range(101):
        incident = notes.Incident(IncidentCode.DATA_GAP, Level.WARNING, f"gap {number}", "w", "d_1" if number % 2 else None)
        notes.open_incident(tx, f"{number:03}", incident, NOON + number)
    assert [row["message"] for row in notes.list_incidents(tx)] == [f"gap {number}" for number in range(100, 0, -1)]
    assert notes.open_incident_counts(tx) == {None: 51, "d_1": 50}
    assert notes.close_incident(tx, "100", NOON)["state"] == "closed"
    assert notes.close_incident(tx, "100", NOON)["state"] == "closed", "a closed one stays as it is"
    assert len(events.read(tx, kinds=(EventKind.INCIDENT_CLOSED.value,), limit=1000)) == 1
    assert notes.list_incidents(tx, only_open=True, limit=1)[0]["message"] == "gap 99"
    notes.close_incidents(tx, IncidentCode.DATA_GAP, NOON, wallet="w", level=Level.ERROR)
    assert notes.open_incident_counts(tx) == {None: 50, "d_1": 50}, "none is an error"
    notes.close_incidents(tx, IncidentCode.DATA_GAP, NOON, wallet="w", level=Level.WARNING)
    assert notes.open_incident_counts(tx) == {}
    assert notes.has_incident(tx, IncidentCode.DATA_GAP, "d_1"), "also when it is closed"
    assert not notes.has_incident(tx, IncidentCode.DATA_GAP, "d_2") and not notes.has_incident(tx, IncidentCode.KILL, "d_1")


def test_the_feed_gives_two_hundred_and_the_newest_when_asked(tx: Connection) -> None:
    for number in range(201):
        events.append(tx, EventKind.EQUITY, NOON, wallet="w", data={"n": number})
    assert [row["data"]["n"] for row in events.read(tx)] == list(range(200))
    assert [row["data"]["n"] for row in events.read(tx, newest=True)] == list(range(1, 201))
    first = events.read(tx, limit=1)[0]
    assert (first["actor"], first["subject"], first["deployment"]) == ("system", "", None)
    assert events.read(tx, after=first["seq"], limit=1)[0]["data"]["n"] == 1


# --- of whom, and from when -----------------------------------------------------------------------------------------------------


def test_a_wallet_that_was_never_compared_has_nothing_to_compare(tx: Connection) -> None:
    assert (events.last_phase(tx, "w"), events.last_reconciliation(tx, "w")) == (ReconcilePhase.CONSISTENT, {})
    for phase in ("checking", "failed"):
        events.append(tx, EventKind.RECONCILE_PHASE, NOON, wallet="w", data={"phase": phase, "cycles": 2})
    events.append(tx, EventKind.RECONCILE_PHASE, NOON, wallet="v", data={"phase": "consistent"})
    assert events.last_phase(tx, "w") is ReconcilePhase.FAILED
    assert events.last_reconciliation(tx, "w") == {"phase": "failed", "cycles": 2}


def test_entries_of_a_controller_are_found_from_the_instant_on(tx: Connection) -> None:
    same = {"intent_id": "i", "updated_ms": NOON}
    orders_in(
        tx,
        an_order("at", **same),
        an_order("before", **{**same, "updated_ms": NOON - 1}),
        an_order("stop", **same, leg="stop"),
        an_order("other market", **same, market="Y"),
        an_order("other hand", **same, controller_id="manual"),
        an_order("other wallet", **same, wallet="v"),
    )
    assert [order.cloid for order in trading.entries_since(tx, "w", "X", "d_1", NOON)] == ["at"]


def test_the_newest_level_is_one_that_the_venue_took_and_that_was_awake(tx: Connection) -> None:
    level: dict[str, Any] = {"intent_id": "i", "leg": "stop", "side": "sell", "type": "stop_market", "trigger": D(90)}
    orders_in(
        tx,
        an_order("entry", intent_id="i", filled=D(0)),
        an_order("filled entry", intent_id="i", filled=D(1)),
        an_order("old", **level, created_ms=NOON - 2),
        an_order("awake child", **level, created_ms=NOON - 1, parent_cloid="filled entry"),
        an_order("asleep", **level, created_ms=NOON, parent_cloid="entry"),
        an_order("refused", **level, created_ms=NOON + 1, state=OrderState.REJECTED.value),
        an_order("target", **{**level, "leg": "target"}, created_ms=NOON + 1),
        an_order("of a short", **{**level, "side": "buy"}, created_ms=NOON + 1),
        an_order("elsewhere", **level, created_ms=NOON + 1, market="Y"),
        an_order("of another", **level, created_ms=NOON + 1, controller_id="manual"),
        an_order("in another wallet", **level, created_ms=NOON + 1, wallet="v"),
    )

    def newest() -> str | None:
        found = trading.newest_level(tx, "w", "X", "d_1", "stop", Side.SELL)
        return found.cloid if found else None

    assert newest() == "awake child"
    trading.update_order(tx, "entry", filled=D("0.1"))
    assert newest() == "asleep", "its entry has begun to fill"
    assert trading.newest_level(tx, "w", "Z", "d_1", "stop", Side.SELL) is None


def test_only_live_orders_are_given_to_another_controller(tx: Connection) -> None:
    same = {"intent_id": "i"}
    orders_in(
        tx,
        an_order("live", **same, state="open"),
        an_order("part", **same, state="partially_filled"),
        an_order("done", **same, state="filled"),
        an_order("elsewhere", **same, market="Y"),
        an_order("of another", **same, controller_id="manual"),
    )
    trading.reassign_orders(tx, "w", "X", "d_1", "d_2", "d_2")
    owners = {order.cloid: (order.controller_id, order.deployment) for order in trading.orders_of_intent(tx, "i")}
    assert owners == {
        "live": ("d_2", "d_2"),
        "part": ("d_2", "d_2"),
        "done": ("d_1", "d_1"),
        "elsewhere": ("d_1", "d_1"),
        "of another": ("manual", "d_1"),
    }
    assert [order.cloid for order in trading.live_orders(tx, "w")] == ["elsewhere", "live", "of another", "part"]
    assert trading.orders_named(tx, []) == [] and trading.order(tx, "none") is None


def test_intents_are_counted_by_state_and_rejections_from_an_instant_on(tx: Connection) -> None:
    for name, more in {
        "at": {"state": "rejected", "rule": "MARGIN"},
        "late": {"state": "rejected", "rule": "MARGIN", "created_ms": NOON + 1},
        "before": {"state": "rejected", "rule": "SCOPE", "created_ms": NOON - 1},
        "lost": {"state": "unknown", "market": "Y"},
        "sent": {"state": "sent", "created_ms": NOON - 5},
        "elsewhere": {"state": "unknown", "market": "Z", "wallet": "v", "deployment": "d_2"},
    }.items():
        trading.add_intent(tx, an_intent(name, **more), None, ())
    assert trading.recent_rejections(tx, "d_1", NOON) == {"MARGIN": 2}
    assert sorted(trading.intent_counts(tx, "d_1"), key=str) == [
        ("rejected", "MARGIN", 2),
        ("rejected", "SCOPE", 1),
        ("sent", None, 1),
        ("unknown", None, 1),
    ]
    assert trading.unknown_markets(tx, "w") == {"Y"}
    assert [intent["id"] for intent in trading.open_intents(tx, "w")] == ["sent", "lost"], "oldest first"
    trading.set_intent_state(tx, "lost", IntentState.CANCELLED, NOON + 9, {"message": "gone"})
    found = trading.intent(tx, "lost")
    assert found is not None and (found["state"], found["updated_ms"], found["detail"]) == ("cancelled", NOON + 9, {"message": "gone"})
    trading.set_intent_state(tx, "lost", IntentState.EXECUTED, NOON + 10)
    assert (trading.intent(tx, "lost") or {})["detail"] == {"message": "gone"}, "no new words, the old ones stay"


def test_a_command_is_queued_until_it_is_done_or_failed(tx: Connection) -> None:
    for number, name in enumerate(("b", "a", "c")):
        runs.add_command(tx, name, "w", None, CommandKind.PAUSE, {}, NOON + (number == 2))
    assert [row["id"] for row in runs.queued_commands(tx, "w")] == ["a", "b", "c"], "by instant, then by name"
    for name, state in (("a", CommandState.ACKED), ("b", CommandState.FAILED)):
        assert runs.move_command(tx, runs.command(tx, name), state, NOON + 3)
    assert [row["id"] for row in runs.queued_commands(tx, "w")] == ["a", "c"]
    assert runs.command(tx, "b")["state"] == "failed" and runs.queued_commands(tx, "v") == []
    late = runs.move_command(tx, runs.command(tx, "b"), CommandState.ACKED, NOON + 4, before=CommandState.QUEUED)
    assert not late and runs.command(tx, "b")["state"] == "failed", "its asker has taken it back"
    told = [(row["subject"], row["data"]["state"], row["actor"]) for row in events.read(tx, kinds=("command.state",), limit=10)]
    assert told == [(name, "queued", "manual") for name in ("b", "a", "c")] + [("a", "acked", "system"), ("b", "failed", "system")]
    with pytest.raises(NotFound):
        runs.command(tx, "z")


def test_old_tick_records_are_forgotten_and_their_rows_stay(tx: Connection) -> None:
    for number in (1, 2, 3):
        values = {
            "id": f"t{number}",
            "deployment": "d_1",
            "number": number,
            "state": "running",
            "action": "",
            "started_ms": NOON,
            "market_ms": NOON,
        }
        runs.start_tick(tx, values)
        runs.finish_tick(tx, f"t{number}", state="done", record=b"{}", ended_ms=NOON)
    runs.drop_old_records(tx, "d_1", 3)
    assert [(tick["number"], tick["record"]) for tick in runs.ticks_of(tx, "d_1", with_record=True)] == [(1, None), (2, None), (3, b"{}")]
    assert [tick["number"] for tick in runs.ticks_of(tx, "d_1", after=2)] == [3]
    assert "record" not in runs.ticks_of(tx, "d_1")[0]
    assert (runs.tick_states(tx, "d_1"), runs.tick_states(tx, "d_2")) == ({"done": 3}, {})


def test_model_calls_are_listed_by_agent_by_run_and_from_an_instant_on(tx: Connection) -> None:
    for number, (slug, run) in enumerate((("a", "d_1"), ("a", "d_2"), ("b", "d_3"))):
        call = {"time_ms": NOON + number, "slug": slug, "deployment": run, "turn_kind": "tick", "model": "m", "calls": 1}
        notes.add_usage(tx, {**call, "tokens_in": 2, "tokens_out": 3, "cost_usd": None})
    assert [row["deployment"] for row in notes.usage_rows(tx)] == ["d_1", "d_2", "d_3"]
    assert [row["deployment"] for row in notes.usage_rows(tx, slug="a")] == ["d_1", "d_2"]
    assert [row["deployment"] for row in notes.usage_rows(tx, deployment="d_3")] == ["d_3"]
    assert [row["deployment"] for row in notes.usage_rows(tx, since_ms=NOON + 1)] == ["d_2", "d_3"]
    assert notes.usage_totals(tx, "d_1") == (1, 5, None), "a cost that nobody knows is none"


def test_executors_of_a_run_are_listed_oldest_first_with_the_live_ones_and_those_that_ended_since(tx: Connection) -> None:
    def add(name: str, **more: Any) -> None:
        row = ExecutorRow(name, "w", "d_1", f"d_1/{name}", "order", "X", "buy", "active", None, "", {}, {}, D(1), NOON, NOON)
        executors.add(tx, replace(row, **more))

    add("a", created_ms=NOON + 1)
    add("b", status="terminated", ended_ms=NOON + 5)
    add("c", status="terminated", ended_ms=NOON + 4, created_ms=NOON + 2)
    add("d", status="created", created_ms=NOON + 3)
    add("e", deployment="d_2", wallet="v")
    listed = {since: [row.id for row in executors.of_deployment(tx, "d_1", ended_since_ms=NOON + since)] for since in (0, 5, 6)}
    assert listed == {0: ["b", "a", "c", "d"], 5: ["b", "a", "d"], 6: ["a", "d"]}
    assert [row.id for row in executors.of_deployment(tx, "d_1", limit=2)] == ["c", "d"], "the newest"
    assert [row.id for row in executors.live(tx, "w")] == ["a", "d"]
    assert (executors.live_count(tx, "d_1"), executors.live_count(tx, "d_2"), executors.live_count(tx, None)) == (2, 1, 0)
    for number in range(101):
        add(f"m{number:03}", deployment="d_3", created_ms=NOON + number)
    assert [row.id for row in executors.of_deployment(tx, "d_3")] == [f"m{number:03}" for number in range(1, 101)]
    executors.save(tx, "a", status="terminated")
    assert executors.find(tx, "a") != executors.find(tx, "d") and executors.find(tx, "z") is None


def test_the_fills_of_controllers_and_of_children_come_to_result_fees_and_volume(tx: Connection) -> None:
    for number, (cloid, intent_id, controller) in enumerate((("0x1", "E1.0", "d_1/E1"), ("0x2", "E1.1", "d_1"), ("0x3", "E2.0", "d_1/E2"))):
        orders_in(tx, an_order(cloid, intent_id=intent_id, controller_id=controller))
        fill = replace(a_fill(number, size=D(2), price=D(100 + number), fee=D("0.5")), cloid=cloid, realised_pnl=D(7 + number))
        trading.add_fill(tx, "w", fill, an_order(cloid, intent_id=intent_id, controller_id=controller))
    assert executors.turnover_of_controllers(tx, ["d_1/E1", "d_1/E2"]) == executors.Turnover(D(16), D(1), D(404))
    assert executors.turnover_of_children(tx, "E1") == executors.Turnover(D(15), D(1), D(402)), "also what moved the agent's own"
    assert executors.turnover_of_controllers(tx, []) == executors.Turnover()


def test_only_the_owner_of_a_lease_names_it_keeps_it_and_gives_it_back(tx: Connection) -> None:
    old, token = runs.take_lease(tx, "w", "first", None, NOON), runs.take_lease(tx, "w", "second", None, NOON + 1)
    assert (old, token) == (1, 2)
    runs.name_lease(tx, "w", old, "d_0")
    runs.beat(tx, "w", old, NOON + 9)
    runs.release_lease(tx, "w", old)
    held = {"wallet": "w", "owner": "second", "fencing_token": 2, "heartbeat_ms": NOON + 1, "deployment": None}
    assert runs.lease(tx, "w") == held
    runs.name_lease(tx, "w", token, "d_1")
    runs.beat(tx, "w", token, NOON + 2)
    assert runs.lease(tx, "w") == held | {"deployment": "d_1", "heartbeat_ms": NOON + 2}
    runs.release_lease(tx, "w", token)
    assert runs.lease(tx, "w") == held | {"owner": "", "heartbeat_ms": NOON + 2}
    assert runs.take_lease(tx, "w", "third", "d_2", NOON) == 3 and runs.lease(tx, "v") is None


def test_what_the_door_asks_about_its_caller_is_of_its_wallet_its_run_its_agent_and_its_day(tx: Connection) -> None:
    day = NOON - NOON % DAY_MS
    nothing = standing(tx, "w", None, "a", day)
    assert nothing == Standing(None, None, False, D(0), False, False, False, 0)
    runs.take_lease(tx, "w", "me", "d_1", NOON)
    runs.add_deployment(tx, a_run("d_1", state="paused"))
    notes.put_setting(tx, notes.KILL_SWITCH, True)
    for slug, at, cost in (("a", NOON, D("0.25")), ("a", NOON - DAY_MS, D(7)), ("b", NOON, D(9))):
        call = {"time_ms": at, "slug": slug, "deployment": "d_1", "turn_kind": "tick", "model": "m", "calls": 1}
        notes.add_usage(tx, {**call, "tokens_in": 2, "tokens_out": 3, "cost_usd": cost})
    held = trading.Reservation("i1", "w", "X", "d_1", "d_1", "buy", D(1), D(100), D(5), 1)
    trading.add_intent(tx, an_intent("i1", state="unknown"), held, [an_order("live", intent_id="i1")])
    executors.add(tx, ExecutorRow("e1", "w", "d_1", "d_1/e1", "order", "X", "buy", "active", None, "", {}, {}, D(1), NOON, NOON))
    assert standing(tx, "w", "d_1", "a", day) == Standing(1, "paused", True, D("0.25"), True, True, True, 1)
    assert standing(tx, "v", "d_2", "c", day) == Standing(None, None, True, D(0), False, False, False, 0)
    trading.set_intent_state(tx, "i1", IntentState.EXECUTED, NOON)
    trading.update_order(tx, "live", state="filled")
    executors.save(tx, "e1", status="terminated")
    assert standing(tx, "w", "d_1", "a", day) == Standing(1, "paused", True, D("0.25"), False, False, False, 0)
