"""`mcp list, test, approve, deny`: the servers whose tools your minds may use, and what you have said about each tool."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradeagent.cli.output import pairs, table
from tradeagent.cli.session import session

if TYPE_CHECKING:
    from tradeagent.ledger.pins import PinRow
    from tradeagent.runtime.place import Place
    from tradeagent.tools.mcp_pinning import Offered
    from tradeagent.tools.mcp_servers import ServerSpec

Server = Annotated[str, typer.Argument(help="name of the server; one of an agent is AGENT:NAME")]
ToolNames = Annotated[list[str] | None, typer.Argument(help="its tools, as it names them")]
_COLUMNS = ["tool", "state", "runs_unasked", "description"]


def register(app: typer.Typer) -> None:
    app.command(name="list")(list_)
    app.command()(test)
    app.command()(approve)
    app.command()(deny)


def list_() -> None:
    """Configured servers, and the tools you have decided about; nothing is started. Example: tradeagent mcp list"""
    from tradeagent.ledger import pins
    from tradeagent.runtime.outside import configured

    place = session().place
    servers = configured(place)
    with place.ledger.reading() as tx:
        rows = pins.listed(tx)
    found = [{**_where(spec), "tools": [_pinned(row) for row in rows if row.server == key]} for key, spec in sorted(servers.items())]
    lines = [f"{each['server']}  {each['where']}\n{table(each['tools'], _COLUMNS[:3], empty='no tool is approved')}" for each in found]
    nothing = "no servers; tradeagent config set mcp_servers.time.command 'uvx mcp-server-time'"
    session().output.document(found, "\n\n".join(lines) or nothing)


def test(server: Server) -> None:
    """Start or reach a server, and show its tools beside what you have decided. Example: tradeagent mcp test time"""
    place = session().place
    spec = _spec(place, server)
    found, rows, took_s = _looked(place, spec)
    gone = sorted({row.tool for row in rows} - {tool.name for tool in found})
    document = {**_where(spec), "took_s": took_s, "tools": [_offered(tool) for tool in found], "gone": gone}
    head = {"server": spec.key, "where": spec.where, "answered_after_s": took_s, "gone": gone}
    session().output.document(document, f"{pairs(head)}\n\n{table([_offered(tool) for tool in found], _COLUMNS, empty='it has no tools')}")


def approve(
    server: Server,
    tools: ToolNames = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="they run without asking, whatever they say of themselves")] = False,
) -> None:
    """Look at what a server offers, and let your minds use it as it is now; without TOOLS all that is new or has changed.

    A later change of the command, a description or an argument takes the approval back. Example: tradeagent mcp approve time
    """
    from tradeagent.cli.confirm import confirmed
    from tradeagent.domain.names import PinState
    from tradeagent.ledger import pins
    from tradeagent.tools.mcp_pinning import decide

    place = session().place
    spec = _spec(place, server)
    found, rows, _ = _looked(place, spec)
    chosen = _chosen(found, tools, spec)
    output = session().output
    if chosen:
        output.say(_consent(spec, chosen, rows, read_only=read_only))
        confirmed(f"approve {len(chosen)} tool{'s' if len(chosen) > 1 else ''} of {spec.key}")
    decide(place.ledger, place.clock, spec, chosen, PinState.APPROVED, is_read_only=read_only)
    gone = sorted({row.tool for row in rows} - {tool.name for tool in found})
    with place.ledger.transaction() as tx:
        pins.drop(tx, spec.key, gone)
        approved = [row for row in pins.listed(tx, (spec.key,)) if row.state == PinState.APPROVED]
    names = [tool.name for tool in chosen]
    document = {"server": spec.key, "approved": names, "gone": gone, "tools": [_pinned(row) for row in approved]}
    named = ", ".join(names) or "nothing new"
    output.document(document, f"approved of {spec.key}: {named}; {len(approved)} in all")


def deny(server: Server, tools: Annotated[list[str], typer.Argument(help="its tools, as it names them")]) -> None:
    """Take tools of a server away from your minds; the server is not started. Example: tradeagent mcp deny time convert_time"""
    from dataclasses import replace

    from tradeagent.domain.errors import NotFound
    from tradeagent.domain.names import PinState
    from tradeagent.ledger import pins

    place = session().place
    with place.ledger.transaction() as tx:
        rows = {row.tool: row for row in pins.listed(tx, (server,))}
        unknown = next((tool for tool in tools if tool not in rows), None)
        if unknown is not None:
            raise NotFound(f"no tool {unknown!r} of {server} was ever approved", hint="tradeagent mcp list")
        for tool in tools:
            pins.put(tx, replace(rows[tool], state=PinState.DENIED.value, decided_ms=place.clock.now_ms()))
    session().output.document({"server": server, "denied": tools}, f"denied of {server}: {', '.join(tools)}")


def _spec(place: "Place", key: str) -> "ServerSpec":
    from tradeagent.runtime.outside import server

    return server(place, key)


def _looked(place: "Place", spec: "ServerSpec") -> "tuple[list[Offered], list[PinRow], float]":
    """The tools of a server beside its pins, and how long it took to answer."""
    import asyncio
    import os

    from tradeagent.ledger import pins
    from tradeagent.tools.mcp_link import Link
    from tradeagent.tools.mcp_pinning import compared

    async def listed() -> Any:
        link = Link(spec, os.environ)
        try:
            return await link.tools()
        finally:
            await link.close()

    began = place.clock.monotonic()
    listing = asyncio.run(listed())
    took_s = round(place.clock.monotonic() - began, 2)
    with place.ledger.reading() as tx:
        rows = pins.listed(tx, (spec.key,))
    return compared(spec, listing, rows), rows, took_s


def _chosen(found: "list[Offered]", names: list[str] | None, spec: "ServerSpec") -> "list[Offered]":
    """The tools that are named, else all that are new or have changed."""
    from tradeagent.domain.errors import InvalidInput, NotFound
    from tradeagent.domain.names import PinState
    from tradeagent.tools.mcp_pinning import NEW, UNUSABLE

    if not names:
        return [tool for tool in found if tool.state in (NEW, PinState.CHANGED)]
    by_name = {tool.name: tool for tool in found}
    for name in names:
        if name not in by_name:
            raise NotFound(f"{spec.key} has no tool {name!r}", hint=f"tradeagent mcp test {spec.key}")
        if by_name[name].state == UNUSABLE:
            raise InvalidInput(f"{spec.key} {name}: {by_name[name].why}", hint="leave it out")
    return [by_name[name] for name in dict.fromkeys(names)]


def _consent(spec: "ServerSpec", tools: "list[Offered]", rows: "list[PinRow]", *, read_only: bool) -> str:
    """All that the person says yes to: the whole command, what it is given, and every tool in its own words."""
    before = {row.tool: row.described.get("description") for row in rows}
    given = ", ".join([*spec.env, *spec.headers]) or "nothing of yours"
    lines = [f"server    {spec.where}", f"is given  {given}", ""]
    for tool in tools:
        unasked = read_only or spec.is_read_only or tool.says_read_only
        lines.append(f"{tool.name}  ({tool.state}; {'runs without asking' if unasked else 'asks before each call'})")
        lines.append(f"  says: {tool.described['description']}")
        if tool.name in before and before[tool.name] != tool.described["description"]:
            lines.append(f"  said: {before[tool.name]}")
        lines.append(f"  takes: {', '.join(tool.described['input_schema'].get('properties', {})) or 'nothing'}")
    return "\n".join(lines)


def _where(spec: "ServerSpec") -> dict[str, Any]:
    return {"server": spec.key, "where": spec.where, "environment": sorted(spec.env), "headers": sorted(spec.headers)}


def _pinned(row: "PinRow") -> dict[str, Any]:
    from tradeagent.domain.clock import iso

    shown = {"tool": row.tool, "state": row.state, "runs_unasked": row.is_read_only, "decided": iso(row.decided_ms)}
    return {**shown, "description": row.described.get("description", "")}


def _offered(tool: "Offered") -> dict[str, Any]:
    from tradeagent.llm.untrusted import one_line

    description = tool.described.get("description", "") or tool.why
    unasked = tool.is_read_only if tool.state in ("approved", "changed") else None
    shown = {"tool": one_line(tool.name)[:80], "state": tool.state, "runs_unasked": unasked, "description": description}
    return {**shown, "says_read_only": tool.says_read_only, "fingerprint": tool.fingerprint}
