"""Losses, drawdowns, lockouts and what a person's word re-bases; deposits that hide nothing; nights the runner slept through."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from hands import tamper
from world import AGENT, NOON, STEP, WALLET, World

from tradeagent.domain.clock import HOUR_MS
from tradeagent.domain.costs import FeeSchedule
from tradeagent.domain.errors import RefusedError, VenueError
from tradeagent.domain.names import Actor, ExitReason, HaltReason, Rule, VerdictKind
from tradeagent.execution.halts import clear_halt, flatten, judge_marks, killed_incident, note_kill, reopen
from tradeagent.ledger import events, notes, runs
from tradeagent.workspace.latch import clear_latch, set_latch

D = Decimal
NewWorld = Callable[..., World]
EXECUTED = VerdictKind.EXECUTED


def halt_of(world: World) -> str | None:
    with world.ledger.reading() as tx:
        found = tx.exec_driver_sql("SELECT halt FROM risk_state").scalar_one()
    assert found == world.engine.book.risk.halt
    return None if found is None else str(found)


def open_codes(world: World) -> set[str]:
    with world.ledger.reading() as tx:
        return {str(i["code"]) for i in notes.list_incidents(tx, only_open=True)}


def deployment_state(world: World) -> str:
    with world.ledger.reading() as tx:
        return runs.get_deployment(tx, AGENT).state


@pytest.mark.parametrize(("price", "halts"), [("95.01", False), ("95", True)])
def test_a_daily_loss_at_its_limit_flattens_without_anybody_proposing(price: str, halts: bool, new_world: NewWorld) -> None:
    world = new_world(limits={"max_daily_loss_quote": 50})
    world.submit(size=10, target=120)
    world.submit(market="ETH", size=1, type="limit", price=40)
    world.play(BTC=price)
    assert (halt_of(world), world.held()) == (("daily_loss", 0) if halts else (None, 10))
    if halts:
        assert world.orders() == [] and deployment_state(world) == "halted"
        assert open_codes(world) == {"halt_daily_loss"}
        assert world.trips()[0]["exit_reason"] == "halt" and world.trips()[0]["controller_id"] == AGENT
        assert world.submit(size=1).rule is Rule.HALTED


@pytest.mark.parametrize(("price", "halts"), [("85.01", False), ("85", True)])
def test_a_drawdown_at_its_limit_halts_and_flattens(price: str, halts: bool, new_world: NewWorld) -> None:
    world = new_world(limits={"halt_drawdown_pct": 15})
    world.submit(size=100)
    world.play(BTC=("100", "100", price, price))
    assert (halt_of(world), world.held()) == (("drawdown", 0) if halts else (None, 100))
    assert open_codes(world) == ({"halt_drawdown"} if halts else set())


def test_a_lockout_latches_at_its_limit_and_stays_after_recovery(new_world: NewWorld) -> None:
    world = new_world(limits={"max_drawdown_pct": 10, "halt_drawdown_pct": 50})
    world.submit(size=100, stop=70)
    world.play(BTC="90.01")
    assert world.engine.book.risk.lockout_ms is None
    world.play(BTC="90")
    assert world.engine.book.risk.lockout_ms is not None and open_codes(world) == {"lockout"}
    assert world.held() == 100 and len(world.orders(leg="stop")) == 1, "stops and exits go on"
    world.play(BTC="100")
    world.play()
    assert world.submit(size=1).rule is Rule.LOCKOUT
    assert world.restart().value == "consistent"
    assert world.submit(size=1).rule is Rule.LOCKOUT
    assert world.close().kind is EXECUTED
    assert clear_halt(world.engine) == ["peak nav := now (equity 10000 USDC)"]
    assert world.submit(size=1).kind is EXECUTED and open_codes(world) == set()
    assert deployment_state(world) == "running"


def test_clearing_a_lockout_does_not_wake_a_paused_deployment(new_world: NewWorld) -> None:
    world = new_world(limits={"max_drawdown_pct": 10, "halt_drawdown_pct": 50})
    world.submit(size=100)
    world.play(BTC="90")
    with world.ledger.transaction() as tx:
        runs.update_deployment(tx, AGENT, state="paused")
    clear_halt(world.engine)
    assert deployment_state(world) == "paused" and world.submit(size=1).rule is Rule.PAUSED


def test_a_halt_survives_midnight_and_a_restart(new_world: NewWorld) -> None:
    world = new_world(limits={"max_daily_loss_quote": 50}, start_ms=NOON + 12 * HOUR_MS - 2 * STEP)
    world.submit(size=10)
    world.play(BTC=94)
    assert halt_of(world) == "daily_loss"
    world.play_many(3)
    assert world.engine.book.risk.day_start_ms == NOON + 12 * HOUR_MS
    assert world.engine.book.risk.day.pnl(world.equity) == 0
    assert world.submit(size=1).rule is Rule.HALTED
    world.restart()
    assert world.submit(size=1).rule is Rule.HALTED


def test_a_cleared_halt_rebases_and_does_not_trip_again(new_world: NewWorld) -> None:
    world = new_world(limits={"max_daily_loss_quote": 50, "halt_drawdown_pct": 15, "max_drawdown_pct": 10})
    world.submit(size=10)
    world.play(BTC=90)
    assert halt_of(world) == "daily_loss"
    assert clear_halt(world.engine) == ["day start := 9900 USDC"]
    world.play_many(2)
    assert halt_of(world) is None and deployment_state(world) == "running"
    assert world.submit(size=10).kind is EXECUTED
    world.play(BTC="85.01")
    assert halt_of(world) is None, "the new allowance is a whole one"
    world.play(BTC=85)
    assert halt_of(world) == "daily_loss"


def test_clearing_rebases_everything_that_is_breached(new_world: NewWorld) -> None:
    world = new_world(limits={"max_daily_loss_quote": 2000, "halt_drawdown_pct": 15, "max_drawdown_pct": None})
    world.submit(size=100)
    world.play(BTC="80")
    assert halt_of(world) == "daily_loss"
    assert len(clear_halt(world.engine)) == 2
    world.play()
    assert halt_of(world) is None

    world = new_world(limits={"max_daily_loss_quote": 1504, "halt_drawdown_pct": 15}, fees=FeeSchedule())
    world.submit(size=100, reason="fees of 4.5 in, 3.8 out")
    world.play(BTC="85.04")
    assert halt_of(world) == "drawdown" and world.engine.book.risk.day.pnl(world.equity) <= -1504
    assert len(clear_halt(world.engine)) == 2
    world.play()
    assert halt_of(world) is None


def test_clearing_a_drawdown_rebases_a_day_whose_loss_came_to_its_limit_with_the_close(new_world: NewWorld) -> None:
    """110 lost at the mark halt the drawdown; the fee of the close makes it 119.90, all that the day may lose."""
    fees, limits = FeeSchedule(D("0.001"), D(0)), {"max_daily_loss_quote": D("119.9"), "halt_drawdown_pct": D("1.1")}
    world = new_world(fees=fees, limits=limits)
    world.submit(size=100)
    world.play(BTC=99)
    assert (halt_of(world), world.equity) == ("drawdown", D("9880.1"))
    assert clear_halt(world.engine) == ["day start := 9880.1 USDC", "peak nav := now (equity 9880.1 USDC)"]
    assert judge_marks(world.engine) is None, "it does not trip again at once"


def test_a_halt_that_could_not_close_tries_again_at_the_next_mark(new_world: NewWorld) -> None:
    world = new_world(limits={"max_daily_loss_quote": 50})
    world.submit(size=10)
    place = world.paper.place

    def broken(*_: object) -> object:
        raise VenueError("down")

    world.paper.place = broken  # type: ignore[method-assign, assignment]
    world.play(BTC=94)
    assert halt_of(world) == "daily_loss" and world.held() == 10
    world.paper.place = place  # type: ignore[method-assign]
    world.play(BTC=94)
    assert world.held() == 0


def test_a_crash_between_latch_and_closes_is_finished_after_the_restart(new_world: NewWorld) -> None:
    world = new_world(limits={"max_daily_loss_quote": 50})
    world.submit(size=10)

    class Crash(Exception):
        pass

    def crash(*_: object) -> object:
        raise Crash

    world.paper.place = crash  # type: ignore[method-assign, assignment]
    with pytest.raises(Crash):
        world.play(BTC=94)
    world.restart()
    assert halt_of(world) == "daily_loss" and world.held() == 10
    world.play()
    assert world.held() == 0 and halt_of(world) == "daily_loss"


def test_a_loss_while_the_runner_slept_over_midnight_counts_for_the_new_day(new_world: NewWorld) -> None:
    world = new_world(limits={"max_daily_loss_quote": 50}, start_ms=NOON + 12 * HOUR_MS - STEP, live=True)
    world.submit(size=10)
    world.play()
    assert world.held() == 10 and world.now == NOON + 12 * HOUR_MS
    world.engine.book.mark(world.now + 3 * STEP, {"BTC": D("95.5")})
    assert world.engine.book.risk.day.pnl(world.equity) == -45 and judge_marks(world.engine) is None
    world.engine.book.mark(world.now + 4 * STEP, {"BTC": D(95)})
    assert judge_marks(world.engine) is HaltReason.DAILY_LOSS


def test_the_new_day_starts_from_the_last_point_before_midnight(new_world: NewWorld) -> None:
    world = new_world(start_ms=NOON + 12 * HOUR_MS - STEP - 60_000)
    world.submit(size=10)
    world.play(BTC=99)
    world.play(BTC=97)  # closes four minutes after midnight
    risk = world.engine.book.risk
    assert (risk.day_start_ms, risk.day_start_equity) == (NOON + 12 * HOUR_MS, 9990)
    assert risk.day.pnl(world.equity) == -20
    world.restart()
    assert world.engine.book.risk.day.pnl(world.equity) == -20


@pytest.mark.parametrize("amount", [5000, -3000])
def test_a_deposit_or_withdrawal_moves_neither_day_pnl_nor_drawdown(amount: int, new_world: NewWorld) -> None:
    world = new_world(limits={"halt_drawdown_pct": 50, "max_drawdown_pct": 50})
    world.submit(size=20)
    world.play(BTC=95)
    before = world.engine.book.risk
    drawdown = before.nav.drawdown(world.equity)
    assert drawdown == D("0.01")
    world.transfer(amount)
    after = world.engine.book.risk
    assert world.equity == 9900 + amount and after.flows == 10_000 + amount
    assert abs(after.nav.drawdown(world.equity) - drawdown) < D("1e-11")
    assert after.day.pnl(world.equity) == -100
    world.play()
    assert world.engine.book.risk.day.pnl(world.equity) == -100 and world.differences() == []


def test_withdrawing_everything_is_no_drawdown_and_depositing_again_hides_none(new_world: NewWorld) -> None:
    world = new_world(limits={"halt_drawdown_pct": 15, "max_drawdown_pct": 10})
    world.submit(size="33.333")
    world.play(BTC="97.77")
    world.close()
    drawdown = world.engine.book.risk.nav.drawdown(world.equity)
    pnl = world.engine.book.risk.day.pnl(world.equity)
    world.transfer(-world.equity)
    world.play_many(2)
    assert halt_of(world) is None and world.engine.book.risk.lockout_ms is None
    world.transfer(1000)
    world.play()
    assert abs(world.engine.book.risk.nav.drawdown(world.equity) - drawdown) < D("1e-11")
    assert world.engine.book.risk.day.pnl(world.equity) == pnl


def test_flatten_closes_everybodys_positions_for_their_owners(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=5, stop=95)
    world.manual(size=3)
    world.manual("sell", market="ETH", size=7, stop=60)
    verdicts = flatten(world.engine, Actor.MANUAL, ExitReason.FLATTEN)
    assert [v.kind for v in verdicts] == [EXECUTED, EXECUTED]
    assert world.engine.book.held_markets == [] and world.orders() == [] and world.differences() == []
    assert sorted((t["controller_id"], t["market"], t["size"], t["exit_reason"]) for t in world.trips()) == [
        ("manual", "BTC", D(3), "flatten"),
        ("manual", "ETH", D(7), "flatten"),
        (AGENT, "BTC", D(5), "flatten"),
    ]


def test_a_dry_run_never_halts(new_world: NewWorld) -> None:
    world = new_world(limits={"max_daily_loss_quote": 50})
    world.submit(size=10)
    world.engine.dry_run = True
    world.play(BTC=90)
    assert world.engine.book.risk.halt is None and world.held() == 10


def test_an_empty_wallet_is_not_in_drawdown(new_world: NewWorld) -> None:
    world = new_world(cash=0, limits={"halt_drawdown_pct": 15, "max_daily_loss_pct": 1})
    world.play_many(3)
    assert halt_of(world) is None
    assert world.submit(size=1).rule in (Rule.POSITION_CAP, Rule.DAILY_LOSS)


def test_a_kill_switch_lets_only_exits_through(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=5, stop=95)
    with world.ledger.transaction() as tx:
        notes.put_setting(tx, notes.KILL_SWITCH, True)
    assert world.submit(size=1).rule is Rule.KILL_SWITCH and world.manual(size=1).rule is Rule.KILL_SWITCH
    assert world.close().kind is EXECUTED


def test_a_halt_is_one_event_and_its_clearing_another(new_world: NewWorld) -> None:
    world = new_world(limits={"max_daily_loss_quote": 50})
    world.submit(size=10)
    world.play(BTC=90)
    clear_halt(world.engine)
    with world.ledger.reading() as tx:
        found = [(e["data"]["state"], e["actor"]) for e in events.read(tx, wallet=WALLET, kinds=["halt"], limit=1000)]
    assert found == [("halted", "system"), ("cleared", "manual")]


def test_a_kill_of_the_wallet_is_noted_once_and_a_kill_of_everything_halts_no_wallet(new_world: NewWorld) -> None:
    world = new_world()
    note_kill(world.engine)
    assert world.engine.book.risk.halt is None, "nobody was killed"
    set_latch(world.root / "kill", None)
    note_kill(world.engine)
    assert world.engine.book.risk.halt is None
    set_latch(world.root / "kill", WALLET)
    clear_latch(world.root / "kill", None)
    for _ in range(2):
        note_kill(world.engine)
    with world.ledger.reading() as tx:
        deployment = runs.get_deployment(tx, AGENT)
        halts = events.read(tx, kinds=("halt",))
        told = [incident["code"] for incident in notes.list_incidents(tx, only_open=True)]
    assert (world.engine.book.risk.halt, world.engine.book.risk.halt_ms, deployment.state) == ("kill", world.now, "halted")
    assert [event["data"]["reason"] for event in halts] == ["kill"] and told == ["kill"]
    with pytest.raises(RefusedError, match="clear-halt does not undo that"):
        clear_halt(world.engine)
    reopen(world.engine, whole=True)
    with world.ledger.reading() as tx:
        assert runs.get_deployment(tx, AGENT).state == "running" and notes.list_incidents(tx, only_open=True) == []
    assert world.engine.book.risk.halt is None and world.submit(size=1).kind is VerdictKind.EXECUTED


def test_the_incident_of_a_kill_says_whom_it_was_about() -> None:
    one, all_of_them = killed_incident(WALLET, AGENT), killed_incident(None, None)
    assert one.message == "wallet w was killed by a person; `tradeagent kill --clear` undoes it"
    assert all_of_them.message == "every wallet was killed by a person; `tradeagent kill --clear` undoes it"
    assert (one.wallet, one.deployment, all_of_them.wallet, all_of_them.deployment) == (WALLET, AGENT, None, None)


def test_a_kill_stays_while_ledger_and_venue_differ(new_world: NewWorld) -> None:
    world = new_world()
    set_latch(world.root / "kill", WALLET)
    note_kill(world.engine)
    tamper(world, lambda state: replace(state, cash=state.cash - 1))
    with pytest.raises(RefusedError, match="ledger and venue differ") as caught:
        reopen(world.engine, whole=True)
    assert (caught.value.code, halt_of(world), deployment_state(world)) == (Rule.RECONCILING.value, "kill", "halted")
    assert world.engine.gate.latched() is Rule.HALTED and world.submit(size=1).rule is not None
    tamper(world, lambda state: replace(state, cash=state.cash + 1))
    reopen(world.engine, whole=False)
    assert (halt_of(world), world.engine.gate.latched()) == ("kill", Rule.HALTED), "it was about the latch over all wallets"
    reopen(world.engine, whole=True)
    assert (halt_of(world), world.engine.gate.latched(), deployment_state(world), open_codes(world)) == (None, None, "running", set())
    with world.ledger.reading() as tx:
        last = events.read(tx, wallet=WALLET, kinds=["halt"], limit=1000)[-1]
    assert (last["data"], last["actor"]) == ({"state": "cleared", "rebased": []}, "manual")


def test_undoing_a_kill_leaves_a_halt_for_another_reason_and_wakes_nobody_who_was_paused(new_world: NewWorld) -> None:
    world = new_world(limits={"max_daily_loss_quote": 50})
    world.submit(size=10)
    world.play(BTC=90)
    with world.ledger.transaction() as tx:
        runs.update_deployment(tx, AGENT, state="paused")
    set_latch(world.root / "kill", WALLET)
    reopen(world.engine, whole=True)
    assert (halt_of(world), deployment_state(world)) == ("daily_loss", "paused")
    assert open_codes(world) == {"halt_daily_loss"}


def test_a_losing_streak_counts_trades_and_ends_with_one_that_does_not_lose(new_world: NewWorld) -> None:
    world, seen = new_world(), []
    for before, after in ((100, 99), (99, 98), (98, 97), (97, 97), (97, 96)):
        world.play(BTC=before)
        world.submit(size=1)
        world.play(BTC=after)
        world.close()
        seen.append(world.engine.book.risk.losing_streak)
    assert seen == [1, 2, 3, 0, 1]


def test_unrealised_is_what_the_mark_adds_to_the_cash(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=2)
    world.play(BTC="103")
    assert (world.engine.book.unrealised(), world.engine.book.risk.cash) == (6, 10_000)
