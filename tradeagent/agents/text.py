"""Small texts of the agent's files: one line out of anything, money with sign, a cut that says so."""

import re
from decimal import ROUND_HALF_EVEN, Decimal

UNKNOWN = "unknown"
_BREAKING = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")


def one_line(text: str, limit: int = 400) -> str:
    """One line without control or direction characters, at most `limit` characters."""
    line = _BREAKING.sub(" ", text).strip()
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def cell(text: str, limit: int = 200) -> str:
    """`one_line` for a line whose parts are separated by ` | `."""
    return one_line(text, limit).replace("|", "/")


def dollars(value: Decimal | None) -> str:
    """`$1,240.00`, `-$3.10`; None is `unknown`. Rounded half-even to cents for reading."""
    if value is None:
        return UNKNOWN
    cents = value.quantize(Decimal("0.01"), rounding=ROUND_HALF_EVEN)
    return f"{'-' if cents < 0 else ''}${abs(cents):,.2f}"


def signed_dollars(value: Decimal | None) -> str:
    """`+$12.40`, `-$3.10`, `+$0.00`; None is `unknown`."""
    text = dollars(value)
    return text if text == UNKNOWN or text.startswith("-") else f"+{text}"


def parse_dollars(text: str) -> Decimal | None:
    """The inverse of both; `unknown` is None. Raises ValueError for anything else."""
    if text == UNKNOWN:
        return None
    match = re.fullmatch(r"([+-]?)\$([0-9,]+\.[0-9]{2})", text)
    if match is None:
        raise ValueError(f"{text!r} is no amount")
    return Decimal(match[1] + match[2].replace(",", ""))
