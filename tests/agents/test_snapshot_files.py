"""Snapshots and experiments as files, and the folders of runs."""

import json
import threading
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradeagent.agents.head_text import head_lines
from tradeagent.agents.sessions import (
    Session,
    SessionStatus,
    create_session,
    list_experiments,
    list_sessions,
    read_status,
    reserve_experiment,
    write_experiment,
    write_status,
)
from tradeagent.agents.snapshots import (
    ProviderRecord,
    SnapshotRecord,
    ToolCallRecord,
    clipped,
    list_snapshots,
    parse_snapshot,
    prune_snapshots,
    render_snapshot,
    write_snapshot,
)
from tradeagent.domain.errors import InvalidConfig
from tradeagent.domain.names import RunMode
from tradeagent.workspace.yaml_text import read_yaml

GOLDEN = Path(__file__).parent / "golden"
FILE = Path("snapshot_42.md")
EXAMPLE = SnapshotRecord(
    kind="snapshot",
    number=42,
    agent_id="btc_momentum_3",
    at_ms=1_795_176_300_000,
    mode=RunMode.LOOP,
    model="offline/momentum",
    agent_hash="a" * 64,
    config_hash="b" * 64,
    prompt_hash="c" * 64,
    outcome="completed",
    duration_ms=1234,
    durations_ms={"providers": 12, "turn": 1200},
    tokens_in=1800,
    tokens_out=90,
    cost_usd=Decimal("0.0123"),
    model_calls=2,
    system_prompt="You trade.",
    user_prompt="Tick 42.\n\n## Positions\nnone\n",
    providers=(ProviderRecord("positions", "none", "[]"), ProviderRecord("account", "equity 10,000.00")),
    risk_state='{"orders_today": 1}',
    response="I bought a little.",
    tool_calls=(
        ToolCallRecord(1, "propose_order", "executed", '{"market": "BTC", "quote": "50"}', '{"verdict": "executed"}', '{"order": "01J"}'),
        ToolCallRecord(2, "journal_action", "ok", '{"text": "bought"}'),
    ),
)


def _stored(record: SnapshotRecord) -> SnapshotRecord:
    return SnapshotRecord.from_data(json.loads(json.dumps(record.to_data(), default=str)))


def test_the_file_is_the_documented_one() -> None:
    assert render_snapshot(EXAMPLE) == (GOLDEN / "snapshot_42.md").read_text()


def test_the_file_gives_the_record_back() -> None:
    assert parse_snapshot(render_snapshot(EXAMPLE), FILE) == EXAMPLE


def test_the_ledger_row_gives_the_record_and_so_the_file_back() -> None:
    again = _stored(EXAMPLE)
    assert again == EXAMPLE
    assert render_snapshot(again) == render_snapshot(EXAMPLE)
    assert json.loads(json.dumps(EXAMPLE.to_data(), default=str))["cost_usd"] == "0.0123"


def test_front_matter_carries_the_facts_as_data() -> None:
    head = render_snapshot(EXAMPLE).split("---\n")[1]
    facts = read_yaml(head, FILE).values
    assert facts["duration_ms"] == 1234
    assert facts["durations_ms"] == {"providers": 12, "turn": 1200}
    assert facts["cost_usd"] == Decimal("0.0123")
    assert facts["time"] == "2026-11-20T12:05:00Z"
    assert facts["tool_calls"] == [
        {"number": 1, "name": "propose_order", "status": "executed"},
        {"number": 2, "name": "journal_action", "status": "ok"},
    ]


def test_results_are_clipped_at_two_thousand_characters() -> None:
    long = replace(EXAMPLE, tool_calls=(ToolCallRecord(1, "x", "ok", "", "", "y" * 5000),))
    found = parse_snapshot(render_snapshot(long), FILE)
    assert len(found.tool_calls[0].result) == 2000
    assert found == clipped(long)
    assert len(_stored(long).tool_calls[0].result) == 5000


NASTY = ("`", "```", "````text x", "---", "\n", "</details>", "\r", "\x00", "\x85", "\u2028", "\ufeff", '"', "\\", ": ", "#", "null", "1.5")
HOSTILE = st.lists(st.one_of(st.sampled_from(NASTY), st.characters(codec="utf-8")), max_size=20).map("".join)


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE, st.none() | st.decimals(0, 100, places=6))
@settings(max_examples=150, deadline=None)
def test_no_text_can_break_the_file(
    tmp_path_factory: pytest.TempPathFactory, one: str, two: str, three: str, four: str, cost: Decimal | None
) -> None:
    record = replace(
        EXAMPLE,
        model=one,
        outcome=two,
        cost_usd=cost,
        system_prompt=three,
        user_prompt=f"</details>\n---\n```\n{four}",
        response=one,
        risk_state=two,
        providers=(ProviderRecord("market", three, four),),
        tool_calls=(ToolCallRecord(1, one, two, three, four, one),),
    )
    folder = tmp_path_factory.mktemp("session")
    path = write_snapshot(folder, record, keep=0, durable=False)
    assert parse_snapshot(path.read_bytes().decode(), path) == clipped(record)
    assert _stored(record) == record


