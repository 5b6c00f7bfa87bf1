"""Reading kinds, importance and symbols out of words: what a headline or a calendar entry is about, by fixed lists and no model."""

import re
from collections.abc import Iterable

from tradeagent.market.event_store import FROM_NEWS, KINDS, CalendarEvent, NewsItem
from tradeagent.market.instruments import known_markets

MAX_TITLE = 300
MAX_SUMMARY = 4_000
# In the order in which they are tried: the first that fits is the kind.
_WORDS: tuple[tuple[str, str], ...] = (
    ("fomc", r"fomc|federal open market|fed (rate|interest|funds|decision|meeting|hikes?|cuts?|holds?)|powell (speaks|speech|testi)"),
    ("ppi", r"\bppi\b|producer price"),
    ("pce", r"\bpce\b|personal consumption expenditure"),
    ("cpi", r"\bcpi\b|consumer price|inflation (rate|report|data)"),
    ("jobless_claims", r"(jobless|unemployment|initial) claims"),
    ("nfp", r"non-?\s?farm|\bnfp\b|payrolls"),
    ("gdp", r"\bgdp\b|gross domestic product"),
    ("ecb_rate", r"\becb\b.*(rate|decision|policy|meeting)|european central bank"),
    ("boe_rate", r"\bboe\b.*(rate|decision|policy|meeting)|bank of england"),
    ("boj_rate", r"\bboj\b.*(rate|decision|policy|meeting)|bank of japan"),
    ("halving", r"\bhalving\b"),
    ("crypto_unlock", r"token unlock|unlocks? .*tokens|vesting (cliff|unlock)"),
    ("exchange_listing", r"\b(will list|to list|lists|listing of|delist(s|ing)?)\b"),
    ("mainnet_launch", r"mainnet (launch|goes live|release|is live)|launch(es)? (its )?mainnet"),
    (
        "regulatory",
        r"\bsec\b.*(sues?|charges?|lawsuit|approves?|rejects?|etf)|\bcftc\b|\bmica\b|regulat(or|ion|ory)|\bban(s|ned)? (crypto|bitcoin)",
    ),
    ("earnings", r"\bearnings\b|quarterly results|q[1-4] results"),
)
_PATTERNS = tuple((kind, re.compile(words, re.IGNORECASE)) for kind, words in _WORDS)
_IMPACTS = {"high": 0.9, "red": 0.9, "medium": 0.5, "moderate": 0.5, "orange": 0.5, "low": 0.2, "yellow": 0.2, "holiday": 0.1, "none": 0.0}
_NAMES = {
    "bitcoin": "BTC",
    "ethereum": "ETH",
    "ether": "ETH",
    "solana": "SOL",
    "ripple": "XRP",
    "dogecoin": "DOGE",
    "cardano": "ADA",
    "avalanche": "AVAX",
    "litecoin": "LTC",
    "chainlink": "LINK",
    "hyperliquid": "HYPE",
    "fartcoin": "FARTCOIN",
    "aave": "AAVE",
    "uniswap": "UNI",
    "toncoin": "TON",
}
# Tickers that are words of their own, or short, are believed only as `$WORD` or `WORD/USD`.
_ALSO_WORDS = frozenset(("LINK", "NEAR", "TRUMP", "DOT", "HYPE", "PUMP", "VIRTUAL", "POPCAT", "PEOPLE", "BONK"))
_TICKERS = {symbol.removeprefix("k") if symbol[:1] == "k" else symbol: symbol for symbol in known_markets()}
_CASHTAG = re.compile(r"\$([A-Za-z][A-Za-z0-9]{1,9})\b|\b([A-Z][A-Z0-9]{1,9})(?:/|-)(?:USDC?T?|USD|PERP)\b")
_WORD = re.compile(r"\b[A-Za-z][A-Za-z0-9]+\b")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_TAG = re.compile(r"<[^>]{0,2000}>")


def plain_text(text: object, longest: int) -> str:
    """Text from outside as one line: no markup, no control or direction characters, at most `longest` characters."""
    import html

    raw = str(text or "")[: 4 * longest + 1000]
    return " ".join(_CONTROL.sub(" ", html.unescape(_TAG.sub(" ", raw))).split())[:longest]


def kind_of(text: str) -> str | None:
    """The kind of event a text speaks of, None when it speaks of none."""
    return next((kind for kind, pattern in _PATTERNS if pattern.search(text)), None)


def importance_of(written: object, kind: str) -> float | None:
    """Importance as a calendar writes it: 0–1, `High`, `Medium`, `Low`; the kind's own when it says nothing; None when it is neither."""
    text = str(written if written is not None else "").strip().lower()
    if not text:
        return KINDS[kind]
    if text in _IMPACTS:
        return _IMPACTS[text]
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number <= 1 else None


def symbols_of(text: str) -> tuple[str, ...]:
    """Markets a text names: by a coin's name, by ticker, or by `$TICKER` where the ticker is also a word."""
    found = {_NAMES[word] for word in map(str.lower, _WORD.findall(text)) if word in _NAMES}
    words = (word for word in _WORD.findall(text) if len(word) > 2)
    found |= {_TICKERS[word] for word in words if word in _TICKERS and word not in _ALSO_WORDS}
    tags = (tag.upper() for pair in _CASHTAG.findall(text) for tag in pair)
    found |= {_TICKERS[tag] for tag in tags if tag in _TICKERS}
    return tuple(sorted(found))


def listed(symbols: object) -> tuple[str, ...]:
    """Symbols as a file writes them, a list or text with commas, semicolons or spaces between; case is kept."""
    parts: Iterable[object] = symbols if isinstance(symbols, (list, tuple)) else re.split(r"[,;\s]+", str(symbols or ""))
    return tuple(sorted({plain_text(part, 30) for part in parts if str(part).strip()}))


def event_in(item: NewsItem) -> CalendarEvent | None:
    """The event a report is about, at the time it was published; None when its headline speaks of none."""
    kind = kind_of(item.title)
    if kind is None:
        return None
    return CalendarEvent(kind, item.published, item.title, KINDS[kind], item.symbols, f"{FROM_NEWS}{item.source}")
