"""Serving the desk's tools: to the program at the other end of the standard streams, or over HTTP on this machine to holders of a token."""

import asyncio
import contextlib
import errno
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.provider import AccessToken
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tradeagent.domain.errors import BusyError, Defect, Interrupted, InvalidInput, TradeAgentError
from tradeagent.domain.names import TokenScope
from tradeagent.ledger import tokens
from tradeagent.mcp.server import Context, Front
from tradeagent.runtime.place import Place
from tradeagent.tools.desk import DeskContext

HOST = "127.0.0.1"
MAX_BODY_BYTES = 1024 * 1024
MOST_SESSIONS, IDLE_S = 100, 1_800.0
MOST_AT_ONCE = 64
_PARTING_S = 2


async def serve_stdio(place: Place, desk: DeskContext, scope: TokenScope) -> None:
    """Serve until the other side closes its end. Standard output carries the protocol and nothing else."""
    server = Front(place, desk, lambda _: scope).server()
    # The thread that reads from the other side cannot be woken, so nothing waits for it; what is recorded is whole at any end.
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, os._exit, Interrupted.exit_code)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


async def serve_http(place: Place, desk: DeskContext, port: int, ready: Callable[[str], None]) -> None:
    """Serve on loopback until interrupted; port 0 is any that is free. `ready` is told the address. BusyError when the port is taken."""
    import uvicorn

    with contextlib.closing(_bound(port)) as listening:
        at = listening.getsockname()[1]
        settings = uvicorn.Config(
            http_app(place, desk, at),
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            limit_concurrency=MOST_AT_ONCE,
            timeout_graceful_shutdown=_PARTING_S,
        )
        ready(f"http://{HOST}:{at}/mcp")
        await uvicorn.Server(settings).serve(sockets=[listening])


def http_app(place: Place, desk: DeskContext, port: int) -> Starlette:
    """`/mcp` for holders of a token, `/health` for anybody on this machine. A page in a browser reaches neither: its origin betrays it."""
    names = [f"{host}:{port}" for host in (HOST, "localhost")]
    manager = StreamableHTTPSessionManager(
        Front(place, desk, _scope_of).server(),
        security_settings=TransportSecuritySettings(allowed_hosts=names, allowed_origins=[f"http://{name}" for name in names]),
        max_request_body_size=MAX_BODY_BYTES,
        max_sessions=MOST_SESSIONS,
        session_idle_timeout=IDLE_S,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with manager.run():
            yield

    return Starlette(
        routes=[
            Route("/mcp", endpoint=RequireAuthMiddleware(StreamableHTTPASGIApp(manager), [])),
            Route("/health", endpoint=_health),
        ],
        middleware=[Middleware(AuthenticationMiddleware, backend=BearerAuthBackend(_Door(place)))],
        lifespan=lifespan,
    )


class _Door:
    """Looks tokens up. What it hands on names the holder and the scope; the token itself ends here."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._noting: set[str] = set()

    async def verify_token(self, token: str) -> AccessToken | None:
        ledger, now = self._place.ledger, self._place.clock.now_ms()
        with ledger.reading() as tx:
            row = tokens.holder(tx, token)
        if row is None:
            return None
        if not tokens.is_touched(row, now) and row.id not in self._noting:
            self._noting.add(row.id)
            asyncio.get_running_loop().run_in_executor(None, self._note_use, row, now)
        return AccessToken(token="", client_id=row.id, scopes=[row.scope])

    def _note_use(self, row: tokens.TokenRow, now_ms: int) -> None:
        """Nobody waits for this: a ledger that is locked must not lock a reader out."""
        try:
            with suppress(TradeAgentError), self._place.ledger.transaction(durable=False) as tx:
                tokens.touch(tx, row, now_ms)
        finally:
            self._noting.discard(row.id)


def _scope_of(ctx: Context) -> TokenScope:
    """The scope of the token that came with this very request, not of the one that opened its session."""
    request: Any = ctx.request
    if not isinstance(request, Request) or not isinstance(request.user, AuthenticatedUser):
        raise Defect("an MCP request over HTTP without a token's holder")
    return TokenScope(request.user.scopes[0])


async def _health(_request: Request) -> JSONResponse:
    return JSONResponse({"ok": True})


def _bound(port: int) -> socket.socket:
    # asyncio sets TCP_NODELAY only where the protocol is named; without it each answer waits 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen()  # who is told the address may come at once
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise BusyError(f"--port: {port} is taken by another program", hint="--port 0 takes any that is free") from None
        raise InvalidInput(f"--port: {port} cannot be used: {error.strerror}", hint="use one above 1023, or --port 0") from None
    return listening
