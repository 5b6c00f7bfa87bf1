"""`notify`: the channels on which a run tells its user something."""

import os
from typing import Annotated

import typer

from tradeagent.cli.output import table
from tradeagent.cli.session import session

app = typer.Typer(help="Channels of notifications.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Channels of notifications (notify.NAME in config.yml)."""


@app.command()
def test(name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="this channel only")] = None) -> None:
    """Send a word to every channel of config.yml, or to one. Exit 5 when one of them did not take it. Example: tradeagent notify test"""
    from tradeagent.domain.errors import VenueError
    from tradeagent.runtime.notifications import try_channels

    rows = try_channels(session().config, name, os.environ)
    failed = [row for row in rows if not row["sent"]]
    if failed:
        shown = "; ".join(f"{row['name']}: {row['error']}" for row in failed)
        raise VenueError(f"notify: {shown}", hint="tradeagent config show lists the channels", details={"channels": rows})
    session().output.document(rows, table(rows, ["name", "sent", "min_level", "per_hour"]))
