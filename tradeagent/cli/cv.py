"""`cv`: rolling validation, which tells whether optimised parameters hold on bars that the search has not seen."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from tradeagent.cli import studies as flag
from tradeagent.cli.output import pairs, table
from tradeagent.cli.session import session

app = typer.Typer(help="Rolling validation: optimise on the past, test on what follows, fold by fold.", no_args_is_help=True)
Length = str | None


@app.command()
def run(
    algo: flag.Algo = None,
    market: flag.Market = None,
    interval: flag.Interval = None,
    from_: flag.From = None,
    to: flag.To = None,
    train: Annotated[Length, typer.Option("--train", help="bars, or a span like 60d, to optimise on; three tests long without it")] = None,
    test: Annotated[Length, typer.Option("--test", help="bars, or a span like 20d, to test on; fills the data without it")] = None,
    step: Annotated[Length, typer.Option("--step", help="from one fold to the next; one test long without it")] = None,
    folds: Annotated[int | None, typer.Option("--folds", help="how many; all that fit, or 5 when no length is given")] = None,
    anchored: Annotated[bool, typer.Option("--anchored", help="train from the first bar on instead of a sliding window")] = False,
    embargo: Annotated[Length, typer.Option("--embargo", help="bars, or a span, beyond the warm-up between train and test")] = None,
    param: flag.Param = None,
    n_trials: flag.Trials = 100,
    sampler: flag.SamplerName = "tpe",
    objective: flag.ObjectiveText = "sharpe",
    min_trades: flag.MinTrades = 1,
    max_drawdown: flag.MaxDrawdown = None,
    drawdown_limit: Annotated[float, typer.Option("--drawdown-limit", help="a test that loses more, in percent, fails the verdict")] = 20.0,
    seed: flag.Seed = 0,
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
    fill_no_volume: flag.FillNoVolume = False,
    unsafe_python: flag.UnsafePython = False,
    venue: flag.Venue = "hyperliquid",
) -> None:
    """Optimise on each training window, test the best on the bars after it, and judge all tests together.

    Example: tradeagent cv run sma_cross --market BTC --interval 5m --folds 4 --n-trials 30
    """
    from tradeagent.domain.errors import InvalidInput
    from tradeagent.research.folds import Layout
    from tradeagent.research.study_answers import cross_validate

    session().workspace.require_writable()
    if not 0 < drawdown_limit <= 100:
        raise InvalidInput(f"--drawdown-limit: {drawdown_limit:g} is not above 0 and at most 100 percent", hint="--drawdown-limit 20")
    asked = flag.Flags(
        {"venue": venue, "market": market, "interval": interval, "from": from_, "to": to, "limits": None},
        {"cash": cash, "fee_bps": fee_bps, "slippage_bps": slippage_bps, "fill_qty": fill_qty, "leverage": leverage, "path": path},
        {"has_funding": not no_funding, "close_at_end": False, "fill_no_volume": fill_no_volume},
        param or [],
        {
            "n_trials": n_trials,
            "objective": objective,
            "min_trades": min_trades,
            "max_drawdown_pct": max_drawdown,
            "seed": seed,
            "batch": batch,
            "limit_pct": drawdown_limit,
        },
        sampler,
    )
    lengths = {"--train": train, "--test": test, "--step": step, "--embargo": embargo}

    def layout(interval_ms: int) -> Layout:
        bars = {name: _bars(name, text, interval_ms) for name, text in lengths.items()}
        return Layout(bars["--train"], bars["--test"], bars["--step"], folds, anchored, bars["--embargo"] or 0)

    question = flag.question("cv", algo, asked, resume, layout)
    document = flag.answer(question, flag.How(workers, cluster, resume, fresh, unsafe_python), cross_validate)
    session().output.document(document, _text(document))


@app.command(name="list")
def list_(limit: Annotated[int, typer.Option(min=1, max=10_000, help="how many, newest first")] = 50) -> None:
    """Validations, newest first; a running one can be gone on with."""
    rows = flag.listing("cv", limit)
    columns = ["id", "time", "algo", "market", "interval", "objective", "trials", "verdict", "state"]
    empty = "nothing yet: `tradeagent cv run sma_cross --market BTC --interval 5m`"
    session().output.document(rows, table([row | {"time": row["time"][:16]} for row in rows], columns, right=("trials",), empty=empty))


@app.command()
def show(study: flag.Reference) -> None:
    """One validation: its folds, what they say together, and the verdict."""
    row = flag.stored("cv", study)
    document: dict[str, Any] = {"state": row.state, **(row.result or flag.unfinished(row))}
    session().output.document(document, _text(document) if "verdict" in document else pairs(document))


def _bars(name: str, text: str | None, interval_ms: int) -> int | None:
    """`500` bars, or a span like `60d`, in bars of the interval."""
    from tradeagent.domain.bars import interval_text, parse_duration
    from tradeagent.domain.errors import InvalidInput

    if text is None:
        return None
    if text.lstrip("-").isdigit():
        return int(text)
    span = parse_duration(text, name)
    if span % interval_ms:
        raise InvalidInput(f"{name}: {text} is no whole number of {interval_text(interval_ms)} bars", hint=f"{name} 500, or a longer span")
    return span // interval_ms


def _text(document: Mapping[str, Any]) -> str:
    from tradeagent.research.result import noted

    summary, data, layout, honesty = document["summary"], document["data"], document["layout"], document["honesty"]
    name = document["algo"] + (f"@{document['version']}" if document["version"] else "")
    rows = [
        {
            "fold": place + 1,
            "test_from": fold["test"][0][:10],
            "test_to": fold["test"][1][:10],
            "trades": fold["trades"],
            "sharpe": flag.figure(fold["sharpe"]),
            "pnl": f"{float(fold['pnl']):,.2f}",
            "drawdown_pct": flag.figure(fold["max_drawdown_pct"]),
            "win_rate": flag.figure(fold["win_rate"]),
            "train": flag.figure(fold["train_score"]),
            "params": "no valid trial" if fold["params"] is None else ", ".join(f"{key}={value}" for key, value in fold["params"].items()),
        }
        for place, fold in enumerate(document["folds"])
    ]
    right = ["fold", "trades", "sharpe", "pnl", "drawdown_pct", "win_rate", "train"]
    kind = "anchored" if layout["anchored"] else "sliding"
    told = {key: flag.figure(value) or "–" for key, value in {**summary, **honesty}.items() if value is None or isinstance(value, float)}
    steady = ", ".join(f"{key} {value:.2f}" for key, value in summary["stability"].items()) or "–"
    return "\n".join(
        [
            f"cv {document['id']}",
            f"{name} on {data['market']} {data['interval']}, {data['first'][:10]} to {data['last'][:10]}, {data['bars']:,} bars",
            f"{kind}: train {layout['train']:,}, gap {layout['purge'] + layout['embargo']:,}, test {layout['test']:,}, "
            f"step {layout['step']:,} bars; {document['n_trials']} trials a fold ({document['sampler']}, seed {document['seed']})",
            "",
            table(rows, list(rows[0]), right=right),
            "",
            f"Sharpe of all tests together {told['combined_sharpe']}; per fold mean {told['mean_sharpe']}, "
            f"spread {told['spread_sharpe']}, worst {told['worst_sharpe']}; "
            f"in training {told['train_sharpe']}",
            f"PnL {float(summary['pnl']):,.2f}, worst fold {float(summary['worst_pnl']):,.2f}; "
            f"{summary['profitable_pct']:.0f} % of the folds made money; deepest drawdown {told['worst_drawdown_pct']} %",
            f"parameter stability (1 = every fold chose the same): {steady}",
            f"tries at this idea so far: {honesty['trials']}; deflated Sharpe of the tests {told['deflated_sharpe']}",
            *(f"note: {noted(warning)}" for warning in document.get("warnings", ())),
            "",
            f"verdict: {document['verdict']}" + "".join(f"\n  {reason}" for reason in [*summary["reasons"], *_unsearched(document)]),
        ]
    )


def _unsearched(document: Mapping[str, Any]) -> list[str]:
    """Why folds had nothing to test, each reason once."""
    return list(dict.fromkeys(f"a fold had {fold['reason']}" for fold in document["folds"] if fold["reason"]))
