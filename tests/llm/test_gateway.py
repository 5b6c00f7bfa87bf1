"""The real LiteLLM against a scripted server on the loopback interface: streaming, tool calls, cost, failures, stalls."""

import gc
import json
import sqlite3
import subprocess
import sys
import warnings
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from loopback import END, ROLE, Loopback, Reply, chunk, failure, text_reply, tool_piece
from scripted_model import Desk, ScriptedModel, ending, play

from tradeagent.domain.clock import SystemClock
from tradeagent.domain.errors import InvalidConfig, ModelError
from tradeagent.llm.contract import Message, Model, ModelDelta, ReasoningDelta, TextDelta, ToolCall, ToolCallFinished, TurnLimits
from tradeagent.llm.fallback import FallbackModel
from tradeagent.llm.gateway import open_model
from tradeagent.llm.keys import scrub
from tradeagent.llm.offline.model import OfflineModel
from tradeagent.llm.settings import ModelEntry, ModelSettings, model_settings
from tradeagent.llm.usage import Price, Usage, by_model
from tradeagent.llm.wire import marks_prompts, wire_messages
from tradeagent.workspace.config import load_config

KEY = "sk-test-0123456789"
MODEL = "openai/some-model"
slow = pytest.mark.slow
# LiteLLM reads pydantic's field tables off instances, and drops a prepared call that is cancelled before it starts
pytestmark = [
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:coroutine 'OpenAIChatCompletion:RuntimeWarning"),
]


@pytest.fixture(scope="module")
def litellm() -> Iterator[Any]:
    """LiteLLM imported once, its import-time deprecations silenced."""
    from tradeagent.llm import gateway

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield gateway.load_litellm()
        gc.collect()  # what it dropped goes while that is not an error


