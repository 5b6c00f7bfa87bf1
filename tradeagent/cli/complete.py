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


def prepare(stripped: Callable[[list[str]], list[str]]) -> None:
    """Let Typer answer shells; it does so by itself only where it also installs its scripts. `stripped` takes the global flags out of what
    is typed so far, since they may stand before the command."""
    from typer._click.shell_completion import CompletionItem, ShellComplete, add_completion_class
    from typer._completion_classes import BashComplete, FishComplete, ZshComplete

    from tradeagent.domain.errors import TradeAgentError

    class AfterGlobals(ShellComplete):
        def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
            try:
                return super().get_completions(stripped(args), incomplete)
            except TradeAgentError:
                return []  # it is the path of --workspace that is being typed, which the shell completes

    for shell, kind in zip(SHELLS, (BashComplete, ZshComplete, FishComplete), strict=True):
        add_completion_class(type(kind.__name__, (AfterGlobals, kind), {}), shell)


def _named(incomplete: str, names: Callable[[], list[str]]) -> list[str]:
    """Names that begin so; none when they cannot be read, since a key press is no place for an error."""
    from tradeagent.domain.errors import TradeAgentError

    try:
        return [name for name in names() if name.startswith(incomplete)]
    except TradeAgentError:
        return []


def _column(query: str, *values: str) -> list[str]:
    """One column of the ledger, read without loading what commands need: a key press must not take half a second."""
    import sqlite3

    try:
        connection = sqlite3.connect(f"file:{session().workspace.ledger_file}?mode=ro", uri=True)
        try:
            return [str(row[0]) for row in connection.execute(query, values)]
        finally:
            connection.close()
    except sqlite3.Error:
        return []


def _from_ledger(query: str) -> Callable[[str], list[str]]:
    return lambda incomplete: _named(incomplete, lambda: _column(query))


deployments = _from_ledger("SELECT id FROM deployments ORDER BY created_ms DESC LIMIT 200")
wallets = _from_ledger("SELECT name FROM wallets ORDER BY name")
suggestions = _from_ledger("SELECT id FROM suggestions WHERE state = 'open' ORDER BY created_ms DESC LIMIT 200")
cards = _from_ledger("SELECT id FROM cards WHERE state = 'waiting' ORDER BY created_ms DESC LIMIT 200")
drafts = _from_ledger("SELECT id FROM drafts ORDER BY updated_ms DESC LIMIT 200")
_saved_algos = _from_ledger("SELECT name FROM algos ORDER BY name")


def deployments_and_wallets(incomplete: str) -> list[str]:
    """What a command that concerns a wallet may name."""
    return [*deployments(incomplete), *wallets(incomplete)]


def agents(incomplete: str) -> list[str]:
    """Agent folders of the workspace."""
    return _named(incomplete, lambda: sorted(path.parent.name for path in session().workspace.agents_dir.glob("*/agent.md")))


def agents_and_deployments(incomplete: str) -> list[str]:
    """What has limits of its own."""
    return [*agents(incomplete), *deployments(incomplete)]


def algos(incomplete: str) -> list[str]:
    """Saved algos, then built-ins and templates."""
    from importlib.resources import files

    shipped = sorted(
        file.name.removesuffix(".yml") for file in (files("tradeagent.algos") / "library").iterdir() if file.name.endswith(".yml")
    )
    return [*_saved_algos(incomplete), *_named(incomplete, lambda: shipped)]


def backtests(incomplete: str) -> list[str]:
    """Ids of stored backtests, newest first, after the word `last`."""
    from tradeagent.research.store import FILE_NAME, LAST, listed

    stored = _named(incomplete, lambda: [row["id"] for row in listed(session().workspace.warehouse_dir / FILE_NAME)])
    return [*_named(incomplete, lambda: [LAST]), *stored]


def studies(context: typer.Context, incomplete: str) -> list[str]:
    """Ids of the studies of the group that the command is in, `optimize` or `cv`, newest first, after the word `last`."""
    kind = str(context.parent and context.parent.info_name)
    query = "SELECT id FROM studies WHERE kind = ? ORDER BY time_ms DESC, id DESC LIMIT 200"
    return _named(incomplete, lambda: ["last", *_column(query, kind)])


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
