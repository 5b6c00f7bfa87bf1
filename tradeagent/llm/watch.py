"""Waiting for things that may never answer: a deadline, a timer and an interrupt that hold even if cancellation is ignored."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from tradeagent.domain.clock import Clock
from tradeagent.llm.contract import FinishReason

T = TypeVar("T")
_abandoned: set[asyncio.Future[Any]] = set()


class TurnEndedError(Exception):
    """Ends a turn with a reason; never leaves the loop."""

    def __init__(self, reason: FinishReason, detail: str = "", defect: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail
        self.defect = defect


class Watch:
    """The turn's deadline and interrupt. Times are real seconds, since models and tools answer in real time, even in a replay."""

    def __init__(self, clock: Clock, deadline_s: float, interrupt: asyncio.Event | None) -> None:
        self._clock = clock
        self._deadline_s = deadline_s
        self._ends_at = clock.monotonic() + deadline_s
        self._interrupt = interrupt
        self._interrupted: asyncio.Task[Any] | None = None

    def check(self) -> None:
        """End the turn when it was interrupted or its deadline has passed."""
        if self._interrupt is not None and self._interrupt.is_set():
            raise TurnEndedError("interrupted")
        if self._clock.monotonic() >= self._ends_at:
            raise TurnEndedError("deadline", f"the turn did not finish within {self._deadline_s:g} s")

    async def wait(self, task: asyncio.Future[T], timeout_s: float | None = None, reason: FinishReason = "deadline") -> T:
        """The task's result, or the end of the turn: `reason` after `timeout_s`, deadline, interrupt. The task is not cancelled here."""
        self.check()
        await asyncio.sleep(0)
        if task.done():  # within one turn of the event loop, as most work is: no timer is needed
            return task.result()
        left = self._ends_at - self._clock.monotonic()
        waiting: set[asyncio.Future[Any]] = {task}
        if self._interrupt is not None:
            if self._interrupted is None:
                self._interrupted = asyncio.ensure_future(self._interrupt.wait())
            waiting.add(self._interrupted)
        timer = left if timeout_s is None else min(left, timeout_s)
        done, _ = await asyncio.wait(waiting, timeout=timer, return_when=asyncio.FIRST_COMPLETED)
        if task in done:
            return task.result()
        self.check()
        if timeout_s is not None and timeout_s <= left:
            raise TurnEndedError(reason, f"nothing arrived for {timeout_s:g} s")
        raise TurnEndedError("deadline", f"the turn did not finish within {self._deadline_s:g} s")

    async def run(self, work: Coroutine[Any, Any, T], *, cancel: bool = True) -> T:
        """Run `work` unless the turn is over; if it ends meanwhile, `work` is cancelled or, with `cancel` False, left to finish unseen."""
        try:
            self.check()
        except TurnEndedError:
            work.close()
            raise
        task = asyncio.ensure_future(work)
        try:
            return await self.wait(task)
        finally:
            release(task, cancel=cancel)

    def close(self) -> None:
        if self._interrupted is not None:
            release(self._interrupted)


def release(task: asyncio.Future[Any], *, cancel: bool = True) -> None:
    """Let go of a task without waiting for it; one that ignores cancellation runs on, and its outcome is read and dropped."""
    if task.done():
        _forget(task)
        return
    _abandoned.add(task)
    task.add_done_callback(_forget)
    if cancel:
        task.cancel()


def _forget(task: asyncio.Future[Any]) -> None:
    _abandoned.discard(task)
    if not task.cancelled():
        task.exception()
