"""Studies (optimisations and rolling validations) and their trials: what lets a search go on after Ctrl-C or a crash. No money is here, so
commits need not wait for the disk: a power cut may lose the last trials, which are then tried again."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from tradeagent.ledger.direct import Write
from tradeagent.ledger.reference import the_one
from tradeagent.ledger.research_schema import studies, study_trials

RUNNING, COMPLETE, FAILED = "running", "complete", "failed"
LAST = "last"
_ADD = Write(upsert(study_trials).on_conflict_do_nothing())


@dataclass(frozen=True, slots=True)
class StudyRow:
    """`kind` is optimize or cv; `plan` says all that its result depends on; `result` is there once it is complete."""

    id: str
    kind: str
    state: str
    plan: dict[str, Any]
    result: dict[str, Any] | None
    time_ms: int


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One finished trial. `fold` is 0 outside of a rolling validation."""

    study: str
    fold: int
    number: int
    state: str
    params: dict[str, Any]
    score: float | None
    result: dict[str, Any]


def create(tx: Connection, row: StudyRow) -> None:
    tx.execute(insert(studies).values(**asdict(row)))


def get(tx: Connection, study: str, kind: str) -> StudyRow:
    """A study by its id, an unambiguous end of it, or `last`, the newest of its kind. NotFound names it."""
    hint = f"`tradeagent {kind} list` shows all of them"
    newest = listed(tx, kind, 1) if study == LAST else []
    if newest:
        return newest[0]
    found = the_one(tx, select(studies).where(studies.c.kind == kind), study, "study", hint, prefix=f"{kind}: ")
    return StudyRow(**found._mapping)


def unfinished(tx: Connection, kind: str, plan: Mapping[str, Any]) -> StudyRow | None:
    """The newest running study of exactly this plan."""
    query = (
        select(studies).where(studies.c.kind == kind, studies.c.state == RUNNING).order_by(studies.c.time_ms.desc(), studies.c.id.desc())
    )
    return next((StudyRow(**row._mapping) for row in tx.execute(query) if row.plan == dict(plan)), None)


def listed(tx: Connection, kind: str, limit: int = 100) -> list[StudyRow]:
    """Newest first."""
    query = select(studies).where(studies.c.kind == kind).order_by(studies.c.time_ms.desc(), studies.c.id.desc()).limit(limit)
    return [StudyRow(**row._mapping) for row in tx.execute(query)]


def finish(tx: Connection, study: str, state: str, result: Mapping[str, Any]) -> None:
    tx.execute(update(studies).where(studies.c.id == study).values(state=state, result=dict(result)))


def add_trials(tx: Connection, rows: Sequence[TrialRow]) -> None:
    """Record finished trials; one that is there already stays as it is."""
    _ADD.all(tx, [asdict(row) for row in rows])


def trials_of(tx: Connection, study: str, fold: int | None = None) -> list[TrialRow]:
    """By fold and number."""
    query = select(study_trials).where(study_trials.c.study == study)
    if fold is not None:
        query = query.where(study_trials.c.fold == fold)
    return [TrialRow(**row._mapping) for row in tx.execute(query.order_by(study_trials.c.fold, study_trials.c.number))]


def counts(tx: Connection, ids: Sequence[str]) -> dict[str, int]:
    """Finished trials by study."""
    query = select(study_trials.c.study, func.count()).where(study_trials.c.study.in_(ids)).group_by(study_trials.c.study)
    return {row[0]: int(row[1]) for row in tx.execute(query)}
