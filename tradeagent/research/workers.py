"""Where points are evaluated: in this process, in worker processes on this machine, or on a Dask cluster. A point gives the same outcome
in each of them, so where it ran can only be told from the clock."""

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, contextmanager, suppress
from math import ceil
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from tradeagent.domain.errors import InvalidConfig, InvalidInput, TradeAgentError, VenueError
from tradeagent.research.optimise import Outcome, Request

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor

    import distributed

TASK_S = 0.05
WORTH_A_POOL_S = 3.0
_RESTARTS = 3
_FEWEST_ALLOWED, _ALLOWED_PER_CORE = 64, 4
_CONNECT_S, _LOOK_S, _ALONE_S = 10, 5, 60
Chunk = list[Request]


class Job(Protocol):
    """All that evaluating a point needs, picklable. `key` tells one job from another."""

    @property
    def key(self) -> str: ...

    def open(self) -> Callable[[Request], Outcome]:
        """Prepare once in each process (compile, remember indicators); the function that evaluates one point."""


class Place(Protocol):
    """Somewhere to evaluate."""

    def evaluate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        """Outcomes with the place of their request, as they are ready."""


def open_place(job: Job, workers: int | None, cluster: str | None) -> AbstractContextManager[Place]:
    """Workers None: this process, and one process a core once the work is long enough to repay their start. 1: this process only."""
    if workers is not None and workers < 1:
        raise InvalidInput(f"workers: {workers} is below 1", hint="--workers 1 for this process only; leave it out to have it chosen")
    most = max(_FEWEST_ALLOWED, _ALLOWED_PER_CORE * _cores())
    if workers is not None and workers > most:
        hint = f"--workers {_cores()} is one a core"
        raise InvalidInput(f"workers: {workers:,} is above {most}, the most that this machine starts", hint=hint)
    if cluster is not None:
        return Cluster(job, cluster)
    return Here(job) if workers == 1 else Local(job, workers)


