"""An algo's YAML: every form of the format as a value, and every mistake named by line, field and fix."""

from decimal import Decimal

import pytest

from tradeagent.algos.checks import warnings_of
from tradeagent.algos.parse import parse_algo
from tradeagent.algos.spec import (
    BuyBack,
    Directions,
    IndicatorUse,
    Level,
    LevelKind,
    ParamRange,
    Sizing,
    SizingKind,
    Timeout,
    TimeoutMode,
)
from tradeagent.domain.errors import InvalidConfig, TradeAgentError, UnknownKey
from tradeagent.domain.names import ExitReason

FULL = """\
name: btc-rsi-pullback
market: BTC
interval: 1h
direction: both
constants: {floor: 25, mode: 1}
indicators:
  rsi: {kind: rsi, length: 14}
  adx: {kind: adx, length: 14, interval: 4h}
  bb: {kind: bollinger, length: 20, stdev: 2.5}
entry:
  long:
    required: ["rsi < 30", "adx > floor"]
    optional: ["close < bb.lower", "funding < 0"]
    state: true
    armed_by: stop
    buy_back: {pct: 1.5, trailing: true}
    confidence: "0.5 + (30 - rsi) / 100"
  short: {required: "rsi > 70"}
exit:
  long: {required: ["rsi > 50"], stop_loss: {pct: 5}, take_profit: {rr: 2}, trailing: true}
  short: {optional: ["rsi < 50"], state: true, stop_loss: {atr: 2, length: 20, ma: sma}, trailing: {abs: 100}}
sizing: {dynamic: {pct: 50, by: rsi, inverted: true}}
leverage: 3
timeout: {mode: strict, bars: 3}
starting_capital: 2500.50
tie: 0.5
aliases: {length: [rsi.length]}
params:
  rsi.length: [8, 30]
  floor: {low: 10, high: 40, step: 5}
  exit.long.stop_loss.pct: {low: 0.5, high: 8.0, log: true}
  timeout.mode: {choices: [strict, regular]}
  timeout.bars: {low: 1, high: 9, only_if: {timeout.mode: strict}}
"""


def test_every_form_becomes_its_value() -> None:
    spec = parse_algo(FULL, "full.yml")
    assert (spec.name, spec.market, spec.interval_ms, spec.direction) == ("btc-rsi-pullback", "BTC", 3_600_000, Directions.BOTH)
    assert spec.indicators["adx"] == IndicatorUse("adx", {"length": 14}, 14_400_000)
    assert spec.indicators["bb"].params == {"length": 20, "stdev": Decimal("2.5")}
    assert spec.long and spec.short
    entry = spec.long.entry
    assert entry.required == ("rsi < 30", "adx > floor") and entry.optional == ("close < bb.lower", "funding < 0")
    assert entry.state and entry.armed_by is ExitReason.STOP and entry.confidence
    assert entry.buy_back == BuyBack(Level(LevelKind.PCT, Decimal("1.5")), trailing=True)
    assert spec.short.entry.required == ("rsi > 70",)
    assert spec.long.exit.target == Level(LevelKind.RR, Decimal(2)) and spec.long.exit.trailing == Level(LevelKind.RR, Decimal(1))
    assert spec.short.exit.stop == Level(LevelKind.ATR, Decimal(2), 20, "sma")
    assert spec.short.exit.trailing == Level(LevelKind.ABS, Decimal(100)) and spec.short.exit.state
    assert spec.sizing == Sizing(SizingKind.DYNAMIC, Decimal(50), "rsi", inverted=True)
    assert (spec.leverage, spec.timeout, spec.starting_capital, spec.tie) == (
        3,
        Timeout(TimeoutMode.STRICT, 3),
        Decimal("2500.50"),
        Decimal("0.5"),
    )
    assert spec.params["rsi.length"] == ParamRange(Decimal(8), Decimal(30), whole=True)
    assert spec.params["floor"] == ParamRange(Decimal(10), Decimal(40), Decimal(5), whole=True)
    assert spec.params["exit.long.stop_loss.pct"] == ParamRange(Decimal("0.5"), Decimal("8.0"), log=True)
    assert spec.params["timeout.mode"].choices == ("strict", "regular")
    assert spec.params["timeout.bars"].only_if == ("timeout.mode", "strict")
    assert spec.text == FULL and spec.constants == {"floor": 25, "mode": 1}


