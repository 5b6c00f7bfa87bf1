"""An algo as a runner sees it: at each closed bar of its interval one decision of its state machine, carried out at the door."""

from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import Connection

from tradeagent.algos.evaluate import Evaluator
from tradeagent.algos.levels import NONE
from tradeagent.algos.spec import AlgoSpec
from tradeagent.domain.bars import interval_text
from tradeagent.domain.clock import age_text, iso
from tradeagent.domain.money import plain
from tradeagent.domain.names import Actor, EventKind, Rule, RunMode
from tradeagent.domain.order import Verdict
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.ledger import algo_runs, events, runs, trading
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.research.eventseat import Seat, seat_of
from tradeagent.research.pilot import Pilot
from tradeagent.research.run import Ints, Leg
from tradeagent.runtime.algo_launch import Launch, bars_of, instrument_of, terms_of
from tradeagent.runtime.algo_seat import bar_at, newest_row, seat_at
from tradeagent.runtime.ground import Ground
from tradeagent.runtime.schedule import NextMark
from tradeagent.turns.record import TickState

BEAT_S = 1.0
_NONE: Ints = np.zeros(0, np.int64)


@dataclass(slots=True)
class Step:
    """What one closed bar came to, in the door's verdicts and in words; the listener of the pilot while it decides."""

    number: int
    bar_ms: int
    state: TickState = TickState.DONE
    rule: Rule | None = None
    verdicts: tuple[tuple[str, str | None], ...] = ()
    said: list[str] = field(default_factory=list)

    @property
    def action(self) -> str:
        return "; ".join(self.said) or "nothing to do"

    def passed_over(self, why: str) -> None:
        self.said.append(f"no entry: {why.replace('_', ' ')}")

    def refused(self, verdict: Verdict) -> None:
        self._judged(verdict)
        said = verdict.rejection.message if verdict.rejection else verdict.message
        self.said.append(f"refused {verdict.rule.value if verdict.rule else 'by the venue'}: {said}")

    def left(self, seat: Seat, verdict: Verdict) -> None:
        self._judged(verdict)
        self.said.append(f"close {seat.symbol}")

    def tightened(self, seat: Seat, verdict: Verdict) -> None:
        self._judged(verdict)
        self.said.append(f"stop of {seat.symbol} to {(verdict.order or {}).get('trigger', '')}")

    def accepted(self, seat: Seat, verdict: Verdict, side: int, row: int, limit: int) -> None:
        self._judged(verdict)
        order = verdict.order or {}
        at = f" at {order['price']}" if limit else ""
        self.said.append(f"{'long' if side > 0 else 'short'} {order.get('size', '')} {seat.symbol}{at}")

    def sent(self) -> None:
        """The ledger is read again at the next decision."""

    def _judged(self, verdict: Verdict) -> None:
        self.verdicts = (*self.verdicts, (verdict.kind.value, verdict.rule.value if verdict.rule else None))


