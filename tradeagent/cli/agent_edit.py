"""`agent edit` and `agent pin`: a person's words in an agent's folder, from the command line."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from tradeagent.cli.complete import agents
from tradeagent.cli.session import session

Slug = Annotated[str, typer.Argument(help="agent folder in trading_agents/", autocompletion=agents)]


def register(app: typer.Typer) -> None:
    app.command()(edit)
    app.command()(pin)


def edit(agent: Slug, pinned: Annotated[bool, typer.Option("--pinned", help="your pinned notes instead of agent.md")] = False) -> None:
    """Open agent.md in $EDITOR, and put it in force when it can run; what does not validate is kept as a draft, and nothing changes."""
    from tradeagent.agents.edit import edit_definition
    from tradeagent.agents.folder import read_texts
    from tradeagent.agents.pinned import Pinned
    from tradeagent.tools.known import known_to_agents

    current = session()
    current.workspace.require_writable()
    folder = current.workspace.agent_dir(agent)
    if pinned:
        read_texts(folder)
        _open(Pinned(folder).path)
        current.output.document({"agent": folder.name, "pinned": Pinned(folder).read()}, Pinned(folder).read() or "nothing is pinned")
        return
    done = edit_definition(folder, known_to_agents(current.config), _open)
    data = {"agent": folder.name, "changed": done.is_changed, "from_draft": done.went_on}
    text = "agent.md is changed, in force from the next run" if done.is_changed else "nothing has changed"
    current.output.document(data, f"{folder.name}: {text}")


def pin(agent: Slug, text: Annotated[str, typer.Argument(help="what every prompt of it says; leave out to see the notes")] = "") -> None:
    """Put a line into every prompt of an agent, in your own words. Example: tradeagent agent pin btc_momentum "flat before CPI" """
    from tradeagent.agents.folder import read_texts
    from tradeagent.agents.pinned import Pinned

    current = session()
    folder = current.workspace.agent_dir(agent)
    read_texts(folder)
    notes = Pinned(folder)
    if text:
        current.workspace.require_writable()
        notes.add(text)
    data = {"agent": folder.name, "pinned": notes.read()}
    current.output.document(data, data["pinned"] or "nothing is pinned")


def _open(path: Path) -> None:
    """Wait for the person's editor. Its output is not this command's, so it gets a terminal or none."""
    from tradeagent.domain.errors import InvalidInput

    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if not words:
        raise InvalidInput(f"EDITOR: {command!r} names no editor", hint=f"EDITOR=nano tradeagent agent edit {path.parent.name}")
    try:
        done = subprocess.run([*words, str(path)], check=False, stdout=None if sys.stdout.isatty() else subprocess.DEVNULL)
    except OSError as error:
        raise InvalidInput(f"EDITOR: {words[0]!r} does not start: {error.strerror}", hint="set EDITOR to an editor of yours") from error
    if done.returncode:
        raise InvalidInput(f"EDITOR: {words[0]!r} ended with {done.returncode}", hint="nothing has changed; edit again")
