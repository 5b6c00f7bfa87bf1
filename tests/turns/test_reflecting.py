"""When an agent is asked to reflect, and on which trades; the offline models answer from the same figures."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert

from tradeagent.domain.clock import DAY_MS, MINUTE_MS, SimulatedClock
from tradeagent.ledger.schema import deployments, round_trips
from tradeagent.ledger.store import create_ledger
from tradeagent.llm.offline.reflecting import reflect
from tradeagent.turns.record import TickRecord, TickState
from tradeagent.turns.reflecting import TRIPS, Reflecting, grouped
from tradeagent.turns.timings import Timings

NOW = 1_795_176_300_000
DEPLOYMENT: dict[str, Any] = {
    "slug": "scalper", "wallet": "w", "version": 1, "mode": "loop", "state": "running", "number": 1, "model": "offline/hold",
    "markets": ["BTC"], "limits": {}, "source": {}, "equity_start": Decimal(0), "ticks": 0, "failures": 0, "created_ms": 0,
    "boot_id": "b", "pid": 1,
}  # fmt: skip


@pytest.fixture
def tx(tmp_path: Path) -> Iterator[Connection]:
    ledger = create_ledger(tmp_path / "ledger.db")
    with ledger.transaction(durable=False) as opened:
        for name, kind in (("scalper_1", "agent"), ("scalper_2", "agent"), ("scalper_a1", "algo")):
            opened.execute(insert(deployments).values(id=name, kind=kind, **DEPLOYMENT))
        yield opened
    ledger.close()


def trip(pnl: str = "-1", closed_ms: int = NOW, **changes: Any) -> dict[str, Any]:
    values = {
        "wallet": "w", "deployment": "scalper_1", "controller_id": "scalper_1", "market": "BTC", "direction": "long",
        "opened_ms": closed_ms - 30 * MINUTE_MS, "closed_ms": closed_ms, "entry_price": Decimal(100), "exit_price": Decimal(99),
        "size": Decimal(1), "realised_pnl": Decimal(pnl), "fees": Decimal(0), "funding": Decimal(0), "pnl": Decimal(pnl),
        "mfe": Decimal("0.5"), "mae": Decimal("-1.5"), "r_multiple": Decimal(pnl), "entry_reason": "", "exit_reason": "stop",
    }  # fmt: skip
    return values | changes


def close(tx: Connection, *trips: dict[str, Any]) -> None:
    for each in trips:
        tx.execute(insert(round_trips).values(**each))


def test_ten_trades_are_reflected_on_at_once_and_fewer_a_day_after_the_first_closed(tx: Connection) -> None:
    reflecting = Reflecting("scalper")
    assert reflecting.due(tx, NOW, 0) == ()
    close(tx, *[trip(closed_ms=NOW + number) for number in range(TRIPS - 1)])
    assert reflecting.due(tx, NOW + DAY_MS - 1, 1) == ()
    assert reflecting.due(tx, NOW + DAY_MS, 1)[0].trips == TRIPS - 1
    close(tx, trip())
    assert reflecting.due(tx, NOW + TRIPS, 2)[0].trips == TRIPS


def test_trades_that_the_notes_know_are_not_asked_for_again_by_any_run_and_a_new_one_is(tx: Connection) -> None:
    close(tx, *[trip() for _ in range(TRIPS)])
    first = Reflecting("scalper")
    assert first.due(tx, NOW, 1)
    close(tx, trip("7"))  # closed by the very turn that reflects, which did not know it
    first.done(tx)
    for reflecting in (first, Reflecting("scalper")):
        assert reflecting.due(tx, NOW, 1) == ()
        (alone,) = reflecting.due(tx, NOW + DAY_MS, 2)
        assert (alone.trips, alone.pnl) == (1, Decimal(7))


def test_all_runs_of_the_agent_count_and_an_algo_of_its_name_does_not(tx: Connection) -> None:
    close(tx, *[trip(deployment="scalper_2") for _ in range(TRIPS - 1)], *[trip(deployment="scalper_a1") for _ in range(TRIPS)])
    assert Reflecting("scalper").due(tx, NOW, 0) == ()
    close(tx, trip())
    assert Reflecting("scalper").due(tx, NOW, 0)[0].trips == TRIPS
    assert Reflecting("another").due(tx, NOW + DAY_MS, 0) == ()


def test_trades_are_grouped_by_what_tells_them_apart() -> None:
    groups = grouped([trip("-1"), trip("3", exit_reason="target", r_multiple=None), trip("-2", direction="short")])
    assert [(group.kind, group.what, group.trips, group.pnl) for group in groups] == [
        ("group", "all", 3, Decimal(0)),
        ("outcome", "loss", 2, Decimal(-3)),
        ("outcome", "win", 1, Decimal(3)),
        ("side", "long", 2, Decimal(2)),
        ("side", "short", 1, Decimal(-2)),
        ("exit", "stop", 2, Decimal(-3)),
        ("exit", "target", 1, Decimal(3)),
    ]
    assert [group.mean_r for group in groups[:3]] == [Decimal("-1.5"), Decimal("-1.5"), None]
    assert (groups[0].wins, groups[0].mean_held_minutes, groups[0].mean_best, groups[0].mean_worst) == (
        1,
        30,
        Decimal("0.5"),
        Decimal("-1.5"),
    )


def test_a_rule_based_model_fills_every_slot_and_nothing_when_nothing_is_due() -> None:
    whole = {"group": "all", "trips": "10", "wins": "4", "pnl": "-3", "mean_r": "-0.1", "mean_best": "+1", "mean_worst": "-2"}
    notes = reflect([whole, {**whole, "exit": "stop"}])
    assert list(notes) == ["entry_timing", "sizing", "market_selection", "exit_timing", "regime_fit"]
    assert all(0 < len(text) <= 400 for text in notes.values())
    assert "stop: 10 trades" in notes["exit_timing"]
    assert "nothing to compare" in notes["regime_fit"]
    assert reflect([]) == {}


def test_a_record_keeps_the_notes_for_a_file_that_a_crash_has_swallowed() -> None:
    record = TickRecord("t", 1, NOW, TickState.DONE, "hold", reflection={"sizing": "small"})
    assert TickRecord.from_bytes(record.to_bytes()).reflection == {"sizing": "small"}


def test_steps_are_counted_without_the_steps_inside_them() -> None:
    class Ticking(SimulatedClock):
        seconds = 0.0

        def monotonic(self) -> float:
            return self.seconds

    clock = Ticking(NOW)
    timings = Timings(clock)
    timings.add("resolve", 0.5)
    with timings.step("risk"):
        clock.seconds += 1
        with timings.step("drain"):
            clock.seconds += 2
            with timings.step("read"):
                clock.seconds += 4
        clock.seconds += 8
    with timings.step("read"):
        clock.seconds += 16
    assert timings.by_step == {"resolve": 500, "read": 20_000, "drain": 2_000, "risk": 9_000}
