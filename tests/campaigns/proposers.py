"""Campaign: fifty proposers at once on one wallet, in thousands of seeded schedules, never get more than the caps allow together.

Agent and person propose entries, resting orders, closes and cancels in both markets while the venue loses, delays and doubles what is
sent, a reconciler runs in between, people take their time to approve, and sometimes an engine that has lost its lease goes on proposing.
What is held, resting and reserved is added up from the ledger's file at every admission of an entry. A close may leave more resting on one
side than a cap allows (it is never refused), so the end of a schedule is added up where everybody goes the same way.
"""

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from arena import Arena, Save, scratch
from books import LIVE, audit
from figures import Figures
from nemesis import Fault, Nemesis, seeded
from world import AGENT, FREE, proposal

from tradeagent.domain.errors import TradeAgentError, VenueError
from tradeagent.domain.names import Actor, IntentKind, Rule, VerdictKind
from tradeagent.domain.order import Proposal
from tradeagent.execution.protection import cancel_order
from tradeagent.execution.recover import recover

FULL_SIZE = 2_000
PROPOSERS = 50
EQUITY = Decimal(10_000)  # free of costs and with marks that stand still, it stays what it was
MARKS = {"BTC": Decimal(100), "ETH": Decimal(50)}
SINGLE, DEPLOYMENT, MARKET_PCT, TOTAL_PCT, TRADES = 500, 1800, 20, 32, 9
LIMITS: dict[str, Any] = {
    "max_single_order_quote": SINGLE,
    "max_position_size_quote": DEPLOYMENT,
    "max_position_pct": MARKET_PCT,
    "max_total_exposure_pct": TOTAL_PCT,
    "max_daily_trades": TRADES,
}
CHANCES = {
    Fault.LOST: 0.05,
    Fault.UNANSWERED: 0.05,
    Fault.LATE: 0.08,
    Fault.TWICE: 0.05,
    Fault.BUSY: 0.02,
    Fault.GARBAGE: 0.02,
    Fault.STALE: 0.05,
}
D = Decimal


@dataclass(frozen=True)
class Schedule:
    """What is special about one schedule."""

    has_faults: bool
    asks: bool
    has_stale_engine: bool
    in_threads: bool
    goes_one_way: bool

    @classmethod
    def draw(cls, chance: random.Random) -> "Schedule":
        return cls(*(chance.random() < share for share in (0.6, 0.25, 0.15, 0.1, 0.5)))


def run(seed: int = 1, size: int = FULL_SIZE, proposers: int = PROPOSERS) -> Figures:
    """`size` schedules of `proposers` each."""
    figures = Figures("proposers", seed)
    figures.counts |= {"schedules": 0, "proposals": 0, "admitted": 0, "unknown": 0, "capped": 0, "over cap": 0}
    with scratch() as folder:
        settings = {"limits": LIMITS, "manual": LIMITS, "fees": FREE, "slippage_bps": D(0)}
        save = Arena(Path(folder) / "0", **settings).save()
        arena = Arena(Path(folder) / "arena", save=save, **settings)
        for number in range(size):
            found = asyncio.run(played(arena, save, random.Random(f"{seed}/{number}"), proposers, figures))
            figures.count("schedules")
            figures.count("over cap", len(found))
            figures.violations += [f"seed {seed} schedule {number}: {line}" for line in found]
        arena.done()
    return figures


async def played(arena: Arena, save: Save, chance: random.Random, proposers: int, figures: Figures) -> list[str]:
    """One schedule: everybody at once, then calm, two reconciliations, and the venue's own word."""
    schedule = Schedule.draw(chance)
    arena.rewind(save)
    stale = None
    if schedule.has_stale_engine:
        stale, paper = arena.engine, arena.paper
        arena._open()
        recover(arena.engine)
        arena._start()
    nemesis = Nemesis(arena.paper, choose=seeded(CHANCES if schedule.has_faults else {}, chance), chance=chance)
    arena.engine.broker, arena.engine.ledger = nemesis, arena.ledger
    arena.engine._in_thread = schedule.in_threads
    if schedule.asks:
        terms = arena.engine.terms[Actor.AGENT]
        arena.engine.terms[Actor.AGENT] = replace(terms, approve=lambda _: _slow_yes(chance))
    found: list[str] = []
    crowd = [Proposer(arena, stale, random.Random(chance.random()), schedule, found, figures) for _ in range(proposers)]
    await asyncio.gather(*(proposer.propose() for proposer in crowd))
    nemesis.calm()
    for _ in range(2):
        arena.clock.advance_to(arena.now + 60_000)
        recover(arena.engine)
    found += over_caps(arena.root) if schedule.goes_one_way else []
    found += [line for line in audit(arena.root) if not line.startswith("left: open intent")]
    if stale is not None:
        paper.close()
    return list(dict.fromkeys(found))


