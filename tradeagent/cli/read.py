"""Reading what happened: `journal`, `snapshots`, `learnings`, `incidents`, `audit`, `logs`, `limits`, `usage`."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradeagent.cli.complete import agents, agents_and_deployments, deployments, wallets
from tradeagent.cli.output import table
from tradeagent.cli.session import session

if TYPE_CHECKING:
    from tradeagent.agents.sessions import Session

Slug = Annotated[str, typer.Argument(help="agent folder in trading_agents/", autocompletion=agents)]
FOLLOW_EVERY_S = 0.2


def register(app: typer.Typer) -> None:
    for command in (journal, snapshots, learnings, audit, logs, limits, usage):
        app.command()(command)
    of_incidents = typer.Typer(invoke_without_command=True, help="What needs a person, newest first; `close` when it is dealt with.")
    of_incidents.callback()(incidents)
    of_incidents.command()(close)
    app.add_typer(of_incidents, name="incidents")


def journal(
    agent: Slug,
    session_: Annotated[int | None, typer.Option("--session", help="which session; default: the newest")] = None,
) -> None:
    """The journal of a session, as the file is."""
    from tradeagent.workspace.files import read_text

    found = _session(agent, session_)
    path = found.folder / "journal.md"
    text = read_text(path) if path.exists() else ""
    data = {"agent": agent, "session": found.number, "file": str(path), "text": text}
    session().output.document(data, text or f"{path} is empty: no tick has been recorded yet")


def snapshots(
    agent: Slug,
    session_: Annotated[int | None, typer.Option("--session", help="which session; default: the newest")] = None,
    show: Annotated[int | None, typer.Option("--show", help="print snapshot K")] = None,
) -> None:
    """The snapshots of a session: one complete record a tick."""
    from tradeagent.agents.snapshots import list_snapshots, parse_snapshot
    from tradeagent.domain.clock import iso
    from tradeagent.domain.errors import NotFound
    from tradeagent.workspace.files import read_text

    found = _session(agent, session_)
    listed = dict(list_snapshots(found.folder))
    if show is not None:
        if show not in listed:
            raise NotFound(f"no snapshot {show} in session {found.number}", hint=f"`tradeagent snapshots {agent}` lists them")
        text = read_text(listed[show])
        session().output.document({"agent": agent, "session": found.number, "tick": show, "file": str(listed[show]), "text": text}, text)
        return
    rows = []
    for number, path in listed.items():
        record = parse_snapshot(read_text(path), path)
        facts = {"tick": number, "time": iso(record.at_ms), "outcome": record.outcome, "tokens": record.tokens_in + record.tokens_out}
        rows.append({**facts, "duration_ms": record.duration_ms, "file": str(path)})
    empty = f"no snapshots in session {found.number} yet"
    session().output.document(
        rows, table(rows, ["tick", "time", "outcome", "tokens", "duration_ms"], right=("tick", "tokens", "duration_ms"), empty=empty)
    )


def learnings(agent: Slug) -> None:
    """What an agent has learned, and which lines it wrote itself. Edit the file at any time."""
    from tradeagent.cli.agent import load
    from tradeagent.ledger import notes
    from tradeagent.workspace.files import read_text

    folder = load(agent).folder
    path = folder / "learnings.md"
    text = read_text(path) if path.exists() else ""
    with session().ledger.reading() as tx:
        own = notes.written_by_agent(tx, agent)
    lines = [
        {"text": line, "author": "agent" if notes.line_hash(line) in own else "person"}
        for line in text.split("\n")
        if line.startswith("- ")
    ]
    data = {"agent": agent, "file": str(path), "lines": lines, "text": text}
    session().output.document(data, text or f"nothing learned yet; write {path} yourself, the next tick reads it")


def incidents(context: typer.Context, everything: Annotated[bool, typer.Option("--all", help="closed ones too")] = False) -> None:
    """What needs a person, newest first; `close` when it is dealt with."""
    from tradeagent.domain.clock import iso
    from tradeagent.ledger import notes

    if context.invoked_subcommand is not None:
        return
    with session().ledger.reading() as tx:
        found = notes.list_incidents(tx, only_open=not everything)
    rows = [{**row, "time": iso(row.pop("time_ms"))} for row in found]
    columns = ["id", "time", "level", "code", "deployment", "message", "state"]
    session().output.document(rows, table(rows, columns, empty="no open incidents"))


def close(incident: Annotated[str, typer.Argument(help="id of an incident, as `incidents --json` shows it")]) -> None:
    """Say that an incident is dealt with; one whose cause goes on is opened again."""
    from tradeagent.domain.clock import iso
    from tradeagent.ledger import notes

    current = session()
    current.workspace.require_writable()
    with current.ledger.transaction() as tx:
        row = notes.close_incident(tx, incident, current.clock.now_ms())
    data = row | {"time": iso(row["time_ms"])}
    current.output.document(data, f"closed {data['code']}: {data['message']}")


def audit(
    kind: Annotated[str | None, typer.Option(help="only events of this kind, like fill or funding")] = None,
    wallet: Annotated[str | None, typer.Option(help="only this wallet", autocompletion=wallets)] = None,
    deployment: Annotated[str | None, typer.Option(help="only this run, or the newest of an agent", autocompletion=deployments)] = None,
    limit: Annotated[int, typer.Option(min=1, help="newest so many")] = 200,
    after: Annotated[int, typer.Option(help="only events with a larger seq")] = 0,
) -> None:
    """The append-only event feed, oldest first."""
    from tradeagent.ledger import events

    if kind is not None:
        _known_kind(kind)
    only = session().narrowed(wallet, deployment)
    with session().ledger.reading() as tx:
        found = events.read(tx, after=after, **only, kinds=(kind,) if kind else (), limit=limit, newest=after == 0)
    rows = [_event(row) for row in found]
    shown = [{**row, "data": _brief(row["data"])} for row in rows]
    columns = ["seq", "time", "kind", "wallet", "deployment", "actor", "data"]
    session().output.document(rows, table(shown, columns, right=("seq",), empty="no events yet"))


def logs(
    deployment: Annotated[str, typer.Argument(help="deployment id, or an agent for its newest run", autocompletion=deployments)],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="keep printing as it happens; --jsonl for programs")] = False,
    limit: Annotated[int, typer.Option(min=1, help="newest so many")] = 50,
) -> None:
    """What a run did, a line an event."""
    from tradeagent.ledger import events, runs

    current = session()
    if follow:
        current.require_lines("--follow")
    with current.ledger.reading() as tx:
        name = runs.get_deployment(tx, deployment).id
        found = events.read(tx, deployment=name, limit=limit, newest=True)
    rows = [_event(row) for row in found]
    if not follow:
        current.output.document(rows, "\n".join(map(_log_line, rows)) or "nothing logged yet")
        return
    seen = 0
    while True:
        for row in rows:
            current.output.line(row, _log_line(row))
            seen = row["seq"]
        version = current.ledger.data_version()
        while current.ledger.data_version() == version:
            time.sleep(FOLLOW_EVERY_S)
        with current.ledger.reading() as tx:
            rows = [_event(row) for row in events.read(tx, deployment=name, after=seen, limit=1000)]


def limits(
    name: Annotated[
        str | None,
        typer.Argument(help="agent or deployment; without one the defaults of every kind", autocompletion=agents_and_deployments),
    ] = None,
    wallet: Annotated[str | None, typer.Option(help="a person's limits on this wallet", autocompletion=wallets)] = None,
) -> None:
    """Each cap: value, used, left, where it comes from, and the ceiling above it. Only you change them."""
    rows = _limit_rows(name, wallet)
    columns = ["key", "value", "used", "left", "origin", "ceiling"] if "used" in rows[0] else list(rows[0])
    session().output.document(rows, table(rows, columns, right=[c for c in columns if c not in ("key", "origin")]))


def usage(
    agent: Annotated[str | None, typer.Option(help="only this agent, or `assistant`", autocompletion=agents)] = None,
    days: Annotated[int, typer.Option(min=1, help="how far back")] = 30,
    by: Annotated[str, typer.Option(help="one row per: all (day, agent and model), day, agent, model, turn")] = "all",
) -> None:
    """Model calls, tokens and cost per day, agent and model. Calls whose price is unknown are counted apart: their cost is in no sum."""
    from tradeagent.domain.clock import DAY_MS
    from tradeagent.domain.errors import InvalidInput
    from tradeagent.domain.money import plain
    from tradeagent.ledger import notes

    if by not in _USAGE_KEYS:
        raise InvalidInput(f"--by: {by!r} is none of {', '.join(_USAGE_KEYS)}", hint="tradeagent usage --by model")
    current = session()
    since = 0 if days >= 3650 else current.clock.now_ms() - days * DAY_MS
    with current.ledger.reading() as tx:
        found = notes.usage_rows(tx, slug=agent, since_ms=since)
    if agent is not None and not found:
        _require_usable(agent)
    totals: dict[Any, dict[str, Any]] = {}
    for row in found:
        named = _usage_names(row)
        group = row["seq"] if by == "turn" else tuple(named[key] for key in _USAGE_KEYS[by])
        counts: dict[str, Any] = {"turns": 0, "calls": 0, "tokens_in": 0, "tokens_out": 0, "cost_usd": None, "unpriced_calls": 0}
        total = totals.setdefault(group, {key: named[key] for key in _USAGE_KEYS[by]} | counts)
        total["turns"] += 1
        for key in ("calls", "tokens_in", "tokens_out"):
            total[key] += row[key]
        if row["cost_usd"] is None:
            total["unpriced_calls"] += row["calls"]
        else:
            total["cost_usd"] = row["cost_usd"] + (total["cost_usd"] or 0)
    rows = [{**total, "cost_usd": None if total["cost_usd"] is None else plain(total["cost_usd"])} for total in totals.values()]
    numbers = ["turns", "calls", "tokens_in", "tokens_out", "cost_usd", "unpriced_calls"]
    current.output.document(rows, table(rows, [*_USAGE_KEYS[by], *numbers], right=numbers, empty="no model was asked yet"))


def _require_usable(agent: str) -> None:
    """NotFound unless it is somebody whose turns are counted: an agent of the workspace, or the assistant."""
    from tradeagent.agents.folder import read_texts
    from tradeagent.turns.assistant import SLUG

    if agent != SLUG:
        read_texts(session().workspace.agent_dir(agent))


_USAGE_KEYS = {
    "all": ("day", "agent", "model"),
    "day": ("day",),
    "agent": ("agent",),
    "model": ("model",),
    "turn": ("time", "agent", "deployment", "kind", "model"),
}


def _usage_names(row: dict[str, Any]) -> dict[str, Any]:
    """What a turn's usage can be told apart by."""
    from tradeagent.domain.clock import iso

    time = iso(row["time_ms"]) or ""
    names = {"deployment": row["deployment"], "kind": row["turn_kind"], "model": row["model"]}
    return {"day": time[:10], "time": time, "agent": row["slug"], **names}


