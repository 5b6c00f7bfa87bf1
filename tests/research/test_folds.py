"""Fold arithmetic: order, gaps, purge, embargo, anchored and sliding, and layouts that cannot be."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_study import toy_space

from tradeagent.domain.errors import DataError, InvalidInput, TradeAgentError
from tradeagent.research.folds import Layout, longest_warmup, make_folds
from tradeagent.research.space import Params


def test_a_layout_by_hand() -> None:
    folds = make_folds(10, 1000, Layout(train=300, test=100, embargo=5), purge=20)
    assert [(fold.train, fold.test) for fold in folds] == [
        ((10, 310), (335, 435)),
        ((110, 410), (435, 535)),
        ((210, 510), (535, 635)),
        ((310, 610), (635, 735)),
        ((410, 710), (735, 835)),
        ((510, 810), (835, 935)),
    ]
    anchored = make_folds(10, 1000, Layout(train=300, test=100, embargo=5, anchored=True), purge=20)
    assert [fold.train for fold in anchored] == [(10, stop) for stop in (310, 410, 510, 610, 710, 810)]
    assert [fold.test for fold in anchored] == [fold.test for fold in folds]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(50, 5000),
    layout=st.builds(
        Layout,
        train=st.none() | st.integers(1, 2000),
        test=st.none() | st.integers(1, 800),
        step=st.none() | st.integers(1, 800),
        folds=st.none() | st.integers(1, 12),
        anchored=st.booleans(),
        embargo=st.integers(0, 50),
    ),
    purge=st.integers(0, 300),
)
def test_no_fold_knows_its_future(rows: int, layout: Layout, purge: int) -> None:
    try:
        folds = make_folds(3, 3 + rows, layout, purge)
    except TradeAgentError as error:
        assert error.message and error.hint
        return
    assert folds and (layout.folds is None or len(folds) == layout.folds)
    for fold in folds:
        assert 3 <= fold.train[0] < fold.train[1] and fold.train[1] - fold.train[0] > purge
        assert fold.test[0] - fold.train[1] == purge + layout.embargo
        assert fold.test[0] < fold.owned <= fold.test[1] <= 3 + rows
    for earlier, later in itertools.pairwise(folds):
        assert earlier.owned <= later.test[0]
        assert later.test[0] - earlier.test[0] == (layout.step or earlier.test[1] - earlier.test[0])
        assert later.train[0] == (earlier.train[0] if layout.anchored else earlier.train[0] + later.test[0] - earlier.test[0])


def test_the_default_uses_the_bars_up_in_five_folds() -> None:
    folds = make_folds(0, 1000, Layout(), purge=40)
    assert len(folds) == 5 and folds[-1].test[1] > 990
    assert folds[0].train[1] == 3 * (folds[0].test[1] - folds[0].test[0])


@pytest.mark.parametrize(
    ("layout", "kind", "problem"),
    [
        (Layout(train=100, test=50), InvalidInput, "train: 100 bars are not more than the longest warm-up of the space, 120 bars"),
        (Layout(train=900, test=200), DataError, r"one fold needs 1,220 bars \(train 900, gap 120, test 200\), there are 1,000"),
        (Layout(train=300, test=100, folds=9), DataError, "9 folds do not fit into 1,000 bars, 5 do"),
        (Layout(train=300, test=1), InvalidInput, "test: 1 bar is too short"),
        (Layout(train=-5, test=10), InvalidInput, "train: -5 is below 1"),
        (Layout(embargo=-1), InvalidInput, "embargo: -1"),
        (Layout(folds=800), DataError, "1,000 bars, 120 of them the gap"),
    ],
)
def test_a_layout_that_cannot_be(layout: Layout, kind: type[TradeAgentError], problem: str) -> None:
    with pytest.raises(kind, match=problem) as caught:
        make_folds(0, 1000, layout, purge=120)
    assert caught.value.hint


def test_the_longest_warmup_is_found_where_it_is() -> None:
    def warmup(params: Params) -> int:
        if int(params["slow.length"]) > 150:
            raise InvalidInput("too slow for this algo")
        return max(int(params["fast.length"]), int(params["slow.length"])) + (25 if params["ma"] == "ema" else 0)

    assert longest_warmup(toy_space(), warmup) == 150 + 25
