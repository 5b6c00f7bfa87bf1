"""Every played case once, with the first seed: nothing beyond policy, every refusal with a reason, every turn within its bounds."""

from pathlib import Path

import pytest
from agent_play import play
from desk_play import play_at_desk
from foe import Case
from table import CASES


def _named(stage: str) -> list[object]:
    return [pytest.param(case, id=f"{case.id}-{case.title.replace(' ', '_')[:40]}") for case in CASES if case.stage == stage]


@pytest.mark.parametrize("case", _named("agent"))
def test_an_agent_gets_no_further_than_its_limits(case: Case, template: Path, tmp_path: Path) -> None:
    assert play(case, template, tmp_path / "place").breaches == []


@pytest.mark.parametrize("case", _named("desk"))
def test_a_conversation_changes_nothing_but_its_own(case: Case, desk_template: Path, tmp_path: Path) -> None:
    assert play_at_desk(case, desk_template, tmp_path / "place").breaches == []
