"""The only door to LiteLLM, which is imported in the call path because that takes seconds.

Opens a model by id, streams its answers with tool calls assembled and usage priced, retries only before the first token, and turns
every failure into a ModelError without secrets. Deadlines are the turn loop's: LiteLLM's own are not honoured on every route.
"""

import asyncio
import importlib
import logging
import os
import re
import warnings
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

from tradeagent.domain.errors import ModelError
from tradeagent.llm.arguments import MAX_ARGUMENT_BYTES
from tradeagent.llm.contract import CHARACTERS_PER_TOKEN, Message, Model, ModelDelta, ToolCall, ToolSpec
from tradeagent.llm.fallback import FallbackModel
from tradeagent.llm.offline.model import open_offline
from tradeagent.llm.settings import ModelSettings
from tradeagent.llm.usage import Usage

_RETRYABLE = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
_FIRST_BACKOFF_S = 0.5
_TRANSPORT_TIMEOUT_S = 600.0
_MAX_STREAMED_CALLS = 256
# LiteLLM imports these in its first call, on the event loop, for seconds; here that happens in the importing thread
_IMPORTED_AT_FIRST_CALL = (
    "openai.resources",
    "httpcore",
    "litellm.litellm_core_utils.default_encoding",
    "litellm.proxy.openai_files_endpoints.common_utils",
    "litellm.responses.mcp.chat_completions_handler",
)
_DROPPED_CALL = r"coroutine '(OpenAIChatCompletion|BaseLLMHTTPHandler)\."
_SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$")
_SECRET_TEXT = re.compile(r"\b(sk-|xai-|gsk_|AIza|Bearer\s+)[\w\-.*]{6,}")


def open_model(model_id: str, settings: ModelSettings) -> Model:
    """The model of that id with its fallbacks; nothing is imported or called yet.

    `offline/<policy>` is rule-based and never touches LiteLLM. Raises ModelError naming the environment variable of a missing key.
    """
    first = _open_one(model_id, settings)
    others = [_open_one(other, settings) for other in settings.fallbacks]
    return FallbackModel((first, *others), settings.switch_after_s) if others else first


def _open_one(model_id: str, settings: ModelSettings) -> Model:
    if model_id.startswith("offline/"):
        return open_offline(model_id)
    if model_id.startswith("acp:"):
        raise ModelError(
            f"model {model_id!r}: acp: is not available in this version yet", hint="set model: offline/momentum or a LiteLLM model id"
        )
    return LiteLLMModel(model_id, settings)


class LiteLLMModel:
    """One LiteLLM model id with its address, key and price."""

    is_rule_based = False

    def __init__(self, model_id: str, settings: ModelSettings) -> None:
        self.id = model_id
        self._settings = settings
        self._entry = settings.entry(model_id)
        self._base_url = settings.base_url(model_id)
        self._key_name = settings.key_name(model_id)
        self._key = self._find_key()

    async def estimate_usd(self, messages: Sequence[Message], max_tokens: int) -> Decimal | None:
        """Cost of every character of the conversation and the whole output allowance; None when no price is known."""
        tokens_in = sum(len(message.content) for message in messages) // CHARACTERS_PER_TOKEN
        lib = await asyncio.to_thread(_litellm)
        return self._cost(lib, tokens_in, max_tokens)

    async def stream(self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, max_tokens: int) -> AsyncGenerator[ModelDelta, None]:
        """Stream one answer; attempts again with a growing pause while nothing has arrived and the failure may pass."""
        lib = await asyncio.to_thread(_litellm)
        request = self._request(lib, messages, tools, max_tokens)
        attempt = 0
        while True:
            started = False
            try:
                async with aclosing(self._answer(lib, request)) as answer:
                    async for delta in answer:
                        started = True
                        yield delta
            except Exception as error:  # noqa: BLE001 - LiteLLM raises whatever its adapters raise; all of it is the model's failure
                failure = error if isinstance(error, ModelError) else self._as_model_error(error)
                if started or attempt >= self._settings.retries or not failure.details["retryable"]:
                    raise failure from None
                attempt += 1
                # real time on purpose: a simulated clock would move the market while a provider recovers
                await asyncio.sleep(_FIRST_BACKOFF_S * 2 ** (attempt - 1))
            else:
                return

    async def _answer(self, lib: Any, request: Mapping[str, Any]) -> AsyncGenerator[ModelDelta, None]:
        response = await lib.acompletion(**request)
        calls: dict[int, _PartialCall] = {}
        done: str | None = None
        usage: Usage | None = None
        async for chunk in response:
            usage = self._usage(lib, chunk) or usage
            for choice in chunk.choices[:1]:
                done = choice.finish_reason or done
                delta = choice.delta
                text, reasoning = delta.content or "", getattr(delta, "reasoning_content", None) or ""
                alive = _collect(calls, delta.tool_calls or ())
                if text or reasoning or alive:
                    yield ModelDelta(text=text, reasoning=reasoning)
        # LiteLLM makes up a `stop` at the end of any stream; this attribute says whether the provider sent one
        if getattr(response, "received_finish_reason", done) is None:
            if usage is not None:
                yield ModelDelta(usage=usage)
            raise ModelError(f"{self.id}: the answer broke off", hint="run it again", details={"model": self.id, "retryable": True})
        for _, partial in sorted(calls.items()):
            yield ModelDelta(tool_call=ToolCall(partial.id, partial.name, "".join(partial.arguments)))
        yield ModelDelta(usage=usage, done=done)

    def _request(self, lib: Any, messages: Sequence[Message], tools: Sequence[ToolSpec], max_tokens: int) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self.id,
            "messages": [_wire_message(message, cached=self._caches_prompts) for message in messages],
            "max_tokens": min(max_tokens, _output_ceiling(lib, self.id) or max_tokens),
            "stream": True,
            "stream_options": {"include_usage": True},
            "timeout": _TRANSPORT_TIMEOUT_S,
            "num_retries": 0,
            "max_retries": 0,
            "drop_params": True,
        }
        if tools:
            request["tools"] = [_wire_tool(tool) for tool in tools]
        if self._base_url:
            request["base_url"] = self._base_url
        if self._key:
            request["api_key"] = self._key
        return request

    @property
    def _caches_prompts(self) -> bool:
        return self.id.startswith("anthropic/")

    def _find_key(self) -> str | None:
        if self._key_name is None:
            return None
        key = self._settings.environment.get(self._key_name)
        if key:
            return key
        if self._base_url and self._entry.api_key is None:
            return "none-needed"
        raise ModelError(
            f"{self.id}: no key, {self._key_name} is not set",
            hint=f"export {self._key_name}=… or choose model: offline/momentum",
            details={"model": self.id, "variable": self._key_name},
        )

    def _usage(self, lib: Any, chunk: Any) -> Usage | None:
        raw = getattr(chunk, "usage", None)
        if raw is None:
            return None
        tokens_in, tokens_out = raw.prompt_tokens or 0, raw.completion_tokens or 0
        return Usage(tokens_in, tokens_out, self._cost(lib, tokens_in, tokens_out, raw))

    def _cost(self, lib: Any, tokens_in: int, tokens_out: int, usage: Any = None) -> Decimal | None:
        if self._entry.price is not None:
            return self._entry.price.cost(tokens_in, tokens_out)
        try:
            cost_in, cost_out = lib.cost_per_token(model=self.id, prompt_tokens=tokens_in, completion_tokens=tokens_out, usage_object=usage)
        except Exception:  # noqa: BLE001 - an id outside LiteLLM's table has no price, and the table raises a bare Exception
            return None
        return Decimal(str(cost_in)) + Decimal(str(cost_out))

    def _as_model_error(self, error: Exception) -> ModelError:
        status = getattr(error, "status_code", None)
        text = scrub(str(error), self._settings.environment)[:300]
        variable = self._key_name or "the provider's key"
        said = {
            401: ("the provider refused the key", f"check {variable}"),
            403: ("the provider refused the key", f"check {variable}"),
            404: ("the provider does not know this model", "check the model id and base_url"),
            429: ("rate limit or quota reached", "wait, or set fallback_models"),
        }
        message, hint = said.get(status or 0, ("the provider failed", "run it again, or set fallback_models"))
        retryable = status is None or status in _RETRYABLE
        return ModelError(f"{self.id}: {message}: {text}", hint=hint, details={"model": self.id, "status": status, "retryable": retryable})


