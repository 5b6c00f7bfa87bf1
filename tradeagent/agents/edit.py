"""A person's edit of agent.md: a draft beside it takes its place once it can run, and stays where it is until then."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tradeagent.agents.folder import DEFINITION_NAME, Known, parse_agent, read_texts
from tradeagent.domain.errors import BusyError, TradeAgentError
from tradeagent.workspace.files import content_hash, read_settled, try_replace, write_new

DRAFT_NAME = "agent.draft.md"


@dataclass(frozen=True, slots=True)
class Edited:
    """What an edit came to: whether agent.md is another one now, and whether it went on with a draft of before."""

    is_changed: bool
    went_on: bool


def edit_definition(folder: Path, known: Known, edit: Callable[[Path], None]) -> Edited:
    """Let `edit` change a draft, check it, and put it in place of agent.md.

    Raises the errors of `load_agent` for what was typed, and BusyError when agent.md changed meanwhile; the draft is kept then, and the
    next edit goes on with it. A draft that says nothing new is removed.
    """
    before, config = read_texts(folder)
    file, draft = folder / DEFINITION_NAME, folder / DRAFT_NAME
    went_on = not write_new(draft, before, durable=True)
    try:
        edit(draft)
    finally:
        text = read_settled(draft) if draft.exists() else before
        if text == before:
            draft.unlink(missing_ok=True)
    if text == before:
        return Edited(False, went_on)
    again = f"`tradeagent agent edit {folder.name}` goes on with {DRAFT_NAME}; agent.md is as it was"
    try:
        parse_agent(folder, text, config, known)
    except TradeAgentError as error:
        error.hint = "; ".join(filter(None, (error.hint, again)))
        raise
    if try_replace(file, content_hash(before), text, durable=True) is None:
        raise BusyError(f"{file.name} was changed by somebody else meanwhile", hint=f"compare it with {DRAFT_NAME}, which has your text")
    draft.unlink(missing_ok=True)
    return Edited(True, went_on)
