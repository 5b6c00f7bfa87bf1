"""The response cache: what was answered once is answered again alike and free, whoever shares the file and whatever happens to it."""

import sqlite3
import subprocess
import sys
import zlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_model import Desk, ScriptedModel, ending, order, play, say

from tradeagent.domain.errors import ModelError
from tradeagent.llm.cache import MIB, AnswerStore, CachedModel, CacheMode, request_key
from tradeagent.llm.contract import Message, ModelDelta, ToolCall, ToolSpec, UsageReported
from tradeagent.llm.fallback import FallbackModel
from tradeagent.llm.gateway import open_model
from tradeagent.llm.loop import TurnControl
from tradeagent.llm.settings import model_settings
from tradeagent.llm.usage import Budget, Usage
from tradeagent.workspace.config import load_config

SPENT = Usage(100, 20, Decimal("0.5"))
ANSWERS = ([say("I "), ModelDelta(reasoning="hm"), say("buy"), order(50), ModelDelta(usage=SPENT)], [say("done"), ModelDelta(usage=SPENT)])
ASKED = [Message("user", "x")]


class Store(AnswerStore):
    """A store that remembers what it warned of."""

    def __init__(self, folder: Path, max_bytes: int = 64 * MIB) -> None:
        self.warnings: list[str] = []
        self.file = folder / "model_cache.sqlite"
        super().__init__(self.file, max_bytes, self.warnings.append)


async def answer(model: Any, messages: Sequence[Message] = ASKED) -> list[ModelDelta]:
    return [delta async for delta in model.stream(messages, [], max_tokens=10)]


def free(deltas: Sequence[ModelDelta]) -> list[ModelDelta]:
    return [replace(d, usage=replace(d.usage, cost_usd=Decimal(0), cached_calls=1)) if d.usage else d for d in deltas]


async def test_a_recorded_turn_plays_again_event_by_event_and_costs_nothing(tmp_path: Path) -> None:
    first = await play(CachedModel(ScriptedModel(*ANSWERS), Store(tmp_path), CacheMode.READ_WRITE), Desk().tools())
    never = ScriptedModel([say("asked")], estimate=Decimal(9))
    again = await play(CachedModel(never, Store(tmp_path), CacheMode.REPLAY), Desk().tools())
    assert never.asked == []

    def told(events: Sequence[Any]) -> list[Any]:
        return [replace(event, duration_ms=0) if hasattr(event, "duration_ms") else event for event in events]

    free_of_cost = [event for event in told(first) if not isinstance(event, UsageReported)][:-1]
    assert [event for event in told(again) if not isinstance(event, UsageReported)][:-1] == free_of_cost
    assert ending(first).usage == Usage(200, 40, Decimal(1))
    assert ending(again).usage == Usage(200, 40, Decimal(0), cached_calls=2)
    assert ending(again).messages == ending(first).messages


async def test_each_mode_reads_and_writes_what_it_says(tmp_path: Path) -> None:
    store, live = Store(tmp_path), ScriptedModel([say("live"), ModelDelta(usage=SPENT, done="stop")])
    for mode, asked, kept in [
        (CacheMode.OFF, 1, 0),
        (CacheMode.READ, 2, 0),
        (CacheMode.WRITE, 3, 1),
        (CacheMode.WRITE, 4, 1),
        (CacheMode.READ, 4, 1),
        (CacheMode.READ_WRITE, 4, 1),
        (CacheMode.REPLAY, 4, 1),
    ]:
        await answer(CachedModel(live, store, mode))
        assert (len(live.asked), len(store)) == (asked, kept), mode
    with pytest.raises(ModelError, match="not in the response cache") as caught:
        await answer(CachedModel(live, store, CacheMode.REPLAY), [Message("user", "y")])
    assert "model_cache.mode" in caught.value.hint
    assert len(live.asked) == 4


async def test_only_an_answer_that_ended_well_is_kept(tmp_path: Path) -> None:
    async def breaks(messages: Sequence[Message]) -> AsyncGenerator[ModelDelta, None]:
        yield say("half")
        raise ModelError("gone")

    store = Store(tmp_path)
    with pytest.raises(ModelError):
        await answer(CachedModel(ScriptedModel(breaks), store, CacheMode.READ_WRITE))
    stream = CachedModel(ScriptedModel([say("a"), say("b")]), store, CacheMode.READ_WRITE).stream(ASKED, [], max_tokens=10)
    await anext(stream)
    await stream.aclose()
    assert len(store) == 0


