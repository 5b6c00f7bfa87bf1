"""Tools of family drafts: write an agent or an algorithm section by section. Each answers with a chip per section; nothing runs and nothing
is saved before the user commits a card. A draft never names a program to start: servers of tools are the user's to write."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from tradeagent.domain.errors import InvalidInput, NotFound
from tradeagent.domain.names import Mode
from tradeagent.llm.contract import Tool, ToolResult
from tradeagent.tools.desk import DeskContext
from tradeagent.tools.market import Arguments
from tradeagent.workspace.plain_text import visible

if TYPE_CHECKING:
    from tradeagent.assistant.draft_text import Change
    from tradeagent.assistant.drafts import Bench
    from tradeagent.ledger.drafts import DraftRow

MOST_TEXT, MOST_SHOWN = 32_000, 12_000
_TEMPLATE = "sma_cross"
Line = Annotated[str, Field(min_length=1, max_length=200)]
Words = Annotated[str, Field(min_length=1, max_length=1_000)]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,48}$")]
Market = Annotated[str, Field(min_length=1, max_length=40)]
Interval = Annotated[str, Field(min_length=1, max_length=8)]
Figure = Annotated[Decimal, Field(max_digits=18, allow_inf_nan=False)]
Key = Annotated[str, Field(min_length=1, max_length=60)]
Setting = bool | Figure | Line | None


class OfDraft(Arguments):
    draft: str | None = Field(default=None, min_length=4, max_length=40, description="id; without it the one changed last here")


class SetBasics(OfDraft):
    name: Line | None = Field(default=None, description="what it is called; an algo: letters, digits, _ and -")
    kind: Literal["agent", "algo"] = "agent"
    begin: bool = Field(default=False, description="begin another draft")
    from_agent: Slug | None = Field(default=None, description="begin from this agent: its next version")
    template: Annotated[str, Field(pattern=r"^[A-Za-z0-9_@-]{1,60}$")] | None = Field(default=None, description="an algo to begin from")
    description: Words | None = None
    model: Line | None = Field(default=None, description="offline/momentum, openai/<name> …; agents only")
    markets: list[Market] | None = Field(default=None, max_length=20, description="an algo has one")
    interval: Interval | None = Field(default=None, description="of an algo, like 1h")


class SetStrategy(OfDraft):
    text: str | None = Field(default=None, min_length=1, max_length=MOST_TEXT, description="of an agent: markdown; of an algo: its YAML")
    mode: Literal["thesis", "rules", "hybrid"] | None = None
    leash: Literal["strict", "balanced", "adaptive"] | None = None
    horizon: Line | None = None
    look_for: Words | None = None
    avoid: Words | None = None


class SetRisk(OfDraft):
    limits: dict[Key, Setting] = Field(default_factory=dict, max_length=40, description="like max_position_size_quote: 500; null removes")
    configs: dict[Key, Setting] = Field(default_factory=dict, max_length=40, description="values the agent may ask to change")
    approval: Literal["auto", "copilot"] | None = None
    on_kill_switch: Literal["flatten_all", "cancel_only", "keep_all"] | None = None
    max_cost_per_day_usd: Figure | None = Field(default=None, description="of the model")
    leverage: int | None = Field(default=None, description="of an algo")


class SetSchedule(OfDraft):
    tick_interval: Interval | None = Field(default=None, description="like 5m; takes the place of cron")
    cron: Line | None = Field(default=None, description="minute hour day month weekday; takes the place of tick_interval")
    timezone: Line | None = Field(default=None, description="of cron")
    max_ticks: int | None = Field(default=None, description="0 = no end")


class SetTools(OfDraft):
    tools: list[Line] | None = Field(max_length=60, description="names or families; null = the safe default set")


class SetContext(OfDraft):
    bars_interval: Interval | None = None
    lookback: int | None = Field(default=None, description="bars shown")
    news: int | None = Field(default=None, description="headlines shown")
    funding: bool | None = None
    events: bool | None = None
    memory: Literal["standard", "none"] | None = None


class ShowDraft(OfDraft):
    start: int = Field(default=0, ge=0, le=100_000, description="first character of the text to show")


async def set_basics(arguments: SetBasics, context: DeskContext) -> ToolResult:
    from tradeagent.assistant import drafts

    bench = bench_of(context)
    is_new = arguments.begin or arguments.from_agent is not None or arguments.template is not None
    row = None if is_new else _draft(context, arguments.draft, arguments.kind)
    kind = row.kind if row is not None else "algo" if arguments.template is not None else arguments.kind
    _require_own(arguments, kind)
    if row is None:
        row = _begun(bench, context, arguments, kind)
    name = visible(arguments.name) if arguments.name is not None else None
    changes: list[Change] = []
    if name is not None:
        changes.append((("name",), name))
    changes += [((key,), getattr(arguments, key)) for key in ("description", "model", "interval") if getattr(arguments, key) is not None]
    if arguments.markets is not None and kind == drafts.AGENT:
        changes.append((("markets",), arguments.markets))
    elif arguments.markets is not None:
        changes.append((("market",), arguments.markets[0] if arguments.markets else None))
    return _answer(bench, drafts.patch(bench, row.id, changes, name=name))


def _begun(bench: "Bench", context: DeskContext, arguments: SetBasics, kind: str) -> "DraftRow":
    from tradeagent.assistant import drafts

    if arguments.from_agent is not None:
        if context.mode is Mode.RESEARCH:
            raise NotFound(f"from_agent: there is no {arguments.from_agent!r} that mode research sees", hint="the user changes the mode")
        return drafts.begin_agent(bench, context.session, arguments.from_agent, arguments.from_agent)
    if arguments.name is None:
        raise InvalidInput("name is missing: a new draft needs one", hint="set_basics with name, model and markets")
    if kind == drafts.ALGO:
        return drafts.begin_algo(bench, context.session, arguments.name, arguments.template or _TEMPLATE)
    return drafts.begin_agent(bench, context.session, visible(arguments.name))


def _require_own(arguments: SetBasics, kind: str) -> None:
    """Fields of the other kind are refused, so that nothing is left out unsaid."""
    if kind == "agent" and arguments.interval is not None:
        raise InvalidInput("interval is of algos: an agent has a schedule", hint="set_schedule with tick_interval")
    if kind == "algo" and (arguments.model is not None or arguments.description is not None or len(arguments.markets or ()) > 1):
        raise InvalidInput("an algo has a name, one market and an interval", hint="leave model and description out, and give one market")


async def set_strategy(arguments: SetStrategy, context: DeskContext) -> ToolResult:
    intent = {key: getattr(arguments, key) for key in ("mode", "leash", "horizon", "look_for", "avoid")}
    changes = [(("strategy", key), _clean(value)) for key, value in intent.items() if value is not None]
    text = visible(arguments.text) if arguments.text is not None else None
    return _set(context, arguments, changes, body=text, is_for_algos=not changes)


async def set_risk(arguments: SetRisk, context: DeskContext) -> ToolResult:
    changes: list[Change] = [(("limits", key), value) for key, value in arguments.limits.items()]
    changes += [(("configs", key), _clean(value)) for key, value in arguments.configs.items()]
    changes += [((key,), getattr(arguments, key)) for key in ("approval", "on_kill_switch") if getattr(arguments, key) is not None]
    if arguments.max_cost_per_day_usd is not None:
        changes.append((("budget", "max_cost_per_day_usd"), arguments.max_cost_per_day_usd))
    if arguments.leverage is not None:
        if changes:
            raise InvalidInput("leverage is of an algo, the other fields are of an agent", hint="give one or the other")
        return _set(context, arguments, [(("leverage",), arguments.leverage)], kind="algo")
    return _set(context, arguments, changes)


async def set_schedule(arguments: SetSchedule, context: DeskContext) -> ToolResult:
    given = {key: getattr(arguments, key) for key in ("tick_interval", "cron", "timezone", "max_ticks")}
    changes: list[Change] = [((key,), value) for key, value in given.items() if value is not None]
    if arguments.tick_interval is not None and arguments.cron is None:
        changes += [(("cron",), None), (("timezone",), None)]
    if arguments.cron is not None and arguments.tick_interval is None:
        changes.append((("tick_interval",), None))
    return _set(context, arguments, changes)


async def set_tools(arguments: SetTools, context: DeskContext) -> ToolResult:
    return _set(context, arguments, [(("tools",), arguments.tools)])


async def set_context(arguments: SetContext, context: DeskContext) -> ToolResult:
    bars = {"interval": arguments.bars_interval, "lookback": arguments.lookback}
    given = {key: getattr(arguments, key) for key in ("news", "funding", "events", "memory")}
    changes: list[Change] = [(("context", "bars", key), value) for key, value in bars.items() if value is not None]
    changes += [(("context", key), value) for key, value in given.items() if value is not None]
    return _set(context, arguments, changes)


async def show_draft(arguments: ShowDraft, context: DeskContext) -> ToolResult:
    from tradeagent.assistant.drafts import draft_dict, text_of

    bench, row = bench_of(context), _existing(context, arguments.draft, None)
    text = text_of(row)
    part = text[arguments.start : arguments.start + MOST_SHOWN]
    rest = len(text) - arguments.start - len(part)
    return ToolResult({**draft_dict(bench, row), "text": part, **({"next_start": arguments.start + len(part)} if rest > 0 else {})})


def bench_of(context: DeskContext) -> "Bench":
    """Where this desk prepares things."""
    from tradeagent.assistant.drafts import Bench
    from tradeagent.tools.known import known_to_agents

    return Bench(context.workspace, context.config, context.ledger, context.clock, known_to_agents(context.config))


def _set(
    context: DeskContext,
    arguments: OfDraft,
    changes: "Sequence[Change]",
    *,
    body: str | None = None,
    kind: str | None = None,
    is_for_algos: bool = False,
) -> ToolResult:
    """Change the draft that is meant; a section that its kind has not is refused."""
    from tradeagent.assistant import drafts

    if not changes and body is None:
        raise InvalidInput("nothing to set is given", hint="give at least one of the fields")
    row = _existing(context, arguments.draft, kind)
    if row.kind == drafts.ALGO and kind is None and not is_for_algos:
        raise InvalidInput(f"draft {row.name} is an algo: that section is of agents", hint="set_strategy with its whole YAML as text")
    bench = bench_of(context)
    return _answer(bench, drafts.patch(bench, row.id, changes, body=body))


def _draft(context: DeskContext, reference: str | None, kind: str | None) -> "DraftRow | None":
    """The draft named, which must be of this conversation, or the one that it changed last."""
    from tradeagent.assistant.drafts import AGENT, ALGO
    from tradeagent.ledger import drafts

    with context.ledger.reading() as tx:
        if reference is not None:
            found = drafts.get(tx, reference)
            if found.session == context.session:
                return found
            raise NotFound(f"there is no draft {reference!r} in this conversation", hint="set_basics begins one")
        last = [row for each in ((kind,) if kind else (AGENT, ALGO)) if (row := drafts.newest(tx, context.session, each)) is not None]
    return max(last, key=lambda row: (row.updated_ms, row.id), default=None)


def _existing(context: DeskContext, reference: str | None, kind: str | None) -> "DraftRow":
    found = _draft(context, reference, kind)
    if found is None:
        raise NotFound("there is no draft in this conversation yet", hint="set_basics with name, model and markets begins one")
    return found


def _clean(value: Any) -> Any:
    return visible(value) if isinstance(value, str) else value


def _answer(bench: "Bench", row: "DraftRow") -> ToolResult:
    from tradeagent.assistant.drafts import draft_dict

    shown = draft_dict(bench, row)
    if shown["ready"]:
        return ToolResult({**shown, "next": "prepare_action with kind save_draft; the user commits that card"})
    return ToolResult({**shown, "next": next(f"{name}: {chip['state']}" for name, chip in shown["chips"].items() if chip["state"] != "ok")})


def _tool(name: str, description: str, arguments: type[Arguments], handler: Callable[..., Any]) -> Tool:
    return Tool(name, description, arguments, "drafts", "read" if name == "show_draft" else "algo", handler)


DRAFT_TOOLS = (
    _tool("set_basics", "Begin a draft, or set its name, model, markets.", SetBasics, set_basics),
    _tool("set_strategy", "Set a draft's strategy text and intent; an algo's whole YAML.", SetStrategy, set_strategy),
    _tool("set_risk", "Set a draft's limits, configs, approval and model budget.", SetRisk, set_risk),
    _tool("set_schedule", "Set when a draft's agent wakes.", SetSchedule, set_schedule),
    _tool("set_tools", "Set which tools a draft's agent may call.", SetTools, set_tools),
    _tool("set_context", "Set what a draft's agent is shown.", SetContext, set_context),
    _tool("show_draft", "A draft's text with a chip per section.", ShowDraft, show_draft),
)
