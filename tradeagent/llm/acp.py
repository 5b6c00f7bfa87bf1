"""`acp:<command>`: an external coding agent as a model, driven over the Agent Client Protocol on its standard streams.

One answer is one process: started in an empty folder with a scrubbed environment, offered no files and no terminal, given this product's
MCP server as its only tools, and killed with everything it started when the answer ends or nobody wants it any more. It runs its tools
itself; what it says of them, and what it asks leave for, are deltas (`acp_talk`), and the turn loop decides.
"""

import asyncio
import json
import os
import shlex
import shutil
import signal
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from tradeagent.domain.errors import ModelError
from tradeagent.llm.acp_talk import SERVER_NAME, Listener, told_as_one
from tradeagent.llm.contract import Message, ModelDelta, ToolSpec
from tradeagent.llm.keys import Key, KeyPlace, read_key, scrub
from tradeagent.llm.settings import ModelSettings
from tradeagent.llm.usage import Usage
from tradeagent.llm.watch import release

_INHERITED = (
    *("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"),
    *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"),
    *("SSL_CERT_DIR", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"),
)
_LONGEST_LINE = 16 * 2**20
_LAST_WORDS = 2_000
_GRACE_S = 1.0
_AUTH_REQUIRED = -32000
_DONE = {"end_turn": "stop", "max_tokens": "length", "max_turn_requests": "length", "cancelled": "stop"}


def open_acp(model_id: str, settings: ModelSettings) -> "AcpModel":
    """The agent behind `acp:<command>`; nothing is started yet. Raises ModelError when the command names no program."""
    try:
        words = shlex.split(model_id.removeprefix("acp:"))
    except ValueError as error:
        raise ModelError(f"model {model_id!r}: {error}".lower(), hint="close the quotes in the command") from None
    program = shutil.which(words[0], path=settings.environment.get("PATH")) if words else None
    if program is None:
        raise ModelError(
            f"model {model_id!r}: no program {words[0] if words else ''!r} on the PATH",
            hint="install the agent, or write its full path: acp:/path/to/agent --acp",
            details={"model": model_id},
        )
    place = settings.key_place(model_id)
    key = read_key(place, settings.environment) if place is not None else None
    return AcpModel(model_id, (program, *words[1:]), settings, place, key)


class AcpModel:
    """One agent program. Its price is what it says, else `models.<id>` of the configuration, else unknown."""

    is_rule_based = False

    def __init__(self, model_id: str, command: Sequence[str], settings: ModelSettings, place: KeyPlace | None, key: Key | None) -> None:
        self.id = model_id
        self._command = tuple(command)
        self._settings = settings
        self._key = key
        self._environment = child_environment(settings.environment, place, key)

    async def estimate_usd(self, messages: Sequence[Message], max_tokens: int, tools: Sequence[ToolSpec] = ()) -> Decimal | None:
        """Unknown: how often the agent asks its own model is its own business."""
        await asyncio.to_thread(_load_sdk)
        return None

    async def stream(self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, max_tokens: int) -> AsyncGenerator[ModelDelta, None]:
        """Put the whole conversation to a new process of the agent, and pass on what it says and does until it ends its turn."""
        await asyncio.to_thread(_load_sdk)
        with tempfile.TemporaryDirectory(prefix="tradeagent-acp-", ignore_cleanup_errors=True) as folder:
            listener = Listener({tool.name for tool in tools})
            child = await self._start(folder, listener)
            try:
                talk = asyncio.ensure_future(self._talk(child, listener, folder, told_as_one(messages)))
                talk.add_done_callback(lambda _: listener.end())
                try:
                    async for delta in listener.deltas():
                        yield delta
                    yield self._closing(await talk, listener)
                except Exception as error:  # noqa: BLE001 - an agent answers what it likes; all of it is the model's failure
                    raise await self._failure(error, child) from None
                finally:
                    release(talk)
            finally:
                await child.end()

    async def _start(self, folder: str, listener: Listener) -> "_Child":
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._environment,
                cwd=folder,
                limit=_LONGEST_LINE,
                start_new_session=True,
            )
        except OSError as error:
            raise ModelError(f"{self.id}: cannot be started: {error.strerror}", hint="check that the program can be run") from None
        child = _Child(process, listener)
        child.listening = asyncio.ensure_future(child.listen())
        return child

    async def _talk(self, child: "_Child", listener: Listener, folder: str, text: str) -> Any:
        """The agent's answer to one prompt in one new session."""
        from acp import schema
        from acp.connection import Connection
        from acp.meta import AGENT_METHODS, PROTOCOL_VERSION
        from acp.utils import request_model

        connection = Connection(listener.handle, child)
        try:
            capabilities = schema.ClientCapabilities(
                fs=schema.FileSystemCapabilities(read_text_file=False, write_text_file=False), terminal=False
            )
            hello = schema.InitializeRequest(protocol_version=PROTOCOL_VERSION, client_capabilities=capabilities)
            await request_model(connection, AGENT_METHODS["initialize"], hello, schema.InitializeResponse)
            servers: list[Any] = []
            if self._settings.acp_server:
                command, *args = self._settings.acp_server
                servers.append(schema.McpServerStdio(name=SERVER_NAME, command=command, args=args, env=[]))
            opening = schema.NewSessionRequest(cwd=folder, mcp_servers=servers)
            session = await request_model(connection, AGENT_METHODS["session_new"], opening, schema.NewSessionResponse)
            prompt = schema.PromptRequest(session_id=session.session_id, prompt=[schema.TextContentBlock(type="text", text=text)])
            return await request_model(connection, AGENT_METHODS["session_prompt"], prompt, schema.PromptResponse)
        finally:
            await connection.close()

    def _closing(self, response: Any, listener: Listener) -> ModelDelta:
        """The last delta: why the agent stopped, and what it used as far as it said."""
        if response.stop_reason == "refusal":
            raise ModelError(f"{self.id}: the agent refused to answer", hint="read its answer, and change the agent's instructions")
        tokens, cost = response.usage, listener.cost_usd
        if tokens is None and cost is None:
            return ModelDelta(done=_DONE[response.stop_reason])
        tokens_in, tokens_out = (tokens.input_tokens, tokens.output_tokens) if tokens is not None else (0, 0)
        price = self._settings.entry(self.id).price
        if cost is None and price is not None:
            cost = price.cost(tokens_in, tokens_out)
        usage = Usage(max(0, tokens_in), max(0, tokens_out), cost, estimated=tokens is None)
        return ModelDelta(usage=usage, done=_DONE[response.stop_reason])

    async def _failure(self, error: Exception, child: "_Child") -> ModelError:
        from acp.exceptions import RequestError

        if isinstance(error, ModelError):
            return error
        details = {"model": self.id, "retryable": False}
        if isinstance(error, RequestError) and error.code == _AUTH_REQUIRED:
            hint = f"run `{shlex.join(self._command)}` once yourself and log in, or name its key: models.{self.id}.api_key"
            return ModelError(f"{self.id}: the agent wants to be logged in", hint=hint, details=details)
        said = (
            f"it answered what the protocol does not know: {error.error_count()} problems"
            if isinstance(error, ValidationError)
            else str(error)
        )
        words = await child.last_words()
        text = scrub(f"{said or type(error).__name__}{f'; it said: {words}' if words else ''}", self._settings.environment, self._keys)
        return ModelError(
            f"{self.id}: the agent failed: {text[:600]}", hint="run the command by itself and see what it says", details=details
        )

    @property
    def _keys(self) -> tuple[Key, ...]:
        return (self._key,) if self._key is not None else ()


