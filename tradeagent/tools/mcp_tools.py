"""Tools of MCP servers for a mind: offered as a person approved them, named `server__tool`, their answers data from outside.

What is offered follows from the ledger, so a turn starts as fast as without servers; one is connected when a tool of it is first called.
Before each call its description is compared with the approved one: a server that has changed anything is not called, nor offered again,
until a person has looked.
"""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, create_model

from tradeagent.domain.names import PinState
from tradeagent.ledger import pins
from tradeagent.ledger.pins import PinRow
from tradeagent.ledger.store import Ledger
from tradeagent.llm.contract import Permit, Tool, ToolResult
from tradeagent.llm.untrusted import one_line, untrusted
from tradeagent.tools.mcp_pinning import fingerprint
from tradeagent.tools.mcp_servers import ServerSpec
from tradeagent.tools.registry import permit_for

if TYPE_CHECKING:
    import mcp_types as types  # an agent without servers starts without the protocol

    from tradeagent.tools.mcp_link import Link

FAMILY = "mcp"
MOST_SHOWN = 16_000
MOST_OFFERED = 32
_PLAIN_FIELD = re.compile(r"[a-z][A-Za-z0-9_]*")
_JSON_TYPES: Mapping[str, Any] = {
    "string": str, "integer": int, "number": int | float, "boolean": bool, "array": list[Any], "object": dict[str, Any], "null": None,
}  # fmt: skip
Ask = Callable[[str, dict[str, Any]], Awaitable[str | None]]


class OutsideArguments(BaseModel):
    """Arguments that another program describes: names and kinds at the top level are checked here, the rest by that program."""

    model_config = ConfigDict(extra="forbid", strict=True, serialize_by_alias=True)
    described: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def model_json_schema(cls, *_args: Any, **_named: Any) -> dict[str, Any]:
        """The other program's own words, as they were approved."""
        return dict(cls.described)


class Outside:
    """The servers of one mind during a turn. `close` ends what was connected."""

    def __init__(self, servers: Mapping[str, ServerSpec], ledger: Ledger, environment: Mapping[str, str]) -> None:
        self._servers = servers
        self._ledger = ledger
        self._environment = environment
        self._links: dict[str, Link] = {}
        self._asking: set[str] = set()

    def families(self) -> dict[str, tuple[Tool, ...]]:
        """By server, what was approved of it; a server of which anything has changed offers nothing."""
        if not self._servers:
            return {}
        with self._ledger.reading() as tx:
            rows = pins.listed(tx, tuple(self._servers))
        changed = {row.server for row in rows if row.state == PinState.CHANGED}
        found: dict[str, list[Tool]] = {}
        for row in rows:
            spec = self._servers[row.server]
            is_wanted = spec.tools is None or row.tool in spec.tools
            if row.state == PinState.APPROVED and row.server not in changed and is_wanted:
                found.setdefault(spec.name, []).append(self._tool(spec, row))
        return {name: tuple(tools[:MOST_OFFERED]) for name, tools in found.items()}

    def tools(self) -> tuple[Tool, ...]:
        """All of them."""
        return tuple(tool for tools in self.families().values() for tool in tools)[:MOST_OFFERED]

    def guarded(self, permit: Permit, ask: Ask | None = None) -> Permit:
        """`permit`, and for a tool that may change something outside the person's word; where nobody can be asked it is a no."""

        def guard(name: str, arguments: dict[str, Any]) -> str | Awaitable[str | None] | None:
            if (refusal := permit(name, arguments)) is not None or name not in self._asking:
                return refusal
            if ask is not None:
                return ask(name, arguments)
            server, _, tool = name.partition("__")
            how = f"tradeagent mcp approve {self._key_of(server)} {tool} --read-only"
            return f"{name} may change something outside, and nobody is here to be asked; the user can let it run: {how}"

        return guard

    async def close(self) -> None:
        """Leave every server that was connected."""
        links, self._links = self._links, {}
        for link in links.values():
            await link.close()

    def _key_of(self, name: str) -> str:
        return next((key for key, spec in self._servers.items() if spec.name == name), name)

    def _tool(self, spec: ServerSpec, row: PinRow) -> Tool:
        name = tool_name(spec.name, row.tool)
        if not row.is_read_only:
            self._asking.add(name)
        description = f"[{spec.name}, another program] {row.described['description']}"
        arguments = arguments_model(name, json.dumps(row.described["input_schema"]))
        return Tool(name, description, arguments, FAMILY, "read", partial(self._called, spec, row.tool))

    async def _called(self, spec: ServerSpec, tool: str, arguments: OutsideArguments, _context: object) -> ToolResult:
        link = self._link(spec)
        changed = self._note_changes(spec, await link.tools(), tool)
        if changed is not None:
            return changed
        answer = await link.call(tool, arguments.model_dump(mode="json", exclude_unset=True))
        return shown(spec.name, tool, answer)

    def _link(self, spec: ServerSpec) -> "Link":
        from tradeagent.tools.mcp_link import Link

        link = self._links.get(spec.key)
        if link is None or not link.is_alive:
            link = self._links[spec.key] = Link(spec, self._environment)
        return link

    def _note_changes(self, spec: ServerSpec, listing: "Sequence[types.Tool]", wanted: str) -> ToolResult | None:
        """Why `wanted` is not called: the server is not what was approved any more. None when it is."""
        now = {tool.name: fingerprint(spec, tool) for tool in listing}
        with self._ledger.reading() as tx:
            approved = {row.tool: row for row in pins.listed(tx, (spec.key,)) if row.state == PinState.APPROVED}
        changed = [tool for tool, row in approved.items() if tool in now and now[tool] != row.fingerprint]
        if changed:
            with self._ledger.transaction() as tx:
                pins.mark_changed(tx, spec.key, changed)
        if changed or wanted not in approved:
            message = f"{spec.name} describes {', '.join(changed) or wanted} otherwise than when it was approved; nothing was called"
            return ToolResult.error("mcp_changed", message, f"the user looks at it: tradeagent mcp approve {spec.key}")
        if wanted not in now:
            return ToolResult.error("not_found", f"{spec.name} has no tool {wanted} any more", f"tradeagent mcp test {spec.key}")
        return None


