"""The adversary: cases as data, and a model that plays one of them through the real turn loop, whoever hosts the turn.

A case's script is a generator. It yields what the model says next, one answer after another, and gets what the calls of the answer before
came to; an answer without calls ends the turn, the next yield is for the turn after it. So a script is written like a person who tries.
"""

import json
import random
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from scripted_model import call, say

from tradeagent.llm.contract import Message, ModelDelta, ToolSpec

Answer = Sequence[ModelDelta]
Script = Generator[Answer, list[dict[str, Any]], None]
Stage = Literal["agent", "desk"]
REST: Answer = ()
"""The answer that ends a turn."""


@dataclass(frozen=True)
class Case:
    """One way to cheat. `sees` are codes of refusals that the model must have been told, each of them, where orders are possible.

    `plant` puts the poison into the workspace before the model is asked, `after` is what must hold when it is over, an AssertionError if
    not. `ends` are the ways in which its turns end beside ending by themselves, `turns` how many turns there are; those of a `crowd` are
    held all at once.
    """

    id: str
    title: str
    script: Callable[["Foe"], Script]
    stage: Stage = "agent"
    sees: frozenset[str] = frozenset()
    turns: int = 1
    ends: frozenset[str] = frozenset()
    mode: str = "coach"
    head: tuple[tuple[str, str], ...] = ()
    plant: Callable[[Any], None] | None = None
    after: Callable[[Any], None] | None = None
    crowd: bool = False


@dataclass
class Foe:
    """A model that plays a script. `look` is called with every question it is asked, before it answers.

    `prompts` are the first messages of each turn, `told` every answer of a tool, `offered` the names of the tools of each question.
    """

    script: Callable[["Foe"], Script]
    chance: random.Random
    look: Callable[[], None] = lambda: None
    id: str = "test/adversary"
    is_rule_based: bool = True
    prompts: list[tuple[Message, ...]] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    offered: list[frozenset[str]] = field(default_factory=list)
    asked: int = 0
    over: bool = False
    _playing: Script | None = None

    async def estimate_usd(self, messages: Sequence[Message], max_tokens: int, tools: Sequence[ToolSpec] = ()) -> Decimal | None:
        return Decimal(0)

    async def stream(self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, max_tokens: int) -> AsyncGenerator[ModelDelta, None]:
        self.asked += 1
        self.offered.append(frozenset(tool.name for tool in tools))
        results = _results(messages)
        self.told += results
        if messages[-1].role == "user":
            self.prompts.append(tuple(messages))
        self.look()
        deltas = self._next(results)
        for delta in deltas or (say("done"),):
            yield delta
        if not any(delta.done for delta in deltas):
            yield ModelDelta(done="stop")

    def _next(self, results: list[dict[str, Any]]) -> Answer:
        if self.over:
            return REST
        try:
            if self._playing is None:
                self._playing = self.script(self)
                return next(self._playing)
            return self._playing.send(results)
        except StopIteration:
            self.over = True
            return REST

    @property
    def codes(self) -> list[str]:
        """The reason code of every refusal it was told, `` for one without."""
        return [code_of(result) for result in self.told if is_refusal(result)]


def _results(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """What the calls of the answer before came to; nothing at the beginning of a turn."""
    found: list[dict[str, Any]] = []
    for message in reversed(messages):
        if message.role != "tool":
            break
        found.append(json.loads(message.content))
    return found[::-1]


def is_refusal(result: dict[str, Any]) -> bool:
    return "error" in result or result.get("verdict") == "rejected"


def code_of(result: dict[str, Any]) -> str:
    error = result.get("error")
    return str(error.get("code", "")) if isinstance(error, dict) else str(result.get("rule") or "")


# --- what a script says -------------------------------------------------------------------------------------------------------


def use(name: str, /, **arguments: Any) -> ModelDelta:
    """A tool call; its id is given by the loop."""
    return call(name, json.dumps(arguments))


def raw(name: str, arguments: str) -> ModelDelta:
    """A tool call whose arguments are this text, whatever it is."""
    return call(name, arguments)


def price_of(market: str = "BTC") -> Generator[Answer, list[dict[str, Any]], Decimal]:
    """Ask for the mark: `price = yield from price_of()`."""
    found = yield [use("get_mark_price", market=market)]
    return Decimal(str(found[0]["mark_usdc"])) if found and "mark_usdc" in found[0] else Decimal(80_000)


def entry(mark: Decimal, side: str = "buy", market: str = "BTC", /, *, away: str = "0.03", **stated: Any) -> ModelDelta:
    """An entry with a stop and a target as the limits want them; `stated` is its size, and whatever else."""
    step = Decimal(away) * (1 if side == "buy" else -1)
    levels = {"stop": level(mark * (1 - step)), "target": level(mark * (1 + 3 * step))}
    return use("propose_order", **{"market": market, "side": side, **levels, "reason": "it goes up", **stated})


def level(price: Decimal) -> str:
    """A price of five figures, as the venue has them."""
    return f"{price:.5g}" if price < 10_000 else f"{price:.0f}"


__all__ = ["REST", "Answer", "Case", "Foe", "Script", "code_of", "entry", "is_refusal", "level", "price_of", "raw", "say", "use"]
