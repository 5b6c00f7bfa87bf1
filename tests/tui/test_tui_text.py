"""Figures and foreign text as the screen writes them."""

from decimal import Decimal

import pytest

from tradeagent.tui.text import age, badge, badge_style, clean, clip, countdown, moment, money, one_line, price, signed, tone


@pytest.mark.parametrize(("value", "shown"), [("0.004", "0.00"), ("-0.004", "0.00"), ("12.5", "+12.50"), ("-1234.567", "-1,234.57")])
def test_a_sign_is_written_unless_nothing_is_left_of_the_figure(value: str, shown: str) -> None:
    assert signed(Decimal(value)) == shown
    assert bool(tone(Decimal(value))) == (shown != "0.00")


def test_money_has_two_decimals_and_prices_what_they_need() -> None:
    assert money(Decimal("9997.789498")) == "9,997.79"
    assert price(Decimal("84191.10")) == "84,191.1"
    assert price(Decimal("0.00116")) == "0.00116"
    assert price(Decimal(100)) == "100"
    assert price(None) == "–"


@pytest.mark.parametrize(("seconds", "shown"), [(5, "5 s"), (119, "119 s"), (120, "2 min"), (3_600, "1 h"), (200_000, "2 d"), (-3, "0 s")])
def test_an_age_is_told_in_its_largest_unit(seconds: int, shown: str) -> None:
    assert age(seconds) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(42, "0:42"), (3_661, "1:01:01"), (0, "due"), (-9, "due")])
def test_a_countdown_ends_in_due(seconds: int, shown: str) -> None:
    assert countdown(seconds) == shown


def test_an_instant_of_another_day_carries_its_date() -> None:
    assert moment(1_742_000_000_000, 1_742_000_060_000) == "00:53:20"
    assert moment(1_742_000_000_000, 1_763_000_000_000) == "2025-03-15 00:53"


def test_a_network_nobody_knows_looks_like_real_money() -> None:
    assert badge("paper") == "PAPER"
    assert badge("mainnet") == "LIVE"
    assert badge_style("mainnet") == badge_style("surprise") != badge_style("paper")


def test_control_and_invisible_characters_are_dropped() -> None:
    assert clean("a\x1b[2Jb\x00c\x9bd\u202ee\u200bf\tg\nh") == "a[2Jbcdef\tg\nh"


def test_one_line_is_one_line_of_bounded_length() -> None:
    assert one_line("a\n\n b\tc") == "a b c"
    assert one_line("x" * 500, 10) == "x" * 9 + "…"
    assert clip("abcdef", 4) == "abc…"
