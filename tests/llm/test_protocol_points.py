"""A provider that stalls, drips, breaks off or talks nonsense at each point of its protocol: a turn ends in time, within its budget."""

import asyncio
import gc
import json
import warnings
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from loopback import END, ROLE, Loopback, Reply, chunk, failure, tool_piece
from scripted_model import Desk, ending, play

from tradeagent.domain.clock import SystemClock
from tradeagent.llm.contract import ToolCallFinished, TurnFinished, TurnLimits
from tradeagent.llm.gateway import open_model
from tradeagent.llm.loop import TurnControl
from tradeagent.llm.settings import ModelEntry, ModelSettings
from tradeagent.llm.usage import Budget, Price, Usage

MODEL = "openai/some-model"
DEADLINE_S = 2.0
CAP = Decimal("0.01")
PRICE = Price(Decimal(2), Decimal(10))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:coroutine 'OpenAIChatCompletion:RuntimeWarning"),
]
TEXT, THOUGHT = chunk({"content": "I wait. "}), chunk({"reasoning_content": "hm"})
CALL = tool_piece(0, "", "get_portfolio", "id_a")
WHOLE_CALL = (CALL, tool_piece(0, "{}"))
FINISH, USAGE = chunk({}, "stop"), chunk(usage=(50, 20))
POINTS: dict[str, tuple[str, ...]] = {
    "after the headers": (),
    "after the role": (ROLE,),
    "in the middle of the first chunk": (TEXT[: len(TEXT) // 2],),
    "in the middle of a text": (ROLE, TEXT),
    "after a thought": (ROLE, THOUGHT),
    "after the name of a call": (ROLE, CALL),
    "in the middle of arguments": (ROLE, tool_piece(0, '{"mark', "propose_order", "id_a")),
    "between two calls": (ROLE, *WHOLE_CALL, tool_piece(1, "", "get_portfolio", "id_b")),
    "after a call, before its finish": (ROLE, *WHOLE_CALL),
    "before the usage": (ROLE, TEXT, FINISH),
    "before the end": (ROLE, TEXT, FINISH, USAGE),
    "after the end": (ROLE, TEXT, FINISH, USAGE, END),
}
GARBAGE = ("data: {not json\n\n", "data: [1, 2]\n\n", "data: {}\n\n", "data: null\n\n", 'data: {"choices": 5}\n\n', "\x00\x01\n\n")


@pytest.fixture(scope="module", autouse=True)
def litellm() -> Iterator[Any]:
    from tradeagent.llm import gateway

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield gateway.load_litellm()
        gc.collect()


async def turn_with(server: Loopback, limits: TurnLimits) -> tuple[TurnFinished, float, Decimal, list[ToolCallFinished]]:
    """The end of a turn, its seconds, what it booked, and what was dispatched."""
    booked: list[Usage] = []
    budget = Budget(CAP, lambda: sum((usage.cost_usd or Decimal(0) for usage in booked), Decimal(0)), booked.append)
    model = open_model(MODEL, ModelSettings({"OPENAI_API_KEY": "sk-x"}, {MODEL: ModelEntry(base_url=server.url, price=PRICE)}, retries=0))
    clock = SystemClock()
    began = clock.monotonic()
    events = await play(model, Desk().tools(), limits, control=TurnControl(budget))
    took = clock.monotonic() - began
    spent = sum((usage.cost_usd or Decimal(0) for usage in booked), Decimal(0))
    return ending(events), took, spent, [event for event in events if isinstance(event, ToolCallFinished) and event.dispatched]


async def played(reply: Reply) -> tuple[TurnFinished, list[ToolCallFinished]]:
    """A turn against a server that gives this reply; in time, within the budget, and with nothing broken inside."""
    with Loopback(reply) as server:
        end, took, spent, dispatched = await turn_with(server, TurnLimits(deadline_s=DEADLINE_S))
    assert took <= DEADLINE_S + 1
    assert spent <= CAP + PRICE.cost(2000, 20_000)
    assert end.defect is None
    return end, dispatched


@pytest.mark.parametrize("how", ["stall", "half", "cut", "garbage", "slow"])
async def test_whatever_happens_at_a_point_of_the_protocol_ends_the_turn_in_time(how: str) -> None:
    def reply(pieces: tuple[str, ...]) -> Reply:
        if how == "garbage":
            return Reply((*pieces, *GARBAGE, END))
        if how == "slow":
            return Reply((*pieces, *(chunk({"content": letter}) for letter in "for ever and ever" * 20)), pause_s=0.1)
        return Reply(pieces, ending=how)

    results = await asyncio.gather(*(played(reply(pieces)) for pieces in POINTS.values()))
    for point, (end, dispatched) in zip(POINTS, results, strict=True):
        is_said = FINISH in POINTS[point]  # the provider has said that the answer is whole: what follows can only be missed
        if how == "stall" and point != "after the end":
            assert end.reason == "deadline", point
        elif not is_said:
            assert end.reason in ("deadline", "model_error"), point
        assert dispatched == [], point
        assert end.text == ("I wait. " if TEXT in POINTS[point] else "") or how == "slow", point


async def test_nothing_at_all_before_the_headers_and_refusals_end_the_turn_in_time() -> None:
    replies = [Reply(silent_before=True), failure(429, "slow down"), failure(500, "oops"), failure(529, "overloaded")]
    ends = [end for end, _ in await asyncio.gather(*map(played, replies))]
    assert [end.reason for end in ends] == ["deadline", "model_error", "model_error", "model_error"]


async def test_a_stream_without_end_stops_at_the_token_limit_and_a_flood_of_calls_at_its_twelfth() -> None:
    with Loopback(Reply((ROLE, chunk({"content": "blah " * 200})), ending="flood")) as server:
        end, took, _, _ = await turn_with(server, TurnLimits(max_tokens=5_000, deadline_s=30))
    assert (end.reason, len(end.text) < 5_000 * 4 + 2_000, took < 30) == ("token_limit", True, True)
    many = [tool_piece(number, json.dumps({}), "get_portfolio", f"id{number}") for number in range(500)]
    different = [
        tool_piece(number, json.dumps({"market": "BTC", "quote": str(number + 1)}), "propose_order", f"id{number}") for number in range(500)
    ]
    for calls, reason, dispatched in ((many, "repeat", 2), (different, "tool_limit", 12)):
        with Loopback(Reply((ROLE, *calls, chunk({}, "tool_calls"), USAGE, END))) as server:
            end, _, _, done = await turn_with(server, TurnLimits(max_tokens=100_000, deadline_s=30))
        assert (end.reason, len(done), len(server.bodies)) == (reason, dispatched, 1)
