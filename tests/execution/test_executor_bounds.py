"""What each specification takes and refuses, at every bound and one step beside it, and what of it belongs together."""

from typing import Any

import pytest

from tradeagent.domain.errors import InvalidInput
from tradeagent.domain.names import ExecutorType
from tradeagent.execution.executors.specs import parse_spec

HEAD = {"market": "BTC", "side": "buy"}
ORDER = {**HEAD, "amount": "1", "strategy": "market"}
LIMIT = {**HEAD, "amount": "1", "strategy": "limit", "price": "99"}
CHASER = {"distance": "0.01", "refresh_threshold": "0.005"}
CHASING = {**HEAD, "amount": "1", "strategy": "limit_chaser", "chaser": CHASER}
POSITION = {**HEAD, "amount": "1", "barriers": {}}
GRID = {**HEAD, "start_price": "90", "end_price": "98", "limit_price": "85", "total_amount_quote": "100", "take_profit": "0.01"}
SHORT_GRID = {**GRID, "side": "sell", "limit_price": "100"}
DCA = {**HEAD, "amounts_quote": ["50", "50"], "prices": ["99", "98"]}
TWAP = {**HEAD, "total_amount_quote": "100", "duration_s": 600, "interval_s": 300}
LEAP_YEAR_S = 366 * 86_400


