"""Shell completion: names of what is in the workspace, and the script that a shell sources."""

import os
from collections.abc import Callable
from typing import Annotated

import typer

from tradeagent.cli.session import session

COMPLETE_VARIABLE = "_TRADEAGENT_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


def register(app: typer.Typer) -> None:
    app.command()(completion)


def completion(shell: Annotated[str, typer.Argument(help="bash | zsh | fish")]) -> None:
    """Print the completion script. Example: eval "$(tradeagent completion bash)" """
    from typer._completion_shared import get_completion_script  # Typer installs it only into shell files, which is the person's to do

    from tradeagent.domain.errors import InvalidInput

    if shell not in SHELLS:
        raise InvalidInput(f"shell: {shell!r} is not supported", hint=f"one of {', '.join(SHELLS)}")
    script = get_completion_script(prog_name="tradeagent", complete_var=COMPLETE_VARIABLE, shell=shell)
    session().output.document({"shell": shell, "script": script}, script)


def is_asked() -> bool:
    """Whether a shell asks for completions rather than a person for a command."""
    return COMPLETE_VARIABLE in os.environ


def prepare() -> None:
    """Let Typer answer shells; it does so by itself only where it also installs its scripts."""
    from typer._completion_classes import completion_init

    completion_init()


def agents(incomplete: str) -> list[str]:
    """Agent folders of the workspace."""
    from tradeagent.domain.errors import TradeAgentError

    try:
        folders = session().workspace.agents_dir.glob("*/agent.md")
        return sorted(path.parent.name for path in folders if path.parent.name.startswith(incomplete))
    except TradeAgentError:
        return []


def deployments(incomplete: str) -> list[str]:
    """Runs and agents, newest first."""
    return [name for name in _from_ledger("SELECT id FROM deployments ORDER BY created_ms DESC LIMIT 200") if name.startswith(incomplete)]


def wallets(incomplete: str) -> list[str]:
    """Wallet names."""
    return [name for name in _from_ledger("SELECT name FROM wallets ORDER BY name") if name.startswith(incomplete)]


def algos(incomplete: str) -> list[str]:
    """Saved algos, then built-ins and templates."""
    from importlib.resources import files

    shipped = sorted(
        file.name.removesuffix(".yml") for file in (files("tradeagent.algos") / "library").iterdir() if file.name.endswith(".yml")
    )
    return [name for name in [*_from_ledger("SELECT name FROM algos ORDER BY name"), *shipped] if name.startswith(incomplete)]


def backtests(incomplete: str) -> list[str]:
    """Ids of stored backtests, newest first, after the word `last`."""
    from tradeagent.domain.errors import TradeAgentError
    from tradeagent.research.store import FILE_NAME, LAST, listed

    try:
        ids = [row["id"] for row in listed(session().workspace.warehouse_dir / FILE_NAME)]
    except TradeAgentError:
        ids = []
    return [name for name in [LAST, *ids] if name.startswith(incomplete)]


def studies(incomplete: str) -> list[str]:
    """Searches and validations, newest first."""
    found = _from_ledger("SELECT id FROM studies ORDER BY time_ms DESC, id DESC LIMIT 200")
    return [name for name in found if name.startswith(incomplete)]


def suggestions(incomplete: str) -> list[str]:
    """Open suggestions of agents, newest first."""
    found = _from_ledger("SELECT id FROM suggestions WHERE state = 'open' ORDER BY created_ms DESC LIMIT 200")
    return [name for name in found if name.startswith(incomplete)]


def cards(incomplete: str) -> list[str]:
    """Cards that wait, newest first."""
    found = _from_ledger("SELECT id FROM cards WHERE state = 'waiting' ORDER BY created_ms DESC LIMIT 200")
    return [name for name in found if name.startswith(incomplete)]


def drafts(incomplete: str) -> list[str]:
    """Drafts, last changed first."""
    found = _from_ledger("SELECT id FROM drafts ORDER BY updated_ms DESC LIMIT 200")
    return [name for name in found if name.startswith(incomplete)]


def notes(incomplete: str) -> list[str]:
    """Notes of the assistant."""
    from tradeagent.assistant.memory import Memory

    return _named(incomplete, lambda: [entry.path for entry in Memory(session().workspace, session().clock).notes().entries])


def skills(incomplete: str) -> list[str]:
    """Skills of the workspace."""
    from tradeagent.assistant.skills import Skills

    return _named(incomplete, lambda: Skills(session().workspace).names())


def sessions(incomplete: str) -> list[str]:
    """Conversations, the one used last first, after the word `last`."""
    from tradeagent.assistant.sessions import LAST, Sessions

    return _named(incomplete, lambda: [LAST, *(settings.id for settings in Sessions(session().workspace, session().clock).all())])


def _named(incomplete: str, names: Callable[[], list[str]]) -> list[str]:
    """Names that begin so; none when they cannot be read, since a key press is no place for an error."""
    from tradeagent.domain.errors import TradeAgentError

    try:
        return [name for name in names() if name.startswith(incomplete)]
    except TradeAgentError:
        return []


def _from_ledger(query: str) -> list[str]:
    """One column, read without loading what commands need: a key press must not take half a second."""
    import sqlite3

    from tradeagent.domain.errors import TradeAgentError

    try:
        connection = sqlite3.connect(f"file:{session().workspace.ledger_file}?mode=ro", uri=True)
        try:
            return [str(row[0]) for row in connection.execute(query)]
        finally:
            connection.close()
    except (sqlite3.Error, TradeAgentError):
        return []
