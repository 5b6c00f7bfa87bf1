"""Recorded ticks as experiments (agents.md §8): the prompts of a session to another model, and what both would have come to."""

import logging
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from tradeagent.agents.folder import agent_of_payload, load_agent, read_texts
from tradeagent.agents.sessions import Session, list_sessions
from tradeagent.agents.snapshots import SnapshotRecord, list_snapshots, parse_snapshot
from tradeagent.domain.clock import iso
from tradeagent.domain.errors import DataError, InvalidInput, NotFound
from tradeagent.domain.money import plain
from tradeagent.execution.opening import costs_of, instruments_of
from tradeagent.ledger import notes, runs
from tradeagent.llm.cache import MIB, AnswerStore, CacheMode
from tradeagent.llm.contract import Model
from tradeagent.llm.gateway import open_model
from tradeagent.llm.settings import model_settings
from tradeagent.llm.usage import Budget, Usage, by_model
from tradeagent.market.warehouse import Warehouse
from tradeagent.runtime.assembly import turn_limits
from tradeagent.runtime.place import Place
from tradeagent.runtime.sources import feed_for
from tradeagent.tools.known import known_to_agents
from tradeagent.turns.choices import Choice, Costs, Worth, worth_of
from tradeagent.turns.record import TickRecord
from tradeagent.turns.replay import Replayed, World, replay_tick, ticks_of
from tradeagent.workspace.files import read_text

CAVEATS = (
    "each tick is asked alone: its prompt shows the account as the recorded run had it, whatever the model chose before",
    "hypothetical PnL is arithmetic on stored bars with fees and slippage: one position a market, no rule of the door, no funding",
    "agreement counts direction and market, not size or price",
)
FEW = 30


@dataclass(frozen=True, slots=True)
class Recording:
    """A session's recorded ticks and the world they are asked again in. `unrecorded` ticks were blocked, or their record is pruned."""

    session: Session
    version: int | None
    model: str
    records: tuple[SnapshotRecord, ...]
    unrecorded: int
    world: World
    budget_usd: Decimal | None


def recording_of(place: Place, slug: str, number: int | None, tick: int | None) -> Recording:
    """The ticks of a session, the newest one when `number` is None; NotFound says what there is."""
    folder = place.workspace.agent_dir(slug)
    known = known_to_agents(place.config)
    found = list_sessions(folder)
    session = next((one for one in reversed(found) if number in (None, one.number)), None)
    if session is None:
        read_texts(folder)
        what = "no session" if number is None else f"no session {number}"
        raise NotFound(f"{what} of {slug}", hint=f"there are {len(found)}; `tradeagent run {slug} --mode loop` makes one")
    with place.ledger.reading() as tx:
        row = runs.find_deployment(tx, session.agent_id)
        stored = runs.ticks_of(tx, session.agent_id, with_record=True)
        versions = notes.versions(tx, slug, with_payload=True)
    ledgered = [TickRecord.from_bytes(entry["record"]).snapshot for entry in stored if entry["record"] is not None]
    kept = {record.number: record for record in ledgered if record is not None}
    kept |= {number: parse_snapshot(read_text(path), path) for number, path in list_snapshots(session.folder) if number not in kept}
    if tick is not None and tick not in kept:
        recorded = f"recorded are {min(kept)} to {max(kept)}" if kept else "none is recorded"
        raise NotFound(f"no record of tick {tick} in session {session.number}", hint=f"{recorded}; a blocked tick asks no model")
    if not kept:
        raise NotFound(
            f"session {session.number} of {slug} has no recorded tick", hint="every tick of it was blocked, or the records are gone"
        )
    pinned = next((entry for entry in versions if row is not None and entry["version"] == row.version), None)
    agent = load_agent(folder, known) if pinned is None else agent_of_payload(folder, pinned["payload"], known)
    feed = feed_for(
        Warehouse(place.workspace.warehouse_dir), agent, row.source.get("replay") if row else None, instruments_of(place.config)
    )
    return Recording(
        session,
        pinned["version"] if pinned else None,
        row.model if row else agent.definition.model,
        tuple(kept[one] for one in sorted(kept) if tick in (None, one)),
        max(0, len(stored) - len(kept)),
        World(agent, feed, place.ledger, turn_limits(agent, place.config)),
        agent.definition.budget.max_cost_per_day_usd,
    )


def cache_mode(text: str) -> CacheMode:
    """`--cache`; InvalidInput lists the modes."""
    try:
        return CacheMode(text)
    except ValueError:
        raise InvalidInput(f"--cache: {text!r} is not a mode", hint=f"one of {', '.join(CacheMode)}") from None


def replay_model(place: Place, model_id: str, mode: CacheMode) -> Model:
    """The model to ask, its answers kept as `mode` says: `read_write` makes a second replay free and equal."""
    settings = model_settings(place.config, os.environ)
    if mode is not CacheMode.OFF:
        most = place.config.whole("model_cache.max_mb") * MIB
        store = AnswerStore(place.workspace.model_cache_file, most, logging.getLogger(__name__).warning)
        settings = replace(settings, answers=store, cache_mode=mode)
    return open_model(model_id, settings)


