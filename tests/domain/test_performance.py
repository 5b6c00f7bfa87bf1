"""Nav and drawdown under flows, day PnL over midnight, the decaying penalty, and trades flat to flat."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeagent.domain.clock import DAY_MS, HOUR_MS
from tradeagent.domain.names import Direction
from tradeagent.domain.performance import Day, Nav, Penalty, RoundTrip, funding_hours

D = Decimal
MONEY = st.integers(1, 10**12).map(lambda micro: D(micro).scaleb(-6))
NOON = 1_767_787_200_000


@given(start=MONEY, steps=st.lists(st.tuples(st.sampled_from(["pnl", "flow"]), st.integers(-90, 200)), max_size=15))
def test_flows_never_move_nav_or_drawdown(start: Decimal, steps: list[tuple[str, int]]) -> None:
    nav, equity = Nav().flow(start, D(0)), start
    assert nav.value(equity) == 1
    value, peak = D(1), D(1)
    for kind, percent in steps:
        amount = (equity * percent / 100).quantize(D("0.000001"))
        if kind == "pnl":
            value, equity = value * (equity + amount) / equity, equity + amount
            nav = nav.sample(equity)
        else:
            nav, equity = nav.flow(amount, equity), equity + amount
        if equity < D("0.01"):
            return  # below a cent the roundings are as large as the account
        peak = max(peak, value)
        assert abs(nav.drawdown(equity) - (1 - value / peak)) < D("1e-4") / equity + D("1e-9")


def test_a_deposit_does_not_hide_a_drawdown() -> None:
    nav = Nav().flow(D(10_000), D(0)).sample(D(10_000))
    assert nav.drawdown(D(9_000)) == D("0.1")
    more = nav.flow(D(90_000), D(9_000))
    assert more.drawdown(D(99_000)) == D("0.1")
    assert more.sample(D(110_000)).peak == 1, "back at the first unit value, not beyond it"


def test_a_withdrawal_does_not_make_a_drawdown() -> None:
    nav = Nav().flow(D(10_000), D(0)).sample(D(12_000))
    assert nav.flow(D(-11_000), D(12_000)).drawdown(D(1_000)) == 0


@given(start=MONEY, percent=st.integers(1, 300))
def test_an_account_emptied_and_filled_again_keeps_its_drawdown(start: Decimal, percent: int) -> None:
    nav, equity = Nav().flow(start, D(0)), start * percent / 100
    nav = nav.sample(equity)
    before = nav.drawdown(equity)
    emptied = nav.flow(-equity, equity)
    assert emptied.units == 0 and abs(emptied.drawdown(D(0)) - before) < D("1e-11")
    filled = emptied.flow(D(500), D(0))
    assert filled.units == 500 and abs(filled.drawdown(D(500)) - before) < D("1e-11")


def test_a_wiped_account_starts_again_at_one() -> None:
    nav = Nav().flow(D(100), D(0)).sample(D(150))
    assert nav.drawdown(D(-5)) > 1
    again = nav.flow(D(105), D(-5))
    assert (again.units, again.peak, again.drawdown(D(100))) == (100, 1, 0)
    assert nav.flow(D(2), D(-5)).units == 0


def test_what_an_account_without_units_still_has_belongs_to_the_next_deposit() -> None:
    assert Nav().flow(Decimal(100), Decimal(5)) == Nav(Decimal(105))
    assert Nav().flow(Decimal(-5), Decimal(5)) == Nav(Decimal(0))


def test_rebasing_makes_now_the_peak() -> None:
    nav = Nav().flow(D(100), D(0)).sample(D(200)).rebased(D(120))
    assert nav.drawdown(D(120)) == 0 and nav.drawdown(D(60)) == D("0.5")


def test_day_pnl_counts_what_happened_while_nobody_watched() -> None:
    midnight = NOON + 12 * HOUR_MS
    day = Day(NOON - 12 * HOUR_MS, D(10_000))
    assert day.pnl(D(9_950)) == -50
    assert day.at(midnight - 1, D(9_950)) is day
    fresh = day.at(midnight + 7 * HOUR_MS, D(9_950))
    assert (fresh.start_ms, fresh.pnl(D(9_900))) == (midnight, -50)
    assert day.at(midnight + 3 * DAY_MS + 5, D(9_950)).start_ms == midnight + 3 * DAY_MS
    assert fresh.at(NOON, D(1)) is fresh, "time does not run backwards"


def test_a_deposit_is_no_profit_of_the_day() -> None:
    assert Day(0, D(1000), D(500)).pnl(D(1500)) == 0
    assert Day(0, D(1000), D(-500)).pnl(D(450)) == -50


def test_a_penalty_of_thirty_is_fifteen_after_a_day() -> None:
    penalty = Penalty().book(D(-30), NOON)
    assert [penalty.effective_cap(D(100), NOON + h * HOUR_MS) for h in (0, 24, 48)] == [70, 85, D("92.5")]
    assert penalty.effective_cap(D(100), NOON - DAY_MS) == 70, "time does not run backwards"
    assert abs(penalty.value(NOON + 12 * HOUR_MS) - 30 / D(2).sqrt()) < D("1e-11")


def test_a_gain_subtracts_and_a_penalty_never_goes_below_zero_or_the_floor() -> None:
    penalty = Penalty().book(D(-30), NOON).book(D(10), NOON + DAY_MS)
    assert penalty.amount == 5
    assert penalty.book(D(50), NOON + DAY_MS).amount == 0
    assert Penalty().book(D(-500), NOON).effective_cap(D(100), NOON) == 20


@given(results=st.lists(st.tuples(st.integers(-1000, 1000), st.integers(-DAY_MS, 3 * DAY_MS)), max_size=20))
def test_penalties_decay_whatever_the_order_of_stamps(results: list[tuple[int, int]]) -> None:
    penalty, now = Penalty(), NOON
    for result, step in results:
        now += step
        penalty = penalty.book(D(result), now)
        assert penalty.amount >= 0 and penalty.at_ms >= now
        assert penalty.value(penalty.at_ms + DAY_MS) <= penalty.amount / 2 + D("1e-12")
        assert D(20) <= penalty.effective_cap(D(100), now) <= 100


def trip(**more: object) -> RoundTrip:
    return RoundTrip("X", "me", Direction.LONG, NOON, **more)  # type: ignore[arg-type]


def test_a_round_trip_by_hand() -> None:
    whole = (
        trip(first_stop=D(95))
        .entered(D(2), D(100), D("0.09"), D(2))
        .entered(D(1), D(103), D("0.05"), D(3))
        .marked(D(-12))
        .marked(D(20))
        .exited(D(1), D(110), D("0.05"), D(9))
        .marked(D(4))
        .exited(D(2), D(98), D("0.09"), D(-6))
    )
    assert (whole.entry_price, whole.exit_price, whole.largest_size) == (101, 102, 3)
    assert (whole.realised_pnl, whole.fees, whole.pnl) == (3, D("0.28"), D("2.72"))
    assert (whole.mfe, whole.mae) == (20, -12)
    assert whole.r_multiple == D("2.72") / 18
    assert trip().exit_price is None


@pytest.mark.parametrize("stop", [None, D(100)])
def test_there_is_no_r_without_a_distance_to_a_stop(stop: Decimal | None) -> None:
    assert trip(first_stop=stop).entered(D(1), D(100), D(0), D(1)).exited(D(1), D(101), D(0), D(1)).r_multiple is None


def test_funding_is_part_of_the_net_result() -> None:
    assert trip(funding=D("0.5")).entered(D(1), D(100), D("0.1"), D(1)).exited(D(1), D(101), D("0.1"), D(1)).pnl == D("0.3")


@pytest.mark.parametrize(
    ("after", "until", "hours"),
    [(0, 0, 0), (0, HOUR_MS, 1), (0, HOUR_MS - 1, 0), (1, HOUR_MS, 1), (HOUR_MS, HOUR_MS, 0), (5, 3 * HOUR_MS, 3)],
)
def test_funding_hours_are_after_the_first_instant_and_up_to_the_last(after: int, until: int, hours: int) -> None:
    assert len(funding_hours(after, until)) == hours


def test_nobody_begins_with_a_penalty() -> None:
    assert (Penalty(), Penalty().effective_cap(D(100), 0)) == (Penalty(D(0), 0), D(100))


def test_a_penalty_fades_from_the_first_millisecond_on_and_never_before() -> None:
    assert Penalty(D(30), 10).value(10) == Penalty(D(30), 10).value(5) == 30
    assert Penalty(D(30), 10).value(9) == 30
    assert D("29.999999") < Penalty(D(30), 10).value(11) < 30
    assert Penalty(D(1), 0).value(24 * 3_600_000) == D("0.5")
