"""Which MCP servers a mind may use: those of config.yml are the assistant's, those of an agent.md that agent's."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from tradeagent.agents.folder import Agent
from tradeagent.domain.errors import InvalidConfig, ModelError
from tradeagent.llm.keys import key_place, read_key
from tradeagent.workspace.config import Config
from tradeagent.workspace.settings import SECRET_REFERENCE, Value

SECTION = "mcp_servers"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]|_(?!_))*")
_LONGEST_NAME = 24


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """One server as it is configured. `key` is what it is pinned under; `name` what its tools' names begin with.

    Values of `env` and `headers` are references `env:NAME` or `keyring:NAME`, an agent's also texts. `tools` None = all approved ones.
    """

    key: str
    name: str
    command: tuple[str, ...] = ()
    url: str | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    tools: frozenset[str] | None = None
    is_read_only: bool = False

    @property
    def where(self) -> str:
        """The whole command line or the address, as a person approves it."""
        return self.url or shlex.join(self.command)


def servers_of(config: Config) -> dict[str, ServerSpec]:
    """The servers of config.yml by name. InvalidConfig names what is wrong with one."""
    found: dict[str, ServerSpec] = {}
    for name in dict.fromkeys(path[1] for path in config.values if path[0] == SECTION):
        written = config.section(SECTION, name)
        tools = written.get("tools")
        found[name] = _spec(
            name,
            name,
            _text(written.get("command")),
            _text(written.get("url")),
            env=_texts(config.section(SECTION, name, "env")),
            headers=_texts(config.section(SECTION, name, "headers")),
            tools=frozenset(word.strip() for word in tools.split(",")) if isinstance(tools, str) else None,
            is_read_only=written.get("read_only") is True,
        )
    return found


def servers_of_agent(agent: Agent) -> dict[str, ServerSpec]:
    """The servers of an agent.md by the key they are pinned under, `agent:name`."""
    found = {}
    for name, written in agent.definition.mcp_servers.items():
        key = f"{agent.slug}:{name}"
        tools = None if written.tools is None else frozenset(written.tools)
        found[key] = _spec(key, name, written.command, written.url, env=written.env, tools=tools)
    return found


def resolved(spec: ServerSpec, references: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """References with what they stand for. InvalidConfig says which one stands for nothing, and never a value."""
    found = {}
    for name, reference in references.items():
        if not SECRET_REFERENCE.fullmatch(reference):
            found[name] = reference
            continue
        place = key_place(reference, f"{SECTION}.{spec.name}: {name}")
        try:
            found[name] = read_key(place, environment).value
        except ModelError as error:
            hint = f"export {place.name}=… before you start tradeagent" if place.kind == "env" else error.hint
            raise InvalidConfig(error.message, hint=hint) from None
    return found


def _spec(
    key: str,
    name: str,
    command: str | None,
    url: str | None,
    *,
    env: Mapping[str, str],
    headers: Mapping[str, str] | None = None,
    tools: frozenset[str] | None,
    is_read_only: bool = False,
) -> ServerSpec:
    where = f"{SECTION}.{name}"
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        wanted = f"1 to {_LONGEST_NAME} of a-z, 0-9, - and single _"
        raise InvalidConfig(f"{where}: {name[:60]!r} is no name of a server", hint=f"use {wanted}")
    if (command is None) == (url is None):
        raise InvalidConfig(f"{where}: needs either command or url", hint=f"{where}.command: PROGRAM, or {where}.url: https://…")
    try:
        words = tuple(shlex.split(command or ""))
    except ValueError as error:
        raise InvalidConfig(f"{where}.command: {error}".lower(), hint="close the quotes in the command") from None
    if command is not None and not words:
        raise InvalidConfig(f"{where}.command: names no program", hint=f"{where}.command: uvx mcp-server-time")
    return ServerSpec(key, name, words, url, dict(env), dict(headers or {}), tools, is_read_only)


def _text(value: Value) -> str | None:
    return value if isinstance(value, str) else None


def _texts(written: Mapping[str, Value]) -> dict[str, str]:
    return {name: value for name, value in written.items() if isinstance(value, str)}
