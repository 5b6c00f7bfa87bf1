"""The only door to LiteLLM, which is imported in the call path because that takes seconds.

Opens a model by id, streams its answers with tool calls assembled and usage priced, retries only before the first token, and turns
every failure into a ModelError without secrets. Deadlines are the turn loop's: LiteLLM's own are not honoured on every route.
"""

import asyncio
import importlib
import json
import logging
import os
import re
import warnings
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from decimal import Decimal
from functools import cache
from typing import Any

from tradeagent.domain.errors import ModelError
from tradeagent.llm.acp import open_acp
from tradeagent.llm.cache import CachedModel
from tradeagent.llm.contract import CHARACTERS_PER_TOKEN, Message, Model, ModelDelta, ToolCall, ToolSpec
from tradeagent.llm.fallback import FallbackModel
from tradeagent.llm.keys import NONE_NEEDED, Key, KeyPlace, read_key, scrub
from tradeagent.llm.offline.model import open_offline
from tradeagent.llm.settings import ModelSettings
from tradeagent.llm.usage import Price, Usage
from tradeagent.llm.wire import PartialCall, collect, wire_messages, wire_tool

_RETRYABLE = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
FIRST_BACKOFF_S = 0.5
LONGEST_PAUSE_S = 30.0
_TRANSPORT_TIMEOUT_S = 600.0
# LiteLLM imports these in its first call, on the event loop, for seconds; here that happens in the importing thread
_IMPORTED_AT_FIRST_CALL = (
    "openai.resources",
    "httpcore",
    "litellm.litellm_core_utils.default_encoding",
    "litellm.proxy.openai_files_endpoints.common_utils",
    "litellm.responses.mcp.chat_completions_handler",
)
_READ_ONLY_ITEM = r"Item '.*' on TypedDict class"  # what pydantic says of the types of LiteLLM's client, at their first use
_DROPPED_CALL = r"coroutine '(OpenAIChatCompletion|BaseLLMHTTPHandler)\."
_SAID = {
    400: ("the provider refused the request", "check the model id (provider/name) and the size of the prompt"),
    401: ("the provider refused the key", "check {key}"),
    403: ("the provider refused the key", "check {key}"),
    404: ("the provider does not know this model", "check the model id and base_url"),
    429: ("rate limit or quota reached", "wait, or set fallback_models"),
}


def open_model(model_id: str, settings: ModelSettings) -> Model:
    """The model of that id with its fallbacks; nothing is imported or called yet.

    `offline/<policy>` is rule-based and never touches LiteLLM, `acp:<command>` is a program of the user's; neither is kept in the
    response cache. Raises ModelError naming the variable of a missing key or the program that is not there.
    """
    first = _open_one(model_id, settings)
    others = [_open_one(other, settings) for other in settings.fallbacks]
    return FallbackModel((first, *others), settings.switch_after_s) if others else first


def _open_one(model_id: str, settings: ModelSettings) -> Model:
    if model_id.startswith("offline/"):
        return open_offline(model_id)
    if model_id.startswith("acp:"):
        return open_acp(model_id, settings)
    model = LiteLLMModel(model_id, settings)
    if settings.answers is None:
        return model
    return CachedModel(model, settings.answers, settings.cache_mode, {"base_url": settings.base_url(model_id)})


class LiteLLMModel:
    """One LiteLLM model id with its address, key and price."""

    is_rule_based = False

    def __init__(self, model_id: str, settings: ModelSettings) -> None:
        self.id = model_id
        self._settings = settings
        self._entry = settings.entry(model_id)
        self._base_url = settings.base_url(model_id)
        self._key_place = settings.key_place(model_id)
        self._key = find_key(self._key_place, settings, model_id)

    async def estimate_usd(self, messages: Sequence[Message], max_tokens: int, tools: Sequence[ToolSpec] = ()) -> Decimal | None:
        """Cost of every character of the request and the whole output allowance; None when no price is known."""
        said = sum(len(message.content) + sum(len(call.arguments) for call in message.tool_calls) for message in messages)
        offered = sum(len(tool.description) + len(json.dumps(tool.parameters)) for tool in tools)
        lib = await asyncio.to_thread(load_litellm)
        return cost_usd(lib, self.id, self._entry.price, (said + offered) // CHARACTERS_PER_TOKEN, max_tokens)

    async def stream(self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, max_tokens: int) -> AsyncGenerator[ModelDelta, None]:
        """Stream one answer; attempts again with a growing pause while nothing has arrived and the failure may pass."""
        lib = await asyncio.to_thread(load_litellm)
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
                pause = None if started or attempt >= self._settings.retries else pause_s(failure, attempt)
                if pause is None:
                    raise failure from None
                attempt += 1
                # real time on purpose: a simulated clock would move the market while a provider recovers
                await asyncio.sleep(pause)
            else:
                return

    async def _answer(self, lib: Any, request: Mapping[str, Any]) -> AsyncGenerator[ModelDelta, None]:
        response = await lib.acompletion(**request)
        calls: dict[int, PartialCall] = {}
        done: str | None = None
        usage: Usage | None = None
        async for chunk in response:
            usage = self._usage(lib, chunk) or usage
            for choice in chunk.choices[:1]:
                done = choice.finish_reason or done
                delta = choice.delta
                text, reasoning = delta.content or "", getattr(delta, "reasoning_content", None) or ""
                alive = collect(calls, delta.tool_calls or ())
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
            "messages": wire_messages(messages, self.id),
            "max_tokens": min(max_tokens, _output_ceiling(lib, self.id) or max_tokens),
            "stream": True,
            "stream_options": {"include_usage": True},
            "timeout": _TRANSPORT_TIMEOUT_S,
            "num_retries": 0,
            "max_retries": 0,
            "drop_params": True,
        }
        if tools:
            request["tools"] = [wire_tool(tool) for tool in tools]
        if self._base_url:
            request["base_url"] = self._base_url
        if self._key is not None:
            request["api_key"] = self._key.value
        return request

    def _usage(self, lib: Any, chunk: Any) -> Usage | None:
        raw = getattr(chunk, "usage", None)
        if raw is None:
            return None
        tokens_in, tokens_out = max(0, raw.prompt_tokens or 0), max(0, raw.completion_tokens or 0)
        return Usage(tokens_in, tokens_out, cost_usd(lib, self.id, self._entry.price, tokens_in, tokens_out, raw))

    def _as_model_error(self, error: Exception) -> ModelError:
        return provider_error(self.id, error, self._key_place, self._key, self._settings.environment)


