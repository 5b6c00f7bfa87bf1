"""Text from outside as data in a prompt: named by its origin, cut to size, without what nobody sees, unable to close its envelope.

The line grammar of prompts is documented where it is read back, in `tradeagent.llm.offline.context`.
"""

import json
import re
from functools import lru_cache

from tradeagent.workspace.plain_text import visible

_HALF_PAIR = re.compile("[\ud800-\udfff]")
_HEADING = re.compile(r"^[ \t]{0,3}#{1,2}(?=\s)", re.MULTILINE)
_ENVELOPE = re.compile(r"<(?=\s*/?\s*untrusted)", re.IGNORECASE)
_CUT_MARK = re.compile(r"^\[cut", re.MULTILINE)
_BARE = re.compile(r"[^\s\"=\\]+")
_ORIGIN_SHOWN = 60


def untrusted(origin: str, text: str, limit: int) -> str:
    """Outside text between tags that name its origin, at most `limit` characters of it, unable to close them early."""
    shown = free_text(text[:limit])
    if len(text) > limit:
        shown += f"… ({len(text) - limit} characters more)"
    return f"<untrusted origin={quoted(one_line(origin)[:_ORIGIN_SHOWN])}>\n{shown}\n</untrusted>"


@lru_cache(maxsize=512)
def free_text(text: str) -> str:
    """A person's or agent's text that cannot open a section, an envelope or a cut note of the prompt: headings move to `###`."""
    harmless = _HEADING.sub("###", visible(_HALF_PAIR.sub("\ufffd", text)).strip())
    return _CUT_MARK.sub("(cut", _ENVELOPE.sub("‹", harmless))


@lru_cache(maxsize=1024)
def one_line(text: str) -> str:
    """Free text on one line."""
    return " ".join(free_text(text).split())


def quoted(text: str) -> str:
    """A record's value: bare when it has no blanks or quotes, else a JSON string."""
    return text if _BARE.fullmatch(text) else json.dumps(text, ensure_ascii=False)