async def replayed(place: Place, recording: Recording, model: Model, cap_usd: Decimal | None) -> AsyncIterator[Replayed]:
    """Ask tick by tick; what it used is in the ledger under `SLUG:replay`, apart from what the agent's own budget counts."""
    spent: list[Usage] = []
    budget = Budget(cap_usd, lambda: sum((usage.cost_usd or Decimal(0) for usage in spent), Decimal(0)), spent.append)
    slug = f"{recording.session.slug}:replay"
    for record in recording.records:
        before = len(spent)
        one = await replay_tick(record, recording.world, model, budget)
        if len(spent) > before:
            _book(place, slug, model.id, spent[before:])
        yield one
        if one.reason == "budget":
            return


def _book(place: Place, slug: str, asked: str, spent: Sequence[Usage]) -> None:
    with place.ledger.transaction(durable=False) as tx:
        for model, (calls, used) in by_model(spent, asked).items():
            values = {"slug": slug, "deployment": None, "turn_kind": "replay", "model": model, "calls": calls}
            counted = {"tokens_in": used.tokens_in, "tokens_out": used.tokens_out, "cost_usd": used.cost_usd}
            notes.add_usage(tx, {"time_ms": place.clock.now_ms(), **values, **counted})


def tick_dict(one: Replayed) -> dict[str, Any]:
    """One tick of `replay --json`."""
    return {
        "tick": one.record.number,
        "time": iso(one.record.at_ms),
        "then": [_choice_dict(choice) for choice in one.then],
        "now": [_choice_dict(choice) for choice in one.now],
        "same": one.is_same if one.is_answered else None,
        "outcome_then": one.record.outcome,
        "text_now": one.text,
        "reason": one.reason,
        "detail": one.detail,
        "tokens": one.usage.tokens_in + one.usage.tokens_out,
        "cost_usd": None if one.usage.cost_usd is None else plain(one.usage.cost_usd),
    }


def summary_of(place: Place, recording: Recording, model: str, found: Sequence[Replayed]) -> dict[str, Any]:
    """How a model did over the ticks it answered; `recorded` is the same arithmetic on what was chosen then."""
    answered = [one for one in found if one.is_answered]
    costs = [one.usage.cost_usd for one in found]
    same = sum(one.is_same for one in answered)
    total = None if any(cost is None for cost in costs) else sum((cost for cost in costs if cost is not None), Decimal(0))
    return {
        "model": model,
        "ticks": len(found),
        "answered": len(answered),
        "same": same,
        "agreement_pct": f"{100 * same / len(answered):.1f}" if answered else None,
        **_worth_dict(_worth(place, recording, found, then=False)),
        "tokens": sum(one.usage.tokens_in + one.usage.tokens_out for one in found),
        "cost_usd": None if total is None else plain(total),
        "recorded": {
            "model": recording.model,
            "ticks": len(recording.records),
            **_worth_dict(_worth(place, recording, found, then=True)),
            **_recorded_cost(recording),
        },
    }


def exit_code(found: Sequence[Replayed]) -> int:
    """0; when no tick was answered 5, or 3 where the cap on its cost was why."""
    if any(one.is_answered for one in found):
        return 0
    return 3 if found and found[-1].reason == "budget" else 5


def caveats_of(recording: Recording, found: Sequence[Replayed]) -> list[str]:
    """What a reader must know before believing a figure."""
    said = list(CAVEATS)
    broken = sum(not one.is_answered for one in found)
    if broken:
        said.append(f"{broken} of {len(found)} ticks were not answered and count nowhere")
    if recording.unrecorded:
        said.append(f"{recording.unrecorded} ticks of the session have no record: blocked, or pruned (snapshots.keep)")
    if len(recording.records) < FEW:
        said.append(f"{len(recording.records)} ticks are too few to prefer a model")
    if recording.version is None:
        said.append("the version that the session ran is not in the ledger: tools and limits are those of the folder now")
    return said


def _worth(place: Place, recording: Recording, found: Sequence[Replayed], *, then: bool) -> Worth | None:
    """None where the bars of the session are not stored."""
    costs = costs_of(place.config)
    end = recording.records[-1].at_ms + (recording.world.agent.definition.interval_ms or 0)
    try:
        return worth_of(ticks_of(found, then=then), recording.world.feed, end, Costs(costs.fees.taker, costs.slippage_bps / 10_000))
    except DataError:
        return None


def _worth_dict(worth: Worth | None) -> dict[str, Any]:
    keys = ("trades", "unfilled", "unpriced", "ignored")
    pnl = None if worth is None else plain(round(worth.pnl, 6))
    return {"hypothetical_pnl": pnl, **{key: None if worth is None else getattr(worth, key) for key in keys}}


def _recorded_cost(recording: Recording) -> dict[str, Any]:
    costs = [record.cost_usd for record in recording.records]
    total = None if any(cost is None for cost in costs) else sum((cost for cost in costs if cost is not None), Decimal(0))
    tokens = sum(record.tokens_in + record.tokens_out for record in recording.records)
    return {"tokens": tokens, "cost_usd": None if total is None else plain(total)}


def _choice_dict(choice: Choice) -> dict[str, Any]:
    stated = {
        key: value for key, value in choice.arguments.items() if value is not None and key not in ("reason", "market", "side", "fields")
    }
    shown = {key: plain(value) if isinstance(value, Decimal) else value for key, value in stated.items()}
    return {"tool": choice.tool, "verb": choice.verb, "market": choice.market or None, "side": choice.side or None, "arguments": shown}
