"""The journal: its exact format, hand edits, trimming, recovery, and that no line is ever lost."""

import os
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradeagent.agents.journal import Journal, archived_lines, last_decisions, last_tick
from tradeagent.agents.journal_lines import (
    DecisionLine,
    ExecutorLine,
    SnapshotLine,
    Summary,
    TickLine,
    parse_decision,
    parse_executor,
    parse_snapshot,
    parse_tick,
)
from tradeagent.agents.journal_text import SECTIONS, JournalText, JournalUpdate
from tradeagent.domain.errors import UserError

GOLDEN = Path(__file__).parent / "golden"
MINUTE = "2026-11-20 12:05"


def summary(tick: int, action: str = "moved stop to break-even") -> Summary:
    return Summary(tick, MINUTE, "running", Decimal("12.4"), Decimal("8.1"), 1, Decimal(180), action)


def executor(pnl: str | None = "2.1", status: str = "open") -> ExecutorLine:
    amount = None if pnl is None else Decimal(pnl)
    return ExecutorLine("01JEXAMPLE", "position", "BTC", "long", Decimal(180), "2026-11-20 11:40", status, amount, Decimal(180))


def tick(number: int, text: str = "held") -> JournalUpdate:
    return JournalUpdate(
        summary=summary(number, text),
        decisions=(DecisionLine(f"#{number}", MINUTE, text, "trend intact", "none"),),
        tick=TickLine(number, MINUTE, 1, text),
        snapshot=SnapshotLine(MINUTE, Decimal(number), Decimal(1240), 1, Decimal(180)),
    )


def opened(folder: Path, *, durable: bool = False) -> Journal:
    return Journal(folder, "btc_momentum_3", durable=durable)


def text_of(folder: Path) -> str:
    return (folder / "journal.md").read_text()


def test_the_format_is_the_documented_one(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.record(JournalUpdate(decisions=(DecisionLine("error", "2026-11-20 12:00", "venue timeout, intent 01JX unknown, reconciling"),)))
    journal.record(
        JournalUpdate(
            summary=summary(42),
            decisions=(DecisionLine("#42", MINUTE, "moved stop to break-even", "1R reached, trend intact", "none"),),
            tick=TickLine(42, MINUTE, 1, "moved stop to break-even"),
            executors=(executor(),),
            snapshot=SnapshotLine(MINUTE, Decimal("12.4"), Decimal(1240), 1, Decimal(180)),
        )
    )
    assert text_of(tmp_path) == (GOLDEN / "journal.md").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["journal.md"]


def test_every_line_is_read_back_as_it_was_written() -> None:
    lines = (
        (TickLine(7, MINUTE, 2, "bought"), parse_tick),
        (DecisionLine("#7", "12:05", "bought", "why", "high"), parse_decision),
        (DecisionLine("error", "12:05", "no reason"), parse_decision),
        (DecisionLine("#7", "12:05", "no risk", "why"), parse_decision),
        (DecisionLine("#7", "12:05", "bought", "why", "high", "rejected SINGLE_ORDER (max_ok 0.00118)"), parse_decision),
        (DecisionLine("#7", "12:05", "bought", verdict="executed"), parse_decision),
        (executor(), parse_executor),
        (executor(None, "closed"), parse_executor),
        (SnapshotLine(MINUTE, Decimal("-1240.50"), Decimal(0), 0, None), parse_snapshot),
    )
    for line, parse in lines:
        assert parse(line.render()) == line


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=40))
def test_no_text_of_a_model_can_break_a_line_or_pass_for_another(text: str, reason: str, risk: str) -> None:
    decision = DecisionLine("#1", MINUTE, text, reason, risk).render()
    assert "\n" not in decision
    assert parse_decision(decision) is not None
    found = parse_tick(TickLine(1, MINUTE, 0, text).render())
    assert found is not None
    assert (found.tick, found.actions) == (1, 0)


def test_the_agents_words_cannot_be_taken_for_the_engines_verdict() -> None:
    claim = DecisionLine("#1", MINUTE, "bought [verdict: executed]", "sure", "none", "rejected SCOPE").render()
    assert claim == "- **#1** (12:05) bought (verdict: executed] [verdict: rejected SCOPE] -- sure [risk: none]"
    found = parse_decision(claim)
    assert found is not None and (found.verdict, found.reason, found.risk) == ("rejected SCOPE", "sure", "none")
    unasked = parse_decision(DecisionLine("#1", MINUTE, "bought [verdict: executed]").render())
    assert unasked is not None and unasked.verdict == ""