class AlgoMind:
    """One algo version on one market. Signals of a replay are computed once, which is what they would be bar by bar; else at each close."""

    def __init__(self, ground: Ground, row: DeploymentRow, launch: Launch, spec: AlgoSpec, engine: ExecutionEngine) -> None:
        self._ground, self._row, self._launch, self._spec, self._engine = ground, row, launch, spec, engine
        self._known = instrument_of(ground.place.config, launch.market)
        with ground.ledger.reading() as tx:
            self._earlier = algo_runs.runs_of(tx, row.slug, row.wallet)
        self._decided_ms = max(row.last_tick_ms or 0, launch.begin_ms or 0)
        self._terms = terms_of(launch, ground.place.config)
        self._seen: int | None = None
        self._fresh: Seat | None = None
        self._beaten_s = ground.clock.monotonic()
        self._is_at_stake = True

    @property
    def interval_ms(self) -> int:
        return self._launch.interval_ms

    @property
    def _is_once(self) -> bool:
        """Whether a person asked for this one decision."""
        return self._ground.pace.mode is RunMode.RUN_ONCE

    @property
    def max_ticks(self) -> int:
        return 0

    @property
    def skips_missed(self) -> bool:
        """A bar that comes late is decided on when it comes; of several at once, the newest."""
        return False

    def first_mark(self, now_ms: int) -> int:
        """Now, when a bar has closed that nobody has decided on; a run that goes on after a crash begins with that."""
        seat = self._view(now_ms)
        is_open = seat is not None and self._close_of(seat.leg, now_ms) > self._decided_ms
        return now_ms if is_open else self.marks(now_ms)(now_ms)

    def marks(self, first_ms: int) -> NextMark:
        """The closes of the bars there are, in a replay; else the instants at which bars close."""
        interval = self._launch.interval_ms
        if not self._ground.is_replay:
            return lambda after_ms: (max(after_ms, self._decided_ms) // interval + 1) * interval
        seat = self._view(first_ms)
        times = seat.leg.bars.time if seat is not None else _NONE

        def after(after_ms: int) -> int:
            row = int(np.searchsorted(times, after_ms - interval, side="right"))
            return int(times[row]) + interval if row < len(times) else max(after_ms, self._ground.feed.last_close) + 1

        return after

    def is_ready(self, mark_ms: int) -> bool:
        newest = self._ground.feed.newest_close(self._launch.market, self._ground.clock.now_ms())
        return newest is not None and newest >= mark_ms

    async def tick(self, number: int, interval_ms: int, next_ms: int | None, resolve_s: float) -> Step:
        return await self._engine.alone(lambda: self._step(number, next_ms))

    def prune(self, number: int) -> None:
        """Nothing is kept beside the rows of the ledger."""

    async def converse(self) -> bool:
        """Nobody talks with an algo."""
        return False

    def note(self, mark: str, now_ms: int, text: str, reason: str = "") -> None:
        """The event feed has it already, and an algo keeps no journal of its own."""

    def tell(self, row: DeploymentRow, last: Step | None) -> None:
        """Nobody reads more than the row."""

    def _step(self, number: int, next_ms: int | None) -> Step:
        now = self._ground.clock.now_ms()
        seat = self._view(now)
        close = self._close_of(seat.leg, now) if seat is not None else 0
        step = Step(number, max(close, self._decided_ms))
        if seat is not None and close > self._decided_ms:
            self._decide(seat, newest_row(seat.leg, now), step)
            self._decided_ms = close
        elif self._is_once:
            step.state, step.rule, step.bar_ms = TickState.BLOCKED, Rule.FRESHNESS, close or now
            bar = f"{interval_text(self._launch.interval_ms)} bar of {self._launch.market}"
            step.said.append(f"the newest {bar} closed {age_text(now - close)} ago" if close else f"no {bar} has closed")
        self._persist(step, now, next_ms)
        return step

    def _decide(self, fresh: Seat, row: int, step: Step) -> None:
        if not fresh.codes[row] and all(reaches.buy_back.kind == NONE for reaches in fresh.reaches.values()):
            return
        seat = seat_at(fresh, row, self._engine, self._row.id, self._earlier)
        pilot = Pilot(self._engine, self._row.id, self._terms, step, has_limits=True)
        pilot.decide(seat, row, bar_at(seat.leg, row))

    def _persist(self, step: Step, now: int, next_ms: int | None) -> None:
        """A row for a bar that something came of; otherwise a heartbeat, in a replay only every second while nothing is at stake.

        While something is, ledger and venue never lie more than one bar apart, so that a restart finds both at the same decision.
        """
        self._is_at_stake = self._is_at_stake or bool(step.said)
        is_quiet = not self._is_at_stake
        monotonic = self._ground.clock.monotonic()
        if is_quiet and self._ground.is_replay and monotonic - self._beaten_s < BEAT_S:
            return
        self._beaten_s = monotonic
        with self._engine.transaction() as tx:
            if step.said or not self._ground.is_replay:
                self._engine.book.point(tx, now)
            self._engine.book.flush(tx)
            if step.said:
                self._tell(tx, step, now)
            last_ms = now if self._is_once else step.bar_ms
            runs.update_deployment(tx, self._row.id, ticks=step.number, last_tick_ms=last_ms, next_tick_ms=next_ms, failures=0)
            self._engine.intents.beat(tx)
            self._is_at_stake = bool(self._engine.book.held_markets or trading.live_orders(tx, self._row.wallet))

    def _tell(self, tx: Connection, step: Step, now: int) -> None:
        rule = step.rule.value if step.rule else None
        tick = {"id": self._ground.clock.new_id(), "deployment": self._row.id, "number": step.number, "state": step.state.value}
        runs.start_tick(tx, {**tick, "rule": rule, "action": step.action, "started_ms": now, "market_ms": step.bar_ms, "ended_ms": now})
        kind = EventKind.TICK_BLOCKED if step.state is TickState.BLOCKED else EventKind.TICK_FINISHED
        data = {"tick": step.number, "state": step.state.value, "rule": rule, "message": step.action}
        data |= {"bar": iso(step.bar_ms), "equity": plain(self._engine.book.equity())}
        events.append(tx, kind, now, wallet=self._row.wallet, deployment=self._row.id, actor=Actor.ALGO, data=data)

    def _view(self, now_ms: int) -> Seat | None:
        """The algo on the bars there are now, in cash; None while there are none."""
        newest = self._ground.feed.newest_close(self._launch.market, now_ms)
        seen = 0 if self._ground.is_replay else None if newest is None else newest // self._launch.interval_ms
        if seen is None:
            return None
        if self._fresh is None or seen != self._seen:
            bars = bars_of(self._ground.place, self._launch, self._known, None if self._ground.is_replay else now_ms)
            if not len(bars):
                return None
            signals = Evaluator(bars).signals(self._spec)
            self._fresh, self._seen = seat_of(Leg(self._known, bars, self._spec, signals, _NONE, _NONE)), seen
        return self._fresh

    def _close_of(self, leg: Leg, now_ms: int) -> int:
        row = newest_row(leg, now_ms)
        return int(leg.bars.time[row]) + leg.bars.interval_ms if row >= 0 else 0