@dataclass(slots=True)
class _PartialCall:
    """A tool call whose pieces are still arriving; its text is kept up to just past what the loop accepts."""

    id: str
    name: str
    arguments: list[str]
    characters: int = 0


def _collect(calls: dict[int, _PartialCall], pieces: Sequence[Any]) -> bool:
    """Add streamed pieces to their calls by index; True when there were any. Beyond sane bounds pieces are dropped."""
    for piece in pieces:
        index = piece.index if piece.index is not None else len(calls)
        if index not in calls and len(calls) >= _MAX_STREAMED_CALLS:
            continue
        call = calls.setdefault(index, _PartialCall("", "", []))
        call.id = call.id or piece.id or ""
        function = piece.function
        if function is None:
            continue
        call.name = call.name or function.name or ""
        text = function.arguments or ""
        if text and call.characters <= MAX_ARGUMENT_BYTES:
            call.arguments.append(text)
            call.characters += len(text)
    return bool(pieces)


def scrub(text: str, environment: Mapping[str, str]) -> str:
    """The text without any value of a secret-looking environment variable and without anything shaped like a key."""
    for name, value in environment.items():
        if len(value) >= 6 and _SECRET_NAME.search(name.upper()):
            text = text.replace(value, f"<{name}>")
    return _SECRET_TEXT.sub("<key>", text)


@cache
def _litellm() -> Any:
    """Import LiteLLM with its price list from the package, no telemetry, and quiet; with it what its first call would import."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    lib: Any = importlib.import_module("litellm")
    for name in _IMPORTED_AT_FIRST_CALL:
        with suppress(ImportError):
            importlib.import_module(name)
    # it prepares calls in a thread and drops what was prepared when the call is cancelled meanwhile: harmless, but noise on stderr
    warnings.filterwarnings("ignore", message=_DROPPED_CALL, category=RuntimeWarning)
    lib.telemetry = False
    lib.suppress_debug_info = True
    lib.disable_aiohttp_transport = True
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return lib


def _output_ceiling(lib: Any, model_id: str) -> int | None:
    try:
        ceiling = lib.get_max_tokens(model_id)
    except Exception:  # noqa: BLE001 - an id outside LiteLLM's table: it raises a bare Exception
        return None
    return ceiling if isinstance(ceiling, int) else None


def _wire_tool(tool: ToolSpec) -> dict[str, Any]:
    return {"type": "function", "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}}


def _wire_message(message: Message, *, cached: bool) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.role == "system" and cached:
        wire["content"] = [{"type": "text", "text": message.content, "cache_control": {"type": "ephemeral"}}]
    if message.tool_calls:
        wire["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}} for call in message.tool_calls
        ]
    if message.role == "tool":
        wire["tool_call_id"] = message.tool_call_id
    return wire