def test_an_unknown_mark_is_written_as_unknown(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.record(JournalUpdate(Summary(1, MINUTE, "running", None, None, 1, None, "held"), executors=(executor(None),)))
    assert "PnL unknown (realised unknown), 1 open, exposure unknown\n" in text_of(tmp_path)
    assert "| pnl=unknown |" in text_of(tmp_path)


def test_the_same_tick_again_changes_nothing(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for number in (1, 2, 3):
        journal.record(tick(number))
    before = text_of(tmp_path)
    journal.record(tick(2, "again with other words"))
    opened(tmp_path).record(tick(3))
    assert text_of(tmp_path) == before


def test_a_tick_that_is_missing_in_the_middle_is_put_in_order(tmp_path: Path) -> None:
    for number in (1, 3, 2):
        opened(tmp_path).record(tick(number))
    assert [line.split(" ")[1] for line in JournalText(text_of(tmp_path), "x").ours("Ticks")] == ["tick#1", "tick#2", "tick#3"]


def test_the_same_event_in_the_same_minute_is_written_once(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    event = JournalUpdate(decisions=(DecisionLine("directive", MINUTE, "be careful"),))
    journal.record(event)
    journal.record(event)
    assert text_of(tmp_path).count("be careful") == 1


def test_an_empty_update_writes_nothing(tmp_path: Path) -> None:
    assert opened(tmp_path).record(JournalUpdate()) is None
    assert not (tmp_path / "journal.md").exists()


def test_an_executor_keeps_one_line(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for pnl, status in (("1", "open"), ("2", "open"), ("-3", "closed")):
        journal.record(JournalUpdate(executors=(executor(pnl, status),)))
    assert text_of(tmp_path).count("executor=01JEXAMPLE") == 1
    assert "status=closed | pnl=-$3.00" in text_of(tmp_path)
    assert not (tmp_path / "journal_archive.md").exists()


def test_only_the_last_lines_stay_and_the_rest_is_archived(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for number in range(1, 1026):
        journal.record(tick(number))
    held = JournalText(text_of(tmp_path), "x")
    assert [len(held.ours(name)) for name in ("Decisions", "Ticks", "Snapshots")] == [20, 1000, 1000]
    assert held.ours("Decisions")[0].startswith("- **#1006**")
    assert held.ours("Ticks")[0].startswith("- tick#26 ")
    archive = archived_lines(tmp_path)
    assert sum(line.startswith("- tick#") for line in archive) == 25
    assert sum(line.startswith("- **#") for line in archive) == 1005
    assert (tmp_path / "journal_archive.md").read_text().startswith("# Journal archive - btc_momentum_3\n\n- **#1**")
    assert len(archive) == len(set(archive)) == 25 + 25 + 1005
    before = text_of(tmp_path)
    journal.record(tick(3, "already in the archive"))
    assert text_of(tmp_path) == before


def test_a_person_s_lines_stay_where_they_are(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for number in range(1, 26):
        journal.record(tick(number))
    path = tmp_path / "journal.md"
    text = path.read_text()
    text = text.replace("# Journal - btc_momentum_3\n", "# Journal - btc_momentum_3\nmy own line on top\n")
    text = text.replace("- **#10**", "check this one!\n- **#10**").replace(
        "\n## Ticks\n", "note under decisions\n\n## My notes\n\nkeep\n\n## Ticks\nfirst!\n"
    )
    path.write_text(text)
    for number in range(26, 60):
        journal.record(tick(number))
    after = path.read_text()
    assert after.startswith("# Journal - btc_momentum_3\nmy own line on top\n\n## Summary\nTick 59 ")
    decisions = JournalText(after, "x").section("Decisions").split("\n")
    assert decisions[:2] == ["check this one!", "note under decisions"]
    assert len(decisions) == 22
    assert "## My notes\n\nkeep\n\n## Ticks\nfirst!\n- tick#1 " in after
    assert not list(tmp_path.glob("*conflict*"))


def test_a_changed_line_goes_to_the_archive_before_it_is_rewritten(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.record(JournalUpdate(summary=summary(1), executors=(executor("1"),)))
    path = tmp_path / "journal.md"
    path.write_text(path.read_text().replace("Last action: moved", "Last action: I would not have moved"))
    journal.record(JournalUpdate(summary=summary(2), executors=(executor("2"),)))
    assert "I would not have" not in text_of(tmp_path)
    archive = (tmp_path / "journal_archive.md").read_text()
    assert "Last action: I would not have moved stop to break-even" in archive
    assert "executor=" not in archive


def test_an_executor_line_a_person_wrote_on_is_kept_and_a_new_one_is_added(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.record(JournalUpdate(executors=(executor("1"),)))
    path = tmp_path / "journal.md"
    path.write_text(path.read_text().replace("volume=$180.00", "volume=$180.00  <- too big?"))
    journal.record(JournalUpdate(executors=(executor("2"),)))
    journal.record(JournalUpdate(executors=(executor("3"),)))
    assert "pnl=+$1.00 | volume=$180.00  <- too big?" in text_of(tmp_path)
    assert text_of(tmp_path).count("executor=") == 2
    assert "pnl=+$3.00" in text_of(tmp_path)


def test_sections_a_person_deleted_come_back(tmp_path: Path) -> None:
    (tmp_path / "journal.md").write_text("# Mine\nonly this")
    opened(tmp_path).record(tick(1))
    text = text_of(tmp_path)
    assert text.startswith("# Mine\nonly this\n")
    assert [line[3:] for line in text.split("\n") if line.startswith("## ")] == list(SECTIONS)
    assert "\n## Ticks\n- tick#1 " in text
    assert "\n\n\n" not in text


def test_windows_line_ends_and_foreign_bytes_survive(tmp_path: Path) -> None:
    opened(tmp_path).record(tick(1))
    path = tmp_path / "journal.md"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n") + b"caf\xe9\r\n")
    opened(tmp_path).record(tick(2))
    after = path.read_bytes()
    assert b"caf\xe9\r\n" in after
    assert after.count(b"tick#1 ") == after.count(b"tick#2 ") == 1
    assert after.count(b"## Ticks") == 1


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("tick"), st.integers(1, 40)),
            st.tuples(st.just("event"), st.text(max_size=20)),
            st.tuples(st.just("person"), st.tuples(st.integers(0, 200), st.text(alphabet="ab|-#*[] é\r", min_size=1, max_size=12))),
            st.tuples(st.just("reopen"), st.none()),
        ),
        max_size=30,
    )
)
@settings(max_examples=60, deadline=None)
def test_journal_and_archive_together_hold_every_line(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, object]]) -> None:
    folder = tmp_path_factory.mktemp("session")
    path = folder / "journal.md"
    journal = opened(folder)
    ticks: set[int] = set()
    people: Counter[str] = Counter()
    events: set[str] = set()
    for number, (kind, value) in enumerate(steps):
        if kind == "tick" and isinstance(value, int):
            journal.record(tick(value))
            ticks.add(value)
        elif kind == "event" and isinstance(value, str):
            line = DecisionLine("error", MINUTE, f"{number} {value}")
            journal.record(JournalUpdate(decisions=(line,)))
            events.add(line.render())
        elif kind == "person" and isinstance(value, tuple) and path.exists():
            lines = path.read_bytes().decode().split("\n")
            mine = f"person {number} {value[1]}"
            lines.insert(min(value[0], len(lines) - 1), mine)
            path.write_bytes("\n".join(lines).encode())
            people[mine] += 1
        elif kind == "reopen":
            journal = opened(folder)
    lines = path.read_bytes().decode().split("\n") if path.exists() else []
    everything = set(lines) | set(archived_lines(folder))
    assert not people - Counter(lines)
    assert events <= everything
    for number in ticks:
        assert sum(line.startswith(f"- tick#{number} ") for line in lines) == 1
        assert any(line.startswith(f"- **#{number}**") for line in everything)
    assert not list(folder.glob("*conflict*"))


KILLED = """
import os, sys
from pathlib import Path
from tradeagent.agents import journal
from tests.agents.test_journal import opened, tick
held = opened(Path(sys.argv[1]))
for number in range(1, 26):
    held.record(tick(number))
if sys.argv[2] == "before":
    real = journal.append_text
    journal.append_text = lambda path, text, durable: (real(path, text[: len(text) // 2], durable=durable), os._exit(9))
else:
    journal.try_replace = lambda *a, **k: os._exit(9)
held.record(tick(26))
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_between_archive_and_journal_loses_no_line(tmp_path: Path, moment: str) -> None:
    """Killed in the middle of the archive append, and between it and the journal's replacement."""
    repo = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), moment], cwd=repo, env={**os.environ, "PYTHONPATH": str(repo)}, check=False
    )
    assert done.returncode == 9
    assert "tick#26" not in text_of(tmp_path)
    opened(tmp_path).record(tick(26))
    opened(tmp_path).record(tick(27))
    lines = [*text_of(tmp_path).split("\n"), *archived_lines(tmp_path)]
    for number in range(1, 28):
        assert sum(line.startswith(f"- **#{number}** ") and line.endswith("]") for line in lines) == 1, number
        assert sum(line.startswith(f"- tick#{number} ") for line in lines) == 1, number
    if moment == "after":
        assert (tmp_path / "journal_archive.md").read_text().count("- **#6**") == 1


