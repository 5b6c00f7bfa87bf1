"""Executors of every type on random bars, with crashes between them: ledger and venue agree, and nothing exceeds what was planned."""

from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hands import told
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_executors import ask, reserved, row_of
from world import AGENT, World

from tradeagent.domain.costs import FeeSchedule
from tradeagent.execution.executors.desk import end_all, stop
from tradeagent.ledger import executors, trading

D = Decimal
TRAILING = {"activation": "0.01", "delta": "0.01"}
KINDS: dict[str, dict[str, Any]] = {
    "position": {"amount_quote": "100", "barriers": {"stop_loss": "0.02", "take_profit": "0.03", "time_limit_s": 3000}},
    "trailing": {"amount_quote": "100", "barriers": {"stop_loss": "0.03", "trailing_stop": TRAILING}},
    "order": {"amount_quote": "100", "strategy": "limit_chaser", "chaser": {"distance": "0.004", "refresh_threshold": "0.004"}},
    "twap": {"total_amount_quote": "100", "duration_s": 1500, "interval_s": 300, "price_limit": "101"},
    "dca": {"amounts_quote": ["30", "30", "40"], "prices": ["99.5", "99", "98"], "stop_loss": "0.03", "take_profit": "0.01"},
    "grid": {"start_price": "97", "end_price": "99.5", "limit_price": "96", "total_amount_quote": "100", "take_profit": "0.004"},
}
MIRRORED: dict[str, dict[str, Any]] = {
    "twap": {"price_limit": "99"},
    "dca": {"prices": ["100.5", "101", "102"]},
    "grid": {"start_price": "100.5", "end_price": "103", "limit_price": "104"},
}
moves = st.tuples(st.integers(-120, 120), st.integers(0, 80), st.integers(0, 80), st.sampled_from(["go", "go", "go", "crash"]))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(sorted(KINDS)), st.sampled_from(["buy", "sell"]), st.lists(moves, min_size=4, max_size=14), st.booleans(), st.booleans()
)
def test_a_walk_of_bars_and_crashes_leaves_ledger_and_venue_agreed_and_every_total_kept(
    kind: str, side: str, walk: list[tuple[int, int, int, str]], by_agent: bool, keep: bool
) -> None:
    with TemporaryDirectory() as folder:
        world = World(Path(folder), fees=FeeSchedule(), slippage_bps=D(2))
        try:
            _walk(world, kind, side, walk, by_agent, keep)
        finally:
            world.done()


def _walk(world: World, kind: str, side: str, walk: list[tuple[int, int, int, str]], by_agent: bool, keep: bool) -> None:
    if by_agent:
        world.submit(side, quote="50", stop="90" if side == "buy" else "110")
    fields = {**KINDS[kind], **(MIRRORED.get(kind, {}) if side == "sell" else {}), "side": side}
    _, row = ask(world, "position" if kind == "trailing" else kind, **fields)
    assert row is not None
    planned = D(row.layout["size"])
    for move, up, down, what in walk:
        price = world.price()
        close = (price * (1 + D(move) / 10_000)).quantize(D("0.001"))
        high, low = max(price, close) + D(up) / 100, min(price, close) - D(down) / 100
        world.play(BTC=(str(price), str(high), str(low), str(close)))
        if what == "crash":
            world.restart()
        _check(world, row.id, planned, side)
    stop(world.engine, row.id, keep_position=keep, deployment=AGENT)
    world.play_many(2)
    ended = row_of(world, row.id)
    assert not ended.is_live and ended.close_type is not None
    assert reserved(world) == 0 and world.held("BTC", ended.controller_id) == 0
    assert all(order.controller_id == AGENT for order in world.orders())
    end_all(world.engine, "over")
    _totals(world, ended)


def _check(world: World, executor_id: str, planned: Decimal, side: str) -> None:
    row = row_of(world, executor_id)
    assert world.differences() == []
    own = world.held("BTC", row.controller_id) * (1 if side == "buy" else -1)
    entries = sum((o.size - o.filled for o in world.orders(leg="entry") if o.controller_id == row.controller_id), D(0))
    slack = D("0.06") if row.type == "twap" else D(0)  # a total in quote units buys more when the price has fallen
    assert own >= 0
    assert own + entries + reserved(world) <= planned + slack
    with world.ledger.reading() as tx:
        live = trading.live_orders(tx, row.wallet)
        assert row.is_live == bool(executors.live(tx, row.wallet))
    waiting = {order.cloid for order in live}
    stops = [o for o in live if o.leg == "stop" and o.controller_id == row.controller_id and o.parent_cloid not in waiting]
    if row.is_live and row.layout.get("stop") and own:
        assert sum((o.size - o.filled for o in stops), D(0)) >= own, "what is held has its stop"


def _totals(world: World, row: executors.ExecutorRow) -> None:
    """What the executor says it made is what its own fills and trades came to."""
    with world.ledger.reading() as tx:
        volume = executors.turnover_of_controllers(tx, [row.controller_id]).volume
    assert row.volume_quote == volume
    was_handed_over = any(data.get("from") == row.controller_id for data in told(world, "position.changed"))
    if world.held() == 0 and row.type != "order" and not was_handed_over:
        trips = [trip for trip in world.trips() if trip["controller_id"] == row.controller_id]
        assert sum((trip["pnl"] for trip in trips), D(0)) == row.net_pnl_quote
