"""Conversations on disk: what is recorded survives `kill -9`, reads well, resumes, and has one writer."""

import json
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tradeagent.assistant.session_records import INTERRUPTED, NO_ANSWER, messages_of, parse_records
from tradeagent.assistant.session_text import title_of
from tradeagent.assistant.sessions import Session, Sessions
from tradeagent.domain.clock import SimulatedClock
from tradeagent.domain.errors import BusyError, InvalidInput, NotFound, UserError
from tradeagent.llm.contract import (
    Message,
    TextDelta,
    ToolCall,
    ToolCallFinished,
    ToolCallStarted,
    ToolResult,
    TurnFinished,
    UsageReported,
)
from tradeagent.llm.usage import Usage
from tradeagent.workspace.paths import Workspace

GOLDEN = Path(__file__).with_name("golden")
NOW_MS = 1_795_000_000_000
CALL = ToolCall("c1", "get_funding", '{"market": "BTC"}')


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(NOW_MS)


@pytest.fixture
def sessions(tmp_path: Path, clock: SimulatedClock) -> Iterator[Sessions]:
    (tmp_path / "state").mkdir()
    opened = Sessions(Workspace(tmp_path), clock)
    yield opened
    opened.close()


def turn(session: Session, question: str, answer: str, *, calls: bool = False) -> None:
    """One exchange, as the turn loop tells it."""
    session.ask(question)
    messages: list[Message] = []
    if calls:
        session.take(TextDelta("Looking it up.\n"))
        session.take(ToolCallStarted("c1", "get_funding", CALL.arguments))
        session.take(ToolCallFinished("c1", "get_funding", ToolResult({"rate": "0.0001"}), dispatched=True, duration_ms=12))
        session.take(UsageReported("openai/small", Usage(100, 20, Decimal("0.002"))))
        messages += [Message("assistant", "Looking it up.\n", (CALL,)), Message("tool", '{"rate": "0.0001"}', (), "c1", "get_funding")]
    for piece in answer.split(" "):
        session.take(TextDelta(f"{piece} "))
    messages.append(Message("assistant", answer))
    session.take(TurnFinished("stop", answer, tuple(messages), Usage(120, 40, Decimal("0.003")), int(calls)))
    session.finish()


def test_a_conversation_reads_as_it_should(tmp_path: Path, sessions: Sessions, clock: SimulatedClock) -> None:
    with sessions.create(mode="coach", model="openai/small") as session:
        turn(
            session,
            "What is BTC funding now,\nand is that high?",
            "It is 0.01 % for 8 h.\n\n## Not our heading\n> not our line",
            calls=True,
        )
        clock.advance_to(NOW_MS + 60_000)
        session.change(mode="ops", skills=("backtest-review",))
        session.card("K1", "Deploy trend to paper_1", {"hash": "abc"})
        session.ask("and ETH?")
        session.take(TextDelta("I \x1b[2Jwill"))
        session.take(ToolCallStarted("c2", "get_funding", '{"market": "ETH"}'))
        refused = ToolResult.error("unknown_key", "there is no market `ETH`\x1b[31m")
        session.take(ToolCallFinished("c2", "get_funding", refused, dispatched=False, duration_ms=1))
        session.take(TurnFinished("deadline", "I will", (Message("assistant", "I \x1b[2Jwill"),), Usage(), 1, "took over 600 s"))
    name = session.settings.id
    written = (tmp_path / "sessions" / name / "transcript.md").read_text()
    for file, text in (("transcript.md", written), ("export.md", sessions.export(name).replace(name, "ID"))):
        assert text == (GOLDEN / file).read_text(), file
        assert "\x1b" not in text


