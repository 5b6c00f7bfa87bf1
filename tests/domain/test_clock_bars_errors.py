"""Identifiers that sort by time, instants as text, durations, and what an error tells its caller."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeagent.domain import errors
from tradeagent.domain.bars import Bar, interval_text, parse_duration
from tradeagent.domain.clock import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    SimulatedClock,
    SystemClock,
    age_text,
    day_start_ms,
    iso,
    minute_text,
    to_datetime,
    to_ms,
    ulid,
    ulid_ms,
)
from tradeagent.domain.errors import InvalidInput

MS = st.integers(0, 4_102_444_800_000)


@given(first=MS, second=MS, entropy=st.tuples(st.integers(0, 2**80 - 1), st.integers(0, 2**80 - 1)))
def test_identifiers_sort_by_time_and_then_by_entropy(first: int, second: int, entropy: tuple[int, int]) -> None:
    a, b = ulid(first, entropy[0]), ulid(second, entropy[1])
    assert len(a) == len(b) == 26
    assert (a < b) == ((first, entropy[0]) < (second, entropy[1]))


def test_an_identifier_of_the_specification() -> None:
    assert ulid(1_469_918_176_385, 0)[:10] == "01ARYZ6S41"  # the example of github.com/ulid/spec


@given(ms=MS)
def test_instants_survive_their_forms(ms: int) -> None:
    assert to_ms(to_datetime(ms)) == ms
    text = iso(ms)
    assert text is not None and text.endswith("Z") and to_ms(datetime.fromisoformat(text)) == ms
    assert day_start_ms(ms) <= ms < day_start_ms(ms) + DAY_MS and day_start_ms(ms) % DAY_MS == 0


def test_text_of_instants() -> None:
    assert iso(1_767_787_200_000) == "2026-01-07T12:00:00Z"
    assert iso(1_767_787_200_007) == "2026-01-07T12:00:00.007Z"
    assert iso(None) is None
    assert minute_text(1_767_787_259_999) == "2026-01-07 12:00"
    assert to_datetime(0).tzinfo is UTC


async def test_a_simulated_clock_moves_only_forward_and_never_waits() -> None:
    clock = SimulatedClock(1000, seed=7)
    clock.advance_to(500)
    assert clock.now_ms() == 1000
    await clock.sleep(2.5)
    await clock.sleep(-9)
    assert clock.now_ms() == 3500
    assert clock.chance().random() == SimulatedClock(0, seed=7).chance().random()
    assert clock.new_id() != clock.new_id() and clock.monotonic() <= clock.monotonic()


async def test_sleeping_in_simulated_time_only_lets_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("asyncio.sleep", sleep)
    await SimulatedClock(0).sleep(3600)
    assert slept == [0]


@pytest.mark.parametrize("clock", [SimulatedClock(1_767_787_200_000), SystemClock()], ids=["simulated", "system"])
def test_chance_never_touches_the_time_of_an_identifier_and_fills_the_rest(clock: SimulatedClock | SystemClock) -> None:
    before, made, after = clock.now_ms(), [clock.new_id() for _ in range(300)], clock.now_ms()
    assert all(before <= ulid_ms(each) <= after for each in made)
    assert {each[10] for each in made} > set("0Z"), "the first five of the eighty bits take every value"
    assert {each[-1] for each in made} > set("0Z"), "and so do the last"


async def test_the_system_clock_reads_the_wall() -> None:
    clock = SystemClock(seed=3)
    before = clock.now_ms()
    await clock.sleep(0)
    assert 0 <= clock.now_ms() - before < 60_000
    assert clock.chance().random() == SystemClock(seed=3).chance().random()
    assert clock.new_id()[:6] == ulid(before, 0)[:6] and clock.monotonic() <= clock.monotonic()
    assert SystemClock().chance().random() != SystemClock().chance().random()


@given(count=st.integers(1, 10_000), unit=st.sampled_from("smhdw"))
def test_durations_survive_their_text(count: int, unit: str) -> None:
    ms = parse_duration(f"{count}{unit}")
    assert parse_duration(interval_text(ms)) == ms and len(interval_text(ms)) <= len(f"{count}{unit}")


@pytest.mark.parametrize(
    ("text", "ms"), [("1s", 1_000), ("90s", 90_000), ("5m", 300_000), ("4h", 14_400_000), ("1d", 86_400_000), ("2w", 1_209_600_000)]
)
def test_a_duration_in_milliseconds(text: str, ms: int) -> None:
    assert parse_duration(text) == ms == parse_duration(interval_text(ms))


@pytest.mark.parametrize("text", ["", "5", "m", "0m", "-1m", "5 m", "1.5h", "5M", "5mm"])
def test_what_is_no_duration_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInput, match="every"):
        parse_duration(text, "every")


def test_an_interval_of_milliseconds_has_no_text() -> None:
    with pytest.raises(InvalidInput):
        interval_text(1500)


def test_a_bar_closes_an_interval_after_it_opens_and_knows_an_outage() -> None:
    bar = Bar("X", 0, 60_000, 5, 5, 5, 5, 0)
    assert bar.close_ms == 60_000 and bar.is_outage
    assert not Bar("X", 0, 60_000, 5, 5, 5, 5, 1).is_outage and not Bar("X", 0, 60_000, 5, 6, 5, 5, 0).is_outage


@pytest.mark.parametrize(
    ("kind", "code", "exit_code"),
    [
        (errors.InvalidInput, "invalid_input", 2),
        (errors.InvalidConfig, "invalid_config", 2),
        (errors.UnknownKey, "unknown_key", 2),
        (errors.DataError, "data_error", 2),
        (errors.RefusedError, "refused", 3),
        (errors.NotFound, "not_found", 4),
        (errors.VenueError, "venue_error", 5),
        (errors.ModelError, "model_error", 5),
        (errors.BusyError, "busy", 6),
        (errors.Interrupted, "interrupted", 130),
        (errors.Defect, "internal", 1),
    ],
)
def test_every_error_has_its_code_and_exit_code(kind: type[errors.TradeAgentError], code: str, exit_code: int) -> None:
    error = kind("what happened", hint="what to type", details={"a": 1})
    assert error.as_dict() == {"code": code, "message": "what happened", "hint": "what to type", "details": {"a": 1}}
    assert error.exit_code == exit_code and str(error) == "what happened"
    assert kind("x", code="other").code == "other"


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0 s"),
        (999, "0 s"),
        (2 * MINUTE_MS - 1, "119 s"),
        (2 * MINUTE_MS, "2 min"),
        (2 * HOUR_MS - 1, "119 min"),
        (2 * HOUR_MS, "2 h"),
        (2 * DAY_MS - 1, "47 h"),
        (2 * DAY_MS, "2 days"),
        (619 * DAY_MS, "619 days"),
    ],
)
def test_an_age_is_told_in_its_largest_unit_from_two_on(ms: int, text: str) -> None:
    assert age_text(ms) == text