@asynccontextmanager
async def joined(make: Callable[[], Outside] | None, own: tuple[Tool, ...]) -> AsyncIterator[tuple[tuple[Tool, ...], Permit]]:
    """A turn's own tools and those of its servers, and its permission check; at the end every server that was connected is left."""
    if make is None:
        yield own, permit_for(own)
        return
    outside = make()
    tools = (*own, *outside.tools())
    try:
        yield tools, outside.guarded(permit_for(tools))
    finally:
        await outside.close()


def tool_name(server: str, tool: str) -> str:
    """The name a model calls it by: no tool of this product has two underscores in its name, so none is shadowed."""
    return f"{server}__{tool}"


@lru_cache(maxsize=512)
def arguments_model(name: str, schema_text: str) -> type[OutsideArguments]:
    """A model of the top level of a schema, given as JSON; one is made once, not anew in every turn."""
    schema = json.loads(schema_text)
    required = set(schema.get("required") or ())
    fields: dict[str, Any] = {}
    for number, (key, described) in enumerate((schema.get("properties") or {}).items()):
        is_plain = bool(_PLAIN_FIELD.fullmatch(key)) and not hasattr(OutsideArguments, key)
        default = ... if key in required else None
        fields[key if is_plain else f"argument_{number}"] = (_kind_of(described), Field(default, alias=key))
    made: type[OutsideArguments] = create_model(name, __base__=OutsideArguments, **fields)
    made.described = schema
    return made


def _kind_of(described: Any) -> Any:
    """The Python type of a property that says one, else anything."""
    kind = described.get("type") if isinstance(described, dict) else None
    return _JSON_TYPES.get(kind, Any) if isinstance(kind, str) else Any


def shown(server: str, tool: str, answer: "types.CallToolResult") -> ToolResult:
    """What a server answered, as data: in an envelope, cut to size, pictures and files only named."""
    parts = [_part(content) for content in answer.content]
    if not any(content.type == "text" for content in answer.content) and answer.structured_content is not None:
        parts.append(json.dumps(answer.structured_content, ensure_ascii=False))
    text = untrusted(f"mcp:{server}", "\n".join(parts), MOST_SHOWN)
    if answer.is_error:
        return ToolResult(
            {
                "error": {"code": "mcp_tool_failed", "message": f"{server} says that {tool} failed", "hint": "its words are below"},
                "text": text,
            },
            is_error=True,
        )
    return ToolResult({"server": server, "text": text})


def _part(content: "types.ContentBlock") -> str:
    if content.type == "text":
        return content.text
    if content.type in ("image", "audio"):
        return f"[{content.type}, {one_line(content.mime_type)[:40]}, {len(content.data)} characters of base64, not shown]"
    return f"[{content.type}, not shown]"
