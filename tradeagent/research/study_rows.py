"""Trials to rows and back, and the recorder that writes them as they finish, a few times a second."""

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tradeagent.domain.clock import Clock
from tradeagent.ledger import studies, trials
from tradeagent.ledger.studies import TrialRow
from tradeagent.research.optimise import Finished, Trial, TrialState
from tradeagent.research.space import from_plain, plain

if TYPE_CHECKING:
    from tradeagent.ledger.store import Ledger

FLUSH_S = 0.4


def row_of(study: str, fold: int, trial: Trial) -> TrialRow:
    result = {
        "metrics": dict(trial.metrics),
        "folds": list(trial.folds),
        "reason": trial.reason,
        "violation": trial.violation,
        "same_as": trial.same_as,
    }
    return TrialRow(study, fold, trial.number, trial.state.value, dict(plain(trial.params)), trial.score, result)


def trial_of(row: TrialRow) -> Trial:
    found = row.result
    return Trial(
        row.number,
        from_plain(row.params),
        TrialState(row.state),
        row.score,
        found["metrics"],
        tuple(found["folds"]),
        found["reason"],
        found["violation"],
        found["same_as"],
    )


class Recorder:
    """Writes trials to the ledger, and counts them among the tries at their idea, at most `FLUSH_S` after they finished and at the end.

    A trial and its try are one entry of what waits, because Ctrl-C may come at any instruction: a trial that is there is never run again.
    """

    def __init__(self, ledger: "Ledger", study: str, clock: Clock, counted: Callable[[Finished, int], trials.Trial | None]) -> None:
        self._ledger, self._study, self._clock, self._counted = ledger, study, clock, counted
        self._waiting: list[tuple[TrialRow, trials.Trial | None]] = []
        self._flushed = clock.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.flush()

    def add(self, finished: Finished, fold: int = 0) -> None:
        self._waiting.append((row_of(self._study, fold, finished.trial), self._counted(finished, fold)))
        if self._clock.monotonic() - self._flushed >= FLUSH_S:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            with self._ledger.transaction(durable=False) as tx:
                studies.add_trials(tx, [row for row, _ in self._waiting])
                trials.add(tx, [counted for _, counted in self._waiting if counted is not None], self._clock.now_ms())
            self._waiting = []
        self._flushed = self._clock.monotonic()


def done_in(rows: Iterable[TrialRow]) -> dict[int, dict[int, Trial]]:
    """Finished trials by fold and number."""
    found: dict[int, dict[int, Trial]] = {}
    for row in rows:
        found.setdefault(row.fold, {})[row.number] = trial_of(row)
    return found
