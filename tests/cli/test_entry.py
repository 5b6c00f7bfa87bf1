"""Command lines that name a group and no command: what there is, or one line that says how to go on."""

from collections.abc import Callable
from typing import Any

import pytest

from tradeagent.cli.app import tree

LISTS = ("drafts", "incidents", "jobs", "sessions", "skills", "wallet")


@pytest.mark.parametrize("group", LISTS)
def test_a_group_alone_lists_what_there_is(ask: Callable[..., tuple[int, Any]], group: str) -> None:
    code, rows = ask(group)
    assert code == 0 and isinstance(rows, list)
    assert group == "incidents" or ask(group, "list") == (code, rows)


@pytest.mark.parametrize("group", sorted(name for name, command in tree().commands.items() if command.no_args_is_help and command.commands))
def test_any_other_group_alone_is_one_line_with_its_commands(ask: Callable[..., tuple[int, Any]], group: str) -> None:
    code, answer = ask(group)
    error = answer["error"]
    assert (code, error["code"], error["hint"]) == (2, "invalid_input", f"see `tradeagent {group} --help`")
    assert error["message"] == f"tradeagent {group}: name one of its commands: {', '.join(tree().commands[group].commands)}"
