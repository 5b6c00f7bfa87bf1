"""`export`: everything that happened, as files for tax and analysis."""

from pathlib import Path
from typing import Annotated

import typer

from tradeagent.cli.complete import wallets
from tradeagent.cli.output import table
from tradeagent.cli.session import session


def register(app: typer.Typer) -> None:
    app.command()(export)


def export(
    folder: Annotated[Path, typer.Argument(help="folder to make")],
    format_: Annotated[str, typer.Option("--format", help="csv | jsonl | parquet")] = "csv",
    wallet: Annotated[str | None, typer.Option(help="only this wallet's rows", autocompletion=wallets)] = None,
    from_: Annotated[str | None, typer.Option("--from", help="first instant, like 2025-01-01 (UTC)")] = None,
    to: Annotated[str | None, typer.Option("--to", help="end, not included")] = None,
) -> None:
    """Fills, funding, flows, round trips, orders, audit and more as files, with agents' journals and snapshots, and checksums.

    Money is exact text. Example: tradeagent export taxes-2025 --from 2025-01-01 --to 2026-01-01
    """
    from tradeagent.cli.parsing import span
    from tradeagent.runtime.exports import Wanted, export_all

    current = session()
    since, until = span(from_, to)
    wanted = Wanted(format_, None if wallet is None else current.wallet(wallet).name, since, until)
    manifest = export_all(current.workspace, current.ledger, current.clock, folder, wanted)
    rows = [one for one in manifest["files"] if one["rows"] is not None]
    copied = len(manifest["files"]) - len(rows)
    lines = [
        table(rows, ["file", "rows", "bytes"], right=("rows", "bytes")),
        "",
        f"{copied} files of agents, and manifest.json, in {folder}",
    ]
    current.output.document({"folder": str(folder), **manifest}, "\n".join(lines))
