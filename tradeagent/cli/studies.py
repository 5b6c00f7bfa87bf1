"""What `optimize` and `cv` share: the question from the flags, running a study with progress, and how Ctrl-C ends it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradeagent.cli import interrupts
from tradeagent.cli.complete import algos
from tradeagent.cli.complete import studies as study_ids
from tradeagent.cli.output import table
from tradeagent.cli.progress import Progress, tell_compiling
from tradeagent.cli.session import session

if TYPE_CHECKING:
    from tradeagent.ledger.studies import StudyRow
    from tradeagent.research.folds import Layout
    from tradeagent.research.optimise import Trial
    from tradeagent.research.record import Desk
    from tradeagent.research.space import Space
    from tradeagent.research.study import Claimed, Kind, Prepared, Question
    from tradeagent.research.study_answers import Events
    from tradeagent.research.workers import Place

Algo = Annotated[
    str | None,
    typer.Argument(help="saved name, NAME@VERSION, built-in, or path of a .yml or .py file; not with --resume", autocompletion=algos),
]
Market = Annotated[str | None, typer.Option("--market", "-m", help="market, like BTC; the algo's own when it names one")]
Interval = Annotated[str | None, typer.Option("--interval", "-i", help="bar interval, like 5m; the algo's own when it names one")]
From = Annotated[str | None, typer.Option("--from", help="first bar that opens at or after this time")]
To = Annotated[str | None, typer.Option("--to", help="last bar has closed by this time")]
Param = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", help="NAME=LOW:HIGH[:STEP|:log] or NAME=a,b,c to search it, NAME=VALUE to fix it; repeat"),
]
Trials = Annotated[int, typer.Option("--n-trials", "-n", help="points to try (per fold in `cv`)")]
SamplerName = Annotated[str, typer.Option("--sampler", help="tpe | random | grid")]
ObjectiveText = Annotated[
    str, typer.Option("--objective", help="sharpe | return | drawdown | calmar | sqn, or arithmetic over metrics: 'sharpe - 0.1 * trades'")
]
MinTrades = Annotated[int, typer.Option("--min-trades", help="a point with fewer trades cannot win")]
MaxDrawdown = Annotated[float | None, typer.Option("--max-drawdown", help="a point with a deeper drawdown, in percent, cannot win")]
Seed = Annotated[int, typer.Option("--seed", help="the same seed gives the same trials, however many workers")]
Batch = Annotated[int, typer.Option("--batch", help="points asked at a time; raise it on a large cluster (it changes the trials)")]
Workers = Annotated[int | None, typer.Option("--workers", help="processes; chosen by the work when left out, 1 = none")]
ClusterAddress = Annotated[str | None, typer.Option("--cluster", help="address of a Dask scheduler, like tcp://10.0.0.5:8786")]
Resume = Annotated[
    str | None, typer.Option("--resume", help="go on with this study: id, the end of one, or `last`", autocompletion=study_ids)
]
Fresh = Annotated[bool, typer.Option("--fresh", help="begin anew although the same search is unfinished")]
Cash = Annotated[str | None, typer.Option(help="starting capital, USDC; the algo's own without it")]
FeeBps = Annotated[str | None, typer.Option(help="fee of every fill in basis points; 4.5 taker and 1.5 maker without it")]
SlippageBps = Annotated[str | None, typer.Option(help="slippage of a market fill in basis points")]
Leverage = Annotated[int | None, typer.Option(help="leverage of the position, which sets its margin; the algo's own without it")]
NoFunding = Annotated[bool, typer.Option("--no-funding", help="pay and receive no funding")]
FillQty = Annotated[str | None, typer.Option(help="trade this fixed quantity of base units instead of sizing")]
Path = Annotated[str, typer.Option(help="adverse | nearest: which extreme of a bar comes first")]
FillNoVolume = Annotated[bool, typer.Option("--fill-no-volume", help="fill in bars without volume, as other engines do")]
UnsafePython = Annotated[bool, typer.Option("--unsafe-python", help="let a Python algo run where this system cannot lock it up")]
Venue = Annotated[str, typer.Option(help="venue of the stored bars")]
Reference = Annotated[str, typer.Argument(help="id, the end of one, or `last`", autocompletion=study_ids)]


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of a search as they were typed; `place`, `numbers` and `switches` are those of `backtest run`."""

    place: Mapping[str, str | None]
    numbers: Mapping[str, Any]
    switches: Mapping[str, bool]
    params: list[str] = field(default_factory=list)
    search: Mapping[str, Any] = field(default_factory=dict)
    sampler: str = "tpe"


