"""`optimize`: search an algo's parameters over stored bars, and read what earlier searches found."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from tradeagent.cli import studies as flag
from tradeagent.cli.output import pairs, table
from tradeagent.cli.session import session

app = typer.Typer(help="Search an algo's parameters: TPE, random or grid, resumable, on all cores or a cluster.", no_args_is_help=True)
Plot = Annotated[bool, typer.Option("--plot", help="draw history, importance and the score along each parameter")]


@app.command()
def run(
    algo: flag.Algo = None,
    market: flag.Market = None,
    interval: flag.Interval = None,
    from_: flag.From = None,
    to: flag.To = None,
    param: flag.Param = None,
    n_trials: flag.Trials = 100,
    sampler: flag.SamplerName = "tpe",
    objective: flag.ObjectiveText = "sharpe",
    min_trades: flag.MinTrades = 1,
    max_drawdown: flag.MaxDrawdown = None,
    seed: flag.Seed = 0,
    folds: Annotated[int, typer.Option("--folds", help="score a point on so many equal parts of the bars, and drop it when it lags")] = 1,
    batch: flag.Batch = 8,
    workers: flag.Workers = None,
    cluster: flag.ClusterAddress = None,
    resume: flag.Resume = None,
    fresh: flag.Fresh = False,
    cash: flag.Cash = None,
    fee_bps: flag.FeeBps = None,
    slippage_bps: flag.SlippageBps = None,
    leverage: flag.Leverage = None,
    no_funding: flag.NoFunding = False,
    fill_qty: flag.FillQty = None,
    path: flag.Path = "adverse",
    close_at_end: Annotated[bool, typer.Option("--close-at-end", help="close an open position at the last close")] = False,
    fill_no_volume: flag.FillNoVolume = False,
    unsafe_python: flag.UnsafePython = False,
    venue: flag.Venue = "hyperliquid",
    plot: Plot = False,
) -> None:
    """Find the parameters that maximise an objective. Stop it at any time: the same command goes on where it was.

    Example: tradeagent optimize run sma_cross --market BTC --interval 5m --param fast=5:40:5 --n-trials 50
    """
    from tradeagent.research.study_answers import optimise

    session().workspace.require_writable()
    asked = flag.Flags(
        {"venue": venue, "market": market, "interval": interval, "from": from_, "to": to, "limits": None},
        {"cash": cash, "fee_bps": fee_bps, "slippage_bps": slippage_bps, "fill_qty": fill_qty, "leverage": leverage, "path": path},
        {"has_funding": not no_funding, "close_at_end": close_at_end, "fill_no_volume": fill_no_volume},
        param or [],
        {
            "n_trials": n_trials,
            "objective": objective,
            "min_trades": min_trades,
            "max_drawdown_pct": max_drawdown,
            "seed": seed,
            "folds": folds,
            "batch": batch,
        },
        sampler,
    )
    question = flag.question("optimize", algo, asked, resume)
    document = flag.answer(question, flag.How(workers, cluster, resume, fresh, unsafe_python), optimise)
    session().output.document(document, _text(document) + (_plots(document["id"]) if plot else ""))


@app.command(name="list")
def list_(limit: Annotated[int, typer.Option(min=1, max=10_000, help="how many, newest first")] = 50) -> None:
    """Searches, newest first; a running one can be gone on with."""
    rows = flag.listing("optimize", limit)
    columns = ["id", "time", "algo", "market", "interval", "objective", "trials", "best", "state"]
    shown = [row | {"time": row["time"][:16], "best": flag.figure(row["best"])} for row in rows]
    empty = "nothing yet: `tradeagent optimize run sma_cross --market BTC --interval 5m`"
    session().output.document(rows, table(shown, columns, right=("trials", "best"), empty=empty))


@app.command()
def show(
    study: flag.Reference,
    plot: Plot = False,
    trials: Annotated[bool, typer.Option("--trials", help="list every trial")] = False,
) -> None:
    """One search: its best point, how far to trust it, and what to type next."""
    row = flag.stored("optimize", study)
    document: dict[str, Any] = {"state": row.state, **(row.result or flag.unfinished(row))}
    text = _text(document) if "best" in document else pairs({key: value for key, value in document.items() if not isinstance(value, dict)})
    if trials:
        document["all_trials"] = flag.trial_list(row.id)
        text += "\n\n" + flag.trial_table(document["all_trials"])
    session().output.document(document, text + (_plots(row.id) if plot else ""))


def _text(document: Mapping[str, Any]) -> str:
    best, honesty, data = document["best"], document["honesty"], document["data"]
    name = document["algo"] + (f"@{document['version']}" if document["version"] else "")
    metrics = best["metrics"]
    head = [
        f"optimize {document['id']}",
        f"{name} on {data['market']} {data['interval']}, {data['first'][:10]} to {data['last'][:10]}, {data['bars']:,} bars",
        f"{document['trials']} trials ({document['sampler']}, seed {document['seed']}): {document['distinct']} distinct, "
        f"{document['valid']} valid, {document['invalid']} invalid, {document['pruned']} pruned",
        "",
        f"best {document['objective']}: {flag.figure(best['score'])} (trial {best['number']})",
        *(f"  {param} = {value}" for param, value in best["params"].items()),
        f"  return {flag.figure(metrics['total_return_pct'])} %, drawdown {flag.figure(metrics['max_drawdown_pct'])} %, "
        f"{metrics['trades']} trades, buy and hold {flag.figure(metrics['buy_hold_return_pct'])} %",
        *(f"  note: {note}" for note in document["notes"]),
        "",
        flag.trial_table(document["top"]),
        "",
        "how far to trust it",
        f"  tries at this idea so far: {honesty['trials']}; luck alone would reach a Sharpe of {flag.figure(honesty['sharpe_threshold'])}",
        f"  deflated Sharpe (probability that it is not luck): {_told(honesty, 'deflated_sharpe')}",
        f"  probability of backtest overfitting: {_told(honesty, 'pbo')}",
        "",
        f"next: tradeagent backtest show {document['backtest']}",
        "      tradeagent cv run with the same flags tells whether it holds on bars it has not seen",
    ]
    return "\n".join(head)


def _told(honesty: Mapping[str, Any], key: str) -> str:
    """A figure, or why there is none."""
    return flag.figure(honesty[key]) or f"– ({honesty['notes'].get(key, 'not defined')})"


def _plots(study: str) -> str:
    from tradeagent.research.plots_of_study import plots

    trials, space = flag.trials_and_space(study)
    return "\n\n" + "\n".join(plots(trials, space))