def test_market_interval_exits_and_size_may_be_left_out() -> None:
    spec = parse_algo('name: a\ndirection: long\nentry: {long: {required: ["close > open"]}}\n', "a.yml")
    assert (spec.market, spec.interval_ms, spec.short) == ("", 0, None)
    assert spec.sizing == Sizing(SizingKind.PCT_OF_EQUITY, Decimal(50))
    assert warnings_of(spec) == ["exit.long is empty: a long position is never closed"]


def test_python_in_yaml_has_levels_and_no_conditions() -> None:
    text = (
        "name: p\nconstants: {length: 20}\npython: |\n  def signals(bars, length):\n      return 0\nexit:\n  long: {stop_loss: {pct: 2}}\n"
    )
    spec = parse_algo(text, "p.yml")
    assert spec.python and spec.long and spec.long.exit.stop and spec.short and spec.long.entry.required == ()
    with pytest.raises(UnknownKey) as caught:
        parse_algo(text.replace("stop_loss", "required"), "p.yml")
    assert "exit.long.required" in caught.value.message
    for source, said in (
        ("def signals(bars", "python: line 1: "),
        ("def signal(bars, length)", "no function `signals`"),
        ("import os\n  def signals(bars, length)", "python: line 1: import os is not allowed"),
    ):
        with pytest.raises(InvalidConfig) as wrong:
            parse_algo(text.replace("def signals(bars, length)", source), "p.yml")
        assert said in wrong.value.message and wrong.value.details["line"] == 3


def line(old: str, new: str) -> str:
    assert old in FULL
    return FULL.replace(old, new, 1)


