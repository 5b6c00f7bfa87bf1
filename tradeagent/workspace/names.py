"""Names that become folders and files: slugs of agents and algorithms, wallets. Anything else is refused with the nearest valid name."""

import re
import unicodedata

from tradeagent.domain.errors import InvalidInput

SLUG = re.compile(r"[a-z0-9_]{1,48}")
WALLET = re.compile(r"[a-z0-9_-]{1,48}")
MARKET = re.compile(r"[A-Za-z0-9@][A-Za-z0-9@:._/-]{0,39}")


def check_slug(text: str, field: str = "name") -> str:
    """`text` when it is a slug (`[a-z0-9_]{1,48}`). Raises InvalidInput with the nearest slug in the hint."""
    if SLUG.fullmatch(text):
        return text
    raise _refused(text, field, "a-z, 0-9 and _", slug_of(text))


def check_wallet(text: str, field: str = "wallet") -> str:
    """`text` when it is a wallet name (`[a-z0-9_-]{1,48}`). Raises InvalidInput with the nearest name in the hint."""
    if WALLET.fullmatch(text):
        return text
    raise _refused(text, field, "a-z, 0-9, _ and -", _squeeze(text, "a-z0-9_-"))


def check_market(text: str, field: str = "market") -> str:
    """`text` when it may name a market or a venue: a model reads such names, so they hold no blanks, tags or lines. Raises InvalidInput."""
    if MARKET.fullmatch(text):
        return text
    raise _refused(text, field, "letters, digits and @ : . _ / -", "", 40)


def slug_of(name: str) -> str:
    """The slug of a display name: `BTC momentum` → `btc_momentum`; empty when no letter or digit is left."""
    return _squeeze(name, "a-z0-9_")


def _squeeze(text: str, allowed: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub("_{2,}", "_", re.sub(f"[^{allowed}]+", "_", plain)).strip("_")[:48].rstrip("_")


def _refused(text: str, field: str, letters: str, near: str, most: int = 48) -> InvalidInput:
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    return InvalidInput(
        f"{field}: {shown!r} is not a name of 1 to {most} characters from {letters}",
        hint=f"try {near!r}" if near else f"use {letters}",
        details={"field": field},
    )
