"""One study as it is asked for, planned, and claimed: what its result depends on, made ready to search, and its rows found again after a
crash. `study_answers` runs it."""

import ast
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tradeagent.algos.bars import Floats
from tradeagent.algos.evaluate import warmup_of
from tradeagent.algos.params import params_of
from tradeagent.algos.spec import AlgoSpec, Param
from tradeagent.algos.store import StoredAlgo, spec_of
from tradeagent.domain.errors import BusyError, DataError, InvalidInput
from tradeagent.domain.instrument import Instrument
from tradeagent.ledger import studies
from tradeagent.ledger.studies import StudyRow
from tradeagent.ledger.trials import Trial as Try
from tradeagent.research.backtest import Loaded, Setup, from_config, kernel_version, load
from tradeagent.research.evaluation import MarketJob, spec_at
from tradeagent.research.folds import Fold, Layout, longest_warmup, make_folds
from tradeagent.research.honesty import cost_key, trial_of
from tradeagent.research.objective import make_objective
from tradeagent.research.optimise import BATCH, Finished, Search, Trial
from tradeagent.research.record import Desk
from tradeagent.research.samplers import SamplerKind, grid_size
from tradeagent.research.space import Space, fixed_params, make_space
from tradeagent.research.study_rows import done_in
from tradeagent.workspace.locks import file_lock

Kind = Literal["optimize", "cv"]
DONE_SOON_S = 1.0


@dataclass(frozen=True, slots=True)
class Question:
    """Everything a study's result depends on besides the bars. `overrides` are ranges and values by parameter as they were typed.

    `max_drawdown_pct` keeps trials out (None: no limit); a validation also fails by a test beyond `limit_pct`.
    """

    kind: Kind
    algo: StoredAlgo
    setup: Setup
    overrides: Mapping[str, str] = field(default_factory=dict)
    sampler: SamplerKind = SamplerKind.TPE
    n_trials: int = 100
    objective: str = "sharpe"
    min_trades: int = 1
    max_drawdown_pct: float | None = None
    seed: int = 0
    folds: int = 1
    batch: int = BATCH
    layout: Layout = field(default_factory=Layout)
    limit_pct: float = 20.0

    def as_plan(self, fingerprint: str) -> dict[str, Any]:
        """JSON that `from_plan` reads again, with what the result also depends on: the data, the kernel and the sampler's version."""
        import optuna

        algo = self.algo
        named = {name: getattr(self, name) for name in _PLAIN}
        return {
            "algo": {"name": algo.name, "version": algo.version, "hash": algo.hash, "lineage": algo.lineage},
            "text": algo.spec.text,
            "is_python": algo.spec.python is not None,
            "setup": self.setup.as_config(),
            "overrides": dict(self.overrides),
            "sampler": self.sampler.value,
            **named,
            "layout": asdict(self.layout),
            "made_with": {"kernel": kernel_version(), "optuna": optuna.__version__},
            "fingerprint": fingerprint,
        }


_CHANGED: Mapping[str, str] = {
    "fingerprint": "the stored bars or their funding",
    "made_with": "the program or its search library",
    "algo": "the algo",
    "text": "the text of the algo",
}
_PLAIN = ("n_trials", "objective", "min_trades", "max_drawdown_pct", "seed", "folds", "batch", "limit_pct")


