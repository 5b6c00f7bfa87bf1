"""Setting one value of config.yml: every other byte of the file stays, comments and layout included."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tradeagent.agents.definition import Scalar
from tradeagent.agents.head_text import flow_text
from tradeagent.domain.errors import InvalidConfig
from tradeagent.workspace.yaml_text import read_yaml


def value_text(value: Scalar) -> str:
    """A value as YAML writes it, on one line, good inside brackets too; `parse_value` reads it back."""
    return flow_text(value)


def parse_value(text: str) -> Scalar:
    """The inverse of `value_text`. Raises InvalidConfig for any other text."""
    found: Scalar = read_yaml(f"value: {text}", Path("value")).values["value"]
    return found


def set_value(text: str, key: str, value: Scalar, file: Path) -> str:
    """`text` with `key: value`, in the place of the old value or at the end.

    Raises InvalidConfig when the text is not YAML, or laid out so that the change cannot be made without touching anything else.
    """
    wanted = {**read_yaml(text, file).values, key: value}
    after = _edited(text, key, value_text(value))
    try:
        done = read_yaml(after, file).values == wanted
    except InvalidConfig:
        done = False
    if not done:
        raise InvalidConfig(
            f"{file}: {key} cannot be changed in this layout",
            hint=f"write `{key}: {value_text(value)}` into {file.name} yourself",
            details={"file": str(file), "field": key},
        )
    return after


def _edited(text: str, key: str, written: str) -> str:
    end = "\r\n" if "\r\n" in text else "\n"
    root = _Root(text)
    if root.first is None:
        return f"{text}{'' if not text or text.endswith(end) else end}{key}: {written}{end}"
    if key in root.values:
        start, stop, is_block = root.values[key]
        old = text[start:stop]
        blank = (old[len(old.rstrip()) :] or end) if is_block else ""  # a block ends after the blank lines that follow it
        return text[:start] + written + blank + text[stop:]
    if root.closes_at is not None:
        comma = ", " if root.values else ""
        return f"{text[: root.closes_at]}{comma}{key}: {written}{text[root.closes_at :]}"
    return f"{text}{'' if text.endswith(end) else end}{' ' * root.column}{key}: {written}{end}"


class _Root:
    """Where the top-level scalars of a mapping stand in its text."""

    def __init__(self, text: str) -> None:
        from ruamel.yaml import YAML

        self.first: int | None = None
        self.column = 0
        self.closes_at: int | None = None
        self.values: dict[str, tuple[int, int, bool]] = {}
        events = iter(YAML(typ="rt", pure=True).parse(text))
        for event in events:
            if type(event).__name__ == "MappingStartEvent":
                self._read(event, events)
                return

    def _read(self, root: Any, events: Iterator[Any]) -> None:
        while type(key := next(events)).__name__ != "MappingEndEvent":
            if self.first is None:
                self.first, self.column = key.start_mark.index, key.start_mark.column
            value = next(events)
            if type(value).__name__ == "ScalarEvent":
                self.values[str(key.value)] = (value.start_mark.index, value.end_mark.index, value.style in ("|", ">"))
            else:
                _skip(events)
        if root.flow_style:
            self.first = root.start_mark.index if self.first is None else self.first
            self.closes_at = key.start_mark.index


def _skip(events: Iterator[Any]) -> None:
    """Read to the end of a mapping or list that has just begun."""
    depth = 1
    while depth:
        name = type(next(events)).__name__
        depth += name.endswith("StartEvent")
        depth -= name.endswith("EndEvent")
