"""Config suggestions: what an agent may ask, what only a person decides, and what the file says in the end."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from agent_place import AGENT_MD, CONFIG_YML, AgentPlace, made

from tradeagent.agents.definition import Scalar
from tradeagent.agents.suggestions import MAX_OPEN, settle_open, suggestion_dict
from tradeagent.domain.errors import InvalidConfig, NotFound, RefusedError, TradeAgentError, UnknownKey
from tradeagent.domain.names import Actor, EventKind
from tradeagent.ledger import events, notes, suggestions
from tradeagent.workspace.yaml_text import read_yaml

D = Decimal


@pytest.fixture
def place(tmp_path: Path) -> Iterator[AgentPlace]:
    found = made(tmp_path)
    yield found
    found.ledger.close()


def states(place: AgentPlace) -> list[tuple[str, str, str]]:
    """Key, state and note, oldest first."""
    with place.ledger.reading() as tx:
        return [(row.key, row.state, row.note) for row in sorted(suggestions.of_agent(tx, "btc"), key=lambda row: (row.created_ms, row.id))]


@pytest.mark.parametrize(
    ("key", "value", "kind", "said"),
    [
        ("max_single_order_quote", D(500), InvalidConfig, "is a limit"),
        ("limits.max_single_order_quote", D(500), InvalidConfig, "is a limit"),
        ("limits", "none", InvalidConfig, "is a limit"),
        ("configs.risk_per_trade_pct", D("0.5"), InvalidConfig, "above limits.max_risk_per_trade_pct 0.4"),
        ("model", "openai/best", UnknownKey, "unknown config key 'model'"),
        ("mcp_servers", "x", UnknownKey, "unknown config key"),
        ("budget.max_cost_per_day_usd", D(100), UnknownKey, "unknown config key"),
        ("approval", "auto", UnknownKey, "unknown config key"),
        ("risk_per_trade_pct", "0.3", InvalidConfig, "is not a number"),
        ("risk_per_trade_pct", True, InvalidConfig, "risk_per_trade_pct: true is not a number"),
        ("trend_interval", D("5.5"), InvalidConfig, "trend_interval: 5.5 is not a text"),
        ("aggressive", "yes", InvalidConfig, "is not a true or false"),
        ("trend_interval", "4h\nlimits: {max_single_order_quote: 9999}", InvalidConfig, "printable"),
        ("trend_interval", "1h \u202e evil", InvalidConfig, "printable"),
        ("trend_interval", "x" * 81, InvalidConfig, "at most 80"),
        ("trend_interval", " ", InvalidConfig, "printable"),
        ("most", D("1E+400"), InvalidConfig, "out of any range"),
        ("risk_per_trade_pct", D("0.20"), InvalidConfig, "is 0.20 already"),
    ],
)
def test_what_may_not_be_suggested_is_refused_with_a_reason_and_leaves_nothing(
    place: AgentPlace, key: str, value: Scalar, kind: type[TradeAgentError], said: str
) -> None:
    with pytest.raises(kind) as error:
        place.box().add(key, value, "because")
    assert said in error.value.message and error.value.hint
    assert states(place) == [] and not (place.folder / "suggestions.yml").exists()


def test_a_suggestion_changes_nothing_until_it_is_approved_and_then_only_its_value(place: AgentPlace) -> None:
    queued = place.box(tick=7).add("risk_per_trade_pct", D("0.3"), "stops\nare \x1b[31mnear")
    assert (queued["old"], queued["new"], queued["state"]) == ("0.2", "0.3", "open")
    assert place.config == CONFIG_YML and place.agent.configs["risk_per_trade_pct"] == D("0.2")
    row = place.decider.approve(queued["suggestion"])
    assert (row.state, row.tick, row.deployment, row.reason) == ("approved", 7, "btc_1", "stops are [31mnear")
    assert place.config == CONFIG_YML.replace("0.2 ", "0.3 ")
    assert (place.folder / "agent.md").read_text() == AGENT_MD
    journal = (place.folder / "sessions" / "session_1" / "journal.md").read_text()
    assert journal.count("**suggestion** (12:00) risk_per_trade_pct 0.2 → 0.3 approved -- stops are [31mnear") == 1
    with place.ledger.reading() as tx:
        newest = notes.versions(tx, "btc", with_payload=True)[0]
        told = events.read(tx, kinds=(EventKind.SUGGESTION_STATE.value,))
    assert (newest["version"], newest["payload"]) == (2, place.agent.payload)
    assert [(event["actor"], event["data"]["state"]) for event in told] == [(Actor.AGENT, "open"), (Actor.MANUAL, "approved")]


def test_a_key_without_a_line_in_config_yml_gets_one_and_a_missing_file_is_made(place: AgentPlace) -> None:
    place.decider.approve(place.box().add("trend_interval", "1h", "r")["suggestion"])
    assert place.config == CONFIG_YML + 'trend_interval: "1h"\n'
    (place.folder / "config.yml").unlink()
    place.decider.approve(place.box().add("aggressive", True, "r")["suggestion"])
    assert place.config == "aggressive: true\n" and place.agent.configs["aggressive"] is True


def test_the_same_key_again_replaces_the_open_one(place: AgentPlace) -> None:
    first = place.box().add("most", D(4), "r")["suggestion"]
    second = place.box().add("most", D(5), "r")["suggestion"]
    assert sorted((key, state) for key, state, _ in states(place)) == [("most", "open"), ("most", "void")]
    with pytest.raises(RefusedError, match="is void already"):
        place.decider.approve(first)
    assert place.decider.approve(second).state == "approved"
    assert place.agent.configs["most"] == 5


def test_nothing_is_asked_twice_and_what_was_rejected_is_not_asked_again(place: AgentPlace) -> None:
    waiting = place.box().add("most", D(4), "r")["suggestion"]
    with pytest.raises(RefusedError, match="waits for the user already"):
        place.box().add("most", D(4), "other words")
    place.decider.reject(waiting, "four is too many")
    with pytest.raises(RefusedError, match="the user rejected most 4: four is too many"):
        place.box().add("most", D(4), "r")
    assert place.box().add("most", D(5), "r")["state"] == "open"
    assert place.config == CONFIG_YML


def test_at_most_twenty_wait_whoever_asks(place: AgentPlace) -> None:
    names = [f"key_{number}" for number in range(MAX_OPEN + 1)]
    keys = ", ".join(f"{name}: 1" for name in names)
    place.edit("agent.md", "configs: {", f"configs: {{{keys}, ")
    for name in names[:-1]:
        place.box().add(name, D(2), "r")
    with pytest.raises(RefusedError, match="20 suggestions wait"):
        place.box().add(names[-1], D(2), "r")
    assert place.box().add(names[0], D(3), "replaces, so it needs no room")["state"] == "open"


def test_a_dry_run_leaves_no_suggestion(place: AgentPlace) -> None:
    assert place.box(keeps=False).add("most", D(4), "r")["suggestion"] is None
    with pytest.raises(InvalidConfig):
        place.box(keeps=False).add("max_single_order_quote", D(4), "r")
    assert states(place) == [] and not (place.folder / "suggestions.yml").exists()


@pytest.mark.parametrize(
    ("file", "old", "new", "state", "note"),
    [
        ("config.yml", "0.2", "0.25", "void", "risk_per_trade_pct was changed to 0.25 meanwhile"),
        ("config.yml", "0.2", "0.3", "approved", ""),
        ("config.yml", "# my values", "# still my values", "open", ""),
    ],
)
def test_a_person_who_edits_the_file_has_decided(place: AgentPlace, file: str, old: str, new: str, state: str, note: str) -> None:
    asked = place.box().add("risk_per_trade_pct", D("0.3"), "r")["suggestion"]
    place.edit(file, old, new)
    edited = place.config
    settle_open(place.ledger, place.clock, place.agent)
    assert states(place) == [("risk_per_trade_pct", state, note)]
    if state == "void":
        with pytest.raises(RefusedError, match=f"is void already .{note}"):
            place.decider.approve(asked)
        assert place.config == edited


def test_a_key_that_is_gone_voids_its_suggestion(place: AgentPlace) -> None:
    place.box().add("most", D(4), "r")
    place.edit("agent.md", ", most: 3", "")
    settle_open(place.ledger, place.clock, place.agent)
    assert states(place) == [("most", "void", "configs.most is gone")]


def test_a_limit_that_was_tightened_since_refuses_the_approval_and_the_file_stays(place: AgentPlace) -> None:
    asked = place.box().add("risk_per_trade_pct", D("0.35"), "r")["suggestion"]
    place.edit("agent.md", "max_risk_per_trade_pct: 0.4", "max_risk_per_trade_pct: 0.3")
    with pytest.raises(InvalidConfig, match=r"above limits.max_risk_per_trade_pct 0.3"):
        place.decider.approve(asked)
    assert place.config == CONFIG_YML
    assert states(place)[0][1] == "open"
    assert place.decider.reject(asked, "").state == "rejected"


def test_an_answer_is_final(place: AgentPlace) -> None:
    asked = place.box().add("most", D(4), "r")["suggestion"]
    place.decider.reject(asked, "no")
    for again in (lambda: place.decider.approve(asked), lambda: place.decider.reject(asked, "")):
        with pytest.raises(RefusedError, match="is rejected already"):
            again()
    with pytest.raises(NotFound, match="no suggestion 'x'"):
        place.decider.approve("x")


def test_the_agent_is_told_each_answer_once(place: AgentPlace) -> None:
    place.decider.reject(place.box().add("most", D(4), "r")["suggestion"], "no")
    place.box().add("aggressive", True, "r")
    with place.ledger.transaction() as tx:
        untold = suggestions.untold(tx, "btc")
        assert [(row.key, row.state, row.note) for row in untold] == [("most", "rejected", "no")]
        suggestions.tell(tx, [row.id for row in untold], 5)
        assert suggestions.untold(tx, "btc") == []


def test_the_copy_says_what_the_ledger_says_and_deciding_does_not_read_it(place: AgentPlace) -> None:
    asked = place.box().add("most", D(4), "r")["suggestion"]
    copy = place.folder / "suggestions.yml"
    told = read_yaml(copy.read_text(), copy).values
    assert told[asked]["new"] == "4" and told[asked]["state"] == "open"
    copy.write_text(f"{asked}: {{key: most, new: 999, state: approved}}\n")
    row = place.decider.listed("btc")[0]
    assert suggestion_dict(row)["new"] == "4" and row.is_open
    assert read_yaml(copy.read_text(), copy).values[asked]["state"] == "open"
    place.decider.approve(asked)
    assert place.agent.configs["most"] == 4