def test_settings_title_and_order(sessions: Sessions, clock: SimulatedClock, tmp_path: Path) -> None:
    with sessions.create() as first:
        turn(first, "  Why did the\n\tgrid lose money in the strong trend of last week, and what now?", "Because.")
    clock.advance_to(NOW_MS + 1_000)
    with sessions.create(level="expert") as second:
        pass
    assert first.settings.title == "Why did the grid lose money in the strong trend of last…"
    assert [one.id for one in sessions.all()] == [second.settings.id, first.settings.id]
    assert first.settings.id < second.settings.id
    clock.advance_to(NOW_MS + 2_000)
    with sessions.open("last") as again:
        assert again.settings.id == second.settings.id
        assert again.settings.level == "expert"
    with sessions.open(first.settings.id) as again:
        again.change(focus="BTC")
        with pytest.raises(InvalidInput, match="mode: 'trade' is not known"):
            again.change(mode="trade")
    assert [one.id for one in sessions.all()] == [first.settings.id, second.settings.id]
    data = json.loads((tmp_path / "sessions" / first.settings.id / "session.json").read_text())
    assert data == sessions.get(first.settings.id).as_dict()
    assert list(data) == ["id", "title", "mode", "level", "model", "focus", "skills", "created_at", "updated_at"]
    assert (data["focus"], data["mode"], data["updated_at"]) == ("BTC", "research", "2026-11-18T11:06:42Z")


def test_a_conversation_resumes_as_messages(sessions: Sessions) -> None:
    with sessions.create() as session:
        turn(session, "one", "first answer", calls=True)
        turn(session, "two", "second answer")
    with sessions.open(session.settings.id) as again:
        messages = again.messages()
        again.ask("three")
        assert again.messages()[-1] == Message("user", "three")
    assert [message.role for message in messages] == ["user", "assistant", "tool", "assistant", "user", "assistant"]
    assert messages[1].tool_calls == (CALL,)
    assert messages[2] == Message("tool", '{"rate": "0.0001"}', (), "c1", "get_funding")
    assert again.messages()[:-1] == messages


def test_a_session_has_one_writer(sessions: Sessions, tmp_path: Path, clock: SimulatedClock) -> None:
    with sessions.create() as session:
        name = session.settings.id
        other = Sessions(Workspace(tmp_path), clock)
        for act in (lambda: other.open(name).__enter__(), lambda: other.remove(name)):
            with pytest.raises(BusyError, match=f"session {name} is open in another process") as caught:
                act()
            assert caught.value.exit_code == 6
        assert other.export(name)
    with other.open(name):
        pass


TALKER = """
import sys
from pathlib import Path
from tradeagent.assistant.sessions import Sessions
from tradeagent.domain.clock import SystemClock
from tradeagent.llm.contract import Message, TextDelta, TurnFinished
from tradeagent.llm.usage import Usage
from tradeagent.workspace.paths import Workspace
with Sessions(Workspace(Path(sys.argv[1])), SystemClock()).open(sys.argv[2]) as session:
    for number in range(100_000):
        session.ask(f"question {number} " + "q" * 3000)
        print("asked", flush=True)
        session.take(TextDelta("word " * 100))
        answer = f"answer {number} " + "a" * 3000
        session.take(TurnFinished("stop", answer, (Message("assistant", answer),), Usage(), 0))
        session.finish()
        print("answered", flush=True)
"""


def test_kill_9_at_any_moment_loses_nothing_that_was_said(sessions: Sessions, tmp_path: Path) -> None:
    with sessions.create() as session:
        name = session.settings.id
    said = {"asked": 0, "answered": 0}
    for lines in (1, 2, 3, 7, 20):
        command = [sys.executable, "-c", TALKER, str(tmp_path), name]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        heard = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        process.wait()
        heard += process.stdout.readlines()
        process.stdout.close()
        for line in heard:
            said[line.strip()] += 1
        with sessions.open(name) as again:
            again.messages()
        parsed = sessions.records(name)
        assert (parsed.damaged, parsed.torn) == (0, 0)
    roles = [message.content.split()[0] for message in messages_of(parsed.records) if message.content != NO_ANSWER]
    for kind, word in (("asked", "question"), ("answered", "answer")):
        assert said[kind] <= roles.count(word) <= said[kind] + 5, kind
    assert sessions.get(name).title.startswith("question 0")


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cut=st.integers(1, 400),
    junk=st.sampled_from([b"", b'{"kind"', b"\x00\x00", b'{"at": "x", "kind": "message", "role": "user", "content": "hi"}']),
)
def test_a_torn_last_line_is_taken_away_and_writing_goes_on(sessions: Sessions, tmp_path: Path, cut: int, junk: bytes) -> None:
    with sessions.create() as session:
        turn(session, "one", "first answer", calls=True)
    file = tmp_path / "sessions" / session.settings.id / "transcript.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[:-cut] + junk)
    kept = [line for line in whole[:-cut].split(b"\n")[:-1] if line]
    with sessions.open(session.settings.id) as again:
        again.ask("two")
        assert again.messages()[-1] == Message("user", "two")
    lines = file.read_bytes().split(b"\n")
    assert lines[: len(kept)] == kept
    assert lines[-1] == b""
    assert all(isinstance(json.loads(line), dict) for line in lines[:-1])


