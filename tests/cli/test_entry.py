"""Command lines that name a group and no command: what there is, or one line that says how to go on."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
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


def test_an_error_that_nobody_reads_is_told_on_stderr_all_the_same(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tradeagent", "status", "--json", "--workspace", str(tmp_path / "none")]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.returncode == 4 and "Traceback" not in done.stderr and "does not exist" in done.stderr
