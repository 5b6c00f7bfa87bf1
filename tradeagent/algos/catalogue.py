"""The algos that come with the product: built-ins, which run by name, and templates, which are copied and changed."""

import functools
from collections.abc import Mapping
from importlib.resources import files

from tradeagent.domain.errors import NotFound, near

BUILT_INS = ("sma_cross", "rsi_reversal", "breakout")
TEMPLATES = ("dual_rsi", "rsi_bollinger", "supertrend", "donchian_turtle", "funding_carry")


@functools.cache
def texts() -> Mapping[str, str]:
    """YAML of every built-in and template by name."""
    folder = files("tradeagent.algos") / "library"
    return {name: (folder / f"{name}.yml").read_text(encoding="utf-8") for name in (*BUILT_INS, *TEMPLATES)}


def template_text(template: str, name: str) -> str:
    """The text of a built-in or template as the algo `name`. Raises NotFound with the nearest."""
    text = texts().get(template)
    if text is None:
        raise NotFound(f"no template {template!r}", hint=near(template, texts()))
    return text.replace(f"\nname: {template}\n", f"\nname: {name}\n", 1)


def description(text: str) -> str:
    """What the first comment line of an algo says about it; empty without one."""
    first = text.lstrip().split("\n", 1)[0]
    return first.lstrip("# ").strip() if first.startswith("#") else ""