def test_a_damaged_line_in_the_middle_costs_itself_only(sessions: Sessions, tmp_path: Path) -> None:
    with sessions.create() as session:
        turn(session, "one", "answer one")
        turn(session, "two", "answer two")
    file = tmp_path / "sessions" / session.settings.id / "transcript.jsonl"
    lines = file.read_bytes().split(b"\n")
    lines[1] = b"\xff not json"
    file.write_bytes(b"\n".join(lines))
    parsed = sessions.records(session.settings.id)
    assert (parsed.damaged, parsed.torn) == (1, 0)
    assert [message.content for message in messages_of(parsed.records)] == ["one", NO_ANSWER, "two", "answer two"]


def message(role: str, *calls: str, answers: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"kind": "message", "role": role, "content": role}
    if calls:
        found["tool_calls"] = [{"id": call, "name": "t", "arguments": "{}"} for call in calls]
    return found | ({"tool_call_id": answers} if answers else {})


records = st.lists(
    st.one_of(
        st.just(message("user")),
        st.lists(st.sampled_from("abc"), max_size=2, unique=True).map(lambda calls: message("assistant", *calls)),
        st.sampled_from("abc").map(lambda call: message("tool", answers=call)),
        st.sampled_from(
            [{"kind": "usage"}, {"kind": "message"}, {"kind": "message", "role": "system"}, {"kind": "message", "role": "user"}]
        ),
    ),
    max_size=12,
)


@given(records)
def test_messages_are_always_a_conversation_that_a_model_takes(found: list[dict[str, Any]]) -> None:
    waiting: list[str] = []
    last = ""
    for one in messages_of(found):
        if one.role == "tool":
            assert one.tool_call_id in waiting
            waiting.remove(one.tool_call_id)
        else:
            assert waiting == []
            assert not (one.role == last == "user")
            waiting = [call.id for call in one.tool_calls]
            last = one.role
    assert waiting == []


def test_a_call_that_was_never_answered_says_so() -> None:
    (asked, answer) = messages_of([message("assistant", "c1")])
    assert (asked.tool_calls[0].id, json.loads(answer.content)) == ("c1", INTERRUPTED)


@given(st.binary(max_size=200))
def test_any_bytes_parse(data: bytes) -> None:
    parsed = parse_records(data)
    assert parsed.torn <= len(data)
    assert all(isinstance(record["kind"], str) for record in parsed.records)
    assert isinstance(messages_of(parsed.records), tuple)


@pytest.mark.parametrize("damage", [None, "{", '{"title": 5}', '{"id": "x", "mode": "trade"}'])
def test_settings_that_cannot_be_read_follow_from_the_records(sessions: Sessions, tmp_path: Path, damage: str | None) -> None:
    with sessions.create() as session:
        turn(session, "the first words", "answer")
    file = tmp_path / "sessions" / session.settings.id / "session.json"
    file.unlink()
    if damage is not None:
        file.write_text(damage)
    found = sessions.get(session.settings.id)
    assert (found.title, found.mode, found.created_ms) == ("the first words", "research", NOW_MS)
    with sessions.open(found.id) as again:
        again.change(mode="coach")
    assert json.loads(file.read_text())["mode"] == "coach"


