"""Rebalancing: nothing is made or lost, no wallet gives what it needs or has not free, and shares come closer."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeagent.assistant.rebalance import LEAST, Funds, Transfer, transfers
from tradeagent.domain.errors import InvalidInput

D = Decimal
AMOUNT = st.decimals(0, 1_000_000, places=6)
WALLETS = st.lists(st.tuples(AMOUNT, st.decimals(0, 1, places=3)), min_size=1, max_size=6).map(
    lambda rows: [Funds(f"w{number}", equity, equity * share) for number, (equity, share) in enumerate(rows)]
)


def after(funds: list[Funds], moves: list[Transfer]) -> dict[str, Decimal]:
    found = {one.wallet: one.equity for one in funds}
    for move in moves:
        found[move.source] -= move.amount
        found[move.target] += move.amount
    return found


@given(WALLETS, st.lists(st.integers(0, 5), min_size=6, max_size=6))
def test_transfers_keep_the_sum_and_move_towards_the_shares(funds: list[Funds], numbers: list[int]) -> None:
    weights = {one.wallet: D(number) for one, number in zip(funds, numbers, strict=False)}
    if not sum(weights.values()):
        weights = {one.wallet: D(1) for one in funds}
    moves = transfers(funds, weights)
    total, sent = sum(one.equity for one in funds), {one.wallet: D(0) for one in funds}
    for move in moves:
        assert move.amount >= LEAST and move.amount == round(move.amount, 2) and move.source != move.target
        sent[move.source] += move.amount
    ended = after(funds, moves)
    assert sum(ended.values()) == total
    for one in funds:
        share = total * weights[one.wallet] / sum(weights.values())
        assert sent[one.wallet] <= one.free
        near = D("0.000001")
        assert min(one.equity, share) - near <= ended[one.wallet] <= max(one.equity, share) + near, "it went past its share"


def test_what_is_short_is_shared_in_proportion() -> None:
    funds = [Funds("rich", D(4000), D(300)), Funds("a", D(0), D(0)), Funds("b", D(500), D(500))]
    assert transfers(funds) == [Transfer("rich", "a", D("180.00")), Transfer("rich", "b", D("120.00"))]


def test_small_differences_stay() -> None:
    assert transfers([Funds("a", D(1000), D(1000)), Funds("b", D("981"), D("981"))]) == []


@pytest.mark.parametrize(
    ("weights", "word"),
    [({"c": D(1)}, "'c' is none"), ({"a": D(-1)}, "weights.a"), ({"a": D(0)}, "all are 0"), ({"a": D("NaN")}, "weights.a")],
)
def test_a_weight_that_is_none_is_named(weights: dict[str, Decimal], word: str) -> None:
    with pytest.raises(InvalidInput, match=word):
        transfers([Funds("a", D(1), D(1)), Funds("b", D(1), D(1))], weights)
