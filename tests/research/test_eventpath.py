"""The event path on its own: what it refuses, what it leaves behind, and that the door really is in the way."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hand_legs import LEAVE_LONG, LONG, SHORT, D, hand_leg

from tradeagent.domain.errors import InvalidInput
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.market.instruments import instrument
from tradeagent.research.eventpath import replay
from tradeagent.research.run import EXIT_REASONS, Leg, Terms

FLAT = [50_000.0] * 8


def as_market(leg: Leg, market: str) -> Leg:
    return replace(leg, instrument=instrument("hyperliquid", market), bars=replace(leg.bars, market=market))


def test_legs_need_one_clock_and_a_market_each() -> None:
    leg = hand_leg(FLAT, {0: LONG})
    late = as_market(leg, "ETH")
    late = replace(late, bars=replace(late.bars, time=late.bars.time + 1))
    with pytest.raises(InvalidInput, match="do not open at the same instants"):
        replay([leg, late], Terms())
    with pytest.raises(InvalidInput, match="one market is given twice"):
        replay([leg, leg], Terms())


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert len(replay([hand_leg(FLAT, {0: LONG, 3: LEAVE_LONG})], Terms()).run.trades) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_flip_is_a_close_and_an_open_through_the_door(monkeypatch: pytest.MonkeyPatch) -> None:
    admitted = []
    real = ExecutionEngine._admit

    def admit(engine: ExecutionEngine, proposal, actor, **more):  # type: ignore[no-untyped-def]
        admitted.append((proposal.kind.value, proposal.side.value, actor.value))
        return real(engine, proposal, actor, **more)

    monkeypatch.setattr(ExecutionEngine, "_admit", admit)
    run = replay([hand_leg(FLAT, {0: LONG, 3: SHORT})], Terms()).run
    assert admitted == [("open", "buy", "algo"), ("close", "sell", "algo"), ("open", "sell", "algo")]
    assert EXIT_REASONS[int(run.trades.exit_reason[0])].value == "flip"
    assert int(run.open_trades.direction[0]) == -1
    assert int(run.open_trades.entry_row[0]) == int(run.trades.exit_row[0]) == 4


def test_costs_of_one_round_trip_by_hand() -> None:
    """500 USDC at 50,000: 0.01 BTC bought at 50,010 and sold at 49,990 (2 bps), 0.045 % of each."""
    run = replay([hand_leg(FLAT, {0: LONG, 3: LEAVE_LONG})], Terms(cash=D(1000))).run
    trade = {name: int(getattr(run.trades, name)[0]) for name in run.trades.__slots__}
    assert (trade["size"], trade["entry_price"], trade["exit_price"]) == (1000, 500_100, 499_900)
    assert (trade["gross"], trade["fees"]) == (-200_000, 225_045 + 224_955)
    assert (run.slippage, run.turnover) == (200_000, 1_000_000_000)
    assert np.array_equal(run.equity[[0, 1, 4, 7]], [1_000_000_000, 999_674_955, 999_350_000, 999_350_000])
    assert run.exposed == 3
