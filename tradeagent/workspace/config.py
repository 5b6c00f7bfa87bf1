"""Settings of a workspace: flags over environment over config.yml over defaults, and every value knows where it came from."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tradeagent.domain.errors import InvalidConfig, TradeAgentError, UnknownKey
from tradeagent.domain.limits import resolve_limits
from tradeagent.domain.names import LimitKind
from tradeagent.workspace.files import read_text
from tradeagent.workspace.settings import SETTINGS, Value, is_section, parse_setting, setting_of, split_key, unknown_key
from tradeagent.workspace.yaml_text import YamlDocument, read_yaml

PREFIX = "TRADEAGENT_"
KeyNames = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """Resolved settings by key path. Keys that hold a name of the user's are there only when written."""

    values: Mapping[KeyNames, Value]
    origin: Mapping[KeyNames, str]

    def get(self, key: str) -> Value:
        """Value of a key without user names, for example `paper.path`; KeyError for a key that is no setting."""
        return self.values[tuple(key.split("."))]

    def decimal(self, key: str) -> Decimal:
        value = self.get(key)
        if not isinstance(value, Decimal):
            raise TypeError(f"{key} is no decimal")
        return value

    def whole(self, key: str) -> int:
        value = self.get(key)
        if not isinstance(value, int):
            raise TypeError(f"{key} is no whole number")
        return value

    def flag(self, key: str) -> bool:
        return self.get(key) is True

    def text(self, key: str) -> str | None:
        value = self.get(key)
        return value if isinstance(value, str) else None

    def section(self, *path: str) -> dict[str, Value]:
        """What is written directly under a path: `section("models", "openai/x")`, `section("ceilings", "paper")`."""
        return {key[-1]: value for key, value in self.values.items() if key[:-1] == path}

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """`(key, value as text, origin)` of every setting, for `config show`; a password in an address is masked."""
        for path, value in self.values.items():
            yield ".".join(path), shown(value, path), self.origin[path]


def shown(value: Value, path: KeyNames) -> str:
    """A value as `config show` prints it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f"{value:f}" if isinstance(value, Decimal) else str(value)
    setting = setting_of(path)
    return re.sub(r"(//[^/@:]*):[^/@]*@", r"\1:***@", text) if setting and setting.is_private else text


def load_config(file: Path, env: Mapping[str, str], flags: Mapping[str, str] | None = None) -> Config:
    """Read and check all sources; `flags` maps dotted keys to text. A missing file means defaults.

    Raises UnknownKey or InvalidConfig naming source, line, key and the nearest key or the fix.
    """
    try:
        text = read_text(file)
    except FileNotFoundError:
        text = ""
    return resolve_config(read_yaml(text, file), env, flags or {})


def resolve_config(document: YamlDocument, env: Mapping[str, str], flags: Mapping[str, str]) -> Config:
    """`load_config` of a text already parsed."""
    values: dict[KeyNames, Value] = {setting.segments: setting.default for setting in SETTINGS if not setting.is_map}
    origin = dict.fromkeys(values, "default")
    written = [*_from_file(document), *_from_env(env)]
    written += [(split_key(key), raw, "flag") for key, raw in flags.items()]
    for path, raw, source in written:
        setting = setting_of(path)
        if setting is None:
            raise unknown_key(path, source, document.line_of(path))
        try:
            values[path] = parse_setting(setting, raw, path)
        except (InvalidConfig, UnknownKey) as error:
            raise _placed(error, path, source, document) from None
        origin[path] = source
    config = Config(values, origin)
    _check_limits(config, document)
    return config


def _from_file(document: YamlDocument) -> Iterator[tuple[KeyNames, Any, str]]:
    pending: list[tuple[KeyNames, Any]] = [((key,), value) for key, value in document.values.items()]
    while pending:
        path, value = pending.pop(0)
        if isinstance(value, dict) and (value or is_section(path)):
            pending[:0] = [((*path, key), below) for key, below in value.items()]
        elif value is None and is_section(path):
            continue
        elif setting_of(path) is None and is_section(path):
            where = document.place(path)
            raise InvalidConfig(
                f"{where}: {'.'.join(path)} is a section, not a value",
                hint=f"write the keys of {path[-1]} indented below it",
                details={"file": str(document.file), "line": document.line_of(path), "field": ".".join(path)},
            )
        else:
            yield path, value, document.place(path)


def _from_env(env: Mapping[str, str]) -> Iterator[tuple[KeyNames, str, str]]:
    for name, raw in env.items():
        words = tuple(name[len(PREFIX) :].split("__"))
        if not name.startswith(PREFIX) or not raw:
            continue
        path = _env_path(words)
        if path is not None:
            yield path, raw, f"env {name}"
        elif len(words) > 1:
            raise unknown_key(tuple(word.lower() for word in words), f"env {name}")


def _env_path(words: KeyNames) -> KeyNames | None:
    """Key path of `PAPER__CASH`; names of the user's keep their case, limits and fixed parts do not need it."""
    for setting in SETTINGS:
        names = setting.segments
        if len(names) == len(words) and all(n == w.lower() or n.startswith("<") for n, w in zip(names, words, strict=True)):
            return tuple(w if n in ("<id>", "<symbol>", "<variable>") else w.lower() for n, w in zip(names, words, strict=True))
    return None


def _check_limits(config: Config, document: YamlDocument) -> None:
    """Limits against each other and their ceilings, so that a wrong file is an error now and not at the first order."""
    ceilings = config.section("ceilings", "paper")
    for kind, name in ((LimitKind.ENGINE, "engine"), (LimitKind.MANUAL, "manual")):
        path = (name, "limits")
        try:
            resolve_limits(kind, config.section(*path), ceilings=ceilings, where=".".join(path))
        except InvalidConfig as error:
            where = (*path, str(error.details.get("key", "")))
            raise _placed(error, where, config.origin.get(where, document.file.name), document) from None


def _placed(error: TradeAgentError, path: KeyNames, source: str, document: YamlDocument) -> TradeAgentError:
    """The same error with its source in front and file, line and field in the details."""
    details: dict[str, Any] = {**error.details, "field": ".".join(path), "source": source}
    if source.startswith(document.file.name):
        details |= {"file": str(document.file), "line": document.line_of(path)}
    return type(error)(f"{source}: {error.message}", hint=error.hint, details=details)
