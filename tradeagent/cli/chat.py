"""`chat`: talk with the assistant, or with an agent that runs; one question, what is piped in, or a conversation on the terminal."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradeagent.cli.complete import deployments, sessions
from tradeagent.cli.session import session

if TYPE_CHECKING:
    from tradeagent.llm.contract import TurnFinished
    from tradeagent.runtime.assistant import ChatRequest
    from tradeagent.runtime.place import Place
    from tradeagent.turns.assistant import AssistantSetup

MODEL_REASONS = ("model_error", "deadline", "first_token_timeout", "idle_timeout")


def register(app: typer.Typer) -> None:
    app.command()(chat)


def chat(
    message: Annotated[list[str] | None, typer.Argument(help="what to ask; without it a conversation, or what is piped in")] = None,
    agent: Annotated[str | None, typer.Option(help="talk with this run instead of the assistant", autocompletion=deployments)] = None,
    session_: Annotated[
        str | None, typer.Option("--session", "-s", help="go on with this one: id, a part of it, or `last`", autocompletion=sessions)
    ] = None,
    mode: Annotated[str | None, typer.Option(help="research | authoring | coach | ops: what it does and sees")] = None,
    level: Annotated[str | None, typer.Option(help="beginner | intermediate | expert: how much it explains")] = None,
    model: Annotated[str | None, typer.Option(help="of this conversation; default: assistant.model of config.yml")] = None,
    focus: Annotated[str | None, typer.Option(help="what the conversation is about, like an algorithm or an agent")] = None,
) -> int:
    """Ask the assistant. It researches, drafts and prepares; it never trades. Example: tradeagent chat "backtest sma_cross on BTC 1h"

    Without a model key the rule-based assistant answers. --json: {session, mode, model, text, tool_calls, cards, usage}.
    """
    from tradeagent.domain.errors import InvalidInput
    from tradeagent.runtime.assistant import ChatRequest

    text = _text(message)
    current = session()
    place = current.writable()
    if agent is not None:
        if any(value is not None for value in (session_, mode, level, model, focus)):
            raise InvalidInput("--agent: the agent has its own model and session", hint=f"tradeagent chat --agent {agent} MESSAGE")
        from tradeagent.cli.chat_agent import talk

        return talk(place, agent, text)
    request = ChatRequest(_known(place, session_), mode, level, model, focus)
    if text is not None:
        return _one_shot(place, request, text)
    from tradeagent.cli.chat_repl import converse

    return converse(place, request)


def _known(place: "Place", name: str | None) -> str | None:
    """The conversation to go on with; `last` before there is any begins one."""
    from contextlib import closing

    from tradeagent.assistant.sessions import LAST, Sessions

    with closing(Sessions(place.workspace, place.clock)) as sessions:
        return None if name == LAST and not sessions.ids() else name


def _text(message: list[str] | None) -> str | None:
    """What is asked, by argument or through a pipe; None on a terminal that is to be talked at."""
    from tradeagent.cli.output import is_interactive
    from tradeagent.domain.errors import InvalidInput
    from tradeagent.turns.assistant import MAX_ASKED

    if message:
        text = " ".join(message)
        if not text.strip():
            raise InvalidInput("message: there are no words in it", hint='tradeagent chat "what runs?"')
        return text
    if sys.stdin.isatty():
        if is_interactive() and not session().output.json:
            return None
        raise InvalidInput("message: there is none, and this is no terminal to talk at", hint='tradeagent chat "what runs?"')
    try:
        piped = sys.stdin.buffer.read(4 * MAX_ASKED + 1).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"message: what is piped in is not UTF-8: byte {error.start + 1}", hint="save it as UTF-8") from None
    if not piped.strip():
        raise InvalidInput("message: nothing is given and nothing is piped in", hint='tradeagent chat "what runs?"')
    return piped.strip()


def _one_shot(place: "Place", request: "ChatRequest", text: str) -> int:
    """One question with its answer; words appear as they come where a person watches."""
    import asyncio

    from tradeagent.cli.output import is_interactive
    from tradeagent.runtime.assistant import opened_chat

    output = session().output
    watched = is_interactive() and not output.json
    with opened_chat(place, request) as setup:
        told, ended = asyncio.run(_answer(place, setup, text, watched=watched))
    raise_failure(ended.reason, ended.detail, f"what was said is kept: tradeagent sessions show {told['session']}")
    if watched:
        output.say(_footer(told))
    else:
        output.document(told, told["text"] + "".join(f"\n\ncard {card}: tradeagent confirm {card}" for card in told["cards"]))
    return 0


async def _answer(place: "Place", setup: "AssistantSetup", text: str, *, watched: bool) -> "tuple[dict[str, Any], TurnFinished]":
    """Run the turn to its end; Ctrl-C ends it with what was said."""
    import asyncio
    import signal

    from tradeagent.cli.chat_view import ChatView, card_lines, tool_line
    from tradeagent.ledger import cards
    from tradeagent.llm.contract import ToolCallFinished, ToolCallStarted, TurnFinished
    from tradeagent.runtime.assistant import hosted_turn

    output = session().output
    view = ChatView(output.raw, terminal_width()) if watched else None
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, setup.interrupt.set)
    calls: dict[str, dict[str, Any]] = {}
    ended: TurnFinished | None = None
    async for event in hosted_turn(place, setup, text):
        if view is not None:
            view.event(event)
        if isinstance(event, ToolCallStarted):
            calls[event.call_id] = {"name": event.name, "arguments": event.arguments, "status": "interrupted"}
        elif isinstance(event, ToolCallFinished):
            call = calls.setdefault(event.call_id, {"name": event.name, "arguments": "{}"})
            call["status"] = "refused" if event.result.is_error else "ok"
            if view is None:
                output.say(tool_line(event, call["arguments"]))
        elif isinstance(event, TurnFinished):
            ended = event
    assert ended is not None
    if view is not None and setup.cards:
        with place.ledger.reading() as tx:
            for card in setup.cards:
                view.line("\n".join(card_lines(cards.get(tx, card))))
    return told_of(setup, ended, list(calls.values())), ended


def told_of(setup: "AssistantSetup", ended: "TurnFinished", calls: list[dict[str, Any]]) -> dict[str, Any]:
    """One answer as `--json` prints it."""
    from tradeagent.cli.chat_view import arguments_in

    settings = setup.session.settings
    for call in calls:
        call["arguments"] = arguments_in(call["arguments"])
    return {
        "session": settings.id,
        "mode": settings.mode,
        "model": setup.model.id,
        "rule_based": setup.model.is_rule_based,
        "text": ended.text,
        "tool_calls": calls,
        "cards": list(setup.cards),
        "usage": ended.usage.as_dict(),
        "reason": ended.reason,
    }


def raise_failure(reason: str, detail: str, kept: str) -> None:
    """A turn that gave no answer is an error; what was said before is kept."""
    from tradeagent.domain.errors import Interrupted, ModelError, RefusedError

    if reason == "interrupted":
        raise Interrupted("the turn was interrupted", hint=kept)
    if reason in MODEL_REASONS:
        raise ModelError(f"{reason.replace('_', ' ')}: {detail or 'the model did not answer in time'}", hint=kept)
    if reason == "budget":
        hint = "tradeagent config set assistant.max_cost_per_day_usd USD, or --model offline/assistant"
        raise RefusedError(f"budget: {detail}", hint=hint, code="budget")


def _footer(told: dict[str, Any]) -> str:
    cost = told["usage"]["cost_usd"]
    named = f"{told['model']}{' (rule-based)' if told['rule_based'] else ''}"
    return f"{named} · cost {'unknown' if cost is None else cost} USD · go on: tradeagent chat --session last"


def terminal_width() -> Any:
    """Asks the terminal how wide it is now; None with --no-color, for plain text."""
    import os
    import shutil

    if session().flags.no_color or os.environ.get("NO_COLOR"):
        return None
    return lambda: min(shutil.get_terminal_size().columns, 110)
