"""Generated pages: complete, kept between their markers, and a drift fails the check and names the page."""

from pathlib import Path

import pytest

from tradeagent.cli import reference
from tradeagent.domain.errors import DataError
from tradeagent.domain.limits import LIMITS
from tradeagent.domain.names import Rule

PAGE = "# Limits\n\nbefore\n<!-- limits:begin -->\nold\n<!-- limits:end -->\nafter\n<!-- rules:begin --><!-- rules:end -->\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one marked page, its whole pages limited to one."""
    monkeypatch.setattr(reference, "WHOLE_PAGES", {"docs/whole.md": lambda: "all of it\n"})
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "risk-limits.md").write_text(PAGE)
    return tmp_path


def test_every_limit_and_every_rule_has_a_row() -> None:
    limits, rules = reference.limits_table(), reference.rules_table()
    assert all(f"| `{spec.key}` |" in limits for spec in LIMITS)
    assert [line.split("`")[1] for line in rules.splitlines()[2:]] == [rule.value for rule in Rule]
    assert {line.count("|") - line.count("\\|") for line in limits.splitlines()} == {8}


def test_a_page_that_differs_fails_the_check_until_it_is_written(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.main(["--check"], root) == 1
    assert "docs/risk-limits.md differs from the code" in capsys.readouterr().err
    assert not (root / "docs" / "whole.md").exists()

    assert reference.main([], root) == 0
    assert reference.main(["--check"], root) == 0
    assert (root / "docs" / "whole.md").read_text() == "all of it\n"


def test_what_people_wrote_around_the_markers_stays(root: Path) -> None:
    reference.main([], root)
    text = (root / "docs" / "risk-limits.md").read_text()
    assert text.startswith("# Limits\n\nbefore\n<!-- limits:begin -->\n| limit |")
    assert "\n<!-- limits:end -->\nafter\n" in text
    assert "old" not in text.splitlines()


def test_a_lost_marker_is_named() -> None:
    with pytest.raises(DataError, match="rules:begin"):
        reference.with_part("no markers", "rules", "x", "docs/risk-limits.md")


def test_the_command_page_has_every_command_with_its_options() -> None:
    text = reference.cli_page()
    assert "## `tradeagent config set`" in text
    assert "| `--max-ticks" in text
    assert "--help" not in text
