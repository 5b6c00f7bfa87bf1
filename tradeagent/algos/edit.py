"""Changing one part of an algo's YAML; comments, order and everything else of the text stay."""

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from io import StringIO
from typing import Any

from tradeagent.algos.spec import AlgoSpec
from tradeagent.domain.errors import InvalidInput

Plain = Mapping[str, Any] | Sequence[Any] | str | int | Decimal | bool | None
_WIDE = 4_096
_WORD = re.compile(r"[a-z][a-z0-9_]*")
_MEANS_ELSE = ("true", "false", "null")


def edited(spec: AlgoSpec, change: Callable[[dict[str, Any]], None]) -> str:
    """The text of an algo after `change` has worked on its mapping. InvalidInput for an algorithm that is a Python file."""
    if spec.text == spec.python:
        raise InvalidInput(
            f"algo: {spec.name} is a Python algorithm, its rules are in its code",
            hint="save another text with create_algorithm",
            details={"field": "algo"},
        )
    return edited_yaml(spec.text, change)


def edited_yaml(text: str, change: Callable[[dict[str, Any]], None]) -> str:
    """A YAML mapping after `change` has worked on it; an empty one has no text."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap

    yaml = YAML(typ="rt", pure=True)
    yaml.preserve_quotes = True
    yaml.width = _WIDE
    document = yaml.load(text)
    if document is None:
        document = CommentedMap()
    change(document)
    if not document:
        return ""
    written = StringIO()
    yaml.dump(document, written)
    return written.getvalue()


def put(document: dict[str, Any], path: Sequence[str], value: Plain) -> None:
    """Write `value` at a path, on one line; None removes what is there. Sections on the way are made."""
    from ruamel.yaml.comments import CommentedMap

    *sections, key = path
    for name in sections:
        below = document.get(name)
        if below is None:
            below = document[name] = CommentedMap()
        if not isinstance(below, dict):
            raise InvalidInput(f"{'.'.join(path)}: {name} is no section in this algo", hint="show_algorithm shows its text")
        document = below
    if value is None:
        document.pop(key, None)
    else:
        document[key] = _in_flow(value)


def drop_empty(document: dict[str, Any], path: Sequence[str]) -> None:
    """Remove a section that holds nothing any more."""
    *sections, key = path
    for name in sections:
        document = document.get(name) or {}
    if document.get(key) == {}:
        del document[key]


def _in_flow(value: Plain) -> Any:
    """A value as ruamel writes it on one line; a text that is more than a word in quotes."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if isinstance(value, Mapping):
        section = CommentedMap((key, _in_flow(each)) for key, each in value.items())
        section.fa.set_flow_style()
        return section
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, str):
        return value if _WORD.fullmatch(value) and value not in _MEANS_ELSE else DoubleQuotedScalarString(value)
    if isinstance(value, Sequence):
        listed = CommentedSeq(_in_flow(each) for each in value)
        listed.fa.set_flow_style()
        return listed
    return value