def test_a_session_is_named_by_a_part_of_its_id(sessions: Sessions) -> None:
    with pytest.raises(NotFound, match="no session 'last'"):
        sessions.get("last")
    names = []
    for _ in range(2):
        with sessions.create() as session:
            names.append(session.settings.id)
    assert sessions.get(names[0][-8:].lower()).id == names[0]
    with pytest.raises(InvalidInput, match="is a part of 2 ids"):
        sessions.get(names[0][:6])
    for name in ("", "../..", "nope", "01"):
        with pytest.raises((NotFound, InvalidInput)):
            sessions.get(name if name != "01" else names[0][:2])


def test_search_finds_what_either_side_said(sessions: Sessions) -> None:
    names = []
    for question, answer in (("about grids", "they lose in trends"), ("about funding", "it is paid each hour")):
        with sessions.create() as session:
            turn(session, question, answer, calls=True)
            names.append(session.settings.id)
    assert [hit.key for hit in sessions.search("trends").hits] == [names[0]]
    assert [(hit.key, hit.title) for hit in sessions.search("funding hour").hits] == [(names[1], "about funding")]
    with sessions.open(names[0]) as session:
        turn(session, "more", "kazoo")
    assert [hit.key for hit in sessions.search("kazoo").hits] == [names[0]]
    sessions.remove(names[0])
    assert sessions.search("kazoo").hits == ()


def test_remove_takes_everything_of_one_session(sessions: Sessions, tmp_path: Path) -> None:
    with sessions.create() as kept:
        pass
    with sessions.create() as session:
        session.scratch.write("work/idea.txt", "x")
    name = session.settings.id
    sessions.remove(name)
    assert [path.name for path in (tmp_path / "sessions").iterdir()] == [kept.settings.id]
    assert not [path for path in (tmp_path / "state/locks").iterdir() if name in path.name]
    with pytest.raises(NotFound):
        sessions.remove(name)


def test_links_in_place_of_a_session_lead_nowhere(sessions: Sessions, tmp_path: Path) -> None:
    with sessions.create() as session:
        turn(session, "one", "answer")
    name, outside = session.settings.id, tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.md").write_text("kept")
    folder = tmp_path / "sessions" / name
    (folder / "transcript.md").unlink()
    (folder / "transcript.md").symlink_to(outside / "kept.md")
    with pytest.raises(UserError, match="is a link"), sessions.open(name):
        pass
    (folder / "transcript.md").unlink()
    (folder / "scratch").symlink_to(outside, target_is_directory=True)
    with sessions.open(name) as again:
        for act in (lambda: again.scratch.write("x.txt", "x"), lambda: again.scratch.read("kept.md")):
            with pytest.raises(UserError, match="links are not followed"):
                act()
    folder.rename(outside / "moved")
    folder.symlink_to(outside, target_is_directory=True)
    for act in (lambda: sessions.open(name).__enter__(), lambda: sessions.remove(name), lambda: sessions.export(name)):
        with pytest.raises(UserError, match="links are not followed"):
            act()
    assert (outside / "kept.md").read_text() == "kept"


def test_words_of_a_turn_that_never_ended_stay_in_the_readable_transcript(sessions: Sessions, tmp_path: Path) -> None:
    with sessions.create() as session:
        session.ask("one")
        file = tmp_path / "sessions" / session.settings.id / "transcript.md"
        assert file.read_text().startswith("## You · 2026-11-18 11:06 UTC\n\none\n\n## Assistant")
        session.take(TextDelta("half a sen"))
        session.finish()
        assert file.read_text().endswith("UTC\n\nhalf a sen")
    with sessions.open("last") as again:
        assert [message.content for message in again.messages()] == ["one"]
    with sessions.open("last"):
        pass
    assert file.read_text().endswith("half a sen\n\n> the turn ended: interrupted: the process ended\n\n")


@pytest.mark.parametrize(("text", "title"), [("", "(nothing said yet)"), ("short", "short"), ("x" * 100, "x" * 60 + "…")])
def test_a_title_is_the_first_words(text: str, title: str) -> None:
    assert title_of(text) == title