def from_plan(kind: Kind, plan: Mapping[str, Any]) -> Question:
    """The question of a stored study, whatever has become of its file since."""
    named = plan["algo"]
    spec = spec_of(plan["text"], Path(f"{named['name']}.{'py' if plan['is_python'] else 'yml'}"))
    algo = StoredAlgo(replace(spec, name=named["name"]), named["name"], named["version"], named["hash"], named["lineage"])
    layout = Layout(**plan["layout"])
    values = {name: plan[name] for name in _PLAIN}
    return Question(kind, algo, from_config(plan["setup"]), plan["overrides"], SamplerKind(plan["sampler"]), layout=layout, **values)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A question on its bars, ready to search. `setup` holds the values that were fixed; `folds` is empty outside of a validation."""

    question: Question
    setup: Setup
    loaded: Loaded
    search: Search
    job: MarketJob
    folds: tuple[Fold, ...] = ()
    purge: int = 0

    @property
    def plan(self) -> dict[str, Any]:
        return self.question.as_plan(self.loaded.data.fingerprint)

    @property
    def total(self) -> int:
        """Trials at most, over all folds."""
        space = self.search.space
        points = grid_size(space) if self.question.sampler is SamplerKind.GRID else self.question.n_trials
        return min(self.question.n_trials, points) * max(1, len(self.folds))

    def counted(self, study: str, finished: Finished, fold: int) -> Try | None:
        """A trial as a try at its idea, None for one that was never run."""
        trial = finished.trial
        if trial.same_as is not None or not (trial.metrics or trial.folds):
            return None
        return self.tried(study, trial.params, self.folds[fold].train if self.folds else None, finished.daily)

    def tried(self, study: str, params: Mapping[str, Param], rows: tuple[int, int] | None, daily: Floats) -> Try:
        """A run on some rows (None: all of them) as a try."""
        bars = self.loaded.leg.bars
        first, end = rows or (0, len(bars))
        terms = self.setup.terms if rows is None else replace(self.setup.terms, close_at_end=True)
        span, costs = (int(bars.time[first]), int(bars.time[end - 1])), cost_key(terms, has_funding=self.setup.has_funding)
        return trial_of(self.question.algo, self.spec_at(params), span, costs, f"{self.question.kind} {study}", daily)

    def spec_at(self, params: Mapping[str, Param]) -> AlgoSpec:
        return spec_at(self.loaded.leg.spec, params)


def prepare(desk: Desk, question: Question, instrument: Instrument) -> Prepared:
    """Bars, space, objective and folds. Every mistake in the question is an error here, before anything is recorded."""
    algo, setup = question.algo, question.setup
    if setup.limits is not None:
        raise InvalidInput("limits: a study runs the kernel, which has none", hint="judge the best with `tradeagent backtest run --limits`")
    if setup.others:
        raise InvalidInput(f"--market: a search takes one market, not {setup.name}", hint=f"--market {setup.market}")
    objective = make_objective(question.objective, question.min_trades, question.max_drawdown_pct)
    space = space_of(algo.spec, question.overrides)
    setup = replace(setup, params={**setup.params, **fixed_params(question.overrides)})
    loaded = load(desk.warehouse, desk.permitted(algo), setup, instrument, desk.clock.now_ms())
    search = Search(space, objective, question.sampler, question.n_trials, question.seed, question.folds, question.batch)
    leg = loaded.leg
    job = MarketJob(
        f"{loaded.data.fingerprint} {question.algo.hash} {question.objective} {desk.clock.new_id()}",
        leg.spec,
        leg.instrument,
        leg.bars,
        leg.funding_hours,
        leg.funding_rates,
        setup.terms,
        objective,
        question.folds,
    )
    purge = longest_warmup(space, lambda params: warmup_of(spec_at(leg.spec, params)))
    if question.kind == "cv":
        folds = tuple(make_folds(0, len(leg.bars), question.layout, purge))
        return Prepared(question, setup, loaded, search, job, folds, purge)
    part = len(leg.bars) // question.folds
    if question.folds > 1 and part <= purge:
        hint = "use more bars, fewer --folds, or a space of shorter lengths"
        raise DataError(f"folds: each of {question.folds} has {part:,} bars, and the longest warm-up of the space is {purge:,}", hint=hint)
    return Prepared(question, setup, loaded, search, job, (), purge)


def space_of(spec: AlgoSpec, overrides: Mapping[str, str]) -> Space:
    """An algo's space with what was typed. Of a Python algorithm the ranges are those typed, by the names its function takes."""
    if spec.python is None:
        return make_space(spec.params, params_of(spec), overrides, spec.aliases)
    names = _arguments(spec.python)
    return make_space({}, dict.fromkeys(overrides if names is None else names, 0), overrides)


def _arguments(source: str) -> list[str] | None:
    """What `signals` takes besides the bars; None when it takes any name."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == "signals":
            return None if node.args.kwarg else [each.arg for each in [*node.args.args[1:], *node.args.kwonlyargs]]
    return None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A study that this process may run: its row, and the trials of earlier runs by fold and number."""

    row: StudyRow
    done: Mapping[int, Mapping[int, Trial]]

    @property
    def count(self) -> int:
        return sum(len(trials) for trials in self.done.values())


@contextmanager
def claimed(desk: Desk, prepared: Prepared, resume: str | None, *, fresh: bool) -> Iterator[Claimed]:
    """The study `resume`, else the unfinished one of the same plan, else a new one; held until the block ends.

    BusyError when another process runs it; DataError when `resume` was made from other data or by another version.
    """
    kind, plan = prepared.question.kind, prepared.plan
    with desk.ledger.transaction() as tx:
        if resume is not None:
            row = studies.get(tx, resume, kind)
        else:
            found = None if fresh else studies.unfinished(tx, kind, plan)
            row = found or StudyRow(desk.clock.new_id(), kind, studies.RUNNING, plan, None, desk.clock.now_ms())
            if found is None:
                studies.create(tx, row)
    moved = [name for name, value in plan.items() if row.plan.get(name) != value]
    if moved:
        hint = "run the command without --resume to begin anew on what there is now"
        changed = " and ".join(_CHANGED.get(name, f"the question ({name})") for name in moved)
        raise DataError(f"{kind} {row.id} cannot go on: {changed} changed since it began", hint=hint)
    try:
        with file_lock(desk.ledger.file.parent / "locks" / f"study-{row.id}.lock", DONE_SOON_S):
            with desk.ledger.reading() as tx:
                done = done_in(studies.trials_of(tx, row.id))
            yield Claimed(row, done)
    except BusyError as error:
        if not str(error.details.get("lock", "")).endswith(f"study-{row.id}.lock"):
            raise
        hint = "wait for it, or add --fresh to run the same search beside it"
        raise BusyError(f"{kind} {row.id} is being run by another process", hint=hint) from None
