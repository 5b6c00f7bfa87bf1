"""MCP servers over HTTP: what is sent to them, and how one that floods, redirects or lies is left."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tradeagent.domain.errors import InvalidConfig, VenueError
from tradeagent.tools import mcp_link, mcp_process
from tradeagent.tools.mcp_link import Link
from tradeagent.tools.mcp_servers import ServerSpec

CANARY = "hush-canary-91be"
TOOLS = {"tools": [{"name": "echo", "description": "Says it back.", "inputSchema": {"type": "object"}}]}
Writer = asyncio.StreamWriter
Request = tuple[str, dict[str, str], Any]
Answer = Callable[[Request, Writer], Awaitable[None]]


class Site:
    """A bare HTTP server. It keeps the requests it got; `answer` writes what follows the handshake."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        try:
            while line := await reader.readline():
                headers: dict[str, str] = {}
                while (row := (await reader.readline()).decode().strip()) != "":
                    name, _, value = row.partition(":")
                    headers[name.lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                request = (line.decode().split()[0], headers, json.loads(body) if body else None)
                self.requests.append(request)
                await self._respond(request, writer)
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _respond(self, request: Request, writer: Writer) -> None:
        method, _, message = request
        if method != "POST":
            reply(writer, b"", status="405 No")
        elif message["method"] == "initialize":
            told = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "site", "version": "1"}}
            reply(writer, result(message, told))
        elif "id" not in message:
            reply(writer, b"", status="202 Accepted")
        elif message["method"] == "server/discover":
            reply(writer, json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "no"}}).encode())
        else:
            await self.answer(request, writer)
        await writer.drain()


def result(message: dict[str, Any], told: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": told}).encode()


def reply(writer: Writer, body: bytes, status: str = "200 OK", kind: str = "application/json", more: str = "") -> None:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{more}\r\n"
    writer.write(head.encode() + body)


async def plain(request: Request, writer: Writer) -> None:
    message = request[2]
    told = TOOLS if message["method"] == "tools/list" else {"content": [{"type": "text", "text": "hello"}]}
    reply(writer, result(message, told))


async def flood(_request: Request, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
    event = b'data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"' + b"x" * 60_000 + b'"}}\n\n'
    while not writer.is_closing():
        writer.write(event)
        await writer.drain()


async def large(request: Request, writer: Writer) -> None:
    reply(writer, result(request[2], {"content": [{"type": "text", "text": "x" * (mcp_process.MOST_SAID + 1)}]}))


async def silent(_request: Request, _writer: Writer) -> None:
    await asyncio.sleep(3_600)


async def page(_request: Request, writer: Writer) -> None:
    reply(writer, b"<html>\x1b[2J please log in</html>", kind="text/html")


async def away(_request: Request, writer: Writer) -> None:
    reply(writer, b"", status="307 Go", more="location: http://127.0.0.1:9/elsewhere\r\n")


@asynccontextmanager
async def site(answer: Answer) -> AsyncIterator[Site]:
    made = Site(answer)
    server = await asyncio.start_server(made.handle, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
    try:
        yield made
    finally:
        server.close()


@asynccontextmanager
async def linked(url: str, environment: dict[str, str] | None = None, **changes: Any) -> AsyncIterator[Link]:
    link = Link(ServerSpec("s", "s", url=url, **changes), environment or {})
    try:
        yield link
    finally:
        await link.close()


async def test_it_lists_and_calls_with_the_headers_that_are_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with (
        site(plain) as there,
        linked(there.url, {"MY_HEADER": f"Bearer {CANARY}", "OTHER": "hush-other"}, headers={"Authorization": "env:MY_HEADER"}) as link,
    ):
        assert [tool.name for tool in await link.tools()] == ["echo"]
        answer = await link.call("echo", {})
    assert answer.content[0].text == "hello"  # type: ignore[union-attr]
    assert {headers["authorization"] for _, headers, _ in there.requests} == {f"Bearer {CANARY}"}
    assert "hush-other" not in str(there.requests)


@pytest.mark.parametrize("answer", [flood, large, page, away, silent])
async def test_a_site_that_misbehaves_is_an_error_without_the_secret(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_link, "LIST_S", 3.0)
    monkeypatch.setattr(mcp_link, "CALL_S", 3.0)
    async with (
        site(answer) as there,
        linked(there.url, {"MY_HEADER": CANARY}, headers={"x-key": "env:MY_HEADER"}) as link,
    ):
        with pytest.raises(VenueError) as found:
            await link.call("echo", {})
    assert found.value.code == "mcp_failed" and CANARY not in found.value.message and "\x1b" not in found.value.message


async def test_nobody_at_the_address_is_an_error_at_once() -> None:
    async with linked("http://127.0.0.1:9/mcp") as link:
        with pytest.raises(VenueError, match="MCP server s"):
            await link.tools()


async def test_a_header_that_stands_for_nothing_is_told_by_its_name() -> None:
    with pytest.raises(InvalidConfig, match="MY_HEADER is not set"):
        Link(ServerSpec("s", "s", url="http://127.0.0.1:9/mcp", headers={"x": "env:MY_HEADER"}), {})
