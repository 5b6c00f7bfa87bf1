"""Long-term memory and the working picture: formats, limits, and a person's edits."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradeagent.agents.canvas import CANVAS, canvas_file
from tradeagent.agents.learnings import KEEP, Learnings, LearningSection, overlap, words
from tradeagent.agents.slots import SlotFile
from tradeagent.domain.errors import InvalidInput

GOLDEN = Path(__file__).parent / "golden"
NOW = 1_795_176_300_000  # 2026-11-20 12:05 UTC
INSIGHTS, EXECUTION, RETIRED = LearningSection


def learnings(folder: Path) -> Learnings:
    return Learnings(folder, durable=False)


def lines_of(folder: Path, section: LearningSection) -> list[str]:
    text = (folder / "learnings.md").read_text()
    return [line for line in text.split(f"## {section.value}\n")[1].split("\n## ")[0].split("\n") if line]


def distinct(number: int) -> str:
    return f"alpha{number} beta{number} gamma{number}"


def test_the_format_is_the_documented_one(tmp_path: Path) -> None:
    kept = learnings(tmp_path)
    kept.add(INSIGHTS, "Pullbacks to the 4h average\n hold in an uptrend", NOW)
    added = kept.add(EXECUTION, "Limit entries miss fast moves", NOW)
    assert (tmp_path / "learnings.md").read_text() == (GOLDEN / "learnings.md").read_text()
    assert added.line == "- [2026-11-20 12:05] Limit entries miss fast moves"


def test_a_line_that_says_the_same_is_dropped(tmp_path: Path) -> None:
    kept = learnings(tmp_path)
    first = kept.add(INSIGHTS, "buy the first pullback after breakouts", NOW)
    again = kept.add(EXECUTION, "After BREAKOUTS, buy the first dip!", NOW)
    assert (again.line, again.present) == ("", first.line)
    half = kept.add(INSIGHTS, "buy the dull tuesday", NOW)
    assert half.line, "an overlap of exactly one half is not more than one half"
    assert len(lines_of(tmp_path, INSIGHTS)) == 2


def test_overlap_is_counted_against_the_shorter_line() -> None:
    assert overlap("a b c d", "a b x y") == 0.5
    assert overlap("a b", "a b c d e f") == 1.0
    assert overlap("", "a") == 0.0
    assert words("4h-Trend, trend!") == {"4h", "trend"}


def test_a_person_s_line_counts_as_present(tmp_path: Path) -> None:
    (tmp_path / "learnings.md").write_text("## Active insights\n* never trade on sundays\n")
    assert learnings(tmp_path).add(INSIGHTS, "never trade on Sundays please", NOW).present == "* never trade on sundays"


def test_the_oldest_line_retires_at_twenty_one(tmp_path: Path) -> None:
    kept = learnings(tmp_path)
    for number in range(25):
        kept.add(INSIGHTS, distinct(number), NOW + number * 60_000)
    assert len(lines_of(tmp_path, INSIGHTS)) == KEEP
    assert lines_of(tmp_path, INSIGHTS)[0].endswith(distinct(5))
    assert [line.split("] ")[1] for line in lines_of(tmp_path, RETIRED)] == [distinct(n) for n in range(5)]
    assert "alpha24" in kept.active()
    assert "alpha0" not in kept.active()
    assert "Retired" not in kept.active()


def test_a_retired_lesson_may_be_learned_again(tmp_path: Path) -> None:
    (tmp_path / "learnings.md").write_text(f"## Active insights\n\n## Retired\n- [2026-01-01 00:00] {distinct(1)}\n")
    assert learnings(tmp_path).add(INSIGHTS, distinct(1), NOW).line


def test_a_person_s_lines_stay_verbatim_and_in_place(tmp_path: Path) -> None:
    text = "My notes first.\n\n## Active insights\n\nThis I wrote:\n  * never on sundays\n- [x] todo\n\n## Other\nmine\n"
    (tmp_path / "learnings.md").write_text(text)
    kept = learnings(tmp_path)
    for number in range(30):
        kept.add(INSIGHTS, distinct(number), NOW)
    after = (tmp_path / "learnings.md").read_text()
    assert after.startswith("My notes first.\n\n## Active insights\n\nThis I wrote:\n  * never on sundays\n- [x] todo\n- [2026-11-20")
    assert "\n## Other\nmine\n\n## Retired\n- [" in after


def test_only_proven_lines_of_the_agent_move_or_go(tmp_path: Path) -> None:
    by_hand = "- [2026-01-01 00:00] typed by hand in the same form"
    (tmp_path / "learnings.md").write_text(f"## Active insights\n{by_hand}\n")
    written: set[str] = set()
    kept = Learnings(tmp_path, durable=False, agent_wrote=lambda line: line in written)
    for number in range(60):
        written.add(f"- [2026-11-20 12:05] {distinct(number)}")
        kept.add(INSIGHTS, distinct(number), NOW)
    assert lines_of(tmp_path, INSIGHTS)[0] == by_hand
    assert len(lines_of(tmp_path, INSIGHTS)) == KEEP + 1
    assert len(lines_of(tmp_path, RETIRED)) == KEEP


@pytest.mark.parametrize("text", ["", "  \n", "...!"])
def test_a_learning_without_words_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInput, match="words"):
        learnings(tmp_path).add(INSIGHTS, text, NOW)
    with pytest.raises(InvalidInput, match="Retired"):
        learnings(tmp_path).add(RETIRED, "some words", NOW)


@given(st.lists(st.text(alphabet="abc #-*[]\r\né", max_size=30), max_size=12), st.lists(st.integers(0, 60), max_size=30))
@settings(max_examples=60, deadline=None)
def test_no_line_is_ever_lost_from_learnings(tmp_path_factory: pytest.TempPathFactory, people: list[str], added: list[int]) -> None:
    folder = tmp_path_factory.mktemp("agent")
    text = "## Active insights\n" + "\n".join(f"{line} p{i}" for i, line in enumerate(people))
    (folder / "learnings.md").write_bytes(text.encode())
    kept = learnings(folder)
    lines = [kept.add(INSIGHTS, distinct(number), NOW + minute * 60_000).line for minute, number in enumerate(added)]
    mine = [line for line in lines if line]
    after = (folder / "learnings.md").read_bytes().decode().split("\n")
    rest = iter(after)
    assert all(line in rest for line in text.split("\n")), "a person's lines keep their order"
    assert all(after.count(line) == 1 for line in mine)
    assert len(mine) >= len(set(added))


def test_an_edit_between_read_and_write_is_merged(tmp_path: Path) -> None:
    kept = learnings(tmp_path)
    kept.add(INSIGHTS, distinct(1), NOW)
    path = tmp_path / "learnings.md"
    path.write_text(path.read_text().replace("## Execution notes", "by hand\n\n## Execution notes"))
    assert kept.add(INSIGHTS, distinct(2), NOW).conflict is None
    assert [line[:7] for line in lines_of(tmp_path, INSIGHTS)] == ["- [2026", "by hand", "- [2026"]


def test_a_lost_race_keeps_both_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = learnings(tmp_path)
    kept.add(INSIGHTS, distinct(1), NOW)
    monkeypatch.setattr("tradeagent.agents.rewrite.try_replace", lambda *_, **__: None)
    learned = kept.add(INSIGHTS, distinct(2), NOW)
    assert learned.conflict is not None
    assert distinct(2) in learned.conflict.kept.read_text()
    assert distinct(2) not in (tmp_path / "learnings.md").read_text()


def canvas(folder: Path) -> SlotFile:
    return canvas_file(folder, "btc_momentum_3", durable=False)


def test_the_canvas_has_the_documented_parts(tmp_path: Path) -> None:
    file = canvas(tmp_path)
    assert file.read() == {}
    file.update({"thesis": "BTC trends up.\n\n- support at 60k\n", "questions": "Is funding too high?"}, {})
    assert (tmp_path / "canvas.md").read_text() == (GOLDEN / "canvas.md").read_text()
    assert file.read() == {"thesis": "BTC trends up.\n\n- support at 60k", "questions": "Is funding too high?"}


def test_a_part_over_the_limit_or_unknown_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"canvas\.working: 1201 characters, at most 1200"):
        canvas(tmp_path).update({"working": "x" * 1201}, {})
    with pytest.raises(InvalidInput, match="no part 'plan'"):
        canvas(tmp_path).update({"plan": "x"}, {})
    assert not (tmp_path / "canvas.md").exists()
    assert canvas(tmp_path).update({"working": "x" * 1200}, {}) is None


def test_a_part_a_person_edited_meanwhile_stays_and_the_other_is_written(tmp_path: Path) -> None:
    file = canvas(tmp_path)
    file.update({"thesis": "up", "working": "wait"}, {})
    seen = file.read()
    path = tmp_path / "canvas.md"
    path.write_text(path.read_text().replace("up\n", "DOWN, says the owner\n") + "\n## Mine\nkeep\n")
    conflict = file.update({"thesis": "sideways", "working": "buy"}, seen)
    assert conflict is not None
    assert file.read() == {"thesis": "DOWN, says the owner", "working": "buy"}
    assert "sideways" in conflict.kept.read_text()
    assert "buy" not in conflict.kept.read_text()
    assert "## Mine\nkeep\n" in path.read_text()


@given(st.dictionaries(st.sampled_from(CANVAS.slots), st.text(alphabet="ab# \\\n-`é", max_size=60), max_size=4))
@settings(max_examples=80, deadline=None)
def test_no_text_of_an_agent_can_leave_its_part(tmp_path_factory: pytest.TempPathFactory, changes: dict[str, str]) -> None:
    file = canvas(tmp_path_factory.mktemp("s"))
    file.update({"thesis": "old", "questions": "old"}, {})
    file.update(changes, file.read())
    for name in CANVAS.slots:
        wanted = changes.get(name, "old" if name in ("thesis", "questions") else "")
        assert file.read().get(name, "") == "\n".join(line.rstrip() for line in wanted.strip().split("\n"))


def test_a_canvas_typed_by_hand_is_read() -> None:
    assert CANVAS.parse("# x\n## Working\r\nsee\r\n## thesis\nno") == {"working": "see"}
