"""Tools of family backtest that search parameters and validate them. Both are jobs; a study is read while it runs and afterwards."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from tradeagent.domain.errors import NotFound
from tradeagent.llm.contract import Tool, ToolResult
from tradeagent.tools import desk_results
from tradeagent.tools.desk import DeskContext
from tradeagent.tools.desk_backtests import OnBars, ParamName, Reference, place_of
from tradeagent.tools.desk_jobs import Shape, WaitS, find_job, in_a_job, job_answer
from tradeagent.tools.market import Arguments

if TYPE_CHECKING:
    from tradeagent.ledger.studies import StudyRow

MOST_TRIALS = 2_000
_SHAPES: dict[str, Shape] = {"optimize": desk_results.optimization, "cv": desk_results.validation}
Kind = Literal["optimize", "cv"]
Range = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.,:+-]{1,80}$", description="LOW:HIGH[:STEP|:log], a,b,c, or one value")]


class Search(OnBars):
    params: dict[ParamName, Range] = Field(default_factory=dict, max_length=20, description="ranges by name; the algo's own without them")
    n_trials: int = Field(default=50, ge=1, le=MOST_TRIALS, description="points to try (of each fold in a validation)")
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    objective: str = Field(
        default="sharpe", min_length=1, max_length=120, description="sharpe | return | drawdown | calmar | sqn, or arithmetic over metrics"
    )
    min_trades: int = Field(default=1, ge=0, le=100_000)
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    wait_s: WaitS = 20


class Validate(Search):
    n_trials: int = Field(default=30, ge=1, le=500, description="points to try in each fold")
    folds: int = Field(default=5, ge=2, le=30)
    anchored: bool = Field(default=False, description="train from the first bar on instead of a sliding window")


class OneStudy(Arguments):
    study: Reference = Field(default="last", description="id of a study or of its job, the end of one, or last")


async def optimize(arguments: Search, context: DeskContext) -> ToolResult:
    return await in_a_job(context, "optimize", _argv("optimize", arguments, context), arguments.wait_s, desk_results.optimization)


async def rolling_cv_backtest(arguments: Validate, context: DeskContext) -> ToolResult:
    argv = [*_argv("cv", arguments, context), f"--folds={arguments.folds}", *(["--anchored"] if arguments.anchored else [])]
    return await in_a_job(context, "cv", argv, arguments.wait_s, desk_results.validation)


def _argv(kind: Kind, arguments: Search, context: DeskContext) -> list[str]:
    """The command; what cannot be run is an error now and not in the job."""
    from tradeagent.algos.store import find
    from tradeagent.research.objective import make_objective
    from tradeagent.research.study import space_of

    algo = find(context.ledger, arguments.algo)
    place = place_of(context, algo, arguments)
    space_of(algo.spec, arguments.params)
    make_objective(arguments.objective)
    searched = {"n-trials": arguments.n_trials, "sampler": arguments.sampler, "objective": arguments.objective}
    searched |= {"min-trades": arguments.min_trades, "seed": arguments.seed}
    params = [f"--param={name}={values}" for name, values in arguments.params.items()]
    return [kind, "run", arguments.algo, *place.argv(arguments), *params, *(f"--{name}={value}" for name, value in searched.items())]


async def get_optimization(arguments: OneStudy, context: DeskContext) -> ToolResult:
    job = None if arguments.study == "last" else find_job(context, arguments.study)
    if job is not None and job.kind in _SHAPES:
        return job_answer(job, _SHAPES[job.kind])
    row = _study(context, arguments.study)
    if row.result is None:
        from tradeagent.ledger import studies

        with context.ledger.reading() as tx:
            done = studies.counts(tx, [row.id]).get(row.id, 0)
        return ToolResult({"study": row.id, "kind": row.kind, "state": row.state, "trials": done})
    return ToolResult({"state": row.state, **_SHAPES[row.kind](row.result)})


def _study(context: DeskContext, reference: str, kinds: Sequence[Kind] = ("optimize", "cv")) -> "StudyRow":
    """A study of these kinds by its id or an end of it; `last` is the newest. NotFound names what was asked for."""
    from tradeagent.ledger import studies

    found: list[StudyRow] = []
    with context.ledger.reading() as tx:
        for kind in kinds:
            with suppress(NotFound):
                found.append(studies.get(tx, reference, kind))
    if not found:
        raise NotFound(f"study: there is no {reference!r} of kind {' or '.join(kinds)}", hint="optimize or rolling_cv_backtest makes one")
    return max(found, key=lambda row: (row.time_ms, row.id))


async def plot_optimization(arguments: OneStudy, context: DeskContext) -> ToolResult:
    row = _study(context, arguments.study, ("optimize",))
    lines = await asyncio.to_thread(_plots, context, row)
    return ToolResult({"study": row.id, "chart": "\n".join(lines)})


def _plots(context: DeskContext, row: "StudyRow") -> list[str]:
    from tradeagent.ledger import studies
    from tradeagent.research.plots_of_study import plots
    from tradeagent.research.study import from_plan, space_of
    from tradeagent.research.study_rows import trial_of

    with context.ledger.reading() as tx:
        trials: list[Any] = [trial_of(found) for found in studies.trials_of(tx, row.id)]
    asked = from_plan("optimize", row.plan)
    return plots(trials, space_of(asked.algo.spec, asked.overrides))


STUDY_TOOLS = (
    Tool(
        "rolling_cv_backtest",
        "Optimise on the past and test on what follows, fold by fold: does it hold? Runs as a job.",
        Validate,
        "backtest",
        "algo",
        rolling_cv_backtest,
    ),
    Tool("optimize", "Search an algorithm's parameters; counts every try. Runs as a job.", Search, "backtest", "algo", optimize),
    Tool("get_optimization", "A search or validation: its result, or how far it is.", OneStudy, "backtest", "read", get_optimization),
    Tool("plot_optimization", "How a search went and which parameters mattered, as text.", OneStudy, "backtest", "read", plot_optimization),
)
