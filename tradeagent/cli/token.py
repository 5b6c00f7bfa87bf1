"""`token`: who may call this workspace's tools over MCP."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradeagent.cli.output import table
from tradeagent.cli.session import session

if TYPE_CHECKING:
    from tradeagent.ledger.tokens import TokenRow

app = typer.Typer(help="Who may call this workspace's tools over MCP: make, list and revoke tokens.", no_args_is_help=True)


@app.command()
def new(
    scope: Annotated[str, typer.Option(help="read | algo | trade: how much it may do; each has what the one before has")],
    name: Annotated[str, typer.Option(help="who will use it")] = "",
) -> None:
    """Make a token, and show it this once. Example: tradeagent token new --scope read --name inspector

    `read` looks, `algo` also makes and tests algorithms and writes memory, `trade` also sees agents and their wallets and prepares
    cards that you confirm. None of them can trade.
    """
    from tradeagent.domain.errors import InvalidInput
    from tradeagent.domain.names import TokenScope
    from tradeagent.ledger import tokens

    if scope not in set(TokenScope):
        raise InvalidInput(f"--scope: {scope!r} is none of {', '.join(TokenScope)}", hint="tradeagent token new --scope read")
    current = session()
    current.workspace.require_writable()
    token_id = current.clock.new_id()
    with current.ledger.transaction() as tx:
        token = tokens.issue(tx, token_id, name, TokenScope(scope), current.clock.now_ms())
    shown = {"id": token_id, "token": token, "scope": scope, "name": name}
    current.output.document(shown, f"{token}\n\nscope {scope}, id {token_id}. It is not shown again; tradeagent token revoke {token_id}")


@app.command(name="list")
def list_() -> None:
    """Tokens, newest first, without the tokens themselves. Example: tradeagent token list"""
    from tradeagent.ledger import tokens

    with session().ledger.reading() as tx:
        rows = [_shown(row) for row in tokens.listed(tx)]
    columns = ["id", "name", "scope", "created", "used", "revoked"]
    session().output.document(rows, table(rows, columns, empty="no tokens; tradeagent token new --scope read"))


@app.command()
def revoke(reference: Annotated[str, typer.Argument(metavar="ID", help="id of the token, or the end of it")]) -> None:
    """End a token at once. Example: tradeagent token revoke 01K3AB"""
    from tradeagent.ledger import tokens

    current = session()
    with current.ledger.transaction() as tx:
        row = tokens.get(tx, reference)
        tokens.revoke(tx, row, current.clock.now_ms())
        row = tokens.get(tx, row.id)
    current.output.document(_shown(row), f"revoked {row.id}{f' ({row.name})' if row.name else ''}")


def _shown(row: "TokenRow") -> dict[str, Any]:
    from tradeagent.domain.clock import iso

    times = {"created": iso(row.created_ms), "used": iso(row.used_ms), "revoked": iso(row.revoked_ms)}
    return {"id": row.id, "name": row.name, "scope": row.scope, **times}
