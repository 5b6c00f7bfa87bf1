"""Text that enters a prompt: made harmless, put in records, and cut to a budget with a visible note.

The line grammar is documented where it is read back, in `tradeagent.llm.offline.context`.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache

from tradeagent.domain.clock import to_datetime
from tradeagent.execution.caps import shown
from tradeagent.llm.untrusted import one_line, quoted

CHARACTERS_PER_TOKEN = 4
_NOTE_RESERVE = 48

Value = str | int | Decimal | bool | None


def value_text(value: Value, missing: str = "unknown") -> str:
    """`0.5`, `yes`, `none`: numbers plain and with at most six decimals, None as `missing`."""
    if value is None:
        return missing
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        return shown(value)
    return quoted(one_line(value)) if isinstance(value, str) else str(value)


def record(pairs: Mapping[str, Value]) -> str:
    """`key=value key="two words"` on one line; None shows as unknown."""
    return " ".join(f"{key}={value_text(value)}" for key, value in pairs.items())


def signed(value: Decimal | None) -> str:
    """`+0.15`, `-2`, `unknown`."""
    if value is None:
        return "unknown"
    text = shown(value)
    return f"+{text}" if value > 0 and text != "0" else text


@lru_cache(maxsize=1024)
def stamp(ms: int | None) -> str:
    """`2026-11-20T12:05Z`, or `unknown`."""
    return "unknown" if ms is None else to_datetime(ms).strftime("%Y-%m-%dT%H:%MZ")


def cut_head(text: str, tokens: int) -> tuple[str, int]:
    """Keep the beginning, whole lines where possible; returns the text with its note and the characters left out (0 = all fits)."""
    limit = tokens * CHARACTERS_PER_TOKEN
    if len(text) <= limit:
        return text, 0
    room = max(0, limit - _NOTE_RESERVE)
    end = text.rfind("\n", 0, room + 1)
    kept = text[: end if end > room // 2 else room]
    cut = len(text) - len(kept)
    return f"{kept}\n[cut: the last {cut} characters left out]", cut


def cut_oldest(lines: Sequence[str], tokens: int, what: str) -> tuple[str, int]:
    """Keep the last lines, oldest first; returns the text with a note on top and the characters left out."""
    limit = tokens * CHARACTERS_PER_TOKEN
    if sum(map(len, lines)) + len(lines) - 1 <= limit:
        return "\n".join(lines), 0
    room, start = limit - _NOTE_RESERVE, len(lines)
    while start > 0 and len(lines[start - 1]) + 1 <= room:
        start -= 1
        room -= len(lines[start]) + 1
    cut = sum(len(line) + 1 for line in lines[:start])
    return "\n".join([f"[cut: the oldest {start} of {len(lines)} {what} left out]", *lines[start:]]), cut