class Here:
    """One after the other, in this process."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._evaluate: Callable[[Request], Outcome] | None = None
        self.each_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._evaluate = None

    def evaluate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        if self._evaluate is None:
            self._evaluate = self._job.open()
        for place, request in enumerate(requests):
            began = time.monotonic()
            outcome = self._evaluate(request)
            self.each_s = _smoothed(self.each_s, time.monotonic() - began)
            yield place, outcome


class Local:
    """Worker processes of this machine. Without a number of them, they start only when evaluating here has taken a while."""

    def __init__(self, job: Job, workers: int | None) -> None:
        self._job, self._asked = job, workers
        self._workers = workers or _cores()
        self._here = Here(job)
        self._spent_s = 0.0
        self._each_s = 0.0
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is None:
            return
        self._pool.shutdown(wait=error is None, cancel_futures=True)
        if error is not None:
            # Nobody waits for them any more, and they would finish what they have, or still be starting, for seconds.
            for worker in multiprocessing.active_children():
                worker.terminate()

    def evaluate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        if self._asked is None and (self._spent_s < WORTH_A_POOL_S or self._here.each_s < TASK_S / 5 or self._workers == 1):
            began = time.monotonic()
            yield from self._here.evaluate(requests)
            self._spent_s += time.monotonic() - began
            return
        left = dict(enumerate(requests))
        for attempt in range(_RESTARTS + 1):
            yield from self._spread(left, last=attempt == _RESTARTS)
            if not left:
                return

    def _spread(self, left: dict[int, Request], *, last: bool) -> Iterator[tuple[int, Outcome]]:
        """Outcomes of `left`, which shrinks; returns early when a worker died, unless that has happened too often."""
        from concurrent.futures import as_completed
        from concurrent.futures.process import BrokenProcessPool

        pool = self._pool = self._pool or self._started()
        futures: dict[Future[tuple[list[Outcome], float]], list[int]] = {}
        try:
            for places in chunks(list(left), max(self._here.each_s, self._each_s), self._workers):
                futures[pool.submit(_in_worker, [left[place] for place in places])] = places
            for future in as_completed(futures):
                outcomes, took_s = future.result()
                self._each_s = _smoothed(self._each_s, took_s / len(outcomes))
                for place, outcome in zip(futures[future], outcomes, strict=True):
                    del left[place]
                    yield place, outcome
        except BrokenProcessPool:
            self._pool = None
            if last:
                raise VenueError(
                    f"workers: a worker process died {_RESTARTS + 1} times", hint="memory may be short: try --workers 1"
                ) from None

    def _started(self) -> "ProcessPoolExecutor":
        from concurrent.futures import ProcessPoolExecutor

        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(self._workers, mp_context=context, initializer=_begin_worker, initargs=(self._job,))
        with _deaf_to_ctrl_c():
            for _ in range(self._workers):
                pool.submit(_in_worker, [])
        return pool


class Cluster:
    """The workers of a Dask scheduler. Lost workers are replaced by those that stay; with none for a minute it gives up."""

    def __init__(self, job: Job, address: str, alone_s: float = _ALONE_S) -> None:
        self._job, self._address, self._alone_s = job, address, alone_s
        self._each_s = 0.0
        self._client: distributed.Client | None = None
        self._handle: distributed.Future | None = None

    def __enter__(self) -> Self:
        try:
            import distributed
        except ImportError:
            raise InvalidConfig(
                "cluster: the extra `cluster` is not installed", hint="pip install 'tradeagent[cluster]', or leave --cluster out"
            ) from None
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        try:
            self._client = distributed.Client(self._address, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            hint = "give the address that `dask scheduler` printed, like tcp://127.0.0.1:8786"
            raise VenueError(f"cluster: no scheduler answers at {self._address!r} ({error})", hint=hint) from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._client is not None:
            self._client.close()

    def evaluate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        left = dict(enumerate(requests))
        for attempt in range(_RESTARTS + 1):
            yield from self._spread(left, last=attempt == _RESTARTS)
            if not left:
                return

    def _spread(self, left: dict[int, Request], *, last: bool) -> Iterator[tuple[int, Outcome]]:
        client = self._client
        assert client is not None
        cores = self._cores()
        if self._handle is None or self._handle.status != "finished":
            self._handle = client.scatter(self._job, broadcast=True, hash=False)
        futures = {}
        for places in chunks(list(left), self._each_s, cores):
            requests = [left[place] for place in places]
            futures[client.submit(_on_cluster, self._handle, requests, pure=False)] = places
        waiting = set(futures)
        while waiting:
            done = self._ready(waiting)
            waiting -= done
            for future in done:
                answer = self._answer(future, last=last)
                if answer is None:
                    self._handle = None
                    continue
                outcomes, took_s = answer
                self._each_s = _smoothed(self._each_s, took_s / len(outcomes))
                for place, outcome in zip(futures[future], outcomes, strict=True):
                    del left[place]
                    yield place, outcome

    def _answer(self, future: "distributed.Future", *, last: bool) -> tuple[list[Outcome], float] | None:
        """Its outcomes; None when its worker or the job was lost. Other failures are raised as what they are."""
        import distributed

        with suppress(CancelledError):  # a worker that dies takes results with it that nobody had fetched
            if future.status == "finished":
                outcomes, took_s = future.result()
                return outcomes, took_s
        error = future.exception() if future.status == "error" else None
        if isinstance(error, TradeAgentError):
            raise error
        if error is not None and not isinstance(error, distributed.KilledWorker):
            hint = "the workers need the same tradeagent and the same libraries as this machine"
            raise VenueError(f"cluster: a worker failed with {type(error).__name__}: {error}", hint=hint)
        if last:
            raise VenueError("cluster: workers were lost again and again", hint="look at their logs; memory may be short")
        return None

    def _ready(self, waiting: "set[distributed.Future]") -> "set[distributed.Future]":
        """At least one that has ended; VenueError when there has been no worker for too long."""
        import distributed
        from distributed.client import FuturesCancelledError

        assert self._client is not None
        alone_since: float | None = None
        while True:
            try:
                with self._client.as_current():
                    return set(distributed.wait(waiting, timeout=_LOOK_S, return_when="FIRST_COMPLETED").done)
            except FuturesCancelledError:
                return {future for future in waiting if future.status != "pending"}
            except TimeoutError:
                now = time.monotonic()
                alone_since = (alone_since or now) if not self._worker_count() else None
                if alone_since is not None and now - alone_since >= self._alone_s:
                    raise self._alone() from None

    def _cores(self) -> int:
        waited_until = time.monotonic() + self._alone_s
        while not (count := self._worker_count()):
            if time.monotonic() > waited_until:
                raise self._alone()
            time.sleep(0.1)
        return count

    def _worker_count(self) -> int:
        assert self._client is not None
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        return sum(int(worker["nthreads"]) for worker in workers)

    def _alone(self) -> VenueError:
        hint = f"start one with `dask worker {self._address}`, then run the same command again: finished trials are kept"
        return VenueError(f"cluster: the scheduler {self._address} has had no worker for {self._alone_s:g} s", hint=hint)


def _cores() -> int:
    """Those this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def chunks(places: list[int], each_s: float, workers: int) -> Iterator[list[int]]:
    """Slices that take at least `TASK_S` each where that leaves work for everyone."""
    size = max(1, ceil(TASK_S / each_s)) if each_s > 0 else 1
    size = max(1, min(size, ceil(len(places) / workers)))
    for start in range(0, len(places), size):
        yield places[start : start + size]


class _Opened(threading.local):
    """What a thread of a worker has prepared; one at a time, as indicators may not be shared between threads."""

    key = ""
    evaluate: Callable[[Request], Outcome] | None = None


_opened = _Opened()
_opening = threading.Lock()


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes that start here never hear it, not even while they import: it is their parent's, which hears it when all have started."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    heard: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if heard:
        raise KeyboardInterrupt


def _begin_worker(job: Job) -> None:
    """Make ready to evaluate, and never outlive the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _open(job)


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _open(job: Job) -> Callable[[Request], Outcome]:
    if _opened.evaluate is None or _opened.key != job.key:
        with _opening:
            _opened.key, _opened.evaluate = job.key, job.open()
    return _opened.evaluate


def _in_worker(requests: Chunk) -> tuple[list[Outcome], float]:
    assert _opened.evaluate is not None
    return _timed(_opened.evaluate, requests)


def _on_cluster(job: Job, requests: Chunk) -> tuple[list[Outcome], float]:
    return _timed(_open(job), requests)


def _timed(evaluate: Callable[[Request], Outcome], requests: Chunk) -> tuple[list[Outcome], float]:
    began = time.monotonic()
    return [evaluate(request) for request in requests], time.monotonic() - began


def _smoothed(old: float, new: float) -> float:
    return new if not old else 0.8 * old + 0.2 * new
