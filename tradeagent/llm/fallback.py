"""Several models as one: the next is asked when one fails or stays silent before its first token, never after."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal

from tradeagent.domain.errors import ModelError
from tradeagent.llm.contract import Message, Model, ModelDelta, ToolSpec


class FallbackModel:
    """Asks `models` in order; all but the last get `switch_after_s` seconds for a first token."""

    def __init__(self, models: Sequence[Model], switch_after_s: float) -> None:
        self._models = tuple(models)
        self._switch_after_s = switch_after_s

    @property
    def id(self) -> str:
        return self._models[0].id

    @property
    def is_rule_based(self) -> bool:
        return all(model.is_rule_based for model in self._models)

    async def estimate_usd(self, messages: Sequence[Message], max_tokens: int, tools: Sequence[ToolSpec] = ()) -> Decimal | None:
        """The dearest of the models; None when any price is unknown."""
        guesses = [await model.estimate_usd(messages, max_tokens, tools) for model in self._models]
        known = [guess for guess in guesses if guess is not None]
        return max(known) if len(known) == len(guesses) else None

    async def stream(self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, max_tokens: int) -> AsyncGenerator[ModelDelta, None]:
        *earlier, last = self._models
        for model in earlier:
            async with aclosing(model.stream(messages, tools, max_tokens=max_tokens)) as answer:
                try:
                    async with asyncio.timeout(self._switch_after_s):
                        first = await anext(answer)
                except (ModelError, TimeoutError, StopAsyncIteration):
                    continue
                yield self._signed(first, model)
                async for delta in answer:
                    yield self._signed(delta, model)
                return
        async with aclosing(last.stream(messages, tools, max_tokens=max_tokens)) as answer:
            async for delta in answer:
                yield self._signed(delta, last)

    def _signed(self, delta: ModelDelta, model: Model) -> ModelDelta:
        """The delta with the model that answered in its usage, so that its cost is booked under the right name."""
        if delta.usage is None or model is self._models[0]:
            return delta
        return replace(delta, usage=replace(delta.usage, model_id=model.id))
