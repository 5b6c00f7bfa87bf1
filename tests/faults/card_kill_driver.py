"""Kills the commit of a card at every durable step it makes, looks at what is left, and tries to commit once more.

    python card_kill_driver.py WORKSPACE SCRATCH CARD

WORKSPACE has a card that waits: a rebalance of three wallets, or a draft to be saved. Prints one JSON document: steps and problems.
"""

import json
import os
import shutil
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from kill_driver import Steps, forked, instrument

from tradeagent.assistant.drafts import save
from tradeagent.domain.clock import SimulatedClock
from tradeagent.domain.errors import RefusedError
from tradeagent.ledger import cards, drafts, notes, wallets
from tradeagent.ledger.cards import CardRow
from tradeagent.ledger.store import open_ledger
from tradeagent.runtime.assembly import Place
from tradeagent.runtime.cards import UNDER_WAY, bench_of, commit, is_open_ended
from tradeagent.runtime.wallets import owned_door
from tradeagent.workspace.config import load_config
from tradeagent.workspace.paths import Workspace

NOW = 1_800_000_000_000
CASH = {"alpha": Decimal(1_000), "beta": Decimal(3_000), "gamma": Decimal(500)}
MOST_STEPS = 400


def place_of(root: Path) -> Place:
    workspace = Workspace(root)
    return Place(workspace, load_config(workspace.config_file, {}), open_ledger(workspace.ledger_file), SimulatedClock(NOW))


def kept(place: Place, card: str) -> CardRow:
    with place.ledger.reading() as tx:
        return cards.get(tx, card)


def again(place: Place, card: str) -> bool:
    """Whether a second commit does it."""
    try:
        commit(place, card)
    except RefusedError:
        return False
    return True


def money(place: Place) -> dict[str, Decimal]:
    """What the venue of each wallet holds, once the wallet was opened and so recovered."""
    found = {}
    for name in CASH:
        with place.ledger.reading() as tx:
            row = wallets.get(tx, name)
        with owned_door(place.workspace, place.config, place.ledger, place.clock, row) as door:
            found[name] = door.paper.free()
        with place.ledger.reading() as tx:
            if wallets.risk(tx, name).cash != found[name]:
                found[name] = Decimal("NaN")  # ledger and venue differ
    return found


def after(moves: list[dict[str, Any]]) -> dict[str, Decimal]:
    held = dict(CASH)
    for move in moves:
        held[move["from"]] -= Decimal(move["amount_usdc"])
        held[move["to"]] += Decimal(move["amount_usdc"])
    return held


def rebalance_problems(place: Place, card: str) -> list[str]:
    row, held = kept(place, card), money(place)
    if row.state == "waiting":
        found = [] if held == CASH else [f"nothing was decided, and there is {held}"]
        if not again(place, card):
            found.append("a card that still waits cannot be committed")
        return found + ([] if money(place) == after(row.action["transfers"]) else [f"after the second commit there is {money(place)}"])
    result = row.result or {}
    done, under_way = result.get("done", []), result.get(UNDER_WAY)
    allowed = [after(done)]
    if is_open_ended(row) and under_way is not None:
        taken = after(done)
        taken[under_way["from"]] -= Decimal(under_way["amount_usdc"])
        allowed += [taken, after([*done, under_way])]
    found = [] if held in allowed else [f"{row.state} with {row.result}, and there is {held}"]
    if again(place, card) or money(place) != held:
        found.append("a committed card did something again")
    return found


def draft_problems(place: Place, card: str) -> list[str]:
    row, folder = kept(place, card), place.workspace.agent_dir("btc_breakout")
    with place.ledger.reading() as tx:
        draft = drafts.get(tx, row.action["draft"])
    file = folder / "agent.md"
    there = file.read_text() if file.exists() else None
    found = [] if there in (None, draft.body["text"]) else [f"agent.md is torn: {there!r}"]
    if row.state == "waiting" and there is not None:
        found.append("a file was written before the decision")
    if again(place, card) != (row.state == "waiting"):
        found.append(f"a card that is {row.state} was committed again, or one that waits could not be")
    save(bench_of(place), draft.id)
    with place.ledger.reading() as tx:
        count = len(notes.versions(tx, "btc_breakout"))
    if file.read_text() != draft.body["text"] or count != 1:
        found.append(f"saving the draft by hand did not end it: {count} versions")
    return found


def main(ground: Path, scratch: Path, card: str) -> None:
    steps: list[str] = []
    problems: list[str] = []
    log = scratch / "log"
    for number in range(1, MOST_STEPS):
        root = scratch / f"step{number}"
        shutil.copytree(ground, root)

        def dying(root: Path = root, number: int = number) -> None:
            instrument(Steps(number, log))
            commit(place_of(root), card)

        status = forked(dying)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, f"step {number} ended with {os.WEXITSTATUS(status)}"
            break
        name = log.read_text().splitlines()[-1]
        place = place_of(root)
        kind = kept(place, card).kind
        found = rebalance_problems(place, card) if kind == "rebalance" else draft_problems(place, card)
        problems += [f"step {number} ({name}): {problem}" for problem in found]
        place.ledger.close()
        steps.append(name)
        shutil.rmtree(root)
    print(json.dumps({"steps": steps, "problems": problems}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