def settings_for(server: Loopback, **changes: Any) -> ModelSettings:
    values: dict[str, Any] = {"environment": {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": KEY}, "retries": 0}
    return ModelSettings(**(values | changes))


async def answer_of(model: Model) -> list[ModelDelta]:
    return [delta async for delta in model.stream([Message("user", "hello")], [], max_tokens=100)]


@slow
async def test_text_streams_piece_by_piece_with_usage_and_a_configured_price(litellm: Any) -> None:
    with Loopback(text_reply("Hel", "lo")) as server:
        price = Price(Decimal(2), Decimal(10))
        model = open_model(MODEL, settings_for(server, models={MODEL: ModelEntry(price=price)}))
        deltas = await answer_of(model)
    assert [delta.text for delta in deltas if delta.text] == ["Hel", "lo"]
    assert deltas[-1].done == "stop"
    assert deltas[-1].usage == Usage(11, 3, Decimal("0.000052"))
    assert server.authorizations == [f"Bearer {KEY}"]
    body = server.bodies[0]
    assert (body["model"], body["stream"], body["max_tokens"]) == ("some-model", True, 100)
    assert await model.estimate_usd([Message("user", "x" * 4000)], 100) == Decimal("0.003")


@slow
async def test_an_id_outside_the_price_table_costs_unknown_and_one_inside_has_its_price(litellm: Any) -> None:
    with Loopback(text_reply("x", usage=(1_000_000, 1_000_000))) as server:
        unknown = await answer_of(open_model(MODEL, settings_for(server)))
        known = await answer_of(open_model("openai/gpt-4o-mini", settings_for(server)))
    assert unknown[-1].usage == Usage(1_000_000, 1_000_000, None)
    assert known[-1].usage is not None
    assert known[-1].usage.cost_usd == Decimal("0.75")


@slow
async def test_the_configured_base_url_wins_over_the_environment_and_the_key_reference_is_followed(litellm: Any) -> None:
    with Loopback(text_reply("x")) as server:
        entry = ModelEntry(base_url=server.url, api_key="env:MY_KEY")
        environment = {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "MY_KEY": "my-own-key"}
        await answer_of(open_model(MODEL, ModelSettings(environment, {MODEL: entry}, retries=0)))
        await answer_of(open_model(MODEL, ModelSettings({"OPENAI_API_BASE": server.url}, retries=0)))
    assert server.authorizations[0] == "Bearer my-own-key"
    assert len(server.bodies) == 2


@slow
async def test_thoughts_stream_apart_from_what_is_said(litellm: Any) -> None:
    thinks = [chunk({"reasoning_content": word}) for word in ("It ", "falls.")]
    with Loopback(Reply((ROLE, *thinks, chunk({"content": "Hold."}), chunk({}, "stop"), chunk(usage=(5, 9)), END))) as server:
        events = await play(open_model(MODEL, settings_for(server)))
    assert [event.text for event in events if isinstance(event, ReasoningDelta)] == ["It ", "falls."]
    assert (ending(events).text, ending(events).messages) == ("Hold.", (Message("assistant", "Hold."),))


TOOL_CALLS = Reply(
    (
        ROLE,
        chunk({"content": "I buy."}),
        tool_piece(0, "", "propose_order", "id_a"),
        tool_piece(0, '{"market": "B'),
        tool_piece(1, "", "get_portfolio", "id_b"),
        tool_piece(0, 'TC", "quo'),
        tool_piece(1, "{}"),
        tool_piece(0, 'te": "25.5"}'),
        chunk({}, "tool_calls"),
        chunk(usage=(50, 20)),
        END,
    )
)


@slow
async def test_tool_calls_split_over_deltas_assemble_run_and_go_back_to_the_model(litellm: Any) -> None:
    desk = Desk()
    with Loopback(TOOL_CALLS, text_reply("Bought.")) as server:
        events = await play(open_model(MODEL, settings_for(server)), desk.tools())
    end = ending(events)
    assert (end.reason, end.text, end.tool_calls) == ("stop", "I buy.Bought.", 2)
    assert [(order.market, order.quote) for order in desk.orders] == [("BTC", Decimal("25.5"))]
    assert desk.looks == 1
    sent = server.bodies[1]["messages"]
    assert [call["id"] for call in sent[1]["tool_calls"]] == ["id_a", "id_b"]
    assert [(m["role"], m["tool_call_id"]) for m in sent[2:]] == [("tool", "id_a"), ("tool", "id_b")]
    assert server.bodies[0]["tools"][0]["function"]["parameters"]["additionalProperties"] is False


@slow
async def test_arguments_without_end_are_cut_and_refused(litellm: Any) -> None:
    desk = Desk()
    flood = Reply(
        (
            tool_piece(0, '{"market": "', "propose_order", "a"),
            *[tool_piece(0, "B" * 50_000)] * 40,
            chunk({}, "tool_calls"),
            chunk(usage=(1, 1)),
            END,
        )
    )
    with Loopback(flood, text_reply("ok")) as server:
        events = await play(open_model(MODEL, settings_for(server)), desk.tools(), TurnLimits(max_tokens=200_000, deadline_s=20))
    (finished,) = [event for event in events if isinstance(event, ToolCallFinished)]
    assert "larger than 262144 bytes" in finished.result.content["error"]["message"]
    assert desk.orders == []
    assert len(str(server.bodies[1])) < 20_000


@slow
@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (failure(401, f"Incorrect API key provided: {KEY}"), "refused the key"),
        (failure(404, "no such model"), "does not know this model"),
        (failure(429, "slow down"), "rate limit"),
        (failure(500, "oops"), "failed"),
        (Reply(("<html>gateway</html>",), 200, "text/html"), "broke off"),
        (Reply((ROLE, "data: {not json\n\n", END)), ""),
        (Reply((ROLE,), ending="cut"), ""),
        (Reply((), ending="cut"), ""),
        (Reply((ROLE, chunk({"content": "half a"})), ending="cut"), ""),
        (Reply((ROLE, chunk({"content": "half a"}), END)), "broke off"),
    ],
    ids=["401", "404", "429", "500", "html", "bad-json", "cut-after-role", "cut-at-once", "cut-mid-stream", "no-finish-reason"],
)
async def test_every_failure_ends_the_turn_with_a_model_error_without_the_key(litellm: Any, reply: Reply, says: str) -> None:
    with Loopback(reply) as server:
        end = ending(await play(open_model(MODEL, settings_for(server))))
    assert end.reason == "model_error"
    assert says in end.detail
    assert MODEL in end.detail
    assert KEY not in end.detail
    assert end.defect is None


