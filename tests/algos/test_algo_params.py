"""Parameters by name: every one that an algo shows can be set, a wrong name or value is named, and setting is cheap."""

import time
from decimal import Decimal

import pytest

from tests.algos.test_parse_algo import FULL
from tradeagent.algos.params import params_of, with_params
from tradeagent.algos.parse import parse_algo
from tradeagent.algos.spec import Param, TimeoutMode
from tradeagent.algos.store import built_in
from tradeagent.domain.errors import InvalidInput

SPEC = parse_algo(FULL, "full.yml")


@pytest.mark.parametrize("name", list(params_of(SPEC)))
def test_every_parameter_can_be_set_to_what_it_is_and_to_a_text_of_it(name: str) -> None:
    value = params_of(SPEC)[name]
    assert with_params(SPEC, {name: value}) == SPEC or name.endswith((".source", ".length"))
    assert params_of(with_params(SPEC, {name: str(value)}))[name] == value


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("rsi.length", "21", 21),
        ("length", 21, 21),
        ("bb.stdev", Decimal("3.1"), Decimal("3.1")),
        ("bb.source", "hl2", "hl2"),
        ("adx.interval", "8h", "8h"),
        ("floor", Decimal(31), Decimal(31)),
        ("exit.long.stop_loss.pct", "7.5", Decimal("7.5")),
        ("exit.long.take_profit.rr", 3, Decimal(3)),
        ("exit.short.stop_loss.atr", 4, Decimal(4)),
        ("exit.short.stop_loss.length", 7, 7),
        ("exit.short.trailing.abs", 55, Decimal(55)),
        ("entry.long.buy_back.pct", 2, Decimal(2)),
        ("sizing.dynamic.pct", 10, Decimal(10)),
        ("leverage", "5", 5),
        ("timeout.bars", 9, 9),
        ("timeout.mode", "regular", "regular"),
        ("tie", 0, Decimal(0)),
    ],
)
def test_a_parameter_changes_and_nothing_else_does(name: str, value: Param, shown: Param) -> None:
    before, after = params_of(SPEC), params_of(with_params(SPEC, {name: value}))
    assert after[name] == shown
    aliased = {"length", "rsi.length"}
    changed = {key for key in before if before[key] != after[key]}
    assert changed == (aliased if name in aliased else {name})


def test_trailing_true_follows_the_stop_and_is_no_parameter() -> None:
    assert "exit.long.trailing.rr" not in params_of(SPEC)


def test_an_alias_sets_both_sides() -> None:
    spec = with_params(built_in("sma_cross").spec, {"rr": "3.5", "fast": "9"})
    assert spec.long and spec.short and spec.long.exit.target and spec.short.exit.target
    assert (spec.long.exit.target.value, spec.short.exit.target.value) == (Decimal("3.5"), Decimal("3.5"))
    assert spec.indicators["fast"].params["length"] == 9


@pytest.mark.parametrize(
    ("name", "value", "message", "hint"),
    [
        ("rsi.lenght", 9, "rsi has no 'lenght'", "did you mean 'length'?"),
        ("rsi.length", 0, "whole number from 1", ""),
        ("rsi.length", "2.5", "whole number from 1", ""),
        ("rsi.length", "long", "'long' is not a number", "rsi.length=14"),
        ("floor", "nan", "'nan' is not a number", ""),
        ("flor", 3, "'flor' is not a parameter", "did you mean 'floor'?"),
        ("exit.long.stop_loss.abs", 3, "is not a parameter", "stop_loss.pct"),
        ("exit.long.stop_loss.pct", -1, "-1 is not above 0", ""),
        ("exit.up.stop_loss.pct", 1, "is not a parameter", ""),
        ("sizing.pct_of_equity", 20, "is not a parameter", ""),
        ("leverage", "2.5", "out of range", "whole number"),
        ("timeout.mode", "harsh", "'harsh' is not one of its values", ""),
        ("tie", -1, "below 0", ""),
        ("", 1, "is not a parameter", ""),
    ],
)
def test_a_wrong_name_or_value_is_named(name: str, value: Param, message: str, hint: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        with_params(SPEC, {name: value})
    assert message in caught.value.message and hint in caught.value.hint


def test_setting_five_parameters_takes_a_tenth_of_a_millisecond() -> None:
    values: dict[str, Param] = {"fast": 12, "slow": 60, "rr": Decimal("2.5"), "leverage": 2, "exit.long.stop_loss.atr": 2}
    spec, took = built_in("sma_cross").spec, []
    for _ in range(5):
        began = time.process_time()
        for _ in range(200):
            with_params(spec, values)
        took.append((time.process_time() - began) / 200)
    assert min(took) < 0.0003, "0.05 ms where it was written; room for a slow machine"


def test_the_original_stays_as_it_was() -> None:
    with_params(SPEC, {"timeout.mode": "regular", "floor": 1})
    assert SPEC.timeout.mode is TimeoutMode.STRICT and SPEC.constants["floor"] == 25
