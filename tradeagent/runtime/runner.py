"""The runner of one deployment: waits for the next mark, moves the market, obeys commands, ticks, and says how it ended.

Several runners share a process; each owns one wallet. Commands are obeyed while a model thinks: they never wait for a turn.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic

from tradeagent.domain.clock import SimulatedClock
from tradeagent.domain.errors import BusyError, Defect, RefusedError, TradeAgentError
from tradeagent.domain.money import plain
from tradeagent.domain.names import (
    CommandKind,
    CommandState,
    DeploymentState,
    EventKind,
    HaltReason,
    Rule,
    RunMode,
)
from tradeagent.execution.executors.desk import step_all
from tradeagent.execution.halts import note_kill
from tradeagent.execution.protection import cancel_entries
from tradeagent.execution.reconcile import reconcile
from tradeagent.ledger import events, runs
from tradeagent.runtime.checks import keep_consistent
from tradeagent.runtime.control import TOO_LATE, execute_row, failure, is_late
from tradeagent.runtime.feed_watch import FeedWatch
from tradeagent.runtime.ground import R, Runnable
from tradeagent.runtime.notifications import notifier_of
from tradeagent.runtime.schedule import NextMark
from tradeagent.runtime.stops import StopReason
from tradeagent.runtime.tally import Failures, Tally

COMMAND_POLL_S = 0.05
LOOK_EVERY_S = 1.0
PRUNE_EVERY = 50


class Runner(Generic[R]):
    """Drives one assembled run to its end. `on_tick` is told every record."""

    def __init__(self, run: Runnable[R], on_tick: Callable[[R], None] | None = None) -> None:
        self._run = run
        self._stage = run.stage
        self._mind = run.mind
        self._on_tick = on_tick
        self._stop = asyncio.Event()
        self._wake = asyncio.Event()
        self._why: StopReason | None = None
        self._defect = ""
        self._watch = FeedWatch(run.door.engine, run.playback, run.row.id)
        self.tally: Tally[R] = Tally(ticks=run.row.ticks)
        self._failures = Failures(run, self.tally)

    def interrupt(self) -> None:
        """Ctrl-C or SIGTERM: finish the tick that runs, then end."""
        self._end(StopReason.INTERRUPTED)

    async def run(self) -> StopReason:
        """Tick until something ends it."""
        self._tell()
        notifier = notifier_of(self._stage)
        if notifier is not None:
            notifier.start()
        beside = [asyncio.create_task(each) for each in (self._obey(), self._follow(), self._keep_consistent(), self._converse())]
        for task in beside:
            task.add_done_callback(self._died)
        try:
            if self._stage.pace.mode is RunMode.LOOP:
                await self._loop()
            else:
                await self._one_tick(self.tally.ticks + 1, None)
                self._end(StopReason.ONE_TICK)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            if self._defect:
                await self._failed(self.tally.ticks, self._defect)
            await self._finish()
            if notifier is not None:
                await asyncio.to_thread(notifier.stop)
        return self._why or StopReason.FAILED

    def _died(self, task: "asyncio.Task[None]") -> None:
        """What obeys commands or keeps ledger and venue together has died: a run without it is not to be trusted with an order."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._defect = f"{type(error).__name__}: {error}"
            self._end(StopReason.FAILED)

    def _end(self, why: StopReason) -> None:
        self._why = self._why or why
        self._stop.set()
        self._wake.set()

    @property
    def _is_experiment(self) -> bool:
        """Whether a person waits for this one tick."""
        return self._stage.pace.mode is not RunMode.LOOP

    async def _loop(self) -> None:
        first = self._mind.first_mark(self._stage.clock.now_ms())
        after: NextMark = self._mind.marks(first)
        asked = self._stage.pace.max_ticks
        most = asked if asked is not None else self._mind.max_ticks
        mark = first
        if most and self.tally.ticks >= most:
            self._end(StopReason.MAX_TICKS)
        while not self._stop.is_set():
            if self._is_past_the_end(mark):
                self._end(StopReason.END_OF_DATA)
                break
            await self._reach(mark)
            if self._stop.is_set():
                break
            await self._one_tick(self.tally.ticks + 1, after(mark))
            if most and self.tally.ticks >= most:
                self._end(StopReason.MAX_TICKS)
                break
            mark = await self._next(mark, after)

    async def _next(self, mark: int, after: NextMark) -> int:
        """The next mark that is still ahead; marks that a long tick overran are skipped, and said."""
        following = after(mark)
        now = self._stage.clock.now_ms()
        if self._stage.is_replay or following > now or not self._mind.skips_missed:
            return following
        skipped = after(now)
        with suppress(TradeAgentError):  # they are skipped whether or not the ledger can be told
            await self._run.door.engine.alone(lambda: self._tell_skipped(following, skipped, now))
        return skipped

    def _tell_skipped(self, following: int, skipped: int, now: int) -> None:
        data, row = {"from": following, "to": skipped}, self._run.row
        with self._stage.ledger.transaction(durable=False) as tx:
            events.append(tx, EventKind.TICK_SKIPPED, now, wallet=row.wallet, deployment=row.id, data=data)

    def _is_past_the_end(self, mark: int) -> bool:
        until = self._stage.pace.to_ms
        return (until is not None and mark > until) or (self._stage.is_replay and mark > self._stage.feed.last_close)

    async def _reach(self, mark: int) -> None:
        """Wait for a mark in the run's own time: the wall clock, or market time at the replay's speed."""
        clock, speed = self._stage.clock, self._stage.pace.speed
        if isinstance(clock, SimulatedClock):
            ahead = mark - clock.now_ms()
            if speed > 0 and ahead > 0:
                await self._wait(ahead / 1000 / float(speed))
            else:
                await asyncio.sleep(0)
            clock.advance_to(mark)
            return
        while (ahead := mark - clock.now_ms()) > 0 and not self._stop.is_set():
            await self._wait(min(ahead / 1000, LOOK_EVERY_S))
        while not self._mind.is_ready(mark) and not self._stop.is_set():
            await self._wait(LOOK_EVERY_S)
        self.tally.lateness_ms.append(max(0, clock.now_ms() - mark))

    async def _follow(self) -> None:
        """Play the bars that come, whatever the tick is doing: stops, halts and executors wait for no model."""
        while not (self._stage.is_dry or self._stage.is_replay):
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self._run.door.engine.alone(self._advance)
            except TradeAgentError:
                continue  # the next tick meets the same trouble, and records it

    async def _wait(self, seconds: float) -> None:
        """Wait in wall time, but no longer than until somebody ends the run."""
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return

    async def _one_tick(self, number: int, next_mark: int | None) -> None:
        """One tick with everything that may go wrong in it; a failed tick is recorded and the loop goes on."""
        self.tally.ticks = number
        try:
            begin = self._stage.clock.monotonic()
            await self._run.door.engine.alone(self._advance)
            record = await self._mind.tick(number, self._mind.interval_ms, next_mark, self._stage.clock.monotonic() - begin)
        except TradeAgentError as error:
            await self._failed(number, error.message, is_busy=isinstance(error, BusyError))
            if self._is_experiment:
                raise
            return
        except Exception as error:  # the boundary of a tick: a defect is an incident, and the next tick still comes
            await self._failed(number, f"{type(error).__name__}: {error}")
            if self._is_experiment:
                raise
            return
        self.tally.count(record)
        if self._failures.are_open:
            await self._run.door.engine.alone(self._failures.settle)
        if record.number % PRUNE_EVERY == 0:
            await self._run.door.engine.alone(lambda: self._mind.prune(record.number))
        if self._on_tick is not None:
            self._on_tick(record)

    def _advance(self) -> None:
        """Move the market to now, booking what it did."""
        if not self._stage.is_replay:
            self._stage.feed.refresh()
        self._run.door.refresh()
        if not self._stage.is_dry:
            self._run.playback.advance(self._stage.clock.now_ms())
            if self._run.door.engine.look_for_sleep():
                reconcile(self._run.door.engine, routine=True)
            self._watch.look(self._stage.clock.now_ms())
            step_all(self._run.door.engine)
            if self._stage.is_replay and self._run.door.engine.is_unresolved:
                reconcile(self._run.door.engine, routine=True)

    async def _failed(self, number: int, message: str, *, is_busy: bool = False) -> None:
        self.tally.failures_in_row += 1
        self.tally.error = message
        if not self._stage.is_dry:
            await self._run.door.engine.alone(lambda: self._failures.add(number, message, is_busy=is_busy))

    async def _keep_consistent(self) -> None:
        """Compare with the venue by the wall clock, whatever the tick is doing; a replay does it when an answer was lost."""
        if not (self._stage.is_dry or self._stage.is_replay):
            await keep_consistent(self._run.door.engine)

    async def _obey(self) -> None:
        """Execute commands as they come, whatever the tick is doing."""
        ledger, seen, gate = self._stage.ledger, -1, self._run.door.engine.gate
        while True:
            try:
                if gate.latched() is not None and not self._stage.is_dry:
                    await self._run.door.engine.alone(self._follow_kill)
                changed = ledger.data_version()
                if changed != seen:
                    with ledger.reading() as tx:
                        waiting = runs.queued_commands(tx, self._stage.wallet.name)
                    for row in waiting:
                        if row["state"] == CommandState.QUEUED.value:
                            await self._execute(row)
                    seen = changed
            except TradeAgentError:
                seen = -1  # the ledger was busy or its disk full; a command that nobody has taken stays where it is
            await asyncio.sleep(COMMAND_POLL_S)

    async def _converse(self) -> None:
        """Answer what people say to it, beside the ticks."""
        ledger, seen = self._stage.ledger, -1
        while not self._stage.is_dry:
            try:
                changed = ledger.data_version()
                if changed != seen and not await self._mind.converse():
                    seen = changed
            except TradeAgentError:
                seen = -1  # what waits still waits
            await asyncio.sleep(COMMAND_POLL_S)

    def _follow_kill(self) -> None:
        """A kill has closed at the venue: book it, and say so."""
        engine = self._run.door.engine
        is_new = engine.gate.latched() is Rule.HALTED and engine.book.risk.halt != HaltReason.KILL.value
        if is_new or engine.news():
            note_kill(engine)
        if is_new:
            self._mind.note("halted", self._stage.clock.now_ms(), "killed by a person", "`tradeagent kill --clear` undoes it")

    async def _execute(self, row: dict[str, Any]) -> None:
        """Acknowledge, do, answer; on the wallet's own turn, so that nothing else of this run happens in between."""
        engine, kind = self._run.door.engine, CommandKind(row["kind"])
        if not await engine.alone(lambda: self._take(row)):
            return
        try:
            result = await engine.alone(lambda: execute_row(engine, row) | self._change(kind))
        except Exception as error:  # noqa: BLE001  # the boundary of a command: whoever waits for it is told, and the next one is obeyed
            answer = failure(error if isinstance(error, TradeAgentError) else Defect(f"{type(error).__name__}: {error}"))
            await engine.alone(lambda: self._set_command(row, CommandState.FAILED, result=answer))
            return
        await engine.alone(lambda: self._answer(row, result))
        if kind is CommandKind.STOP:
            self._end(StopReason.COMMAND)

    def _take(self, row: dict[str, Any]) -> bool:
        """Take a command that waits; not an order that comes too late, nor what its asker has taken back."""
        if is_late(row, self._stage.place.clock.now_ms()):
            self._set_command(row, CommandState.FAILED, before=CommandState.QUEUED, result=TOO_LATE)
            return False
        return self._set_command(row, CommandState.ACKED, before=CommandState.QUEUED)

    def _answer(self, row: dict[str, Any], result: dict[str, Any]) -> None:
        self._set_command(row, CommandState.DONE, result=result)
        self._mind.note("command", self._stage.clock.now_ms(), f"{row['kind']} by a person", "; ".join(result.get("rebased", [])))

    def _change(self, kind: CommandKind) -> dict[str, Any]:
        """What a command changes in the run itself."""
        if kind is CommandKind.SNAPSHOT:
            return self._equity_point()
        if kind is CommandKind.STOP:
            self._begin_to_stop()
        if kind is CommandKind.RESUME:
            halt = self._run.door.engine.book.risk.halt
            if halt is not None:
                raise RefusedError(f"halted ({halt}): resume does not reopen entries", hint="clear-halt does", code=Rule.HALTED.value)
            self.tally.failures_in_row = 0
        states = {
            CommandKind.PAUSE: DeploymentState.PAUSED,
            CommandKind.RESUME: DeploymentState.RUNNING,
            CommandKind.FLATTEN: DeploymentState.PAUSED,
        }
        if kind not in states:
            return {}
        if self._state_now() is DeploymentState.STOPPING:  # it ends, whatever is said to it now
            return {"deployment_state": DeploymentState.STOPPING.value}
        self._set_state(states[kind])
        return {"deployment_state": states[kind].value}

    def _begin_to_stop(self) -> None:
        """From here on nothing is entered, and nobody starts it again, also when this process dies before it has ended."""
        if self._state_now() is not DeploymentState.HALTED:
            self._set_state(DeploymentState.STOPPING, stopped_because=StopReason.COMMAND.value)
            return
        with self._stage.ledger.transaction() as tx:
            runs.update_deployment(tx, self._run.row.id, stopped_because=StopReason.COMMAND.value)

    def _equity_point(self) -> dict[str, Any]:
        book = self._run.door.engine.book
        with self._run.door.engine.transaction() as tx:
            book.point(tx, self._stage.clock.now_ms())
            book.flush(tx)
        return {"equity": plain(book.equity()), "tick": self.tally.ticks}

    def _set_state(self, state: DeploymentState, **values: Any) -> None:
        row, now = self._run.row, self._stage.clock.now_ms()
        with self._stage.ledger.transaction() as tx:
            runs.change_state(tx, row, state, now, **values)

    def _state_now(self) -> DeploymentState:
        with self._stage.ledger.reading() as tx:
            return DeploymentState(runs.get_deployment(tx, self._run.row.id).state)

    def _set_command(self, row: dict[str, Any], state: CommandState, **more: Any) -> bool:
        with self._stage.ledger.transaction(durable=state is not CommandState.ACKED) as tx:
            return runs.move_command(tx, row, state, self._stage.place.clock.now_ms(), **more)

    async def _finish(self) -> None:
        """Say how it ended, in the ledger and for people."""
        why = self._why or StopReason.FAILED
        stage, row = self._stage, self._run.row
        ended = DeploymentState.STOPPED
        if why in (StopReason.MAX_TICKS, StopReason.END_OF_DATA, StopReason.ONE_TICK):
            ended = DeploymentState.COMPLETED
        elif why is StopReason.FAILED:
            ended = DeploymentState.ERROR
        if self._state_now() is DeploymentState.HALTED:
            ended = DeploymentState.HALTED
        if why is StopReason.COMMAND and not stage.is_dry:  # the tick it ran in may have placed more since
            await self._run.door.engine.alone(lambda: cancel_entries(self._run.door.engine, row.id))
        if not stage.is_dry:
            with self._run.door.engine.transaction() as tx:
                self._run.door.engine.book.flush(tx)
        self._set_state(ended, ticks=self.tally.ticks, ended_ms=stage.place.clock.now_ms(), stopped_because=why.value, next_tick_ms=None)
        self._tell()

    def _tell(self) -> None:
        """Show the ledger's word on this run to its mind."""
        with self._stage.ledger.reading() as tx:
            row = runs.get_deployment(tx, self._run.row.id)
        self._mind.tell(row, self.tally.last)
