"""What an agent says over the Agent Client Protocol, as deltas of a model: its words, the calls it makes, the leave it asks for."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from tradeagent.llm.contract import Acted, Asking, Message, ModelDelta, ToolCall, ToolResult
from tradeagent.llm.usage import Usage

SERVER_NAME = "tradeagent"
_SHOWN = 2_000
_NAME_SHOWN = 64
_MOST_WAITING = 256
# how agents write a tool of an MCP server in a title: mcp__server__tool, server/tool, Tool: server.tool, tool (server MCP Server)
_TITLE = re.compile(
    rf"(?:Tool: )?(?:mcp__{SERVER_NAME}__|(?:mcp[./:])?{SERVER_NAME}(?:__|[./:_-]))?(\w+?)(?: \({SERVER_NAME} MCP Server\))?"
)
_CHANGES_THE_MACHINE = frozenset({"edit", "delete", "move", "execute", "switch_mode"})


@dataclass(slots=True)
class _Told:
    """A call as far as the agent has described it."""

    title: str = ""
    kind: str = ""
    given: Any = None
    is_shown: bool = False


class Listener:
    """The client's side of a connection: turns notifications and requests of the agent into deltas, in their order."""

    def __init__(self, tool_names: Collection[str]) -> None:
        self.cost_usd: Decimal | None = None
        self._tool_names = frozenset(tool_names)
        self._calls: dict[str, _Told] = {}
        self._queue: asyncio.Queue[ModelDelta | None] = asyncio.Queue()
        self._has_room = asyncio.Event()
        self._has_room.set()

    async def deltas(self) -> AsyncGenerator[ModelDelta, None]:
        """Everything heard until `end`."""
        while (delta := await self._queue.get()) is not None:
            if self._queue.qsize() < _MOST_WAITING:
                self._has_room.set()
            yield delta

    def end(self) -> None:
        self._queue.put_nowait(None)

    async def room(self) -> None:
        """Wait until what was heard has been taken: an agent is read no faster than it is listened to."""
        await self._has_room.wait()

    def _put(self, delta: ModelDelta) -> None:
        self._queue.put_nowait(delta)
        if self._queue.qsize() >= _MOST_WAITING:
            self._has_room.clear()

    async def handle(self, method: str, params: Any, is_notification: bool) -> Any:
        """What the protocol's connection calls; a message that says nothing understandable only shows that the agent is alive."""
        from acp.exceptions import RequestError
        from acp.meta import CLIENT_METHODS

        if method == CLIENT_METHODS["session_request_permission"] and not is_notification:
            return await self._permission(params)
        if method == CLIENT_METHODS["session_update"]:
            for delta in self._update(params):
                self._put(delta)
            return None
        if is_notification:
            return None
        raise RequestError.method_not_found(method)  # files, terminals and questions to the person are not offered

    def _update(self, params: Any) -> list[ModelDelta]:
        from acp import schema

        try:
            update: Any = schema.SessionNotification.model_validate(params).update
        except ValidationError:
            return [ModelDelta()]
        kind = update.session_update
        if kind in ("agent_message_chunk", "agent_thought_chunk"):
            text = update.content.text if update.content.type == "text" else ""
            return [ModelDelta(text=text) if kind == "agent_message_chunk" else ModelDelta(reasoning=text)]
        if kind in ("tool_call", "tool_call_update"):
            return self._acted(update)
        if kind == "usage_update" and update.cost is not None and update.cost.currency.upper() == "USD":
            self.cost_usd = max(Decimal(0), Decimal(str(update.cost.amount)))
            return [ModelDelta(usage=Usage(cost_usd=self.cost_usd, estimated=True))]
        return [ModelDelta()]

    def _acted(self, update: Any) -> list[ModelDelta]:
        """The begin of a call, once its arguments are known or it is over, and its end."""
        told, is_over = self._heard(update), update.status in ("completed", "failed")
        call = self._call(update.tool_call_id, told)
        deltas = []
        if not told.is_shown and (told.given or is_over):
            told.is_shown = True
            deltas.append(ModelDelta(acted=Acted(call)))
        if is_over:
            self._calls.pop(update.tool_call_id, None)
            result = ToolResult({"output": _output(update)}, is_error=update.status == "failed")
            deltas.append(ModelDelta(acted=Acted(call, result)))
        return deltas or [ModelDelta()]

    async def _permission(self, params: Any) -> Any:
        """Leave for one call, never for all that follow: what the turn's permission check says, and a no where it cannot be asked."""
        from acp import schema

        request = schema.RequestPermissionRequest.model_validate(params)
        told = self._heard(request.tool_call)
        asking = Asking(self._call(request.tool_call.tool_call_id, told), asyncio.get_running_loop().create_future())
        self._put(ModelDelta(asking=asking))
        wanted = ("reject_once", "reject_always") if await asking.answer is not None else ("allow_once",)
        for kind in wanted:
            for option in request.options:
                if option.kind == kind:
                    return schema.RequestPermissionResponse(outcome=schema.AllowedOutcome(outcome="selected", option_id=option.option_id))
        return schema.RequestPermissionResponse(outcome=schema.DeniedOutcome(outcome="cancelled"))

    def _heard(self, update: Any) -> _Told:
        told = self._calls.setdefault(update.tool_call_id, _Told())
        told.title, told.kind = update.title or told.title, update.kind or told.kind
        told.given = update.raw_input or told.given
        return told

    def _call(self, call_id: str, told: _Told) -> ToolCall:
        """The call under the name of the tool it means; one that can be no tool of ours keeps its title, which no permit knows."""
        meant = _TITLE.fullmatch(told.title.strip())
        ours = meant is not None and meant[1] in self._tool_names and told.kind not in _CHANGES_THE_MACHINE
        name = meant[1] if ours and meant is not None else f"agent: {told.title}"[:_NAME_SHOWN]
        # without arguments two calls look alike; the id tells them apart for whoever counts repeats
        given = told.given if isinstance(told.given, dict) else {"call": call_id} | ({"input": told.given} if told.given else {})
        return ToolCall(call_id, name, json.dumps(given, sort_keys=True, default=str))


def told_as_one(messages: Sequence[Message]) -> str:
    """A conversation as the one text that a prompt is: the rules first, then who said what."""
    parts = [message.content for message in messages if message.role == "system"]
    for message in messages:
        if message.role == "tool":
            parts.append(f"[{message.name or 'tool'} answered]\n{message.content}")
        elif message.role != "system" and message.content:
            parts.append(f"[{message.role}]\n{message.content}")
    return "\n\n".join(parts)


def _output(update: Any) -> str:
    """What the agent says came of a call, as text cut to a glance."""
    texts = [block.content.text for block in update.content or () if block.type == "content" and block.content.type == "text"]
    if not texts and update.raw_output is not None:
        texts = [update.raw_output if isinstance(update.raw_output, str) else json.dumps(update.raw_output, default=str)]
    return "\n".join(texts)[:_SHOWN]
