"""What is recorded once stays once: fills, payments, flows; tokens only grow; versions, incidents and small settings."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from tradeagent.domain.clock import DAY_MS, HOUR_MS
from tradeagent.domain.errors import InvalidInput, NotFound
from tradeagent.domain.names import CommandKind, ExitReason, IncidentCode, IntentState, Level, Liquidity, OrderState, Side
from tradeagent.domain.order import Fill, FundingPayment
from tradeagent.ledger import events, nonces, notes, runs, trading, wallets
from tradeagent.ledger.store import Ledger, create_ledger
from tradeagent.ledger.trading import OrderRow, PositionRow, Reservation
from tradeagent.ledger.wallets import RiskRow, WalletRow

D = Decimal
NOON = 1_767_787_200_000


@pytest.fixture
def tx(tmp_path: Path):  # type: ignore[no-untyped-def]
    ledger = create_ledger(tmp_path / "ledger.db")
    with ledger.transaction(durable=False) as tx:
        wallets.create(tx, WalletRow("w", "paper", "paper", "agent", {"max_leverage": "3"}, NOON))
        yield tx
    ledger.close()


def a_fill(trade_id: int = 1, **more: object) -> Fill:
    values = {
        "time_ms": NOON,
        "market": "X",
        "side": Side.BUY,
        "size": D("0.10"),
        "price": D("100.5"),
        "fee": D("0.0045"),
        "liquidity": Liquidity.TAKER,
    }
    return Fill(trade_id=trade_id, oid=7, cloid="0x1", realised_pnl=D("-0"), **{**values, **more})  # type: ignore[arg-type]


def an_order(cloid: str = "0x1", **more: object) -> OrderRow:
    row = OrderRow(
        "0x1",
        "i1",
        "w",
        "d_1",
        "d_1",
        None,
        "X",
        "buy",
        "limit",
        "entry",
        D(1),
        D(0),
        D(99),
        None,
        "gtc",
        False,
        None,
        "open",
        "",
        NOON,
        NOON,
    )
    return replace(row, cloid=cloid, **more)  # type: ignore[arg-type]


def test_a_fill_is_recorded_once_per_wallet_and_trade(tx) -> None:  # type: ignore[no-untyped-def]
    assert trading.add_fill(tx, "w", a_fill(), an_order())
    assert not trading.add_fill(tx, "w", a_fill(price=D(7)), None)
    assert trading.add_fill(tx, "v", a_fill(), None)
    assert trading.add_fill(tx, "w", a_fill(2, reason=ExitReason.STOP), None)
    first, second = trading.fills_of(tx, wallet="w")
    assert (first["price"], first["size"], first["deployment"], first["controller_id"]) == (D("100.5"), D("0.10"), "d_1", "d_1")
    assert (second["controller_id"], second["exit_reason"]) == ("unmanaged", "stop")
    assert [f["trade_id"] for f in trading.fills_of(tx, wallet="w", limit=1)] == [2], "the newest"
    assert len(trading.fills_of(tx, deployment="d_1")) == 1 and len(trading.fills_of_orders(tx, ["0x1"])) == 3 == trading.fill_count(
        tx, "0x1"
    )
    assert trading.volume_after(tx, "d_1", 0) == (D("10.05"), first["seq"])
    assert trading.volume_after(tx, "d_1", first["seq"]) == (0, first["seq"])
    assert trading.add_fill(tx, "w", a_fill(3, size=D("0.2"), price=D(100)), an_order())
    newest = trading.fills_of(tx, deployment="d_1")[-1]
    assert trading.volume_after(tx, "d_1", 0) == (D("30.05"), newest["seq"]), "and where to go on from"


def test_payments_and_flows_are_recorded_once(tx) -> None:  # type: ignore[no-untyped-def]
    payment = FundingPayment(3, NOON, "X", D(1), D(100), D("0.0001"), D("0.01"))
    assert [trading.add_funding(tx, "w", payment, None), trading.add_funding(tx, "w", payment, None)] == [True, False]
    assert trading.add_funding(tx, "v", payment, None)
    assert [trading.add_flow(tx, "w", 1, "deposit", D(5), NOON), trading.add_flow(tx, "w", 1, "deposit", D(5), NOON)] == [True, False]


def test_money_is_kept_as_the_text_it_was(tx) -> None:  # type: ignore[no-untyped-def]
    trading.add_equity_point(tx, "w", NOON, D("1E+3"), D("0.000001"), D("1.000000000001"))
    trading.add_equity_point(tx, "w", NOON, D("1234567890123.000001"), D("-0.000001"), D(1))
    assert tx.exec_driver_sql("SELECT equity, cash FROM equity_points").all() == [("1234567890123.000001", "-0.000001")]
    assert trading.equity_points_of(tx, "w")[0]["equity"] == D("1234567890123.000001")


def test_fencing_tokens_only_grow(tx) -> None:  # type: ignore[no-untyped-def]
    tokens = [runs.take_lease(tx, "w", owner, None, NOON) for owner in ("a", "b", "a")]
    runs.release_lease(tx, "w", tokens[-1])
    released = runs.lease(tx, "w")
    assert released is not None and released["owner"] == ""
    tokens += [runs.take_lease(tx, "w", "c", "d_1", NOON + 5)]
    assert tokens == sorted(set(tokens))
    runs.release_lease(tx, "w", tokens[0])
    runs.beat(tx, "w", tokens[0], NOON + 99)
    held = runs.lease(tx, "w")
    assert held is not None and (held["owner"], held["deployment"], held["heartbeat_ms"]) == ("c", "d_1", NOON + 5), (
        "an old token does nothing"
    )
    runs.beat(tx, "w", tokens[-1], NOON + 7)
    held = runs.lease(tx, "w")
    assert held is not None and held["heartbeat_ms"] == NOON + 7
    assert runs.lease(tx, "nobody") is None and runs.take_lease(tx, "other", "x", None, NOON) == 1


def test_an_intent_holds_its_reservation_until_it_is_resolved(tx) -> None:  # type: ignore[no-untyped-def]
    base = {
        "wallet": "w",
        "deployment": "d_1",
        "controller_id": "d_1",
        "actor": "agent",
        "kind": "open",
        "market": "X",
        "proposal": {},
        "checks": [],
    }
    for name in ("i1", "i2"):
        values = {**base, "id": name, "state": "pending", "fencing_token": 1, "created_ms": NOON, "updated_ms": NOON}
        trading.add_intent(
            tx, values, Reservation(name, "w", "X", "d_1", "d_1", "buy", D(1), D(99), D(3), 5), [an_order(f"0x{name}", intent_id=name)]
        )
    trading.set_intent_state(tx, "i1", IntentState.UNKNOWN, NOON + 1, {"message": "lost"})
    assert [r.intent_id for r in trading.active_reservations(tx, "w")] == ["i1", "i2"]
    trading.set_intent_state(tx, "i1", IntentState.EXECUTED, NOON + 2)
    assert [r.intent_id for r in trading.active_reservations(tx, "w")] == ["i2"]
    assert [i["id"] for i in trading.open_intents(tx, "w")] == ["i2"]
    kept = trading.intent(tx, "i1")
    assert kept is not None and (kept["state"], kept["detail"], kept["updated_ms"]) == ("executed", {"message": "lost"}, NOON + 2)
    assert trading.intent(tx, "i9") is None
    assert trading.intent_counts(tx, "d_1") == [("executed", None, 1), ("pending", None, 1)]
    trading.update_order(tx, "0xi1", state=OrderState.FILLED.value)
    assert [o.cloid for o in trading.live_orders(tx, "w")] == ["0xi2"]
    assert [o.cloid for o in trading.orders_of_intent(tx, "i1")] == ["0xi1"]


def test_a_position_is_one_row_per_controller(tx) -> None:  # type: ignore[no-untyped-def]
    trading.save_positions(tx, [PositionRow("w", "X", "", D(1), D(100)), PositionRow("w", "X", "me", D(1), D(100), trip={"a": 1})])
    trading.save_positions(tx, [PositionRow("w", "X", "", D(2), D(201))])
    trading.save_positions(tx, [])
    assert {r.controller_id: (r.size, r.cost, r.trip) for r in trading.positions_of(tx, "w")} == {
        "": (2, 201, None),
        "me": (1, 100, {"a": 1}),
    }


def test_rejections_are_counted_by_rule(tx) -> None:  # type: ignore[no-untyped-def]
    for i, (rule, at) in enumerate([("MARGIN", 5), ("MARGIN", 6), ("SHAPE", 6), ("SHAPE", 1)]):
        values = {"id": str(i), "wallet": "w", "deployment": "d_1", "controller_id": "c", "actor": "agent", "kind": "open", "market": "X"}
        trading.add_intent(
            tx,
            {
                **values,
                "state": "rejected",
                "proposal": {},
                "checks": [],
                "rule": rule,
                "fencing_token": 1,
                "created_ms": at,
                "updated_ms": at,
            },
            None,
            (),
        )
    assert trading.recent_rejections(tx, "d_1", 5) == {"MARGIN": 2, "SHAPE": 1}


# --- wallets and their running totals ------------------------------------------------------------------------------------------


def test_a_wallet_starts_empty_and_its_name_is_taken(tx) -> None:  # type: ignore[no-untyped-def]
    assert wallets.get(tx, "w").limits == {"max_leverage": "3"} and wallets.risk(tx, "w") == RiskRow("w")
    assert not wallets.get(tx, "w").is_live
    assert replace(wallets.get(tx, "w"), network="testnet").is_live and replace(wallets.get(tx, "w"), network="mainnet").is_live
    with pytest.raises(InvalidInput, match="exists"):
        wallets.create(tx, WalletRow("w", "paper", "paper", "algo", {}, NOON))
    assert wallets.find(tx, "x") is None
    for missing in (wallets.get, wallets.risk):
        with pytest.raises(NotFound, match="'x'"):
            missing(tx, "x")
    assert [row.name for row in wallets.all_wallets(tx)] == ["w"]


def test_running_totals_survive_being_written(tx) -> None:  # type: ignore[no-untyped-def]
    row = RiskRow("w").with_flow(D(1000), D(0), NOON).marked(D("1010.000001"), NOON + HOUR_MS)
    row = replace(row, halt="drawdown", lockout_ms=5, entries_today={"agent": 3}, market_clock_ms=9, clock_source="replay")
    wallets.save_risk(tx, row)
    assert wallets.risk(tx, "w") == row


def test_the_first_deposit_starts_the_first_day() -> None:
    row = RiskRow("w").with_flow(D(1000), D(0), NOON)
    assert (row.cash, row.flows, row.day.pnl(D(1000)), row.nav.drawdown(D(1000))) == (1000, 1000, 0, 0)
    assert row.day_start_ms == NOON - 12 * HOUR_MS and row.peak_equity == 1000
    row = row.marked(D(900), NOON + 1).with_flow(D(500), D(900), NOON + 2)
    assert (row.day.pnl(D(1400)), row.flows, row.day_flows) == (-100, 1500, 500)
    assert row.peak_equity == 1500


def test_a_point_at_midnight_starts_the_day_and_a_later_one_does_not() -> None:
    midnight = NOON + 12 * HOUR_MS
    row = RiskRow("w").with_flow(D(1000), D(0), NOON).marked(D(990), midnight - 1)
    row = replace(row, entries_today={"agent": 9})
    on_time, late = row.marked(D(980), midnight), row.marked(D(980), midnight + 1)
    assert (on_time.day.pnl(D(980)), late.day.pnl(D(980))) == (0, -10)
    assert on_time.entries_today == late.entries_today == {}
    assert row.marked(D(980), midnight - 1).entries_today == {"agent": 9}
    assert row.rolled(midnight + 3 * DAY_MS, row.last_equity).day_start_ms == midnight + 3 * DAY_MS


# --- runs and notes ----------------------------------------------------------------------------------------------------------------


def deployment(name: str = "d_1", created_ms: int = NOON) -> runs.DeploymentRow:
    return runs.DeploymentRow(
        name, "agent", "d", "w", 1, "loop", "running", 1, "", ["X"], {}, {}, D(5), 0, 0, created_ms, None, None, None, None, "b", 1
    )


def test_deployments_are_found_by_id_and_the_newest_by_slug(tx) -> None:  # type: ignore[no-untyped-def]
    runs.add_deployment(tx, deployment())
    runs.add_deployment(tx, deployment("d_2", NOON + 1))
    assert runs.get_deployment(tx, "d").id == "d_2" and runs.get_deployment(tx, "d_1").id == "d_1"
    with pytest.raises(NotFound, match="'e'"):
        runs.get_deployment(tx, "e")
    runs.update_deployment(tx, "d_1", state="stopped", ticks=3)
    assert [(row.id, row.state) for row in runs.all_deployments(tx, wallet="w", slug="d")] == [("d_2", "running"), ("d_1", "stopped")]
    assert runs.find_deployment(tx, "x") is None


def test_commands_wait_until_they_are_done(tx) -> None:  # type: ignore[no-untyped-def]
    for i, kind in enumerate((CommandKind.PAUSE, CommandKind.STOP)):
        runs.add_command(tx, f"c{i}", "w", "d_1", kind, {"n": i}, NOON + i)
    assert [(c["id"], c["payload"]) for c in runs.queued_commands(tx, "w")] == [("c0", {"n": 0}), ("c1", {"n": 1})]
    assert runs.command(tx, "c1")["kind"] == "stop"
    with pytest.raises(NotFound):
        runs.command(tx, "c9")


def test_ticks_and_directives_belong_to_their_run(tx) -> None:  # type: ignore[no-untyped-def]
    for number in (1, 2):
        values = {
            "id": f"t{number}",
            "deployment": "d_1",
            "number": number,
            "state": "running",
            "action": "",
            "started_ms": 1,
            "market_ms": 1,
        }
        runs.start_tick(tx, {**values, "record": b"image"})
    runs.finish_tick(tx, "t1", state="ok", ended_ms=2)
    assert runs.tick_states(tx, "d_1") == {"ok": 1, "running": 1}
    runs.drop_old_records(tx, "d_1", 2)
    assert [t["record"] for t in runs.ticks_of(tx, "d_1", with_record=True)] == [None, b"image"]
    assert [t["number"] for t in runs.ticks_of(tx, "d_1", after=1)] == [2]
    runs.add_directive(tx, "x1", "d_1", "be careful", NOON)
    runs.deliver_directives(tx, [d["id"] for d in runs.waiting_directives(tx, "d_1")], 2)
    runs.deliver_directives(tx, [], 2)
    assert runs.waiting_directives(tx, "d_1") == []


def test_an_open_incident_is_not_repeated_and_closing_is_an_event(tx) -> None:  # type: ignore[no-untyped-def]
    incident = notes.Incident(IncidentCode.DATA_GAP, Level.WARNING, "a hole", "w", "d_1")
    for i, one in enumerate((incident, incident, replace(incident, message="another"), replace(incident, wallet=None, deployment=None))):
        notes.open_incident(tx, f"n{i}", one, NOON + i)
    assert [i["id"] for i in notes.list_incidents(tx, only_open=True)] == ["n3", "n2", "n0"]
    assert notes.open_incident_counts(tx) == {"d_1": 2, None: 1}
    notes.close_incidents(tx, IncidentCode.DATA_GAP, NOON + 9, wallet="w")
    notes.close_incidents(tx, IncidentCode.DATA_GAP, NOON + 9, wallet="w")
    assert [i["id"] for i in notes.list_incidents(tx, only_open=True)] == ["n3"]
    assert [e["kind"] for e in events.read(tx)].count("incident.closed") == 2
    notes.open_incident(tx, "n9", incident, NOON + 10)
    assert len(notes.list_incidents(tx)) == 4, "once closed it may come again"


def test_a_version_is_new_only_when_its_content_is(tx) -> None:  # type: ignore[no-untyped-def]
    made = [notes.save_version(tx, "a", p, h, "", NOON) for p, h in (("one", "1"), ("one", "1"), ("two", "2"), ("one", "1"))]
    assert made == [1, 1, 2, 3]
    assert [v["version"] for v in notes.versions(tx, "a")] == [3, 2, 1] and "payload" not in notes.versions(tx, "a")[0]


def test_model_spend_is_summed_exactly_by_day_and_unknown_costs_are_left_out(tx) -> None:  # type: ignore[no-untyped-def]
    today = NOON - 12 * HOUR_MS
    for at, cost in ((today, D("0.1")), (NOON, D("0.2")), (NOON, None), (today - 1, D(5))):
        values = {
            "time_ms": at,
            "slug": "a",
            "deployment": "d_1",
            "turn_kind": "tick",
            "model": "m",
            "calls": 1,
            "tokens_in": 2,
            "tokens_out": 3,
        }
        notes.add_usage(tx, {**values, "cost_usd": cost})
    assert (
        notes.spent_on(tx, "a", today) == D("0.3") and notes.spent_on(tx, "a", today - DAY_MS) == 5 and notes.spent_on(tx, "b", today) == 0
    )
    assert notes.usage_totals(tx, "d_1") == (4, 20, D("5.3")) and notes.usage_totals(tx, "d_9") == (0, 0, D(0))


def test_the_calls_of_one_turn_grow_one_row_whose_cost_is_unknown_when_one_of_theirs_is(tx) -> None:  # type: ignore[no-untyped-def]
    def call(cost: Decimal | None, **more: object) -> None:
        named = {"time_ms": NOON, "slug": "a", "deployment": "d_1", "turn_kind": "tick", "model": "m", **more}
        notes.grow_usage(tx, {**named, "calls": 1, "tokens_in": 20, "tokens_out": 3, "cost_usd": cost})

    for cost in (D("0.1"), D("0.25")):
        call(cost)
    [row] = notes.usage_rows(tx)
    assert (row["calls"], row["tokens_in"], row["tokens_out"], row["cost_usd"]) == (2, 40, 6, D("0.35"))
    for other in ({"time_ms": NOON + 1}, {"slug": "b"}, {"turn_kind": "chat"}, {"model": "n"}):
        call(D("0.5"), **other)
    assert [row["calls"] for row in notes.usage_rows(tx)] == [2, 1, 1, 1, 1]
    call(None)
    call(D("0.05"))
    assert [row["cost_usd"] for row in notes.usage_rows(tx)] == [None, D("0.5"), D("0.5"), D("0.5"), D("0.5")]
    assert notes.spent_on(tx, "a", NOON - 12 * HOUR_MS) == D("1.9"), "what is known of it is spent all the same"


def test_settings_and_lines_of_the_agent(tx) -> None:  # type: ignore[no-untyped-def]
    notes.put_setting(tx, "k", {"a": [1]})
    notes.put_setting(tx, "k", True)
    assert notes.setting(tx, "k") is True and notes.setting(tx, "none") is None
    for _ in range(2):
        notes.remember_line(tx, "a", "  learnt this ", "d_1", NOON)
    assert notes.written_by_agent(tx, "a") == {notes.line_hash("learnt this")}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = create_ledger(tmp_path / "ledger.db")
    yield made
    made.close()


def test_nonces_follow_the_clock_and_never_fall_back(ledger: Ledger) -> None:
    taken = []
    for now in (1000, 1000, 5000, 2000, 5001, 9000):
        with ledger.transaction() as tx:
            taken.append(nonces.take(tx, "signer", now))
    assert taken == [1000, 1001, 5000, 5001, 5002, 9000]
    with ledger.transaction() as tx:
        assert nonces.take(tx, "another", 10) == 10


def test_a_nonce_of_a_transaction_that_failed_is_free_again(ledger: Ledger) -> None:
    with pytest.raises(RuntimeError), ledger.transaction() as tx:
        nonces.take(tx, "signer", 1000)
        raise RuntimeError
    with ledger.transaction() as tx:
        assert nonces.take(tx, "signer", 1000) == 1000
