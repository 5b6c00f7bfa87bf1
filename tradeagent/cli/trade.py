"""A person's hand on a wallet: `position`, `order`, `fills`. Through the same door and rules as everybody."""

from typing import Annotated, Any

import typer

from tradeagent.cli.complete import deployments, wallets
from tradeagent.cli.output import table
from tradeagent.cli.session import session
from tradeagent.cli.wallet import positions_table

position_app = typer.Typer(help="Open positions.", no_args_is_help=True)
order_app = typer.Typer(help="Orders by hand.", no_args_is_help=True)
WalletOption = Annotated[str, typer.Option("--wallet", help="wallet name", autocompletion=wallets)]
OnlyWallet = Annotated[str | None, typer.Option("--wallet", help="only this wallet", autocompletion=wallets)]


def register(app: typer.Typer) -> None:
    app.command()(fills)


def fills(
    wallet: OnlyWallet = None,
    deployment: Annotated[
        str | None, typer.Option("--deployment", help="only this run, or the newest of an agent", autocompletion=deployments)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="newest so many")] = 1000,
) -> None:
    """Executions, oldest first. realised_pnl is gross, as a venue states it."""
    from tradeagent.domain.clock import iso
    from tradeagent.domain.money import plain
    from tradeagent.ledger import trading

    only = session().narrowed(wallet, deployment)
    with session().ledger.reading() as tx:
        found = trading.fills_of(tx, **only, limit=limit)
    rows = [
        {
            "time": iso(f["time_ms"]),
            "wallet": f["wallet"],
            "deployment": f["deployment"],
            "market": f["market"],
            "side": f["side"],
            "size": plain(f["size"]),
            "price": plain(f["price"]),
            "fee": plain(f["fee"]),
            "liquidity": f["liquidity"],
            "order_id": str(f["oid"]),
            "cloid": f["cloid"],
            "trade_id": f["trade_id"],
            "realised_pnl": plain(f["realised_pnl"]),
            "exit_reason": f["exit_reason"],
        }
        for f in found
    ]
    columns = ["time", "deployment", "market", "side", "size", "price", "fee", "liquidity", "realised_pnl", "exit_reason"]
    session().output.document(rows, table(rows, columns, right=("size", "price", "fee", "realised_pnl"), empty="no fills yet"))


@position_app.command(name="list")
def position_list(wallet: OnlyWallet = None) -> None:
    """Open positions with stop, target and liquidation price, at the last mark."""
    rows = [{"wallet": view["name"], **row} for view in _views(wallet) for row in view["positions"]]
    session().output.document(rows, positions_table(rows))


@position_app.command(name="close")
def position_close(market: Annotated[str, typer.Argument(help="market to close")], wallet: WalletOption) -> None:
    """Close the whole position of a market at the market."""
    from tradeagent.cli.control import naming_kill
    from tradeagent.domain.names import IntentKind, Side
    from tradeagent.domain.order import Proposal

    with naming_kill(wallet):
        _submit(wallet, Proposal(market, Side.SELL, "manual", kind=IntentKind.CLOSE, whole_position=True), None, None)


@order_app.command(name="list")
def order_list(wallet: OnlyWallet = None) -> None:
    """Open orders."""
    from tradeagent.domain.clock import iso
    from tradeagent.execution.orders import order_dict
    from tradeagent.ledger import trading, wallets

    with session().ledger.reading() as tx:
        names = [wallets.get(tx, wallet).name] if wallet else [row.name for row in wallets.all_wallets(tx)]
        rows = [{**order_dict(order), "time": iso(order.created_ms)} for name in names for order in trading.live_orders(tx, name)]
    columns = ["order_id", "wallet", "market", "side", "type", "size", "filled", "price", "trigger", "reduce_only", "state", "time"]
    session().output.document(rows, table(rows, columns, right=("size", "filled", "price", "trigger"), empty="no open orders"))


