"""Session hours: what a person may write, and when the week is open, against a reading of the words minute by minute."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeagent.domain.clock import MINUTE_MS, iso, to_ms
from tradeagent.domain.errors import InvalidConfig
from tradeagent.domain.session_hours import DAYS, parse_session_hours

KEY = "trading.session_hours"
WEEK = 7 * 24 * 60


def at(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


# 2026-01-05 is a Monday.
@pytest.mark.parametrize(
    ("hours", "moment", "is_open", "opens"),
    [
        ("06:00-21:00", "2026-01-07 05:59:59.999", False, "2026-01-07T06:00:00Z"),
        ("06:00-21:00", "2026-01-07 06:00", True, None),
        ("06:00-21:00", "2026-01-07 20:59:59.999", True, None),
        ("06:00-21:00", "2026-01-07 21:00", False, "2026-01-08T06:00:00Z"),
        ("00:00-24:00", "2026-01-07 00:00", True, None),
        ("mon-fri 06:00-21:00", "2026-01-09 21:00", False, "2026-01-12T06:00:00Z"),
        ("mon-fri 06:00-21:00", "2026-01-10 12:00", False, "2026-01-12T06:00:00Z"),
        ("fri-mon 10:00-11:00", "2026-01-12 10:30", True, None),
        ("fri-mon 10:00-11:00", "2026-01-13 10:30", False, "2026-01-16T10:00:00Z"),
        ("22:00-04:00", "2026-01-07 21:59:59.999", False, "2026-01-07T22:00:00Z"),
        ("22:00-04:00", "2026-01-07 22:00", True, None),
        ("22:00-04:00", "2026-01-08 03:59:59.999", True, None),
        ("22:00-04:00", "2026-01-08 04:00", False, "2026-01-08T22:00:00Z"),
        ("fri 22:00-04:00", "2026-01-10 03:00", True, None),
        ("fri 22:00-04:00", "2026-01-09 03:00", False, "2026-01-09T22:00:00Z"),
        ("sun 22:00-04:00", "2026-01-12 03:59", True, None),
        ("sun 22:00-04:00", "2026-01-12 04:00", False, "2026-01-18T22:00:00Z"),
        ("Mon-Fri 06:00-21:00, sat  08:00 - 12:00", "2026-01-10 08:00", True, None),
        ("Mon-Fri 06:00-21:00, sat  08:00 - 12:00", "2026-01-10 07:59", False, "2026-01-10T08:00:00Z"),
        ("06:00-09:00,09:00-12:00", "2026-01-07 09:00", True, None),
    ],
)
def test_the_week_is_open_from_the_start_on_and_closed_at_the_end(hours: str, moment: str, is_open: bool, opens: str | None) -> None:
    found, now = parse_session_hours(hours, KEY), at(moment)
    assert found.is_open(now) is is_open
    if opens is not None:
        assert iso(found.opens_ms(now)) == opens
        assert found.is_open(found.opens_ms(now))


PARTS = st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 1439), st.integers(0, 1440)).filter(lambda part: part[2] != part[3])


@given(st.lists(PARTS, min_size=1, max_size=4), st.integers(0, 3 * WEEK))
def test_open_means_that_one_of_the_parts_says_so(parts: list[tuple[int, int, int, int]], later: int) -> None:
    text = ", ".join(f"{DAYS[a]}-{DAYS[b]} {s // 60:02}:{s % 60:02}-{e // 60:02}:{e % 60:02}" for a, b, s, e in parts)
    open_minutes = set()
    for first, last, start, end in parts:
        for day in range(first, first + (last - first) % 7 + 1):
            minutes = range(start, end if end > start else end + 1440)
            open_minutes |= {(day * 1440 + minute) % WEEK for minute in minutes}
    hours, now = parse_session_hours(text, KEY), at("2026-01-05 00:00") + later * MINUTE_MS
    assert hours.is_open(now) is (later % WEEK in open_minutes)
    if not hours.is_open(now):
        wait = next(n for n in range(1, WEEK + 1) if (later + n) % WEEK in open_minutes)
        assert hours.opens_ms(now + 59_999) == now + wait * MINUTE_MS


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "always",
        "6:00-21:00",
        "06:00",
        "06:00-25:00",
        "24:00-06:00",
        "06:60-07:00",
        "06:00-24:01",
        "06:00-06:00",
        "mon-fri",
        "weekdays 06:00-21:00",
        "mon-fry 06:00-21:00",
        "06:00-21:00,",
        "06:00-21:00; sat 08:00-12:00",
        "٠٦:٠٠-٢١:٠٠",
    ],
)
def test_a_wrong_text_is_named_with_its_key_and_an_example(wrong: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        parse_session_hours(wrong, KEY)
    assert KEY in caught.value.message and repr(wrong) in caught.value.message
    assert "mon-fri 06:00-21:00" in caught.value.hint


@pytest.mark.parametrize("wrong", [600, True, None, ["06:00-21:00"]])
def test_what_is_no_text_is_refused(wrong: object) -> None:
    with pytest.raises(InvalidConfig, match="not a text"):
        parse_session_hours(wrong, KEY)