@slow
async def test_a_provider_that_says_when_to_come_back_is_waited_for_or_left(litellm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    paused: list[float] = []

    async def sleep(seconds: float) -> None:
        paused.append(seconds)

    monkeypatch.setattr("tradeagent.llm.gateway.asyncio.sleep", sleep)
    busy = failure(429)
    for stated, pauses, asked in (("7", [7.0], 2), ("0.1", [0.5], 2), ("soon", [0.5], 2), ("3600", [], 1)):
        paused.clear()
        with Loopback(replace(busy, retry_after=stated), text_reply("now")) as server:
            model = open_model(MODEL, settings_for(server, retries=2))
            with suppress(ModelError):
                async for _ in model.stream([Message("user", "hello")], (), max_tokens=10):
                    pass
        assert (paused, len(server.bodies)) == (pauses, asked), stated


@slow
async def test_a_failure_before_the_first_token_is_tried_again_and_one_after_it_is_not(
    litellm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradeagent.llm.gateway.FIRST_BACKOFF_S", 0.01)
    with Loopback(failure(500), failure(429), text_reply("third time")) as server:
        end = ending(await play(open_model(MODEL, settings_for(server, retries=2))))
    assert (end.reason, end.text, len(server.bodies)) == ("stop", "third time", 3)
    with Loopback(Reply((ROLE, chunk({"content": "half"})), ending="cut"), text_reply("again")) as server:
        end = ending(await play(open_model(MODEL, settings_for(server, retries=2))))
    assert (end.reason, end.text, len(server.bodies)) == ("model_error", "half", 1)
    with Loopback(failure(401)) as server:
        await play(open_model(MODEL, settings_for(server, retries=2)))
    assert len(server.bodies) == 1


@slow
async def test_a_fallback_answers_for_a_model_that_fails_or_stays_silent(litellm: Any) -> None:
    for first in (failure(500), Reply(silent_before=True)):
        with Loopback(first) as broken, Loopback(text_reply("from the second")) as working:
            models = {MODEL: ModelEntry(base_url=broken.url), "openai/other": ModelEntry(base_url=working.url)}
            settings = ModelSettings({}, models, ("openai/other",), retries=0, switch_after_s=0.5)
            model = open_model(MODEL, settings)
            end = ending(await play(model))
        assert (end.reason, end.text, model.id) == ("stop", "from the second", MODEL)


async def test_a_chain_costs_its_dearest_known_price_and_is_rule_based_only_when_all_are() -> None:
    chain = FallbackModel((ScriptedModel([], estimate=Decimal("0.1")), ScriptedModel([], estimate=Decimal("0.3"))), 1)
    assert await chain.estimate_usd([], 10) == Decimal("0.3")
    assert chain.is_rule_based
    unknown = FallbackModel((ScriptedModel([], estimate=None), ScriptedModel([])), 1)
    assert await unknown.estimate_usd([], 10) is None
    assert not FallbackModel((ScriptedModel([]), open_model(MODEL, ModelSettings({"OPENAI_API_KEY": KEY}))), 1).is_rule_based


@slow
@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(silent_before=True), "first_token_timeout"),
        (Reply((ROLE,), ending="stall"), "first_token_timeout"),
        (Reply((ROLE, chunk({"content": "well"})), ending="stall"), "idle_timeout"),
        (Reply((ROLE, tool_piece(0, '{"a', "x", "i")), ending="stall"), "idle_timeout"),
        (Reply((ROLE, chunk({"content": "well"}), chunk({}, "stop")), ending="stall"), "idle_timeout"),
    ],
    ids=["before-headers", "after-role", "mid-text", "mid-tool-call", "before-usage"],
)
async def test_a_stalled_provider_is_left_at_its_timer(litellm: Any, reply: Reply, reason: str) -> None:
    clock = SystemClock()
    with Loopback(reply) as server:
        began = clock.monotonic()
        events = await play(
            open_model(MODEL, settings_for(server)), limits=TurnLimits(deadline_s=3, first_token_timeout_s=0.5, idle_timeout_s=0.5)
        )
        took = clock.monotonic() - began
    assert ending(events).reason == reason
    assert took < 1.5


@slow
async def test_a_stall_past_the_deadline_ends_at_the_deadline(litellm: Any) -> None:
    clock = SystemClock()
    with Loopback(Reply((ROLE, chunk({"content": "well"})), ending="stall")) as server:
        began = clock.monotonic()
        events = await play(open_model(MODEL, settings_for(server)), limits=TurnLimits(deadline_s=0.7))
        took = clock.monotonic() - began
    assert ending(events).reason == "deadline"
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["well"]
    assert took < 1.7


@slow
def test_the_first_call_imports_next_to_nothing_on_the_event_loop() -> None:
    program = """
import asyncio, sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
from loopback import Loopback, text_reply
from scripted_model import Desk
from tradeagent.llm.contract import Message
from tradeagent.llm.gateway import load_litellm, open_model
from tradeagent.llm.settings import ModelSettings
load_litellm()
before = set(sys.modules)
async def ask():
    with Loopback(text_reply("hi")) as server:
        model = open_model("openai/x", ModelSettings({"OPENAI_BASE_URL": server.url}))
        return [d.text async for d in model.stream([Message("user", "x")], [t.spec for t in Desk().tools()], max_tokens=9)]
assert "hi" in asyncio.run(ask())
late = sorted(set(sys.modules) - before)
assert len(late) < 60, late
"""
    here = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", program, here], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@slow
