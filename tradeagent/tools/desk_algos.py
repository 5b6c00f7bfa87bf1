"""Tools of family algos: read, write and change algorithms. Every change is a new version; a saved one never changes."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tradeagent.domain.errors import InvalidConfig, InvalidInput, TradeAgentError, UnknownKey
from tradeagent.llm.contract import Tool, ToolResult
from tradeagent.tools.desk import DeskContext
from tradeagent.tools.market import Arguments
from tradeagent.tools.portfolio import Nothing

MOST_LISTED, MOST_TEXT = 100, 16_000
_MOST_PROBLEMS = 10
# No path of a file: a model reads and runs what is saved or built in.
AlgoRef = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,47}(@[0-9]{1,9})?$", description="saved name, NAME@VERSION, or a built-in")
]
AlgoName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,47}$", description="name to save under")]
Condition = Annotated[str, Field(min_length=1, max_length=300)]
Positive = Annotated[Decimal, Field(gt=0, lt=Decimal("1e9"), max_digits=18)]
Sides = Literal["long", "short", "both"]
ParamValue = int | Decimal | Annotated[str, Field(max_length=40)]


class OneAlgo(Arguments):
    algo: AlgoRef


class CreateAlgorithm(Arguments):
    name: AlgoName
    template: AlgoRef | None = Field(default=None, description="an algo to begin with: sma_cross, rsi_bollinger, any of list_algorithms")
    text: str | None = Field(default=None, max_length=MOST_TEXT, description="the whole algo as YAML, instead of a template")
    note: str = Field(default="", max_length=200)

    @model_validator(mode="after")
    def _one_source(self) -> "CreateAlgorithm":
        if (self.template is None) == (self.text is None):
            raise ValueError("give either template or text")
        return self


class AddIndicator(Arguments):
    algo: AlgoName
    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,47}$", description="how conditions call it, like fast or rsi")
    kind: str = Field(min_length=1, max_length=40, description="sma, ema, rsi, bollinger, atr, adx …")
    params: dict[Annotated[str, Field(max_length=40)], ParamValue] = Field(default_factory=dict, max_length=10)
    interval: str | None = Field(default=None, max_length=4, description="a coarser interval than the algo's, like 4h")


class SetEntryExit(Arguments):
    algo: AlgoName
    part: Literal["entry", "exit"]
    side: Sides = "both"
    required: list[Condition] = Field(default_factory=list, max_length=12, description="all must hold, like 'rsi < 30'")
    optional: list[Condition] = Field(default_factory=list, max_length=12, description="one of them must hold")
    on_every_bar: bool = Field(default=False, description="while it holds, instead of when it begins to hold")


class Distance(Arguments):
    kind: Literal["pct", "atr", "abs", "rr"] = Field(
        description="percent, multiples of ATR, quote units, or multiples of the stop (target only)"
    )
    value: Positive
    length: int | None = Field(default=None, ge=1, le=10_000, description="of the ATR")


class SetStopTakeProfit(Arguments):
    algo: AlgoName
    side: Sides = "both"
    stop_loss: Distance | None = Field(default=None, description="none removes it")
    take_profit: Distance | None = Field(default=None, description="none removes it")
    trailing: Distance | None = Field(default=None, description="none removes it")


class ValidateAlgorithm(Arguments):
    algo: AlgoRef | None = None
    text: str | None = Field(default=None, max_length=MOST_TEXT, description="YAML to check without saving it")

    @model_validator(mode="after")
    def _one_source(self) -> "ValidateAlgorithm":
        if (self.algo is None) == (self.text is None):
            raise ValueError("give either algo or text")
        return self


async def list_algorithms(_arguments: Nothing, context: DeskContext) -> ToolResult:
    from tradeagent.algos import catalogue
    from tradeagent.algos.store import built_in, find, summary
    from tradeagent.ledger import algos as saved

    with context.ledger.reading() as tx:
        names = saved.names(tx)
    rows: list[dict[str, Any]] = []
    for name in names[:MOST_LISTED]:
        try:
            rows.append(_shown(summary(find(context.ledger, name), "saved")))
        except TradeAgentError as error:
            rows.append({"name": name, "kind": "saved", "broken": error.message})
    rows += [_shown(summary(built_in(name), "built_in")) for name in catalogue.BUILT_INS]
    rows += [_shown(summary(built_in(name), "template")) for name in catalogue.TEMPLATES]
    return ToolResult({"algorithms": rows, "saved": len(names)})


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "hash" and value is not None}


async def show_algorithm(arguments: OneAlgo, context: DeskContext) -> ToolResult:
    from tradeagent.algos.params import params_of
    from tradeagent.algos.store import find, kind_of, summary

    found = find(context.ledger, arguments.algo)
    spec = found.spec
    params = {} if spec.python else {name: str(value) for name, value in params_of(spec).items()}
    searched = {} if spec.python else {name: _range(space) for name, space in spec.params.items()}
    shown = {**_shown(summary(found, kind_of(found))), "params": params, "search_ranges": searched, "text": spec.text[:MOST_TEXT]}
    return ToolResult(shown)


def _range(space: Any) -> str:
    if space.choices:
        return ", ".join(map(str, space.choices))
    return f"{space.low}:{space.high}" + (f":{space.step}" if space.step else ":log" if space.log else "")


async def create_algorithm(arguments: CreateAlgorithm, context: DeskContext) -> ToolResult:
    from tradeagent.algos import catalogue
    from tradeagent.algos.edit import edited, put
    from tradeagent.algos.store import check_name, find

    check_name(arguments.name)
    if arguments.text is not None:
        return _saved(context, arguments.name, arguments.text, arguments.note, "")
    template = arguments.template or ""
    source = find(context.ledger, template)
    if source.version is None:
        text = catalogue.template_text(source.name, arguments.name)
    else:
        text = edited(source.spec, lambda document: put(document, ["name"], arguments.name))
    return _saved(context, arguments.name, text, arguments.note or f"from {template}", source.lineage if source.version else "")


async def add_indicator(arguments: AddIndicator, context: DeskContext) -> ToolResult:
    use: dict[str, Any] = {"kind": arguments.kind, **arguments.params}
    if arguments.interval is not None:
        use["interval"] = arguments.interval
    return _changed(context, arguments.algo, f"indicator {arguments.name}", [(("indicators", arguments.name), use)])


async def set_entry_exit(arguments: SetEntryExit, context: DeskContext) -> ToolResult:
    if arguments.part == "entry" and not (arguments.required or arguments.optional):
        raise InvalidInput("required: an entry needs a condition", hint="give required or optional", details={"field": "required"})
    changes = [
        ((arguments.part, side, key), value)
        for side in _sides(arguments.side)
        for key, value in (
            ("required", arguments.required or None),
            ("optional", arguments.optional or None),
            ("state", arguments.on_every_bar or None),
        )
    ]
    return _changed(context, arguments.algo, f"{arguments.part} {arguments.side}", changes)


async def set_stop_take_profit(arguments: SetStopTakeProfit, context: DeskContext) -> ToolResult:
    changes = [
        (("exit", side, key), _level(level))
        for side in _sides(arguments.side)
        for key, level in (
            ("stop_loss", arguments.stop_loss),
            ("take_profit", arguments.take_profit),
            ("trailing", arguments.trailing),
        )
    ]
    return _changed(context, arguments.algo, f"levels {arguments.side}", changes)


def _sides(side: Sides) -> tuple[str, ...]:
    return ("long", "short") if side == "both" else (side,)


def _level(level: Distance | None) -> dict[str, Any] | None:
    if level is None:
        return None
    return {level.kind: level.value, **({} if level.length is None else {"length": level.length})}


def _changed(context: DeskContext, name: str, note: str, changes: Sequence[tuple[tuple[str, ...], Any]]) -> ToolResult:
    """The newest version of a saved algo with some values written anew, as its next version."""
    from tradeagent.algos.edit import drop_empty, edited, put
    from tradeagent.algos.store import find

    found = find(context.ledger, name)
    if found.version is None:
        raise InvalidInput(
            f"algo: {name!r} is built in and cannot be changed",
            hint=f"create_algorithm with name my_{name} and template {name}, then change that",
            details={"field": "algo"},
        )
    one_sided = {"long": ("short",), "short": ("long",)}.get(found.spec.direction.value, ())
    kept = [(path, value) for path, value in changes if not (len(path) > 1 and path[1] in one_sided)]

    def change(document: dict[str, Any]) -> None:
        for path, value in kept or changes:
            put(document, path, value)
        for path in (("exit", "long"), ("exit", "short"), ("exit",)):
            drop_empty(document, path)

    return _saved(context, name, edited(found.spec, change), note, "")


def _saved(context: DeskContext, name: str, text: str, note: str, lineage: str) -> ToolResult:
    from tradeagent.algos.checks import warnings_of
    from tradeagent.algos.store import save, summary

    def keep() -> ToolResult:
        kept = save(context.ledger, name, text, context.clock.now_ms(), note=note, lineage=lineage)
        return ToolResult({**_shown(summary(kept, "saved")), "text": kept.spec.text, "warnings": warnings_of(kept.spec)})

    return _with_problems(keep)


async def validate_algorithm(arguments: ValidateAlgorithm, context: DeskContext) -> ToolResult:
    from tradeagent.algos.checks import warnings_of
    from tradeagent.algos.evaluate import warmup_of
    from tradeagent.algos.parse import parse_algo
    from tradeagent.algos.store import find

    def check() -> ToolResult:
        spec = parse_algo(arguments.text, "text") if arguments.text is not None else find(context.ledger, arguments.algo or "").spec
        return ToolResult({"ok": True, "name": spec.name, "warmup_bars": warmup_of(spec), "warnings": warnings_of(spec)})

    return _with_problems(check)


def _with_problems(work: Callable[[], ToolResult]) -> ToolResult:
    """What `work` answers, or everything that is wrong with the algo it read, each with its line and its fix."""
    try:
        return work()
    except (InvalidConfig, UnknownKey) as error:
        refused = ToolResult.error(error.code, error.message, error.hint)
        problems = error.details.get("problems", [])[:_MOST_PROBLEMS]
        return ToolResult({**refused.content, "problems": problems}, is_error=True) if len(problems) > 1 else refused


ALGO_TOOLS = (
    Tool("list_algorithms", "Saved algorithms, built-ins and templates.", Nothing, "algos", "read", list_algorithms),
    Tool("show_algorithm", "One algorithm: text, parameters, search ranges.", OneAlgo, "algos", "read", show_algorithm),
    Tool("create_algorithm", "Save a new algorithm from a template or from YAML.", CreateAlgorithm, "algos", "algo", create_algorithm),
    Tool("add_indicator", "Add or replace an indicator of a saved algorithm: a new version.", AddIndicator, "algos", "algo", add_indicator),
    Tool("set_entry_exit", "Set the conditions of entry or exit: a new version.", SetEntryExit, "algos", "algo", set_entry_exit),
    Tool(
        "set_stop_take_profit",
        "Set stop, target and trailing of a saved algorithm: a new version.",
        SetStopTakeProfit,
        "algos",
        "algo",
        set_stop_take_profit,
    ),
    Tool(
        "validate_algorithm",
        "Check an algorithm: every problem with line and fix, and warnings.",
        ValidateAlgorithm,
        "algos",
        "read",
        validate_algorithm,
    ),
)
