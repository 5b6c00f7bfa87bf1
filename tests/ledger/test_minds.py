"""Rows of what minds say, prepare and ask for: each is decided once, found by its end, bounded, and told in the feed."""

from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import Connection

from tradeagent.domain.clock import MINUTE_MS
from tradeagent.domain.errors import BusyError, Defect, InvalidInput, NotFound, RefusedError, TradeAgentError
from tradeagent.domain.names import Actor, CardState, EventKind, JobState, PinState, SuggestionState, TokenScope
from tradeagent.ledger import card_commits, cards, drafts, events, jobs, pins, studies, suggestions, tokens, watchlist

NOW = 1_795_000_000_000


def told(tx: Connection, kind: EventKind) -> list[tuple[str, str, str]]:
    """(who, of what, state) of every event of a kind."""
    return [(row["actor"], row["subject"], row["data"]["state"]) for row in events.read(tx, kinds=(kind.value,))]


def a_card(name: str = "C1", **more: Any) -> cards.CardRow:
    row = cards.CardRow(name, "S1", "deploy", "btc", {"argv": ["run"]}, {"risk": "5"}, "seen", "hash", "waiting", NOW, NOW + 9)
    return replace(row, **more)


def a_draft(name: str = "D1", **more: Any) -> drafts.DraftRow:
    return replace(drafts.DraftRow(name, "S1", "agent", "btc", {"goal": "x"}, 1, None, NOW, NOW), **more)


def a_suggestion(name: str = "G1", **more: Any) -> suggestions.SuggestionRow:
    row = suggestions.SuggestionRow(name, "btc", "btc_1", 3, "frequency_sec", "300", "600", "quiet", "v1", "open", NOW)
    return replace(row, **more)


def a_job(tx: Connection, name: str = "J1", at_ms: int = NOW) -> jobs.JobRow:
    jobs.add(tx, name, "backtest", "S1", {"argv": ["backtest", "run"]}, at_ms)
    return jobs.get(tx, name)


def fill(tx: Connection, module: ModuleType, names: tuple[str, ...]) -> None:
    for name in names:
        if module is jobs:
            a_job(tx, name)
        elif module is cards:
            cards.add(tx, a_card(name))
        elif module is drafts:
            drafts.add(tx, a_draft(name))
        else:
            tokens.issue(tx, name, "me", TokenScope.READ, NOW)


@pytest.mark.parametrize("module", [cards, drafts, jobs, tokens], ids=["cards", "drafts", "jobs", "tokens"])
def test_a_row_is_found_by_an_end_of_its_id_that_only_one_has(tx: Connection, module: ModuleType) -> None:
    fill(tx, module, ("01AAXY", "01ABXY", "01ACZ%"))
    assert module.get(tx, "01AAXY").id == module.get(tx, "aaxy").id == "01AAXY"
    assert module.get(tx, "Z%").id == module.get(tx, "%").id == "01ACZ%", "a percent sign stands for itself"
    for reference, words in (("XY", "more than one"), ("Q", "there is no"), ("", "there is no"), ("_", "there is no")):
        with pytest.raises(NotFound, match=words):
            module.get(tx, reference)


def test_a_study_is_found_among_those_of_its_kind(tx: Connection) -> None:
    for name, kind in (("01AAXY", "optimize"), ("01ABXY", "cv"), ("01ACXZ", "cv")):
        studies.create(tx, studies.StudyRow(name, kind, studies.RUNNING, {}, None, NOW))
    assert studies.get(tx, "xy", "cv").id == "01ABXY" and studies.get(tx, "xy", "optimize").id == "01AAXY"
    with pytest.raises(NotFound, match=r"^optimize: there is no study whose id ends with 'xz'$") as caught:
        studies.get(tx, "xz", "optimize")
    assert caught.value.hint == "`tradeagent optimize list` shows all of them"


def test_what_may_be_a_token_is_not_repeated(tx: Connection) -> None:
    fill(tx, tokens, ("01AAXY", "01ABXY"))
    for reference in ("XY", "tat_secret"):
        with pytest.raises(NotFound) as caught:
            tokens.get(tx, reference)
        assert reference not in f"{caught.value.as_dict()}"