@order_app.command(name="place")
def order_place(
    wallet: WalletOption,
    market: Annotated[str, typer.Option("--market", "-m")],
    side: Annotated[str, typer.Option(help="buy | sell")],
    size: Annotated[str | None, typer.Option(help="base units")] = None,
    quote: Annotated[str | None, typer.Option(help="USDC notional")] = None,
    type_: Annotated[
        str, typer.Option("--type", help="market | limit | stop_market | stop_limit | take_profit_market | take_profit_limit")
    ] = "market",
    price: Annotated[str | None, typer.Option(help="limit price")] = None,
    trigger: Annotated[str | None, typer.Option(help="trigger price")] = None,
    tif: Annotated[str, typer.Option(help="gtc | ioc | alo")] = "gtc",
    reduce_only: Annotated[bool, typer.Option("--reduce-only")] = False,
    stop: Annotated[str | None, typer.Option(help="stop price, resting as a reduce-only order")] = None,
    target: Annotated[str | None, typer.Option(help="take-profit price")] = None,
    leverage: Annotated[int | None, typer.Option(min=1)] = None,
    replay: Annotated[str | None, typer.Option(help="VENUE:MARKET:INTERVAL of imported bars; needs --at")] = None,
    at: Annotated[
        str | None, typer.Option(help="first move the wallet's market clock to this instant, no further than there are bars")
    ] = None,
) -> None:
    """Place an order by hand. Exit 3 when a rule refuses it, with what would have passed.

    Example: tradeagent order place --wallet main --market BTC --side buy --quote 50 --stop 60000
    """
    from tradeagent.domain.money import parse_decimal
    from tradeagent.domain.names import IntentKind, OrderType, Side, Tif
    from tradeagent.domain.order import Proposal

    def number(text: str | None, field: str) -> Any:
        return None if text is None else parse_decimal(text, field)

    proposal = Proposal(
        market=market,
        side=Side(_one_of(side, [s.value for s in Side], "--side")),
        controller_id="manual",
        kind=IntentKind.REDUCE if reduce_only else IntentKind.OPEN,
        type=OrderType(_one_of(type_, [t.value for t in OrderType], "--type")),
        size=number(size, "--size"),
        quote=number(quote, "--quote"),
        price=number(price, "--price"),
        trigger=number(trigger, "--trigger"),
        tif=Tif(_one_of(tif, [t.value for t in Tif], "--tif")),
        stop=number(stop, "--stop"),
        target=number(target, "--target"),
        reduce_only=reduce_only,
        leverage=leverage,
    )
    _submit(wallet, proposal, replay, at)


@order_app.command(name="cancel")
def order_cancel(order_id: Annotated[str, typer.Argument(help="order id or cloid")]) -> None:
    """Cancel an open order."""
    from tradeagent.domain.errors import NotFound
    from tradeagent.domain.names import IntentKind, Side
    from tradeagent.domain.order import Proposal
    from tradeagent.ledger import trading, wallets

    with session().ledger.reading() as tx:
        live = [order for row in wallets.all_wallets(tx) for order in trading.live_orders(tx, row.name)]
    found = [order for order in live if order_id in (str(order.oid), order.cloid)]
    if not found:
        raise NotFound(f"no open order {order_id!r}", hint="`tradeagent order list` shows them")
    if len(found) > 1:
        raise NotFound(f"order id {order_id} exists on {len(found)} wallets", hint="use its cloid from `tradeagent order list --json`")
    _submit(found[0].wallet, Proposal(found[0].market, Side.BUY, "manual", kind=IntentKind.CANCEL, order_id=found[0].cloid), None, None)