WRONG: list[tuple[str, str, int, str, str]] = [
    (line("market: BTC", "markets: BTC"), "markets", 2, "unknown key 'markets'", "did you mean 'market'?"),
    (line("name: btc-rsi-pullback", "name: my algo!"), "name", 1, "is not a name", "write name: my_algo"),
    (FULL.replace("name: btc-rsi-pullback\n", ""), "name", 0, "name: is missing", "write name"),
    (line("interval: 1h", "interval: 60"), "interval", 3, "60 has no unit", "write 60m or 60h"),
    (line("interval: 1h", "interval: soon"), "interval", 3, "'soon' is not a duration", "like 5m"),
    (line("direction: both", "direction: up"), "direction", 4, "'up' is not allowed", "known: both, long, short"),
    (line("direction: both", "direction: long"), "entry.short", 18, "is written, and direction is long", "direction: both"),
    (line("{kind: rsi, length: 14}", "{kind: rsii, length: 14}"), "indicators.rsi.kind", 7, "'rsii' is not an indicator", "'rsi'"),
    (line("{kind: rsi, length: 14}", "{kind: rsi, lenght: 14}"), "indicators.rsi.lenght", 7, "no such parameter", "'length'"),
    (line("{kind: rsi, length: 14}", "{kind: rsi, length: 0}"), "indicators.rsi", 7, "not a whole number from 1", "default is 14"),
    (line("{kind: rsi, length: 14}", "{length: 14}"), "indicators.rsi.kind", 7, "is missing", "kind: rsi"),
    (line("interval: 4h", "interval: 90m"), "indicators.adx.interval", 8, "90m is not a multiple of the algo's 1h", "whole multiple of 1h"),
    (line("interval: 4h", "interval: 30m"), "indicators.adx.interval", 8, "30m is not a multiple of the algo's 1h", "whole multiple"),
    (line("  bb: {kind", "  close: {kind"), "indicators.close", 9, "means something else", "my_close"),
    (line("mode: 1", "rsi: 1"), "constants.rsi", 5, "an indicator is named 'rsi' too", "another name"),
    (line("rsi < 30", "rsj < 30"), "entry.long.required.0", 12, "'rsj' is not an indicator", "did you mean 'rsi'?"),
    (line("bb.lower", "bb.low"), "entry.long.optional.0", 13, "bollinger has no output 'low'", "did you mean 'lower'?"),
    (line("bb.lower", "bb"), "entry.long.optional.0", 13, "bollinger has several outputs", "write one of bb.upper"),
    (line('"rsi > 70"', "[]"), "entry.short", 18, "an empty condition", "required"),
    (line('"rsi > 70"', '["shift(rsi, -1) > 70"]'), "entry.short.required.0", 18, "no number of bars", "into the future"),
    (line('"rsi > 70"', "7"), "entry.short.required", 18, "must be a condition, not 7", "rsi < 30"),
    (line("state: true", "state: maybe"), "entry.long.state", 14, "must be true or false", "state: true"),
    (line("armed_by: stop", "armed_by: luck"), "entry.long.armed_by", 15, "'luck' is not allowed", "stop, target or null"),
    (line("{pct: 1.5, trailing: true}", "{rr: 1}"), "entry.long.buy_back.rr", 16, "unknown key", "known: "),
    (line("(30 - rsi) / 100", "(30 - rsi"), "entry.long.confidence", 17, "never closed", "add `)`"),
    (line("0.5 + (30 - rsi) / 100", "rsi > 30"), "entry.long.confidence", 17, "a condition, not a number", "arithmetic"),
    (line("stop_loss: {pct: 5}", "stop_loss: {pct: 0}"), "exit.long.stop_loss.pct", 20, "0 is out of range", "above 0"),
    (line("stop_loss: {pct: 5}", "stop_loss: {pct: 100}"), "exit.long.stop_loss.pct", 20, "no price", "less than 100"),
    (line("stop_loss: {pct: 5}", "stop_loss: {pct: 5, abs: 3}"), "exit.long.stop_loss", 20, "pct and abs are both given", "one of pct"),
    (line("stop_loss: {pct: 5}", "stop_loss: {rr: 5}"), "exit.long.stop_loss.rr", 20, "unknown key", "known"),
    (line("stop_loss: {pct: 5}, ", ""), "exit.long.take_profit", 20, "there is no stop_loss", "add stop_loss"),
    (line("{rr: 2}", "{pct: 2, length: 3}"), "exit.long.take_profit.length", 20, "belongs to atr only", "remove it"),
    (line("ma: sma}", "ma: hma}"), "exit.short.stop_loss.ma", 21, "'hma' is not allowed", "rma or sma"),
    (line("by: rsi", "by: adx"), "sizing.dynamic.by", 22, "no fixed range of 0 to 100", "use one of mfi"),
    (line("by: rsi", "by: close"), "sizing.dynamic.by", 22, "no fixed range", "use one of"),
    (line("by: rsi, ", ""), "sizing.dynamic.by", 22, "is missing", "by: rsi"),
    (line("{dynamic: {pct: 50, by: rsi, inverted: true}}", "{half: 2}"), "sizing.half", 22, "unknown key", "known: abs"),
    (line("leverage: 3", "leverage: 2.5"), "leverage", 23, "must be a whole number", "leverage: 1"),
    (line("leverage: 3", "leverage: 500"), "leverage", 23, "500 is out of range", "at most 100"),
    (line("mode: strict, bars", "mode: harsh, bars"), "timeout.mode", 24, "'harsh' is not allowed", "cooldown_only"),
    (line("tie: 0.5", "tie: -1"), "tie", 26, "-1 is out of range", "at least 0"),
    (line("[rsi.length]}", "[rsi.lengt]}"), "aliases.length", 27, "'rsi.lengt' is not a parameter", "did you mean 'rsi.length'?"),
    (line("rsi.length: [8, 30]", "rsi.len: [8, 30]"), "params.rsi.len", 29, "is not a parameter", "did you mean 'rsi.length'?"),
    (line("rsi.length: [8, 30]", "adx_floor: [8, 30]"), "params.adx_floor", 29, "is not a parameter", "write constants: {adx_floor: 25}"),
    (line("[8, 30]", "[30, 8]"), "params.rsi.length", 29, "30 to 8 is no range", "smaller number first"),
    (line("[8, 30]", "[0, 30]"), "params.rsi.length", 29, "not a whole number from 1", ""),
    (line("[8, 30]", "[8, 14, 30]"), "params.rsi.length", 29, "is not a range", "choices"),
    (line("low: 0.5", "low: 0"), "params.exit.long.stop_loss.pct", 31, "log needs numbers above 0", "raise low"),
    (line("[strict, regular]", "[strict, harsh]"), "params.timeout.mode", 32, "'harsh' is not one of its values", ""),
    (line("{timeout.mode: strict}}", "{rsi.len: 3}}"), "params.timeout.bars.only_if", 33, "is not one of the params", ""),
    (line("timeout.mode: {choices: [strict, regular]}", "timeout.mode: {choices: [strict], only_if: {timeout.bars: 3}}"),
     "params.timeout.mode.only_if", 32, "wait for each other", "remove one"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "field", "number", "message", "hint"), WRONG, ids=[f"{case[1]}: {case[3]}" for case in WRONG])
