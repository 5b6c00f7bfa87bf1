"""The limits table is the specification's; what a person writes is checked and never clamped silently."""

from decimal import Decimal
from typing import Any

import pytest

from tradeagent.domain.errors import InvalidConfig, InvalidInput, UnknownKey
from tradeagent.domain.limits import LIMITS, SPECS, LimitSpec, ceiling_of, limit_warnings, parse_limit, resolve_limits
from tradeagent.domain.names import LimitKind

D = Decimal

# execution.md §5, agent | algo | engine | manual | ceiling paper | ceiling live
TABLE = """
max_single_order_quote    100 – – –            – 500
max_position_size_quote   500 – – –            – 2000
max_position_pct          20 100 20 100        1000 100
max_total_exposure_pct    100 100 100 300      1000 300
max_leverage              3 3 3 10             50 10
max_open_executors        5 5 5 20             – 100
max_open_positions        3 3 3 10             – 50
max_positions_per_market  5 1 1 5              – 20
max_daily_loss_quote      50 – – –             – –
max_daily_loss_pct        – 5 2 –              – 20
max_drawdown_pct          10 20 10 –           100 50
halt_drawdown_pct         15 30 15 –           100 75
max_risk_per_trade_pct    0.5 – 0.5 –          – 5
max_portfolio_risk_quote  50 – – –             – –
max_market_risk_pct       40 – – –             – –
max_daily_trades          12 – 12 –            – 1000
cooldown_minutes          0 0 30 0             – –
min_confidence            0 0 0.6 0            – –
min_conviction            0 0 0 0              – –
min_reward_risk           1.0 – 1.0 –          – –
min_stop_to_cost          – – 2 –              – –
require_stops             true false true false – –
require_targets           false false true false – –
price_band_pct            5 5 5 5              80 80
"""
ROWS = [line.split() for line in TABLE.strip().splitlines()]


def cell(text: str) -> Decimal | bool | None:
    return {"–": None, "true": True, "false": False}[text] if text in ("–", "true", "false") else D(text)


def test_the_table_has_exactly_the_limits_of_the_specification() -> None:
    assert [spec.key for spec in LIMITS] == [row[0] for row in ROWS]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_defaults_and_ceilings_are_those_of_the_specification(row: list[str]) -> None:
    spec = SPECS[row[0]]
    assert (*spec.defaults, *spec.ceilings) == tuple(cell(text) for text in row[1:])
    assert spec.meaning


@pytest.mark.parametrize("kind", LimitKind)
def test_defaults_resolve_on_paper_and_live_and_the_ceiling_binds_what_is_off(kind: LimitKind) -> None:
    for network, column in (("paper", 5), ("live", 6)):
        limits = resolve_limits(kind, {}, network=network)  # type: ignore[arg-type]
        for row in ROWS:
            default, ceiling = cell(row[1 + list(LimitKind).index(kind)]), cell(row[column])
            expected = default
            if ceiling is not None and (default is None or default > ceiling):
                expected = ceiling
                assert limits.origin[row[0]] == "ceiling"
            assert limits.values[row[0]] == expected


@pytest.mark.parametrize("row", [row for row in ROWS if row[5] != "–" or row[6] != "–"], ids=lambda row: row[0])
def test_a_value_above_its_ceiling_is_an_error_that_names_both(row: list[str]) -> None:
    for network, text in (("paper", row[5]), ("live", row[6])):
        if text == "–":
            continue
        ceiling = D(text)
        off = {"halt_drawdown_pct": str(ceiling)} if row[0] == "max_drawdown_pct" else {"max_drawdown_pct": None}
        at = resolve_limits(LimitKind.MANUAL, {**off, row[0]: text}, network=network)  # type: ignore[arg-type]
        assert at.number(row[0]) == ceiling
        with pytest.raises(InvalidConfig) as caught:
            resolve_limits(LimitKind.MANUAL, {**off, row[0]: str(ceiling + 1)}, network=network)  # type: ignore[arg-type]
        assert row[0] in caught.value.message and str(ceiling) in caught.value.message and str(ceiling + 1) in caught.value.message
        assert network in caught.value.hint


def test_ceilings_can_be_moved_in_the_configuration() -> None:
    assert ceiling_of("max_leverage", "live", {"max_leverage": "5"}) == 5
    assert ceiling_of("max_leverage", "live") == 10
    assert resolve_limits(LimitKind.AGENT, {"max_leverage": 4}, ceilings={"max_leverage": 4}).number("max_leverage") == 4
    with pytest.raises(InvalidConfig, match="max_leverage: 5"):
        resolve_limits(LimitKind.AGENT, {"max_leverage": 5}, ceilings={"max_leverage": 4})


@pytest.mark.parametrize(
    ("key", "near"), [("max_leverge", "max_leverage"), ("max_daily_trade", "max_daily_trades"), ("require_stop", "require_stops")]
)
def test_an_unknown_limit_names_the_nearest(key: str, near: str) -> None:
    with pytest.raises(UnknownKey) as caught:
        resolve_limits(LimitKind.AGENT, {key: 1}, where="agent.md limits")
    assert key in caught.value.message and "agent.md limits" in caught.value.message and near in caught.value.hint


