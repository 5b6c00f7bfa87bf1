"""Drafts: a chip per section from the parsers that runs use, and saving that writes just that, never over anything unseen."""

from pathlib import Path

import hypothesis.strategies as st
import pytest
from card_stage import STRATEGY, Stage, make
from hypothesis import HealthCheck, given, settings

from tradeagent.agents.folder import load_agent, new_agent
from tradeagent.agents.template import TEMPLATE
from tradeagent.assistant import drafts as drafting
from tradeagent.assistant.drafts import begin_agent, begin_algo, chips, patch, save, text_of, unready
from tradeagent.domain.errors import InvalidInput, NotFound, RefusedError, TradeAgentError
from tradeagent.domain.names import EventKind
from tradeagent.ledger import algos, drafts, events, notes
from tradeagent.ledger.drafts import DraftRow

BASICS = [(("name",), "BTC breakout"), (("model",), "offline/momentum"), (("markets",), ["BTC"])]
EVERY = [(("tick_interval",), "5m")]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return make(tmp_path / "ws")


def states(stage: Stage, row: DraftRow) -> dict[str, str]:
    return {chip.section: chip.state for chip in chips(stage.bench, row)}


def written(stage: Stage, name: str = "BTC breakout") -> DraftRow:
    row = begin_agent(stage.bench, "s1", name)
    return patch(stage.bench, row.id, [*BASICS, *EVERY], body=STRATEGY, name=name)


def test_each_change_moves_its_own_chip_and_the_last_one_makes_it_ready(stage: Stage) -> None:
    row = begin_agent(stage.bench, "s1", "BTC breakout")
    assert states(stage, row) == {
        "basics": "missing", "strategy": "missing", "risk": "ok", "schedule": "missing", "tools": "ok", "context": "ok",
    }  # fmt: skip
    row = patch(stage.bench, row.id, BASICS)
    row = patch(stage.bench, row.id, [], body=STRATEGY)
    assert [chip.section for chip in unready(chips(stage.bench, row))] == ["schedule"]
    row = patch(stage.bench, row.id, EVERY)
    assert row.revision == 3 and not unready(chips(stage.bench, row))


@pytest.mark.parametrize(
    ("section", "path", "value", "says"),
    [
        ("basics", ("model",), "offline/momentm", "did you mean 'offline/momentum'"),
        ("basics", ("markets",), ["NOSUCH"], "unknown market 'NOSUCH'"),
        ("strategy", ("strategy", "mode"), "wild", "'wild' is not allowed"),
        ("risk", ("limits", "max_levrage"), 3, "did you mean"),
        ("risk", ("limits", "max_leverage"), 500, "ceiling"),
        ("risk", ("configs", "max_leverage"), 3, "is a limit"),
        ("schedule", ("tick_interval",), "1s", "below 5s"),
        ("schedule", ("cron",), "* * * * *", "both tick_interval and cron"),
        ("tools", ("tools",), ["propose_ordr"], "unknown tool 'propose_ordr'"),
        ("context", ("context", "news"), 5_000, "news"),
    ],
)
def test_what_is_wrong_is_told_in_its_section_and_keeps_the_draft_from_being_saved(
    stage: Stage, section: str, path: tuple[str, ...], value: object, says: str
) -> None:
    row = patch(stage.bench, written(stage).id, [(path, value)])  # type: ignore[list-item]  # as a model may write it
    (bad,) = unready(chips(stage.bench, row))
    assert (bad.section, bad.state) == (section, "invalid") and says in bad.why
    with pytest.raises(InvalidInput, match=section):
        save(stage.bench, row.id)
    assert not stage.place.workspace.agent_dir("btc_breakout").exists()


def test_a_wrong_value_is_told_although_other_sections_are_still_missing(stage: Stage) -> None:
    row = patch(stage.bench, begin_agent(stage.bench, None, "x").id, [(("limits", "max_leverage"), 500)])
    assert states(stage, row)["risk"] == "invalid" and states(stage, row)["schedule"] == "missing"


