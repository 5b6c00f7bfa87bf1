"""Tools of family deployment that prepare: each stores a confirm card and does nothing else. What is seen is what the mode sees.

A card is committed by a person's keypress or `tradeagent confirm ID`; whatever a message or an argument says, no tool can do it.
"""

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from tradeagent.domain.errors import InvalidInput, NotFound
from tradeagent.domain.names import CardKind
from tradeagent.llm.contract import Tool, ToolResult
from tradeagent.market.instruments import HYPERLIQUID
from tradeagent.market.stored_feed import StoredFeed
from tradeagent.tools.desk import DeskContext
from tradeagent.tools.desk_algos import AlgoRef, ParamValue
from tradeagent.tools.desk_backtests import Moment, OnBars, ParamName, place_of
from tradeagent.tools.desk_portfolio import WalletName
from tradeagent.tools.drafts import bench_of
from tradeagent.tools.market import Arguments
from tradeagent.tools.sight import run_seen, sees_agents, wallet_seen, wallets_seen
from tradeagent.workspace.claims import is_held

if TYPE_CHECKING:
    from tradeagent.assistant.drafts import Bench
    from tradeagent.ledger.cards import CardRow

Run = Annotated[str, Field(min_length=1, max_length=80, description="id of a run, or an algo or agent for its newest")]
Market = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[^\s,-][^\s,]*$")]
Interval = Annotated[str, Field(min_length=2, max_length=4, pattern=r"^[0-9]+[a-z]$", description="5m, 1h …")]
Leverage = Annotated[int, Field(ge=1, le=100)]
Params = Annotated[dict[ParamName, ParamValue], Field(max_length=20)]
Weight = Annotated[Decimal, Field(ge=0, le=1_000_000, max_digits=12)]


class DeployAlgo(Arguments):
    algo: AlgoRef
    wallet: WalletName
    market: Market | None = Field(default=None, description="without it the algo's own")
    interval: Interval | None = None
    params: Params = Field(default_factory=dict, description="values by name")
    leverage: Leverage | None = None


class StopRun(Arguments):
    deployment: Run
    close_positions: bool = Field(default=False, description="close them at market; otherwise they stay with their stops")


class Prepare(Arguments):
    kind: Literal["deploy", "stop", "restart", "start_backtest", "save_draft", "rebalance"]
    algo: AlgoRef | None = Field(default=None, description="deploy, start_backtest")
    agent: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,48}$")] | None = Field(default=None, description="deploy: an agent's folder")
    wallet: WalletName | None = Field(default=None, description="deploy")
    market: Market | None = Field(default=None, description="of the algo")
    interval: Interval | None = Field(default=None, description="of the algo")
    params: Params = Field(default_factory=dict, description="of the algo")
    leverage: Leverage | None = Field(default=None, description="of the algo")
    start: Moment | None = Field(default=None, description="start_backtest: first bar, UTC")
    end: Moment | None = Field(default=None, description="start_backtest: last bar, UTC")
    deployment: Run | None = Field(default=None, description="stop, restart")
    close_positions: bool = Field(default=False, description="stop")
    draft: str | None = Field(default=None, min_length=4, max_length=40, description="save_draft; without it the one changed last here")
    weights: dict[WalletName, Weight] | None = Field(
        default=None, max_length=50, description="rebalance: shares by wallet; equal among all that are idle without it"
    )


_ON_ALGO = frozenset({"algo", "market", "interval", "params", "leverage"})
_FIELDS: Mapping[str, frozenset[str]] = {
    "deploy": _ON_ALGO | {"agent", "wallet"},
    "stop": frozenset({"deployment", "close_positions"}),
    "restart": frozenset({"deployment"}),
    "start_backtest": _ON_ALGO | {"start", "end"},
    "save_draft": frozenset({"draft"}),
    "rebalance": frozenset({"weights"}),
}


async def prepare_action(arguments: Prepare, context: DeskContext) -> ToolResult:
    given = arguments.model_fields_set - {"kind"}
    strange = sorted(given - _FIELDS[arguments.kind])
    if strange:
        raise InvalidInput(
            f"{strange[0]} does not belong to kind {arguments.kind}", hint=f"it takes {', '.join(sorted(_FIELDS[arguments.kind]))}"
        )
    return await _prepared(context, CardKind(arguments.kind), _ACTIONS[arguments.kind], arguments)


async def deploy_algo_to_wallet(arguments: DeployAlgo, context: DeskContext) -> ToolResult:
    return await _prepared(context, CardKind.DEPLOY, _deploy, Prepare(kind="deploy", **_given(arguments)))


async def stop_algo_run(arguments: StopRun, context: DeskContext) -> ToolResult:
    with context.ledger.reading() as tx:
        run = run_seen(tx, context, arguments.deployment)
    if run.kind != "algo":
        raise InvalidInput(f"deployment: {run.id} is an agent's", hint="prepare_action with kind stop")
    return await _prepared(context, CardKind.STOP, _stop, Prepare(kind="stop", **_given(arguments)))


def _given(arguments: Arguments) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in arguments.model_fields_set}


Action = Callable[[DeskContext, "Bench", Prepare], dict[str, Any]]


