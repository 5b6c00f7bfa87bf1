"""The names that scripts rely on: each is written somewhere in the package, or a decision says that nothing writes it yet."""

import re
from enum import StrEnum
from pathlib import Path

import pytest

import tradeagent
from tradeagent.domain.names import Actor, DeploymentState, EventKind, ExitReason, IncidentCode, OrderState

PACKAGE = Path(tradeagent.__file__).parent
DECISION = PACKAGE.parent / "docs" / "adr" / "0024-names-that-nothing-writes-yet.md"
ENUMS = [EventKind, IncidentCode, DeploymentState, ExitReason, OrderState, Actor]


@pytest.fixture(scope="module")
def code() -> str:
    return "\n".join(file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py") if file.name != "names.py")


@pytest.mark.parametrize("names", ENUMS, ids=lambda names: names.__name__)
def test_a_name_that_nothing_writes_is_listed_in_the_decision(names: type[StrEnum], code: str) -> None:
    listed = DECISION.read_text(encoding="utf-8").partition("Where a name is written")[0]
    unwritten = {name.value for name in names if not re.search(rf"\b{names.__name__}\.{name.name}\b", code)}
    assert unwritten == {name.value for name in names if f"`{name.value}`" in listed}