def _submit(wallet: str, proposal: Any, replay: str | None, at: str | None) -> None:
    """Through the door; print the verdict; a refusal is exit 3 with the rule as its code."""
    from tradeagent.cli.parsing import instant
    from tradeagent.domain.errors import InvalidInput, RefusedError, VenueError
    from tradeagent.runtime.hand import Moment, submit_by_hand
    from tradeagent.workspace.latch import make_room

    if (replay is None) != (at is None):
        raise InvalidInput("--replay and --at go together", hint="--replay hyperliquid:BTC:5m --at 2025-03-15T12:00Z")
    current = session()
    if proposal.reduce_only or proposal.whole_position or proposal.order_id is not None:
        make_room(current.workspace.kill_dir)
    current.workspace.require_writable()
    moment = Moment(replay, instant(at, "--at")) if replay is not None and at is not None else None
    verdict = submit_by_hand(current.place, wallet, proposal, moment)
    if verdict["verdict"] == "rejected":
        detail = verdict["detail"] or {}
        message = detail.get("message", "refused")
        if closed := verdict.get("closed"):
            message = f"{closed['size']} {closed['market']} was closed, and its opening on the other side was refused: {message}"
            detail = {**detail, "closed": closed, "fills": verdict["fills"]}
        code = verdict["rule"] or "venue_rejected"
        raise RefusedError(message, hint=_way_out(code, detail, wallet), code=code, details={**detail, "intent_id": verdict["intent_id"]})
    if verdict["verdict"] == "unknown":
        raise VenueError(
            f"the outcome is unknown: {(verdict['detail'] or {}).get('message', '')}", hint="it is being resolved; do not send it again"
        )
    order = verdict["order"] or {}
    text = (
        f"{verdict['verdict']}: {order.get('side', '')} {order.get('size', '')} {order.get('market', '')} {order.get('state', '')}".rstrip()
    )
    text += "".join(f"\n  filled {f['size']} at {f['price']}, fee {f['fee']}, realised {f['realised_pnl']}" for f in verdict["fills"])
    if verdict["verdict"] == "noop":
        text = (verdict["detail"] or {}).get("message", "nothing to do")
    current.output.document(verdict, text)


def _way_out(rule: str, detail: dict[str, Any], wallet: str) -> str:
    """What to do about a refusal: the size that passes where one does, else where the rule's state or limit is seen."""
    from tradeagent.workspace.disk import ROOM_KEY

    most = detail.get("max_ok")
    if most and most != "0" and detail.get("limit_key"):
        return f"at most {most} would pass {detail['limit_key']}"
    if detail.get("limit_key") == ROOM_KEY:
        return f"free some space on the disk of the workspace; `tradeagent config set {ROOM_KEY}` changes how much"
    ways = {
        "SHAPE": "`tradeagent order place --help` says what goes together",
        "PAUSED": "`tradeagent resume` the run on this wallet",
        "HALTED": f"`tradeagent clear-halt {wallet}`; after a kill, `tradeagent kill {wallet} --clear`",
        "LOCKOUT": f"`tradeagent clear-halt {wallet}`",
        "SESSION_HOURS": "`tradeagent config set trading.session_hours` changes them; none = always",
        "NEWS_LOCKOUT": "`tradeagent calendar list --min-importance 0.7` shows what is ahead",
        "FRESHNESS": "import newer bars, or place it on a replay: --replay VENUE:MARKET:INTERVAL --at TIME",
        "RECONCILING": "`tradeagent incidents` says what differs",
    }
    return ways.get(rule, f"`tradeagent limits --wallet {wallet}` shows every cap, `tradeagent wallet show {wallet}` the account")


def _one_of(text: str, allowed: list[str], field: str) -> str:
    from tradeagent.domain.errors import InvalidInput

    if text not in allowed:
        raise InvalidInput(f"{field}: {text!r} is not one of {', '.join(allowed)}", hint=f"write {field} {allowed[0]}")
    return text


def _views(wallet: str | None) -> list[dict[str, Any]]:
    from tradeagent.ledger import wallets
    from tradeagent.runtime.views import wallet_view

    current = session()
    with current.ledger.reading() as tx:
        names = [wallets.get(tx, wallet).name] if wallet else [row.name for row in wallets.all_wallets(tx)]
    return [wallet_view(current.workspace, current.config, current.ledger, current.clock, name) for name in names]
