"""Tools of family skills: which pages of instructions there are, and the stack of those that a conversation follows. No tool writes one."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from tradeagent.domain.errors import InvalidInput
from tradeagent.llm.contract import Tool, ToolResult
from tradeagent.tools.desk import DeskContext
from tradeagent.tools.market import Arguments
from tradeagent.tools.portfolio import Nothing

if TYPE_CHECKING:
    from tradeagent.assistant.sessions import Session

_FROM = "the next turn on"


class OneSkill(Arguments):
    skill: Annotated[str, Field(min_length=1, max_length=64, description="name, as list_skills has it")]


async def list_skills(_arguments: Nothing, context: DeskContext) -> ToolResult:
    from tradeagent.assistant.skills import Skills

    found, broken = Skills(context.workspace).all()
    rows = [{"skill": skill.name, "for": skill.description, "tokens": skill.tokens} for skill in found]
    return ToolResult({"skills": rows, "broken": [{"skill": each.name, "why": each.error.message} for each in broken]})


async def stack_push(arguments: OneSkill, context: DeskContext) -> ToolResult:
    from tradeagent.assistant.skills import Skills, pushed

    conversation = _conversation(context)
    skill = Skills(context.workspace).load(arguments.skill)
    conversation.change(skills=pushed(conversation.settings.skills, skill.name))
    return ToolResult({"pushed": skill.name, "tokens": skill.tokens, "active_from": _FROM, **_stack(conversation)})


async def stack_pop(_arguments: Nothing, context: DeskContext) -> ToolResult:
    from tradeagent.assistant.skills import popped

    conversation = _conversation(context)
    rest, gone = popped(conversation.settings.skills)
    conversation.change(skills=rest)
    return ToolResult({"popped": gone, "gone_from": _FROM, **_stack(conversation)})


async def stack_list(_arguments: Nothing, context: DeskContext) -> ToolResult:
    from tradeagent.assistant.skills import Skills

    stack = _conversation(context).settings.skills
    active, broken = Skills(context.workspace).active(stack)
    rows = [{"skill": skill.name, "tokens": skill.tokens} for skill in active]
    unusable = [{"skill": each.name, "why": each.error.message} for each in broken]
    return ToolResult({"stack_top_first": rows, "tokens": sum(skill.tokens for skill in active), "unusable": unusable})


def _stack(conversation: "Session") -> dict[str, list[str]]:
    return {"stack_top_first": list(reversed(conversation.settings.skills))}


def _conversation(context: DeskContext) -> "Session":
    if context.conversation is None:
        raise InvalidInput("a stack of skills belongs to a conversation, and this is none", hint="list_skills shows what there is")
    return context.conversation


SKILL_TOOLS = (
    Tool("list_skills", "Pages of instructions that may be put on the stack.", Nothing, "skills", "read", list_skills),
    Tool("stack_push", "Follow a skill from the next turn on.", OneSkill, "skills", "memory", stack_push),
    Tool("stack_pop", "Stop following the skill on top of the stack.", Nothing, "skills", "memory", stack_pop),
    Tool("stack_list", "The skills that are followed now, with what they cost.", Nothing, "skills", "memory", stack_list),
)
