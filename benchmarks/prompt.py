"""Rendering a tick's prompt, as a replay does it: every layer in its budget, and the hash of the whole."""

import asyncio
import statistics
import time

from benchmarks.measure import bare_json_ms, scratch
from benchmarks.report import Floor, Row, main
from tradeagent.runtime.assembly import assembled
from tradeagent.runtime.demo import demo_place, demo_request
from tradeagent.runtime.runner import Runner
from tradeagent.turns import tick
from tradeagent.turns.prompt import Prompt, build_prompt
from tradeagent.turns.prompt_inputs import PromptInputs

WARM, TICKS = 20, 200


def rows() -> list[Row]:
    """CPU ms of one render, and the size of what it makes."""
    taken: list[float] = []
    made: list[Prompt] = []

    def timed(inputs: PromptInputs) -> Prompt:
        began = time.process_time()
        made.append(build_prompt(inputs))
        taken.append((time.process_time() - began) * 1000)
        return made[-1]

    tick.build_prompt = timed  # type: ignore[attr-defined]  # where the tick looks it up
    with scratch() as folder:
        place = demo_place(folder / "ws", 0)
        with assembled(place, demo_request(TICKS, 0)) as run:
            asyncio.run(Runner(run).run())
        place.ledger.close()
    text = made[-1].system + made[-1].user
    floor = Floor("its text as JSON, there and back", bare_json_ms(text))
    return [
        Row("prompt of a tick, rendered", statistics.median(taken[WARM:]), "CPU ms", floor=floor),
        Row("prompt of a tick, size", len(text), "characters"),
    ]


if __name__ == "__main__":
    main(rows)
