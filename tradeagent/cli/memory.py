"""`memory`: the notes the assistant keeps, which are yours to read and change."""

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradeagent.cli.complete import notes
from tradeagent.cli.confirm import confirmed
from tradeagent.cli.output import table
from tradeagent.cli.session import session

if TYPE_CHECKING:
    from tradeagent.assistant.meaning import Embedding
    from tradeagent.assistant.memory import Memory
    from tradeagent.workspace.tree import Entry, Listing

app = typer.Typer(help="Notes of the assistant: markdown below memory/, shared by all its sessions.", no_args_is_help=True)
Note = Annotated[str, typer.Argument(help="path below memory/, like research/btc-funding.md", autocompletion=notes)]
Words = Annotated[str | None, typer.Argument(help="what to write; without it what is piped in")]
_EMPTY = 'no notes yet: `tradeagent memory write research/idea.md "what you want kept"`'


@app.command()
def ls(folder: Annotated[str, typer.Argument(help="only below this folder, like strategies")] = "") -> None:
    """Every note with its size and age. Example: tradeagent memory ls research"""
    listing = _below(folder)
    for skipped in listing.skipped:
        session().output.say(f"not used: {skipped}")
    rows = [_shown(entry) for entry in listing.entries]
    session().output.document(rows, table(rows, ["path", "size", "modified_at"], right=("size",), empty=_EMPTY))


@app.command()
def read(path: Note) -> None:
    """Print one note. Example: tradeagent memory read research/btc-funding.md"""
    note = _memory().read(path)
    session().output.document({**_shown(note.entry), "hash": note.hash, "text": note.text}, note.text)


@app.command()
def write(path: Note, text: Words = None) -> None:
    """Make TEXT, or what is piped in, the whole of a note. Example: tradeagent memory write research/btc.md < notes.md"""
    memory = _writable()
    _done("wrote", memory.write(path, _given(text)))


@app.command()
def append(path: Note, text: Words = None) -> None:
    """Add lines at the end of a note, made when missing. Example: tradeagent memory append research/btc.md < more.md"""
    memory = _writable()
    _done("added to", memory.append(path, _given(text)))


@app.command()
def search(
    words: Annotated[list[str], typer.Argument(help="words the note must hold; a * at the end of one finds its beginnings")],
    folder: Annotated[str, typer.Option("--folder", help="only below this folder")] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", help="at most this many", min=1, max=100)] = 10,
    words_only: Annotated[bool, typer.Option("--words-only", help="not by meaning, though memory.embedding_model is set")] = False,
) -> None:
    """Notes that hold the words, best first; when none holds all, those that hold any. Example: tradeagent memory search funding basis

    With memory.embedding_model in config.yml also notes that mean the like.
    """
    from tradeagent.domain.clock import iso

    _below(folder)
    embedding = None if words_only else _embedding()
    found = _memory().search(" ".join(words), folder=folder, limit=limit, embedding=embedding)
    if found.notice:
        session().output.say(found.notice)
    rows = [
        {"path": hit.key, "title": hit.title, "snippet": hit.snippet, "score": hit.score, "modified_at": iso(hit.modified_ms)}
        for hit in found.hits
    ]
    if rows and found.matched == "any":
        session().output.say("no note holds all of these words; these hold some")
    text = "\n\n".join(f"{row['path']}\n  {row['snippet']}" for row in rows)
    session().output.document(rows, text or f"no note holds {' or '.join(words)}: see `tradeagent memory ls`")


@app.command()
def rm(path: Note) -> None:
    """Delete a note. Asks first; --yes answers. Example: tradeagent memory rm research/old.md --yes"""
    memory = _writable()
    memory.read(path)
    confirmed(f"delete memory/{path}")
    memory.remove(path)
    session().output.document({"path": path, "removed": True}, f"deleted memory/{path}")


def _memory() -> "Memory":
    from tradeagent.assistant.memory import Memory

    return Memory(session().workspace, session().clock)


def _below(folder: str) -> "Listing":
    """The notes of a folder, NotFound when there is nothing of that name; without one all there are."""
    from tradeagent.domain.errors import NotFound

    listing = _memory().notes(folder)
    if folder and not listing.entries and not listing.skipped:
        raise NotFound(f"no notes below {folder!r}", hint="`tradeagent memory ls` shows all")
    return listing


def _writable() -> "Memory":
    session().workspace.require_writable()
    return _memory()


def _embedding() -> "Embedding | None":
    """The configured model; None without one, and, said so, without its key."""
    from tradeagent.domain.errors import ModelError

    current = session()
    model = current.config.text("memory.embedding_model")
    if not model:
        return None
    from tradeagent.assistant.meaning import Embedding
    from tradeagent.llm.embeddings import open_embedder
    from tradeagent.llm.settings import model_settings

    try:
        return Embedding(model, open_embedder(model, model_settings(current.config, os.environ)).embed)
    except ModelError as error:
        current.output.say(f"not searched by meaning: {error.message}")
        return None


def _given(text: str | None) -> str:
    from tradeagent.domain.errors import InvalidInput
    from tradeagent.workspace.tree import MAX_BYTES

    if text is not None:
        return text
    if sys.stdin.isatty():
        raise InvalidInput("text: nothing is given and nothing is piped in", hint='tradeagent memory write PATH "TEXT"')
    try:
        return sys.stdin.buffer.read(MAX_BYTES + 1).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"text: what is piped in is not UTF-8: byte {error.start + 1}", hint="save it as UTF-8") from None


def _shown(entry: "Entry") -> dict[str, Any]:
    from tradeagent.domain.clock import iso

    return {"path": entry.path, "size": entry.size, "modified_at": iso(entry.modified_ms)}


def _done(what: str, entry: "Entry") -> None:
    session().output.document(_shown(entry), f"{what} memory/{entry.path}, {entry.size} bytes")
