"""`replay` and `agent compare`: recorded ticks to other models, and runs side by side."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradeagent.cli.complete import agents, deployments
from tradeagent.cli.output import table
from tradeagent.cli.session import session

if TYPE_CHECKING:
    from tradeagent.runtime.place import Place
    from tradeagent.runtime.replays import Recording
    from tradeagent.turns.choices import Choice
    from tradeagent.turns.replay import Replayed

Slug = Annotated[str, typer.Argument(help="agent folder in trading_agents/", autocompletion=agents)]
SessionOption = Annotated[int | None, typer.Option("--session", min=1, help="which session; default: the newest")]
Cache = Annotated[str, typer.Option(help="answers kept on disk: off | read | write | read_write | replay (never asks a model)")]
Cap = Annotated[str | None, typer.Option(help="most it may cost, USD; default: the agent's max_cost_per_day_usd")]
_FIGURES = ("model", "ticks", "answered", "agreement_pct", "hypothetical_pnl", "trades", "unpriced", "tokens", "cost_usd")


def register(app: typer.Typer) -> None:
    app.command()(replay)


def register_compare(app: typer.Typer) -> None:
    app.command()(compare)


def replay(
    agent: Slug,
    session_: SessionOption = None,
    tick: Annotated[int | None, typer.Option(min=1, help="only this tick")] = None,
    model: Annotated[str | None, typer.Option(help="any model id; default: the one that was recorded")] = None,
    cache: Cache = "read_write",
    max_cost: Cap = None,
) -> int:
    """Ask a model what it would have done in the recorded ticks of a session. No order is possible; nothing of the agent changes.

    Exit 5 when it answered none of them.
    Example: tradeagent replay btc_momentum --session 1 --model openai/gpt-5-mini
    """
    from tradeagent.runtime.replays import caveats_of, exit_code, recording_of, summary_of, tick_dict

    place = session().writable()
    recording = recording_of(place, agent, session_, tick)
    name = model or recording.model
    found = _asked(place, recording, name, cache, max_cost)
    summary, caveats = summary_of(place, recording, name, found), caveats_of(recording, found)
    data = {
        "agent": agent,
        "session": recording.session.number,
        "version": recording.version,
        "recorded_model": recording.model,
        "ticks": [tick_dict(one) for one in found],
        "summary": summary,
        "caveats": caveats,
    }
    shown = [
        {
            "tick": one.record.number,
            "then": _told(one.then),
            "now": _told(one.now) if one.is_answered else f"{one.reason}: {one.detail}"[:60],
            "same": one.is_same if one.is_answered else None,
        }
        for one in found
    ]
    lines = [table(shown, ["tick", "then", "now", "same"], right=("tick",)), "", _figures([summary])]
    session().output.document(data, "\n".join([*lines, "", *(f"note: {caveat}" for caveat in caveats)]))
    return exit_code(found)


def compare(
    names: Annotated[
        list[str], typer.Argument(help="agents, AGENT@VERSION or runs; one agent alone: its newest sessions", autocompletion=deployments)
    ],
    model: Annotated[list[str] | None, typer.Option(help="compare models on the recorded ticks of one agent; repeat it")] = None,
    session_: SessionOption = None,
    cache: Cache = "read_write",
    max_cost: Cap = None,
) -> int:
    """Runs side by side, or models on the same recorded ticks: agreement, hypothetical PnL and cost.

    Examples: tradeagent agent compare btc_momentum@1 btc_momentum@2
    or: tradeagent agent compare btc_momentum --model offline/hold --model openai/gpt-5-mini
    """
    from tradeagent.domain.errors import InvalidInput
    from tradeagent.runtime.comparison import compared_runs, sessions_of

    if model:
        if len(names) != 1:
            raise InvalidInput(
                "--model compares on one agent's recorded ticks", hint=f"tradeagent agent compare {names[0]} --model {model[0]}"
            )
        return _compare_models(names[0], model, session_, cache, max_cost)
    if session_ is not None:
        raise InvalidInput("--session needs --model", hint=f"name the run: tradeagent agent compare {names[0]}_{session_} …")
    with session().ledger.reading() as tx:
        chosen = names if len(names) > 1 else sessions_of(tx, names[0]) or names
        data = compared_runs(tx, chosen)
    session().output.document(data, _side_by_side(data))
    return 0


def _compare_models(agent: str, models: Sequence[str], number: int | None, cache: str, max_cost: str | None) -> int:
    from tradeagent.runtime.replays import caveats_of, exit_code, recording_of, summary_of

    place = session().writable()
    recording = recording_of(place, agent, number, None)
    rows: list[dict[str, Any]] = []
    asked: list[Replayed] = []
    caveats: dict[str, None] = {}
    for name in dict.fromkeys(models):
        found = _asked(place, recording, name, cache, max_cost)
        asked += found
        rows.append(summary_of(place, recording, name, found))
        caveats |= dict.fromkeys(caveats_of(recording, found))
    data = {
        "agent": agent,
        "session": recording.session.number,
        "recorded_model": recording.model,
        "models": rows,
        "caveats": list(caveats),
    }
    session().output.document(data, "\n".join([_figures(rows), "", *(f"note: {caveat}" for caveat in caveats)]))
    return exit_code(asked)


def _asked(place: "Place", recording: "Recording", model: str, cache: str, max_cost: str | None) -> "list[Replayed]":
    """Every answer, with progress; Ctrl-C ends it."""
    import asyncio

    from tradeagent.cli.progress import Progress
    from tradeagent.domain.money import parse_decimal
    from tradeagent.runtime.replays import cache_mode, replay_model, replayed

    cap = recording.budget_usd if max_cost is None else parse_decimal(max_cost, "--max-cost")
    opened, progress = replay_model(place, model, cache_mode(cache)), Progress(session().output)

    async def ask() -> "list[Replayed]":
        found: list[Replayed] = []
        progress.begin(f"{recording.session.agent_id} {model}", len(recording.records))
        async for one in replayed(place, recording, opened, cap):
            found.append(one)
            progress.tick(len(found), _told(one.now))
        progress.end()
        return found

    return asyncio.run(ask())


def _figures(rows: Sequence[dict[str, Any]]) -> str:
    recorded = {**rows[0]["recorded"], "model": f"{rows[0]['recorded']['model']} (recorded)"}
    return table([recorded, *rows], _FIGURES, right=_FIGURES[1:])


def _side_by_side(data: dict[str, Any]) -> str:
    columns = [f"run {number}" for number in range(1, len(data["runs"]) + 1)]
    keys = [key for key in data["runs"][0] if key != "agent"]
    rows = [
        {"": key.replace("_", " "), **{name: _shown(one[key]) for name, one in zip(columns, data["runs"], strict=True)}} for key in keys
    ]
    return "\n".join([table(rows, ["", *columns], right=columns), "", *(f"note: {caveat}" for caveat in data["caveats"])])


def _shown(value: Any) -> Any:
    return ", ".join(f"{rule} {count}" for rule, count in value.items()) or None if isinstance(value, dict) else value


def _told(choices: "Sequence[Choice]") -> str:
    return "; ".join(map(str, choices)) or "nothing"
