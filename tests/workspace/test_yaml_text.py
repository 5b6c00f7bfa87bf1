"""Strict YAML and front matter: values, lines, and everything that is refused."""

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeagent.domain.errors import InvalidConfig
from tradeagent.workspace.front_matter import read_front_matter
from tradeagent.workspace.yaml_text import YamlDocument, read_yaml

FILE = Path("agent.md")


def test_values_follow_the_core_schema_and_fractions_are_exact() -> None:
    text = "a: 012\nb: 1.50\nc: yes\nd: 2026-01-02\ne: null\nf: '5'\ng: true\nh: 12:30\ni: -3\nj: 1e3\nk:\nl: 1_000\n"
    values = read_yaml(text, FILE).values
    assert values == {
        "a": 12, "b": Decimal("1.50"), "c": "yes", "d": "2026-01-02", "e": None, "f": "5", "g": True,
        "h": "12:30", "i": -3, "j": Decimal(1000), "k": None, "l": "1_000",
    }  # fmt: skip
    assert str(values["b"]) == "1.50"


def test_every_key_knows_its_line() -> None:
    document = read_yaml("# top\na: 1\nb:\n  c:\n    - x\n    - d: 1\n", FILE, first_line=10)
    assert document.lines[("a",)] == 11
    assert document.lines[("b", "c", 1, "d")] == 15
    assert document.line_of(("b", "missing")) == 12
    assert document.place(("b", "c")) == "agent.md:13"
    assert document.place(("z",)) == "agent.md"


def test_an_empty_text_is_an_empty_mapping() -> None:
    assert read_yaml("", FILE).values == {}
    assert read_yaml("# only a comment\n", FILE).values == {}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "duplicate key 'a', first on line 1"),
        ("a:\n\tb: 1\n", 2, "tab"),
        ("a: 1\nb: &x 1\n", 2, "anchors"),
        ("a: *x\n", 1, "anchors"),
        ("a: !!python/object:os.system x\n", 1, "tags"),
        ("a: 1\nb: {c: 1\n", 3, "expected"),
        ("a: 1\nb: 'x\n", 3, "unexpected end"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("- a\n", 1, "key: value"),
        ("a: .inf\n", 1, "finite"),
        ("a: 1\nb: \x07\n", 2, "control character"),
        ("? [a]\n: 1\n", 1, "plain word"),
        ('a: "\\ud83d"\n', 1, "surrogate"),
        ("a: " + "[" * 40 + "]" * 40, 1, "nested"),
        ("a: " + "x" * 300_000, 1, "KiB"),
    ],
)
def test_what_a_person_could_misread_is_an_error_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        read_yaml(text, FILE)
    assert words in caught.value.message
    assert caught.value.message.startswith(f"agent.md:{line}:")
    assert caught.value.details["line"] == line
    assert caught.value.hint


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    try:
        read_yaml(text, FILE)
    except InvalidConfig as error:
        assert error.details["file"] == "agent.md"
        assert error.details["line"] >= 1


def test_front_matter_and_body_are_split_with_lines_of_the_file() -> None:
    found = read_front_matter("---\nname: x\nlimits:\n  a: 1\n---\n\n# Body\n---\nmore\n", FILE)
    assert found.head.values == {"name": "x", "limits": {"a": 1}}
    assert found.head.lines[("limits", "a")] == 4
    assert found.body == "# Body\n---\nmore\n"


def test_windows_line_ends_and_a_byte_order_mark_are_read() -> None:
    found = read_front_matter("\ufeff---\r\nname: x\r\n---\r\nbody\r\n", FILE)
    assert found.head.values == {"name": "x"}
    assert found.body == "body\r\n"


@pytest.mark.parametrize("text", ["", "  \n", "---\nname: x\n", "---\nname: x\nlimits:\n  max_le"])
def test_a_half_saved_file_is_called_that(text: str) -> None:
    with pytest.raises(InvalidConfig, match="half-saved"):
        read_front_matter(text, FILE)


def test_a_file_without_front_matter_says_what_is_missing() -> None:
    with pytest.raises(InvalidConfig, match=r"agent\.md:1: the first line must be `---`"):
        read_front_matter("# Just a title\n", FILE)


def test_the_same_text_read_again_has_values_and_mistakes_of_its_own() -> None:
    first = read_yaml("a: {b: [1]}\n", FILE)
    first.values["a"]["b"].append(2)
    other = Path("other.yml")
    assert read_yaml("a: {b: [1]}\n", other, first_line=5) == YamlDocument(
        other, {"a": {"b": [1]}}, {("a",): 5, ("a", "b"): 5, ("a", "b", 0): 5}
    )
    for file in (FILE, other):
        with pytest.raises(InvalidConfig, match=rf"^{file}:2: duplicate key 'a', first on line 1$"):
            read_yaml("a: 1\na: 2\n", file)
