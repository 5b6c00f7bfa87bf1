"""Approving tools of MCP servers: what a server says of a tool, its fingerprint, and how it stands to what was approved."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tradeagent.domain.clock import Clock
from tradeagent.domain.names import PinState
from tradeagent.ledger import pins
from tradeagent.ledger.pins import PinRow
from tradeagent.ledger.store import Ledger
from tradeagent.llm.untrusted import one_line
from tradeagent.tools.mcp_servers import ServerSpec
from tradeagent.workspace.plain_text import visible

if TYPE_CHECKING:
    import mcp_types as types

_USABLE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LONGEST_DESCRIPTION = 1_024
_LARGEST_SCHEMA = 16 * 1024
_MOST_ARGUMENTS = 64
NEW = "new"
UNUSABLE = "unusable"


@dataclass(frozen=True, slots=True)
class Offered:
    """A tool as its server describes it now. `state` is that of its pin, `new` without one, `unusable` with the reason in `why`."""

    name: str
    described: dict[str, Any]
    fingerprint: str
    says_read_only: bool
    state: str
    why: str = ""
    is_read_only: bool = False


def fingerprint(spec: ServerSpec, tool: "types.Tool") -> str:
    """Covers where the server is, and every word it says of the tool, to other programs too."""
    said = tool.model_dump(mode="json", by_alias=True, exclude_none=True)
    text = json.dumps([spec.where, said], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def described_of(tool: "types.Tool") -> dict[str, Any]:
    """What models are told of a tool: visible characters only, within bounds."""
    schema = json.loads(visible(json.dumps(tool.input_schema, ensure_ascii=False)))
    return {"description": one_line(tool.description or tool.title or tool.name)[:_LONGEST_DESCRIPTION], "input_schema": schema}


def compared(spec: ServerSpec, listing: "Sequence[types.Tool]", rows: Sequence[PinRow]) -> list[Offered]:
    """The tools of a server beside what was decided about them, by name."""
    known = {row.tool: row for row in rows if row.server == spec.key}
    return [_offered(spec, tool, known.get(tool.name)) for tool in sorted(listing, key=lambda tool: tool.name)]


def decide(ledger: Ledger, clock: Clock, spec: ServerSpec, tools: Sequence[Offered], state: PinState, *, is_read_only: bool) -> None:
    """Pin tools as they are described now. They run unasked when the person, the server's entry or the tool's own words say so."""
    with ledger.transaction() as tx:
        for tool in tools:
            unasked = is_read_only or spec.is_read_only or tool.says_read_only
            row = PinRow(spec.key, tool.name, tool.fingerprint, unasked, tool.described, state.value, clock.now_ms())
            pins.put(tx, row)


def _offered(spec: ServerSpec, tool: "types.Tool", row: PinRow | None) -> Offered:
    mark = fingerprint(spec, tool)
    says_read_only = tool.annotations is not None and tool.annotations.read_only_hint is True
    why = _why_unusable(spec, tool)
    if why:
        return Offered(tool.name, {}, mark, says_read_only, UNUSABLE, why)
    state = NEW if row is None else row.state
    if row is not None and row.state == PinState.APPROVED and row.fingerprint != mark:
        state = PinState.CHANGED.value
    return Offered(tool.name, described_of(tool), mark, says_read_only, state, is_read_only=row is not None and row.is_read_only)


def _why_unusable(spec: ServerSpec, tool: "types.Tool") -> str:
    if not _USABLE_NAME.fullmatch(f"{spec.name}__{tool.name}"):
        return "its name with the server's is longer than 64, or not of letters, digits, - and _"
    schema = tool.input_schema
    properties = schema.get("properties", {})
    if schema.get("type") != "object" or not isinstance(properties, Mapping) or len(properties) > _MOST_ARGUMENTS:
        return f"its arguments are no object of at most {_MOST_ARGUMENTS} named values"
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        return "its list of required arguments is no list of names"
    if len(json.dumps(schema)) > _LARGEST_SCHEMA:
        return f"the description of its arguments has over {_LARGEST_SCHEMA // 1024} KiB"
    return ""
