"""Tools of family executors: operations of several orders that run on their own, and `place_twap`, the one that is also asked by name."""

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field

from tradeagent.domain.errors import TradeAgentError
from tradeagent.domain.names import ExecutorType, VerdictKind
from tradeagent.domain.order import Verdict
from tradeagent.execution.executors.admission import Order, create
from tradeagent.execution.executors.desk import figures_of, stop
from tradeagent.execution.executors.records import as_dict
from tradeagent.execution.executors.specs import SPECS, parse_spec
from tradeagent.execution.executors.types import MACHINES
from tradeagent.ledger import executors
from tradeagent.ledger.executors import ExecutorRow
from tradeagent.llm.contract import Tool, ToolResult
from tradeagent.tools.context import AgentContext
from tradeagent.tools.market import Arguments, Market
from tradeagent.tools.portfolio import Nothing
from tradeagent.tools.trading import Amount, Reason

TypeName = Literal["order", "position", "grid", "dca", "twap"]


class DescribeExecutor(Arguments):
    type: TypeName


class CreateExecutor(Arguments):
    type: TypeName
    fields: dict[str, Any] = Field(description="market, side and the fields that describe_executor lists")
    controller_id: str | None = Field(default=None, max_length=80, description="yours; filled in")
    confidence: Annotated[Decimal, Field(ge=0, le=1)] | None = None
    reason: Reason


class StopExecutor(Arguments):
    executor_id: str = Field(min_length=1, max_length=40)
    keep_position: bool = Field(description="true: you keep what it holds, with stop and target; false: it is closed at the market")
    reason: Reason


class ListExecutors(Arguments):
    ended: bool = Field(default=False, description="also those that have ended")


class PlaceTwap(Arguments):
    market: Market
    side: Literal["buy", "sell"]
    total_amount_quote: Amount
    duration_s: int = Field(ge=1)
    interval_s: int = Field(default=300, ge=30)
    price_limit: Amount | None = None
    stop: Amount | None = None
    reduce_only: bool = False
    reason: Reason


async def list_executor_types(_arguments: Nothing, _context: AgentContext) -> ToolResult:
    return ToolResult({"types": {kind.value: machine.about for kind, machine in MACHINES.items()}})


async def describe_executor(arguments: DescribeExecutor, _context: AgentContext) -> ToolResult:
    kind = ExecutorType(arguments.type)
    return ToolResult({"type": kind.value, "about": MACHINES[kind].about, "fields": SPECS[kind].model_json_schema()})


async def create_executor(arguments: CreateExecutor, context: AgentContext) -> ToolResult:
    kind = ExecutorType(arguments.type)
    return await _create(kind, arguments.fields, arguments.reason, context, arguments.confidence, arguments.controller_id)


async def place_twap(arguments: PlaceTwap, context: AgentContext) -> ToolResult:
    fields = arguments.model_dump(exclude={"reason"}, exclude_none=True)
    return await _create(ExecutorType.TWAP, fields, arguments.reason, context)


async def stop_executor(arguments: StopExecutor, context: AgentContext) -> ToolResult:
    engine = context.engine
    try:
        row = await engine.alone(
            lambda: stop(engine, arguments.executor_id, keep_position=arguments.keep_position, deployment=context.deployment)
        )
    except TradeAgentError as error:
        return ToolResult.error(error.code, error.message, error.hint)
    return ToolResult({"position": "kept" if arguments.keep_position else "unwound", "executor": _shown(row, context)})


async def list_executors(arguments: ListExecutors, context: AgentContext) -> ToolResult:
    with context.ledger.reading() as tx:
        rows = executors.of_deployment(tx, context.deployment, ended_since_ms=0 if arguments.ended else context.clock.now_ms() + 1)
    return ToolResult({"executors": [_shown(row, context) for row in rows]})


async def _create(
    kind: ExecutorType,
    fields: dict[str, Any],
    reason: str,
    context: AgentContext,
    confidence: Decimal | None = None,
    controller_id: str | None = None,
) -> ToolResult:
    try:
        wanted = Order(kind, parse_spec(kind, fields), reason, confidence, controller_id, context.waking)
    except TradeAgentError as error:
        return ToolResult.error(error.code, error.message, error.hint)
    verdict, row = await create(context.engine, wanted, context.actor)
    return _answer(verdict, row, context)


def _answer(verdict: Verdict, row: ExecutorRow | None, context: AgentContext) -> ToolResult:
    """The verdict on the whole, and the executor after its first step; one that failed at once is an error that says why."""
    context.notes.verdicts.append(verdict)
    full = verdict.as_dict()
    content = {key: full[key] for key in ("verdict", "rule", "detail") if full[key] is not None}
    if row is not None:
        content["executor"] = _shown(row, context)
    return ToolResult(content, is_error=verdict.kind is VerdictKind.REJECTED or (row is not None and row.close_type == "failed"))


def _shown(row: ExecutorRow, context: AgentContext) -> dict[str, Any]:
    pnl, fees, volume = figures_of(context.engine, row)
    return as_dict(row, pnl, fees, volume, context.clock.now_ms())


EXECUTOR_ENTRY_TOOLS = frozenset({"create_executor", "place_twap"})
EXECUTOR_TOOLS = (
    Tool("list_executor_types", "What kinds of executors there are.", Nothing, "executors", "read", list_executor_types),
    Tool("describe_executor", "The fields of one kind of executor.", DescribeExecutor, "executors", "read", describe_executor),
    Tool(
        "create_executor",
        "Start an operation that runs on its own; its planned total is checked against your limits.",
        CreateExecutor,
        "executors",
        "trade",
        create_executor,
    ),
    Tool(
        "stop_executor", "End one of your executors, keeping or closing what it holds.", StopExecutor, "executors", "trade", stop_executor
    ),
    Tool("list_executors", "Your executors with status, PnL and volume.", ListExecutors, "executors", "read", list_executors),
    Tool("place_twap", "Split a total into equal market orders over time.", PlaceTwap, "trading", "trade", place_twap),
)
