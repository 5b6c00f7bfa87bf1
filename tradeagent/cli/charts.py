"""`backtest plot` and `backtest report`: a stored backtest drawn in the terminal, as one HTML file, as PNG."""

import os
import shutil
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradeagent.cli.complete import backtests
from tradeagent.cli.session import session

if TYPE_CHECKING:
    from tradeagent.research.reports.drawn import Drawn
    from tradeagent.research.reports.picture import Picture
    from tradeagent.research.store import Stored

_REFERENCE = typer.Argument(help="id, the end of one, or `last`", autocompletion=backtests)
_SIZE = (118, 30)


class What(StrEnum):
    """What `backtest plot` draws."""

    ALL = "all"
    CANDLES = "candles"
    EQUITY = "equity"
    DRAWDOWN = "drawdown"


def register(app: typer.Typer) -> None:
    app.command()(plot)
    app.command()(report)


def plot(
    backtest: Annotated[str, _REFERENCE] = "last",
    what: Annotated[What, typer.Option(help="which chart")] = What.ALL,
    since: Annotated[str | None, typer.Option("--from", help="first bar to draw, like 2025-03-01")] = None,
    to: Annotated[str | None, typer.Option(help="draw up to here")] = None,
    width: Annotated[int | None, typer.Option(min=40, max=400, help="columns; the terminal's by default")] = None,
    height: Annotated[int | None, typer.Option(min=10, max=200, help="rows of all charts together")] = None,
) -> None:
    """Draw candles with the trades, equity and drawdown in the terminal. ▲ long entry, ▼ short entry, ● exit.

    Example: tradeagent backtest plot last --what equity
    """
    from tradeagent.cli.parsing import instant
    from tradeagent.domain.clock import iso

    kept, drawn = _drawn(backtest)
    drawn = drawn.between(instant(since, "--from") if since else None, instant(to, "--to") if to else None)
    columns, rows = shutil.get_terminal_size(_SIZE)
    pictures = _pictures(drawn, what, width or min(columns, 200), height or max(20, rows - 4))
    is_coloured = sys.stdout.isatty() and not session().flags.no_color and not os.environ.get("NO_COLOR")
    title = f"{kept.document['algo']} on {kept.document['data']['market']} {kept.document['data']['interval']}, backtest {kept.id}"
    text = "\n".join([title, *(f"{name}\n{picture.ansi() if is_coloured else picture.plain()}" for name, picture in pictures.items())])
    points = [{"time": iso(int(time)), "equity": f"{value:.6f}"} for time, value in zip(drawn.closes, drawn.equity, strict=True)]
    session().output.document({"id": kept.id, "equity": points if session().output.json else []}, text)


def report(
    backtest: Annotated[str, _REFERENCE] = "last",
    out: Annotated[Path | None, typer.Option(help="file to write: .html or .png; by default backtest-ID.html here")] = None,
) -> None:
    """Write the report of a backtest as one file that opens offline: HTML, or a picture as PNG.

    Example: tradeagent backtest report last --out btc.html
    """
    from tradeagent.domain.errors import InvalidInput
    from tradeagent.workspace.files import write_atomic

    target = out or Path(f"backtest-{_id(backtest)}.html")
    if target.suffix not in (".html", ".png"):
        raise InvalidInput(f"--out: {target.name!r} is neither .html nor .png", hint=f"--out {target.stem}.html")
    if target.is_dir() or not target.absolute().parent.is_dir():
        raise InvalidInput(f"--out: {target} cannot be written", hint="name a file in a folder that exists")
    kept, drawn = _drawn(backtest)
    if target.suffix == ".png":
        from tradeagent.research.reports.png import png

        content: str | bytes = png(
            drawn, f"{kept.document['algo']} on {kept.document['data']['market']} {kept.document['data']['interval']}"
        )
    else:
        from tradeagent.research.reports import html

        content = html.report({**kept.document, "trades": drawn.trades}, drawn)
    write_atomic(target, content, durable=False)
    size = target.stat().st_size
    session().output.document({"id": kept.id, "file": str(target.absolute()), "bytes": size}, f"{target}  {size / 1024:.0f} KiB")


def _id(reference: str) -> str:
    from tradeagent.research import store

    return store.get(_file(), reference).id


def _file() -> Path:
    from tradeagent.research.store import FILE_NAME

    return session().workspace.warehouse_dir / FILE_NAME


def _drawn(reference: str) -> "tuple[Stored, Drawn]":
    from tradeagent.research import store
    from tradeagent.research.reports.drawn import drawn_of

    current = session()
    kept = store.get(_file(), reference)
    return kept, drawn_of(current.warehouse, kept, [current.instrument(kept.config["venue"], market) for market in kept.markets])


def _pictures(drawn: "Drawn", what: What, width: int, height: int) -> "dict[str, Picture]":
    from tradeagent.research.reports import charts

    share = {What.CANDLES: 0.5, What.EQUITY: 0.3, What.DRAWDOWN: 0.2}
    rows = {key: height if what is key else round(height * part) - 1 for key, part in share.items() if what in (key, What.ALL)}
    made = {}
    for market in drawn.markets if What.CANDLES in rows else ():
        fits = len(market.marks) <= width
        title = f"price of {market.bars.market}" if drawn.others else "price"
        name = title if fits else f"{title}; {len(market.marks):,} entries and exits are too many to draw, narrow it with --from and --to"
        made[name] = charts.candles(market.bars, width, max(8, rows[What.CANDLES] // len(drawn.markets)), market.marks if fits else ())
    if What.EQUITY in rows:
        made["equity, USDC"] = charts.line(drawn.closes, drawn.equity, width, rows[What.EQUITY], base=drawn.start)
    if What.DRAWDOWN in rows:
        made["drawdown, %"] = charts.area(drawn.closes, drawn.drawdown_pct, width, rows[What.DRAWDOWN])
    return made