FAULTS: list[tuple[str, tuple[str, ...], object]] = [
    ("basics", ("model",), "offline/nosuch"),
    ("basics", ("markets",), "BTC"),
    ("strategy", ("strategy", "leash"), "loose"),
    ("risk", ("limits", "max_leverage"), 99),
    ("risk", ("approval",), "maybe"),
    ("schedule", ("cron",), "bad"),
    ("schedule", ("timezone",), "UTC"),
    ("tools", ("tools",), ["foo"]),
    ("tools", ("mcp_servers", "x", "url"), 5),
    ("context", ("context", "bars", "interval"), "7m"),
]


@given(st.lists(st.sampled_from(FAULTS), unique_by=lambda fault: fault[1]))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_a_chip_is_about_its_own_section_whatever_is_wrong_in_the_others(
    stage: Stage, faults: list[tuple[str, tuple[str, ...], object]]
) -> None:
    row = patch(stage.bench, written(stage).id, [(path, value) for _, path, value in faults])  # type: ignore[list-item]  # as a model may
    found = {chip.section: chip.why for chip in chips(stage.bench, row) if chip.state == "invalid"}
    assert set(found) == {section for section, _, _ in faults}
    for section, path, _ in faults:
        if path not in (("timezone",), ("cron",)):
            assert path[-1] in found[section] or path[0] in found[section], found
    with stage.ledger.transaction() as tx:
        drafts.remove(tx, row)


def test_limits_and_tools_are_checked_although_the_schedule_is_wrong_and_the_basics_are_missing(stage: Stage) -> None:
    faulty = [(("limits",), {"max_leverage": 99}), (("tools",), ["foo"]), (("cron",), "bad")]
    row = patch(stage.bench, begin_agent(stage.bench, None, "x").id, faulty)
    told = {chip.section: (chip.state, chip.why) for chip in chips(stage.bench, row)}
    assert [told[section][0] for section in ("basics", "risk", "schedule", "tools")] == ["missing", "invalid", "invalid", "invalid"]
    assert "ceiling" in told["risk"][1] and "unknown tool 'foo'" in told["tools"][1] and "'bad' is not a cron line" in told["schedule"][1]


def test_a_config_is_not_judged_by_limits_that_are_wrong_themselves(stage: Stage) -> None:
    faulty = [(("limits", "max_risk_per_trade_pct"), 2), (("limits", "max_leverage"), 99), (("configs", "risk_per_trade_pct"), 1)]
    row = patch(stage.bench, written(stage).id, faulty)
    (bad,) = unready(chips(stage.bench, row))
    assert "max_leverage" in bad.why and "risk_per_trade_pct" not in bad.why


def test_saving_writes_the_agent_that_was_shown_and_its_first_version(stage: Stage) -> None:
    row = written(stage)
    saved = save(stage.bench, row.id)
    folder = stage.place.workspace.agent_dir("btc_breakout")
    assert (saved.name, saved.version) == ("btc_breakout", 1)
    assert (folder / "agent.md").read_text() == text_of(row)
    assert load_agent(folder, stage.bench.known).body.strip() == STRATEGY.strip()
    with stage.ledger.reading() as tx:
        assert drafts.get(tx, row.id).saved == "btc_breakout@1"
        (told,) = [each for each in events.read(tx) if each["kind"] == EventKind.CONFIG_CHANGED.value]
    assert told["data"]["draft"] == row.id


def test_saving_twice_or_after_a_crash_between_file_and_ledger_changes_nothing_more(stage: Stage) -> None:
    row = written(stage)
    folder = stage.place.workspace.agent_dir("btc_breakout")
    folder.mkdir(parents=True)
    (folder / "agent.md").write_text(text_of(row))  # killed here
    assert [save(stage.bench, row.id).version for _ in range(2)] == [1, 1]
    with stage.ledger.reading() as tx:
        assert len(notes.versions(tx, "btc_breakout")) == 1


def test_a_saved_draft_goes_on_as_the_next_version(stage: Stage) -> None:
    row = written(stage)
    save(stage.bench, row.id)
    row = patch(stage.bench, row.id, [(("limits", "max_leverage"), 2)])
    assert save(stage.bench, row.id).version == 2
    row = patch(stage.bench, row.id, [(("limits",), None)])
    assert save(stage.bench, row.id).version == 3