def child_environment(environment: Mapping[str, str], place: KeyPlace | None, key: Key | None) -> dict[str, str]:
    """What the agent may know of ours: where home, programs and certificates are, and the one key that is configured for it."""
    found = {name: environment[name] for name in _INHERITED if name in environment}
    return found | ({place.name: key.value} if place is not None and key is not None else {})


@dataclass(slots=True)
class _Child:
    """The agent's process, as the transport of its connection: JSON in lines; what is no JSON is no message."""

    process: asyncio.subprocess.Process
    listener: Listener
    tail: bytes = b""
    listening: asyncio.Task[None] | None = None

    async def send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
            await self.process.stdin.drain()
        except (OSError, RuntimeError):
            if "method" in message:  # an answer that cannot be delivered is nobody's loss
                raise ConnectionError("the agent has ended") from None

    async def receive(self) -> dict[str, Any] | None:
        assert self.process.stdout is not None
        while True:
            await self.listener.room()
            try:
                line = await self.process.stdout.readline()
            except (OSError, ValueError):  # the line is longer than any message may be
                return None
            if not line:
                return None
            with suppress(ValueError, RecursionError):
                message = json.loads(line)
                if isinstance(message, dict):
                    return message

    async def close(self) -> None:
        """The streams end with the process."""

    async def listen(self) -> None:
        """Read its error stream to the end, so that it never waits for a reader, and keep the last of it."""
        assert self.process.stderr is not None
        while piece := await self.process.stderr.read(_LAST_WORDS):
            self.tail = (self.tail + piece)[-_LAST_WORDS:]

    async def last_words(self) -> str:
        """The end of what it wrote to its error stream; it has nothing more to say."""
        self._signal(signal.SIGKILL)
        if self.listening is not None:
            await asyncio.wait({self.listening}, timeout=_GRACE_S)
        return self.tail.decode(errors="replace").strip()

    async def end(self) -> None:
        """Ask the process group to end, and kill it whatever it answers."""
        try:
            self._signal(signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(_GRACE_S):
                    await self.process.wait()
        finally:
            self._signal(signal.SIGKILL)
            with suppress(TimeoutError):
                async with asyncio.timeout(_GRACE_S):
                    await self.process.wait()
            if self.listening is not None:
                release(self.listening)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


def _load_sdk() -> None:
    """Import the protocol's library, which takes a second."""
    import acp.connection
    import acp.schema  # noqa: F401