async def _prepared(context: DeskContext, kind: CardKind, action_of: Action, arguments: Prepare) -> ToolResult:
    """Make the action, look at what it would do, and store the card."""

    def done() -> "CardRow":
        from tradeagent.assistant.cards import prepare

        bench = bench_of(context)
        return prepare(bench, kind, action_of(context, bench, arguments), context.session)

    return ToolResult(_answer(await asyncio.to_thread(done)))


def _answer(row: "CardRow") -> dict[str, Any]:
    from tradeagent.domain.clock import iso

    return {
        "card": row.id,
        "kind": row.kind,
        "target": row.target,
        "consequences": {key: value for key, value in row.consequences.items() if key != "text"},
        "expires": iso(row.expires_ms),
        "next": f"nothing has happened yet: the user reads the card and commits it, by a key or with `tradeagent confirm {row.id}`",
    }


def _deploy(context: DeskContext, bench: "Bench", arguments: Prepare) -> dict[str, Any]:
    from tradeagent.assistant import cards

    if (arguments.algo is None) == (arguments.agent is None):
        raise InvalidInput("give either algo or agent", hint="algo is a saved algorithm or a built-in, agent a folder")
    wallet = _required("wallet", arguments.wallet)
    with context.ledger.reading() as tx:
        wallet_seen(tx, context, wallet)
    if arguments.algo is not None:
        place = (_venue(context, arguments.market), arguments.market or "", arguments.interval or "")
        return cards.deploy_algo(bench, arguments.algo, wallet, place, arguments.params, arguments.leverage)
    if not sees_agents(context.mode):
        raise NotFound(f"agent: there is no {arguments.agent!r} that mode {context.mode} sees", hint="the user changes to mode ops")
    if _ON_ALGO & arguments.model_fields_set:
        raise InvalidInput("an agent's own file says what it trades", hint="give agent and wallet only")
    return cards.deploy_agent(bench, arguments.agent or "", wallet)


def _venue(context: DeskContext, market: str | None) -> str:
    """Where the stored bars of a market are from."""
    feed = context.feed
    return feed.venue_of(market) if isinstance(feed, StoredFeed) and market is not None and market in feed.markets else HYPERLIQUID


def _stop(context: DeskContext, _bench: "Bench", arguments: Prepare) -> dict[str, Any]:
    from tradeagent.assistant.cards import stop

    return stop(_run(context, arguments), unwind=arguments.close_positions)


def _restart(context: DeskContext, bench: "Bench", arguments: Prepare) -> dict[str, Any]:
    from tradeagent.assistant.cards import restart

    return restart(bench, _run(context, arguments))


def _run(context: DeskContext, arguments: Prepare) -> str:
    named = _required("deployment", arguments.deployment)
    with context.ledger.reading() as tx:
        return run_seen(tx, context, named).id


def _backtest(context: DeskContext, _bench: "Bench", arguments: Prepare) -> dict[str, Any]:
    from tradeagent.algos.store import find

    stored = find(context.ledger, _required("algo", arguments.algo))
    name = stored.name if stored.version is None else f"{stored.name}@{stored.version}"
    asked = OnBars(
        algo=name,
        market=arguments.market,
        interval=arguments.interval,
        start=arguments.start,
        end=arguments.end,
        leverage=arguments.leverage,
    )
    params = [f"--param={key}={value}" for key, value in arguments.params.items()]
    return {"algo": name, "argv": ["backtest", "run", name, *place_of(context, stored, asked).argv(asked), *params]}


def _save_draft(context: DeskContext, bench: "Bench", arguments: Prepare) -> dict[str, Any]:
    from tradeagent.assistant.cards import save_draft

    return save_draft(bench, arguments.draft, context.session)


def _rebalance(context: DeskContext, bench: "Bench", arguments: Prepare) -> dict[str, Any]:
    from tradeagent.assistant.cards import rebalance

    with context.ledger.reading() as tx:
        seen = {row.name: row for row in wallets_seen(tx, context)}
        for name in arguments.weights or ():
            wallet_seen(tx, context, name)
    idle = [name for name, row in seen.items() if row.venue == "paper" and not is_held(context.workspace, name)]
    return rebalance(bench, list(arguments.weights or idle), arguments.weights)


def _required(field: str, value: str | None) -> str:
    if value is None:
        raise InvalidInput(f"{field} is missing", hint=f"give {field}")
    return value


_ACTIONS: Mapping[str, Action] = {
    "deploy": _deploy,
    "stop": _stop,
    "restart": _restart,
    "start_backtest": _backtest,
    "save_draft": _save_draft,
    "rebalance": _rebalance,
}

ACTION_TOOLS = (
    Tool(
        "deploy_algo_to_wallet",
        "Prepare the card that puts an algorithm on a wallet, with gates and worst case.",
        DeployAlgo,
        "deployment",
        "ops",
        deploy_algo_to_wallet,
    ),
    Tool("stop_algo_run", "Prepare the card that stops an algorithm's run.", StopRun, "deployment", "ops", stop_algo_run),
    Tool(
        "prepare_action",
        "Prepare a card: deploy, stop, restart, start_backtest, save_draft, rebalance. Only the user commits it.",
        Prepare,
        "deployment",
        "ops",
        prepare_action,
    ),
)
