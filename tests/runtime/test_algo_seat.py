"""A seat rebuilt from bars and ledger decides as the one that was followed all along: the worlds of the parity test, at every decision."""

from pathlib import Path

import pytest
from parity_worlds import World, algo_world, random_world

from tradeagent.execution.backtest_door import ALGO
from tradeagent.research import eventpath
from tradeagent.research.eventseat import Seat, seat_of
from tradeagent.research.pilot import Closed, Pilot
from tradeagent.runtime.algo_seat import bar_at, seat_at

BARS = 150


def followed(world: World, monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[str]]:
    """Replay a world; how many decisions were compared, and where the two seats differed."""
    fresh = {leg.instrument.symbol: seat_of(leg) for leg in world.legs}
    compared, differences = 0, []
    unproposed: set[tuple[str, int]] = set()

    class Comparing(Pilot):
        def _enter(self, seat: Seat, side: int, row: int, bar: Closed, limit: int) -> None:
            """A buy-back too small to be proposed leaves nothing in the ledger, and is looked at again at the next close."""
            counts = self._told.facts.counts
            before = counts["bad_levels"] + counts["below_minimum"]
            super()._enter(seat, side, row, bar, limit)
            if limit and counts["bad_levels"] + counts["below_minimum"] > before:
                unproposed.add((seat.symbol, limit))

        def decide(self, seat: Seat, row: int, bar: Closed) -> None:
            nonlocal compared
            if seat.codes[row] or seat.memory.waits or seat.buys_back:
                compared += 1
                again = seat_at(fresh[seat.symbol], row, self._engine, ALGO, [ALGO])
                kept, rebuilt = stated(seat), stated(again)
                if (seat.symbol, seat.limit_at) in unproposed:
                    rebuilt["limit_at"] = kept["limit_at"]
                differences.extend(f"{row} {key}: {kept[key]} but {rebuilt[key]}" for key in kept if kept[key] != rebuilt[key])
                if bar_at(seat.leg, row) != bar:
                    differences.append(f"{row} {seat.symbol}: another bar")
            super().decide(seat, row, bar)

    monkeypatch.setattr(eventpath, "Pilot", Comparing)
    eventpath.replay(world.legs, world.terms)
    return compared, differences


def stated(seat: Seat) -> dict[str, object]:
    """What of a seat decides. While a position is held, or nothing was left, no buy-back limit and no best price is looked at."""
    is_out = seat.held == 0 and seat.buys_back and not seat.entry_side
    return {
        "standing": seat.standing,
        "limit": seat.limit,
        "memory": seat.memory,
        "limit_at": seat.limit_at if is_out else 0,
        "best": seat.best if is_out else 0,
    }


def without_delay(world: World) -> World | None:
    return None if world.terms.delay_bars or world.terms.first_row else world


@pytest.mark.parametrize("seed", range(40))
def test_random_signals(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    world = without_delay(random_world(seed, bars=BARS, markets=1 + seed % 2))
    if world is not None:
        compared, differences = followed(world, monkeypatch)
        assert differences == []
        assert compared > 10


@pytest.mark.real_data
@pytest.mark.parametrize("seed", range(300, 312))
def test_random_algos_on_real_bars(seed: int, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = without_delay(algo_world(seed, data=shared_data, bars=BARS))
    if world is not None:
        assert followed(world, monkeypatch)[1] == []