def test_a_card_is_decided_once_and_its_action_ends_once(tx: Connection) -> None:
    cards.add(tx, a_card())
    with pytest.raises(Defect):
        cards.settle(tx, cards.get(tx, "C1"), CardState.COMMITTED, NOW + 1)
    card_commits.commit(tx, cards.get(tx, "C1"), NOW + 1, said={"phrase": "yes"})
    committed = cards.get(tx, "C1")
    assert (committed.state, committed.decided_ms, committed.result) == ("committed", NOW + 1, None)
    with pytest.raises(RefusedError, match="committed already") as caught:
        cards.settle(tx, a_card(), CardState.DISMISSED, NOW + 2)
    with pytest.raises(RefusedError, match="committed already"):
        card_commits.commit(tx, a_card(), NOW + 2)
    assert caught.value.details == {"state": "committed"} and cards.get(tx, "C1") == committed
    cards.finish(tx, committed, CardState.COMMITTED, {"ran": "btc_1"}, NOW + 3)
    assert cards.get(tx, "C1").result == {"ran": "btc_1"}
    assert told(tx, EventKind.CARD_STATE) == [("system", "C1", "waiting"), ("manual", "C1", "committed")]
    last = events.read(tx, kinds=(EventKind.CARD_STATE.value,), newest=True, limit=1)[0]
    assert last["time_ms"] == NOW + 1
    assert last["data"] == {"kind": "deploy", "target": "btc", "state": "committed", "hash": "hash", "phrase": "yes"}


def test_an_action_that_failed_is_told_and_one_that_was_not_committed_gets_no_result(tx: Connection) -> None:
    for name in ("C1", "C2"):
        cards.add(tx, a_card(name))
    card_commits.commit(tx, cards.get(tx, "C1"), NOW + 1)
    cards.finish(tx, cards.get(tx, "C1"), CardState.FAILED, {"error": "down"}, NOW + 2)
    failed = cards.get(tx, "C1")
    assert (failed.state, failed.result, told(tx, EventKind.CARD_STATE)[-1]) == ("failed", {"error": "down"}, ("system", "C1", "failed"))
    cards.finish(tx, failed, CardState.COMMITTED, {"ran": "twice"}, NOW + 3)
    cards.settle(tx, cards.get(tx, "C2"), CardState.EXPIRED, NOW + 9, actor=Actor.SYSTEM)
    cards.finish(tx, cards.get(tx, "C2"), CardState.COMMITTED, {"ran": "late"}, NOW + 10)
    assert cards.get(tx, "C1") == failed and cards.get(tx, "C2").result is None
    assert told(tx, EventKind.CARD_STATE)[-1] == ("system", "C2", "expired")


def test_cards_are_listed_newest_first_of_one_session_or_state(tx: Connection) -> None:
    for name, session, at_ms in (("C1", "S1", NOW), ("C2", "S2", NOW + 1), ("C3", "S1", NOW + 1)):
        cards.add(tx, a_card(name, session=session, created_ms=at_ms))
    cards.settle(tx, cards.get(tx, "C1"), CardState.DISMISSED, NOW + 2)
    assert [row.id for row in cards.listed(tx)] == ["C3", "C2", "C1"]
    assert [row.id for row in cards.listed(tx, limit=2)] == ["C3", "C2"]
    assert [row.id for row in cards.listed(tx, session="S1")] == ["C3", "C1"]
    assert [row.id for row in cards.listed(tx, state=CardState.WAITING)] == ["C3", "C2"]
    assert [row.id for row in cards.listed(tx, state=CardState.DISMISSED, session="S2")] == []


def test_a_draft_counts_its_changes_and_the_newest_of_a_conversation_is_found(tx: Connection) -> None:
    drafts.add(tx, a_draft())
    changed = drafts.change(tx, a_draft(), {"goal": "y"}, NOW + 1)
    assert (changed.body, changed.name, changed.revision, changed.created_ms, changed.updated_ms) == ({"goal": "y"}, "btc", 2, NOW, NOW + 1)
    renamed = drafts.change(tx, changed, {"goal": "y"}, NOW + 2, name="eth")
    assert (renamed.name, renamed.revision) == ("eth", 3)
    drafts.add(tx, a_draft("D2", kind="algo", updated_ms=NOW + 5))
    drafts.add(tx, a_draft("D3", session=None, updated_ms=NOW + 4))
    drafts.add(tx, a_draft("D4", session=None, updated_ms=NOW + 3))
    found = [drafts.newest(tx, "S1", "agent"), drafts.newest(tx, "S1", "algo"), drafts.newest(tx, None, "agent")]
    assert [row.id for row in found if row is not None] == ["D1", "D2", "D3"] and drafts.newest(tx, "S9", "agent") is None
    assert [row.id for row in drafts.listed(tx)] == ["D2", "D3", "D4", "D1"]
    drafts.saved(tx, renamed, "v7", NOW + 9)
    assert [(row.id, row.saved, row.updated_ms) for row in drafts.listed(tx, limit=1)] == [("D1", "v7", NOW + 9)]
    drafts.remove(tx, renamed)
    assert [row.id for row in drafts.listed(tx)] == ["D2", "D3", "D4"]


