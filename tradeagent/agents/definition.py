"""Front matter of agent.md as a strict model: every key, its default, its type. Files, limits and names are checked in `folder`."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from tradeagent.domain.bars import parse_duration
from tradeagent.domain.errors import InvalidInput

MIN_TICK_MS = 5_000
Scalar = str | int | Decimal | bool
EXAMPLES: Mapping[str, str] = {
    "name": "name: BTC momentum",
    "description": "description: Trades BTC pullbacks.",
    "model": "model: offline/momentum",
    "fallback_models": "fallback_models: [openai/my-model]",
    "markets": "markets: [BTC]",
    "tick_interval": "tick_interval: 5m",
    "cron": 'cron: "*/15 * * * *"',
    "timezone": "timezone: UTC",
    "tick_timeout": "tick_timeout: 10m",
    "max_ticks": "max_ticks: 0",
    "tools": "tools: [market, portfolio, propose_order]",
    "mcp_servers": "mcp_servers: {notes: {command: notes-server}}",
    "strategy": "strategy: {mode: thesis, leash: balanced}",
    "context": "context: {bars: {interval: 15m, lookback: 96}, news: 5}",
    "configs": "configs: {risk_per_trade_pct: 0.1}",
    "limits": "limits: {max_single_order_quote: 100}",
    "budget": "budget: {max_cost_per_day_usd: 5}",
    "approval": "approval: auto",
    "on_kill_switch": "on_kill_switch: flatten_all",
}


def _wrong(why: str, hint: str = "") -> PydanticCustomError:
    return PydanticCustomError("wrong", "{why}", {"why": why, "hint": hint})


def _number(raw: Any) -> Any:
    return Decimal(raw) if isinstance(raw, int) and not isinstance(raw, bool) else raw


def _duration(raw: Any) -> Any:
    if isinstance(raw, int) and not isinstance(raw, bool):
        raise _wrong(f"{raw} has no unit", f"write {raw}s or {raw}m")
    if isinstance(raw, str):
        try:
            parse_duration(raw)
        except InvalidInput as error:
            raise _wrong(error.message.partition(": ")[2], error.hint) from None
    return raw


def _cron(text: str) -> str:
    from croniter import croniter  # type: ignore[import-untyped]  # the package has no types

    if len(text.split()) != 5 or not croniter.is_valid(text):
        raise _wrong(f"{text!r} is not a cron line of five fields", 'write minute hour day month weekday, like "*/15 * * * *"')
    return text


def _timezone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        import difflib

        near = difflib.get_close_matches(text, available_timezones(), n=1)
        raise _wrong(f"{text!r} is no time zone", f"did you mean {near[0]!r}?" if near else "write UTC or Europe/Berlin") from None
    return text


def _one_line(text: str) -> str:
    if not text.strip() or any(not character.isprintable() for character in text):
        raise _wrong(f"{text!r} must be one line of text")
    return text


def _model_id(text: str) -> str:
    kind, _, rest = text.partition(":" if text.startswith("acp:") else "/")
    if kind == "acp" and rest.strip():
        return text
    if not text or any(character.isspace() or not character.isprintable() for character in text) or text.endswith(("/", ":")):
        raise _wrong(f"{text!r} is no model id", "write offline/momentum, acp:<command> or a LiteLLM id like openai/<name>")
    return text


def _scalar(raw: Any) -> Any:
    if isinstance(raw, (str, int, Decimal, bool)):
        return raw
    raise _wrong(f"{raw!r} is not a text, a number, true or false", "write one value, like risk_per_trade_pct: 0.1")


def _without_doubles(values: tuple[str, ...]) -> tuple[str, ...]:
    doubled = next((value for value in values if values.count(value) > 1), None)
    if doubled is not None:
        raise _wrong(f"{doubled!r} is there twice", "remove one")
    return values


Line = Annotated[str, AfterValidator(_one_line)]
ModelId = Annotated[str, AfterValidator(_model_id)]
Duration = Annotated[str, BeforeValidator(_duration)]
Number = Annotated[Decimal, BeforeValidator(_number)]
Names = Annotated[tuple[Line, ...], Field(strict=False), AfterValidator(_without_doubles)]
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class McpServer(_Part):
    """An MCP server: a command or an address, the environment it may see, and the tools the agent may call."""

    command: Line | None = None
    url: Line | None = None
    env: dict[str, str] = Field(default_factory=dict)
    tools: Names | None = None

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise _wrong("needs either command or url", "write command: … or url: …")
        return self


class StrategyIntent(_Part):
    """Structured intent, rendered before the body."""

    mode: Literal["thesis", "rules", "hybrid"] | None = None
    leash: Literal["strict", "balanced", "adaptive"] | None = None
    horizon: str | None = None
    look_for: str | None = None
    avoid: str | None = None


class BarsContext(_Part):
    """Bars shown to the model: the newest `lookback` of `interval`."""

    interval: Duration = "15m"
    lookback: Annotated[int, Field(ge=1, le=1000)] = 96


class ContextSpec(_Part):
    """What the prompt shows of market and memory; `news` counts headlines, `memory: none` leaves the agent's own files out."""

    bars: BarsContext | None = Field(default_factory=BarsContext)
    news: Annotated[int, Field(ge=0, le=50)] = 0
    funding: bool = True
    events: bool = False
    memory: Literal["standard", "none"] = "standard"


