"""Instants as people and models write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeagent.domain.clock import iso, parse_instant
from tradeagent.domain.errors import InvalidInput


@given(st.integers(0, 4_102_444_800_000))
def test_an_instant_is_read_back_from_both_its_forms(ms: int) -> None:
    assert parse_instant(str(iso(ms)), "from") == ms
    assert ms < 10**11 or parse_instant(str(ms), "from") == ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [("2025-03-15", 1_741_996_800_000), ("2025-03-15T12:00Z", 1_742_040_000_000), ("2025-03-15T12:00+02:00", 1_742_032_800_000)],
)
def test_an_instant_without_a_zone_is_utc(text: str, ms: int) -> None:
    assert parse_instant(text, "from") == ms


@pytest.mark.parametrize("text", ["", "soon", "2025-13-01", "9" * 30, "99999999999999999", "٢٠٢٥-٠١-٠١x"])
def test_what_is_no_instant_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInput, match="--from: "):
        parse_instant(text, "--from")
