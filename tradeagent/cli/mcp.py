"""`mcp`: this workspace's tools for other programs, and other programs' tools for its minds."""

from typing import TYPE_CHECKING, Annotated

import typer

from tradeagent.cli import mcp_servers
from tradeagent.cli.session import session

if TYPE_CHECKING:
    from tradeagent.domain.names import TokenScope
    from tradeagent.ledger.store import Ledger

app = typer.Typer(help="The Model Context Protocol, both ways: serve this workspace's tools, use those of others.", no_args_is_help=True)
mcp_servers.register(app)
PORT = 8765
TOKEN_VARIABLE = "TRADEAGENT_TOKEN"


@app.command()
def serve(
    http: Annotated[bool, typer.Option("--http", help="over HTTP on this machine, for holders of a token")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="of --http; 0 takes any that is free")] = PORT,
) -> None:
    """Serve this workspace's tools: over standard input and output, or with --http at 127.0.0.1. Example: tradeagent mcp serve

    A token decides what its holder may do: `tradeagent token new --scope read`. Over HTTP each request carries one; the program that
    started this one may give one in TRADEAGENT_TOKEN, and without it has the scope algo.
    """
    import asyncio
    from contextlib import closing

    from tradeagent.assistant.memory import Memory
    from tradeagent.mcp.serving import serve_http, serve_stdio
    from tradeagent.runtime.assistant import desk_of

    current = session()
    place = current.writable()
    output = current.output

    def ready(address: str) -> None:
        if output.json:
            output.document({"url": address}, address)
        output.say(f"serving at {address}; Ctrl-C ends it. Who has no token yet: tradeagent token new --scope read")

    with closing(Memory(place.workspace, place.clock)) as memory:
        desk = desk_of(place, memory)
        asyncio.run(serve_http(place, desk, port, ready) if http else serve_stdio(place, desk, _own_scope(place.ledger)))


def _own_scope(ledger: "Ledger") -> "TokenScope":
    """What the program that started this one may do."""
    import os

    from tradeagent.domain.errors import InvalidInput
    from tradeagent.domain.names import TokenScope
    from tradeagent.ledger import tokens

    token = os.environ.get(TOKEN_VARIABLE)
    if not token:
        return TokenScope.ALGO
    with ledger.reading() as tx:
        row = tokens.holder(tx, token)
    if row is None:
        raise InvalidInput(f"{TOKEN_VARIABLE}: it is no token of this workspace, or is revoked", hint="tradeagent token new --scope read")
    return TokenScope(row.scope)