def test_the_oldest_saved_drafts_make_room_and_unsaved_ones_stay(tx: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "MOST", 2)
    drafts.add(tx, a_draft("D0"))
    for number in range(1, 5):
        drafts.add(tx, a_draft(f"D{number}", saved="v1", updated_ms=NOW + number))
    assert [row.id for row in drafts.listed(tx)] == ["D4", "D3", "D0"]


def test_a_job_is_run_by_one_and_ends_once(tx: Connection) -> None:
    queued = a_job(tx)
    assert (queued.argv, queued.is_open, queued.created_ms) == (["backtest", "run"], True, NOW)
    assert jobs.start(tx, queued, 77, "boot", NOW + 1)
    assert not jobs.start(tx, queued, 78, "boot", NOW + 1), "somebody else has it"
    running = jobs.get(tx, "J1")
    assert (running.state, running.pid, running.boot_id, running.started_ms) == ("running", 77, "boot", NOW + 1)
    jobs.tell(tx, "J1", {"done": 3})
    jobs.finish(tx, running, JobState.DONE, {"sharpe": "1"}, NOW + 5)
    done = jobs.get(tx, "J1")
    assert (done.state, done.progress, done.result, done.ended_ms, done.is_open) == ("done", {"done": 3}, {"sharpe": "1"}, NOW + 5, False)
    jobs.tell(tx, "J1", {"done": 9})
    jobs.finish(tx, running, JobState.FAILED, None, NOW + 6)
    jobs.requeue(tx, running, NOW + 6)
    with pytest.raises(RefusedError, match="done already"):
        jobs.cancel(tx, done, NOW + 6)
    assert jobs.get(tx, "J1") == done
    assert told(tx, EventKind.JOB_STATE) == [("system", "J1", state) for state in ("queued", "running", "done")]
    assert events.read(tx, kinds=(EventKind.JOB_STATE.value,))[0]["data"] == {"kind": "backtest", "state": "queued", "session": "S1"}


def test_a_job_whose_worker_died_waits_again_and_a_cancelled_one_does_not(tx: Connection) -> None:
    first, second, third = a_job(tx, "J1"), a_job(tx, "J2"), a_job(tx, "J3", NOW - 1)
    jobs.start(tx, first, 77, "boot", NOW + 1)
    assert [row.id for row in jobs.running(tx)] == ["J1"]
    jobs.requeue(tx, first, NOW + 2)
    again = jobs.get(tx, "J1")
    assert (again.state, again.pid, again.boot_id, again.started_ms) == ("queued", None, None, None) and jobs.running(tx) == []
    longest = jobs.next_queued(tx)
    assert longest is not None and longest.id == "J3", "it has waited longest"
    jobs.cancel(tx, third, NOW + 3)
    jobs.start(tx, second, 78, "boot", NOW + 3)
    jobs.cancel(tx, second, NOW + 4)
    assert [(row.id, row.state, row.ended_ms) for row in jobs.listed(tx)] == [
        ("J2", "cancelled", NOW + 4),
        ("J1", "queued", None),
        ("J3", "cancelled", NOW + 3),
    ]
    assert told(tx, EventKind.JOB_STATE)[-1] == ("manual", "J2", "cancelled")
    assert [row.id for row in jobs.listed(tx, limit=1)] == ["J2"]
    assert [row.id for row in jobs.listed(tx, state=JobState.QUEUED)] == ["J1"]
    assert jobs.waiting(tx)
    jobs.start(tx, again, 79, "boot", NOW + 5)
    assert jobs.waiting(tx) and jobs.next_queued(tx) is None, "what runs may have lost its worker"
    jobs.finish(tx, again, JobState.FAILED, None, NOW + 6)
    assert not jobs.waiting(tx) and jobs.get(tx, "J1").result is None


