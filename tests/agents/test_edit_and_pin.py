"""A person's words in the folder: an edited agent.md takes its place only when it can run, and no text of a person is lost."""

from collections.abc import Callable
from pathlib import Path

import pytest
from agent_place import AGENT_MD, KNOWN

from tradeagent.agents.edit import DRAFT_NAME, edit_definition
from tradeagent.agents.pinned import MOST, Pinned
from tradeagent.domain.errors import BusyError, InvalidInput, TradeAgentError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "btc"
    made.mkdir()
    (made / "agent.md").write_text(AGENT_MD)
    return made


def typed(old: str, new: str) -> Callable[[Path], None]:
    def edit(draft: Path) -> None:
        assert old in draft.read_text()
        draft.write_text(draft.read_text().replace(old, new))

    return edit


def test_a_good_edit_takes_the_place_of_the_definition_and_leaves_no_draft(folder: Path) -> None:
    assert edit_definition(folder, KNOWN, typed("Wait.", "Wait longer.")).is_changed
    assert (folder / "agent.md").read_text() == AGENT_MD.replace("Wait.", "Wait longer.")
    assert [path.name for path in folder.iterdir()] == ["agent.md"]
    assert not edit_definition(folder, KNOWN, lambda _: None).is_changed
    assert [path.name for path in folder.iterdir()] == ["agent.md"]


def test_what_cannot_run_is_kept_as_a_draft_that_the_next_edit_goes_on_with(folder: Path) -> None:
    with pytest.raises(TradeAgentError, match=r"tick_interval") as raised:
        edit_definition(folder, KNOWN, typed("5m", "soon"))
    assert "agent edit btc" in raised.value.hint
    assert (folder / "agent.md").read_text() == AGENT_MD
    assert "soon" in (folder / DRAFT_NAME).read_text()
    done = edit_definition(folder, KNOWN, typed("soon", "15m"))
    assert done.is_changed and done.went_on
    assert (folder / "agent.md").read_text() == AGENT_MD.replace("5m", "15m")
    assert not (folder / DRAFT_NAME).exists()


def test_another_hand_on_the_definition_meanwhile_keeps_both_texts(folder: Path) -> None:
    def edit(draft: Path) -> None:
        typed("Wait.", "Mine.")(draft)
        (folder / "agent.md").write_text(AGENT_MD.replace("Wait.", "Theirs."))

    with pytest.raises(BusyError):
        edit_definition(folder, KNOWN, edit)
    assert "Theirs." in (folder / "agent.md").read_text()
    assert "Mine." in (folder / DRAFT_NAME).read_text()


def test_an_editor_that_fails_loses_nothing_that_was_typed(folder: Path) -> None:
    def edit(draft: Path) -> None:
        typed("Wait.", "Half a th")(draft)
        raise InvalidInput("EDITOR: ended with 1")

    with pytest.raises(InvalidInput):
        edit_definition(folder, KNOWN, edit)
    assert (folder / "agent.md").read_text() == AGENT_MD
    assert "Half a th" in (folder / DRAFT_NAME).read_text()


def test_pinned_lines_are_added_under_what_a_person_wrote_and_never_beyond_what_a_prompt_shows(folder: Path) -> None:
    pinned = Pinned(folder)
    assert pinned.read() == ""
    pinned.add("flat before\nCPI")
    pinned.path.write_text(f"My rules\n\n{pinned.read()}")
    pinned.add("small on Sundays")
    assert pinned.read() == "My rules\n\n- flat before CPI\n- small on Sundays"
    with pytest.raises(InvalidInput, match=f"a prompt shows {MOST}"):
        pinned.add("x" * MOST)
    with pytest.raises(InvalidInput, match="needs words"):
        pinned.add(" \n")
    assert pinned.read() == "My rules\n\n- flat before CPI\n- small on Sundays"
