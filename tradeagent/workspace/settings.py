"""The table of settings: one row per key of config.yml. Validation, `config show`, the example file and the reference follow from it."""

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from tradeagent.domain.errors import InvalidConfig, InvalidInput, UnknownKey
from tradeagent.domain.limits import SPECS, parse_limit
from tradeagent.domain.money import parse_decimal
from tradeagent.domain.session_hours import EXAMPLE, parse_session_hours

Value = Decimal | int | bool | str | None
Parser = Callable[[Any, str], Value]
SECRET_REFERENCE = re.compile(r"(env|keyring):[A-Za-z_][A-Za-z0-9_.@/-]{0,127}")
MAX_TEXT = 8_000
MAX_NEWS_LOCKOUT_MIN = 1_440


@dataclass(frozen=True, slots=True)
class Setting:
    """One row. `<…>` in `key` stands for a name of the user's; `parse(raw, key)` checks what was written."""

    key: str
    kind: str
    default: Value
    meaning: str
    parse: Parser
    example: str = ""
    is_private: bool = False

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.key.split("."))

    @property
    def is_map(self) -> bool:
        """Whether the key holds a name of the user's, so that it has no default."""
        return "<" in self.key


def _decimal(low: str, high: str, *, above: bool = False) -> Parser:
    least, most = Decimal(low), Decimal(high)

    def parse(raw: Any, key: str) -> Value:
        if isinstance(raw, bool) or not isinstance(raw, (int, Decimal, str)):
            raise InvalidConfig(f"{key}: {raw!r} is not a number", hint=f"write a number from {low} to {high}")
        value = parse_decimal(raw, key)
        if not (least < value if above else least <= value) or value > most:
            bounds = f"above {low} and at most {high}" if above else f"from {low} to {high}"
            raise InvalidConfig(f"{key}: {value} must be {bounds}", hint=f"write a number {bounds}")
        return value

    return parse


def _whole(low: int, high: int) -> Parser:
    number = _decimal(str(low), str(high))

    def parse(raw: Any, key: str) -> Value:
        value = number(raw, key)
        if not isinstance(value, Decimal) or value != value.to_integral_value():
            raise InvalidConfig(f"{key}: {value} must be a whole number", hint=f"write a whole number from {low} to {high}")
        return int(value)

    return parse


def _choice(*options: str) -> Parser:
    def parse(raw: Any, key: str) -> Value:
        if raw in options:
            return str(raw)
        raise InvalidConfig(f"{key}: {raw!r} is none of {', '.join(options)}", hint=_nearest(str(raw), options) or f"write {options[0]}")

    return parse


def _yes_no(raw: Any, key: str) -> Value:
    if isinstance(raw, bool):
        return raw
    if raw in ("true", "false"):
        return bool(raw == "true")
    raise InvalidConfig(f"{key}: {raw!r} is not true or false", hint="write true or false")


def _text(raw: Any, key: str) -> Value:
    if not isinstance(raw, str):
        raise InvalidConfig(f"{key}: {raw!r} is not a text", hint="put it in quotes")
    if len(raw) > MAX_TEXT:
        raise InvalidConfig(f"{key}: {len(raw)} characters, at most {MAX_TEXT}", hint="shorten it")
    return raw


def _web_address(raw: Any, key: str) -> Value:
    if isinstance(raw, str) and re.fullmatch(r"https?://[^\s@]+", raw):
        return raw
    raise InvalidConfig(f"{key}: not an http:// or https:// address without user and password", hint="write https://host/path")


