"""Tools of family memory: the notes that all conversations share, the scratchpad of one, and facts about the user. What a note says comes
back in an envelope: a person, another conversation or a page that was quoted wrote it, and it instructs nobody."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import Field

from tradeagent.domain.clock import iso
from tradeagent.domain.errors import InvalidInput, ModelError
from tradeagent.llm.contract import Tool, ToolResult
from tradeagent.llm.untrusted import untrusted
from tradeagent.tools.desk import DeskContext
from tradeagent.tools.market import Arguments
from tradeagent.tools.portfolio import Nothing

if TYPE_CHECKING:
    from tradeagent.assistant.meaning import Embedding
    from tradeagent.assistant.memory import Memory
    from tradeagent.workspace.tree import Entry, Listing, Text, Tree

MOST_SHOWN, MOST_LISTED, MOST_WRITTEN = 12_000, 200, 100_000
_SNIPPET = 400
_Answer = TypeVar("_Answer")
NotePath = Annotated[str, Field(min_length=4, max_length=400, description="like research/btc-funding.md")]
ScratchPath = Annotated[str, Field(min_length=1, max_length=400, description="like plan.txt")]
Folder = Annotated[str, Field(max_length=400, description="only below this folder, like strategies")]
Written = Annotated[str, Field(min_length=1, max_length=MOST_WRITTEN)]
Start = Annotated[int, Field(ge=0, le=2**20, description="first character to show; a long file comes in parts")]


class OneNote(Arguments):
    path: NotePath
    start: Start = 0


class WriteNote(Arguments):
    path: NotePath
    text: Written


class Below(Arguments):
    folder: Folder = ""


class SearchNotes(Below):
    query: str = Field(min_length=1, max_length=200, description="words; a * at the end of one finds its beginnings")
    count: int = Field(default=8, ge=1, le=20)


class OneScratch(Arguments):
    path: ScratchPath
    start: Start = 0


class WriteScratch(Arguments):
    path: ScratchPath
    text: Written


class NewFact(Arguments):
    fact: str = Field(min_length=1, max_length=1_000, description="one sentence about the user, at most 300 characters")


class OneFact(Arguments):
    id: str = Field(pattern=r"^[0-9a-f]{6}$", description="as in the list of facts")


async def memory_read(arguments: OneNote, context: DeskContext) -> ToolResult:
    found = await _in_memory(context, lambda memory: memory.read(arguments.path))
    return ToolResult(_page(found, f"memory/{arguments.path}", arguments.start))


async def memory_write(arguments: WriteNote, context: DeskContext) -> ToolResult:
    return ToolResult(_kept(await _in_memory(context, lambda memory: memory.write(arguments.path, arguments.text))))


async def memory_append(arguments: WriteNote, context: DeskContext) -> ToolResult:
    return ToolResult(_kept(await _in_memory(context, lambda memory: memory.append(arguments.path, arguments.text))))


async def memory_list(arguments: Below, context: DeskContext) -> ToolResult:
    return ToolResult(_listed("notes", await _in_memory(context, lambda memory: memory.notes(arguments.folder))))


async def memory_search(arguments: SearchNotes, context: DeskContext) -> ToolResult:
    embedding = _embedding(context)
    found = await _in_memory(
        context, lambda memory: memory.search(arguments.query, folder=arguments.folder, limit=arguments.count, embedding=embedding)
    )
    rows = [
        {
            "path": hit.key,
            "modified": iso(hit.modified_ms),
            "score": round(hit.score, 3),
            "text": untrusted(f"memory/{hit.key}", f"{hit.title}\n{hit.snippet}", _SNIPPET),
        }
        for hit in found.hits
    ]
    notice = {"notice": found.notice} if found.notice else {}
    return ToolResult({"notes": rows, "matched": found.matched, **notice})


async def scratch_read(arguments: OneScratch, context: DeskContext) -> ToolResult:
    found = await asyncio.to_thread(_scratch(context).read, arguments.path)
    return ToolResult(_page(found, f"scratch/{arguments.path}", arguments.start))


async def scratch_write(arguments: WriteScratch, context: DeskContext) -> ToolResult:
    return ToolResult(_kept(await asyncio.to_thread(_scratch(context).write, arguments.path, arguments.text)))


async def scratch_list(_arguments: Nothing, context: DeskContext) -> ToolResult:
    return ToolResult(_listed("files", await asyncio.to_thread(_scratch(context).listing)))


async def remember(arguments: NewFact, context: DeskContext) -> ToolResult:
    from tradeagent.assistant.facts import Facts

    kept = await _in_memory(context, lambda memory: Facts(memory, context.clock).remember(arguments.fact))
    return ToolResult({"id": kept.fact.id, "fact": kept.fact.text, "new": kept.is_new, "known_from": "the next turn on"})


async def forget(arguments: OneFact, context: DeskContext) -> ToolResult:
    from tradeagent.assistant.facts import Facts

    gone = await _in_memory(context, lambda memory: Facts(memory, context.clock).forget(arguments.id))
    return ToolResult({"forgotten": gone.text})


async def _in_memory(context: DeskContext, work: "Callable[[Memory], _Answer]") -> _Answer:
    """Work on the notes in a worker thread."""

    def done() -> _Answer:
        with _memory(context) as memory:
            return work(memory)

    return await asyncio.to_thread(done)


@contextmanager
def _memory(context: DeskContext) -> "Iterator[Memory]":
    """What the host keeps open, which is quicker, or one for this call."""
    from tradeagent.assistant.memory import Memory

    if context.memory is not None:
        yield context.memory
        return
    with closing(Memory(context.workspace, context.clock)) as memory:
        yield memory


def _embedding(context: DeskContext) -> "Embedding | None":
    """The configured model of meanings; None without one, or without its key: then words alone are searched."""
    model = context.config.text("memory.embedding_model")
    if not model:
        return None
    from tradeagent.assistant.meaning import Embedding
    from tradeagent.llm.embeddings import open_embedder
    from tradeagent.llm.settings import model_settings

    try:
        return Embedding(model, open_embedder(model, model_settings(context.config, os.environ)).embed)
    except ModelError:
        return None


def _scratch(context: DeskContext) -> "Tree":
    if context.conversation is None:
        raise InvalidInput("a scratchpad belongs to a conversation, and this is none", hint="memory_write keeps a note for all")
    return context.conversation.scratch


def _page(found: "Text", origin: str, start: int) -> dict[str, Any]:
    """A part of a file, and where the next one starts."""
    part = found.text[start : start + MOST_SHOWN]
    rest = len(found.text) - start - len(part)
    more = {"next_start": start + len(part)} if rest > 0 else {}
    return {**_kept(found.entry), "text": untrusted(origin, part, MOST_SHOWN), **more}


def _kept(entry: "Entry") -> dict[str, Any]:
    return {"path": entry.path, "bytes": entry.size, "modified": iso(entry.modified_ms)}


def _listed(what: str, listing: "Listing") -> dict[str, Any]:
    return {what: [_kept(entry) for entry in listing.entries[:MOST_LISTED]], "of": len(listing.entries)}


MEMORY_TOOLS = (
    Tool("memory_search", "Notes that hold the words, best first, with snippets.", SearchNotes, "memory", "memory", memory_search),
    Tool("memory_read", "One note that all conversations share.", OneNote, "memory", "memory", memory_read),
    Tool("memory_write", "Write a whole note, new or in place of the old one.", WriteNote, "memory", "memory", memory_write),
    Tool("memory_append", "Add lines at the end of a note, made when missing.", WriteNote, "memory", "memory", memory_append),
    Tool("memory_list", "Every note with its size and age.", Below, "memory", "memory", memory_list),
    Tool("scratch_read", "A working file of this conversation.", OneScratch, "memory", "memory", scratch_read),
    Tool("scratch_write", "Write a working file of this conversation.", WriteScratch, "memory", "memory", scratch_write),
    Tool("scratch_list", "The working files of this conversation.", Nothing, "memory", "memory", scratch_list),
    Tool("remember", "Keep a fact about the user for every conversation to come.", NewFact, "memory", "memory", remember),
    Tool("forget", "Remove a fact by its id.", OneFact, "memory", "memory", forget),
)
