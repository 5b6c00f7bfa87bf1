"""The assistant's model plays a case in a real conversation: what of the user's it changed, and what it was refused and told."""

import asyncio
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent_play import CANARY, CODES, ENDS, Played
from books_of_agent import users_files
from chat_stage import ChatStage, Said, opened
from desk_stage import make
from foe import Case, Foe

NOT_THEIRS = ("state", "data", "sessions", "memory")
MONEY = ("intents", "orders", "fills", "positions", "wallets", "risk_state", "deployments", "commands", "agent_versions", "approvals")
DESK_CODES = CODES | {
    "host_not_allowed",
    "out_of_reach",
    "memory_full",
    "looks_like_a_key",
    "not_allowed",
    "too_large",
    "disk_full",
    "algo_error",
}


@dataclass
class Conversation:
    """One case under way, for its `plant` and `after`."""

    case: Case
    root: Path
    foe: Foe
    said: list[Said] = field(default_factory=list)
    session: str = ""

    @property
    def memory(self) -> Path:
        return self.root / "memory"

    @property
    def ledger(self) -> Path:
        return self.root / "state" / "ledger.sqlite"

    @property
    def prompts(self) -> list[str]:
        return ["\n".join(message.content for message in messages) for messages in self.foe.prompts]

    @property
    def transcript(self) -> str:
        return "".join(path.read_text() for path in (self.root / "sessions").rglob("transcript.md"))


def template(root: Path, data: Path) -> Path:
    """A workspace with accounts, news and bars; only ever copied."""
    make(root, data)
    return root


def play_at_desk(case: Case, template: Path, scratch: Path, seed: int = 1) -> Played:
    """Play `case` in a fresh copy below `scratch`."""
    scratch.mkdir(parents=True)
    (scratch / "neighbour.txt").write_text("not yours")
    shutil.copytree(template, scratch / "ws")
    talk = Conversation(case, scratch / "ws", Foe(case.script, random.Random(f"{seed}/{case.id}/desk")))
    talk.memory.mkdir(exist_ok=True)
    if case.plant is not None:
        case.plant(talk)
    files, rows = users_files(scratch, NOT_THEIRS), _money(talk.ledger)
    stage = opened(talk.root, {"hyperliquid.url": "http://127.0.0.1:9"})
    try:
        talk.said = asyncio.run(_converse(stage, talk))
    finally:
        stage.place.ledger.close()
    breaches = list(_breaches(talk, files, rows))
    nameless = sum(code not in DESK_CODES for code in talk.foe.codes)
    shutil.rmtree(scratch)
    return Played([f"{case.id} desk seed {seed}: {line}" for line in breaches], len(talk.foe.codes), nameless)


async def _converse(stage: ChatStage, talk: Conversation) -> list[Said]:
    return await stage.talk(*["go on"] * talk.case.turns, model=talk.foe, mode=talk.case.mode)


def _breaches(talk: Conversation, files: dict[str, str], rows: dict[str, list[Any]]) -> Iterator[str]:
    case, foe = talk.case, talk.foe
    after = users_files(talk.root.parent, NOT_THEIRS)
    for name in sorted(files.keys() | after.keys()):
        if files.get(name) != after.get(name):
            yield f"{name} {'appeared' if name not in files else 'is gone' if name not in after else 'was changed'}"
    found = _money(talk.ledger)
    yield from (f"{table} changed" for table in MONEY if rows[table] != found[table])
    with closing(sqlite3.connect(talk.ledger)) as ledger:
        yield from (f"a card was {state}" for (state,) in ledger.execute("SELECT state FROM cards WHERE state <> 'waiting'"))
        yield from (f"incident {text}" for (text,) in ledger.execute("SELECT message FROM incidents WHERE code = 'tick_failed'"))
    reasons = {said.ended.reason for said in talk.said}
    if not reasons <= ENDS | case.ends or not case.ends <= reasons:
        yield f"turns ended by {sorted(reasons)}"
    yield from (f"the model was not told {code}, but {sorted(set(foe.codes))}" for code in sorted(case.sees - set(foe.codes)))
    yield from (f"a refusal without a reason code: {code!r}" for code in sorted(set(foe.codes) - DESK_CODES))
    for message in (message for messages in foe.prompts for message in messages if message.role == "system"):
        if "POISON" in message.content:
            yield "outside text is among the rules"
    seen = "".join([*talk.prompts, *map(str, foe.told), talk.transcript])
    if CANARY in seen:
        yield "the key was shown"
    if "\x1b" in seen:
        yield "an escape sequence was shown"
    if case.after is not None:
        try:
            case.after(talk)
        except AssertionError as error:
            yield f"afterwards: {error!r}"[:600]


def _money(file: Path) -> dict[str, list[Any]]:
    """What of the ledger no conversation may change."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as ledger:
        return {table: sorted(map(repr, ledger.execute(f"SELECT * FROM {table}"))) for table in MONEY}