async def _slow_yes(chance: random.Random) -> str:
    """A person who takes a while, and sometimes says no."""
    for _ in range(chance.randint(0, 6)):
        await asyncio.sleep(0)
    return "not now" if chance.random() < 0.1 else ""


@dataclass(frozen=True)
class Proposer:
    """Waits its turns, then proposes, cancels or reconciles, once or twice."""

    arena: Arena
    stale: Any
    chance: random.Random
    schedule: Schedule
    found: list[str]
    figures: Figures

    async def propose(self) -> None:
        for _ in range(self.chance.randint(1, 2)):
            for _ in range(self.chance.randint(0, 8)):
                await asyncio.sleep(0)
            self.figures.count("proposals")
            try:
                await self._act()
            except VenueError:
                continue
            except TradeAgentError as error:
                self.found.append(f"{type(error).__name__}: {error.message}")

    async def _act(self) -> None:
        engine, what = self.arena.engine, self.chance.random()
        if what < 0.04:
            await engine.alone(lambda: recover(engine))
            return
        if what < 0.08:
            await engine.alone(self._cancel_one)
            return
        if self.stale is not None and self.chance.random() < 0.3:
            engine = self.stale
        wanted, actor = self._drawn()
        verdict = await engine.submit(wanted, actor)
        if engine is self.stale and (verdict.kind is not VerdictKind.REJECTED or verdict.rule not in (Rule.LEASE, Rule.SHAPE)):
            self.found.append(f"an engine without the lease was told {verdict.kind} {verdict.rule}")
        self.figures.count("admitted", verdict.kind is VerdictKind.EXECUTED)
        self.figures.count("unknown", verdict.kind is VerdictKind.UNKNOWN)
        self.figures.count("capped", verdict.rule in (Rule.SINGLE_ORDER, Rule.POSITION_CAP, Rule.EXPOSURE_CAP, Rule.DAILY_TRADES))
        is_alone = self.schedule.goes_one_way or not self.schedule.in_threads  # nobody came between the admission and this line
        if is_alone and verdict.kind is not VerdictKind.REJECTED and is_entry(self.arena.root, verdict.intent_id):
            self.found.extend(over_caps(self.arena.root, wanted.controller_id))

    def _cancel_one(self) -> None:
        live = self.arena.orders()
        if live:
            cancel_order(self.arena.engine, self.chance.choice(live).cloid, Actor.MANUAL)

    def _drawn(self) -> tuple[Proposal, Actor]:
        """A proposal around the caps, in every way of stating a size."""
        chance, one_way = self.chance, self.schedule.goes_one_way
        actor, market = chance.choice([Actor.AGENT, Actor.MANUAL]), chance.choice(list(MARKS))
        side = "buy" if one_way else chance.choice(["buy", "buy", "sell"])
        more: dict[str, Any] = {}
        if not one_way and chance.random() < 0.15:
            return proposal(side, market, actor, kind=IntentKind.CLOSE, reduce_only=True), actor
        if chance.random() < 0.3:
            away = D(chance.randint(1, 40)).scaleb(-3) * (1 if side == "buy" else -1)
            more |= {"type": "limit", "price": (MARKS[market] * (1 - away)).quantize(D("0.01"))}
        quote = D(chance.choice([chance.randint(50, 700), chance.randint(400, 520)]))
        how = chance.random()
        if how < 0.6:
            more["size"] = (quote / MARKS[market]).quantize(D("0.001"))
        elif how < 0.8:
            more["quote"] = quote
        else:
            more["pct_of_equity"] = (quote / 100).quantize(D("0.1"))
        return proposal(side, market, actor, **more), actor


