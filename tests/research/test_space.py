"""The search space: ranges as people write them, ladders that can be read back, conditions, and errors that name the parameter."""

import itertools
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_study import KNOWN, toy_space

from tradeagent.algos.spec import Param, ParamRange
from tradeagent.domain.errors import InvalidInput, UnknownKey
from tradeagent.research.samplers import GridSampler, SamplerKind, grid_size, make_sampler
from tradeagent.research.space import axis_of, fixed_params, from_plain, make_space, parse_range, plain, point_key, split_param


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("5:50:15", (5, 20, 35, 50)),
        ("5:9", (5, 6, 7, 8, 9)),
        ("0.5:2:0.5", ("0.5", "1", "1.5", "2")),
        ("1:10:4", (1, 5, 9)),
        ("sma,ema,rma", ("sma", "ema", "rma")),
        ("8,14,21", (8, 14, 21)),
        ("-2:2:2", (-2, 0, 2)),
    ],
)
def test_ranges_as_they_are_typed(text: str, values: tuple[object, ...]) -> None:
    ladder = axis_of("x", parse_range("x", text)).values
    assert [str(value) for value in ladder] == [str(value) for value in values]
    assert all(isinstance(value, int) for value in ladder) == all(isinstance(value, int) for value in values)


def test_a_range_of_fractions_without_a_step_gets_round_values() -> None:
    axis = axis_of("rr", parse_range("rr", "0.5:3.0"))
    assert axis.values[0] == Decimal("0.5") and axis.values[-1] == Decimal(3) and 1000 < len(axis.values) < 10_001
    assert all(value == round(value, 3) for value in axis.values if isinstance(value, Decimal))
    assert not axis.stepped and len(axis.coarse()) == 5


def test_a_log_range_has_even_ratios_and_both_ends() -> None:
    values = [float(value) for value in axis_of("x", parse_range("x", "0.001:10:log")).values]
    assert (values[0], values[-1]) == (0.001, 10.0)
    ratios = [later / earlier for earlier, later in itertools.pairwise(values)]
    assert max(ratios) / min(ratios) < 1.02
    whole = axis_of("x", parse_range("x", "1:1000:log")).values
    assert whole[:4] == (1, 2, 3, 4) and whole[-1] == 1000


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("50:5", "the range 50:5 is empty"),
        ("5:50:0", "the step 0 is not above 0"),
        ("0:10:log", "a log range starts above 0"),
        ("5:fifty", "'fifty' is not a number"),
        ("1:2:3:4", "is not a range"),
        ("0:1000000", "1,000,001 values"),
        (",", "holds no value"),
        ("nan:5", "'nan' is not a number"),
    ],
)
def test_a_range_that_cannot_be_names_the_parameter(text: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem) as caught:
        axis_of("fast.length", parse_range("fast.length", text))
    assert caught.value.message.startswith("fast.length") and caught.value.hint


def test_an_unknown_parameter_suggests_the_nearest() -> None:
    with pytest.raises(UnknownKey, match=r"no parameter 'fast.lenght'") as caught:
        make_space({}, KNOWN, {"fast.lenght": "5:50"})
    assert caught.value.hint == "did you mean fast.length?"


def test_nothing_to_search_lists_what_could_be() -> None:
    with pytest.raises(InvalidInput, match="nothing to search") as caught:
        make_space({}, KNOWN, {})
    assert "fast.length" in caught.value.hint


@pytest.mark.parametrize("text", ["fast.length", "=5", "fast.length=", ""])
def test_a_param_without_name_or_value(text: str) -> None:
    with pytest.raises(InvalidInput, match="NAME=VALUES"):
        split_param(text)


def test_one_value_takes_a_parameter_out_and_conditions_look_at_it() -> None:
    held = toy_space(ma="ema")
    assert [axis.name for axis in held.axes] == ["fast.length", "slow.length", "factor", "alpha"]
    assert "alpha" in held.point({axis.name: axis.values[0] for axis in held.axes})
    other = toy_space(ma="sma")
    assert "alpha" not in other.point({axis.name: axis.values[0] for axis in other.axes})


def test_a_conditional_parameter_is_drawn_after_its_condition_and_only_then() -> None:
    ranges = {
        "deep": ParamRange(Decimal(1), Decimal(3), whole=True, only_if=("alpha", Decimal("0.2"))),
        "alpha": ParamRange(choices=(Decimal("0.1"), Decimal("0.2")), only_if=("ma", "ema")),
        "ma": ParamRange(choices=("sma", "ema")),
    }
    space = make_space(ranges, {"ma": "sma", "alpha": Decimal("0.1"), "deep": 1}, {})
    assert [axis.name for axis in space.axes] == ["ma", "alpha", "deep"]
    points = GridSampler(space, 0, 100).ask(0, 100)
    assert sorted(map(point_key, points)) == sorted(
        ["ma=sma", "alpha=0.1;ma=ema", *(f"alpha=0.2;deep={deep};ma=ema" for deep in (1, 2, 3))]
    )


def test_a_name_and_its_alias_are_one_parameter() -> None:
    ranges = {"fast": ParamRange(Decimal(5), Decimal(40), whole=True), "slow": ParamRange(Decimal(50), Decimal(90), whole=True)}
    known = {"fast.length": 20, "slow.length": 50, "fast": 20, "slow": 50}
    aliases = {"fast": ("fast.length",), "slow": ("slow.length",)}
    space = make_space(ranges, known, {"fast.length": "7,8", "slow": "60"}, aliases)
    assert [(axis.name, axis.values) for axis in space.axes] == [("fast.length", (7, 8))]
    assert space.fixed["slow"] == space.fixed["slow.length"] == 60
    assert fixed_params({"fast.length": "7,8", "slow": "60"}) == {"slow": 60}


def test_conditions_in_a_circle_are_refused() -> None:
    ranges = {"a": ParamRange(choices=(1, 2), only_if=("b", 1)), "b": ParamRange(choices=(1, 2), only_if=("a", 1))}
    with pytest.raises(InvalidInput, match="go round in a circle"):
        make_space(ranges, {"a": 1, "b": 1}, {})


def test_a_grid_larger_than_the_trials_is_a_seeded_choice_of_it() -> None:
    space = toy_space(factor="1:3:1.0", ma="sma")
    assert grid_size(space) == 46 * 37 * 3
    one, again, other = (make_sampler(SamplerKind.GRID, space, seed, 50).ask(0, 64) for seed in (1, 1, 2))
    assert one == again != other
    assert len({point_key(point) for point in one}) == 50
    with pytest.raises(InvalidInput, match="combinations"):
        make_sampler(SamplerKind.GRID, toy_space(fast__length="1:1000", slow__length="1:1000"), 0, 10)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.integers(-10_000, 10_000), st.decimals(-1000, 1000, places=4), st.sampled_from(["sma", "1d"])), max_size=5))
def test_parameters_survive_their_row(values: list[Param]) -> None:
    params = {f"p{place}": value for place, value in enumerate(values)}
    assert from_plain(plain(params)) == params
    assert point_key(from_plain(plain(params))) == point_key(params)
