"""The text of a draft: keys of its YAML written anew, everything else left as it stands."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tradeagent.algos.edit import Plain, drop_empty, edited_yaml, put
from tradeagent.workspace.front_matter import FENCE
from tradeagent.workspace.yaml_text import read_yaml

Change = tuple[tuple[str, ...], Plain]


def changed_front(text: str, changes: Sequence[Change], body: str | None = None) -> str:
    """A text with front matter after `changes`; `body` replaces what stands below it."""
    lines = text.removeprefix("\ufeff").split("\n")
    end = next(number for number, line in enumerate(lines[1:], 1) if line.rstrip() == FENCE)
    head = changed_yaml("\n".join([*lines[1:end], ""]), changes)
    below = "\n".join(lines[end + 1 :]).lstrip("\n") if body is None else f"{body.strip()}\n"
    return f"{FENCE}\n{head}{FENCE}\n\n{below}"


def changed_yaml(text: str, changes: Sequence[Change]) -> str:
    """A YAML text after `changes`; None takes a key away, and with it a section that is empty then. InvalidConfig for what is no YAML."""
    if not changes:
        return text
    read_yaml(text, Path("draft"))

    def change(document: dict[str, Any]) -> None:
        for path, value in changes:
            put(document, path, value)
        for path, value in changes:
            if value is None and len(path) > 1:
                drop_empty(document, path[:-1])

    return edited_yaml(text, change)