def find_key(place: KeyPlace | None, settings: ModelSettings, model_id: str) -> Key | None:
    """The model's key; an own server without a key of its own needs none. Raises ModelError naming what to set."""
    if place is None:
        return None
    is_given = settings.entry(model_id).api_key is not None
    if not is_given and settings.base_url(model_id) and not settings.environment.get(place.name):
        return Key(NONE_NEEDED)
    return read_key(place, settings.environment)


def cost_usd(lib: Any, model_id: str, price: Price | None, tokens_in: int, tokens_out: int, usage: Any = None) -> Decimal | None:
    """What the tokens cost at the configured price, else at LiteLLM's; None when neither knows the model."""
    if price is not None:
        return price.cost(tokens_in, tokens_out)
    try:
        cost_in, cost_out = lib.cost_per_token(model=model_id, prompt_tokens=tokens_in, completion_tokens=tokens_out, usage_object=usage)
    except Exception:  # noqa: BLE001 - an id outside LiteLLM's table has no price, and the table raises a bare Exception
        return None
    return Decimal(str(cost_in)) + Decimal(str(cost_out))


def provider_error(model_id: str, error: Exception, place: KeyPlace | None, key: Key | None, environment: Mapping[str, str]) -> ModelError:
    """A failure of LiteLLM or of the provider as the person's error: no key in it; `retryable` and `retry_after_s` in its details."""
    status = getattr(error, "status_code", None)
    text = scrub(str(error), environment, [key] if key is not None and key.value != NONE_NEEDED else ())[:300]
    message, hint = _SAID.get(status or 0, ("the provider failed", "run it again, or set fallback_models"))
    retryable = status is None or status in _RETRYABLE
    details = {"model": model_id, "status": status, "retryable": retryable}
    asked = _retry_after_s(error)
    if asked is not None:
        details["retry_after_s"] = asked
    return ModelError(f"{model_id}: {message}: {text}", hint=hint.format(key=place or "the provider's key"), details=details)


def pause_s(failure: ModelError, attempt: int) -> float | None:
    """Seconds to wait before trying again: twice as long each time, or what the provider asked for; None when it is no use."""
    asked: float = failure.details.get("retry_after_s", 0.0)
    if not failure.details["retryable"] or asked > LONGEST_PAUSE_S:
        return None
    return max(asked, FIRST_BACKOFF_S * 2.0**attempt)


def _retry_after_s(error: Exception) -> float | None:
    """The header Retry-After in seconds (RFC 9110 §10.2.3); None without one or when it is a date, as no provider of models sends."""
    headers = getattr(error, "litellm_response_headers", None) or {}
    stated = str(headers.get("retry-after", ""))
    return float(stated) if re.fullmatch(r"\d{1,6}(\.\d+)?", stated) else None


@cache
def load_litellm() -> Any:
    """Import LiteLLM with its price list from the package, no telemetry, and quiet; with it what its first call would import."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    lib: Any = importlib.import_module("litellm")
    for name in _IMPORTED_AT_FIRST_CALL:
        with suppress(ImportError):
            importlib.import_module(name)
    # it prepares calls in a thread and drops what was prepared when the call is cancelled meanwhile: harmless, but noise on stderr
    warnings.filterwarnings("ignore", message=_DROPPED_CALL, category=RuntimeWarning)
    warnings.filterwarnings("ignore", message=_READ_ONLY_ITEM, category=UserWarning)
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
