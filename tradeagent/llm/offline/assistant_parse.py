"""What a sentence says about markets, intervals, spans, numbers and names, without understanding the rest of it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from tradeagent.market.instruments import known_markets

# Names people use in lower case without meaning an English word.
_SPOKEN = {
    "bitcoin": "BTC", "btc": "BTC", "ethereum": "ETH", "ether": "ETH", "eth": "ETH", "solana": "SOL", "sol": "SOL", "ripple": "XRP",
    "xrp": "XRP", "dogecoin": "DOGE", "doge": "DOGE", "cardano": "ADA", "ada": "ADA", "avalanche": "AVAX", "avax": "AVAX",
    "hyperliquid": "HYPE", "hype": "HYPE", "litecoin": "LTC", "ltc": "LTC", "chainlink": "LINK", "bnb": "BNB", "sui": "SUI",
    "aave": "AAVE", "arbitrum": "ARB", "arb": "ARB", "polkadot": "DOT", "tron": "TRX",
}  # fmt: skip
# Ways to say an algorithm that comes with the product; the more special ones first.
_ALGO_WORDS = (
    (r"dual[ _-]rsi|two rsi", "dual_rsi"),
    (r"bollinger", "rsi_bollinger"),
    (r"super ?trend", "supertrend"),
    (r"donchian|turtle", "donchian_turtle"),
    (r"funding carry|carry trade|\bcarry\b", "funding_carry"),
    (r"break-?out", "breakout"),
    (r"moving averages?|ma cross|\bsma\b|\bema\b|cross-?over|golden cross", "sma_cross"),
    (r"\brsi\b|oversold|overbought|mean reversion", "rsi_reversal"),
)
_UNITS = {"m": "m", "min": "m", "minute": "m", "h": "h", "hr": "h", "hour": "h", "d": "d", "day": "d"}
_INTERVAL = re.compile(r"(?<![\w.])(\d{1,2})[ -]?(m|min|minute|h|hr|hour|d|day)s?\b", re.IGNORECASE)
_BACK = re.compile(
    r"\b(?:last|past|previous|newest)\s+(\d{1,4}|a|one|two|three|six|twelve)?\s*(day|week|month|quarter|year)s?\b", re.IGNORECASE
)
_COUNTS = {"a": 1, "one": 1, "two": 2, "three": 3, "six": 6, "twelve": 12}
_DAYS = {"day": 1, "week": 7, "month": 30, "quarter": 91, "year": 365}
_DATE = r"\d{4}-\d\d-\d\d|\d{4}-\d\d(?!\d)"
_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december")
_MONTH = rf"(?:{'|'.join(f'{name[:3]}(?:{name[3:]})?' for name in _MONTHS)})\.?\s+\d{{4}}"
_START = re.compile(rf"\b(?:from|since|after|between|start(?:ing)?)[ =:]*({_DATE}|{_MONTH})", re.IGNORECASE)
_END = re.compile(rf"\b(?:to|until|till|and|before|end(?:ing)?|-)[ =:]*({_DATE}|{_MONTH})", re.IGNORECASE)
_YEAR = re.compile(r"\b(?:in|of|during|over|for)\s+(20\d\d)\b(?!-)")
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_-]{0,47}"
_SAVE_AS = re.compile(rf"\b(?:as|under|named|called|name it|call it)\s+[\"'`“]?({_NAME})[\"'`”]?", re.IGNORECASE)
_FILLER = frozenset({"a", "an", "the", "it", "this", "that", "new", "agent", "algo", "draft", "called", "named"})
# Lines that an oscillator crosses, by the name that a template gives them.
_LINES = (
    ("oversold", re.compile(r"\b(?:(?:is|drops?|falls?|goes)\s+)?(?:below|under|less than)\s+(\d+(?:\.\d+)?)|<=?\s*(\d+(?:\.\d+)?)")),
    ("overbought", re.compile(r"\b(?:(?:is|rises?|goes)\s+)?(?:above|over|more than)\s+(\d+(?:\.\d+)?)|>=?\s*(\d+(?:\.\d+)?)")),
)
_CLAUSE = re.compile(r"[,;]|\.\s|\b(?:and|with|that|which|when|if|then|but|while)\b", re.IGNORECASE)
_RULELESS = re.compile(
    r"an?|the|its?|on|of|in|for|to|at|is|me|my|please|by|from|us(?:e|ing)|should|must|buys?|sells?|long|short|go(?:es)?|algo(?:rithm)?"
    r"|strategy|rsi|sma|ema|markets?|bars?|candles?|breakouts?|cross(?:es)?|hourly|daily",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Span:
    """Which bars: ISO dates, or so many days before the newest bar."""

    start: str | None = None
    end: str | None = None
    back_days: int | None = None


def market_in(text: str) -> str | None:
    """The first market that is named: a known symbol, a spoken name, or whatever is in capitals after `on`."""
    known = set(known_markets()) - {"S"}
    words: list[str] = re.findall(r"[A-Za-z][A-Za-z0-9:]*", text)
    for word in words:
        if word in known:
            return word
        if word.lower() in _SPOKEN:
            return _SPOKEN[word.lower()]
    found = re.search(r"\b(?:on|of|for)\s+([A-Z][A-Z0-9:]{1,19})\b", text)
    return found[1] if found and found[1] not in ("RSI", "SMA", "EMA", "CV", "PNL", "ATR", "UTC", "MACD", "PBO") else None


def interval_in(text: str) -> str | None:
    """`4h` from `4 hour bars`; a number of days that says how far back is none."""
    without_spans = _BACK.sub(" ", text)
    if found := _INTERVAL.search(without_spans):
        return f"{int(found[1])}{_UNITS[found[2].lower()]}"
    words = without_spans.lower()
    return "1h" if "hourly" in words else "1d" if re.search(r"\bdaily\b(?! loss)", words) else None


def span_in(text: str) -> Span:
    """The dates or the length of time that are named."""
    start, end = _START.search(text), _END.search(text)
    if start or end:
        return Span(_iso(start[1]) if start else None, _iso(end[1]) if end else None)
    if back := _BACK.search(text):
        count = (back[1] or "1").lower()
        return Span(back_days=(_COUNTS.get(count) or int(count)) * _DAYS[back[2].lower()])
    if year := _YEAR.search(text):
        return Span(f"{year[1]}-01-01", f"{int(year[1]) + 1}-01-01")
    return Span()


def days_before(instant: str, days: int) -> str:
    """The day so many days before an ISO-8601 instant."""
    return (date.fromisoformat(instant[:10]) - timedelta(days=days)).isoformat()


def algo_in(text: str, names: Iterable[str] = ()) -> str | None:
    """A name that is written, the longest first, with its version; else what the words describe."""
    for name in sorted(names, key=len, reverse=True):
        if found := re.search(rf"(?<![\w-]){re.escape(name)}(@\d+)?(?![\w-])", text):
            return name + (found[1] or "")
    lowered = text.lower()
    if snake := re.search(r"(?<![\w.])[a-z0-9]+(?:_[a-z0-9]+)+(?:@\d+)?(?![\w.=])", lowered):
        return snake[0]
    return next((algo for pattern, algo in _ALGO_WORDS if re.search(pattern, lowered)), None)


def values_in(text: str, names: Iterable[str]) -> dict[str, str]:
    """`fast 10`, `fast=10` for each name; `20/50` gives the first two of `fast` and `slow`."""
    names = list(names)
    found: dict[str, str] = {}
    for name in names:
        if match := re.search(
            rf"(?<![\w.]){re.escape(name)}\s*(?:=|:|of|is|at|to)?\s*(-?\d+(?:\.\d+)?)(?![\d./-]|\s*(?:to|-|:)\s*\d)", text
        ):
            found[name] = match[1]
    if not found and {"fast", "slow"} <= set(names) and (pair := re.search(r"\b(\d{1,3})\s*/\s*(\d{1,4})\b", text)):
        found = {"fast": pair[1], "slow": pair[2]}
    return found


def lines_in(text: str, names: Iterable[str]) -> dict[str, str]:
    """`rsi below 30`, `> 70` as the lines of an algorithm that has them; a line that is named twice is none."""
    found: dict[str, str] = {}
    for name, pattern in _LINES:
        stated = pattern.findall(text) if name in names else []
        if len(stated) == 1:
            found[name] = stated[0][0] or stated[0][1]
    return found


def not_taken(text: str, values: Mapping[str, str]) -> list[str]:
    """The parts of a sentence after its first in which something is neither a market, an interval, a name nor one of the values taken."""
    left = _INTERVAL.sub(" ", _SAVE_AS.sub(" ", text))
    for name, value in values.items():
        line = dict(_LINES).get(name)
        left = (line or re.compile(rf"{re.escape(name)}\W+(?:\w+\s+)?{value}")).sub(" ", left)
    head, *rest = (" ".join(part.split()).strip(" .") for part in _CLAUSE.split(left))
    found = [part for part in rest if any(_says_more(word) for word in part.split())]
    return ([head] if re.search(r"\d", head) else []) + found


def _says_more(word: str) -> bool:
    bare = word.strip(".,!?")
    return bool(bare) and _RULELESS.fullmatch(bare) is None and market_in(bare) is None


def ranges_in(text: str, names: Iterable[str]) -> dict[str, str]:
    """`fast 5 to 20 step 5`, `fast=5:20:5`, `fast 5-20` as `LOW:HIGH[:STEP]` for each name."""
    number = r"(\d+(?:\.\d+)?)"
    found: dict[str, str] = {}
    for name in names:
        stated = rf"(?<![\w.]){re.escape(name)}\s*(?:=|from|between)?\s*"
        pattern = rf"{stated}{number}\s*(?:to|and|-|:|\.\.)\s*{number}(?:\s*(?:step|by|:)\s*{number})?"
        if match := re.search(pattern, text):
            found[name] = ":".join(part for part in match.groups() if part)
    return found


def whole_in(text: str, word: str) -> int | None:
    """The number before or after a word: `50 trials`, `folds 4`."""
    match = re.search(rf"(\d{{1,5}})\s+{word}|{word}\w*\s*[=:]?\s*(\d{{1,5}})", text, re.IGNORECASE)
    return int(match[1] or match[2]) if match else None


def amount_in(text: str, words: str) -> str | None:
    """The number beside one of some words: `5000 cash`, `leverage 3`, `3x`."""
    match = re.search(
        rf"(?:{words})\s*(?:of|=|:)?\s*\$?(\d+(?:\.\d+)?)|\$?(\d+(?:\.\d+)?)\s*(?:usdc|usd|dollars)?\s*(?:{words})", text, re.IGNORECASE
    )
    return (match[1] or match[2]) if match else None


def name_in(text: str) -> str | None:
    """The name after `as`, `called`, `named`."""
    return next((match[1] for match in _SAVE_AS.finditer(text) if match[1].lower() not in _FILLER), None)


def word_after(text: str, words: str) -> str | None:
    """The name after one of some words: `wallet systematic`, `wallet called systematic`."""
    match = re.search(rf"\b(?:{words})\s+(?:(?:called|named)\s+)?[\"'`]?({_NAME})", text, re.IGNORECASE)
    return match[1] if match and match[1].lower() not in _FILLER else None


def _iso(text: str) -> str:
    """A date as it is, `2025-03` and `March 2025` as their first day."""
    if re.fullmatch(r"\d{4}-\d\d", text):
        return f"{text}-01"
    if text[0].isdigit():
        return text
    month, year = text.replace(".", " ").split()
    number = next(index for index, name in enumerate(_MONTHS, 1) if name.startswith(month.lower()[:3]))
    return f"{year}-{number:02d}-01"


def as_json_value(text: str) -> int | str:
    """A whole number as such, any other as text, so that a decimal stays exact."""
    return int(text) if re.fullmatch(r"-?\d+", text) else text