def _hosts(raw: Any, key: str) -> Value:
    hosts = [host.strip().lower() for host in raw.split(",") if host.strip()] if isinstance(raw, str) else []
    wrong = next((host for host in hosts if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*|[0-9a-f:]+", host)), None)
    if not hosts or wrong is not None:
        raise InvalidConfig(f"{key}: {wrong or raw!r} is not a host", hint="write names without https:// and path, like docs.example.com")
    return ", ".join(hosts)


def _ledger_url(raw: Any, key: str) -> Value:
    if isinstance(raw, str) and re.match(r"(sqlite|postgresql)(\+[a-z0-9_]+)?://", raw):
        return raw
    # The value may hold a password: never echoed.
    raise InvalidConfig(f"{key}: not a sqlite:// or postgresql:// address", hint="remove the key to use state/ledger.sqlite")


def _secret(raw: Any, key: str) -> Value:
    if isinstance(raw, str) and SECRET_REFERENCE.fullmatch(raw):
        return raw
    # What is written here may be the key itself: it must not reach a screen or a log.
    raise InvalidConfig(
        f"{key}: write where the key is kept, not the key",
        hint="write env:NAME (an environment variable) or keyring:NAME, and replace the key if this file was ever shared",
    )


def _hours(raw: Any, key: str) -> Value:
    return parse_session_hours(raw, key).text


def _limit(raw: Any, key: str) -> Value:
    where, _, name = key.rpartition(".")
    return parse_limit(name, raw, where)


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "ledger.url",
        "url",
        None,
        "Where the ledger is; without it `state/ledger.sqlite` of the workspace",
        _ledger_url,
        "postgresql+psycopg://user@host/tradeagent",
        is_private=True,
    ),
    Setting("live.enabled", "bool", False, "Whether wallets on a real network may trade at all (one of three conditions)", _yes_no),
    Setting(
        "portfolio_strategy", "text", None, "Your own words about the whole portfolio; part of every agent's prompt", _text, "Prefer cash."
    ),
    Setting("paper.cash", "decimal", Decimal(10_000), "Cash of a new paper wallet, USDC", _decimal("0", "1000000000", above=True)),
    Setting("paper.slippage_bps", "decimal", Decimal(2), "Slippage of a simulated market fill, basis points", _decimal("0", "1000")),
    Setting("paper.taker_fee_bps", "decimal", Decimal("4.5"), "Fee of a fill that takes liquidity, basis points", _decimal("0", "100")),
    Setting("paper.maker_fee_bps", "decimal", Decimal("1.5"), "Fee of a fill that rests first, basis points", _decimal("-10", "100")),
    Setting(
        "paper.path", "choice", "adverse", "Path assumed inside a bar: adverse, or nearest extreme first", _choice("adverse", "nearest")
    ),
    Setting(
        "sandbox.allow_unsafe",
        "bool",
        False,
        "Whether Python algorithms may run where this system cannot lock them up; true trusts every one of them with your files",
        _yes_no,
    ),
    Setting(
        "fills.volume_cap",
        "decimal",
        None,
        "Largest share of a bar's volume that fills, 0 to 1; none = no cap",
        _decimal("0", "1", above=True),
        "0.1",
    ),
    Setting(
        "execution.max_slippage_pct", "decimal", Decimal(1), "Bound of a market order around the mark, %", _decimal("0", "50", above=True)
    ),
    Setting(
        "trading.session_hours",
        "hours",
        None,
        "Hours (UTC) in which entries may be placed, several joined with commas; none = always. Exits always pass",
        _hours,
        EXAMPLE,
    ),
    Setting(
        "trading.news_lockout_min",
        "int",
        0,
        "Minutes before and after a high-impact event of the calendar in which no entry is placed; 0 = off",
        _whole(0, MAX_NEWS_LOCKOUT_MIN),
    ),
    Setting("trading.min_free_disk_mib", "int", 200, "MiB of free disk that an entry needs, and no exit; 0 = off", _whole(0, 10**6)),
    Setting("models.<id>.base_url", "url", None, "Address of the model's server", _web_address, "http://localhost:8000/v1"),
    Setting(
        "models.<id>.api_key",
        "reference",
        None,
        "Where its key is kept: env:NAME or keyring:NAME, never the key",
        _secret,
        "env:MY_MODEL_KEY",
    ),
    Setting("models.<id>.input_price_per_mtok", "decimal", None, "USD per million prompt tokens", _decimal("0", "100000"), "0.5"),
    Setting("models.<id>.output_price_per_mtok", "decimal", None, "USD per million answer tokens", _decimal("0", "100000"), "1.5"),
    Setting(
        "model_cache.mode",
        "choice",
        "off",
        "Answers of models kept on disk: off, read, write, read_write, or replay, which never asks a model",
        _choice("off", "read", "write", "read_write", "replay"),
    ),
    Setting("model_cache.max_mb", "int", 256, "Size of that file, MB; the oldest answers leave", _whole(1, 100_000)),
    Setting("assistant.model", "text", "offline/assistant", "Model of the assistant: rule-based without a key, or any LiteLLM id", _text),
    Setting(
        "assistant.max_cost_per_day_usd",
        "decimal",
        Decimal(5),
        "Model spend of the assistant from 00:00 UTC at which it asks no model any more, USD",
        _decimal("0", "100000"),
    ),
    Setting("gates.min_days", "int", 180, "Days that the backtest of an algo should span before it is deployed", _whole(0, 10_000)),
    Setting("gates.min_trades", "int", 30, "Trades its backtest should have", _whole(0, 1_000_000)),
    Setting("gates.min_sharpe", "decimal", Decimal(1), "Sharpe ratio that its backtest should exceed", _decimal("-100", "100")),
    Setting("gates.max_drawdown_pct", "decimal", Decimal(20), "Drawdown that it should stay below, %", _decimal("0", "100")),
    Setting("gates.min_deflated_sharpe", "decimal", Decimal("0.95"), "Deflated Sharpe ratio it should reach", _decimal("0", "1")),
    Setting("gates.max_pbo", "decimal", Decimal("0.3"), "Most probability of overfitting, when there were trials", _decimal("0", "1")),
    Setting("gates.min_paper_days", "int", 14, "Days on a paper wallet before a live one", _whole(0, 10_000)),
    Setting(
        "memory.embedding_model",
        "text",
        None,
        "Model that finds memories by meaning: any LiteLLM embedding id; without one only words are searched",
        _text,
        "openai/text-embedding-3-small",
    ),
    Setting(
        "turn.first_token_timeout_s", "decimal", Decimal(60), "Seconds to wait for a model's first token", _decimal("0", "3600", above=True)
    ),
    Setting(
        "turn.idle_timeout_s", "decimal", Decimal(30), "Seconds to wait between two parts of an answer", _decimal("0", "3600", above=True)
    ),
    Setting("snapshots.keep", "int", 100, "Snapshots kept per session; 0 = all", _whole(0, 1_000_000)),
    Setting(
        "hyperliquid.url",
        "url",
        "https://api.hyperliquid.xyz",
        "Where market data is read from: the venue's info address; reading needs no key",
        _web_address,
    ),
    Setting("news.feeds.<name>", "url", None, "An RSS or Atom feed that `news fetch` reads", _web_address, "https://example.com/rss.xml"),
    Setting("news.cryptopanic.url", "url", "https://cryptopanic.com/api/developer/v2/posts/", "CryptoPanic's address", _web_address),
    Setting(
        "news.cryptopanic.api_key",
        "reference",
        None,
        "Where the CryptoPanic key is kept: env:NAME, never the key; without it that source is off",
        _secret,
        "env:CRYPTOPANIC_KEY",
    ),
    Setting("news.tiingo.url", "url", "https://api.tiingo.com/tiingo/news", "Tiingo's news address", _web_address),
    Setting(
        "news.tiingo.api_key",
        "reference",
        None,
        "Where the Tiingo key is kept: env:NAME, never the key; without it that source is off",
        _secret,
        "env:TIINGO_KEY",
    ),
    Setting(
        "social.feeds.<name>",
        "url",
        None,
        "An RSS or Atom feed of people talking, which the assistant may search; without one it has none",
        _web_address,
        "https://example.com/markets.rss",
    ),
    Setting(
        "notify.<name>.url",
        "reference",
        None,
        "Where the Apprise address of a notification channel is kept: env:NAME or keyring:NAME, never the address",
        _secret,
        "env:PHONE_URL",
    ),
    Setting(
        "notify.<name>.min_level",
        "choice",
        None,
        "Least level that this channel is told: info (also without it), warning, error, critical",
        _choice("info", "warning", "error", "critical"),
        "warning",
    ),
    Setting(
        "notify.<name>.per_hour",
        "int",
        None,
        "Most messages an hour, 30 without it; beyond them only critical ones are sent",
        _whole(1, 1_000),
        "30",
    ),
    Setting(
        "web.allowed_hosts",
        "text",
        None,
        "Hosts whose pages the assistant may read, separated by commas; without it none",
        _hosts,
        "docs.example.com, example.org",
    ),
    Setting("mcp_servers.<server>.command", "text", None, "Program of an MCP server for the assistant", _text, "uvx mcp-server-time"),
    Setting("mcp_servers.<server>.url", "url", None, "Or the address of one that runs already", _web_address, "https://example.com/mcp"),
    Setting("mcp_servers.<server>.env.<variable>", "reference", None, "A variable it may see: env:NAME", _secret, "env:TZ"),
    Setting("mcp_servers.<server>.headers.<header>", "reference", None, "A header: env:NAME", _secret, "env:MY_HEADER"),
    Setting("mcp_servers.<server>.tools", "text", None, "Tools of it that may be used, joined by commas", _text, "convert"),
    Setting("mcp_servers.<server>.read_only", "bool", None, "Whether its tools may run unasked", _yes_no, "true"),
    Setting(
        "calendar.sources.<name>",
        "text",
        None,
        "An address or a file (ICS, JSON, CSV) that `calendar import` without FILE reads",
        _text,
        "https://example.com/calendar.ics",
        is_private=True,
    ),
    Setting(
        "calendar.events",
        "text",
        None,
        "Events of your own for `calendar import`: `KIND TIME`, separated by semicolons",
        _text,
        "fomc 2026-01-28T19:00Z; cpi 2026-02-11T13:30Z",
    ),
    Setting(
        "instruments.<symbol>.size_decimals", "int", None, "Decimals of a size, where the venue's list is not imported", _whole(0, 6), "5"
    ),
    Setting("instruments.<symbol>.max_leverage", "int", None, "Highest leverage of the market", _whole(1, 100), "40"),
    Setting("engine.limits.<limit>", "limit", None, "A limit of the watchlist engine", _limit, "2"),
    Setting("manual.limits.<limit>", "limit", None, "A limit of orders a person places", _limit, "5"),
    Setting("ceilings.paper.<limit>", "limit", None, "Highest value a limit may have on paper", _limit, "50"),
    Setting("ceilings.live.<limit>", "limit", None, "Highest value a limit may have on a real network", _limit, "10"),
)


