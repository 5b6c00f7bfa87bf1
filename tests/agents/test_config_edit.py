"""Setting one value of config.yml: the value is there, and every other byte is as it was."""

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradeagent.agents.config_edit import parse_value, set_value, value_text
from tradeagent.domain.errors import InvalidConfig
from tradeagent.workspace.yaml_text import read_yaml

FILE = Path("config.yml")
KEYS = st.sampled_from(["a", "bb", "risk_pct", "z9"])
SCALARS = (
    st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**6), max_value=10**6)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)
)
WRITTEN = st.sampled_from(["1", "0.5", "4h", '"4h, # no"', "'it''s'", "true", "  7", '"a: 1"', "|\n  two\n  lines", ">-\n  folded"])
COMMENTS = st.sampled_from(["", "   # why: because", " # a: 9"])
BETWEEN = st.lists(st.sampled_from(["", "# a: 5 is too much", "   # indented", "# ü → 4"]), max_size=2)


@st.composite
def layouts(draw: st.DrawFn) -> tuple[list[str], dict[str, int], str, str]:
    """A config.yml as a person may lay it out, in pieces: which piece is the value of a key, the line end, and what ends the file."""
    end = draw(st.sampled_from(["\n", "\r\n"]))
    pieces, values = [line + end for line in draw(BETWEEN)], {}
    for key in draw(st.lists(KEYS, unique=True, max_size=4)):
        written = draw(WRITTEN).replace("\n", end)
        is_block = written[0] in "|>"
        values[key] = len(pieces) + 1
        pieces += [f"{key}: ", written, ("" if is_block else draw(COMMENTS)) + end, *(line + end for line in draw(BETWEEN) if not is_block)]
    return pieces, values, end, draw(st.sampled_from(["", end, "# the end" + end]))


@settings(deadline=None)
@given(layouts(), KEYS, SCALARS)
def test_a_value_is_set_and_every_other_byte_stays(
    layout: tuple[list[str], dict[str, int], str, str], key: str, value: bool | int | Decimal | str
) -> None:
    pieces, values, end, tail = layout
    text, written = "".join(pieces) + tail, value_text(value)
    if key in values:
        at = values[key]
        lead = " " * (len(pieces[at]) - len(pieces[at].lstrip(" ")))
        expected = "".join([*pieces[:at], lead + written, *pieces[at + 1 :]]) + tail
    else:
        expected = f"{text}{key}: {written}{end if end in text else chr(10)}"
    after = set_value(text, key, value, FILE)
    assert after == expected
    assert read_yaml(after, FILE).values == {**read_yaml(text, FILE).values, key: value}


@given(SCALARS)
def test_a_value_is_read_back_as_it_was_written(value: bool | int | Decimal | str) -> None:
    found = parse_value(value_text(value))
    assert found == value and isinstance(found, bool) == isinstance(value, bool)
    assert "\n" not in value_text(value)


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("", "risk: 2\n"),
        ("# mine\nrisk: 1  # careful\nother: x\n", "# mine\nrisk: 2  # careful\nother: x\n"),
        ("{other: x, risk: 1} # flow\n", "{other: x, risk: 2} # flow\n"),
        ("{other: x}\n", "{other: x, risk: 2}\n"),
        ("{}\n", "{risk: 2}\n"),
        ("  other: x\n", "  other: x\n  risk: 2\n"),
        ("other: x", "other: x\nrisk: 2\n"),
        ("risk: |\n  1\nother: x\n", "risk: 2\nother: x\n"),
        ("risk: '1'\r\nother: x\r\n", "risk: 2\r\nother: x\r\n"),
    ],
)
def test_layouts_that_people_write(text: str, after: str) -> None:
    assert set_value(text, "risk", 2, FILE) == after


@pytest.mark.parametrize("text", ["other: x\n...\n", "? other\n: x\n"])
def test_a_layout_that_would_not_survive_is_left_to_the_person(text: str) -> None:
    with pytest.raises(InvalidConfig) as error:
        set_value(text, "risk", 2, FILE)
    assert "risk" in error.value.message and "`risk: 2`" in error.value.hint
