"""`chat --agent`: a message to a run and its answer, once or line by line."""

import asyncio
from typing import Any

from tradeagent.cli.chat import raise_failure, terminal_width
from tradeagent.cli.chat_view import ChatView, arguments_in
from tradeagent.cli.output import is_interactive
from tradeagent.cli.session import session
from tradeagent.domain.errors import TradeAgentError
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.ledger.threads import MessageRow
from tradeagent.llm.contract import TurnEvent
from tradeagent.runtime.agent_chat import is_answered_by_runner, read_only_answer, run_of, say, wait_for_answer
from tradeagent.runtime.place import Place


def talk(place: Place, agent: str, text: str | None) -> int:
    """One message with its answer, or a conversation on the terminal."""
    row = run_of(place, agent)
    if text is None:
        asyncio.run(_converse(place, row))
        return 0
    output = session().output
    view = ChatView(output.raw, terminal_width()) if is_interactive() and not output.json else None
    told = asyncio.run(_asked(place, row, text, view))
    raise_failure(told["reason"], told.pop("detail"), "state/threads keeps what was said")
    if view is None:
        output.document(told, told["text"])
    return 0


async def _asked(place: Place, row: DeploymentRow, text: str, view: ChatView | None) -> dict[str, Any]:
    """One message, answered by its runner or, read-only, here."""
    is_run = is_answered_by_runner(place, row)
    seq = say(place, row, text)
    if is_run:
        answer = await wait_for_answer(place, row, seq)
        if view is not None:
            _show(view, answer)
    else:
        if view is not None:
            view.line(f"nobody runs {row.id}: it can read, not act", "yellow")
        answer = await read_only_answer(place, row, seq, view.event if view is not None else _unseen)
    calls = [
        {"name": call["name"], "arguments": arguments_in(call["arguments"]), "status": call["status"]}
        for call in answer.content["tool_calls"]
    ]
    return {
        "session": answer.thread,
        "mode": row.mode,
        "model": row.model,
        "deployment": row.id,
        "thread": answer.thread,
        "reads_only": not is_run,
        "text": answer.text,
        "tool_calls": calls,
        "cards": [],
        "usage": answer.content["usage"],
        "reason": answer.content["reason"],
        "detail": answer.content["detail"],
    }


def _show(view: ChatView, answer: MessageRow) -> None:
    for call in answer.content["tool_calls"]:
        view.line(f"▸ {call['name']} {call['status']}", "dim")
    view.markdown(answer.text)


def _unseen(_event: TurnEvent) -> None:
    """Nobody watches."""


async def _converse(place: Place, row: DeploymentRow) -> None:
    """Line by line until the person leaves."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.patch_stdout import patch_stdout

    view = ChatView(session().output.raw, terminal_width())
    prompt: PromptSession[str] = PromptSession()
    with patch_stdout(raw=True):
        view.line(f"{row.id}, {row.model}. Ctrl-D or /quit leaves.", "dim")
        while True:
            try:
                text = (await prompt.prompt_async(f"{row.slug} › ")).strip()
            except (EOFError, KeyboardInterrupt):
                return
            if text == "/quit":
                return
            if not text:
                continue
            try:
                told = await _asked(place, run_of(place, row.id), text, view)
                raise_failure(told["reason"], told["detail"], "state/threads keeps what was said")
            except TradeAgentError as error:
                view.line(f"{error.message}" + (f"\n  fix: {error.hint}" if error.hint else ""), "red")
