"""One connection to an MCP server, owned by a task of its own: whatever the server does, who asks it gets an answer or an error in time.

Nothing is offered to a server beyond requests for its tools: no sampling, no questions to the user, no files.
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

import httpx2
import mcp_types as types
from mcp import Client, MCPError
from mcp.client import Transport
from mcp.client.streamable_http import streamable_http_client
from pydantic import ValidationError

from tradeagent import __version__
from tradeagent.domain.errors import NotFound, TradeAgentError, VenueError
from tradeagent.llm.keys import Key, scrub
from tradeagent.llm.untrusted import one_line
from tradeagent.llm.watch import release
from tradeagent.tools.mcp_process import Meter, child_environment, process_streams
from tradeagent.tools.mcp_servers import ServerSpec, resolved

CONNECT_S, LIST_S, CALL_S, PARTING_S = 20.0, 10.0, 60.0, 3.0
MOST_TOOLS, _MOST_PAGES = 256, 20
_SAID_SHOWN = 300
_T = TypeVar("_T")


class Link:
    """Open it, ask, close it. Every failure is one TradeAgentError that names the server."""

    def __init__(self, spec: ServerSpec, environment: Mapping[str, str]) -> None:
        self.spec = spec
        self._environment = environment
        self._secrets = {**resolved(spec, spec.env, environment), **resolved(spec, spec.headers, environment)}
        self._meter = Meter()
        self._words = bytearray()
        self._leave = asyncio.Event()
        self._ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._owner = asyncio.ensure_future(self._own())

    @property
    def is_alive(self) -> bool:
        return not self._owner.done()

    async def tools(self) -> list[types.Tool]:
        """All its tools, as it describes them now."""
        return await self._bounded(self._list(), CONNECT_S + LIST_S, "list its tools")

    async def call(self, name: str, arguments: Mapping[str, Any]) -> types.CallToolResult:
        """One call. What it answers is as it came: nothing of it is trusted, nor checked against what it promised."""
        params = types.CallToolRequestParams(name=name, arguments=dict(arguments))
        return await self._bounded(self._ask(types.CallToolRequest(params=params)), CONNECT_S + CALL_S, f"answer {name[:60]}")

    async def close(self) -> None:
        """Say goodbye; after a few seconds the connection is dropped, and its process killed, without it."""
        self._leave.set()
        if not self._ready.done():
            self._owner.cancel()
        await asyncio.wait({self._owner}, timeout=PARTING_S)
        release(self._owner)
        if self._ready.done() and not self._ready.cancelled():
            self._ready.exception()

    async def _ask(self, request: types.CallToolRequest) -> types.CallToolResult:
        client = await asyncio.shield(self._ready)
        self._meter.refill()
        # Not `client.call_tool`: it would check the answer against a schema of the server's, whose patterns may take for ever.
        return await client.session.send_request(request, types.CallToolResult, request_read_timeout_seconds=CALL_S)

    async def _list(self) -> list[types.Tool]:
        client = await asyncio.shield(self._ready)
        self._meter.refill()
        found: dict[str, types.Tool] = {}
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            page = await client.session.list_tools(params=types.PaginatedRequestParams(cursor=cursor))
            found |= {tool.name: tool for tool in page.tools}
            cursor = page.next_cursor
            if cursor is None or len(found) > MOST_TOOLS:
                break
        return list(found.values())[:MOST_TOOLS]

    async def _bounded(self, work: Coroutine[Any, Any, _T], seconds: float, what: str) -> _T:
        """The outcome of `work`, waited for no longer than that even if it ignores being cancelled."""
        asking = asyncio.ensure_future(work)
        try:
            await asyncio.wait({asking, self._owner}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done() and self._owner.done():
                await asyncio.wait({asking}, timeout=PARTING_S)  # it is told of the end as well
            if asking.done():
                return asking.result()
        except Exception as error:  # noqa: BLE001 - a server answers what it likes; all of it is the server's failure
            raise self._failure(error, what) from None
        finally:
            release(asking)
        raise self._failure(TimeoutError(f"nothing came for {seconds:g} s"), what)

    async def _own(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                client = await stack.enter_async_context(self._client())
                self._ready.set_result(client)
                await self._leave.wait()
        except Exception as error:  # noqa: BLE001 - worker boundary: whoever waits for the connection is told why there is none
            if not self._ready.done():
                self._ready.set_exception(error)
        finally:
            if not self._ready.done():
                self._ready.cancel()

    @asynccontextmanager
    async def _client(self) -> AsyncGenerator[Client, None]:
        info = types.Implementation(name="tradeagent", version=__version__)
        async with AsyncExitStack() as stack:
            if self.spec.url is None:
                environment = child_environment(self._environment, {name: self._secrets[name] for name in self.spec.env})
                transport: Transport = process_streams(self.spec.command, environment, self._meter, self._words)
            else:
                headers = {name: self._secrets[name] for name in self.spec.headers}
                limits = httpx2.Timeout(PARTING_S, read=CALL_S)
                http = httpx2.AsyncClient(headers=headers, timeout=limits, transport=_Metered(self._meter), trust_env=False)
                transport = streamable_http_client(self.spec.url, http_client=await stack.enter_async_context(http))
            client = Client(transport, read_timeout_seconds=LIST_S, client_info=info, cache=None)
            yield await stack.enter_async_context(client)

    def _failure(self, error: Exception, what: str) -> TradeAgentError:
        if isinstance(error, TradeAgentError):
            kind = NotFound if isinstance(error, NotFound) else type(error)
            return kind(f"MCP server {self.spec.name}: {error.message}", hint=error.hint)
        said = _said(_innermost(error))
        words = self._words.decode(errors="replace")
        told = one_line(said)[:_SAID_SHOWN] + (f"; it said: {one_line(words)[-_SAID_SHOWN:]}" if words.strip() else "")
        keys = [Key(value) for value in self._secrets.values()]
        return VenueError(
            f"MCP server {self.spec.name}: did not {what}: {scrub(told, self._environment, keys)}",
            hint=f"tradeagent mcp test {self.spec.key}",
            code="mcp_failed",
        )


class _Metered(httpx2.AsyncHTTPTransport):
    """Counts what a server answers over HTTP, and stops reading one that says too much."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._meter = meter

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        stream = response.stream
        assert isinstance(stream, httpx2.AsyncByteStream)
        response.stream = _Counted(stream, self._meter)
        return response


class _Counted(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, meter: Meter) -> None:
        self._stream, self._meter = stream, meter

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        async for piece in self._stream:
            if not self._meter.takes(len(piece)):
                raise httpx2.ReadError("it said more than it may")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


def _said(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        return "it answered what the protocol does not know"
    return str(error) if isinstance(error, (TimeoutError, OSError, MCPError)) else type(error).__name__


def _innermost(error: BaseException) -> BaseException:
    """The first cause inside the groups that task groups make of one failure."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return error