def test_the_file_holds_nothing_that_a_terminal_obeys() -> None:
    codes = "\x1b]52;c;eA==\x07x\x9d\u202e"
    told = replace(EXAMPLE, response=codes, tool_calls=(ToolCallRecord(1, codes, codes, codes, codes, codes),))
    text = render_snapshot(told)
    assert not set("\x1b\x07\x9d\u202e") & set(text)
    assert parse_snapshot(text, FILE).response == "]52;c;eA==x"


@given(
    st.dictionaries(
        st.sampled_from(["a", "b_c", "d"]),
        st.one_of(HOSTILE, st.integers(-(10**18), 10**18), st.booleans(), st.none(), st.lists(HOSTILE, max_size=3)),
    )
)
def test_a_head_is_read_back_as_it_was(facts: dict[str, object]) -> None:
    assert read_yaml(head_lines(facts), FILE).values == facts


def test_half_a_character_is_replaced_and_never_stops_a_write(tmp_path: Path) -> None:
    record = replace(EXAMPLE, response="a\ud83d", model="m\ud83d")
    path = write_snapshot(tmp_path, record, keep=0, durable=False)
    found = parse_snapshot(path.read_text(), path)
    assert (found.response, found.model) == ("a\ufffd", "m\ufffd")


def test_another_file_is_no_snapshot() -> None:
    with pytest.raises(InvalidConfig, match="not a snapshot"):
        parse_snapshot("---\nkind: snapshot\n---\n", FILE)


def test_snapshots_are_listed_and_pruned_in_numeric_order(tmp_path: Path) -> None:
    for number in (1, 2, 9, 10, 11, 100):
        write_snapshot(tmp_path, replace(EXAMPLE, number=number), keep=0, durable=False)
    (tmp_path / "snapshots" / "snapshot_mine.md").write_text("x")
    assert [number for number, _ in list_snapshots(tmp_path)] == [1, 2, 9, 10, 11, 100]
    prune_snapshots(tmp_path, 3)
    names = sorted(path.name for path in (tmp_path / "snapshots").iterdir())
    assert names == [
        "snapshot_10.md",
        "snapshot_100.md",
        "snapshot_11.md",
        "snapshot_mine.md",
    ]
    write_snapshot(tmp_path, EXAMPLE, keep=3, durable=False)
    assert [number for number, _ in list_snapshots(tmp_path)] == [11, 42, 100]


def test_sessions_are_numbered_after_the_highest(tmp_path: Path) -> None:
    agent = tmp_path / "btc_momentum"
    (agent / "sessions" / "session_9").mkdir(parents=True)
    (agent / "sessions" / "notes").mkdir()
    made = create_session(agent, {"risk_per_trade_pct": Decimal("0.1"), "trend_interval": "4h", "text": "a: b"}, durable=True)
    assert (made.number, made.agent_id) == (10, "btc_momentum_10")
    assert [session.number for session in list_sessions(agent)] == [9, 10]
    assert (made.folder / "config.yml").read_text().split("\n")[1:] == [
        "risk_per_trade_pct: 0.1",
        'trend_interval: "4h"',
        'text: "a: b"',
        "",
    ]


def test_a_number_is_given_once_whatever_became_of_its_folder(tmp_path: Path) -> None:
    assert create_session(tmp_path, {}, durable=False, after=7).number == 8
    assert create_session(tmp_path, {}, durable=False, after=3).number == 9
    assert reserve_experiment(tmp_path, durable=False, after=7) == 8
    assert reserve_experiment(tmp_path, durable=False, after=3) == 9


def test_two_runs_that_begin_at_once_get_two_sessions(tmp_path: Path) -> None:
    made: list[Session] = []
    numbers: list[int] = []

    def begin() -> None:
        made.append(create_session(tmp_path, {}, durable=False))
        numbers.append(reserve_experiment(tmp_path, durable=False))

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(session.number for session in made) == list(range(1, 9))
    assert sorted(numbers) == list(range(1, 9))


def test_a_status_is_written_and_read(tmp_path: Path) -> None:
    session = create_session(tmp_path, {}, durable=False)
    assert read_status(session) is None
    status = SessionStatus("running", "01JD", "boot-1", 4242, "2026-11-20T12:00:00Z", None, 3)
    write_status(session, status, durable=True)
    assert read_status(session) == status
    assert set(json.loads((session.folder / "status.json").read_text())) == {
        "state", "deployment_id", "boot_id", "pid", "started_at", "ended_at", "ticks",
    }  # fmt: skip
    (session.folder / "status.json").write_text('{"state":')
    with pytest.raises(InvalidConfig, match="not a status"):
        read_status(session)


def test_an_experiment_holds_its_number_until_it_is_written(tmp_path: Path) -> None:
    agent = tmp_path / "btc"
    agent.mkdir()
    first, second = reserve_experiment(agent, durable=False), reserve_experiment(agent, durable=False)
    assert (first, second) == (1, 2)
    record = SnapshotRecord(
        **{**{n: getattr(EXAMPLE, n) for n in EXAMPLE.__slots__}, "kind": "experiment", "number": 2, "agent_id": "btc_e2"}
    )
    path = write_experiment(agent, record, durable=False)
    assert path == agent / "dry_runs" / "experiment_2.md"
    assert path.read_text().split("---\n\n")[1].startswith("# Experiment 2 - btc_e2\n")
    assert parse_snapshot(path.read_text(), path) == record
    assert "running" in (agent / "dry_runs" / "experiment_1.md").read_text()
    assert [number for number, _ in list_experiments(agent)] == [1, 2]
