"""`sessions`: conversations with the assistant, as they are kept in sessions/."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradeagent.cli.complete import sessions
from tradeagent.cli.confirm import confirmed
from tradeagent.cli.group import lists
from tradeagent.cli.output import table
from tradeagent.cli.session import session

if TYPE_CHECKING:
    from tradeagent.assistant.sessions import Sessions

app = typer.Typer(help="Conversations with the assistant: read, search, export, delete. Alone it lists them.")
Id = Annotated[str, typer.Argument(help="id, a part of it that no other has, or `last`", autocompletion=sessions)]
_EMPTY = "no conversations yet: a chat with the assistant makes one"


@lists(app)
def list_() -> None:
    """Every conversation, the one used last first."""
    rows = [settings.as_dict() for settings in _sessions().all()]
    session().output.document(rows, table(rows, ["id", "updated_at", "mode", "model", "title"], empty=_EMPTY))


@app.command()
def show(name: Id) -> None:
    """Print one conversation; with --json its settings and every record. Example: tradeagent sessions show last"""
    kept = _sessions()
    settings = kept.get(name)
    found = kept.records(settings.id)
    if found.damaged or found.torn:
        session().output.say(f"{found.damaged + bool(found.torn)} lines of the transcript are damaged and left out")
    data = {**settings.as_dict(), "records": found.records, "damaged": found.damaged + bool(found.torn)}
    session().output.document(data, kept.export(settings.id))


@app.command()
def search(
    words: Annotated[list[str], typer.Argument(help="words that were said; a * at the end of one finds its beginnings")],
    limit: Annotated[int, typer.Option("--limit", "-n", help="at most this many", min=1, max=100)] = 10,
) -> None:
    """Conversations in which the words were said, best first. Example: tradeagent sessions search grid drawdown"""
    kept = _sessions()
    found = kept.search(" ".join(words), limit=limit)
    rows = [
        {
            "id": hit.key,
            "title": hit.title,
            "updated_at": kept.get(hit.key).as_dict()["updated_at"],
            "snippet": hit.snippet,
            "score": hit.score,
        }
        for hit in found.hits
    ]
    if rows and found.matched == "any":
        session().output.say("no conversation has all of these words; these have some")
    text = "\n\n".join(f"{row['id']}  {row['title']}\n  {row['snippet']}" for row in rows)
    session().output.document(rows, text or f"no conversation has {' or '.join(words)}: see `tradeagent sessions list`")


@app.command()
def export(
    name: Id,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="write to this new file; without it to the terminal")] = None,
) -> None:
    """One conversation as a markdown page. Example: tradeagent sessions export last --out chat.md"""
    from tradeagent.domain.errors import InvalidInput
    from tradeagent.workspace.files import write_new

    kept = _sessions()
    settings = kept.get(name)
    page = kept.export(settings.id)
    if out is None:
        session().output.document({"id": settings.id, "markdown": page}, page)
        return
    if not write_new(out.expanduser(), page, durable=True):
        raise InvalidInput(f"--out: {out} exists already", hint="name a new file, or remove that one")
    session().output.document({"id": settings.id, "file": str(out), "bytes": len(page.encode())}, f"wrote {out}")


@app.command()
def rm(name: Id) -> None:
    """Delete a conversation with its scratchpad. Asks first; --yes answers. Example: tradeagent sessions rm 01KAQZ --yes"""
    kept = _sessions()
    session().workspace.require_writable()
    settings = kept.get(name)
    confirmed(f"delete session {settings.id}, {settings.title!r}")
    kept.remove(settings.id)
    session().output.document({"id": settings.id, "removed": True}, f"deleted session {settings.id}")


def _sessions() -> "Sessions":
    from tradeagent.assistant.sessions import Sessions

    return Sessions(session().workspace, session().clock)
