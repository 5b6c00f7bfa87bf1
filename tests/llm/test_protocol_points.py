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

ERRORS: dict[str, dict[str, Any]] = {
    "429 in the stream": {"error": {"message": "Rate limit reached for requests", "type": "rate_limit_error", "param": None, "code": 429}},
    "429 as a word": {"error": {"message": "Rate limit reached for requests", "type": "requests", "code": "rate_limit_exceeded"}},
    "500 in the stream": {"error": {"message": "The server had an error", "type": "server_error", "param": None, "code": 500}},
    "500 beside a choice": {
        **{"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"},
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": "error"}],
        "error": {"message": "The server had an error", "code": 500},
    },
}
CALL_USED = (500, 200)
CALL_COST = PRICE.cost(*CALL_USED)


@pytest.fixture(scope="module", autouse=True)
def litellm() -> Iterator[Any]:
    from tradeagent.llm import gateway

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield gateway.load_litellm()
        gc.collect()


class Spending:
    """One budget, and what was booked under it."""

    def __init__(self) -> None:
        self.booked: list[Usage] = []
        self.budget = Budget(CAP, lambda: self.usd, self.booked.append)

    @property
    def usd(self) -> Decimal:
        return sum((usage.cost_usd or Decimal(0) for usage in self.booked), Decimal(0))


async def turn_with(server: Loopback, limits: TurnLimits, spending: Spending) -> tuple[TurnFinished, float, list[ToolCallFinished]]:
    """The end of a turn, its seconds, and what was dispatched."""
    model = open_model(MODEL, ModelSettings({"OPENAI_API_KEY": "sk-x"}, {MODEL: ModelEntry(base_url=server.url, price=PRICE)}, retries=0))
    clock = SystemClock()
    began = clock.monotonic()
    events = await play(model, Desk().tools(), limits, control=TurnControl(spending.budget))
    took = clock.monotonic() - began
    return ending(events), took, [event for event in events if isinstance(event, ToolCallFinished) and event.dispatched]


async def played(reply: Reply) -> tuple[TurnFinished, list[ToolCallFinished]]:
    """A turn against a server that gives this reply; in time, for no more than one call may cost, and with nothing broken inside."""
    spending = Spending()
    with Loopback(reply) as server:
        end, took, dispatched = await turn_with(server, TurnLimits(deadline_s=DEADLINE_S), spending)
    assert took <= DEADLINE_S + 1
    assert spending.usd <= PRICE.cost(2000, 20_000)
    assert end.defect is None
    return end, dispatched


@pytest.mark.parametrize("how", ["stall", "half", "cut", "garbage", "slow", *ERRORS])
async def test_whatever_happens_at_a_point_of_the_protocol_ends_the_turn_in_time(how: str) -> None:
    def reply(pieces: tuple[str, ...]) -> Reply:
        if how == "garbage":
            return Reply((*pieces, *GARBAGE, END))
        if how in ERRORS:
            return Reply((*pieces, f"data: {json.dumps(ERRORS[how])}\n\n", END))
        if how == "slow":
            return Reply((*pieces, *(chunk({"content": letter}) for letter in "for ever and ever" * 20)), pause_s=0.1)
        return Reply(pieces, ending=how)

    results = await asyncio.gather(*(played(reply(pieces)) for pieces in POINTS.values()))
    for point, (end, dispatched) in zip(POINTS, results, strict=True):
        is_said = FINISH in POINTS[point]  # the provider has said that the answer is whole: what follows can only be missed
        if how == "stall" and point != "after the end":
            assert end.reason == "deadline", point
        elif how in ERRORS and not is_said:
            is_told = ERRORS[how]["error"]["message"] in end.detail or point == "in the middle of the first chunk"
            assert end.reason == "model_error" and is_told, (point, end.detail)
        elif not is_said:
            assert end.reason in ("deadline", "model_error"), point
        assert dispatched == [], point
        assert end.text == ("I wait. " if TEXT in POINTS[point] else "") or how == "slow", point


async def test_nothing_at_all_before_the_headers_and_refusals_end_the_turn_in_time() -> None:
    replies = [Reply(silent_before=True), failure(429, "slow down"), failure(500, "oops"), failure(529, "overloaded")]
    ends = [end for end, _ in await asyncio.gather(*map(played, replies))]
    assert [end.reason for end in ends] == ["deadline", "model_error", "model_error", "model_error"]


def asks_again(number: int) -> Reply:
    """An answer that calls a tool and so makes the turn ask once more; it costs `CALL_COST`."""
    proposal = json.dumps({"market": "BTC", "quote": str(number + 1)})
    return Reply((ROLE, tool_piece(0, proposal, "propose_order", f"id{number}"), chunk({}, "tool_calls"), chunk(usage=CALL_USED), END))


@pytest.mark.parametrize("turns", [1, 5])
async def test_turns_of_many_calls_end_at_the_cap_and_spend_at_most_one_call_more(turns: int) -> None:
    spending = Spending()
    assert CAP + CALL_COST < 12 * CALL_COST, "without the cap a turn could spend more"
    with Loopback(*map(asks_again, range(60))) as server:
        limits = TurnLimits(deadline_s=30)
        ends = [end for end, _, _ in await asyncio.gather(*(turn_with(server, limits, spending) for _ in range(turns)))]
        asked = len(server.bodies)
    assert {end.reason for end in ends} == {"budget"}
    assert asked == len(spending.booked) and spending.usd == asked * CALL_COST
    assert CAP <= spending.usd < CAP + CALL_COST


async def test_a_stream_without_end_stops_at_the_token_limit_and_a_flood_of_calls_at_its_twelfth() -> None:
    with Loopback(Reply((ROLE, chunk({"content": "blah " * 200})), ending="flood")) as server:
        end, took, _ = await turn_with(server, TurnLimits(max_tokens=5_000, deadline_s=30), Spending())
    assert (end.reason, len(end.text) < 5_000 * 4 + 2_000, took < 30) == ("token_limit", True, True)
    many = [tool_piece(number, json.dumps({}), "get_portfolio", f"id{number}") for number in range(500)]
    different = [
        tool_piece(number, json.dumps({"market": "BTC", "quote": str(number + 1)}), "propose_order", f"id{number}") for number in range(500)
    ]
    for calls, reason, dispatched in ((many, "repeat", 2), (different, "tool_limit", 12)):
        with Loopback(Reply((ROLE, *calls, chunk({}, "tool_calls"), USAGE, END))) as server:
            end, _, done = await turn_with(server, TurnLimits(max_tokens=100_000, deadline_s=30), Spending())
        assert (end.reason, len(done), len(server.bodies)) == (reason, dispatched, 1)
