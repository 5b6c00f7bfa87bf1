"""A further signal of the side that is held moves its stop to where an entry made then would have it, only ever nearer to the price.

Every case is worked out by hand and played by the kernel and through the door. The position is entered at 50,000 in row 1, signal and level
of a row act from the next one on, and nothing slips.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hand_legs import LEAVE_LONG, LONG, SHORT, SPEC, D, Shape, hand_leg
from parity_worlds import difference

from tradeagent.algos.signals import Distance, Levels
from tradeagent.algos.spec import AlgoSpec, LevelKind, Sizing, SizingKind
from tradeagent.domain.names import ExitReason
from tradeagent.research.eventpath import replay
from tradeagent.research.kernel import simulate
from tradeagent.research.run import EXIT_REASONS, Leg, Run, Terms

NO_SLIP = Terms(slippage_bps=D(0))
TWO_PERCENT = Distance(LevelKind.PCT, D(2))
STOP = Levels(TWO_PERCENT)
RISE: list[Shape | float] = [50_000.0, 50_000.0, (50_000.0, 52_000.0, 50_000.0, 52_000.0)]
FALL: list[Shape | float] = [50_000.0, 50_000.0, (50_000.0, 50_000.0, 48_000.0, 48_000.0)]
BACK: list[Shape | float] = [(52_000.0, 52_000.0, 48_500.0, 48_500.0), 48_500.0, 48_500.0]
UP_AGAIN: list[Shape | float] = [(48_000.0, 51_500.0, 48_000.0, 51_500.0), 51_500.0, 51_500.0]
Exit = tuple[int, int, str]
"""Row, price in tenths, reason."""


def played(leg: Leg, terms: Terms = NO_SLIP) -> Run:
    """The run that kernel and door agree on."""
    run = simulate([leg], terms)
    assert difference(run, replay([leg], terms)) is None
    return run


def exits(run: Run) -> list[Exit]:
    trades = run.trades
    columns = (trades.exit_row.tolist(), trades.exit_price.tolist(), trades.exit_reason.tolist())
    return [(row, price, EXIT_REASONS[reason].value) for row, price, reason in zip(*columns, strict=True)]


def moves(run: Run) -> int:
    return run.counts["stops_tightened"]


@pytest.mark.parametrize(
    ("shapes", "side", "first", "out"),
    [
        (RISE + BACK, LONG, 490_000, (3, 509_600, ExitReason.STOP)),  # 2 % below 52,000
        (FALL + UP_AGAIN, SHORT, 510_000, (3, 489_600, ExitReason.STOP)),  # 2 % above 48,000
    ],
    ids=["long", "short"],
)
def test_the_stop_moves_and_the_trade_keeps_its_first(shapes: Sequence[Shape | float], side: int, first: int, out: Exit) -> None:
    run = played(hand_leg(shapes, {0: side, 2: side}, STOP))
    assert (exits(run), moves(run)) == ([out], 1)
    assert run.trades.stop.tolist() == [first]
    still = played(hand_leg(shapes, {0: side}, STOP))
    assert (exits(still)[0][1], moves(still)) == (first, 0), "without the second signal it is the first stop that is hit"


def test_an_open_beyond_the_new_stop_fills_there() -> None:
    gap: list[Shape | float] = [50_500.0, 50_500.0]
    assert exits(played(hand_leg(RISE + gap, {0: LONG, 2: LONG}, STOP))) == [(3, 505_000, "stop")]


def test_the_target_stays() -> None:
    """3 % above the first 50,000, not above the 51,000 of the second signal."""
    levels = Levels(TWO_PERCENT, Distance(LevelKind.PCT, D(3)))
    shapes: list[Shape | float] = [50_000.0, 50_000.0, 51_000.0, (51_000.0, 51_600.0, 51_000.0, 51_600.0), 51_600.0]
    run = played(hand_leg(shapes, {0: LONG, 2: LONG}, levels))
    assert (exits(run), moves(run)) == ([(3, 515_000, "target")], 1)


def test_each_signal_may_tighten_again_and_none_loosens() -> None:
    """52,000 and 53,000 move it, the last to 51,940; 52,500 on the way down does not."""
    shapes: list[Shape | float] = [50_000.0, 50_000.0, 52_000.0, 53_000.0, 52_500.0, (52_500.0, 52_500.0, 51_000.0, 51_000.0), 51_000.0]
    run = played(hand_leg(shapes, {0: LONG, 2: LONG, 3: LONG, 4: LONG}, STOP))
    assert (exits(run), moves(run)) == ([(5, 519_400, "stop")], 2)


def stateful(spec: AlgoSpec) -> AlgoSpec:
    assert spec.long is not None
    return replace(spec, long=replace(spec.long, entry=replace(spec.long.entry, state=True)))


def atr(*values: float) -> Levels:
    return Levels(Distance(LevelKind.ATR, D(1), np.array(values)))


@pytest.mark.parametrize(
    ("codes", "levels", "spec", "out"),
    [
        ({0: LONG, 2: LONG}, STOP, stateful(SPEC), (3, 490_000, "stop")),
        ({0: LONG, 2: LONG}, Levels(TWO_PERCENT, trailing=Distance(LevelKind.PCT, D(4))), SPEC, (3, 499_200, "trailing_stop")),
        ({0: LONG, 2: LONG}, Levels(), SPEC, None),
        ({0: LONG, 2: LONG | SHORT}, STOP, SPEC, (3, 490_000, "stop")),
        ({0: LONG, 2: LONG | LEAVE_LONG}, STOP, SPEC, (3, 520_000, "signal")),
        ({0: LONG, 2: LONG}, atr(1_000, 1_000, np.nan, 1_000, 1_000, 1_000), SPEC, (3, 490_000, "stop")),
        ({0: LONG, 2: LONG}, atr(1_000, 1_000, 0, 1_000, 1_000, 1_000), SPEC, (3, 490_000, "stop")),
        ({0: LONG, 2: LONG}, atr(1_000, 1_000, 3_000, 1_000, 1_000, 1_000), SPEC, (3, 490_000, "stop")),
        ({0: LONG, 2: LONG}, atr(1_000, 1_000, 90_000, 1_000, 1_000, 1_000), SPEC, (3, 490_000, "stop")),
    ],
    ids=["state", "trailing", "no stop", "both fire", "exit", "no value", "at the close", "no tighter", "no price"],
)
def test_nothing_moves(codes: Mapping[int, int], levels: Levels, spec: AlgoSpec, out: Exit | None) -> None:
    run = played(hand_leg(RISE + BACK, codes, levels, spec))
    assert (exits(run), moves(run)) == ([] if out is None else [out], 0)
    assert run.counts["bad_levels"] == 0


def in_outage(leg: Leg, *rows: int) -> Leg:
    """The leg with bars in which nothing was traded."""
    volume = leg.bars.volume.copy()
    volume[list(rows)] = 0
    return replace(leg, bars=replace(leg.bars, volume=volume))


def test_nothing_moves_while_a_close_waits_for_the_market_to_trade() -> None:
    """Rows 3 and 4 are an outage: the close of row 2 fills at the open of row 5."""
    leg = hand_leg([*RISE, 52_000.0, 52_000.0, 51_000.0, 51_000.0], {0: LONG, 2: LEAVE_LONG, 3: LONG}, STOP)
    run = played(in_outage(leg, 3, 4))
    assert (exits(run), moves(run)) == ([(5, 510_000, "signal")], 0)


def test_an_entry_that_waits_keeps_its_own_stop() -> None:
    """Rows 1 and 2 are an outage; the entry fills at the open of row 3 with the stop that left with it."""
    leg = hand_leg([50_000.0, 50_000.0, 50_000.0, *RISE[2:], *BACK], {0: LONG, 1: LONG}, STOP)
    run = played(in_outage(leg, 1, 2))
    assert (exits(run), moves(run)) == ([(4, 490_000, "stop")], 0)


def test_a_signal_in_an_outage_moves_the_stop_for_when_the_market_trades() -> None:
    leg = hand_leg([*RISE, 52_000.0, *BACK], {0: LONG, 3: LONG}, STOP)
    run = played(in_outage(leg, 3))
    assert (exits(run), moves(run)) == ([(4, 509_600, "stop")], 1)


def test_a_late_decision_measures_from_its_own_close() -> None:
    """The signal of row 1 is decided on at the close of row 2, by the range of row 1."""
    terms = replace(NO_SLIP, delay_bars=1)
    levels = atr(1_000, 500, 3_000, 3_000, 3_000, 3_000, 3_000)
    shapes: list[Shape | float] = [50_000.0, 50_000.0, 50_000.0, (50_000.0, 52_000.0, 50_000.0, 52_000.0), *BACK]
    run = played(hand_leg(shapes, {0: LONG, 1: LONG}, levels), terms)
    assert (exits(run), moves(run)) == ([(4, 495_000, "stop")], 1)


def test_the_stop_after_a_flip_is_the_new_sides_own() -> None:
    fall: list[Shape | float] = [50_000.0, 50_000.0, 50_000.0, 49_500.0, (49_500.0, 49_500.0, 47_000.0, 47_000.0)]
    run = played(hand_leg([*fall, (47_000.0, 49_000.0, 47_000.0, 49_000.0), 49_000.0], {0: LONG, 2: SHORT, 4: SHORT}, STOP))
    assert (exits(run), moves(run)) == ([(3, 495_000, "flip"), (5, 479_400, "stop")], 1)
    assert run.trades.stop.tolist() == [490_000, 510_000]


def test_a_stop_for_more_than_the_largest_market_order_stays_where_it_is() -> None:
    """The venue takes 30 million at once; the position is worth less at 50,000, and more at the new level."""
    spec = replace(SPEC, sizing=Sizing(SizingKind.ABS, D(29_800_000)))
    terms = replace(NO_SLIP, cash=D(31_000_000))
    run = played(hand_leg(RISE + BACK, {0: LONG, 2: LONG}, STOP, spec), terms)
    assert (exits(run), moves(run), run.counts["venue_refused"]) == ([(3, 490_000, "stop")], 0, 1)


def test_a_tighter_stop_is_placed_even_where_liquidation_would_come_first() -> None:
    """Funding of 3 % in row 2 brings liquidation nearer than any stop 7 % away; the new one is still less risk than the old."""
    spec = replace(SPEC, sizing=Sizing(SizingKind.PCT_OF_EQUITY, D(1000)), leverage=10)
    shapes: list[Shape | float] = [50_000.0, 50_000.0, 50_000.0, 50_100.0, (50_100.0, 50_100.0, 47_000.0, 48_000.0), 48_000.0]
    leg = hand_leg(shapes, {0: LONG, 3: LONG}, Levels(Distance(LevelKind.PCT, D(7))), spec)
    leg = replace(leg, funding_hours=leg.bars.time[2:3], funding_rates=np.array([300_000_000]))
    run = played(leg)
    assert ([reason for _, _, reason in exits(run)], moves(run)) == (["liquidation"], 1)
