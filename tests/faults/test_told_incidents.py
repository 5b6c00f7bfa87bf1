"""What a run writes of its troubles: the incident that names the cause, over when the cause is, and the turns and states in the feed."""

from typing import Any
from unittest import mock

import pytest
from minds import Scripted, run_with
from product import BTC, Product

from tradeagent.domain.errors import BusyError, DataError, ModelError
from tradeagent.llm.contract import ModelDelta

pytestmark = pytest.mark.slow
RUN = ("btc_momentum", "--replay", BTC, "--max-ticks")


def _incidents(product: Product) -> list[tuple[str, str]]:
    """(code, state) of all, by code."""
    return sorted((row["code"], row["state"]) for row in product.ask("incidents", "--all"))


def _events(product: Product, *kinds: str) -> list[tuple[str, dict[str, Any]]]:
    return [(row["kind"], row["data"]) for row in product.ask("audit", "--limit", "1000") if row["kind"] in kinds]


def test_a_tick_that_gives_up_waiting_for_the_ledger_is_told_until_the_next_one_gets_it(product: Product) -> None:
    from tradeagent.turns.tick import build_prompt

    said: list[list[tuple[str, str]]] = []
    with mock.patch("tradeagent.turns.tick.build_prompt", side_effect=[BusyError("locked")] * 2 + [mock.DEFAULT], wraps=build_prompt):
        run_with(Scripted(when_asked=lambda _: said.append(_incidents(product))), product, *RUN, "3")
    assert said == [[("ledger_busy", "open"), ("tick_failed", "open"), ("tick_failed", "open")]], "one while it lasts"
    assert _incidents(product) == [("ledger_busy", "closed"), ("tick_failed", "open"), ("tick_failed", "open")]


def test_a_store_that_a_prompt_cannot_read_is_told_until_it_can(product: Product) -> None:
    trouble = DataError("the calendar cannot be read")
    with mock.patch("tradeagent.turns.inputs._upcoming", side_effect=[trouble, trouble, (), ()]):
        run_with(Scripted(), product, *RUN, "2")
        assert _incidents(product) == [("provider_failed", "open")]
        run_with(Scripted(), product, *RUN, "1")
    assert _incidents(product) == [("provider_failed", "open")], "a new run knows nothing of what an earlier one has told"
    with mock.patch("tradeagent.turns.inputs._upcoming", side_effect=[trouble, ()]):
        run_with(Scripted(), product, *RUN, "2")
    assert _incidents(product) == [("provider_failed", "closed")] * 2


def test_each_turn_begins_and_ends_in_the_feed_inside_its_tick(product: Product) -> None:
    run_with(Scripted(), product, *RUN, "2")
    rows = _events(product, "tick.started", "turn.started", "turn.finished", "tick.finished", "tick.blocked")
    one = ["tick.started", "turn.started", "turn.finished", "tick.finished"]
    assert [kind for kind, _ in rows] == one * 2
    assert rows[1][1] == {"kind": "tick", "tick": 1} and rows[2][1] == {"kind": "tick", "tick": 1, "reason": "stop"}
    points = [data["equity"] for _, data in _events(product, "equity")]
    assert len(points) == 2 and points[-1] == product.ask("wallet", "show", "btc_momentum")["equity"]


def test_a_blocked_tick_asks_nobody_and_has_no_turn(product: Product) -> None:
    with mock.patch("tradeagent.turns.tick.build_prompt", side_effect=ZeroDivisionError("a bug")):
        run_with(Scripted(), product, *RUN, "7")
    assert [data["state"] for _, data in _events(product, "deployment.state")][-2:] == ["paused", "completed"]
    asked = [data["tick"] for _, data in _events(product, "turn.started")]
    assert asked == [1, 2, 3, 4, 5], "ticks 6 and 7 are paused"


class Failing(Scripted):
    """A model whose provider breaks off."""

    async def stream(self, messages: Any, tools: Any, *, max_tokens: int) -> Any:
        yield ModelDelta(text="I ")
        raise ModelError("the provider said no")


def test_a_model_that_fails_a_chat_is_an_incident_too(product: Product) -> None:
    run_with(Scripted(), product, *RUN, "1")
    with mock.patch("tradeagent.runtime.assembly.open_model", lambda *_: Failing()):
        product.here("chat", "--agent", "btc_momentum", "hello")
    assert ("model_failed", "open") in _incidents(product)
