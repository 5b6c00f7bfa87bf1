"""`mcp serve` in a process of its own: the pipe carries the protocol and nothing else, HTTP lets in holders of a token, no browser."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from study_workspace import copied

from tradeagent.cli.entry import run
from tradeagent.domain.clock import SystemClock
from tradeagent.domain.names import TokenScope
from tradeagent.ledger import tokens
from tradeagent.ledger.store import Ledger, open_ledger
from tradeagent.tools.registry import tools_in_scope
from tradeagent.workspace.paths import Workspace

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}
ACCEPTS = {"accept": "application/json, text/event-stream"}


def command(root: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "tradeagent", "mcp", "serve", *words, "-w", str(root)]


class Served:
    """A server over HTTP, and the tokens that open it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.process = subprocess.Popen(
            command(root, "--http", "--port", "0", "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.url: str = json.loads(self.process.stdout.readline())["url"]
        self.base = self.url.removesuffix("/mcp")

    def token(self, scope: TokenScope) -> tuple[str, str]:
        ledger, clock = open_ledger(Workspace(self.root).ledger_file), SystemClock()
        with ledger.transaction() as tx:
            token_id = clock.new_id()
            token = tokens.issue(tx, token_id, "", scope, clock.now_ms())
        ledger.close()
        return token_id, token

    def end(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out + err

    @asynccontextmanager
    async def client(self, token: str, mode: str = "auto") -> AsyncIterator[Client]:
        async with (
            httpx2.AsyncClient(headers={"authorization": f"Bearer {token}"}) as http,
            Client(streamable_http_client(self.url, http_client=http), mode=mode) as client,
        ):
            yield client


@pytest.fixture(scope="module")
def served(mcp_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    running = Served(copied(mcp_base, tmp_path_factory.mktemp("http") / "ws"))
    yield running
    code, said = running.end()
    assert code == 130 and "Traceback" not in said
    assert "tat_" not in said, "a token reached a log"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("scope", TokenScope)
async def test_a_token_opens_what_its_scope_has(served: Served, scope: TokenScope, mode: str) -> None:
    async with served.client(served.token(scope)[1], mode) as client:
        listed = [tool.name for tool in (await client.list_tools()).tools]
        found = await client.call_tool("list_algorithms", {})
        write = await client.call_tool("memory_write", {"path": f"research/{scope}-{mode}.md", "text": "x"})
    assert listed == [tool.name for tool in tools_in_scope(scope)]
    assert found.structured_content is not None and found.structured_content["algorithms"]
    assert write.is_error == (scope is TokenScope.READ)


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer tat_", f"Bearer tat_{'a' * 43}", "Basic dGF0Xw==", "tat_x"])
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_nobody_without_a_token_gets_past_the_door(served: Served, method: str, authorization: str | None) -> None:
    headers = ACCEPTS | ({} if authorization is None else {"authorization": authorization})
    async with httpx2.AsyncClient() as http:
        found = await http.request(method, served.url, headers=headers, json=HELLO if method == "POST" else None)
    assert found.status_code == 401 and "www-authenticate" in found.headers


async def test_a_token_revoked_while_it_is_used_opens_nothing_more(served: Served) -> None:
    token_id, token = served.token(TokenScope.READ)
    headers = {"authorization": f"Bearer {token}", **ACCEPTS}
    async with httpx2.AsyncClient(headers=headers) as http:
        opened = await http.post(served.url, json=HELLO)
        assert opened.status_code == 200
        session = {"mcp-session-id": opened.headers["mcp-session-id"]}
        ledger = open_ledger(Workspace(served.root).ledger_file)
        async with asyncio.timeout(20):
            while _row(ledger, token_id).used_ms is None:
                await asyncio.sleep(0.02)
        with ledger.transaction() as tx:
            tokens.revoke(tx, tokens.get(tx, token_id), 1)
        ledger.close()
        listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
        assert (await http.post(served.url, json=listing, headers=session)).status_code == 401


def _row(ledger: Ledger, token_id: str) -> tokens.TokenRow:
    with ledger.reading() as tx:
        return tokens.get(tx, token_id)


async def test_a_session_of_one_token_is_not_there_for_another(served: Served) -> None:
    wide, narrow = served.token(TokenScope.ALGO)[1], served.token(TokenScope.READ)[1]
    async with httpx2.AsyncClient(headers=ACCEPTS) as http:
        opened = await http.post(served.url, json=HELLO, headers={"authorization": f"Bearer {wide}"})
        taken = {"authorization": f"Bearer {narrow}", "mcp-session-id": opened.headers["mcp-session-id"]}
        listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
        assert (await http.post(served.url, json=listing, headers=taken)).status_code == 404


async def test_a_page_in_a_browser_reaches_nothing_even_with_a_token(served: Served) -> None:
    headers = {"authorization": f"Bearer {served.token(TokenScope.READ)[1]}", **ACCEPTS}
    port = served.base.rpartition(":")[2]
    async with httpx2.AsyncClient(headers=headers) as http:

        async def status(**extra: str) -> int:
            return (await http.post(served.url, json=HELLO, headers=extra)).status_code

        assert await status(host=f"rebound.example:{port}") == 421
        assert await status(host=f"127.0.0.1.rebound.example:{port}") == 421
        assert await status(host="127.0.0.1:1") == 421
        for origin in ("http://rebound.example", "null", f"http://rebound.example:{port}", f"http://127.0.0.1.example:{port}"):
            assert await status(origin=origin) == 403, origin
        assert await status() == await status(origin=served.base) == await status(host=f"localhost:{port}") == 200


async def test_bodies_that_are_too_large_or_make_no_sense_are_refused(served: Served) -> None:
    headers = {"authorization": f"Bearer {served.token(TokenScope.READ)[1]}", "content-type": "application/json", **ACCEPTS}
    nested = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001
    async with httpx2.AsyncClient(headers=headers) as http:
        assert (await http.post(served.url, content=b"x" * (1024 * 1024 + 1))).status_code == 413
        for body in (b"", b"null", b"[]", b"{", b"\xff\xfe", nested):
            assert 400 <= (await http.post(served.url, content=body)).status_code < 500, body[:20]
        assert (await http.get(f"{served.base}/health")).json() == {"ok": True}
        assert (await http.get(f"{served.base}/other")).status_code == 404


async def test_many_clients_at_once_are_all_answered(served: Served) -> None:
    async def one(number: int) -> int:
        async with served.client(served.token(TokenScope.ALGO)[1]) as client:
            text = f"I am {number}."
            await client.call_tool("memory_write", {"path": f"research/c{number}.md", "text": text})
            found = await client.call_tool("memory_read", {"path": f"research/c{number}.md"})
            return text in json.dumps(found.structured_content)

    assert all(await asyncio.gather(*(one(number) for number in range(12))))


def test_a_port_that_is_taken_is_an_error(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    taken = ["mcp", "serve", "--http", "--port", served.base.rpartition(":")[2], "--json", "-w", str(served.root)]
    assert run(taken) == 6 and json.loads(capsys.readouterr().out)["error"]["code"] == "busy"


async def test_it_listens_on_this_machine_only(served: Served) -> None:
    port = f"{int(served.base.rpartition(':')[2]):04X}"
    table = Path("/proc/net/tcp")
    if not table.exists():
        pytest.skip("no /proc/net/tcp")
    rows = [row.split() for row in table.read_text().splitlines()[1:]]
    assert [row[1] for row in rows if row[1].endswith(f":{port}") and row[3] == "0A"] == [f"0100007F:{port}"]


def stdio(root: Path, **env: str) -> StdioServerParameters:
    words = command(root)
    return StdioServerParameters(command=words[0], args=words[1:], env={"PYTHONPATH": os.environ.get("PYTHONPATH", ""), **env})


async def test_the_pipe_has_the_scope_algo_without_a_token(mcp_base: Path, tmp_path: Path) -> None:
    root = copied(mcp_base, tmp_path / "ws")
    async with Client(stdio(root)) as client:
        listed = [tool.name for tool in (await client.list_tools()).tools]
        found = await client.call_tool("run_backtest", {"algo": "sma_cross", "market": "BTC", "interval": "1h"})
    assert listed == [tool.name for tool in tools_in_scope(TokenScope.ALGO)]
    assert found.structured_content is not None and found.structured_content["metrics"]["trades"] > 0


async def test_the_pipe_takes_a_token_from_the_environment(mcp_base: Path, tmp_path: Path) -> None:
    root = copied(mcp_base, tmp_path / "ws")
    ledger = open_ledger(Workspace(root).ledger_file)
    with ledger.transaction() as tx:
        token = tokens.issue(tx, "01A", "", TokenScope.READ, 1)
    ledger.close()
    async with Client(stdio(root, TRADEAGENT_TOKEN=token)) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == [tool.name for tool in tools_in_scope(TokenScope.READ)]


def test_the_pipe_opens_for_no_other_token(
    mcp_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRADEAGENT_TOKEN", "tat_not-this-one")
    assert run(["mcp", "serve", "-w", str(copied(mcp_base, tmp_path / "ws"))]) == 2
    said = capsys.readouterr()
    assert not said.out and "TRADEAGENT_TOKEN" in said.err and "tat_not" not in said.err


def test_the_pipe_carries_messages_only_and_survives_what_is_none(mcp_base: Path, tmp_path: Path) -> None:
    root = copied(mcp_base, tmp_path / "ws")
    lines: list[Any] = ["", "hello", "{", "null", "[]", '{"jsonrpc": "2.0"}', "\x00", "x" * 300_000, json.dumps(HELLO)]
    process = subprocess.Popen(command(root), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("\n".join(lines) + "\n")
    process.stdin.flush()
    while True:
        message = json.loads(process.stdout.readline())
        if message.get("id") == 1:
            break
    assert message["result"]["serverInfo"]["name"] == "tradeagent"
    process.stdin.close()
    assert process.wait(20) == 0
    assert all(json.loads(rest)["jsonrpc"] == "2.0" for rest in process.stdout.read().splitlines())
    process.stdout.close()
    assert process.stderr is not None
    process.stderr.close()


@pytest.mark.parametrize("blow", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_though_the_pipe_is_open(mcp_base: Path, tmp_path: Path, blow: signal.Signals) -> None:
    root = copied(mcp_base, tmp_path / "ws")
    process = subprocess.Popen(command(root), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps(HELLO) + "\n")
    process.stdin.flush()
    process.stdout.readline()
    began = time.monotonic()
    process.send_signal(blow)
    assert process.wait(20) != 0 and time.monotonic() - began < 10
    process.stdin.close()
    process.stdout.close()