def without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("order", ORDER),
        ("order", {**without(ORDER, "amount"), "amount_quote": "100"}),
        ("order", LIMIT),
        ("order", {**LIMIT, "strategy": "limit_maker"}),
        ("order", CHASING),
        ("order", {**ORDER, "stop": "95", "target": "105"}),
        ("order", {**ORDER, "reduce_only": True}),
        ("order", {**ORDER, "leverage": 1}),
        ("order", {**ORDER, "leverage": 50}),
        ("position", POSITION),
        ("position", {**without(POSITION, "amount"), "amount_quote": "100"}),
        ("position", {**POSITION, "barriers": {"time_limit_s": 1}}),
        ("position", {**POSITION, "barriers": {"stop_loss": {"price": "1e-9"}, "take_profit": "0.999"}}),
        ("grid", GRID),
        ("grid", {**GRID, "start_price": "97.9999"}),
        ("grid", {**GRID, "limit_price": "89.9999"}),
        ("grid", SHORT_GRID),
        ("grid", {**SHORT_GRID, "limit_price": "98.0001"}),
        ("dca", DCA),
        ("dca", {**DCA, "prices": ["99", "98.9999"]}),
        ("dca", {**DCA, "side": "sell", "prices": ["99", "99.0001"]}),
        ("dca", {**DCA, "amounts_quote": ["50"], "prices": ["99"]}),
        ("dca", {**DCA, "time_limit_s": LEAP_YEAR_S}),
        ("twap", TWAP),
        ("twap", {**TWAP, "interval_s": 600}),
        ("twap", {**TWAP, "duration_s": LEAP_YEAR_S}),
        ("twap", {**TWAP, "stop": "90", "price_limit": "101"}),
        ("twap", {**TWAP, "reduce_only": True, "price_limit": "101"}),
    ],
)
def test_a_specification_at_its_bounds_reads_back_as_it_was_written(kind: str, fields: dict[str, Any]) -> None:
    made = parse_spec(ExecutorType(kind), fields)
    assert parse_spec(ExecutorType(kind), made.model_dump(mode="json", exclude_none=True)) == made
    assert made.direction.value == fields["side"]


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("order", without(ORDER, "amount"), "state amount (base units) or amount_quote, one of them"),
        ("order", {**ORDER, "amount_quote": "100"}, "state amount (base units) or amount_quote, one of them"),
        ("order", without(LIMIT, "price"), "price: strategy limit needs one"),
        ("order", {**without(LIMIT, "price"), "strategy": "limit_maker"}, "price: strategy limit_maker needs one"),
        ("order", {**ORDER, "price": "99"}, "price: strategy market takes none"),
        ("order", {**CHASING, "price": "99"}, "price: strategy limit_chaser takes none"),
        ("order", without(CHASING, "chaser"), "belongs to strategy limit_chaser, and to it only"),
        ("order", {**ORDER, "chaser": CHASER}, "belongs to strategy limit_chaser, and to it only"),
        ("order", {**CHASING, "chaser": {**CHASER, "distance": "0"}}, "chaser.distance"),
        ("order", {**CHASING, "chaser": {**CHASER, "refresh_threshold": "1"}}, "chaser.refresh_threshold"),
        ("order", {**ORDER, "reduce_only": True, "stop": "95"}, "reduce_only: an order that closes has no stop or target"),
        ("order", {**ORDER, "reduce_only": True, "target": "105"}, "reduce_only: an order that closes has no stop or target"),
        ("order", {**ORDER, "leverage": 0}, "leverage"),
        ("order", {**ORDER, "leverage": 51}, "leverage"),
        ("order", {**ORDER, "side": "long"}, "side"),
        ("position", {**POSITION, "amount_quote": "100"}, "state amount (base units) or amount_quote, one of them"),
        ("position", without(POSITION, "amount"), "state amount (base units) or amount_quote, one of them"),
        ("position", without(POSITION, "barriers"), "barriers"),
        ("position", {**POSITION, "barriers": {"time_limit_s": 0}}, "barriers.time_limit_s"),
        ("position", {**POSITION, "barriers": {"stop_loss": {"price": "0"}}}, "barriers.stop_loss"),
        ("position", {**POSITION, "barriers": {"trailing_stop": {"activation": "0.02"}}}, "barriers.trailing_stop.delta"),
        ("grid", {**GRID, "start_price": "98"}, "start_price 98 must be below end_price 98"),
        ("grid", {**GRID, "start_price": "98.0001"}, "start_price 98.0001 must be below end_price 98"),
        ("grid", {**GRID, "limit_price": "90"}, "limit_price 90 of a long grid must be below start_price 90"),
        ("grid", {**SHORT_GRID, "limit_price": "98"}, "limit_price 98 of a short grid must be above end_price 98"),
        ("grid", {**SHORT_GRID, "limit_price": "85"}, "limit_price 85 of a short grid must be above end_price 98"),
        ("dca", {**DCA, "prices": ["99", "99"]}, "prices: each must be below the one before it"),
        ("dca", {**DCA, "side": "sell", "prices": ["99", "99"]}, "prices: each must be above the one before it"),
        ("dca", {**DCA, "side": "sell"}, "prices: each must be above the one before it"),
        ("dca", {**DCA, "amounts_quote": ["50"] * 3, "prices": ["99", "97", "98"]}, "prices: each must be below the one before it"),
        ("dca", {**DCA, "amounts_quote": ["50"] * 3}, "amounts_quote has 3 entries, prices 2: one price for each amount"),
        ("dca", {**DCA, "amounts_quote": [], "prices": []}, "amounts_quote"),
        ("dca", {**DCA, "amounts_quote": ["50"] * 21, "prices": [str(99 - n) for n in range(20)]}, "amounts_quote"),
        ("dca", {**DCA, "time_limit_s": LEAP_YEAR_S + 1}, "time_limit_s"),
        ("twap", {**TWAP, "interval_s": 601}, "interval_s 601 is longer than duration_s 600"),
        ("twap", {**TWAP, "duration_s": LEAP_YEAR_S + 1}, "duration_s"),
        ("twap", {**TWAP, "reduce_only": True, "stop": "90"}, "reduce_only: a twap that closes has no stop of its own"),
    ],
)
def test_one_step_beyond_a_bound_is_refused_by_name(kind: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_spec(ExecutorType(kind), fields)
    assert refused.value.message.startswith(f"{kind} executor: ") and message in refused.value.message
    assert "Value error" not in refused.value.message
    assert refused.value.hint == f"describe_executor {kind} lists its fields"
