"""`routine`: the user's own helpers beside an agent, as the agent would run them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradeagent.cli.agent import Slug, load
from tradeagent.cli.output import table
from tradeagent.cli.session import session

if TYPE_CHECKING:
    from tradeagent.agents.folder import Agent
    from tradeagent.agents.routines import Routines

app = typer.Typer(help="Your own helpers beside an agent: list, describe and run them.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="NAME", help="name of the routine, its file without .py")]


@app.command(name="list")
def list_(agent: Slug) -> None:
    """Routines that an agent sees: its own, then the workspace's. Example: tradeagent routine list btc_momentum"""
    rows = [{"name": one.name, "what": one.description, "problem": one.problem, "file": str(one.path)} for one in _of(load(agent)).listed()]
    empty = "no routines: put NAME.py into routines/ of the agent or of the workspace"
    session().output.document(rows, table(rows, ["name", "what", "problem"], empty=empty))


@app.command()
def show(agent: Slug, name: Name) -> None:
    """What one takes: the fields of its config. Example: tradeagent routine show btc_momentum range_scan"""
    routines = _of(load(agent))
    schema = routines.schema(name)
    fields = [{"field": key, **_field(value)} for key, value in schema.get("properties", {}).items()]
    data = {"name": name, "what": routines.get(name).description, "config": schema}
    session().output.document(data, f"{data['what']}\n{table(fields, ['field', 'type', 'default', 'meaning'], empty='it takes nothing')}")


@app.command()
def run(
    agent: Slug,
    name: Name,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="FIELD=VALUE of its config, the value as JSON or text; repeatable")
    ] = None,
    interval: Annotated[str | None, typer.Option(help="interval of the bars it gets; the stored one without it")] = None,
    bars: Annotated[int, typer.Option(help="how many closed bars of each market", min=1, max=2_000)] = 500,
    background: Annotated[bool, typer.Option("--background", help="queue it as a job and return its id")] = False,
    every: Annotated[str | None, typer.Option(help="again and again at this interval, like 15m, until Ctrl-C")] = None,
    daily: Annotated[str | None, typer.Option(help="every day at HH:MM (UTC), until Ctrl-C")] = None,
) -> None:
    """Run one on the newest stored bars, confined. Example: tradeagent routine run btc_momentum range_scan --set bars=50

    With --every or --daily each result is a line (--jsonl for programs), and one that fails does not end it.
    """
    from tradeagent.domain.errors import InvalidInput

    if sum((background, every is not None, daily is not None)) > 1:
        raise InvalidInput("--background, --every and --daily exclude each other", hint="choose one")
    config = dict(_pair(text) for text in set_ or ())
    if background:
        _queued(agent, name, set_ or [], interval, bars)
    elif every is not None or daily is not None:
        session().require_lines("--every" if daily is None else "--daily")
        _repeated(lambda: _ran(agent, name, config, interval, bars), _next_mark(every, daily))
    else:
        data = _ran(agent, name, config, interval, bars)
        session().output.document(data, _text(data))


def _ran(slug: str, name: str, config: dict[str, Any], interval: str | None, bars: int) -> dict[str, Any]:
    """One run on the bars that are stored now."""
    from tradeagent.agents.routines import sight_of
    from tradeagent.domain.bars import interval_text, parse_duration
    from tradeagent.domain.clock import iso
    from tradeagent.execution.opening import instruments_of
    from tradeagent.runtime.sources import feed_for

    current, agent = session(), load(slug)
    feed = feed_for(current.warehouse, agent, None, instruments_of(current.config))
    now = current.clock.now_ms()
    interval_ms = None if interval is None else parse_duration(interval, "--interval")
    sight = sight_of(feed, now, agent.slug, agent.configs, interval_ms, bars)
    return {"routine": name, "as_of": iso(now), "interval": interval_text(sight.interval_ms), **_of(agent).run(name, config, sight)}


def _queued(slug: str, name: str, sets: list[str], interval: str | None, bars: int) -> None:
    from tradeagent.ledger import jobs
    from tradeagent.runtime.jobs import start_waiting

    current = session()
    _of(load(slug)).get(name)
    argv = ["routine", "run", slug, name, "--bars", str(bars), *(f"--set={text}" for text in sets)]
    argv += [] if interval is None else ["--interval", interval]
    job = current.clock.new_id()
    with current.ledger.transaction() as tx:
        jobs.add(tx, job, "routine", None, {"argv": argv}, current.clock.now_ms())
    start_waiting(current.place)
    current.output.document({"job": job}, f"job {job}; tradeagent jobs show {job}")


def _next_mark(every: str | None, daily: str | None) -> Callable[[int], int]:
    """The first mark after an instant (UTC ms)."""
    from tradeagent.domain.bars import parse_duration
    from tradeagent.domain.clock import DAY_MS, HOUR_MS, MINUTE_MS
    from tradeagent.domain.errors import InvalidInput

    if every is not None:
        step = parse_duration(every, "--every")
        return lambda now: (now // step + 1) * step
    hours, _, minutes = (daily or "").partition(":")
    if not (hours.isdecimal() and minutes.isdecimal() and len(minutes) == 2 and int(hours) < 24 and int(minutes) < 60):
        raise InvalidInput(f"--daily: {daily!r} is no time of day", hint="write HH:MM in UTC, like 08:00")
    offset = int(hours) * HOUR_MS + int(minutes) * MINUTE_MS
    return lambda now: ((now - offset) // DAY_MS + 1) * DAY_MS + offset


def _repeated(ran: Callable[[], dict[str, Any]], after: Callable[[int], int]) -> None:
    """At every mark one line, its result or its error; marks that a slow one overran are skipped."""
    import asyncio

    from tradeagent.domain.errors import TradeAgentError

    current = session()
    while True:
        now = current.clock.now_ms()
        asyncio.run(current.clock.sleep((after(now) - now) / 1000))
        try:
            data = ran()
            current.output.line(data, _text(data))
        except TradeAgentError as error:
            current.output.line({"error": error.as_dict()}, f"error: {error.message}")


def _of(agent: "Agent") -> "Routines":
    from tradeagent.tools.routines import routines_of

    return routines_of(session().workspace, agent.folder, session().config)


def _pair(text: str) -> tuple[str, Any]:
    import json

    from tradeagent.domain.errors import InvalidInput

    key, equals, value = text.partition("=")
    if not (key and equals):
        raise InvalidInput(f"--set: {text!r} is not FIELD=VALUE", hint="like --set bars=50")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _field(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": schema.get("type", ""), "default": schema.get("default", "required"), "meaning": schema.get("description", "")}


def _text(result: dict[str, Any]) -> str:
    """A result for people: its text, its table, its sections."""
    parts = [result.get("text", "")]
    rows = [row for row in result.get("table", ()) if isinstance(row, dict)]
    if rows:
        parts.append(table(rows, list(rows[0])))
    parts += [f"{title}\n{text}" for title, text in result.get("sections", {}).items()]
    return "\n\n".join(part for part in parts if part) or "it found nothing to say"
