"""Confirm cards: an action with its consequences in numbers, put before the person. Nothing here can commit one.

A card is content-addressed: its hash covers the action, everything shown, and the fingerprint of all that was looked at.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from tradeagent.assistant import drafts as drafting
from tradeagent.assistant.drafts import Bench
from tradeagent.assistant.outlook import algo_limits, fingerprint, is_over, outlook, require_idle
from tradeagent.assistant.rebalance import Funds, transfers
from tradeagent.domain.bars import interval_text
from tradeagent.domain.clock import iso
from tradeagent.domain.errors import InvalidInput, RefusedError
from tradeagent.domain.money import plain
from tradeagent.domain.names import Actor, CardKind, CardState
from tradeagent.execution.exposure import free_margin
from tradeagent.execution.reading import read_state
from tradeagent.ledger import cards, runs, wallets
from tradeagent.ledger import drafts as draft_rows
from tradeagent.ledger.cards import CardRow

LIFE_MS = 10 * 60_000
MOST_WAITING = 20


def prepare(bench: Bench, kind: CardKind, action: Mapping[str, Any], session: str | None) -> CardRow:
    """Store a card for an action that one of the functions below has made. It takes the place of one about the same that still waits."""
    found = outlook(bench, kind, action)
    consequences = found.consequences | ({"type_to_confirm": found.phrase} if found.phrase else {})
    if found.gates:
        consequences["failed_gates"] = found.failed_gates
    now = bench.clock.now_ms()
    blank = CardRow(
        id=bench.clock.new_id(),
        session=session,
        kind=kind.value,
        target=found.target,
        action=dict(action),
        consequences=consequences,
        seen=seen_text(found.seen),
        hash="",
        state=CardState.WAITING.value,
        created_ms=now,
        expires_ms=now + LIFE_MS,
    )
    row = replace(blank, hash=hash_of(blank))
    with bench.ledger.transaction() as tx:
        expire(tx, now)
        for other in cards.listed(tx, state=CardState.WAITING):
            if (other.kind, other.target, other.session) == (row.kind, row.target, row.session):
                cards.settle(tx, other, CardState.VOID, now, actor=Actor.SYSTEM, said={"why": f"card {row.id} took its place"})
        if len(cards.listed(tx, state=CardState.WAITING)) >= MOST_WAITING:
            raise RefusedError(f"{MOST_WAITING} cards wait for the user already", hint="the user decides them: tradeagent confirm --list")
        cards.add(tx, row)
    return row


def expire(tx: Connection, now_ms: int) -> None:
    """Say of the cards whose time is over that it is."""
    for row in cards.listed(tx, state=CardState.WAITING, limit=10 * MOST_WAITING):
        if now_ms >= row.expires_ms:
            cards.settle(tx, row, CardState.EXPIRED, now_ms, actor=Actor.SYSTEM)


def hash_of(row: CardRow) -> str:
    """What a card must hash to while nobody has touched it."""
    return fingerprint([row.id, row.session, row.kind, row.target, row.action, row.consequences, row.seen, row.created_ms, row.expires_ms])


def seen_text(seen: Mapping[str, str]) -> str:
    """The fingerprints of what was looked at, as a card keeps them."""
    return json.dumps(seen, sort_keys=True, separators=(",", ":"))


def changed_since(row: CardRow, seen: Mapping[str, str]) -> list[str]:
    """Names of what is not as it was when the card was made."""
    before = json.loads(row.seen)
    return sorted(name for name in {*before, *seen} if before.get(name) != seen.get(name))


def card_dict(row: CardRow) -> dict[str, Any]:
    """A card as tools and commands show it."""
    return {
        "card": row.id,
        "kind": row.kind,
        "target": row.target,
        "state": row.state,
        "action": row.action,
        "consequences": row.consequences,
        "hash": row.hash,
        "created": iso(row.created_ms),
        "expires": iso(row.expires_ms),
        "decided": iso(row.decided_ms),
        "result": row.result,
    }


def deploy_algo(
    bench: Bench, algo: str, wallet: str, place: tuple[str, str, str], params: Mapping[str, Any], leverage: int | None
) -> dict[str, Any]:
    """The action that puts an algo on a wallet: the version that is newest now, on the market and interval it will really have.

    `place` is the venue of its bars, market and interval; empty texts are the algo's own.
    """
    from tradeagent.algos.store import find, kind_of

    stored = find(bench.ledger, algo)
    if kind_of(stored) == "file":
        raise InvalidInput(f"algo: {algo} is a file, and only saved versions are deployed", hint="create_algorithm saves one")
    venue, market, interval = place
    on, every = market or stored.spec.market, interval or (interval_text(stored.spec.interval_ms) if stored.spec.interval_ms else "")
    for name, value, example in (("market", on, "BTC"), ("interval", every, "1h")):
        if not value:
            raise InvalidInput(f"{name} is missing, and {stored.name} names none", hint=f"give {name}, like {example}")
    require_idle(bench, wallet)
    return {
        "kind": "algo",
        "name": stored.name if stored.version is None else f"{stored.name}@{stored.version}",
        "wallet": wallet,
        "venue": venue,
        "market": on,
        "interval": every,
        "params": [f"{name}={value}" for name, value in params.items()],
        "leverage": leverage,
    }


def deploy_agent(bench: Bench, slug: str, wallet: str) -> dict[str, Any]:
    """The action that puts an agent, as its folder is now, on a wallet."""
    require_idle(bench, wallet)
    return {"kind": "agent", "name": slug, "wallet": wallet}


def stop(deployment: str, *, unwind: bool) -> dict[str, Any]:
    """The action that ends a run, with its positions kept or closed."""
    return {"deployment": deployment, "unwind": unwind}


def restart(bench: Bench, deployment: str) -> dict[str, Any]:
    """The action that ends a run if it runs, and deploys the same again: an algo's version, an agent as its folder is now."""
    with bench.ledger.reading() as tx:
        row = runs.get_deployment(tx, deployment)
        wallet = wallets.get(tx, row.wallet)
    if is_over(bench, row):
        require_idle(bench, row.wallet)
    if row.source.get("replay"):
        raise InvalidInput(f"deployment {row.id} is a replay, which has an end", hint="`tradeagent run` or `deploy` starts another")
    if row.kind == "agent":
        return {"deployment": row.id, "deploy": {"kind": "agent", "name": row.slug, "wallet": row.wallet}}
    source = row.source
    again = {
        "kind": "algo",
        "name": source["algo"],
        "wallet": row.wallet,
        "venue": source["venue"],
        "market": source["market"],
        "interval": interval_text(source["interval_ms"]),
        "params": [f"{name}={value}" for name, value in source["params"].items()],
        "leverage": source["leverage"],
    }
    if row.limits["values"] != algo_limits(bench, wallet).as_dict():
        raise RefusedError(
            f"deployment {row.id} has limits of its own, and a restart would not have them",
            hint="the user stops it, then `tradeagent deploy algo … --limits FILE`",
            code="gate_failed",
        )
    return {"deployment": row.id, "deploy": again}