@lru_cache(maxsize=1024)
def setting_of(path: tuple[str, ...]) -> Setting | None:
    """The row a key path belongs to; `<…>` matches any one segment."""
    for setting in SETTINGS:
        names = setting.segments
        if len(names) == len(path) and all(n == p or n.startswith("<") for n, p in zip(names, path, strict=True)):
            return setting
    return None


def is_section(path: Sequence[str]) -> bool:
    """Whether keys may stand below this path."""
    return any(
        len(names := setting.segments) > len(path) and all(n == p or n.startswith("<") for n, p in zip(names, path, strict=False))
        for setting in SETTINGS
    )


def split_key(key: str) -> tuple[str, ...]:
    """A dotted key as typed by a person; a model id may hold dots. Raises UnknownKey with the nearest key."""
    for setting in SETTINGS:
        pattern = "".join(f"({'.+' if part.startswith('<') else re.escape(part)})[.]" for part in setting.segments)
        if match := re.fullmatch(pattern[: -len("[.]")], key):
            return match.groups()
    raise unknown_key(tuple(key.split(".")), "setting")


def unknown_key(path: Sequence[str], where: str, line: int | None = None) -> UnknownKey:
    """The error for a key no row has; the hint is the nearest known key."""
    dotted = ".".join(path)
    known = []
    for setting in SETTINGS:
        filled = [p if n.startswith("<") and n != "<limit>" else n for n, p in zip(setting.segments, path, strict=False)]
        known.append(".".join([*filled, *setting.segments[len(filled) :]]))
    hint = _nearest(dotted, known) or "known keys: tradeagent config show"
    details: dict[str, Any] = {"field": dotted} | ({"line": line} if line else {})
    return UnknownKey(f"{where}: unknown key {dotted!r}", hint=hint, details=details)


def parse_setting(setting: Setting, raw: Any, path: Sequence[str]) -> Value:
    """Check one written value. Raises InvalidConfig or UnknownKey (of a limit) naming key, value and fix."""
    key = ".".join(path)
    if raw is None and setting.kind != "limit":
        if setting.default is None and not setting.is_map:
            return None
        raise InvalidConfig(f"{key}: no value", hint=f"write {key}: {setting.default or setting.example}, or remove the line")
    try:
        return setting.parse(raw, key)
    except InvalidInput as error:
        raise InvalidConfig(error.message, hint=error.hint) from None


def limit_names() -> str:
    """All limit keys, for the reference."""
    return ", ".join(SPECS)


def _nearest(word: str, options: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, options, n=1)
    return f"did you mean {near[0]!r}?" if near else ""
