"""`wallet`: paper accounts, their money and their limits."""

from typing import Annotated, Any

import typer

from tradeagent.cli.complete import wallets
from tradeagent.cli.confirm import confirmed
from tradeagent.cli.group import lists
from tradeagent.cli.output import pairs, table
from tradeagent.cli.session import session

app = typer.Typer(help="Accounts: paper by default.")
Amount = Annotated[str, typer.Argument(help="USDC")]
Name = Annotated[str, typer.Argument(help="wallet name", autocompletion=wallets)]


@lists(app)
def list_() -> None:
    """Every wallet with its equity and what runs on it."""
    from tradeagent.runtime.views import wallet_rows

    rows = wallet_rows(session().workspace, session().config, session().ledger, session().clock)
    columns = ["name", "network", "group", "deployment", "equity", "day_pnl", "drawdown_pct", "halt"]
    empty = "no wallets yet: `tradeagent wallet new NAME --cash 10000`, or `tradeagent run AGENT` makes one"
    session().output.document(rows, table(rows, columns, right=("equity", "day_pnl", "drawdown_pct"), empty=empty))


@app.command()
def new(
    name: Name,
    venue: Annotated[str, typer.Option(help="paper | hyperliquid")] = "paper",
    network: Annotated[str | None, typer.Option(help="paper | rehearsal | testnet | mainnet")] = None,
    group: Annotated[str, typer.Option(help="agent | algo")] = "agent",
    cash: Annotated[str | None, typer.Option(help="first deposit on paper, USDC")] = None,
    limit: Annotated[list[str] | None, typer.Option("--limit", help="a limit of manual orders, KEY=VALUE; repeat")] = None,
) -> None:
    """Make a wallet. Example: tradeagent wallet new main --cash 10000 --limit max_leverage=5"""
    from tradeagent.runtime.wallets import WalletRequest, create_wallet

    current = session()
    current.workspace.require_writable()
    request = WalletRequest(name, venue, network or ("paper" if venue == "paper" else "testnet"), group, cash, tuple(limit or ()))
    create_wallet(current.workspace, current.config, current.ledger, current.clock, request)
    show(name)


@app.command()
def show(name: Name) -> None:
    """Cash, equity, margin, day PnL, drawdown, positions and open orders of one wallet."""
    from tradeagent.runtime.views import wallet_view

    data = wallet_view(session().workspace, session().config, session().ledger, session().clock, name)
    apart = ("positions", "open_orders", "limits", "health", "market_hours", "notes")
    head = {key: value for key, value in data.items() if key not in apart}
    text = "\n\n".join([pairs(head), pairs(_health(data))])
    if data["positions"]:
        text += "\n\n" + positions_table(data["positions"])
    session().output.document(data, text)


def _health(data: dict[str, Any]) -> dict[str, Any]:
    """What the figures rest on, a line each."""
    health, hours = data["health"], data["market_hours"]
    lease, model, budget = health["lease"], health["model"], health["budget"]
    compared = health["reconciliation"]
    opens = "open" if hours["open"] else f"closed until {hours['opens_at']}"
    return {
        "feed_age_s": ", ".join(f"{market} {'unknown' if age is None else age}" for market, age in health["feed_age_s"].items()) or None,
        "compared_s_ago": compared["age_s"],
        "lease": None if lease is None else f"{lease['deployment']}, heard of {lease['heartbeat_age_s']} s ago",
        "model": None if model is None else " ".join(filter(None, (model["id"], model["trouble"]))),
        "model_spend_usd": f"{budget['spent_today_usd']} of {budget['cap_usd'] or 'no cap'} today",
        "entry_hours": f"{hours['session_hours'] or 'always'}, {opens}",
        "notes": " ".join(data["notes"]) or None,
    }


@app.command()
def deposit(name: Name, amount: Amount) -> None:
    """Put paper money in. A deposit never counts as profit and never hides a drawdown."""
    _move(name, amount, 1)


@app.command()
def withdraw(name: Name, amount: Amount) -> None:
    """Take paper money out, never beyond what is free."""
    _move(name, amount, -1)


@app.command()
def transfer(
    source: Annotated[str, typer.Argument(help="wallet that gives", autocompletion=wallets)],
    target: Annotated[str, typer.Argument(help="wallet that takes", autocompletion=wallets)],
    amount: Amount,
) -> None:
    """Move paper money between two wallets, never beyond what is free. Example: tradeagent wallet transfer main btc_momentum 500"""
    from tradeagent.runtime.views import wallet_view
    from tradeagent.runtime.wallets import transfer_cash

    current = session()
    current.workspace.require_writable()
    place = (current.workspace, current.config, current.ledger, current.clock)
    transfer_cash(*place, (source, target), amount)
    sides = {"from": wallet_view(*place, source), "to": wallet_view(*place, target)}
    data = {side: {key: view[key] for key in ("name", "cash", "equity")} for side, view in sides.items()}
    current.output.document({"amount": amount, **data}, table(list(data.values()), ["name", "cash", "equity"], right=("cash", "equity")))


@app.command()
def remove(name: Name) -> None:
    """Take a wallet out of use when nothing is open or running on it. Its history stays, and keeps its name."""
    from tradeagent.runtime.wallets import remove_wallet

    current = session()
    current.workspace.require_writable()
    current.wallet(name)
    confirmed(f"remove wallet {name}")
    remove_wallet(current.workspace, current.config, current.ledger, current.clock, name)
    current.output.document({"name": name, "removed": True}, f"{name} is out of use; `tradeagent wallet show {name}` still shows it")


def _move(name: str, amount: str, sign: int) -> None:
    from tradeagent.runtime.wallets import move_cash

    current = session()
    current.workspace.require_writable()
    move_cash(current.workspace, current.config, current.ledger, current.clock, name, amount, sign)
    show(name)


def positions_table(rows: list[dict[str, Any]]) -> str:
    """Positions for a person."""
    columns = [
        *(["wallet"] if rows and "wallet" in rows[0] else []),
        "market",
        "direction",
        "size",
        "entry_price",
        "mark_price",
        "unrealised_pnl",
        "stop",
        "target",
        "liquidation_price",
    ]
    shown = [{**row, "liquidation_price": row["liquidation_price"] or "unreachable"} for row in rows]
    return table(shown, columns, right=columns[-7:], empty="no open positions")
