"""Reading a checked value out of a YAML document: each thing that is wrong becomes a `Problem` with its line and its fix, all in one go."""

from collections.abc import Collection
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

from tradeagent.domain.errors import near
from tradeagent.workspace.problems import Problem, dotted
from tradeagent.workspace.yaml_text import KeyPath, YamlDocument

Choice = TypeVar("Choice", bound=StrEnum)


@dataclass(slots=True)
class Fields:
    """The values of one document. A wrong value is noted in `problems` and its default is given instead."""

    document: YamlDocument
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, path: KeyPath, message: str, hint: str) -> None:
        self.problems.append(Problem(path, f"{dotted(path)}: {message}" if path else message, hint))

    def has_problem(self, path: KeyPath) -> bool:
        """Whether something at or below a path was wrong."""
        return any(problem.path[: len(path)] == path for problem in self.problems)

    def get(self, path: KeyPath) -> Any:
        """The plain value at a path, None when it is not written."""
        value: Any = self.document.values
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def section(self, path: KeyPath, known: Collection[str] | None, example: str) -> dict[str, Any]:
        """A section of `key: value` lines, empty when absent; `known` None takes any key."""
        value = self.get(path)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.wrong(path, f"must be a section of `key: value`, not {shown(value)}", f"write {example}")
            return {}
        for key in value:
            if known is not None and key not in known:
                here = (*path, key)
                self.problems.append(Problem(here, f"unknown key {dotted(here)!r}", near(key, known), is_unknown_key=True))
        return value

    def text(self, path: KeyPath, default: str, example: str) -> str:
        value = self.get(path)
        if value is None:
            return default
        if not isinstance(value, str) or not value.strip():
            self.wrong(path, f"must be a text, not {shown(value)}", f"write {example}")
            return default
        return value

    def flag(self, path: KeyPath) -> bool:
        """true or false; false when absent."""
        value = self.get(path)
        if value is not None and not isinstance(value, bool):
            self.wrong(path, f"must be true or false, not {shown(value)}", f"write {path[-1]}: true")
            return False
        return bool(value)

    def number(
        self, path: KeyPath, default: Decimal, *, above: int | None = None, least: int | None = None, most: int | None = None
    ) -> Decimal:
        """A number: more than `above`, at least `least`, at most `most`."""
        value = self.get(path)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
            self.wrong(path, f"must be a number, not {shown(value)}", f"write {path[-1]}: {default}")
            return default
        too_low = (above is not None and value <= above) or (least is not None and value < least)
        if too_low or (most is not None and value > most):
            lower = f"above {above}" if above is not None else f"at least {least}" if least is not None else ""
            upper = f"at most {most:,}" if most is not None else ""
            self.wrong(path, f"{value} is out of range", f"write a number {' and '.join(filter(None, (lower, upper)))}")
            return default
        return Decimal(value)

    def whole(self, path: KeyPath, default: int, least: int, most: int) -> int:
        value = self.get(path)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            self.wrong(path, f"must be a whole number, not {shown(value)}", f"write {path[-1]}: {default}")
            return default
        return int(self.number(path, Decimal(default), least=least, most=most))

    def choice(self, path: KeyPath, kinds: type[Choice], default: Choice) -> Choice:
        value = self.get(path)
        if value is None:
            return default
        if value not in list(kinds):
            self.wrong(path, f"{shown(value)} is not allowed", near(str(value), kinds))
            return default
        return kinds(value)

    def lines(self, path: KeyPath) -> tuple[str, ...]:
        """A list of texts; one text counts as a list of one."""
        value = self.get(path)
        if value is None:
            return ()
        items = value if isinstance(value, list) else [value]
        for index, item in enumerate(items):
            if not isinstance(item, str) or not item.strip():
                here = (*path, index) if isinstance(value, list) else path
                self.wrong(here, f"must be a condition, not {shown(item)}", f'write {path[-1]}: ["rsi < 30"]')
        return tuple(item for item in items if isinstance(item, str) and item.strip())


def shown(value: object) -> str:
    """A value as it may stand in a message: short."""
    text = "nothing" if value is None else repr(str(value)) if isinstance(value, (str, Decimal)) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
