"""What a turn chose, apart from its words, and what the choices would have made: against sums by hand and a slow walk over every bar."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradeagent.market.series import BarSeries
from tradeagent.turns.choices import Choice, Costs, Worth, agree, choices_of, worth_of

MINUTE, D = 60_000, Decimal
FREE = Costs(D(0), D(0))


class Feed:
    """One market's bars, as `worth_of` asks for them."""

    def __init__(self, bars: Sequence[tuple[float, float, float, float]]) -> None:
        columns = np.array(bars, dtype=float).reshape(-1, 4).T
        self._series = BarSeries("v", "X", MINUTE, np.arange(len(bars), dtype=np.int64) * MINUTE, *columns, np.ones(len(bars)))
        self.markets = ("X",)

    def interval_ms(self, market: str) -> int:
        return MINUTE

    def history(self, market: str, interval_ms: int, as_of_ms: int, count: int) -> BarSeries:
        seen = self._series.closed_by(as_of_ms)
        return self._series.rows(max(0, seen - count), seen)


def called(name: str, **arguments: Any) -> Choice:
    found = choices_of([(name, json.dumps(arguments))])
    assert len(found) == 1
    return found[0]


def order(side: str, **arguments: Any) -> Choice:
    return called("propose_order", market="X", side=side, **arguments)


def flat(*closes: float) -> list[tuple[float, float, float, float]]:
    """Bars that open at the close before and do not leave the line between."""
    return [(a, max(a, b), min(a, b), b) for a, b in zip((closes[0], *closes[:-1]), closes, strict=True)]


def worth(bars: Sequence[tuple[float, float, float, float]], *ticks: tuple[int, Choice], costs: Costs = FREE) -> Worth:
    """Ticks are after so many bars."""
    return worth_of([(after * MINUTE, [choice]) for after, choice in ticks], Feed(bars), len(bars) * MINUTE, costs)  # type: ignore[arg-type]


def test_two_answers_agree_on_direction_and_market_whatever_the_size() -> None:
    small, large = order("buy", quote="10", stop="90"), order("buy", size="5", stop="80", type="limit", price="99")
    assert agree([small], [large]) and agree([], []) and agree([small, large], [small])
    assert not agree([small], []) and not agree([small], [order("sell", quote="10")])
    assert not agree([small], [order("buy", quote="10", reduce_only=True)])
    assert not agree([called("close_position", market="X")], [called("modify_protection", market="X", stop="90")])
    grid = called("create_executor", type="grid", fields={"market": "X", "side": "buy"})
    assert grid.gist == ("enter", "X", "buy") == called("place_twap", market="X", side="buy", total_amount_quote="9", duration_s=60).gist


def test_what_no_trading_tool_would_take_is_no_choice() -> None:
    calls = [
        ("propose_order", '{"market": "X", "side": "up"}'),
        ("propose_order", "not json"),
        ("get_ticker", '{"market": "X"}'),
        ("journal_action", '{"action": "buy everything", "reasoning": "x"}'),
        ("no_such_tool", "{}"),
    ]
    assert choices_of(calls) == ()