def test_a_mistake_is_named_by_line_field_and_fix(text: str, field: str, number: int, message: str, hint: str) -> None:
    with pytest.raises((InvalidConfig, UnknownKey)) as caught:
        parse_algo(text, "full.yml")
    error = caught.value
    assert message in error.message and hint in error.hint, (error.message, error.hint)
    assert error.details["field"] == field
    if number:
        assert error.details["line"] == number and error.message.startswith(f"full.yml:{number}: ")


def test_risk_needs_a_stop_on_every_side() -> None:
    text = line("{dynamic: {pct: 50, by: rsi, inverted: true}}", "{risk_pct: 1}").replace(
        ", stop_loss: {atr: 2, length: 20, ma: sma}, trailing: {abs: 100}", ""
    )
    with pytest.raises(InvalidConfig, match=r"exit\.short has no stop_loss"):
        parse_algo(text, "a.yml")


def test_all_problems_are_told_at_once_in_their_order() -> None:
    with pytest.raises(TradeAgentError) as caught:
        parse_algo(FULL.replace("leverage: 3", "leverage: x").replace("tie: 0.5", "tie: y").replace("market: BTC", "marked: BTC"), "a.yml")
    assert [problem["field"] for problem in caught.value.details["problems"]] == ["marked", "leverage", "tie"]


def test_an_unknown_key_leads_whatever_comes_of_it() -> None:
    with pytest.raises(UnknownKey) as caught:
        parse_algo(line("entry:\n", "entri:\n").replace("tie: 0.5", "ties: 0.5"), "a.yml")
    rows = [(row["line"], row["field"]) for row in caught.value.details["problems"]]
    assert rows == [(10, "entri"), (26, "ties"), (None, "entry.long"), (None, "entry.short")]
    assert caught.value.message == "a.yml:10: unknown key 'entri'" and caught.value.hint == "did you mean 'entry'?"


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [("mode: strict, bars", "mode: stricct, bars", "'strict'"), ("direction: both", "direction: boht", "'both'")],
)
def test_a_hint_names_a_word_as_it_is_written(old: str, new: str, hint: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        parse_algo(line(old, new), "a.yml")
    assert caught.value.hint == f"did you mean {hint}?"


def test_yaml_that_is_none_is_an_error_with_its_line() -> None:
    for text in ("a: [1", "- 1\n- 2\n", "a: &x 1\nb: *x\n", "name: a\nname: b\n"):
        with pytest.raises(InvalidConfig):
            parse_algo(text, "a.yml")