def test_a_full_disk_leaves_the_journal_as_it_was_and_the_next_tick_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(tmp_path)
    for number in range(1, 25):
        journal.record(tick(number))
    before = text_of(tmp_path)

    def fail(*_: object) -> int:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(UserError) as caught:
        journal.record(tick(25))
    assert caught.value.code == "disk_full"
    monkeypatch.undo()
    assert text_of(tmp_path) == before
    journal.record(tick(25))
    assert last_decisions(journal.read(), 1)[0].mark == "#25"


def test_an_edit_in_every_race_keeps_both_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(tmp_path)
    journal.record(tick(1))
    monkeypatch.setattr("tradeagent.agents.journal.try_replace", lambda *_, **__: None)
    conflict = journal.record(tick(2))
    assert conflict is not None
    assert "tick#2" in conflict.kept.read_text()
    assert "tick#1" in conflict.kept.read_text()
    assert "tick#2" not in text_of(tmp_path)
    monkeypatch.undo()
    assert journal.record(tick(2)) is None
    assert "tick#2" in text_of(tmp_path)


def test_a_file_that_never_settles_keeps_both_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(tmp_path).record(tick(1))
    path = tmp_path / "journal.md"
    monkeypatch.setattr("time.sleep", lambda _: path.write_text(path.read_text() + "x"))
    conflict = opened(tmp_path).record(tick(2))
    monkeypatch.undo()
    assert conflict is not None
    assert "tick#2" in conflict.kept.read_text()
    assert "tick#1" in text_of(tmp_path)