@dataclass(frozen=True, slots=True)
class How:
    """How a study is run, which does not change its result."""

    workers: int | None
    cluster: str | None
    resume: str | None
    fresh: bool
    unsafe_python: bool = False


Run = Callable[["Desk", "Prepared", "Claimed", "Place"], "Events"]


def question(
    kind: "Kind", algo: str | None, flags: Flags, resume: str | None, layout: "Callable[[int], Layout] | None" = None
) -> "Question":
    """What the flags ask for, or what the study `resume` asked for. Errors name the flag."""
    from tradeagent.cli.backtest import asked
    from tradeagent.domain.errors import InvalidInput
    from tradeagent.research.samplers import SamplerKind
    from tradeagent.research.space import split_param
    from tradeagent.research.study import Question, from_plan

    if resume is not None:
        if algo is not None:
            raise InvalidInput(f"--resume {resume} goes on as it began; it takes no algo", hint=f"tradeagent {kind} run --resume {resume}")
        return from_plan(kind, stored(kind, resume).plan)
    if algo is None:
        raise InvalidInput("which algo?", hint=f"tradeagent {kind} run sma_cross --market BTC --interval 5m")
    if flags.sampler not in list(SamplerKind):
        raise InvalidInput(f"--sampler: {flags.sampler!r} is not known", hint=f"one of {', '.join(SamplerKind)}")
    found, setup = asked(algo, dict(flags.place), [], dict(flags.numbers), dict(flags.switches))
    overrides = dict(split_param(text) for text in flags.params)
    plain = Question(kind, found, setup, overrides, SamplerKind(flags.sampler), **flags.search)
    return plain if layout is None else replace(plain, layout=layout(setup.interval_ms))


def stored(kind: str, reference: str) -> "StudyRow":
    """A study's row, NotFound when there is none."""
    from tradeagent.ledger import studies

    with session().ledger.reading() as tx:
        return studies.get(tx, reference, kind)


def answer(asked: "Question", how: How, run: Run) -> dict[str, Any]:
    """Run a study to its document with progress on the terminal. Interrupted says how to go on, and that what is done is kept."""
    from tradeagent.cli.backtest import desk as desk_here
    from tradeagent.domain.errors import Interrupted
    from tradeagent.research.study import claimed, prepare
    from tradeagent.research.study_answers import Answered
    from tradeagent.research.workers import open_place

    output, desk = session().output, desk_here(how.unsafe_python)
    instrument = session().instrument(asked.setup.venue, asked.setup.market)
    tell_compiling(output)
    prepared = prepare(desk, asked, instrument)
    with claimed(desk, prepared, how.resume, fresh=how.fresh) as claim:
        if claim.row.result is not None and "error" not in claim.row.result:
            return claim.row.result
        study, progress, done = claim.row.id, Progress(output), claim.count
        if claim.count:
            output.say(f"going on with {asked.kind} {study}: {claim.count} trials are done")
        progress.begin(asked.kind, prepared.total - claim.count)
        try:
            with (
                open_place(prepared.job, how.workers, how.cluster) as place,
                closing(run(desk, prepared, claim, place)) as events,
            ):
                for event in events:
                    if isinstance(event, Answered):
                        return event.document
                    if interrupts.heard():
                        raise KeyboardInterrupt  # a callback of a library swallowed it
                    done = event.done
                    best = "no valid trial yet" if event.best is None else f"best {asked.objective} {event.best:.4g}"
                    fold = f"fold {event.fold + 1}, " if prepared.folds else ""
                    progress.tick(done - claim.count, fold + best)
        except KeyboardInterrupt:
            hint = f"tradeagent {asked.kind} run --resume {study}"
            raise Interrupted(f"{asked.kind} {study}: interrupted after {done} trials, which are kept", hint=hint) from None
        finally:
            progress.end()
    raise AssertionError("a study ends with its answer")


