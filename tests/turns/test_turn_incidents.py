"""Incidents of turns: those that last are open once, and over at the first tick without their cause."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tradeagent.domain.clock import SimulatedClock
from tradeagent.domain.names import Rule
from tradeagent.ledger import notes
from tradeagent.ledger.store import Ledger, create_ledger
from tradeagent.tools.context import Resources
from tradeagent.turns.incidents import TurnIncidents
from tradeagent.turns.record import TickRecord, TickState

NOW = 1_795_000_000_000
SPENT = "model spend today 1.02 USD has reached 1"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = create_ledger(tmp_path / "ledger.sqlite")
    yield made
    made.close()


def tick(number: int, rule: Rule | None = None) -> TickRecord:
    return TickRecord(f"T{number}", number, NOW, TickState.BLOCKED if rule else TickState.DONE, SPENT if rule else "", rule)


def test_a_spent_budget_is_one_incident_until_a_tick_may_spend_again(ledger: Ledger) -> None:
    incidents, seen = TurnIncidents(SimulatedClock(NOW), "w", "momentum_1"), []
    for number, rule in enumerate((None, Rule.BUDGET, Rule.BUDGET, None, Rule.PAUSED), 1):
        with ledger.transaction() as tx:
            incidents.of_tick(tx, tick(number, rule), Resources(), NOW)
            seen.append([(row["code"], row["message"], row["state"]) for row in notes.list_incidents(tx)])
    opened = [("budget_exhausted", SPENT, "open")]
    assert seen == [[], opened, opened] + [[("budget_exhausted", SPENT, "closed")]] * 2


@pytest.mark.parametrize(
    ("reason", "codes"), [("stop", []), ("interrupted", []), ("model_error", ["model_failed"]), ("budget", ["budget_exhausted"])]
)
def test_a_turn_that_a_person_asked_for_tells_of_its_model_and_its_budget_alone(reason: str, codes: list[str], ledger: Ledger) -> None:
    with ledger.transaction() as tx:
        TurnIncidents(SimulatedClock(NOW), None, None).of_talk(tx, "the assistant", reason, "why", NOW)
        assert [row["code"] for row in notes.list_incidents(tx)] == codes
