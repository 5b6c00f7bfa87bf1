"""Strict YAML 1.2: plain values with the line of every key; what a person could misread is an error with file and line.

Numbers with a fraction become `Decimal`, so that no float enters the money path. Anchors, aliases, tags, several
documents, duplicate keys and tabs are refused. Scalars follow the core schema: `yes`, dates and times stay text.
"""

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from tradeagent.domain.errors import InvalidConfig

MAX_CHARACTERS = 256 * 1024
MAX_DEPTH = 20
_INT = re.compile(r"[-+]?[0-9]{1,30}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF|nan|NaN|NAN)")
_WORDS: Mapping[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """A mapping as plain dicts, lists, str, int, Decimal, bool and None; `lines` maps each key path to its 1-based line."""

    file: Path
    values: dict[str, Any]
    lines: Mapping[KeyPath, int]

    def line_of(self, path: KeyPath) -> int | None:
        """Line of a key path, or of the nearest parent that is written."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[:-1]
        return None

    def place(self, path: KeyPath) -> str:
        """`config.yml:12`, or only the file name when the key is not written."""
        line = self.line_of(path)
        return self.file.name if line is None else f"{self.file.name}:{line}"


def read_yaml(text: str, file: Path, *, first_line: int = 1) -> YamlDocument:
    """Parse a mapping; an empty text is an empty mapping. `first_line` is where `text` begins in the file.

    Raises InvalidConfig with file, line and, for a wrong key, its name; the message never repeats a value.
    """
    try:
        values, lines = _parsed(text, first_line)
    except _MistakeError as mistake:
        details = {"file": str(file), "line": mistake.line} | ({"field": mistake.key} if mistake.key else {})
        raise InvalidConfig(f"{file}:{mistake.line}: {mistake.problem}", hint=mistake.hint, details=details) from None
    return YamlDocument(file, deepcopy(values), lines)


@dataclass(eq=False)
class _MistakeError(Exception):
    """What is wrong on a line of the file, whichever that is."""

    line: int
    problem: str
    hint: str
    key: str | None


@lru_cache(maxsize=32)
def _parsed(text: str, first_line: int) -> tuple[dict[str, Any], Mapping[KeyPath, int]]:
    """Values and lines of a text. They are kept: every tick and command reads files that seldom changed since the last one."""
    reader = _Reader(first_line)
    if len(text) > MAX_CHARACTERS:
        reader.fail(1, f"the file has over {MAX_CHARACTERS // 1024} KiB", "keep long texts in files of their own")
    for number, line in enumerate(text.split("\n"), 1):
        if "\t" in line[: len(line) - len(line.lstrip())]:
            reader.fail(number, "a tab in the indentation", "indent with spaces")
    return reader.values(text), reader.lines


@dataclass(slots=True)
class _Reader:
    """Walks the parser's events and builds values; `lines` grows as keys are met."""

    first_line: int
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def values(self, text: str) -> dict[str, Any]:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError
        from ruamel.yaml.reader import ReaderError

        try:
            return self._root(iter(YAML(typ="safe", pure=True).parse(text)))
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self.fail(mark.line + 1 if mark else 1, str(error.problem or error.context), "check colons, quotes and brackets near this line")
        except ReaderError as error:
            line = text[: error.position].count("\n") + 1
            self.fail(line, "a control character that YAML forbids", "delete it or write it as an escape in double quotes")
        except YAMLError as error:
            self.fail(1, str(error).split("\n")[0], "check the YAML")

    def _root(self, events: Iterator[Any]) -> dict[str, Any]:
        next(events)
        event = next(events)
        if type(event).__name__ == "StreamEndEvent":
            return {}
        value = self._value(next(events), events, ())
        next(events)
        after = next(events)
        if type(after).__name__ != "StreamEndEvent":
            self.fail(after.start_mark.line + 1, "a second document", "remove the `---` line")
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.fail(1, "not a list of `key: value` lines", "write `key: value`")
        return value

    def _value(self, event: Any, events: Iterator[Any], path: KeyPath) -> Any:
        line = event.start_mark.line + 1
        kind = type(event).__name__
        if kind == "AliasEvent" or event.anchor is not None:
            self.fail(line, "anchors and aliases (& and *) are not used here", "write the value out; quote a text that begins with & or *")
        if event.tag is not None:
            self.fail(line, "tags (!) are not used here", "quote a text that begins with !")
        if len(path) > MAX_DEPTH:
            self.fail(line, f"nested deeper than {MAX_DEPTH} levels", "flatten it")
        if kind == "MappingStartEvent":
            return self._mapping(events, path)
        if kind == "SequenceStartEvent":
            return self._sequence(events, path)
        return self._scalar(event, line)

    def _mapping(self, events: Iterator[Any], path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while type(event := next(events)).__name__ != "MappingEndEvent":
            line = event.start_mark.line + 1
            if type(event).__name__ != "ScalarEvent":
                self.fail(line, "a key must be a plain word", "write `key: value`")
            self._value(event, events, path)
            key = str(event.value)
            if key in found:
                self.fail(line, f"duplicate key {key!r}, first on line {self.lines[(*path, key)]}", "keep one of them", key=key)
            self.lines[(*path, key)] = line + self.first_line - 1
            found[key] = self._value(next(events), events, (*path, key))
        return found

    def _sequence(self, events: Iterator[Any], path: KeyPath) -> list[Any]:
        found: list[Any] = []
        while type(event := next(events)).__name__ != "SequenceEndEvent":
            here = (*path, len(found))
            self.lines[here] = event.start_mark.line + self.first_line
            found.append(self._value(event, events, here))
        return found

    def _scalar(self, event: Any, line: int) -> Any:
        text = str(event.value)
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            self.fail(line, "half of a surrogate pair", "write the character itself instead of \\u escapes")
        if event.style is not None:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INT.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return Decimal(text)
        if _NOT_FINITE.fullmatch(text):
            self.fail(line, "not a finite number", "write a number, or null for none")
        return text

    def fail(self, line: int, problem: str, hint: str, key: str | None = None) -> NoReturn:
        """`line` counts from the start of the parsed text."""
        raise _MistakeError(line + self.first_line - 1, problem, hint, key)
