"""Tries at an idea: counted once each, kept for ever."""

from decimal import Decimal
from pathlib import Path

import pytest

from tradeagent.ledger.store import Ledger, create_ledger, open_ledger
from tradeagent.ledger.trials import Trial, add, idea_of, key_of, of_idea

SERIES = ("BTC", 300_000, 0, 10)
KEY = key_of("abc", {"fast": 10}, SERIES, {"taker": "0.00045", "funding": True})


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return create_ledger(tmp_path / "ledger.sqlite")


def test_the_same_question_is_one_try_however_its_numbers_are_written():
    for params, costs in (
        ({"fast": Decimal("10.0")}, {"funding": True, "taker": "0.00045"}),
        ({"fast": 10.0}, {"taker": "0.00045", "funding": True}),
    ):
        assert key_of("abc", params, SERIES, costs) == KEY


@pytest.mark.parametrize(
    ("algo", "params", "series", "costs"),
    [
        ("abd", {"fast": 10}, SERIES, {"taker": "0.00045", "funding": True}),
        ("abc", {"fast": 11}, SERIES, {"taker": "0.00045", "funding": True}),
        ("abc", {"fast": 10}, ("ETH", *SERIES[1:]), {"taker": "0.00045", "funding": True}),
        ("abc", {"fast": 10}, ("BTC", 60_000, 0, 10), {"taker": "0.00045", "funding": True}),
        ("abc", {"fast": 10}, ("BTC", 300_000, 0, 11), {"taker": "0.00045", "funding": True}),
        ("abc", {"fast": 10}, SERIES, {"taker": "0.0009", "funding": True}),
        ("abc", {"fast": 10}, SERIES, {"taker": "0.00045", "funding": False}),
    ],
)
def test_everything_a_result_depends_on_makes_another_try(algo, params, series, costs):
    assert key_of(algo, params, series, costs) != KEY


def test_a_try_is_counted_once_and_survives_the_session(ledger, tmp_path):
    idea, other = idea_of("sma", "BTC"), idea_of("sma", "ETH")
    with ledger.transaction() as tx:
        assert add(tx, [Trial("a", idea, "backtest 1", 0.1), Trial("b", idea, "study 2", None), Trial("c", other, "x", 0.3)], 5) == 3
        assert add(tx, [Trial("a", idea, "backtest 9", 0.7), Trial("d", idea, "backtest 9", -0.2)], 6) == 1
        assert add(tx, [], 7) == 0
    ledger.close()
    with open_ledger(tmp_path / "ledger.sqlite").reading() as tx:
        assert of_idea(tx, idea).count == 3
        assert sorted(of_idea(tx, idea).sharpes) == [-0.2, 0.1]
        assert of_idea(tx, idea_of("macd", "BTC")).count == 0
