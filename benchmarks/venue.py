"""The simulated venue: microseconds of one bar, on an empty account and with a position, its stop and its target."""

import time

from benchmarks.measure import median
from benchmarks.report import Floor, Row, main
from tradeagent.domain.bars import Bar
from tradeagent.domain.names import OrderType, Side
from tradeagent.venue import MarketSpec, VenueConfig, VenueOrder, VenueState, step
from tradeagent.venue.events import CloseBars, Flow, OpenBars, Place

STEP_MS, BARS = 300_000, 5_000
CONFIG = VenueConfig({"BTC": MarketSpec("BTC", 5, ((0, 40), (150_000_000 * 10**6, 20)))})


def rows() -> list[Row]:
    """CPU µs of one closing bar; the floor is a bare function call in a loop of the same length."""
    floor = Floor("bare Python call", median(_bare_call_us))
    return [
        Row("venue: one bar, empty account", _bar_us(_funded()), "CPU µs", floor=floor),
        Row("venue: one bar, position with stop and target", _bar_us(_holding()), "CPU µs", floor=floor),
    ]


def _funded() -> VenueState:
    return step(VenueState(), Flow(10_000 * 10**6), CONFIG)[0]


def _holding() -> VenueState:
    """A long entered at the open of the first bar, with levels that no bar here touches."""
    state, _ = step(_funded(), OpenBars(STEP_MS, {"BTC": _bar(1)}), CONFIG)
    entry = VenueOrder("entry", "BTC", Side.BUY, OrderType.MARKET, 1_000)
    stop = VenueOrder("stop", "BTC", Side.SELL, OrderType.STOP_MARKET, 1_000, trigger=590_000, reduce_only=True)
    target = VenueOrder("target", "BTC", Side.SELL, OrderType.TAKE_PROFIT_MARKET, 1_000, trigger=610_000, reduce_only=True)
    state, _ = step(state, Place((entry, stop, target), "normal_tpsl"), CONFIG)
    state, _ = step(state, CloseBars(2 * STEP_MS, {"BTC": _bar(1)}), CONFIG)
    assert state.holdings["BTC"].size and len(state.orders) == 2
    return state


def _bar(number: int) -> Bar:
    return Bar("BTC", number * STEP_MS, STEP_MS, 600_000, 601_000, 599_000, 600_500, 100_000)


def _bar_us(start: VenueState) -> float:
    closes = [CloseBars((number + 1) * STEP_MS, {"BTC": _bar(number)}) for number in range(2, BARS + 2)]

    def once() -> float:
        state = start
        began = time.process_time()
        for close in closes:
            state, _ = step(state, close, CONFIG)
        return (time.process_time() - began) / BARS * 1e6

    return median(once)


def _bare_call_us() -> float:
    def nothing(state: object, _event: object) -> object:
        return state

    began = time.process_time()
    for number in range(BARS * 10):
        nothing(None, number)
    return (time.process_time() - began) / BARS / 10 * 1e6


if __name__ == "__main__":
    main(rows)
