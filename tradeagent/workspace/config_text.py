"""Texts made from the table of settings (example file, reference), and edits of config.yml that keep its comments."""

import io
import re
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from tradeagent.domain.errors import BusyError, InvalidConfig, UnknownKey
from tradeagent.domain.money import plain
from tradeagent.workspace.config import load_config, resolve_config, shown
from tradeagent.workspace.files import content_hash, read_settled, try_replace
from tradeagent.workspace.settings import SETTINGS, Setting, Value, limit_names, parse_setting, setting_of, split_key, unknown_key
from tradeagent.workspace.yaml_text import read_yaml

EXAMPLE_NAMES = {"<id>": "openai/my-model", "<symbol>": "BTC", "<limit>": "max_leverage", "<name>": "my_source"}
EXAMPLE_NAMES |= {"<server>": "time", "<variable>": "TZ", "<header>": "Authorization"}
_PLAIN_TEXTS = ("assistant.model", "memory.embedding_model", "web.allowed_hosts", "mcp_servers.<server>.tools")
HEADER = """\
# Settings of a TradeAgent workspace, all at their defaults. Made by `tradeagent config`, from the table of settings.
# Precedence: command line flags > environment (TRADEAGENT_PAPER__CASH) > config.yml > defaults.
# `tradeagent config show --origin` says where each value comes from.
"""


def set_value(file: Path, key: str, text: str) -> Value:
    """Write one setting into config.yml, keeping everything else as it is, and return the value as understood.

    Raises UnknownKey or InvalidConfig before anything is written, BusyError when the file is edited meanwhile.
    """
    path = split_key(key)
    setting = setting_of(path)
    if setting is None:
        raise unknown_key(path, "setting")
    value = parse_setting(setting, None if text in ("null", "none") and setting.kind != "text" else text, path)
    try:
        before = read_settled(file)
    except FileNotFoundError:
        before, expected = "", None
    else:
        expected = content_hash(before)
        read_yaml(before, file)
    after = _edited(before, path, value)
    resolve_config(read_yaml(after, file), {}, {})
    if try_replace(file, expected, after, durable=True) is None:
        raise BusyError(f"{file} was edited at the same moment", hint=f"repeat: tradeagent config set {key} …", details={"file": str(file)})
    return value


def written_value(file: Path, key: str) -> Value:
    """What config.yml says of one setting now, or its default; None where it cannot be read. UnknownKey when there is no such setting."""
    path = split_key(key)
    try:
        return load_config(file, {}).values.get(path)
    except (InvalidConfig, UnknownKey):
        return None


def recorded(value: Value, path: tuple[str, ...]) -> str:
    """A value as the event feed keeps it: of an address its host, of a free text its length, since either may hold a key."""
    setting = setting_of(path)
    if value is None or setting is None or setting.kind not in ("text", "url") or setting.key in _PLAIN_TEXTS:
        return shown(value, path)
    host = re.match(r"([a-z0-9+]+://)(?:[^/@]*@)?([^/?#]*)", str(value))
    return f"{host[1]}{host[2]}" if host and setting.kind == "url" else f"({len(str(value))} characters)"


@cache
def render_example() -> str:
    """The documented `config.example.yml`: fixed keys at their defaults, the rest as comments; it loads as it is."""
    lines = [HEADER.rstrip()]
    open_sections: tuple[str, ...] = ()
    for setting in SETTINGS:
        path = tuple(EXAMPLE_NAMES.get(part, part) for part in setting.segments)
        if path[:1] != open_sections[:1]:
            lines.append("")
        off = "# " if setting.is_map or setting.default is None else ""
        for depth, name in enumerate(path[:-1]):
            if path[: depth + 1] != open_sections[: depth + 1]:
                lines.append(f"{'  ' * depth}{'# ' if off and _only_maps(path[: depth + 1]) else ''}{name}:")
        open_sections = path[:-1]
        value = setting.example if off else shown(setting.default, path)
        lines.append(f"{'  ' * (len(path) - 1)}{off}{path[-1]}: {value}  # {setting.meaning}")
    return "\n".join(lines) + "\n"


def render_reference() -> str:
    """A markdown table of every setting, for the documentation."""
    rows = ["| key | type | default | environment | meaning |", "|---|---|---|---|---|"]
    for setting in SETTINGS:
        default = "" if setting.default is None else f"`{shown(setting.default, setting.segments)}`"
        rows.append(f"| `{setting.key}` | {setting.kind} | {default} | {_variable(setting)} | {setting.meaning} |")
    return "\n".join(rows) + f"\n\n`<limit>` is one of: {limit_names()}.\n"


def _variable(setting: Setting) -> str:
    return "" if "<id>" in setting.key else f"`TRADEAGENT_{setting.key.upper().replace('.', '__')}`"


def _only_maps(prefix: tuple[str, ...]) -> bool:
    """Whether nothing live stands below this section of the example."""
    below = [s for s in SETTINGS if tuple(EXAMPLE_NAMES.get(p, p) for p in s.segments)[: len(prefix)] == prefix]
    return all(setting.is_map or setting.default is None for setting in below)


def _edited(before: str, path: tuple[str, ...], value: Value) -> str:
    """The text with one key changed, by a round trip that keeps comments, order and quotes."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap

    yaml = YAML(typ="rt", pure=True)
    yaml.preserve_quotes = True
    yaml.width = 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    loaded = yaml.load(before)
    root: Any = CommentedMap() if loaded is None else loaded
    node = root
    for name in path[:-1]:
        if not isinstance(node.get(name), CommentedMap):
            node[name] = CommentedMap()
        node = node[name]
    node[path[-1]] = _yaml_scalar(yaml, value)
    out = io.StringIO()
    yaml.dump(root, out)
    # A file of comments alone loads as nothing: its text is kept in front.
    return (before if loaded is None and before.strip() else "") + out.getvalue()


def _yaml_scalar(yaml: Any, value: Value) -> Any:
    if isinstance(value, Decimal):
        return yaml.load(plain(value))
    if isinstance(value, str) and "\n" in value:
        from ruamel.yaml.scalarstring import LiteralScalarString

        return LiteralScalarString(value)
    return value