def test_no_agent_is_ever_written_over(stage: Stage) -> None:
    folder = new_agent(stage.place.workspace.agents_dir, "BTC breakout", TEMPLATE)
    before = (folder / "agent.md").read_bytes()
    row = written(stage)
    assert "exists already" in unready(chips(stage.bench, row))[0].why
    with pytest.raises(InvalidInput):
        save(stage.bench, row.id)
    assert (folder / "agent.md").read_bytes() == before


def test_an_agent_that_was_edited_since_is_not_overwritten_and_an_unedited_one_keeps_its_comments(stage: Stage) -> None:
    folder = new_agent(stage.place.workspace.agents_dir, "Mine", TEMPLATE)
    row = patch(stage.bench, begin_agent(stage.bench, None, "", "mine").id, [(("limits", "max_leverage"), 2)])
    (folder / "agent.md").write_text((folder / "agent.md").read_text() + "\nby hand\n")
    with pytest.raises(RefusedError, match="was changed since"):
        save(stage.bench, row.id)
    assert (folder / "agent.md").read_text().endswith("by hand\n")
    row = patch(stage.bench, begin_agent(stage.bench, None, "", "mine").id, [(("limits", "max_leverage"), 2)])
    assert save(stage.bench, row.id).version == 2  # the edits were kept as version 1
    text = (folder / "agent.md").read_text()
    assert "# only you change these" in text and "max_leverage: 2" in text and text.endswith("by hand\n")


def test_an_algo_draft_is_checked_and_becomes_a_version(stage: Stage) -> None:
    row = begin_algo(stage.bench, "s1", "mine", "sma_cross")
    assert set(states(stage, row).values()) == {"ok"}
    bad = patch(stage.bench, row.id, [(("entry", "long", "required"), ["nosuch > 1"])])
    assert states(stage, bad)["strategy"] == "invalid"
    good = patch(stage.bench, row.id, [(("market",), "ETH")], body=text_of(row))
    assert save(stage.bench, good.id).as_dict() == {"kind": "algo", "name": "mine", "version": 1}
    with stage.ledger.reading() as tx:
        kept = algos.newest(tx, "mine")
    assert kept is not None and kept.text == text_of(good)


def test_unsaved_drafts_are_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafting, "MOST_OPEN", 2)
    for number in range(2):
        begin_agent(stage.bench, None, f"d{number}")
    with pytest.raises(RefusedError, match="not saved yet"):
        begin_agent(stage.bench, None, "d2")


KEYS = st.sampled_from(
    [("name",), ("model",), ("markets",), ("tick_interval",), ("cron",), ("tools",), ("limits", "max_leverage"), ("context", "news"),
     ("context", "bars", "lookback"), ("strategy", "look_for"), ("budget", "max_cost_per_day_usd"), ("approval",), ("description",)]
)  # fmt: skip
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 10**9), st.text(max_size=12), st.lists(st.text(max_size=5), max_size=2),
    st.sampled_from(["5m", "BTC", "offline/hold", "auto", "---", "a: b", "#x", "\u2028", "'\"\n", "& *", "!!tag", "yes", "1e3"]),
)  # fmt: skip


def test_a_draft_is_ready_exactly_when_it_can_be_saved_and_loaded(stage: Stage) -> None:
    number = iter(range(10_000))

    @settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(st.lists(st.tuples(KEYS, VALUES), max_size=5), st.one_of(st.none(), st.text(max_size=20)))
    def play(changes: list[tuple[tuple[str, ...], object]], body: str | None) -> None:
        row = written(stage, f"agent {next(number)}")
        row = patch(stage.bench, row.id, [(("name",), row.name), *changes], body=body)  # type: ignore[list-item]  # junk is the point
        bad = unready(chips(stage.bench, row))
        folder = stage.place.workspace.agents_dir / drafting.base_of(stage.bench, row)[0]
        try:
            save(stage.bench, row.id)
        except TradeAgentError as error:
            assert bad, error.message
            assert not (folder / "agent.md").exists()
        else:
            assert not bad
            assert load_agent(folder, stage.bench.known).agent_text == text_of(row)
        with stage.ledger.transaction() as tx:
            drafts.remove(tx, row)

    play()


def test_a_draft_that_is_not_there_is_named(stage: Stage) -> None:
    with pytest.raises(NotFound, match="NOSUCH"):
        save(stage.bench, "NOSUCH")
