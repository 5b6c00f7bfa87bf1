"""Tools of family journal: what the agent wants remembered. Collected during the turn, written with the tick."""

from typing import Literal

from pydantic import Field

from tradeagent.llm.contract import Tool, ToolResult
from tradeagent.tools.context import AgentContext, Decision
from tradeagent.tools.market import Arguments
from tradeagent.tools.portfolio import Nothing

MAX_CANVAS = 1200
MAX_REFLECTION = 400
UPDATE_REFLECTION = "update_reflection"


class JournalAction(Arguments):
    action: str = Field(min_length=1, max_length=200, description="what you did, or 'hold'")
    reasoning: str = Field(min_length=1, max_length=600)
    risk_note: str = Field(default="", max_length=200)


class AddLearning(Arguments):
    section: Literal["Active insights", "Execution notes"] = "Active insights"
    text: str = Field(min_length=1, max_length=400, description="a lesson that will hold next week too")


class UpdateCanvas(Arguments):
    thesis: str | None = Field(default=None, max_length=MAX_CANVAS)
    working: str | None = Field(default=None, max_length=MAX_CANVAS)
    changed: str | None = Field(default=None, max_length=MAX_CANVAS)
    questions: str | None = Field(default=None, max_length=MAX_CANVAS)


class UpdateReflection(Arguments):
    entry_timing: str | None = Field(default=None, max_length=MAX_REFLECTION)
    sizing: str | None = Field(default=None, max_length=MAX_REFLECTION)
    market_selection: str | None = Field(default=None, max_length=MAX_REFLECTION)
    exit_timing: str | None = Field(default=None, max_length=MAX_REFLECTION)
    regime_fit: str | None = Field(default=None, max_length=MAX_REFLECTION)


class WriteNote(Arguments):
    text: str = Field(min_length=1, max_length=400, description="something to find again in this session's journal")


async def journal_action(arguments: JournalAction, context: AgentContext) -> ToolResult:
    context.notes.decisions.append(Decision(arguments.action, arguments.reasoning, arguments.risk_note))
    return ToolResult({"noted": True})


async def add_learning(arguments: AddLearning, context: AgentContext) -> ToolResult:
    context.notes.learnings.append((arguments.section, arguments.text))
    return ToolResult({"noted": True, "kept": "unless a present line says the same"})


async def update_canvas(arguments: UpdateCanvas, context: AgentContext) -> ToolResult:
    return _updated(context.notes.canvas, arguments)


async def update_reflection(arguments: UpdateReflection, context: AgentContext) -> ToolResult:
    return _updated(context.notes.reflection, arguments)


def _updated(kept: dict[str, str], arguments: Arguments) -> ToolResult:
    """Keep the slots that were stated."""
    stated = {key: value for key, value in arguments.model_dump().items() if value is not None}
    kept.update(stated)
    return ToolResult({"updated": sorted(stated)})


async def write_note(arguments: WriteNote, context: AgentContext) -> ToolResult:
    context.notes.notes.append(arguments.text)
    return ToolResult({"noted": True, "where": "the journal of this session, with this turn"})


async def read_journal(_arguments: Nothing, context: AgentContext) -> ToolResult:
    return ToolResult({"journal": context.read_journal()[-8000:]})


JOURNAL_TOOLS = (
    Tool("journal_action", "Write this tick's decision and why, one line each.", JournalAction, "journal", "memory", journal_action),
    Tool("add_learning", "Keep a lesson for later sessions.", AddLearning, "journal", "memory", add_learning),
    Tool("update_canvas", "Rewrite parts of your working picture.", UpdateCanvas, "journal", "memory", update_canvas),
    Tool(UPDATE_REFLECTION, "Rewrite notes on your closed trades.", UpdateReflection, "journal", "memory", update_reflection),
    Tool("write_note", "Put a line into your journal that is no decision.", WriteNote, "journal", "memory", write_note),
    Tool("read_journal", "Read your journal of this session.", Nothing, "journal", "read", read_journal),
)
