"""Copilot: a person is asked about entries that would pass, and about nothing else; the rules run again after the yes."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from world import World, proposal

from tradeagent.domain.names import Actor, ExecutorType, IntentKind, Rule, VerdictKind
from tradeagent.execution.executors.admission import Order, create
from tradeagent.execution.executors.specs import parse_spec
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


async def test_a_person_is_asked_about_the_opening_of_a_flip_and_a_no_leaves_the_position(new_world: NewWorld) -> None:
    world = new_world()
    assert world.submit(size=1, stop=95).kind is VerdictKind.EXECUTED
    asked = copilot(world, "no")
    verdict = await world.engine.submit(proposal("sell", size=3, stop=105), Actor.AGENT)
    assert verdict.rule is Rule.APPROVAL and world.held() == 1
    assert [plan["size"] for plan in asked] == ["2"]
    copilot(world, "")
    verdict = await world.engine.submit(proposal("sell", size=3, stop=105), Actor.AGENT)
    assert verdict.kind is VerdictKind.EXECUTED and world.held() == -2


async def test_a_flip_that_is_too_large_as_one_order_is_asked_about_too(new_world: NewWorld) -> None:
    world = new_world(limits={"max_single_order_quote": 100})
    assert world.submit(size="0.6", stop=95).kind is VerdictKind.EXECUTED
    asked = copilot(world, "no")
    verdict = await world.engine.submit(proposal("sell", size="1.5", stop=105), Actor.AGENT)
    assert verdict.rule is Rule.APPROVAL and world.held() == Decimal("0.6")
    assert [plan["size"] for plan in asked] == ["0.9"]


@pytest.mark.parametrize("kind", ["order", "executor"])
async def test_what_was_refused_when_judged_first_and_passes_later_does_not_go_out_unasked(new_world: NewWorld, kind: str) -> None:
    """The second judgement is not the first: a rule that no longer refuses must not stand for a person's yes."""
    world = new_world(limits={"max_single_order_quote": 50})
    asked = copilot(world, "")
    engine, alone = world.engine, world.engine.alone
    terms = engine.terms

    async def between(work: Callable[[], Any]) -> Any:
        done = await alone(work)
        limits = terms[Actor.AGENT].limits
        wider = replace(limits, values={**limits.values, "max_single_order_quote": Decimal(500)})
        terms[Actor.AGENT] = replace(terms[Actor.AGENT], limits=wider)
        return done

    engine.alone = between  # type: ignore[method-assign]
    if kind == "order":
        verdict = await engine.submit(proposal(size=1, stop=95), Actor.AGENT)
    else:
        spec = parse_spec(ExecutorType.ORDER, {"market": "BTC", "side": "buy", "amount": "1", "strategy": "market"})
        verdict, _ = await create(engine, Order(ExecutorType.ORDER, spec), Actor.AGENT)
    assert (verdict.rule, asked, world.held()) == (Rule.APPROVAL, [], 0)
    assert verdict.checks[-1].rule is Rule.APPROVAL and not verdict.checks[-1].ok