def test_importing_and_opening_never_leaves_the_machine() -> None:
    program = """
import os, socket, sys, warnings
warnings.simplefilter("ignore")
tried = []
def audit(event, args):
    if event in ("socket.connect", "socket.getaddrinfo") and "127.0.0.1" not in str(args):
        tried.append((event, args))
        raise OSError("blocked")
sys.addaudithook(audit)
from tradeagent.llm.fallback import FallbackModel
from tradeagent.llm.gateway import open_model, load_litellm
from tradeagent.llm.settings import ModelSettings
model = open_model("openai/x", ModelSettings({"OPENAI_API_KEY": "k"}))
assert "litellm" not in sys.modules, "opening a model must not import LiteLLM"
lib = load_litellm()
assert lib.telemetry is False
import time; time.sleep(0.5)
assert not tried, tried
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(("model_id", "variable"), [(MODEL, "OPENAI_API_KEY"), ("anthropic/claude-x", "ANTHROPIC_API_KEY")])
def test_a_missing_key_names_the_variable_to_set(model_id: str, variable: str) -> None:
    with pytest.raises(ModelError, match=f"{variable} is not set") as caught:
        open_model(model_id, ModelSettings({}))
    assert variable in caught.value.hint
    reference = ModelSettings({}, {model_id: ModelEntry(base_url="http://127.0.0.1:1", api_key="env:MINE")})
    with pytest.raises(ModelError, match="MINE is not set"):
        open_model(model_id, reference)


def test_a_key_written_into_the_configuration_is_refused_without_repeating_it() -> None:
    with pytest.raises(InvalidConfig) as caught:
        open_model(MODEL, ModelSettings({}, {MODEL: ModelEntry(api_key=KEY)}))
    assert KEY not in str(caught.value.as_dict())


def test_the_models_section_of_the_configuration_becomes_settings(tmp_path: Path) -> None:
    file = tmp_path / "config.yml"
    file.write_text(
        "models:\n  openai/qwen2.5:\n    base_url: http://localhost:8000/v1\n    api_key: env:QWEN\n"
        "    input_price_per_mtok: 0.5\n    output_price_per_mtok: 1.5\n  groq/x:\n    input_price_per_mtok: 1\n"
    )
    found = model_settings(load_config(file, {}), {"QWEN": "k"}, ["offline/hold"])
    assert found.entry("openai/qwen2.5") == ModelEntry(
        "http://localhost:8000/v1", "env:QWEN", Price(Decimal("0.5"), Decimal("1.5")), Decimal("0.5")
    )
    assert found.entry("groq/x").price is None
    assert found.fallbacks == ("offline/hold",)


def test_models_that_are_not_there_say_so() -> None:
    with pytest.raises(ModelError) as caught:
        open_model("offline/magic", ModelSettings({}))
    assert "offline/momentum" in caught.value.hint
    assert isinstance(open_model("offline/hold", ModelSettings({})), OfflineModel)


def test_secrets_are_scrubbed_from_messages() -> None:
    text = scrub("key sk-abcdefghijk and hunter2hunter2 and Bearer abc.def-123456", {"MY_TOKEN": "hunter2hunter2", "HOME": "key"})
    assert text == "key <key> and <MY_TOKEN> and <key>"


def anthropic_reply(*deltas: dict[str, Any]) -> Reply:
    """A streamed message of Anthropic's own protocol: a thought, a text, and the count of tokens read from its prompt cache."""
    usage = {"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 90}
    message = {"id": "m", "type": "message", "role": "assistant", "model": "claude", "content": [], "stop_reason": None, "usage": usage}
    told: list[dict[str, Any]] = [{"type": "message_start", "message": message}]
    for index, delta in enumerate(deltas):
        block = {"type": "thinking", "thinking": ""} if delta["type"] == "thinking_delta" else {"type": "text", "text": ""}
        told += [
            {"type": "content_block_start", "index": index, "content_block": block},
            {"type": "content_block_delta", "index": index, "delta": delta},
            {"type": "content_block_stop", "index": index},
        ]
    told += [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 20}}, {"type": "message_stop"}]
    return Reply(tuple(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in told))


