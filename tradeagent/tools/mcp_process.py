"""An MCP server as a child process: it sees the environment it was given and nothing else of ours, says no more than it may, and is
killed with everything it started."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

from tradeagent.domain.errors import NotFound

LONGEST_MESSAGE = 4 * 1024 * 1024
MOST_SAID = 16 * 1024 * 1024
_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
_LAST_WORDS = 2_000
_GRACE_S = 0.5
Incoming = MemoryObjectReceiveStream[SessionMessage | Exception]
Outgoing = MemoryObjectSendStream[SessionMessage]


class Meter:
    """How many bytes a server may still send before the next request; one that says more is not listened to any longer."""

    def __init__(self) -> None:
        self.left = MOST_SAID

    def refill(self) -> None:
        self.left = MOST_SAID

    def takes(self, count: int) -> bool:
        self.left -= count
        return self.left >= 0


def child_environment(environment: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """What a child sees: where programs and certificates are, the language, and what is configured for it."""
    return {name: environment[name] for name in _INHERITED if name in environment} | dict(given)


@asynccontextmanager
async def process_streams(
    command: Sequence[str], environment: Mapping[str, str], meter: Meter, words: bytearray
) -> AsyncGenerator[tuple[Incoming, Outgoing], None]:
    """Run `command` while this is open; `words` receives the end of what it writes to its error stream. NotFound without such a program."""
    program = shutil.which(command[0], path=environment.get("PATH"))
    if program is None:
        raise NotFound(f"no program {command[0]!r} on the PATH", hint="install it, or write its full path")
    with tempfile.TemporaryDirectory(prefix="tradeagent-mcp-", ignore_cleanup_errors=True) as folder:
        process = await asyncio.create_subprocess_exec(
            program,
            *command[1:],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"HOME": folder} | dict(environment),
            cwd=folder,
            limit=LONGEST_MESSAGE,
            start_new_session=True,
        )
        heard, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        outgoing, said = anyio.create_memory_object_stream[SessionMessage](0)
        working = [
            asyncio.ensure_future(_hear(process, heard, meter)),
            asyncio.ensure_future(_say(process, said, heard)),
            asyncio.ensure_future(_last_words(process, words)),
        ]
        try:
            yield incoming, outgoing
        finally:
            try:
                await _end(process)
            finally:
                _kill(process)
                for task in working:
                    task.cancel()
                for stream in (heard, incoming, outgoing, said):
                    stream.close()
                await asyncio.gather(*working, return_exceptions=True)
                _close_pipes(process)


async def _hear(process: asyncio.subprocess.Process, heard: MemoryObjectSendStream[SessionMessage | Exception], meter: Meter) -> None:
    """Pass its messages on. What is no message is skipped; the connection ends with its stream, or when it says too much."""
    assert process.stdout is not None
    with heard, suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        while True:
            try:
                line = await process.stdout.readline()
            except (OSError, ValueError):  # longer than any message may be
                return
            if not line or not meter.takes(len(line)):
                return
            with suppress(ValueError, RecursionError):
                await heard.send(SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False)))


async def _say(
    process: asyncio.subprocess.Process,
    said: MemoryObjectReceiveStream[SessionMessage],
    heard: MemoryObjectSendStream[SessionMessage | Exception],
) -> None:
    """Write our messages to it. One that has closed its end answers nothing any more: whoever waits is told."""
    assert process.stdin is not None
    with said, suppress(OSError, RuntimeError):
        async for message in said:
            process.stdin.write(message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
            await process.stdin.drain()
        return
    heard.close()


async def _last_words(process: asyncio.subprocess.Process, words: bytearray) -> None:
    """Read its error stream to the end, so that it never waits for a reader, and keep the last of it."""
    assert process.stderr is not None
    while piece := await process.stderr.read(_LAST_WORDS):
        words += piece
        del words[:-_LAST_WORDS]


async def _end(process: asyncio.subprocess.Process) -> None:
    """Close its input, as the protocol says goodbye, then ask its group to end."""
    assert process.stdin is not None
    with suppress(OSError, RuntimeError):
        process.stdin.close()
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None:
            _signal(process, number)
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_S):
                await process.wait()
                return


def _kill(process: asyncio.subprocess.Process) -> None:
    """Whatever happened: nothing of its group is left."""
    _signal(process, signal.SIGKILL)


def _close_pipes(process: asyncio.subprocess.Process) -> None:
    """A descendant that left the group may hold the other ends for ever; asyncio has no public way to let go of ours."""
    transport = getattr(process, "_transport", None)
    if transport is not None:
        transport.close()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
