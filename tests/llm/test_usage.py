"""Budget arithmetic: reservations never let the spend pass the cap by more than one call."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tradeagent.llm.usage import ZERO_USD, Budget, Price, Usage

CENTS = st.integers(0, 60).map(lambda cents: Decimal(cents) / 100)


@given(cap=CENTS, calls=st.lists(st.tuples(CENTS, CENTS, st.booleans()), max_size=40))
def test_the_spend_never_passes_the_cap_by_more_than_one_call(cap: Decimal, calls: list[tuple[Decimal, Decimal, bool]]) -> None:
    booked = [Decimal(0)]
    budget = Budget(cap, lambda: sum(booked, Decimal(0)), lambda usage: booked.append(usage.cost_usd or Decimal(0)))
    running = []
    for estimate, share, ends in calls:
        reservation = budget.reserve(estimate)
        if reservation is not None:
            running.append((reservation, estimate * share))  # a call costs at most what was estimated
        if ends and running:
            oldest, cost = running.pop(0)
            budget.settle(oldest, Usage(cost_usd=cost))
    for reservation, cost in running:
        budget.settle(reservation, Usage(cost_usd=cost))
    dearest = max((estimate for estimate, _, _ in calls), default=Decimal(0))
    assert sum(booked, Decimal(0)) <= cap + dearest
    assert budget.reserve(Decimal("0.01")) is None or sum(booked, Decimal(0)) < cap


def test_a_call_that_costs_nothing_passes_a_cap_of_nothing_and_one_of_unknown_price_does_not() -> None:
    budget = Budget(Decimal(0), lambda: Decimal(0), lambda _: None)
    assert budget.reserve(Decimal(0)) is not None
    assert budget.reserve(None) is None
    assert budget.reserve(Decimal("0.000001")) is None


def test_without_a_cap_everything_is_admitted_and_booked() -> None:
    seen: list[Usage] = []
    budget = Budget(None, lambda: Decimal(10**9), seen.append)
    reservation = budget.reserve(None)
    assert reservation is not None
    budget.settle(reservation, Usage(1, 2, None))
    assert seen == [Usage(1, 2, None)]


def test_usage_adds_up_and_an_unknown_cost_stays_unknown() -> None:
    assert Usage(1, 2, Decimal("0.5")) + Usage(3, 4, Decimal("0.25"), estimated=True) == Usage(4, 6, Decimal("0.75"), estimated=True)
    assert (Usage(1, 1, None) + Usage(1, 1, Decimal(1))).cost_usd is None


def test_a_price_is_per_million_tokens() -> None:
    assert Price(Decimal("2.5"), Decimal(10)).cost(1_000, 100) == Decimal("0.0035")


def test_turns_beside_each_other_share_one_cap_and_record_apart() -> None:
    mine: list[Usage] = []
    theirs: list[Usage] = []
    budget = Budget(Decimal(10), lambda: sum((used.cost_usd or ZERO_USD for used in (*mine, *theirs)), ZERO_USD), mine.append)
    other = budget.beside(theirs.append)
    held = budget.reserve(Decimal(6))
    assert held is not None
    assert other.reserve(Decimal(6)) is None, "what one has reserved is taken from the other"
    beside = other.reserve(Decimal(4))
    assert beside is not None
    other.settle(beside, Usage(cost_usd=Decimal(3)))
    budget.settle(held, Usage(cost_usd=Decimal(7)))
    assert [used.cost_usd for used in mine] == [Decimal(7)] and [used.cost_usd for used in theirs] == [Decimal(3)]
    assert other.reserve(Decimal(1)) is None and budget.reserve(Decimal(1)) is None
