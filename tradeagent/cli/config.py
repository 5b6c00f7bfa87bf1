"""`config`: what is set, where it came from, and changing it."""

from typing import Annotated

import typer

from tradeagent.cli.output import table
from tradeagent.cli.session import session

app = typer.Typer(help="Show and change config.yml.", no_args_is_help=True)


@app.command()
def show(origin: Annotated[bool, typer.Option("--origin", help="say where each value came from")] = False) -> None:
    """Every setting in force. Keys are references (env:NAME), never the secret itself."""
    rows = [{"key": key, "value": value, "origin": source} for key, value, source in session().config.rows()]
    data = {row["key"]: {"value": row["value"], "origin": row["origin"]} if origin else row["value"] for row in rows}
    session().output.document(data, table(rows, ["key", "value", "origin"] if origin else ["key", "value"]))


@app.command(name="set")
def set_(
    key: Annotated[str, typer.Argument(help="dotted key, like paper.slippage_bps")],
    value: Annotated[str, typer.Argument(help="new value")],
) -> None:
    """Change one setting in config.yml, keeping its comments. Example: tradeagent config set paper.slippage_bps 3"""
    import os

    from tradeagent.domain.names import Actor, EventKind
    from tradeagent.ledger import events
    from tradeagent.llm.keys import scrub
    from tradeagent.workspace.config import shown
    from tradeagent.workspace.config_text import recorded, set_value, written_value
    from tradeagent.workspace.settings import split_key

    current = session()
    file = current.workspace.config_file
    current.workspace.require_writable()
    ledger, names, before = current.ledger, split_key(key), written_value(file, key)
    set_value(file, key, value)
    kept = written_value(file, key)
    old, new = (scrub(recorded(each, names), os.environ) or None for each in (before, kept))
    with ledger.transaction() as tx:
        data = {"key": key, "old": old, "new": new}
        events.append(tx, EventKind.CONFIG_CHANGED, current.clock.now_ms(), actor=Actor.MANUAL, subject=key, data=data)
    text = shown(kept, names)
    current.output.document({"key": key, "value": text, "file": str(file)}, f"{key} = {text} in {file}")


@app.command()
def path() -> None:
    """Where the workspace and its files are."""
    workspace = session().workspace
    places = {
        "workspace": str(workspace.root),
        "config": str(workspace.config_file),
        "agents": str(workspace.agents_dir),
        "ledger": str(workspace.ledger_file),
        "data": str(workspace.warehouse_dir),
    }
    from tradeagent.cli.output import pairs

    session().output.document(places, pairs(places))
