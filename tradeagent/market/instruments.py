"""What can be traded without asking a venue: size decimals and margin tiers of liquid Hyperliquid perpetuals.

Facts of the venue's `meta` answer (mainnet). A market that is not here is added in config.yml.
"""

import difflib
from collections.abc import Mapping
from decimal import Decimal

from tradeagent.domain.errors import InvalidConfig, NotFound, UnknownKey
from tradeagent.domain.instrument import PERP_PRICE_DECIMALS, Instrument, MarginTier
from tradeagent.workspace.names import check_market

HYPERLIQUID = "hyperliquid"
SYNTHETIC = "synthetic"
_MAX_LEVERAGE = 100
_KEYS = ("size_decimals", "max_leverage")

# Margin tables by name: (lower bound of notional in USDC, max leverage).
_TIERS: dict[str, tuple[tuple[int, int], ...]] = {
    "3x": ((0, 3),),
    "5x": ((0, 5),),
    "10x": ((0, 10), (3_000_000, 5)),
    "10x2": ((0, 10), (20_000_000, 5)),
    "20x": ((0, 20), (40_000_000, 10)),
    "20x2": ((0, 20), (70_000_000, 10)),
    "25x": ((0, 25), (100_000_000, 15)),
    "40x": ((0, 40), (150_000_000, 20)),
}

# symbol:size decimals, by margin table.
_MARKETS = {
    "40x": "BTC:5",
    "25x": "ETH:4",
    "20x2": "SOL:2",
    "20x": "XRP:0",
    "10x2": (
        "HYPE:2 FARTCOIN:1 DOGE:0 AVAX:2 LINK:1 SUI:1 kPEPE:0 ADA:0 LTC:2 BCH:3 APT:2 NEAR:1 TIA:1 AAVE:2 UNI:1 CRV:1 "
        "ENA:0 WIF:0 WLD:1 kBONK:0 TRUMP:1 POPCAT:0"
    ),
    "10x": "BNB:3 TRX:0 ARB:1 OP:1 SEI:0 INJ:1 DOT:1 LDO:1 JUP:0 ONDO:0 kSHIB:0 TON:1",
    "5x": "ATOM:2 TAO:3 FIL:1 POL:0 S:0 PAXG:3 PUMP:0 XLM:0 HBAR:0 VIRTUAL:1",
    "3x": "IP:1 PURR:0",
}
_TABLE = {
    symbol: (int(decimals), table)
    for table, listed in _MARKETS.items()
    for symbol, decimals in (entry.split(":") for entry in listed.split())
}


def instrument(venue: str, symbol: str, extra: Mapping[str, Mapping[str, object]] | None = None) -> Instrument:
    """The instrument of `symbol`, from `extra` (the `instruments` section of config.yml) or the built-in table.

    The grid belongs to the symbol: bars of another venue are rounded to it. A synthetic market has the grid of BTC.
    Raises NotFound with the nearest names, InvalidConfig or UnknownKey for a bad entry of `extra`.
    """
    if extra is not None and symbol in extra:
        return _configured(venue, symbol, extra[symbol])
    row = _TABLE.get(symbol) or (_TABLE["BTC"] if venue == SYNTHETIC else None)
    if row is None:
        raise _unknown(symbol, extra or {})
    decimals, table = row
    return Instrument(venue, symbol, decimals, tuple(MarginTier(Decimal(bound), leverage) for bound, leverage in _TIERS[table]))


def known_markets() -> tuple[str, ...]:
    """Symbols of the built-in table, the most liquid first."""
    return tuple(_TABLE)


def _configured(venue: str, symbol: str, entry: Mapping[str, object]) -> Instrument:
    field = f"instruments.{check_market(symbol, 'instruments')}"
    hint = f"write {field}: {{size_decimals: 3, max_leverage: 10}} in config.yml"
    unknown = sorted(set(entry) - set(_KEYS))
    if unknown:
        raise UnknownKey(f"{field}.{unknown[0]} is not a setting", hint=hint)
    decimals = _whole(entry, field, "size_decimals", 0, PERP_PRICE_DECIMALS, hint)
    leverage = _whole(entry, field, "max_leverage", 1, _MAX_LEVERAGE, hint)
    return Instrument(venue, symbol, decimals, (MarginTier(Decimal(0), leverage),))


def _whole(entry: Mapping[str, object], field: str, key: str, low: int, high: int, hint: str) -> int:
    value = entry.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidConfig(f"{field}.{key}: {value!r} is not a whole number from {low} to {high}", hint=hint)
    return value


def _unknown(symbol: str, extra: Mapping[str, object]) -> NotFound:
    names = {name.lower(): name for name in (*_TABLE, *extra)}
    near = [names[found] for found in difflib.get_close_matches(symbol.lower(), names, n=3, cutoff=0.5)]
    suggestion = f"did you mean {' or '.join(near)}? " if near else ""
    return NotFound(
        f"market: {symbol!r} is not known",
        hint=f"{suggestion}a market that is not built in is added in config.yml: "
        f"instruments.{symbol}: {{size_decimals: 3, max_leverage: 10}}",
        details={"nearest": near},
    )