def test_only_so_many_jobs_wait(tx: Connection) -> None:
    for number in range(jobs.MOST_QUEUED):
        a_job(tx, f"J{number:03}")
    with pytest.raises(BusyError, match=f"{jobs.MOST_QUEUED} jobs are waiting"):
        a_job(tx, "ONE_MORE")
    jobs.start(tx, jobs.get(tx, "J000"), 77, "boot", NOW)
    assert a_job(tx, "ONE_MORE").is_open


def test_a_suggestion_is_answered_once_and_the_agent_is_told_once(tx: Connection) -> None:
    for name, at_ms in (("G2", NOW + 1), ("G1", NOW), ("G3", NOW + 2)):
        suggestions.add(tx, a_suggestion(name, created_ms=at_ms))
    suggestions.add(tx, a_suggestion("G4", slug="eth"))
    assert suggestions.untold(tx, "btc") == []
    first = suggestions.get(tx, "G1")
    assert first == a_suggestion() and first.is_open
    assert suggestions.settle(tx, first, SuggestionState.APPROVED, "fine", NOW + 5)
    assert not suggestions.settle(tx, first, SuggestionState.REJECTED, "no", NOW + 6)
    assert suggestions.settle(tx, suggestions.get(tx, "G2"), SuggestionState.REJECTED, "no", NOW + 6)
    assert suggestions.settle(tx, suggestions.get(tx, "G3"), SuggestionState.VOID, "newer", NOW + 6, actor=Actor.AGENT)
    answered = suggestions.get(tx, "G1")
    assert (answered.state, answered.decided_ms, answered.note, answered.is_open) == ("approved", NOW + 5, "fine", False)
    assert [row.id for row in suggestions.untold(tx, "btc")] == ["G1", "G2"], "what it replaced itself it knows"
    suggestions.tell(tx, (), NOW + 7)
    suggestions.tell(tx, ("G1",), NOW + 7)
    assert [row.id for row in suggestions.untold(tx, "btc")] == ["G2"] and suggestions.get(tx, "G1").told_ms == NOW + 7
    assert told(tx, EventKind.SUGGESTION_STATE)[4:] == [
        ("manual", "G1", "approved"),
        ("manual", "G2", "rejected"),
        ("agent", "G3", "void"),
    ]
    row = events.read(tx, kinds=(EventKind.SUGGESTION_STATE.value,))[4]
    assert (row["deployment"], row["time_ms"]) == ("btc_1", NOW + 5)
    assert row["data"] == {"agent": "btc", "key": "frequency_sec", "old": "300", "new": "600", "state": "approved", "note": "fine"}


def test_suggestions_of_an_agent_are_listed_newest_first(tx: Connection) -> None:
    for name, at_ms in (("G1", NOW), ("G2", NOW + 1), ("G3", NOW + 1)):
        suggestions.add(tx, a_suggestion(name, created_ms=at_ms))
    suggestions.add(tx, a_suggestion("G4", slug="eth"))
    suggestions.settle(tx, suggestions.get(tx, "G2"), SuggestionState.REJECTED, "", NOW + 5)
    assert [row.id for row in suggestions.of_agent(tx, "btc")] == ["G3", "G2", "G1"]
    assert [row.id for row in suggestions.of_agent(tx, "btc", limit=1)] == ["G3"]
    assert [row.id for row in suggestions.of_agent(tx, "btc", state=SuggestionState.OPEN)] == ["G3", "G1"]
    with pytest.raises(NotFound, match="G9"):
        suggestions.get(tx, "G9")
    for number in range(201):
        suggestions.add(tx, a_suggestion(f"S{number}", slug="sol"))
    assert len(suggestions.of_agent(tx, "sol")) == 200


