"""Campaign: at every boundary of broker and ledger the process is killed or the venue fails, then it starts again or reconciles.

A scenario is a list of steps; each is played from a save of the world before it, once to find its boundaries and once for every boundary
and everything that may happen there. Whoever dies is a process of its own that ends by SIGKILL; the next one opens the files it left.
After at most two reconciliations a minute apart the ledger must say what the venue says, no order may exist twice and no fill may be
missing; then, at every third point, the wallet must still be able to go on and to go flat.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from arena import Arena, Blow, Save, blows_at, scratch
from books import audit
from figures import Figures
from nemesis import Fault
from world import AGENT, proposal

from tradeagent.domain.errors import TradeAgentError
from tradeagent.domain.names import Actor, ExitReason, IntentKind
from tradeagent.execution.halts import flatten
from tradeagent.execution.protection import cancel_order, move_protection
from tradeagent.execution.recover import recover

FULL_SIZE = 10_000
MINUTE_S = 60
D = Decimal
Step = Callable[[Arena], object]
DIES = Blow("dies once it has arrived", Fault.UNANSWERED, dies=True)
UNANSWERED = Blow("answer lost", Fault.UNANSWERED)


# --- what may be done ---------------------------------------------------------------------------------------------------------


def enter(side: str, market: str, size: str, actor: Actor = Actor.AGENT, *, away: str | None = None, protected: bool = True) -> Step:
    """An entry at the market, or resting `away` (a fraction) from it."""

    def step(arena: Arena) -> object:
        sign = 1 if side == "buy" else -1
        at = _tick(arena.price(market) * (1 - sign * D(away or 0)))
        more: dict[str, Any] = {"type": "limit", "price": at} if away else {}
        if protected:
            more |= {"stop": _tick(at * (1 - sign * D("0.04"))), "target": _tick(at * (1 + sign * D("0.08")))}
        return arena.submit(side, market, actor, size=size, **more)

    return step


def bar(btc: str, eth: str = "0") -> Step:
    """The next bar moves straight by these fractions."""

    def step(arena: Arena) -> object:
        shapes = {}
        for market, move in (("BTC", btc), ("ETH", eth)):
            start = D(arena.feed.bars[market][-1].open) / 1000
            end = _tick(start * (1 + D(move)))
            shapes[market] = (str(start), str(max(start, end)), str(min(start, end)), str(end))
        return arena.play(**shapes)

    return step


def protect(market: str, below: str) -> Step:
    def step(arena: Arena) -> object:
        sign = 1 if arena.held(market, AGENT) > 0 else -1
        stop = _tick(arena.price(market) * (1 - sign * D(below)))
        return move_protection(arena.engine, proposal("sell", market, kind=IntentKind.UPDATE, stop=stop), Actor.AGENT)

    return step


def reduce(market: str, size: str | None, actor: Actor = Actor.AGENT) -> Step:
    """A part, or all with None."""

    def step(arena: Arena) -> object:
        side = "sell" if arena.held(market, None if actor is Actor.MANUAL else AGENT) > 0 else "buy"
        kind = IntentKind.REDUCE if size else IntentKind.CLOSE
        return arena.submit(side, market, actor, kind=kind, reduce_only=True, size=size)

    return step


def cancel(which: int) -> Step:
    def step(arena: Arena) -> object:
        live = arena.orders()
        return cancel_order(arena.engine, live[which % len(live)].cloid, Actor.MANUAL) if live else None

    return step


def flat(arena: Arena) -> object:
    return flatten(arena.engine, Actor.MANUAL, ExitReason.FLATTEN)


FIRST: tuple[Step, ...] = (
    enter("buy", "BTC", "5"),
    enter("buy", "ETH", "10", Actor.MANUAL, away="0.01", protected=False),
    bar("0.002", "-0.015"),
    protect("BTC", "0.02"),
    reduce("BTC", "2"),
    enter("sell", "ETH", "25", Actor.MANUAL, protected=False),
    enter("buy", "BTC", "3", away="0.005"),
    cancel(3),
    bar("-0.012", "0.004"),
    enter("buy", "ETH", "4"),
    enter("sell", "BTC", "9"),
    bar("-0.03"),
    reduce("ETH", None),
    flat,
)


def made_up(chance: random.Random, steps: int = 14) -> tuple[Step, ...]:
    """A scenario of random steps over the same vocabulary; it ends flat."""
    made: list[Step] = []
    for _ in range(steps - 1):
        market, side = chance.choice(["BTC", "ETH"]), chance.choice(["buy", "sell"])
        actor, size = chance.choice([Actor.AGENT, Actor.MANUAL]), str(D(chance.randint(500, 12_000)).scaleb(-3))
        away = str(D(chance.randint(2, 15)).scaleb(-3)) if chance.random() < 0.4 else None
        kinds: list[tuple[int, Step]] = [
            (5, enter(side, market, size, actor, away=away, protected=chance.random() < 0.7)),
            (3, bar(str(D(chance.randint(-30, 30)).scaleb(-3)), str(D(chance.randint(-30, 30)).scaleb(-3)))),
            (2, protect(market, str(D(chance.randint(5, 30)).scaleb(-3)))),
            (2, reduce(market, chance.choice([None, "0.4"]), actor)),
            (1, cancel(chance.randint(0, 9))),
        ]
        made.append(chance.choices([step for _, step in kinds], [weight for weight, _ in kinds])[0])
    return (*made, flat)


def _tick(price: Decimal) -> Decimal:
    return price.quantize(D("0.01"))


# --- one point ----------------------------------------------------------------------------------------------------------------


def told(call: Callable[[], object]) -> str:
    """Do something; an error of the product is its answer."""
    try:
        call()
    except TradeAgentError as error:
        return f"{type(error).__name__}: {error.message}"
    return ""


@dataclass(frozen=True)
class Strike:
    """A blow at the n-th boundary of a step, or of the recovery from what came before."""

    at: int
    blow: Blow


@dataclass(frozen=True)
class Point:
    """A step under a blow, perhaps the recovery from it under a second one, at a venue that may refuse a cloid it knows."""

    name: str
    first: Strike
    second: Strike | None = None
    refuses: bool = False

    @property
    def kills(self) -> bool:
        return self.first.blow.dies or (self.second is not None and self.second.blow.dies)


def struck(arena: Arena, save: Save, step: Step, point: Point, *, goes_on: bool = True) -> list[str]:
    """Strike, recover within two cycles, and look. Then go on and go flat."""
    if suffered(arena, save, step, point):
        arena.restart()
    else:
        told(lambda: recover(arena.engine))
    if arena.edge is not None and arena.edge.late:
        arena.clock.advance_to(arena.now + ((point.second or point.first).blow.arrives_s or 0) * 1000)
        arena.edge.arrive()
    arena.clock.advance_to(arena.now + MINUTE_S * 1000)
    phase = recover(arena.engine)
    found = [] if phase.value == "consistent" else [f"differ: the second reconciliation ends {phase.value}"]
    found += audit(arena.root)
    return found or ([f"{line} (afterwards)" for line in afterlife(arena)] if goes_on else [])


def suffered(arena: Arena, save: Save, step: Step, point: Point) -> bool:
    """Play the strikes of a point; whether no process is left. One that dies is killed, see `Arena.kill`."""
    first, second = point.first, point.second

    def life() -> None:
        arena.begin()
        under(first, arena, lambda: step(arena))
        if second is not None:
            under(second, arena, lambda: recover(arena.engine))

    arena.lay(save, refuses_repeats=point.refuses)
    if not point.kills:
        life()
        return False
    arena.kill(life)
    if second is None or not first.blow.dies:
        return True
    if not second.blow.dies:
        return bool(under(second, arena, arena.restart))  # a start that fails ends, a running process tries again
    arena.kill(lambda: under(second, arena, arena.restart))
    return True


def under(strike: Strike, arena: Arena, call: Callable[[], object]) -> str:
    """What a call said went wrong under a strike."""
    with arena.counting(strike.at, strike.blow):
        return told(call)


def afterlife(arena: Arena) -> Iterator[str]:
    """A bar, a flatten, and nothing is left."""
    arena.play()
    if trouble := told(lambda: flat(arena)):
        yield f"left: flatten says {trouble}"
    arena.play()
    yield from audit(arena.root)
    if held := [market for market in ("BTC", "ETH") if arena.held(market)]:
        yield f"left: {held} after flatten"
    if resting := arena.paper.account().open_cloids:
        yield f"left: {sorted(resting)} rest after flatten"


# --- the campaign -------------------------------------------------------------------------------------------------------------


def run(seed: int = 1, size: int = FULL_SIZE) -> Figures:
    """At least `size` points: scenarios whose steps are struck, then one whose recoveries are struck too, and so on.

    The first scenario of each kind is the written one, the others are made up.
    """
    figures = Figures("exactly_once", seed)
    chance = random.Random(seed)
    figures.counts |= {"points": 0, "killed": 0, "boundaries": 0, "scenarios": 0, "duplicates": 0, "lost": 0, "differences": 0, "left": 0}
    while figures.counts["points"] < size:
        number = figures.counts["scenarios"]
        steps = FIRST if number in (0, 2) else made_up(chance)
        points = twice if number % 3 == 2 else once
        with scratch() as folder:
            scenario(Path(folder), steps, points, figures, f"seed {seed} scenario {number}", size)
        figures.count("scenarios")
    return figures


Points = Callable[[Arena, Save, Step, list[str]], Iterator[Point]]
"""The points of a step whose boundaries are these."""


def scenario(folder: Path, steps: tuple[Step, ...], points: Points, figures: Figures, name: str, size: int) -> None:
    save = Arena(folder / "0").save()
    arena = Arena(folder / "arena", save=save)
    try:
        for number, step in enumerate(steps, 1):
            quiet = Arena(folder / f"{number}", save=save)
            with quiet.counting() as boundaries:
                step(quiet)
            after = quiet.save()
            figures.count("boundaries", len(boundaries.seen))
            for point in points(arena, save, step, boundaries.seen):
                if figures.counts["points"] >= size:
                    return
                found = struck(arena, save, step, point, goes_on=figures.counts["points"] % 3 == 0)
                figures.count("killed", point.kills)
                note(figures, f"{name} step {number} {point.name}", found)
            save = after
    finally:
        arena.done()


def once(_arena: Arena, _save: Save, _step: Step, seen: list[str]) -> Iterator[Point]:
    """Every blow at every boundary of a step; both kinds of venue where something is placed."""
    for at, boundary in enumerate(seen, 1):
        for refuses in venues(boundary):
            for blow in blows_at(boundary):
                yield Point(f"{boundary} {at}: {blow.name}{', repeats refused' * refuses}", Strike(at, blow), refuses=refuses)


def twice(arena: Arena, save: Save, step: Step, seen: list[str]) -> Iterator[Point]:
    """Where something was sent and the answer is missing: every blow at every boundary of the recovery; both kinds of venue as above."""
    for at, boundary in enumerate(seen, 1):
        if boundary not in ("place", "cancel"):
            continue
        for blow in (DIES, UNANSWERED):
            for refuses in venues(boundary):
                is_dead = suffered(arena, save, step, Point("", Strike(at, blow), refuses=refuses))
                with arena.counting() as recovery:
                    arena.restart() if is_dead else recover(arena.engine)
                for then, name in enumerate(recovery.seen, 1):
                    for second in blows_at(name):
                        word = f"{boundary} {at}: {blow.name}, then {name} {then}: {second.name}{', repeats refused' * refuses}"
                        yield Point(word, Strike(at, blow), Strike(then, second), refuses)


def venues(boundary: str) -> tuple[bool, ...]:
    """Whether the venue refuses a cloid it knows: both, where orders are placed."""
    return (False, True) if boundary == "place" else (False,)


def note(figures: Figures, word: str, found: list[str]) -> None:
    figures.count("points")
    kinds = {"duplicate": "duplicates", "lost": "lost", "differ": "differences", "left": "left"}
    for line in found:
        figures.count(kinds[line.partition(":")[0]])
        figures.violations.append(f"{word}: {line}")