def listing(kind: str, limit: int) -> list[dict[str, Any]]:
    """Studies of one kind, newest first."""
    from tradeagent.domain.bars import interval_text
    from tradeagent.domain.clock import iso
    from tradeagent.ledger import studies

    with session().ledger.reading() as tx:
        rows = studies.listed(tx, kind, limit)
        counts = studies.counts(tx, [row.id for row in rows])
    return [
        {
            "id": row.id,
            "time": iso(row.time_ms),
            "algo": row.plan["algo"]["name"] + (f"@{row.plan['algo']['version']}" if row.plan["algo"]["version"] else ""),
            "market": row.plan["setup"]["market"],
            "interval": interval_text(row.plan["setup"]["interval_ms"]),
            "objective": row.plan["objective"],
            "trials": counts.get(row.id, 0),
            "best": (row.result or {}).get("best", {}).get("score"),
            "verdict": (row.result or {}).get("verdict"),
            "state": row.state,
        }
        for row in rows
    ]


def unfinished(row: "StudyRow") -> dict[str, Any]:
    """What is known of a study without a result."""
    from tradeagent.ledger import studies

    with session().ledger.reading() as tx:
        count = studies.counts(tx, [row.id]).get(row.id, 0)
    return {"id": row.id, "kind": row.kind, "trials": count, "next": f"tradeagent {row.kind} run --resume {row.id}"}


def trial_list(study: str) -> list[dict[str, Any]]:
    """Every finished trial of a study."""
    from tradeagent.ledger import studies

    with session().ledger.reading() as tx:
        rows = studies.trials_of(tx, study)
    return [
        {
            "fold": row.fold,
            "number": row.number,
            "state": row.state,
            "score": row.score,
            "params": row.params,
            "reason": row.result["reason"],
        }
        | {name: row.result["metrics"].get(name) for name in ("sharpe", "trades", "total_return_pct", "max_drawdown_pct")}
        for row in rows
    ]


def trial_table(trials: Sequence[Mapping[str, Any]]) -> str:
    """One line a trial: its score, its parameters, and what it earned."""
    names = list(dict.fromkeys(name for trial in trials for name in trial["params"]))
    rows = [
        {"trial": trial["number"], "score": figure(trial["score"]), **trial["params"], "trades": trial["trades"]}
        | {"return_pct": figure(trial["total_return_pct"]), "drawdown_pct": figure(trial["max_drawdown_pct"])}
        | {"state": trial.get("reason") or trial.get("state")}
        for trial in trials
    ]
    columns = ["trial", "score", *names, "trades", "return_pct", "drawdown_pct"] + (["state"] if any(row["state"] for row in rows) else [])
    return table(rows, columns, right=[column for column in columns if column != "state"], empty="no trials")


def trials_and_space(study: str) -> "tuple[list[Trial], Space]":
    """A study's trials and the space that they are from, for its plots."""
    from tradeagent.ledger import studies
    from tradeagent.research.study import from_plan, space_of
    from tradeagent.research.study_rows import trial_of

    with session().ledger.reading() as tx:
        row = studies.get(tx, study, "optimize")
        trials = [trial_of(found) for found in studies.trials_of(tx, row.id)]
    asked = from_plan("optimize", row.plan)
    return trials, space_of(asked.algo.spec, asked.overrides)


def figure(value: float | None) -> str | None:
    """Three significant figures, thousands whole; None stays None, which a table shows as a dash."""
    return None if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
