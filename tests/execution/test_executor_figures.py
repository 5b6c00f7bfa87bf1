"""What an executor made, paid, turned over and how long it took, to the last digit; and what it leaves behind when it ends."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from hands import no_trade_next
from test_executor_refusals import refuse
from test_executors import BARRIERS, end, grid, reserved, row_of, start
from world import AGENT, STEP, WALLET, World, deployment_row

from tradeagent.domain.clock import SimulatedClock
from tradeagent.domain.costs import FeeSchedule
from tradeagent.domain.names import ExitReason, Liquidity, Side
from tradeagent.domain.order import Fill
from tradeagent.execution.executors.desk import adopt, figures_of, step_all, stop
from tradeagent.execution.executors.records import as_dict
from tradeagent.execution.reading import limits_out, read_state
from tradeagent.execution.trips import split_fill
from tradeagent.ledger import executors, runs, trading, wallets
from tradeagent.ledger.trading import NET, PositionRow
from tradeagent.workspace.config import load_config

D = Decimal
NewWorld = Callable[..., World]
FEES = FeeSchedule(D("0.0005"), D("0.0002"))


# --- figures ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lasted_ms", "seconds"), [(0, 0), (999, 0), (1000, 1), (1_000_999, 1000), (-5000, 0)])
def test_an_executor_lasts_whole_seconds_and_never_less_than_none(new_world: NewWorld, lasted_ms: int, seconds: int) -> None:
    world = new_world()
    row = row_of(world, start(world, "position", amount="1", barriers=BARRIERS))
    shown = as_dict(row, *figures_of(world.engine, row), now_ms=row.created_ms + lasted_ms)
    assert shown["duration_s"] == seconds
    ended = replace(row, ended_ms=row.created_ms + lasted_ms)
    assert as_dict(ended, D(0), D(0), D(0), now_ms=row.created_ms + 77_000)["duration_s"] == seconds


def test_an_executor_is_shown_with_its_figures(new_world: NewWorld) -> None:
    world = new_world(fees=FEES)
    made = start(world, "position", amount="2", barriers=BARRIERS)
    world.play(BTC="101")
    world.play(BTC="99.5")
    row = row_of(world, made)
    shown = as_dict(row, *figures_of(world.engine, row), world.now)
    figures = {name: shown[name] for name in ("net_pnl_quote", "fees_paid_quote", "volume_quote", "amount_quote", "duration_s")}
    assert figures == {"net_pnl_quote": "-1.1", "fees_paid_quote": "0.1", "volume_quote": "200", "amount_quote": "200", "duration_s": 600}
    assert (shown["controller_id"], shown["status"], shown["close_type"]) == (AGENT, "active", None)
    assert as_dict(row, None, D(0), D(0), world.now)["net_pnl_quote"] is None


def test_what_a_closing_order_made_is_what_its_own_fills_made(new_world: NewWorld) -> None:
    world = new_world(fees=FEES)
    world.submit(size=3)
    world.play(BTC="101.5")
    made = start(world, "order", side="sell", amount="2", strategy="market", reduce_only=True)
    row = row_of(world, made)
    assert (row.net_pnl_quote, row.fees_paid_quote, row.volume_quote) == (D("2.8985"), D("0.1015"), D(203))
    assert figures_of(world.engine, row) == (D("2.8985"), D("0.1015"), D(203))
    world.play(BTC="120")
    world.close()
    assert figures_of(world.engine, row_of(world, made)) == (D("2.8985"), D("0.1015"), D(203)), "nothing that came later"


def test_a_closing_order_that_waits_has_made_nothing_yet(new_world: NewWorld) -> None:
    world = new_world(fees=FEES)
    world.submit(size=3)
    made = start(world, "order", side="sell", amount="2", strategy="limit", price="105", reduce_only=True)
    assert figures_of(world.engine, row_of(world, made)) == (0, 0, 0)


@pytest.mark.parametrize(("keeps", "pnl", "fees", "volume"), [(True, "0.95", "0.05", "100"), (False, "0.8995", "0.1005", "201")])
def test_a_stopped_executor_made_what_its_position_is_worth_then(
    new_world: NewWorld, keeps: bool, pnl: str, fees: str, volume: str
) -> None:
    world = new_world(fees=FEES)
    made = start(world, "position", amount="1", barriers=BARRIERS)
    world.play(BTC="101")
    stop(world.engine, made, keep_position=keeps, deployment=AGENT)
    row = row_of(world, made)
    assert (row.net_pnl_quote, row.fees_paid_quote, row.volume_quote) == (D(pnl), D(fees), D(volume))
    assert (row.ended_ms, row.updated_ms, row.status) == (world.now, world.now, "terminated")
    world.play(BTC="102")
    assert figures_of(world.engine, row_of(world, made)) == (D(pnl), D(fees), D(volume)), "an end is written once"


def test_rounds_of_an_earlier_run_stay_in_the_figures(new_world: NewWorld) -> None:
    world = new_world(fees=FEES)
    with world.ledger.transaction() as tx:
        for name in ("momentum_2", "momentum_3"):
            runs.add_deployment(tx, replace(deployment_row(world.now), id=name, number=int(name[-1]), limits=limits_out(world.limits)))
    made = grid(world, take_profit="0.004")
    world.play(BTC="97.9")
    world.play(BTC=("97.9", "98.45", "97.9", "97.95"))
    before = figures_of(world.engine, row_of(world, made))
    assert world.held() == 0
    for earlier, later in (("momentum_1", "momentum_2"), ("momentum_2", "momentum_3")):
        assert adopt(world.engine, [earlier], later) == [made]
        assert figures_of(world.engine, row_of(world, made)) == before
    cost, value = D("0.204") * 98, D("0.204") * D("98.392")
    assert before[2] == cost + value and before[0] == value - cost - before[1] and before[1] > 0


def test_fees_make_a_loss_larger_for_the_cap_on_risk(new_world: NewWorld) -> None:
    world = new_world(fees=FEES)
    world.submit(size=10)
    world.play(BTC="99")
    world.close()
    assert world.engine.book.risk.penalty == D("10.495"), "10 lost and 0.495 paid to close"
    world.submit(size=10)
    world.play(BTC="99.5")
    world.close()
    halved = world.engine.book.risk.penalty_state
    assert D("10.495") - 5 < halved.amount < D("10.495") - 4, "the gain of 5 less 0.4975"


# --- ends -------------------------------------------------------------------------------------------------------------------


def test_half_a_coin_is_kept_beside_half_a_coin(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size="0.5")
    made = start(world, "position", amount="0.5", barriers=BARRIERS)
    stop(world.engine, made, keep_position=True, deployment=AGENT)
    assert (end(world, made), world.held("BTC", AGENT), world.fills()[-1]["side"]) == (("terminated", "early_stop"), 1, "buy")


def test_what_was_held_once_bars_nothing_from_being_kept(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size="0.5")
    world.close()
    made = start(world, "position", amount="0.5", barriers=BARRIERS)
    stop(world.engine, made, keep_position=True, deployment=AGENT)
    assert (world.held("BTC", AGENT), len(world.fills())) == (D("0.5"), 3)


def test_an_exit_that_waits_for_a_trade_is_sent_once(new_world: NewWorld) -> None:
    world = new_world()
    made = start(world, "position", amount="1", barriers=BARRIERS)
    world.play()
    no_trade_next(world)
    stop(world.engine, made, keep_position=False, deployment=AGENT)
    for _ in range(3):
        step_all(world.engine)
    assert [order.leg for order in world.orders() if order.leg == "close"] == ["close"] and row_of(world, made).state["seq"] == 2
    world.play_many(2)
    assert (end(world, made), world.held(), world.orders()) == (("terminated", "early_stop"), 0, [])


def test_an_entry_whose_cancel_is_not_answered_yet_is_asked_for_once_a_step(new_world: NewWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world = new_world()
    made = start(world, "order", amount="1", strategy="limit", price="90")
    asked: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(world.paper, "cancel", asked.append)
        stop(world.engine, made, keep_position=True, deployment=AGENT)
        assert len(asked) == 1 and row_of(world, made).is_live
        step_all(world.engine)
        assert len(asked) == 2
    step_all(world.engine)
    assert (end(world, made), world.orders(), reserved(world)) == (("terminated", "early_stop"), [], 0)


def test_levels_that_the_venue_keeps_for_somebody_else_end_with_their_own_position(new_world: NewWorld) -> None:
    world = new_world()
    world.submit(size=2, stop=90)
    made = start(world, "position", amount="1", barriers=BARRIERS)
    world.play(BTC=("100", "103.5", "100", "103"))
    assert end(world, made) == ("terminated", "take_profit")
    assert {(order.controller_id, order.trigger, order.size) for order in world.orders()} == {(AGENT, 90, 2)}
    assert world.held() == 2 == world.held("BTC", AGENT)


def test_a_market_of_another_executor_is_left_alone_when_one_ends(new_world: NewWorld) -> None:
    world = new_world()
    made = start(world, "position", amount="1", barriers=BARRIERS)
    other = start(world, "position", market="ETH", amount="1", barriers=BARRIERS)
    stop(world.engine, made, keep_position=False, deployment=AGENT)
    assert {(order.market, order.leg) for order in world.orders()} == {("ETH", "stop"), ("ETH", "target")}
    assert row_of(world, other).is_live and world.held("ETH") == 1


# --- how it begins, and what it is part of ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("held", "kind"), [(None, "open"), ("0.5", "increase")])
def test_an_executor_that_joins_a_position_is_written_down_as_an_increase(new_world: NewWorld, held: str | None, kind: str) -> None:
    world = new_world()
    if held:
        world.submit(size=held)
    made = start(world, "position", amount="1", barriers=BARRIERS)
    with world.ledger.reading() as tx:
        whole = trading.intent(tx, f"{made}.0")
    assert whole is not None and (whole["kind"], whole["state"]) == (kind, "executed")


def test_a_planned_total_stays_reserved_until_its_entries_are_sent(new_world: NewWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world = new_world()
    refuse(world, monkeypatch)
    made = start(world, "dca", amounts_quote=["99", "98"], prices=["99", "98"], stop_loss="0.05")
    with world.ledger.reading() as tx:
        (kept,) = trading.active_reservations(tx, WALLET)
    assert (kept.intent_id, kept.size, kept.price, kept.side) == (f"{made}.0", 2, D("98.5"), "buy")
    assert kept.risk == 2 * (D("98.5") - D("93.575")), "to the stop, 5 % below the average"


def test_whoever_only_looks_counts_the_executors_of_its_own_deployment(new_world: NewWorld) -> None:
    world = new_world()
    start(world, "position", amount="1", barriers=BARRIERS)
    config = load_config(world.root / "config.yml", {})
    with world.ledger.reading() as tx:
        assert read_state(tx, config, wallets.get(tx, WALLET), SimulatedClock(0)).live_executors == 0
        assert executors.live_count(tx, AGENT) == 1 == world.state().live_executors


def test_a_close_takes_from_its_own_controller_then_from_others_on_that_side_and_never_from_the_other() -> None:
    sizes = {
        (market, controller): D(size)
        for market, controller, size in (
            ("BTC", NET, "1.5"),
            ("BTC", "flat", "0"),
            ("BTC", "long", "0.5"),
            ("BTC", "own", "0.75"),
            ("BTC", "short", "-0.25"),
            ("ETH", "own", "9"),
        )
    }
    rows = {key: PositionRow(WALLET, *key, size=size) for key, size in sizes.items()}

    def shares(size: str, side: Side, own: str = "own") -> list[tuple[str, Decimal]]:
        fill = Fill(1, STEP, "BTC", side, D(size), D(100), D(0), Liquidity.TAKER, 1, "0x1", D(0), ExitReason.STOP)
        return list(split_fill(rows, fill, own))

    assert shares("0.7", Side.SELL) == [("own", D("0.7"))]
    assert shares("1", Side.SELL) == [("own", D("0.75")), ("long", D("0.25"))]
    assert shares("2", Side.SELL) == [("own", D("0.75")), ("long", D("0.5")), ("own", D("0.75"))]
    assert shares("0.25", Side.BUY) == [("short", D("0.25"))]
    assert shares("1.25", Side.SELL, "nobody") == [("long", D("0.5")), ("own", D("0.75"))]
