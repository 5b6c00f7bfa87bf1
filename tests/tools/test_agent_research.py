"""What an agent is offered beside market and trading, and that nothing of it reaches out."""

import pytest
from pydantic import ValidationError

from tradeagent.tools.notifications import MAX_TEXT, SendNotification
from tradeagent.tools.registry import FAMILIES, TOOLS, tools_for
from tradeagent.tools.routines import RunRoutine


def test_the_families_an_agent_may_name_hold_what_they_say() -> None:
    assert FAMILIES["routines"] == ("list_routines", "run_routine")
    assert FAMILIES["notifications"] == ("send_notification",)
    assert FAMILIES["research"] == ("get_news", "search_news", "get_upcoming_events")
    assert "write_note" in FAMILIES["journal"]


def test_without_asking_an_agent_neither_runs_code_nor_talks_to_the_outside() -> None:
    default = {tool.name for tool in tools_for((), entries_barred=False)}
    assert not default & {*FAMILIES["routines"], *FAMILIES["notifications"], *FAMILIES["research"]}
    assert not {"web_fetch", "search_social"} & set(TOOLS), "no address of an agent's choice is ever asked"


def test_barred_entries_leave_the_helpers() -> None:
    names = {tool.name for tool in tools_for(("routines", "notifications", "propose_order"), entries_barred=True)}
    assert names == {*FAMILIES["routines"], *FAMILIES["notifications"]}


@pytest.mark.parametrize(
    "wrong", [{"text": ""}, {"text": "x" * (MAX_TEXT + 1)}, {"text": "x", "level": "critical"}, {"text": "x", "to": "you"}]
)
def test_a_word_to_the_user_is_bounded(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        SendNotification.model_validate(wrong)


@pytest.mark.parametrize("wrong", [{"name": "x", "bars": 0}, {"name": "x", "bars": 10**6}, {"name": ""}, {"name": "x", "wallet": "w"}])
def test_a_run_is_bounded(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RunRoutine.model_validate(wrong)
