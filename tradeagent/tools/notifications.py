"""Tool of family notifications: a word from an agent to its user. It becomes an event; whoever watches the feed shows or sends it."""

from typing import Literal

from pydantic import Field

from tradeagent.domain.clock import HOUR_MS
from tradeagent.domain.errors import RefusedError
from tradeagent.domain.names import Actor, EventKind
from tradeagent.ledger import events
from tradeagent.llm.contract import Tool, ToolResult
from tradeagent.tools.context import AgentContext
from tradeagent.tools.market import Arguments
from tradeagent.workspace.plain_text import visible

MOST_PER_HOUR = 6
MAX_TEXT = 300


class SendNotification(Arguments):
    text: str = Field(min_length=1, max_length=MAX_TEXT, description="one or two plain sentences; links are not clickable")
    level: Literal["info", "warning"] = "info"


async def send_notification(arguments: SendNotification, context: AgentContext) -> ToolResult:
    text = " ".join(visible(arguments.text).split())
    if not text:
        return ToolResult.error("invalid_arguments", "text: nothing that can be seen", "write a sentence")
    if context.resources.is_dry:
        return ToolResult({"sent": False, "why": "a dry run tells nobody", "text": text})
    sent = await context.engine.alone(lambda: _sent(text, arguments.level, context))
    return ToolResult({"sent": True, "left_this_hour": MOST_PER_HOUR - sent, "seen_as": f"your words, as agent {context.slug}"})


def _sent(text: str, level: str, context: AgentContext) -> int:
    """Note it, unless there were too many in the last hour; how many there are with it."""
    now = context.clock.now_ms()
    with context.ledger.transaction(durable=False) as tx:
        said = events.read(tx, deployment=context.deployment, kinds=(EventKind.NOTIFICATION.value,), limit=MOST_PER_HOUR, newest=True)
        recent = len([row for row in said if row["time_ms"] > now - HOUR_MS])
        if recent >= MOST_PER_HOUR:
            raise RefusedError(
                f"{MOST_PER_HOUR} notifications were sent in the last hour; more would be noise",
                hint="write it with write_note; the user reads the journal",
                code="rate_limited",
            )
        data = {"text": text, "level": level, "agent": context.slug}
        wallet = context.engine.wallet.name
        events.append(tx, EventKind.NOTIFICATION, now, wallet=wallet, deployment=context.deployment, actor=Actor.AGENT, data=data)
    return recent + 1


NOTIFICATION_TOOLS = (
    Tool(
        "send_notification",
        f"Tell the user something that cannot wait; at most {MOST_PER_HOUR} an hour.",
        SendNotification,
        "notifications",
        "ops",
        send_notification,
    ),
)