class BudgetSpec(_Part):
    """Model spend; None = no daily cap."""

    max_cost_per_day_usd: Annotated[Number, Field(ge=0)] | None = Decimal(5)
    max_tokens_per_turn: Annotated[int, Field(ge=1, le=10_000_000)] = 20_000
    max_tool_calls_per_turn: Annotated[int, Field(ge=1, le=100)] = 12


class AgentDefinition(_Part):
    """Front matter of agent.md (agents.md §1). `tools` None = the safe default set; `limits` as written, user-only."""

    name: Annotated[Line, Field(max_length=80)]
    description: str = ""
    model: ModelId
    fallback_models: Annotated[tuple[ModelId, ...], Field(strict=False)] = ()
    markets: Annotated[Names, Field(min_length=1)]
    tick_interval: Duration | None = None
    cron: Annotated[str, AfterValidator(_cron)] | None = None
    timezone: Annotated[str, AfterValidator(_timezone)] | None = None
    tick_timeout: Duration = "10m"
    max_ticks: Count = 0
    tools: Names | None = None
    mcp_servers: dict[str, McpServer] = Field(default_factory=dict)
    strategy: StrategyIntent = Field(default_factory=StrategyIntent)
    context: ContextSpec = Field(default_factory=ContextSpec)
    configs: dict[str, Annotated[Any, AfterValidator(_scalar)]] = Field(default_factory=dict)
    limits: dict[str, Any] = Field(default_factory=dict)
    budget: BudgetSpec = Field(default_factory=BudgetSpec)
    approval: Literal["auto", "copilot"] = "auto"
    on_kill_switch: Literal["flatten_all", "cancel_only", "keep_all"] = "flatten_all"

    @model_validator(mode="after")
    def _one_schedule(self) -> Self:
        if (self.tick_interval is None) == (self.cron is None):
            both = "both tick_interval and cron are given" if self.cron else "neither tick_interval nor cron is given"
            raise _wrong(both, "keep one: tick_interval: 5m, or cron with timezone")
        if self.timezone is not None and self.cron is None:
            raise _wrong("timezone is given without cron", "remove timezone, or write cron instead of tick_interval")
        if self.interval_ms is not None and self.interval_ms < MIN_TICK_MS:
            raise _wrong(f"tick_interval {self.tick_interval} is below 5s", "write tick_interval: 5s or more")
        return self

    @property
    def interval_ms(self) -> int | None:
        """Milliseconds between ticks, None with cron."""
        return None if self.tick_interval is None else parse_duration(self.tick_interval)

    @property
    def timeout_ms(self) -> int:
        return parse_duration(self.tick_timeout)

    @property
    def zone(self) -> str:
        """Time zone of the cron line."""
        return self.timezone or "UTC"
