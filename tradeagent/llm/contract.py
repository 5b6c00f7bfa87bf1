"""The words between a turn and a model: tools and their results, messages, the stream a model answers with, and turn events.

A model sees messages and tool specifications, nothing else; a tool's handler gets validated arguments and the turn's context.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, Literal, Protocol

from pydantic import BaseModel

from tradeagent.domain.errors import Defect
from tradeagent.llm.usage import Usage

CHARACTERS_PER_TOKEN = 4
Scope = Literal["read", "trade", "algo", "memory", "ops"]
Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal[
    "stop",
    "tool_limit",
    "repeat",
    "repair_limit",
    "token_limit",
    "deadline",
    "first_token_timeout",
    "idle_timeout",
    "model_error",
    "budget",
    "interrupted",
]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answers: a JSON object for the model; `is_error` when it did not do what was asked."""

    content: dict[str, Any]
    is_error: bool = False

    @classmethod
    def error(cls, code: str, message: str, hint: str = "") -> "ToolResult":
        """The one shape of a refusal before the door: `{"error": {"code", "message", "hint"}}`."""
        return cls({"error": {"code": code, "message": message, "hint": hint}}, is_error=True)


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model sees it; `parameters` is a JSON schema of type object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


Handler = Callable[[Any, Any], Awaitable[ToolResult]]


@dataclass(frozen=True, slots=True)
class Tool:
    """A thing a model may call: `handler(arguments, context)` gets an instance of `arguments` and the turn's context."""

    name: str
    description: str
    arguments: type[BaseModel]
    family: str
    scope: Scope
    handler: Handler

    def __post_init__(self) -> None:
        if self.arguments.model_config.get("extra") != "forbid":
            raise Defect(f"tool {self.name}: {self.arguments.__name__} must forbid extra arguments")

    @property
    def spec(self) -> ToolSpec:
        return ToolSpec(self.name, self.description, _schema(self.arguments))


@cache
def _schema(arguments: type[BaseModel]) -> dict[str, Any]:
    return arguments.model_json_schema()


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call as the model wrote it; `arguments` is its raw JSON text, not yet trusted."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation; a `tool` message answers the call named by `tool_call_id`."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Acted:
    """A call that a model which runs its tools itself says it makes (`result` None) or has made; nothing is dispatched here."""

    call: ToolCall
    result: ToolResult | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Asking:
    """Such a model waits for permission to make `call`; the loop sets the `answer`: None when allowed, else the reason why not."""

    call: ToolCall
    answer: "asyncio.Future[str | None]"


@dataclass(frozen=True, slots=True)
class ModelDelta:
    """One piece of a model's streamed answer. A delta with nothing set says only that the stream is alive.

    `tool_call` is complete, assembled by the model adapter; `done` is the provider's finish reason (`stop`, `tool_calls`, `length`).
    `acted` and `asking` come only from a model that runs its tools itself.
    """

    text: str = ""
    reasoning: str = ""
    tool_call: ToolCall | None = None
    usage: Usage | None = None
    done: str | None = None
    acted: Acted | None = None
    asking: Asking | None = None


class Model(Protocol):
    """Something that answers a conversation. Errors are ModelError without secrets."""

    @property
    def id(self) -> str:
        """The configured model id, as shown to people."""

    @property
    def is_rule_based(self) -> bool:
        """Whether the answers come from rules; people are told wherever they appear."""

    async def estimate_usd(self, messages: Sequence[Message], max_tokens: int, tools: Sequence[ToolSpec] = ()) -> Decimal | None:
        """Upper guess of what one call costs; None when the price is unknown."""

    def stream(self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, max_tokens: int) -> AsyncGenerator[ModelDelta, None]:
        """Answer the conversation with at most `max_tokens` tokens of output."""


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """Bounds of one turn. `max_tokens` is output (text, reasoning, arguments); the timers are seconds of real time.

    `permit_timeout_s` is how long a person may take to decide about a call; silence is a no.
    """

    max_tool_calls: int = 12
    max_repairs: int = 2
    max_tokens: int = 20_000
    deadline_s: float = 600.0
    first_token_timeout_s: float = 60.0
    idle_timeout_s: float = 60.0
    permit_timeout_s: float = 120.0


Permit = Callable[[str, dict[str, Any]], str | Awaitable[str | None] | None]
"""(tool name, arguments as JSON values) → None when allowed, else the reason the model is told; awaitable when a person decides."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    text: str


@dataclass(frozen=True, slots=True)
class ToolCallStarted:
    """`arguments` is canonical JSON when valid, else the clipped raw text."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolCallFinished:
    """`dispatched`: the handler ran. `defect`: traceback of a handler that failed unexpectedly, for the incident, never for the model."""

    call_id: str
    name: str
    result: ToolResult
    dispatched: bool
    duration_ms: int = 0
    defect: str | None = None


@dataclass(frozen=True, slots=True)
class UsageReported:
    """After each model call."""

    model_id: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class TurnFinished:
    """Always the last event. `text` is everything said, `messages` what to append to the conversation, every call answered."""

    reason: FinishReason
    text: str
    messages: tuple[Message, ...]
    usage: Usage
    tool_calls: int
    detail: str = ""
    defect: str | None = None


TurnEvent = TextDelta | ReasoningDelta | ToolCallStarted | ToolCallFinished | UsageReported | TurnFinished
