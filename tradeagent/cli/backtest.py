"""`backtest`: run an algo over stored bars, and read what earlier runs gave."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradeagent.cli.complete import algos, backtests
from tradeagent.cli.output import table
from tradeagent.cli.progress import tell_compiling
from tradeagent.cli.session import session

if TYPE_CHECKING:
    from decimal import Decimal
    from pathlib import Path

    from tradeagent.algos.store import StoredAlgo
    from tradeagent.research.backtest import Setup
    from tradeagent.research.record import Desk
    from tradeagent.research.run import Terms

app = typer.Typer(help="Run algorithms over stored bars with the market's real costs.", no_args_is_help=True)
Algo = Annotated[str, typer.Argument(help="saved name, NAME@VERSION, built-in, or path of a .yml or .py file", autocompletion=algos)]
Reference = Annotated[str, typer.Argument(help="id, the end of one, or `last`", autocompletion=backtests)]


@app.command()
def run(
    algo: Annotated[
        str | None, typer.Argument(help="saved name, NAME@VERSION, built-in, or path of a .yml or .py file", autocompletion=algos)
    ] = None,
    market: Annotated[
        list[str] | None,
        typer.Option("--market", "-m", help="market, like BTC; the algo's own when it names one; repeat it for several in one account"),
    ] = None,
    interval: Annotated[
        str | None, typer.Option("--interval", "-i", help="bar interval, like 5m; the algo's own when it names one")
    ] = None,
    from_: Annotated[str | None, typer.Option("--from", help="first bar that opens at or after this time")] = None,
    to: Annotated[str | None, typer.Option("--to", help="last bar has closed by this time")] = None,
    param: Annotated[list[str] | None, typer.Option("--param", "-p", help="a parameter of the algo, NAME=VALUE; repeat")] = None,
    cash: Annotated[str | None, typer.Option(help="starting capital, USDC; the algo's own without it")] = None,
    fee_bps: Annotated[str | None, typer.Option(help="fee of every fill in basis points; 4.5 taker and 1.5 maker without it")] = None,
    slippage_bps: Annotated[str | None, typer.Option(help="slippage of a market fill in basis points")] = None,
    leverage: Annotated[int | None, typer.Option(help="leverage of the position, which sets its margin; the algo's own without it")] = None,
    no_funding: Annotated[bool, typer.Option("--no-funding", help="pay and receive no funding")] = False,
    fill_qty: Annotated[str | None, typer.Option(help="trade this fixed quantity of base units instead of sizing")] = None,
    path: Annotated[str, typer.Option(help="adverse | nearest: which extreme of a bar comes first")] = "adverse",
    limits: Annotated[
        str | None, typer.Option(help="agent | algo | engine | manual | FILE: obey limits, through the door (slower)")
    ] = None,
    close_at_end: Annotated[bool, typer.Option("--close-at-end", help="close an open position at the last close")] = False,
    fill_no_volume: Annotated[bool, typer.Option("--fill-no-volume", help="fill in bars without volume, as other engines do")] = False,
    venue: Annotated[str, typer.Option(help="venue of the stored bars")] = "hyperliquid",
    unsafe_python: Annotated[
        bool, typer.Option("--unsafe-python", help="let a Python algo run where this system cannot lock it up")
    ] = False,
    trades: Annotated[bool, typer.Option("--trades", help="list every trade")] = False,
    again: Annotated[str | None, typer.Option(help="make a stored backtest again and say what moved", autocompletion=backtests)] = None,
) -> None:
    """Run an algo over stored bars: fees, slippage, hourly funding, margin and liquidation included; the result is kept.

    Example: tradeagent backtest run sma_cross --market BTC --interval 5m --param fast=10 --from 2025-04-01
    """
    from tradeagent.cli.backtest_text import report
    from tradeagent.domain.errors import InvalidInput
    from tradeagent.research.record import perform
    from tradeagent.research.result import trades_json

    session().workspace.require_writable()
    if again is not None:
        if algo is not None:
            raise InvalidInput(f"--again makes {again} as it was made; it takes no algo", hint=f"tradeagent backtest run --again {again}")
        _again(again, desk(unsafe_python))
        return
    if algo is None:
        raise InvalidInput("which algo?", hint="tradeagent backtest run sma_cross --market BTC --interval 5m")
    stored, setup = asked(
        algo,
        {"venue": venue, "market": ",".join(market or ()), "interval": interval, "from": from_, "to": to, "limits": limits},
        param or [],
        {"cash": cash, "fee_bps": fee_bps, "slippage_bps": slippage_bps, "fill_qty": fill_qty, "leverage": leverage, "path": path},
        {"has_funding": not no_funding, "close_at_end": close_at_end, "fill_no_volume": fill_no_volume},
    )
    if limits is not None:
        session().output.say("every order goes through the door, some 700 bars a second …")
    tell_compiling(session().output)
    instruments = [session().instrument(setup.venue, one) for one in setup.markets]
    finished = perform(desk(unsafe_python), stored, setup, *instruments)
    document = finished.document
    rows = trades_json(finished.run.trades, finished.loaded[0].leg.bars.time, instruments) if trades else None
    session().output.document(document if rows is None else {**document, "trades": rows}, report(document, rows))


@app.command(name="list")
def list_(
    algo: Annotated[str | None, typer.Option(help="only this algo", autocompletion=algos)] = None,
    market: Annotated[str | None, typer.Option("--market", "-m", help="only this market")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="how many, newest first")] = 50,
) -> None:
    """Stored backtests, newest first."""
    from tradeagent.algos.store import find
    from tradeagent.cli.backtest_text import listing
    from tradeagent.research import store

    rows = listing(store.listed(_results(), limit, algo, market))
    if algo is not None and not rows:
        find(session().ledger, algo)
    columns = ["id", "time", "algo", "market", "interval", "first", "last", "return_pct", "sharpe", "drawdown_pct", "trades", "state"]
    shown = [row | {"algo": row["algo"] + (f"@{row['version']}" if row["version"] else ""), "time": row["time"][:16]} for row in rows]
    shown = [row | {key: row[key][:10] for key in ("first", "last")} | _rounded(row) for row in shown]
    empty = "nothing yet: `tradeagent backtest run sma_cross --market BTC --interval 5m`"
    session().output.document(rows, table(shown, columns, right=("return_pct", "sharpe", "drawdown_pct", "trades"), empty=empty))


@app.command()
def show(backtest: Reference, trades: Annotated[bool, typer.Option("--trades", help="list every trade")] = False) -> None:
    """One stored backtest as it was told when it ran."""
    from tradeagent.cli.backtest_text import report, state_of
    from tradeagent.research import store
    from tradeagent.research.result import trades_json

    kept = store.get(_results(), backtest)
    config = kept.config
    times = kept.closes - config["interval_ms"]
    instruments = [session().instrument(config["venue"], market) for market in kept.markets]
    rows = trades_json(kept.trades, times, instruments) if trades else None
    document = dict(kept.document) | {"moved": kept.moved, "state": state_of(kept.moved, kept.document["kernel"])}
    document |= {} if rows is None else {"trades": rows}
    session().output.document(document, report(document, rows))


@app.command()
def compare(
    backtests: Annotated[list[str], typer.Argument(help="two or more: ids, ends of them, or `last`", autocompletion=backtests)],
) -> None:
    """Put stored backtests side by side: what was different in the question, and every figure of the answer."""
    from tradeagent.cli.backtest_text import comparison, side_by_side
    from tradeagent.domain.errors import InvalidInput
    from tradeagent.research import store

    if len(backtests) < 2:
        raise InvalidInput("compare needs two backtests", hint="tradeagent backtest list")
    compared = comparison([store.get(_results(), reference) for reference in backtests])
    session().output.document(compared, side_by_side(compared))


def _again(reference: str, place: "Desk") -> None:
    from tradeagent.cli.backtest_text import moves
    from tradeagent.research.record import again

    kept, moved = again(place, reference, session().instrument)
    data = {
        "id": kept.id,
        "equal": not moved,
        "moved": [{"what": one.what, "before": one.before, "now": one.now} for one in moved],
    }
    session().output.document(data, moves(data))


def asked(
    algo: str, place: "dict[str, str | None]", params: list[str], numbers: dict[str, Any], flags: dict[str, bool]
) -> "tuple[StoredAlgo, Setup]":
    """What the flags ask for; several markets are separated by commas. Errors name the flag."""
    from dataclasses import replace

    from tradeagent.algos.store import find
    from tradeagent.cli.parsing import require_usable_interval, span
    from tradeagent.domain.bars import parse_duration
    from tradeagent.domain.errors import InvalidInput
    from tradeagent.domain.money import parse_decimal
    from tradeagent.research.backtest import Setup, account_of, params_text, terms_of

    stored = find(session().ledger, algo)
    spec = stored.spec
    markets = account_of([name for text in (place["market"] or spec.market).split(",") if (name := text.strip())])
    interval_ms = parse_duration(place["interval"], "--interval") if place["interval"] else spec.interval_ms
    if not markets or not interval_ms:
        missing = "--market" if not markets else "--interval"
        raise InvalidInput(f"{missing} is missing, and {stored.name} names none", hint=f"add {missing} {'5m' if markets else 'BTC'}")
    venue = place["venue"] or ""
    for market in markets:
        require_usable_interval(session().warehouse, venue, market, interval_ms)
    from_ms, to_ms = span(place["from"], place["to"])
    given: dict[str, Any] = {name: numbers[name] for name in ("leverage", "path")}
    for name in ("cash", "fee_bps", "slippage_bps", "fill_qty"):
        value: Decimal | None = None if numbers[name] is None else parse_decimal(numbers[name], "--" + name.replace("_", "-"))
        given[name] = value
    terms = replace(terms_of(spec, **given, base=_base_terms()), close_at_end=flags["close_at_end"], fill_no_volume=flags["fill_no_volume"])
    named = params_text(params, spec)
    one, *others = markets
    setup = Setup(venue, one, interval_ms, from_ms, to_ms, named, terms, flags["has_funding"], place["limits"], tuple(others))
    return stored, setup


def _base_terms() -> "Terms":
    """Costs as config.yml has them for paper wallets."""
    from tradeagent.domain.costs import FeeSchedule
    from tradeagent.research.backtest import BPS
    from tradeagent.research.run import Terms

    config = session().config
    fees = FeeSchedule(taker=config.decimal("paper.taker_fee_bps") / BPS, maker=config.decimal("paper.maker_fee_bps") / BPS)
    return Terms(fees=fees, slippage_bps=config.decimal("paper.slippage_bps"))


def desk(unsafe_python: bool = False) -> "Desk":
    """What a backtest of this workspace works with."""
    from tradeagent.research.record import Desk

    current = session()
    allow_unsafe = unsafe_python or current.config.flag("sandbox.allow_unsafe")
    return Desk(current.ledger, current.warehouse, _results(), current.clock, allow_unsafe)


def _results() -> "Path":
    from tradeagent.research.store import FILE_NAME

    return session().workspace.warehouse_dir / FILE_NAME


def _rounded(row: dict[str, Any]) -> dict[str, str | None]:
    return {key: None if row[key] is None else f"{row[key]:,.2f}" for key in ("return_pct", "sharpe", "drawdown_pct")}
