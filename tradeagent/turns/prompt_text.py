"""Text that enters a prompt: made harmless, put in records, and cut to a budget with a visible note.

The line grammar is documented where it is read back, in `tradeagent.llm.offline.context`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache

from tradeagent.domain.clock import to_datetime
from tradeagent.domain.money import plain

CHARACTERS_PER_TOKEN = 4
_NOTE_RESERVE = 48
_HEADING = re.compile(r"^[ \t]{0,3}#{1,2}(?=\s)", re.MULTILINE)
_ENVELOPE = re.compile(r"<(?=\s*/?\s*untrusted)", re.IGNORECASE)
_CUT_MARK = re.compile(r"^\[cut", re.MULTILINE)
_BARE = re.compile(r"[^\s\"=\\]+")
# control characters but newline and tab, soft hyphen, zero-width, bidirectional controls, line separators, tags, byte order mark
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]")

Value = str | int | Decimal | bool | None


def visible(text: str) -> str:
    """The text without control, zero-width and direction-changing characters; carriage returns become newlines."""
    return _INVISIBLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


@lru_cache(maxsize=512)
def free_text(text: str) -> str:
    """A person's or agent's text that cannot open a section, an envelope or a cut note of the prompt: headings move to `###`."""
    harmless = _HEADING.sub("###", visible(text).strip())
    return _CUT_MARK.sub("(cut", _ENVELOPE.sub("‹", harmless))


@lru_cache(maxsize=1024)
def one_line(text: str) -> str:
    """Free text on one line."""
    return " ".join(free_text(text).split())


def enveloped(origin: str, text: str, limit: int) -> str:
    """Outside text between tags that name its origin, at most `limit` characters, unable to close them early."""
    shown = free_text(text[:limit])
    if len(text) > limit:
        shown += f"… ({len(text) - limit} characters more)"
    return f"<untrusted origin={quoted(one_line(origin)[:60])}>\n{shown}\n</untrusted>"


def quoted(text: str) -> str:
    """A record's value: bare when it has no blanks or quotes, else a JSON string."""
    return text if _BARE.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def value_text(value: Value, missing: str = "unknown") -> str:
    """`0.5`, `yes`, `none`: numbers plain, None as `missing`."""
    if value is None:
        return missing
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        return plain(value)
    return quoted(one_line(value)) if isinstance(value, str) else str(value)


def record(pairs: Mapping[str, Value]) -> str:
    """`key=value key="two words"` on one line; None shows as unknown."""
    return " ".join(f"{key}={value_text(value)}" for key, value in pairs.items())


def signed(value: Decimal | None) -> str:
    """`+0.15`, `-2`, `unknown`."""
    if value is None:
        return "unknown"
    return f"+{plain(value)}" if value > 0 else plain(value)


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
