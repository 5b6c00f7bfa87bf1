"""Copilot: a person is asked about entries that would pass, and about nothing else; the rules run again after the yes."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from world import World, proposal

from tradeagent.domain.names import Actor, IntentKind, Rule, VerdictKind
from tradeagent.ledger import trading

NewWorld = Callable[..., World]


def copilot(world: World, answer: str, during: Callable[[], None] = lambda: None) -> list[dict[str, Any]]:
    """Make the agent's entries ask; what was asked is collected, and `during` happens while the person thinks."""
    asked: list[dict[str, Any]] = []

    async def approve(plan: dict[str, Any]) -> str:
        asked.append(plan)
        during()
        return answer

    world.engine.terms[Actor.AGENT] = replace(world.engine.terms[Actor.AGENT], approve=approve)
    return asked


async def test_an_entry_is_asked_about_and_goes_out_after_a_yes(new_world: NewWorld) -> None:
    world = new_world()
    asked = copilot(world, "")
    verdict = await world.engine.submit(proposal(size=1, stop=95), Actor.AGENT)
    assert verdict.kind is VerdictKind.EXECUTED
    assert [plan["market"] for plan in asked] == ["BTC"]
    assert world.held() == 1


async def test_a_declined_entry_is_an_approval_rejection_and_sends_nothing(new_world: NewWorld) -> None:
    world = new_world()
    copilot(world, "a person declined it")
    verdict = await world.engine.submit(proposal(size=1, stop=95), Actor.AGENT)
    assert (verdict.kind, verdict.rule) == (VerdictKind.REJECTED, Rule.APPROVAL)
    assert world.orders() == [] and world.held() == 0
    with world.ledger.reading() as tx:
        recorded = trading.intent(tx, verdict.intent_id or "")
    assert recorded is not None and recorded["rule"] == "APPROVAL"


async def test_nobody_is_asked_about_what_a_rule_refuses(new_world: NewWorld) -> None:
    world = new_world(limits={"max_single_order_quote": 50})
    asked = copilot(world, "")
    verdict = await world.engine.submit(proposal(size=1, stop=95), Actor.AGENT)
    assert verdict.rule is Rule.SINGLE_ORDER
    assert asked == []


async def test_nobody_is_asked_about_a_close(new_world: NewWorld) -> None:
    world = new_world()
    assert world.submit(size=1, stop=95).kind is VerdictKind.EXECUTED
    asked = copilot(world, "no")
    closing = proposal(side="sell", kind=IntentKind.CLOSE, reduce_only=True)
    verdict = await world.engine.submit(closing, Actor.AGENT)
    assert verdict.kind is VerdictKind.EXECUTED
    assert asked == [] and world.held() == 0


async def test_a_yes_does_not_outlive_what_changed_while_the_person_thought(new_world: NewWorld) -> None:
    world = new_world()
    terms = world.engine.terms

    def tighten() -> None:
        limits = terms[Actor.AGENT].limits
        stricter = replace(limits, values={**limits.values, "max_single_order_quote": Decimal(50)})
        terms[Actor.AGENT] = replace(terms[Actor.AGENT], limits=stricter)

    copilot(world, "", tighten)
    verdict = await world.engine.submit(proposal(size=1, stop=95), Actor.AGENT)
    assert verdict.rule is Rule.SINGLE_ORDER
    assert world.held() == 0