async def test_what_is_there_passes_a_spent_budget_and_what_is_not_does_not(tmp_path: Path) -> None:
    store = Store(tmp_path)
    booked: list[Usage] = []
    spent = TurnControl(Budget(Decimal(0), lambda: Decimal(0), booked.append))
    live = ScriptedModel([say("x"), ModelDelta(usage=SPENT, done="stop")], estimate=Decimal(1))
    assert ending(await play(CachedModel(live, store, CacheMode.READ_WRITE), control=spent)).reason == "budget"
    await play(CachedModel(live, store, CacheMode.READ_WRITE))
    end = ending(await play(CachedModel(live, store, CacheMode.READ_WRITE), control=spent))
    assert (end.reason, end.usage.cached_calls, booked) == ("stop", 1, [Usage(100, 20, Decimal(0), cached_calls=1)])


async def test_an_answer_without_usage_still_says_that_it_came_from_the_cache(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for _ in range(2):
        deltas = await answer(CachedModel(ScriptedModel([say("x")]), store, CacheMode.READ_WRITE))
    assert deltas[-1].usage == Usage(estimated=True, cached_calls=1)


KEYED: dict[str, Any] = {"messages": [Message("user", "a")], "tools": [ToolSpec("t", "d", {"type": "object"})], "max_tokens": 5}


@pytest.mark.parametrize(
    "change",
    [
        {"model_id": "b"},
        {"parameters": {"base_url": "http://y"}},
        {"messages": [Message("user", "b")]},
        {"messages": [Message("system", "a")]},
        {"messages": [Message("user", "a"), Message("assistant", "", (ToolCall("1", "t", "{}"),))]},
        {"tools": []},
        {"tools": [ToolSpec("t", "e", {"type": "object"})]},
        {"tools": [ToolSpec("t", "d", {"type": "object", "x": 1})]},
        {"max_tokens": 6},
    ],
)
def test_the_key_changes_with_everything_an_answer_depends_on(change: dict[str, Any]) -> None:
    base: dict[str, Any] = {"model_id": "a", "parameters": {"base_url": None}, **KEYED}
    assert request_key(**base) == request_key(**base)
    assert request_key(**base) != request_key(**(base | change))


@given(st.lists(st.tuples(st.text(), st.text(), st.none() | st.tuples(st.text(), st.text(), st.text())), max_size=5))
def test_any_deltas_come_back_as_they_went_in(tmp_path_factory: pytest.TempPathFactory, parts: list[Any]) -> None:
    store = Store(tmp_path_factory.mktemp("cache"))
    deltas = [ModelDelta(text=t, reasoning=r, tool_call=ToolCall(*c) if c else None) for t, r, c in parts]
    deltas.append(ModelDelta(usage=Usage(1, 2, Decimal("0.25")), done="stop"))
    store.put("k", "m", deltas)
    found = store.get("k")
    assert found is not None
    assert free(found) == free(deltas)
    store.close()


def test_the_oldest_answers_leave_when_the_file_is_full(tmp_path: Path) -> None:
    store = Store(tmp_path, max_bytes=MIB)
    chance = Random(1)
    for number in range(300):
        store.put(f"k{number}", "m", [ModelDelta(text=chance.randbytes(chance.randrange(10_000)).hex())])
    kept = [number for number in range(300) if store.get(f"k{number}") is not None]
    assert kept == list(range(300 - len(kept), 300))
    assert 100 < len(kept) == len(store) < 250
    store.put("huge", "m", [ModelDelta(text=chance.randbytes(MIB).hex())])
    assert store.get("huge") is None
    assert len(store) == len(kept)
    store.close()
    assert store.file.stat().st_size <= 1.1 * MIB
    assert store.warnings == []


@pytest.mark.parametrize("harm", ["header", "middle", "cut", "text", "newer"])
def test_a_damaged_file_is_set_aside_told_once_and_begun_anew(tmp_path: Path, harm: str) -> None:
    store = Store(tmp_path)
    for number in range(300):
        store.put(f"k{number}", "m", [ModelDelta(text=f"{number}" * 100)])
    store.close()
    data = bytearray(store.file.read_bytes())
    if harm == "newer":
        with sqlite3.connect(store.file) as db:
            db.execute("PRAGMA user_version=99")
        db.close()
    elif harm == "text":
        store.file.write_text("this is no database, however you look at it" * 50)
    elif harm == "cut":
        store.file.write_bytes(data[: len(data) // 2])
    else:
        at = 0 if harm == "header" else 4096
        data[at : at + 40_000] = b"\xff" * 40_000
        store.file.write_bytes(data)
    store = Store(tmp_path)
    for _ in range(3):
        for number in range(300):
            store.get(f"k{number}")
    store.put("new", "m", [say("kept")])
    assert store.get("new") == [say("kept")]
    assert len(store.warnings) == 1
    assert "set aside as model_cache.sqlite.damaged" in store.warnings[0]
    assert (tmp_path / "model_cache.sqlite.damaged").exists()


def test_an_answer_that_cannot_be_read_is_a_miss_and_leaves(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("k", "m", [say("x")])
    for broken in (b"no zlib", zlib.compress(b"no json"), zlib.compress(b'[{"u": 5}]'), zlib.compress(b"[5]")):
        with sqlite3.connect(store.file) as db:
            db.execute("INSERT OR REPLACE INTO answers VALUES ('k', 1, 'm', ?)", (broken,))
        db.close()
        assert store.get("k") is None
        assert len(store) == 0


def test_a_place_that_cannot_be_written_makes_a_cache_that_misses(tmp_path: Path) -> None:
    (tmp_path / "model_cache.sqlite").mkdir()
    store = Store(tmp_path)
    store.put("k", "m", [say("x")])
    assert store.get("k") is None
    assert len(store.warnings) == 1
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file")
    store.put("k", "m", [say("x")])
    assert store.get("k") is None


WRITER = """
import sys
from pathlib import Path
from tradeagent.llm.cache import AnswerStore
from tradeagent.llm.contract import ModelDelta
warned = []
store = AnswerStore(Path(sys.argv[1]), 64 * 2**20, warned.append)
for n in range(int(sys.argv[3])):
    store.put(f"{sys.argv[2]}-{n}", "m", [ModelDelta(text=f"{sys.argv[2]} {n}")])
    assert store.get(f"{sys.argv[2]}-{n}") == [ModelDelta(text=f"{sys.argv[2]} {n}")]
assert not warned, warned
"""


@pytest.mark.slow
def test_processes_that_write_at_once_lose_nothing_and_a_killed_one_harms_nothing(tmp_path: Path) -> None:
    file = tmp_path / "model_cache.sqlite"
    crowd = [subprocess.Popen([sys.executable, "-c", WRITER, str(file), str(number), "60"]) for number in range(4)]
    killed = subprocess.Popen([sys.executable, "-c", WRITER, str(file), "killed", "100000"])
    assert [process.wait(timeout=120) for process in crowd] == [0] * 4
    killed.kill()
    killed.wait()
    store = Store(tmp_path)
    for number in range(4):
        for answered in range(60):
            assert store.get(f"{number}-{answered}") == [ModelDelta(text=f"{number} {answered}")]
    assert store.warnings == []


async def test_a_chain_is_cached_model_by_model_so_that_a_replay_finds_who_answered(tmp_path: Path) -> None:
    async def down(messages: Sequence[Message]) -> AsyncGenerator[ModelDelta, None]:
        raise ModelError("down")
        yield

    def chain(mode: CacheMode) -> FallbackModel:
        first, second = ScriptedModel(down), ScriptedModel([say("second"), ModelDelta(usage=SPENT, done="stop")])
        first.id, second.id = "test/first", "test/second"
        return FallbackModel([CachedModel(model, Store(tmp_path), mode) for model in (first, second)], 5)

    recorded, replayed = await answer(chain(CacheMode.READ_WRITE)), await answer(chain(CacheMode.REPLAY))
    assert replayed == free(recorded)
    assert recorded[-1].usage is not None
    assert recorded[-1].usage.model_id == "test/second"


def test_the_configuration_opens_it_beside_the_ledger_and_only_around_models_that_cost(tmp_path: Path) -> None:
    config = load_config(tmp_path / "config.yml", {"TRADEAGENT_MODEL_CACHE__MODE": "read_write", "TRADEAGENT_MODEL_CACHE__MAX_MB": "1"})
    settings = model_settings(config, {"OPENAI_API_KEY": "k"}, cache_file=tmp_path / "state" / "model_cache.sqlite")
    assert isinstance(open_model("openai/x", settings), CachedModel)
    assert not isinstance(open_model("offline/hold", settings), CachedModel)
    off = model_settings(load_config(tmp_path / "config.yml", {}), {"OPENAI_API_KEY": "k"}, cache_file=tmp_path / "c.sqlite")
    assert not isinstance(open_model("openai/x", off), CachedModel)
    assert not (tmp_path / "state").exists()
