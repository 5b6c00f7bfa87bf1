"""Writing YAML heads: one `key: value` line per fact, values as JSON flow, which strict YAML reads back unchanged."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off"})
_NOT_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_quoted = json.JSONEncoder(ensure_ascii=False).encode
_HALF_PAIR = re.compile("[\ud800-\udfff]")


def head_lines(facts: Mapping[str, Any]) -> str:
    """Lines for a mapping of text, int, Decimal, bool, None, lists and mappings of these; keys are plain words."""
    return "".join(f"{key}: {_value(value)}\n" for key, value in facts.items())


def _value(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return flow_text(value)


def flow_text(value: Any) -> str:
    """A value as JSON flow, on one line: texts are quoted."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_text(str(key))}: {flow_text(below)}" for key, below in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(flow_text(below) for below in value) + "]"
    if isinstance(value, Decimal):
        return f"{value:f}"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(value: str) -> str:
    quoted = _quoted(_HALF_PAIR.sub("\ufffd", value))
    return _NOT_YAML.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)