def test_the_watchlist_keeps_a_market_once_and_is_bounded(tx: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchlist, "MOST", 2)
    assert watchlist.add(tx, watchlist.WatchRow("ETH", "trend", "manual", NOW + 1))
    assert watchlist.add(tx, watchlist.WatchRow("BTC", "", "engine", NOW))
    assert not watchlist.add(tx, watchlist.WatchRow("ETH", "range", "engine", NOW + 9)), "full, but it is there"
    with pytest.raises(RefusedError, match="it holds 2 markets") as caught:
        watchlist.add(tx, watchlist.WatchRow("SOL", "", "manual", NOW))
    assert caught.value.code == "full"
    assert watchlist.listed(tx) == [watchlist.WatchRow("BTC", "", "engine", NOW), watchlist.WatchRow("ETH", "range", "manual", NOW + 1)]
    watchlist.remove(tx, "BTC")
    with pytest.raises(NotFound, match="'BTC' is not on it"):
        watchlist.remove(tx, "BTC")
    assert watchlist.add(tx, watchlist.WatchRow("SOL", "", "manual", NOW))


def test_a_token_lets_in_until_it_is_revoked_and_is_nowhere_in_the_ledger(tx: Connection) -> None:
    first = tokens.issue(tx, "K1", "inspector", TokenScope.READ, NOW)
    second = tokens.issue(tx, "K2", "", TokenScope.TRADE, NOW + 1)
    assert first.startswith("tat_") and len(first) == len(second) == len("tat_") + 43 and first != second, "of 32 random bytes"
    held = tokens.holder(tx, first)
    assert held is not None and (held.id, held.scope, held.name, held.used_ms) == ("K1", "read", "inspector", None)
    assert [row.id for row in tokens.listed(tx)] == ["K2", "K1"] and first not in str(tokens.listed(tx))
    for wrong in ("", first[:-1], first.upper(), held.hash, "\ud800"):
        assert tokens.holder(tx, wrong) is None
    tokens.revoke(tx, held, NOW + 2)
    assert tokens.holder(tx, first) is None and tokens.holder(tx, second) is not None
    assert tokens.get(tx, "K1").revoked_ms == NOW + 2
    with pytest.raises(RefusedError, match="revoked already"):
        tokens.revoke(tx, held, NOW + 3)
    assert tokens.get(tx, "K1").revoked_ms == NOW + 2
    told = [(event["subject"], event["data"]["token"]) for event in events.read(tx, kinds=(EventKind.CONFIG_CHANGED.value,))]
    assert told == [("K1", "made"), ("K2", "made"), ("K1", "revoked")], "each once, also after a refused one"


def test_the_last_use_of_a_token_is_noted_to_the_minute(tx: Connection) -> None:
    tokens.issue(tx, "K1", "me", TokenScope.READ, NOW)
    assert not tokens.is_touched(tokens.get(tx, "K1"), NOW)
    tokens.touch(tx, tokens.get(tx, "K1"), NOW + 5)
    used = tokens.get(tx, "K1")
    assert used.used_ms == NOW + 5
    assert [tokens.is_touched(used, NOW + 5 + later) for later in (0, MINUTE_MS - 1, MINUTE_MS)] == [True, True, False]


@pytest.mark.parametrize(("name", "is_taken"), [("x" * 60, True), ("x" * 61, False), ("two\nlines", False), ("tab\t", False), ("", True)])
def test_a_token_is_named_in_one_short_line(tx: Connection, name: str, is_taken: bool) -> None:
    try:
        tokens.issue(tx, "K1", name, TokenScope.READ, NOW)
    except TradeAgentError as error:
        assert isinstance(error, InvalidInput) and not is_taken and tokens.listed(tx) == []
    else:
        assert is_taken and tokens.get(tx, "K1").name == name


def test_a_decision_about_a_tool_replaces_the_one_before_and_a_changed_tool_is_not_approved(tx: Connection) -> None:
    row = pins.PinRow("files", "read", "f1", True, {"says": "reads"}, PinState.DENIED.value, NOW)
    approved = replace(row, state=PinState.APPROVED.value, is_read_only=False, decided_ms=NOW + 1)
    other = replace(row, tool="write")
    elsewhere = replace(approved, server="web")
    for each in (row, approved, other, elsewhere):
        pins.put(tx, each)
    assert pins.listed(tx) == [approved, other, elsewhere]
    assert pins.listed(tx, ("web",)) == [elsewhere] and pins.listed(tx, ()) == []
    pins.mark_changed(tx, "files", ("read", "write"))
    assert pins.listed(tx) == [replace(approved, state=PinState.CHANGED.value), other, elsewhere], "what was denied stays denied"
