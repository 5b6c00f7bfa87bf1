"""Versions of an agent: what a comparison says, and what giving a folder an older version leaves alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_place import AGENT_MD, CONFIG_YML, AgentPlace, made

from tradeagent.agents import versions as versions_module
from tradeagent.agents.versions import Side, changes, finish_restore, folder_side, restore, unified, version_side
from tradeagent.domain.errors import BusyError, NotFound, RefusedError
from tradeagent.domain.names import EventKind
from tradeagent.ledger import events, notes

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[AgentPlace]:
    found = made(tmp_path)
    yield found
    found.ledger.close()


def test_a_diff_reads_as_people_read_diffs() -> None:
    after = AGENT_MD.replace("max_single_order_quote: 80", "max_single_order_quote: 90").replace("Wait.", "Wait longer.\nThen go.")
    old, new = Side(3, AGENT_MD, ""), Side(None, after, CONFIG_YML)
    assert "\n".join(unified(old, new).values()) + "\n" == (GOLDEN / "agent_diff.txt").read_text()
    assert [change.in_short for change in changes(old, new)] == [
        "limits.max_single_order_quote 80 → 90",
        "agent.md body",
        "risk_per_trade_pct – → 0.2",
    ]


def test_equal_sides_differ_in_nothing_and_a_comment_is_layout() -> None:
    side = Side(1, AGENT_MD, CONFIG_YML)
    assert changes(side, side) == [] and unified(side, side) == {}
    only = changes(side, Side(2, AGENT_MD.replace("# free", "# costs nothing"), CONFIG_YML))
    assert [(change.file, change.key) for change in only] == [("agent.md", "layout")]


def test_a_file_that_is_not_yaml_differs_as_a_text() -> None:
    found = changes(Side(1, AGENT_MD, CONFIG_YML), Side(None, "half", "a: [\n"))
    assert ("agent.md", "text", "half") in [(change.file, change.key, change.new) for change in found]
    assert ("config.yml", "text", "a: [\n") in [(change.file, change.key, change.new) for change in found]


def test_a_restore_gives_both_files_back_to_the_letter_and_leaves_the_rest(place: AgentPlace) -> None:
    (place.folder / "learnings.md").write_text("mine\n")
    place.edit("config.yml", "0.2", "0.3")
    assert place.save() == 2
    done = restore(place.ledger, place.clock, place.folder, 1, is_sure=False)
    assert (done["version"], done["kept"]) == (3, None)
    assert [change.in_short for change in done["changes"]] == ["risk_per_trade_pct 0.3 → 0.2"]
    assert (place.folder / "agent.md").read_text() == AGENT_MD and place.config == CONFIG_YML
    assert (place.folder / "learnings.md").read_text() == "mine\n"
    with place.ledger.reading() as tx:
        assert next((row["version"], row["note"]) for row in notes.versions(tx, "btc")) == (3, "restored from 1")
        assert events.read(tx, kinds=(EventKind.CONFIG_CHANGED.value,))[0]["data"] == {"agent": "btc", "restored": 1, "version": 3}


def test_a_restore_over_unsaved_edits_asks_and_keeps_them(place: AgentPlace) -> None:
    place.edit("agent.md", "Wait.", "an hour of work")
    edited = folder_side(place.folder)
    with pytest.raises(RefusedError, match="edits that no version holds"):
        restore(place.ledger, place.clock, place.folder, 1, is_sure=False)
    assert folder_side(place.folder) == edited
    done = restore(place.ledger, place.clock, place.folder, 1, is_sure=True)
    assert done["kept"] == 2 and done["version"] == 3
    kept = version_side(place.ledger, "btc", 2)
    assert (kept.agent_md, kept.config_yml) == (edited.agent_md, edited.config_yml)


def test_a_broken_folder_can_be_restored(place: AgentPlace) -> None:
    (place.folder / "agent.md").write_text("not an agent any more")
    assert restore(place.ledger, place.clock, place.folder, 1, is_sure=True)["kept"] == 2
    assert place.agent.definition.name == "A"


def test_other_limits_ask_even_when_nothing_is_unsaved(place: AgentPlace) -> None:
    place.edit("agent.md", "max_single_order_quote: 80", "max_single_order_quote: 20")
    place.save()
    with pytest.raises(RefusedError) as error:
        restore(place.ledger, place.clock, place.folder, 1, is_sure=False)
    assert error.value.details == {"unsaved": False, "limits": ["limits.max_single_order_quote 20 → 80"]}
    assert place.agent.limits.number("max_single_order_quote") == 20


def test_a_version_that_is_not_there_says_which_are(place: AgentPlace) -> None:
    with pytest.raises(NotFound) as error:
        restore(place.ledger, place.clock, place.folder, 9, is_sure=True)
    assert "no version 9 of btc" in error.value.message and "there are 1 to 1" in error.value.hint


def test_an_edit_while_restoring_stays(place: AgentPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    place.edit("agent.md", "Wait.", "first edit")
    seen = versions_module.folder_side

    def edited_behind_its_back(folder: Path) -> Side:
        side = seen(folder)
        (folder / "agent.md").write_text("a save in this very moment")
        return side

    monkeypatch.setattr(versions_module, "folder_side", edited_behind_its_back)
    with pytest.raises(BusyError, match="edited meanwhile"):
        restore(place.ledger, place.clock, place.folder, 1, is_sure=True)
    monkeypatch.undo()
    finish_restore(place.ledger, place.clock, place.folder)
    assert (place.folder / "agent.md").read_text() == "a save in this very moment"
    finish_restore(place.ledger, place.clock, place.folder)
    with place.ledger.reading() as tx:
        assert all("restored" not in row["note"] for row in notes.versions(tx, "btc"))
