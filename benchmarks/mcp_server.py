"""What a program waits for at our front door: connecting over HTTP and one cheap call, beside a bare server of the same SDK."""

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from benchmarks.measure import scratch
from benchmarks.report import Floor, Row, main
from tradeagent.domain.clock import SystemClock
from tradeagent.domain.names import TokenScope
from tradeagent.ledger import tokens
from tradeagent.ledger.store import open_ledger
from tradeagent.runtime.workspace import init_workspace
from tradeagent.workspace.paths import Workspace

CONNECTS, CALLS, WARM = 12, 60, 5
ECHO = """
import socket, uvicorn
from mcp.server import MCPServer
server = MCPServer("echo")

@server.tool()
def get_watchlist() -> dict[str, list[str]]:
    return {"watchlist": []}

listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
listening.bind(("127.0.0.1", 0))
listening.listen()
print('{"url": "http://127.0.0.1:%d/mcp"}' % listening.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(server.streamable_http_app(), log_config=None)).run(sockets=[listening])
"""


def rows() -> list[Row]:
    """Medians of wall milliseconds, ours and the bare server's one after the other in this run."""
    with scratch() as folder:
        token = _workspace(folder / "ws")
        ours = [sys.executable, "-m", "tradeagent", "mcp", "serve", "--http", "--port", "0", "--json", "-w", str(folder / "ws")]
        connect, call = _measured(ours, token)
        bare_connect, bare_call = _measured([sys.executable, "-c", ECHO], "")
    return [
        Row("MCP over HTTP: connect", connect, "ms wall", bound=200, floor=Floor("an echo server of the SDK", bare_connect)),
        Row("MCP over HTTP: a cheap call", call, "ms wall", bound=15, floor=Floor("an echo server of the SDK", bare_call)),
    ]


def _workspace(root: Path) -> str:
    init_workspace(root)
    ledger, clock = open_ledger(Workspace(root).ledger_file), SystemClock()
    with ledger.transaction() as tx:
        token = tokens.issue(tx, clock.new_id(), "", TokenScope.READ, clock.now_ms())
    ledger.close()
    return token


def _measured(command: list[str], token: str) -> tuple[float, float]:
    with _serving(command) as url:
        return asyncio.run(_timed(url, token))


@contextmanager
def _serving(command: list[str]) -> Iterator[str]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()


async def _timed(url: str, token: str) -> tuple[float, float]:
    connects, calls = [], []
    for _ in range(CONNECTS):
        async with httpx2.AsyncClient(headers={"authorization": f"Bearer {token}"} if token else {}) as http:
            began = time.perf_counter()
            async with Client(streamable_http_client(url, http_client=http)) as client:
                connects.append(time.perf_counter() - began)
                for _ in range(CALLS // CONNECTS + 1):
                    began = time.perf_counter()
                    result = await client.call_tool("get_watchlist", {})
                    calls.append(time.perf_counter() - began)
                    assert result.structured_content == {"watchlist": []}, result
    return statistics.median(connects[WARM:]) * 1000, statistics.median(calls[WARM:]) * 1000


if __name__ == "__main__":
    main(rows)