def _session(slug: str, number: int | None) -> "Session":
    from tradeagent.agents.sessions import list_sessions
    from tradeagent.cli.agent import load
    from tradeagent.domain.errors import NotFound

    found = list_sessions(load(slug).folder)
    wanted = [s for s in found if number in (None, s.number)]
    if not wanted:
        what = "no session" if number is None else f"no session {number}"
        raise NotFound(f"{what} of {slug}", hint=f"there are {len(found)}; `tradeagent run {slug} --mode loop` makes one")
    return wanted[-1]


def _limit_rows(name: str | None, wallet: str | None) -> list[dict[str, Any]]:
    from tradeagent.ledger import runs, wallets
    from tradeagent.runtime.views import limits_view

    current = session()
    if wallet is not None:
        with current.ledger.reading() as tx:
            return limits_view(current.config, tx, wallets.get(tx, wallet), current.clock, None)
    if name is None:
        from tradeagent.domain.limits import LIMITS

        kinds = ("agent", "algo", "engine", "manual")
        shown = [
            {"key": s.key, **dict(zip(kinds, s.defaults, strict=True)), "ceiling_paper": s.ceilings[0], "ceiling_live": s.ceilings[1]}
            for s in LIMITS
        ]
        return [{k: v if v is None or isinstance(v, (bool, str)) else str(v) for k, v in row.items()} for row in shown]
    with current.ledger.reading() as tx:
        known = runs.all_deployments(tx, limit=1000)
        deployment = next((row for row in known if name in (row.id, row.slug)), None)
        if deployment is not None:
            return limits_view(current.config, tx, wallets.get(tx, deployment.wallet), current.clock, deployment)
    from tradeagent.cli.agent import load
    from tradeagent.domain.limits import ceiling_of
    from tradeagent.domain.money import plain
    from tradeagent.execution.usage import entry_time_rows

    found = load(name).limits
    ceilings = current.config.section("ceilings", "paper")
    rows = [
        {
            "key": k,
            "value": v if v is None or isinstance(v, bool) else plain(v),
            "used": None,
            "left": None,
            "origin": found.origin[k],
            "ceiling": _text(ceiling_of(k, "paper", ceilings)),
        }
        for k, v in found.values.items()
    ]
    return rows + entry_time_rows(current.config)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _event(row: dict[str, Any]) -> dict[str, Any]:
    from tradeagent.domain.clock import iso

    keys = ("kind", "wallet", "deployment", "actor", "subject", "data")
    return {"seq": row["seq"], "time": iso(row["time_ms"]), **{key: row[key] for key in keys}}


def _brief(data: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in data.items() if value not in (None, "", [], {}))[:160]


def _log_line(row: dict[str, Any]) -> str:
    return f"{row['time']}  {row['kind']:<20} {_brief(row['data'])}"


def _known_kind(kind: str) -> None:
    import difflib

    from tradeagent.domain.errors import InvalidInput
    from tradeagent.domain.names import EventKind

    known = [item.value for item in EventKind]
    if kind not in known:
        near = difflib.get_close_matches(kind, known, n=1)
        raise InvalidInput(f"--kind: no event kind {kind!r}", hint=f"did you mean {near[0]!r}?" if near else f"one of {', '.join(known)}")