# --- the sums, without the product's code -------------------------------------------------------------------------------------


def is_entry(root: Path, intent: str | None) -> bool:
    with closing(sqlite3.connect(root / "ledger.db")) as ledger:
        row = ledger.execute("SELECT kind FROM intents WHERE id = ?", (intent,)).fetchone()
    return row is not None and row[0] in ("open", "increase")


def over_caps(root: Path, *controllers: str) -> list[str]:
    """Every cap that what is held, resting and reserved exceeds together, from one snapshot of the ledger's file.

    The cap of each of `controllers` (all by default): one whose close has left too much resting is not the others' concern.
    """
    with closing(sqlite3.connect(root / "ledger.db")) as ledger:
        ledger.row_factory = sqlite3.Row
        ledger.execute("BEGIN")
        return [*_exposures(ledger, controllers or (AGENT, "manual")), *_orders_and_trades(ledger)]


def _exposures(ledger: sqlite3.Connection, controllers: Sequence[str]) -> Iterator[str]:
    total = D(0)
    for market in MARKS:
        worst = _worst(ledger, market, None)
        total += worst
        if worst > EQUITY * MARKET_PCT / 100:
            yield f"{market} could reach {worst}, max_position_pct allows {EQUITY * MARKET_PCT / 100}"
    if total > EQUITY * TOTAL_PCT / 100:
        yield f"the wallet could reach {total}, max_total_exposure_pct allows {EQUITY * TOTAL_PCT / 100}"
    for controller in controllers:
        own = sum((_worst(ledger, market, controller) for market in MARKS), D(0))
        if own > DEPLOYMENT:
            yield f"{controller} could hold {own}, max_position_size_quote allows {DEPLOYMENT}"


def _worst(ledger: sqlite3.Connection, market: str, controller: str | None) -> Decimal:
    """max(|q + buys|, |q − sells|) at the highest price concerned, of one controller or of the wallet.

    What has filled is in the position, whatever its order or reservation still says.
    """
    held = ledger.execute("SELECT size FROM positions WHERE market = ? AND controller_id = ?", (market, controller or "")).fetchone()
    size = D(held["size"]) if held else D(0)
    sums, price = {"buy": D(0), "sell": D(0)}, MARKS[market]
    filled: dict[str, Decimal] = {}
    for row in ledger.execute("SELECT cloid, size FROM fills WHERE market = ?", (market,)):
        filled[row["cloid"]] = filled.get(row["cloid"], D(0)) + D(row["size"])
    rows = ledger.execute("SELECT * FROM orders WHERE market = ? AND leg = 'entry'", (market,)).fetchall()
    for row in rows:
        left = D(row["size"]) - filled.get(row["cloid"], D(0))
        if row["state"] in LIVE and left and controller in (None, row["controller_id"]):
            sums[row["side"]] += left
            price = max(price, D(row["price"] or 0))
    with_orders = {row["intent_id"] for row in rows}
    for row in ledger.execute("SELECT * FROM reservations WHERE market = ? AND active", (market,)):
        if row["intent_id"] not in with_orders and controller in (None, row["controller_id"]):
            sums[row["side"]] += D(row["size"])
            price = max(price, D(row["price"]))
    return max(abs(size + sums["buy"]), abs(size - sums["sell"])) * price


def _orders_and_trades(ledger: sqlite3.Connection) -> Iterator[str]:
    for row in ledger.execute("SELECT * FROM orders WHERE leg = 'entry' AND state NOT IN ('rejected', 'cancelled')"):
        planned = D(row["size"]) * (D(row["price"]) if row["price"] else MARKS[row["market"]])
        if planned > SINGLE:
            yield f"an order of {planned}, max_single_order_quote allows {SINGLE}"
    entries = Counter(
        row[0] for row in ledger.execute("SELECT actor FROM intents WHERE kind IN ('open', 'increase') AND state = 'executed'")
    )
    yield from (f"{count} entries of {actor}, max_daily_trades allows {TRADES}" for actor, count in entries.items() if count > TRADES)