def save_draft(bench: Bench, reference: str | None, session: str | None) -> dict[str, Any]:
    """The action that saves a draft of a conversation; without a reference the one changed last."""
    with bench.ledger.reading() as tx:
        if reference is not None:
            row = draft_rows.get(tx, reference)
        else:
            last = [each for kind in (drafting.AGENT, drafting.ALGO) if (each := draft_rows.newest(tx, session, kind)) is not None]
            if not last:
                raise InvalidInput("there is no draft in this conversation", hint="set_basics begins one")
            row = max(last, key=lambda each: (each.updated_ms, each.id))
    return {"draft": row.id, "revision": row.revision}


def rebalance(bench: Bench, names: Sequence[str], weights: Mapping[str, Decimal] | None) -> dict[str, Any]:
    """The action that moves paper money between these wallets towards their shares. InvalidInput when there is nothing to move."""
    funds = []
    for name in names:
        with bench.ledger.reading() as tx:
            wallet = wallets.get(tx, name)
            state = read_state(tx, bench.config, wallet, bench.clock)
        if wallet.venue != "paper":
            raise InvalidInput(f"wallet {name} is on {wallet.venue}, not on paper", hint=f"move it at {wallet.venue} itself")
        require_idle(bench, name)
        funds.append(Funds(name, state.equity, max(Decimal(0), free_margin(state))))
    moves = transfers(funds, weights)
    if not moves:
        raise InvalidInput("there is nothing to move: every wallet has its share, or too little is free", hint="give other weights")
    return {"transfers": [{"from": move.source, "to": move.target, "amount_usdc": plain(move.amount)} for move in moves]}