@slow
async def test_claude_is_told_what_to_keep_of_a_prompt_and_its_thoughts_stream_apart(litellm: Any) -> None:
    model_id = "anthropic/claude-sonnet-4-5"
    said = anthropic_reply({"type": "thinking_delta", "thinking": "hm"}, {"type": "text_delta", "text": "Hold."})
    messages = [
        Message("system", "rules"),
        Message("user", "look"),
        Message("assistant", "", (ToolCall("a", "get_portfolio", "{}"),)),
        Message("tool", "{}", tool_call_id="a", name="get_portfolio"),
    ]
    with Loopback(said) as server:
        settings = ModelSettings({"ANTHROPIC_API_KEY": KEY}, {model_id: ModelEntry(base_url=server.url)}, retries=0)
        model = open_model(model_id, settings)
        deltas = [delta async for delta in model.stream(messages, [Desk().tools()[1].spec], max_tokens=100)]
    assert ("".join(delta.reasoning for delta in deltas), "".join(delta.text for delta in deltas)) == ("hm", "Hold.")
    body = server.bodies[0]
    assert body["system"][0]["cache_control"] == {"type": "ephemeral"}
    assert [block.get("cache_control") for block in body["messages"][0]["content"]] == [{"type": "ephemeral"}]
    assert "cache_control" in json.dumps(body["messages"][-1])
    usage = deltas[-1].usage
    assert usage is not None
    assert (usage.tokens_in, usage.tokens_out) == (1000, 20)
    assert usage.cost_usd == (10 * 3 + 900 * Decimal("0.3") + 90 * Decimal("3.75") + 20 * 15) / Decimal(1_000_000)


def test_only_who_wants_marks_gets_them() -> None:
    assert [
        marks_prompts(model)
        for model in (
            "anthropic/claude-x",
            "bedrock/anthropic.claude-x",
            "openrouter/anthropic/claude-x",
            "openrouter/qwen/q",
            "openai/claude-proxy",
        )
    ] == [True, True, True, False, False]
    assert wire_messages([Message("user", "x")], "openai/x") == [{"role": "user", "content": "x"}]
    assert wire_messages([], "anthropic/claude-x") == []


@slow
async def test_a_fallback_that_answers_is_named_in_the_usage(litellm: Any) -> None:
    with Loopback(failure(500)) as broken, Loopback(text_reply("x")) as working:
        models = {
            MODEL: ModelEntry(base_url=broken.url),
            "openai/other": ModelEntry(base_url=working.url, price=Price(Decimal(1), Decimal(1))),
        }
        end = ending(await play(open_model(MODEL, ModelSettings({}, models, ("openai/other",), retries=0))))
    assert end.usage.cost_usd == Decimal("0.000014")
    counted = by_model([Usage(11, 3, Decimal("0.000014"), model_id="openai/other"), Usage(1, 1)], MODEL)
    assert {model: (calls, total.tokens_in) for model, (calls, total) in counted.items()} == {"openai/other": (1, 11), MODEL: (1, 1)}
    assert by_model([], MODEL) == {MODEL: (0, Usage())}


@slow
async def test_no_failure_repeats_a_key_whatever_it_looks_like(litellm: Any) -> None:
    plain = "plainwords-as-a-key"
    for status in (400, 401, 429, 500):
        with Loopback(failure(status, f"the key {plain} is bad")) as server:
            entry = ModelEntry(base_url=server.url, api_key="env:MINE")
            end = ending(await play(open_model(MODEL, ModelSettings({"MINE": plain}, {MODEL: entry}, retries=0))))
        assert end.reason == "model_error"
        assert plain not in repr(end)


@slow
async def test_a_recorded_answer_is_played_again_without_a_network_and_the_file_holds_no_key(litellm: Any, tmp_path: Path) -> None:
    canary = "canary-0123456789-of-a-key"
    environment = {"OPENAI_API_KEY": canary}
    file = tmp_path / "model_cache.sqlite"

    def opened(url: str, mode: str) -> Model:
        config = load_config(tmp_path / "none.yml", {"TRADEAGENT_MODEL_CACHE__MODE": mode})
        return open_model(MODEL, model_settings(config, environment | {"OPENAI_BASE_URL": url}, cache_file=file))

    with Loopback(TOOL_CALLS, text_reply("Bought.")) as server:
        recorded = ending(await play(opened(server.url, "read_write"), Desk().tools()))
        url = server.url
    replayed = ending(await play(opened(url, "replay"), Desk().tools()))
    assert (recorded.text, recorded.tool_calls) == ("I buy.Bought.", 2)
    assert replayed.messages == recorded.messages
    assert (replayed.usage.cost_usd, replayed.usage.cached_calls) == (Decimal(0), 2)
    missing = ending(await play(opened("http://127.0.0.1:9/v1", "replay")))
    assert (missing.reason, "not in the response cache" in missing.detail) == ("model_error", True)
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert canary.encode() not in kept
    with sqlite3.connect(file) as db:
        held = [zlib.decompress(row[0]) for row in db.execute("SELECT deltas FROM answers")]
    db.close()
    assert len(held) == 2
    assert all(canary.encode() not in data for data in held)
