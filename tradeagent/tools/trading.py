"""Tools of family trading: proposals for the door. The controller is the turn's own; a model cannot name another."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from tradeagent.domain.names import ExitReason, IntentKind, OrderType, Side, Tif, VerdictKind
from tradeagent.domain.order import Proposal, Verdict
from tradeagent.execution.protection import cancel_order as cancel_at_door
from tradeagent.execution.protection import move_protection, take_back_entries
from tradeagent.llm.contract import Tool, ToolResult
from tradeagent.tools.context import AgentContext
from tradeagent.tools.market import Arguments, Market

Amount = Annotated[Decimal, Field(gt=0, allow_inf_nan=False, max_digits=30)]
_UNITS = "sizes and max_ok in base units, prices in USDC a base unit, other money in USDC; limit and value as limit_key says"
Reason = Annotated[str, Field(default="", max_length=500, description="why, in one sentence")]


class ProposeOrder(Arguments):
    market: Market
    side: Literal["buy", "sell"]
    size: Amount | None = Field(default=None, description="base units; state size or quote, not both")
    quote: Amount | None = Field(default=None, description="USDC notional; state size or quote, not both")
    type: Literal["market", "limit"] = "market"
    price: Amount | None = Field(default=None, description="limit price")
    tif: Literal["gtc", "ioc", "alo"] = "gtc"
    stop: Amount | None = Field(default=None, description="stop price, required by most limits")
    target: Amount | None = Field(default=None, description="take-profit price")
    reduce_only: bool = False
    leverage: int | None = Field(default=None, ge=1, le=50)
    confidence: Annotated[Decimal, Field(ge=0, le=1)] | None = None
    reason: Reason


class ProposeRiskTrade(Arguments):
    market: Market
    side: Literal["buy", "sell"]
    entry: Amount | None = Field(default=None, description="limit price; without it the order goes to the market")
    stop: Amount
    target: Amount
    conviction: Annotated[Decimal, Field(ge=0, le=100)]
    risk_quote: Amount = Field(description="USDC lost at the stop, before costs; the size follows from it")
    reason: Reason


class ModifyProtection(Arguments):
    market: Market
    stop: Amount | None = None
    target: Amount | None = None
    reason: Reason


class ClosePosition(Arguments):
    market: Market
    reason: Reason


class CancelOrder(Arguments):
    order_id: str = Field(min_length=1, max_length=40)
    reason: Reason


def _answer(verdict: Verdict, context: AgentContext) -> ToolResult:
    """A verdict as the model sees it: what was refused and what would pass, or what happened; of a flip, what it closed first."""
    context.notes.verdicts.append(verdict)
    full = verdict.as_dict()
    content = {key: full[key] for key in ("verdict", "rule", "detail", "order", "closed", "fills") if full.get(key) not in (None, [])}
    failed = [check.rule.value for check in verdict.checks if not check.ok]
    if len(failed) > 1:
        content["also_failing"] = failed[1:]
    if "order" in content or verdict.rejection is not None:
        content["units"] = _UNITS
    return ToolResult(content, is_error=verdict.kind is VerdictKind.REJECTED)


async def propose_order(arguments: ProposeOrder, context: AgentContext) -> ToolResult:
    proposal = Proposal(
        market=arguments.market,
        side=Side(arguments.side),
        controller_id=context.deployment,
        kind=IntentKind.REDUCE if arguments.reduce_only else IntentKind.OPEN,
        type=OrderType(arguments.type),
        size=arguments.size,
        quote=arguments.quote,
        price=arguments.price,
        tif=Tif(arguments.tif),
        stop=arguments.stop,
        target=arguments.target,
        reduce_only=arguments.reduce_only,
        leverage=arguments.leverage,
        confidence=arguments.confidence,
        reason=arguments.reason,
        waking=context.waking,
    )
    return _answer(await context.engine.submit(proposal, context.actor), context)


async def propose_risk_trade(arguments: ProposeRiskTrade, context: AgentContext) -> ToolResult:
    proposal = Proposal(
        market=arguments.market,
        side=Side(arguments.side),
        controller_id=context.deployment,
        type=OrderType.MARKET if arguments.entry is None else OrderType.LIMIT,
        price=arguments.entry,
        stop=arguments.stop,
        target=arguments.target,
        risk_quote=arguments.risk_quote,
        conviction=arguments.conviction,
        reason=arguments.reason,
        waking=context.waking,
    )
    return _answer(await context.engine.submit(proposal, context.actor), context)


async def close_position(arguments: ClosePosition, context: AgentContext) -> ToolResult:
    engine, market = context.engine, arguments.market
    taken_back = await engine.alone(lambda: take_back_entries(engine, market, context.actor))
    answers = [_answer(verdict, context) for verdict in taken_back]
    held = engine.book.held_by(market, context.deployment)
    if held == 0 and answers:
        return answers[-1]
    if held == 0:
        return ToolResult.error("nothing_held", f"you hold nothing in {arguments.market}", "get_portfolio lists what you hold")
    proposal = Proposal(
        market=arguments.market,
        side=Side.SELL if held > 0 else Side.BUY,
        controller_id=context.deployment,
        kind=IntentKind.CLOSE,
        reduce_only=True,
        exit_reason=ExitReason.SIGNAL,
        reason=arguments.reason,
    )
    return _answer(await context.engine.submit(proposal, context.actor), context)


async def modify_protection(arguments: ModifyProtection, context: AgentContext) -> ToolResult:
    proposal = Proposal(
        market=arguments.market,
        side=Side.SELL,
        controller_id=context.deployment,
        kind=IntentKind.UPDATE,
        stop=arguments.stop,
        target=arguments.target,
        reason=arguments.reason,
    )
    return _answer(await context.engine.alone(lambda: move_protection(context.engine, proposal, context.actor)), context)


async def cancel_order(arguments: CancelOrder, context: AgentContext) -> ToolResult:
    return _answer(await context.engine.alone(lambda: cancel_at_door(context.engine, arguments.order_id, context.actor)), context)


ENTRY_TOOLS = frozenset({"propose_order", "propose_risk_trade"})
TRADING_TOOLS = (
    Tool(
        "propose_order",
        "Propose an order with its stop and target; the engine checks it against your limits.",
        ProposeOrder,
        "trading",
        "trade",
        propose_order,
    ),
    Tool(
        "propose_risk_trade",
        "Propose an entry sized by what it loses at its stop, with your conviction.",
        ProposeRiskTrade,
        "trading",
        "trade",
        propose_risk_trade,
    ),
    Tool(
        "modify_protection",
        "Move the stop or target of your position; where stops are required, a stop only tightens.",
        ModifyProtection,
        "trading",
        "trade",
        modify_protection,
    ),
    Tool("close_position", "Close all you hold in a market at the market.", ClosePosition, "trading", "trade", close_position),
    Tool("cancel_order", "Cancel one of your resting orders.", CancelOrder, "trading", "trade", cancel_order),
)