@pytest.mark.parametrize(
    ("bars", "ticks", "pnl", "trades"),
    [
        pytest.param(flat(100, 100, 110), [(2, order("buy", size="2"))], "20", 1, id="held to the end"),
        pytest.param(flat(100, 100, 110), [(2, order("sell", quote="200"))], "-20", 1, id="short, sized by quote"),
        pytest.param(flat(100, 100, 95, 120), [(1, order("buy", size="1", stop="97"))], "-3", 1, id="stop"),
        pytest.param([*flat(100, 100), (90, 91, 89, 90)], [(2, order("buy", size="1", stop="97"))], "-10", 1, id="a gap through the stop"),
        pytest.param(flat(100, 100, 104, 90), [(1, order("buy", size="1", target="103"))], "3", 1, id="target"),
        pytest.param(
            [*flat(100, 100), (100, 105, 95, 100)], [(2, order("buy", size="1", stop="96", target="104"))], "-4", 1, id="both: stop"
        ),
        pytest.param(flat(100, 105, 90), [(1, order("buy", size="1")), (2, called("close_position", market="X"))], "5", 1, id="closed"),
        pytest.param(flat(100, 105, 90), [(1, order("buy", size="1")), (2, order("sell", size="1"))], "20", 2, id="turned round"),
        pytest.param(flat(100, 105, 90), [(1, order("buy", size="1")), (2, order("buy", size="9"))], "-10", 1, id="no second entry"),
        pytest.param(
            flat(100, 105, 99, 110), [(1, order("buy", size="1", type="limit", price="99"))], "11", 1, id="a limit that is reached"
        ),
        pytest.param(
            flat(100, 100, 110),
            [(2, called("propose_risk_trade", market="X", side="buy", stop="95", target="200", conviction="60", risk_quote="10"))],
            "20",
            1,
            id="sized by risk",
        ),
    ],
)
def test_a_choice_is_worth_what_a_hand_would_count(bars: Any, ticks: Any, pnl: str, trades: int) -> None:
    found = worth(bars, *ticks)
    assert (found.pnl, found.trades) == (D(pnl), trades)


def test_what_cannot_be_priced_is_counted_and_worth_nothing() -> None:
    never = order("buy", size="1", type="limit", price="50")
    twap = called("place_twap", market="X", side="buy", total_amount_quote="99", duration_s=60)
    elsewhere = called("propose_order", market="Y", side="buy", size="1")
    found = worth(flat(100, 100, 110), (1, never), (1, twap), (1, elsewhere))
    assert (found.pnl, found.trades, found.unfilled, found.unpriced) == (D(0), 0, 1, 2)
    assert worth([], (1, order("buy", size="1"))).unpriced == 1


def test_fees_and_slippage_are_paid_both_ways() -> None:
    found = worth(flat(100, 100, 100), (1, order("buy", size="1")), costs=Costs(D("0.001"), D("0.01")))
    assert found.pnl == D("99") - D("101") - D("0.101") - D("0.099")


def test_a_look_ahead_would_be_seen() -> None:
    """The entry is at the last close before the tick, never at one that came later."""
    bars = flat(100, 100, 200, 200)
    assert worth(bars, (2, order("buy", size="1"))).pnl == 100
    assert worth(bars, (3, order("buy", size="1"))).pnl == 0


PRICES = st.integers(90, 110)


@st.composite
def market_bars(draw: st.DrawFn) -> list[tuple[float, float, float, float]]:
    return [
        (float(o), float(max(o, c) + up), float(min(o, c) - down), float(c))
        for o, c, up, down in draw(st.lists(st.tuples(PRICES, PRICES, st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=25))
    ]


@settings(max_examples=200)
@given(market_bars(), st.booleans(), st.none() | st.integers(80, 99), st.none() | st.integers(101, 120), st.data())
def test_one_trade_is_as_a_slow_walk_has_it(
    bars: list[tuple[float, float, float, float]], is_long: bool, low: int | None, high: int | None, data: st.DataObject
) -> None:
    after = data.draw(st.integers(1, len(bars)))
    stop, target = (low, high) if is_long else (high, low)
    levels = {name: str(level) for name, level in (("stop", stop), ("target", target)) if level is not None}
    found = worth(bars, (after, order("buy" if is_long else "sell", size="1", **levels)))
    entry, sign = D(str(bars[after - 1][3])), 1 if is_long else -1
    leave = D(str(bars[-1][3]))
    for open_, top, bottom, _ in bars[after:]:
        if stop is not None and (bottom <= stop if is_long else top >= stop):
            leave = min(D(stop), D(str(open_))) if is_long else max(D(stop), D(str(open_)))
            break
        if target is not None and (top >= target if is_long else bottom <= target):
            leave = D(target)
            break
    assert found.pnl == (leave - entry) * sign and found.trades == 1
