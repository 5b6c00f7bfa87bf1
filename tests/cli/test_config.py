"""`config set` as typed: what it answers is what `config show` says, and every change is in the audit feed without a secret."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SECRET = "hunter2-canary-51aa"
Ask = Callable[..., Any]


def changes(ask: Ask) -> list[dict[str, Any]]:
    code, rows = ask("audit", "--kind", "config.changed")
    assert code == 0
    return [row["data"] for row in rows]


@pytest.mark.parametrize(
    ("key", "typed"),
    [
        ("live.enabled", "true"),
        ("paper.cash", "750.50"),
        ("snapshots.keep", "7"),
        ("fills.volume_cap", "none"),
        ("paper.path", "nearest"),
        ("models.openai/x.base_url", "http://localhost:8000/v1"),
    ],
)
def test_what_is_set_is_what_is_shown(ask: Ask, key: str, typed: str) -> None:
    code, told = ask("config", "set", key, typed)
    assert code == 0
    assert told["value"] == ask("config", "show")[1][key]


def test_each_change_is_in_the_audit_with_what_it_was_before(ask: Ask, root: Path) -> None:
    for value in ("true", "false"):
        assert ask("config", "set", "live.enabled", value)[0] == 0
    assert ask("config", "set", "assistant.model", "offline/assistant")[0] == 0
    assert ask("config", "set", "paper.cash", "much")[0] == 2
    assert changes(ask) == [
        {"key": "live.enabled", "old": "false", "new": "true"},
        {"key": "live.enabled", "old": "true", "new": "false"},
        {"key": "assistant.model", "old": "offline/assistant", "new": "offline/assistant"},
    ]
    [first, *_] = ask("audit", "--kind", "config.changed")[1]
    assert (first["actor"], first["subject"]) == ("manual", "live.enabled")


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("models.openai/x.api_key", "env:MY_KEY", "env:MY_KEY"),
        ("news.feeds.private", f"https://example.com/feeds/{SECRET}/rss?token={SECRET}", "https://example.com"),
        ("ledger.url", f"postgresql://me:{SECRET}@host/db", "postgresql://host"),
        ("mcp_servers.out.command", f"serve --token {SECRET}", "(33 characters)"),
        ("calendar.sources.mine", f"https://me:{SECRET}@example.com", "(42 characters)"),
        ("memory.embedding_model", "sk-0123456789abcdef", "<key>"),
    ],
)
def test_a_value_that_may_hold_a_key_is_not_kept_in_the_audit(ask: Ask, key: str, value: str, kept: str) -> None:
    for old in (None, kept):
        assert ask("config", "set", key, value)[0] == 0
        assert changes(ask)[-1] == {"key": key, "old": old, "new": kept}


def test_a_key_that_was_pasted_and_is_replaced_is_not_kept_either(ask: Ask, root: Path) -> None:
    (root / "config.yml").write_text(f"models:\n  openai/x:\n    api_key: {SECRET}\n")
    assert ask("config", "set", "models.openai/x.api_key", "env:MY_KEY")[0] == 0
    assert changes(ask) == [{"key": "models.openai/x.api_key", "old": None, "new": "env:MY_KEY"}]