@pytest.mark.parametrize("style", ["rename", "truncate"])
def test_no_note_of_a_person_is_lost_while_the_agent_ticks(tmp_path: Path, style: str) -> None:
    """An editor reloads, adds a note and saves, as vim does (rename) or as VS Code does (truncate, then write)."""
    journal = opened(tmp_path)
    journal.record(tick(0))
    path = tmp_path / "journal.md"

    def edit() -> None:
        notes = ""
        for number in range(20):
            notes += f"note {number}\n"
            text = path.read_text().split("## Mine\n")[0] + f"## Mine\n{notes}"
            if style == "rename":
                (tmp_path / "swap").write_text(text)
                (tmp_path / "swap").rename(path)
            else:
                path.write_text(text)
            time.sleep(0.03)

    editor = threading.Thread(target=edit)
    editor.start()
    number = 1
    while editor.is_alive():
        assert journal.record(tick(number)) is None
        number += 1
    editor.join()
    assert text_of(tmp_path).split("## Mine\n")[1].split("\n")[:20] == [f"note {n}" for n in range(20)]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["journal.md", "journal_archive.md"]


def test_threads_of_one_agent_write_in_turn(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    threads = [threading.Thread(target=lambda start=start: [journal.record(tick(start + i)) for i in range(10)]) for start in (0, 10, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(JournalText(text_of(tmp_path), "x").ours("Ticks")) == 30


def test_reading_gives_the_newest_lines(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    assert last_tick(journal.read()) is None
    for number in range(1, 6):
        journal.record(tick(number, f"did {number}"))
    held = journal.read()
    assert [line.text for line in last_decisions(held)] == ["did 3", "did 4", "did 5"]
    assert last_tick(held) == TickLine(5, MINUTE, 1, "did 5")
    assert held.section("Summary").endswith("Last action: did 5")


def test_a_durable_append_syncs_the_file_and_the_directory_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(tmp_path, durable=True)
    journal.record(tick(1))
    calls: list[int] = []
    monkeypatch.setattr(os, "fsync", calls.append)
    journal.record(tick(2))
    assert len(calls) == 2
    replay = Journal(tmp_path, "x", durable=False)
    replay.record(tick(3))
    assert len(calls) == 2


def test_an_append_to_a_full_journal_is_quick(tmp_path: Path) -> None:
    """Target 1.5 ms without fsync on an idle machine; the bound leaves room for a loaded one."""
    journal = opened(tmp_path)
    for number in range(1, 1002):
        journal.record(tick(number))
    spent = []
    for number in range(1002, 1052):
        start = time.perf_counter()
        journal.record(tick(number))
        spent.append(time.perf_counter() - start)
    assert statistics.median(spent) < 0.005
