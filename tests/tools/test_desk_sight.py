"""What a mode may not see reaches no answer of any tool: not by asking for everything, not by naming it, not in an error."""

import json
from dataclasses import replace
from typing import Any

import pytest
from desk_samples import named_arguments, samples
from desk_stage import AGENT_RUN, AGENT_SLUG, AGENT_WALLET, ALGO_RUN, ALGO_WALLET, HIDDEN, NOW, Stage

from tradeagent.domain.names import Mode
from tradeagent.ledger import runs, trading
from tradeagent.tools.registry import DESK


def leaks(found: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """Hidden words and figures in an answer, less what the question itself said."""
    text, said = json.dumps(found), json.dumps(asked)
    return [word for word in HIDDEN if word in text and word not in said]


async def test_the_planted_words_are_there_to_be_seen(shared: Stage) -> None:
    seen = [await shared.call(name, Mode.COACH) for name in ("get_account_overview", "get_portfolio", "get_round_trips", "get_usage")]
    seen.append(await shared.call("get_decisions", Mode.COACH, deployment=AGENT_RUN))
    text = json.dumps(seen)
    assert [word for word in HIDDEN if word not in text] == []


@pytest.mark.parametrize("mode", [Mode.RESEARCH, Mode.AUTHORING])
@pytest.mark.parametrize("tool", sorted(DESK))
async def test_no_tool_tells_of_agents_or_of_a_persons_own_trades(shared: Stage, tool: str, mode: Mode) -> None:
    for arguments in samples(DESK[tool]):
        assert leaks(await shared.call(tool, mode, **arguments), arguments) == []
    for word in (AGENT_WALLET, AGENT_RUN, AGENT_SLUG):
        asked = named_arguments(DESK[tool], word)
        assert leaks(await shared.call(tool, mode, **asked), asked) == []


@pytest.mark.parametrize(
    ("tool", "key", "hidden"),
    [
        ("get_account_overview", "wallet", AGENT_WALLET),
        ("get_portfolio", "wallet", AGENT_WALLET),
        ("get_algo_wallets_overview", "wallet", AGENT_WALLET),
        ("get_round_trips", "wallet", AGENT_WALLET),
        ("get_round_trips", "deployment", AGENT_RUN),
        ("get_decisions", "deployment", AGENT_RUN),
        ("get_decisions", "deployment", AGENT_SLUG),
    ],
)
async def test_what_is_hidden_reads_like_what_does_not_exist(shared: Stage, tool: str, key: str, hidden: str) -> None:
    found = await shared.call(tool, Mode.RESEARCH, **{key: hidden})
    other = await shared.call(tool, Mode.RESEARCH, **{key: "nothing"})
    assert json.dumps(found).replace(hidden, "nothing") == json.dumps(other)


async def test_research_sees_the_algos_own_trades_and_not_those_by_hand(shared: Stage) -> None:
    held = (await shared.call("get_portfolio", Mode.RESEARCH))["positions"]
    assert [(row["wallet"], row["held_by"]) for row in held] == [(ALGO_WALLET, ALGO_RUN)]
    trips = (await shared.call("get_round_trips", Mode.RESEARCH))["round_trips"]
    assert [row["by"] for row in trips] == [ALGO_RUN]
    assert [row["deployment"] for row in (await shared.call("show_deployments", Mode.RESEARCH))["deployments"]] == [ALGO_RUN]
    events = await shared.call("get_upcoming_events", Mode.RESEARCH)
    assert events["held_markets"] == [] and "you_hold" not in events["events"][0]


async def test_authoring_sees_no_account(shared: Stage) -> None:
    for tool in ("get_account_overview", "get_portfolio", "show_deployments"):
        assert (await shared.call(tool, Mode.AUTHORING))["error"]["code"] == "not_in_this_mode"


async def test_an_agent_on_an_algo_wallet_stays_hidden_too(stage: Stage) -> None:
    with stage.ledger.transaction() as tx:
        runs.add_deployment(tx, replace(runs.get_deployment(tx, AGENT_RUN), id="quokka_8", wallet=ALGO_WALLET, created_ms=NOW))
        trading.add_round_trip(tx, trading.round_trips_of(tx, wallet=AGENT_WALLET)[0] | {"wallet": ALGO_WALLET, "seq": None})
    for tool in ("get_account_overview", "get_algo_wallets_overview", "get_portfolio", "get_round_trips", "show_deployments"):
        assert leaks(await stage.call(tool, Mode.RESEARCH), {}) == []
        assert "quokka_8" in json.dumps(await stage.call("show_deployments", Mode.OPS))
