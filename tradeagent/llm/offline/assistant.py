"""`offline/assistant`: a small intent parser behind the Model protocol. It calls the product's own tools as a model would, and says that it
is rule-based."""

import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from decimal import Decimal

from tradeagent.llm.contract import CHARACTERS_PER_TOKEN, Message, ModelDelta, ToolCall, ToolSpec
from tradeagent.llm.offline import assistant_words as words
from tradeagent.llm.offline.assistant_intents import EXAMPLES, script_for
from tradeagent.llm.offline.assistant_talk import FIND, Answer, Script, Talk, read_talk
from tradeagent.llm.offline.trade import Call
from tradeagent.llm.usage import Usage

MOST_QUESTIONS = 4
_CHUNK = 48


class OfflineAssistant:
    """Each round replays the question's script with the answers so far: the next call, or the text at its end."""

    is_rule_based = True

    def __init__(self, model_id: str) -> None:
        self.id = model_id

    async def estimate_usd(self, messages: Sequence[Message], max_tokens: int, tools: Sequence[ToolSpec] = ()) -> Decimal | None:
        return Decimal(0)

    async def stream(self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, max_tokens: int) -> AsyncGenerator[ModelDelta, None]:
        talk = read_talk(messages)
        step = next_step(talk, frozenset(tool.name for tool in tools))
        written = 0
        if isinstance(step, str):
            text = f"[rule-based {self.id}] {step}"
            written = len(text)
            for start in range(0, written, _CHUNK):
                yield ModelDelta(text=text[start : start + _CHUNK])
        else:
            arguments = json.dumps(step.arguments)
            written = len(arguments)
            yield ModelDelta(tool_call=ToolCall(f"rule_{len(talk.now)}", step.name, arguments))
        read = sum(len(message.content) for message in messages)
        usage = Usage(read // CHARACTERS_PER_TOKEN, written // CHARACTERS_PER_TOKEN, Decimal(0))
        yield ModelDelta(usage=usage, done="stop" if isinstance(step, str) else "tool_calls")


def next_step(talk: Talk, offered: frozenset[str]) -> Call | str:
    """The next call of the turn, or what to say. A tool that is not offered is looked for first, once."""
    looked_for = {str(answer.arguments.get("query")) for answer in talk.now if answer.name == FIND}
    step = _advanced(talk, [answer for answer in talk.now if answer.name != FIND])
    if isinstance(step, str) or step.name in offered:
        return step
    if FIND in offered and step.name not in looked_for:
        return Call(FIND, {"query": step.name})
    return f"That needs {step.name}, which is not available in this mode. /mode research, authoring, coach or ops changes it."


def _advanced(talk: Talk, answers: Sequence[Answer]) -> Call | str:
    """Run the scripts of all questions, each with those before it in mind, as far as the answers reach."""
    told, used = [], 0
    for question in _questions(talk.question):
        script = script_for(question)
        if script is None:
            told.append(f"I did not understand that. {EXAMPLES}")
            continue
        known = (*talk.before, *(answer for answer in answers[:used] if not answer.is_error))
        step, count = _run(script(replace(talk, question=question, before=known)), answers[used:])
        if not isinstance(step, str):
            return step
        told.append(step)
        used += count
    return "\n\n".join(told)


def _run(script: Script, answers: Sequence[Answer]) -> tuple[Call | str, int]:
    """What comes next, and how many answers the script has taken; one that is an error ends it."""
    taken = 0
    try:
        call = next(script)
        for answer in answers:
            taken += 1
            if answer.is_error:
                return words.error(answer.result), taken
            call = script.send(answer)
    except StopIteration as end:
        return str(end.value), taken
    return call, taken


def _questions(text: str) -> list[str]:
    """Messages that were asked together, when each is one by itself; else the whole."""
    parts = [part for part in text.split("\n\n") if part.strip()]
    if 1 < len(parts) <= MOST_QUESTIONS and all(script_for(part) for part in parts):
        return parts
    return [text]