def test_a_key_like_none_of_them_lists_them() -> None:
    with pytest.raises(UnknownKey) as caught:
        parse_limit("zzz", 1)
    assert "max_leverage" in caught.value.hint


BAD: list[tuple[str, Any]] = [
    ("max_leverage", 0),
    ("max_leverage", -1),
    ("max_leverage", "ten"),
    ("max_leverage", True),
    ("max_leverage", [3]),
    ("max_leverage", "NaN"),
    ("max_open_positions", "2.5"),
    ("require_stops", 1),
    ("require_stops", "yes"),
    ("min_confidence", -0.1),
    ("min_confidence", 5),
    ("min_conviction", "100.1"),
    ("max_market_risk_pct", 500),
    ("max_risk_per_trade_pct", 101),
    ("max_daily_loss_pct", 101),
]


@pytest.mark.parametrize(("key", "raw"), BAD)
def test_a_value_that_makes_no_sense_is_refused_by_name(key: str, raw: Any) -> None:
    with pytest.raises((InvalidConfig, InvalidInput), match=key):
        parse_limit(key, raw)


@pytest.mark.parametrize(
    ("key", "most", "said"),
    [
        ("min_confidence", "1", "from 0 to 1"),
        ("min_conviction", "100", "from 0 to 100"),
        ("max_market_risk_pct", "100", "above 0 and at most 100"),
        ("max_risk_per_trade_pct", "100", "above 0 and at most 100"),
        ("max_daily_loss_pct", "100", "above 0 and at most 100"),
    ],
)
def test_a_probability_or_a_share_has_an_upper_bound(key: str, most: str, said: str) -> None:
    assert parse_limit(key, most) == D(most)
    over = D(most) + D("0.01")
    with pytest.raises(InvalidConfig) as caught:
        resolve_limits(LimitKind.AGENT, {key: str(over)}, where="agent.md limits")
    assert caught.value.message == f"agent.md limits.{key}: {over} must be {said}" and key in caught.value.hint
    with pytest.raises(InvalidConfig, match=key):
        ceiling_of(key, "paper", {key: str(over)})


@pytest.mark.parametrize(
    ("key", "raw", "value"),
    [
        ("max_leverage", "off", None),
        ("max_leverage", None, None),
        ("max_leverage", "–", None),
        ("min_confidence", 0, D(0)),
        ("max_leverage", 2.5, D("2.5")),
        ("require_stops", "True", True),
        ("require_stops", False, False),
    ],
)
def test_values_as_people_write_them(key: str, raw: Any, value: Any) -> None:
    assert parse_limit(key, raw) == value


def test_the_halt_follows_the_lockout_unless_it_is_written() -> None:
    for lock, halt in (("10", "15"), ("4", "6"), ("80", "100")):
        assert resolve_limits(LimitKind.AGENT, {"max_drawdown_pct": lock}).number("halt_drawdown_pct") == D(halt)
    with pytest.raises(InvalidConfig) as caught:
        resolve_limits(LimitKind.AGENT, {"max_drawdown_pct": 10, "halt_drawdown_pct": "9.9"})
    assert "9.9" in caught.value.message and "10" in caught.value.message
    assert resolve_limits(LimitKind.AGENT, {"max_drawdown_pct": 10, "halt_drawdown_pct": 10}).number("halt_drawdown_pct") == 10


def test_a_halt_without_a_lockout_is_allowed() -> None:
    assert resolve_limits(LimitKind.MANUAL, {"halt_drawdown_pct": 20}).number("halt_drawdown_pct") == 20
    assert resolve_limits(LimitKind.AGENT, {"max_drawdown_pct": None, "halt_drawdown_pct": 20}).number("halt_drawdown_pct") == 20


def test_the_tighter_of_two_caps_is_said() -> None:
    assert limit_warnings(resolve_limits(LimitKind.AGENT, {})) == []
    told = limit_warnings(resolve_limits(LimitKind.AGENT, {"max_single_order_quote": 501, "max_portfolio_risk_quote": 51}))
    assert len(told) == 2 and "501" in told[0] and "500" in told[0] and "51" in told[1]


def test_limits_show_where_they_come_from() -> None:
    limits = resolve_limits(LimitKind.AGENT, {"max_leverage": 2}, where="agent.md")
    assert limits.origin["max_leverage"] == "agent.md" and limits.origin["max_daily_trades"] == "default"
    assert (
        limits.as_dict()["max_leverage"] == "2"
        and limits.as_dict()["require_stops"] is True
        and limits.as_dict()["max_daily_loss_pct"] is None
    )
    assert limits.flag("require_stops") and not limits.flag("require_targets")


WHOLE = {"max_open_executors", "max_open_positions", "max_positions_per_market", "max_daily_trades"}


@pytest.mark.parametrize("spec", [spec for spec in LIMITS if not isinstance(spec.defaults[0], bool)], ids=lambda spec: spec.key)
def test_what_is_counted_is_whole_and_what_is_measured_need_not_be(spec: LimitSpec) -> None:
    if spec.key in WHOLE:
        with pytest.raises(InvalidConfig, match="must be a whole number"):
            parse_limit(spec.key, "1.5")
    else:
        part = "0.5" if spec.most == 1 else "1.5"
        assert parse_limit(spec.key, part) == Decimal(part)
    assert parse_limit(spec.key, "1") == 1
