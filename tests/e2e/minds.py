"""Models of a test's own in the product's runs: everything else, from argv to the files, is as shipped."""

import json
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

from product import Answer, Product
from scripted_model import ScriptedModel, call, say

from tradeagent.llm.contract import Message, ModelDelta, ToolSpec

Tick = Sequence[tuple[str, dict[str, Any]]]


class Scripted(ScriptedModel):
    """Makes the calls of its n-th tick in one message, then says one word; after the last tick it only says it.

    `prompts` are the texts it was shown, one a tick, `offered` the names of its tools.
    """

    def __init__(self, *ticks: Tick, when_asked: Callable[[int], None] = lambda _: None) -> None:
        super().__init__([])
        self.ticks = ticks
        self.when_asked = when_asked
        self.prompts: list[str] = []
        self.offered: list[frozenset[str]] = []
        self.results: list[dict[str, Any]] = []

    async def stream(self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, max_tokens: int) -> Any:
        if messages[-1].role == "tool":
            self.results += [json.loads(message.content) for message in messages if message.role == "tool"]
            yield say("done")
            return
        self.prompts.append("\n".join(message.content for message in messages))
        self.offered.append(frozenset(tool.name for tool in tools))
        number = len(self.prompts)
        self.when_asked(number)
        calls = self.ticks[number - 1] if number <= len(self.ticks) else ()
        for index, (name, arguments) in enumerate(calls):
            yield call(name, json.dumps(arguments), f"c{number}_{index}")
        if not calls:
            yield say("done")
        yield ModelDelta(done="stop")


def run_with(model: Any, product: Product, *arguments: str) -> Answer:
    """`tradeagent run …` in this process with this model instead of the agent's."""
    with mock.patch("tradeagent.runtime.assembly.open_model", lambda *_: model):
        return product.here("run", *arguments, "--json")
