"""Committing a card: what a person's keypress or `tradeagent confirm` does, and nothing else can. No tool imports this module.

Everything is looked at again, then the card is decided in one transaction, then the function runs that the commands use. A process that
dies in between leaves a card that says so; it is never done twice.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from tradeagent.assistant import cards as prepared
from tradeagent.assistant import drafts as drafting
from tradeagent.assistant.drafts import Bench
from tradeagent.assistant.outlook import Outlook, is_over, outlook
from tradeagent.domain.errors import BusyError, RefusedError, TradeAgentError
from tradeagent.domain.names import CardKind, CardState, CommandKind, Rule
from tradeagent.ledger import card_commits, cards, jobs, runs
from tradeagent.ledger.cards import CardRow
from tradeagent.runtime.place import Place
from tradeagent.tools.known import known_to_agents
from tradeagent.workspace.claims import is_held

UNDER_WAY = "under_way"
FREE_WITHIN_S, LOOK_S = 30.0, 0.05


def commit(place: Place, card_id: str, *, phrase: str | None = None, override: bool = False, shown: str | None = None) -> dict[str, Any]:
    """Do what a card says, once; the card with its result.

    `override` goes on although gates failed, and is recorded. `shown` is the hash of what the person was shown. RefusedError
    `gate_failed` when the card expired, changed, is decided or needs an override, LIVE_GATE without the typed phrase.
    """
    bench = bench_of(place)
    row = _waiting(bench, card_id)
    _require_untouched(bench, row, shown)
    found = _looked_again(bench, row)
    _require_gates(row, found, override=override)
    if found.phrase and phrase != found.phrase:
        raise RefusedError(
            f"card {row.id} reaches a real network: type the phrase it shows", hint=f'--phrase "{found.phrase}"', code=Rule.LIVE_GATE.value
        )
    overridden = found.failed_gates
    with bench.ledger.transaction() as tx:
        card_commits.commit(tx, row, bench.clock.now_ms(), said={"overridden": overridden} if overridden else None)
    return prepared.card_dict(_done(place, bench, row))


def dismiss(place: Place, card_id: str) -> dict[str, Any]:
    """Say no to a card; the card. RefusedError when it is decided already."""
    bench = bench_of(place)
    row = _waiting(bench, card_id)
    with bench.ledger.transaction() as tx:
        cards.settle(tx, row, CardState.DISMISSED, bench.clock.now_ms())
        return prepared.card_dict(cards.get(tx, row.id))


def bench_of(place: Place) -> Bench:
    """The place as cards and drafts work with it."""
    return Bench(place.workspace, place.config, place.ledger, place.clock, known_to_agents(place.config))


def is_open_ended(row: CardRow) -> bool:
    """Whether a card was committed and nobody has said what came of it: it is under way, or its process died."""
    return row.state == CardState.COMMITTED.value and (row.result is None or UNDER_WAY in row.result)


def _waiting(bench: Bench, card_id: str) -> CardRow:
    """A card that can still be decided."""
    now = bench.clock.now_ms()
    with bench.ledger.transaction() as tx:
        prepared.expire(tx, now)
        row = cards.get(tx, card_id)
    if row.state == CardState.WAITING.value:
        return row
    if is_open_ended(row):
        raise RefusedError(
            f"card {row.id} was committed, and nothing says what came of it: it is under way, or its process ended. It is not done again",
            hint="look with `tradeagent status` and `tradeagent wallet list`, then ask for a new card if it is still wanted",
            code="gate_failed",
            details=prepared.card_dict(row),
        )
    raise RefusedError(
        f"card {row.id} is {row.state} already", hint="ask for a new one", code="gate_failed", details=prepared.card_dict(row)
    )


def _void(bench: Bench, row: CardRow, why: str, said: Mapping[str, Any]) -> RefusedError:
    """Void a card; the error that says so."""
    with bench.ledger.transaction() as tx:
        cards.settle(tx, row, CardState.VOID, bench.clock.now_ms(), said={"why": why, **said})
    return RefusedError(f"card {row.id} is void: {why}", hint="ask for a new one and read it again", code="gate_failed", details=dict(said))


def _require_untouched(bench: Bench, row: CardRow, shown: str | None) -> None:
    if prepared.hash_of(row) != row.hash or shown not in (None, row.hash):
        raise _void(bench, row, "it is not the card that was made", {})


def _looked_again(bench: Bench, row: CardRow) -> Outlook:
    """What the card would do now, which must follow from the same as when it was made."""
    try:
        found = outlook(bench, CardKind(row.kind), row.action)
    except BusyError:
        raise
    except TradeAgentError as error:
        raise _void(bench, row, error.message, {"changed": []}) from error
    changed = prepared.changed_since(row, found.seen)
    if changed:
        raise _void(bench, row, f"{', '.join(changed)} changed since it was made", {"changed": changed})
    return found


def _require_gates(row: CardRow, found: Outlook, *, override: bool) -> None:
    if found.failed_gates and not override:
        raise RefusedError(
            f"card {row.id}: {len(found.failed_gates)} gate(s) failed: {', '.join(found.failed_gates)}",
            hint=f"tradeagent confirm {row.id} --override goes on all the same, and that is recorded",
            code="gate_failed",
            details={"failed_gates": found.failed_gates, "gates": [gate.as_dict() for gate in found.gates]},
        )


def _done(place: Place, bench: Bench, row: CardRow) -> CardRow:
    """Do it and say what came of it; an error of it is raised after it was written down."""
    try:
        result = _act(place, bench, row)
    except TradeAgentError as error:
        _finish(bench, row, CardState.FAILED, {**_so_far(bench, row), "error": error.as_dict()})
        raise
    return _finish(bench, row, CardState.COMMITTED, result)


def _finish(bench: Bench, row: CardRow, state: CardState, result: Mapping[str, Any]) -> CardRow:
    with bench.ledger.transaction() as tx:
        cards.finish(tx, row, state, result, bench.clock.now_ms())
        return cards.get(tx, row.id)


def _so_far(bench: Bench, row: CardRow) -> dict[str, Any]:
    with bench.ledger.reading() as tx:
        return cards.get(tx, row.id).result or {}


def _act(place: Place, bench: Bench, row: CardRow) -> dict[str, Any]:
    action = row.action
    if row.kind == CardKind.DEPLOY.value:
        return _deploy(place, action)
    if row.kind == CardKind.STOP.value:
        return _stop(place, action["deployment"], unwind=action["unwind"])
    if row.kind == CardKind.RESTART.value:
        return _restart(place, bench, row)
    if row.kind == CardKind.SAVE_DRAFT.value:
        return drafting.save(bench, action["draft"], revision=action["revision"]).as_dict()
    if row.kind == CardKind.REBALANCE.value:
        return _rebalance(place, bench, row)
    return _queue(place, row)


def _deploy(place: Place, action: Mapping[str, Any]) -> dict[str, Any]:
    from tradeagent.runtime.deploy import DeployRequest, deploy

    given = {key: value for key, value in action.items() if value is not None}
    return deploy(place, DeployRequest(**{**given, "params": tuple(action.get("params", ()))}))


def _stop(place: Place, deployment: str, *, unwind: bool, keep: bool = False) -> dict[str, Any]:
    from tradeagent.runtime.control import command

    return command(place, deployment, CommandKind.STOP, {"unwind": unwind, "keep": keep})


def _restart(place: Place, bench: Bench, row: CardRow) -> dict[str, Any]:
    deployment = row.action["deployment"]
    with bench.ledger.reading() as tx:
        before = runs.get_deployment(tx, deployment)
    done: dict[str, Any] = {}
    if not is_over(bench, before):
        _finish(bench, row, CardState.COMMITTED, {UNDER_WAY: "stop"})
        done = {"stopped": _stop(place, deployment, unwind=False, keep=True)}
        asyncio.run(_until_free(place, before.wallet))
    _finish(bench, row, CardState.COMMITTED, {**done, UNDER_WAY: "deploy"})
    return {**done, "deployed": _deploy(place, row.action["deploy"])}


async def _until_free(place: Place, wallet: str) -> None:
    """Wait for the process that was told to stop; the next one needs the wallet for itself."""
    deadline = place.clock.monotonic() + FREE_WITHIN_S
    while is_held(place.workspace, wallet) and place.clock.monotonic() < deadline:
        await place.clock.sleep(LOOK_S)


def _rebalance(place: Place, bench: Bench, row: CardRow) -> dict[str, Any]:
    """One transfer after the other; the card always says which are done and which one is under way."""
    from tradeagent.runtime.wallets import transfer_cash

    done: list[dict[str, Any]] = []
    for move in row.action["transfers"]:
        _finish(bench, row, CardState.COMMITTED, {"done": done, UNDER_WAY: move})
        transfer_cash(place.workspace, place.config, place.ledger, place.clock, (move["from"], move["to"]), move["amount_usdc"])
        done.append(move)
    return {"done": done}


def _queue(place: Place, row: CardRow) -> dict[str, Any]:
    """A job with the id of its card, so that it is queued once."""
    from tradeagent.runtime.jobs import start_waiting

    with place.ledger.transaction() as tx:
        jobs.add(tx, row.id, "backtest", row.session, {"argv": list(row.action["argv"])}, place.clock.now_ms())
    start_waiting(place)
    return {"job": row.id}
