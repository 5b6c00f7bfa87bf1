"""The first commands: `init`, `demo`, `doctor`, `status`, `tui`, `version`."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from tradeagent.cli.output import is_interactive, table
from tradeagent.cli.session import session

WATCH_EVERY_S = 1.0


def register(app: typer.Typer) -> None:
    for command in (init, demo, doctor, status, tui, version):
        app.command()(command)


def init(path: Annotated[Path | None, typer.Argument(help="folder to make; default: here, or --workspace")] = None) -> None:
    """Make a workspace: config.yml, the example agents, an empty ledger. What is there already stays as it is."""
    from tradeagent.runtime.workspace import init_workspace

    flags = session().flags
    root = path or (Path(flags.workspace) if flags.workspace else Path.cwd())
    made = init_workspace(root.expanduser().resolve())
    text = "\n".join(
        [
            f"workspace {made['workspace']}",
            *(f"  made {name}" for name in made["made"]),
            "",
            "next:",
            "  tradeagent demo                                         an agent on a synthetic market, nothing needed",
            "  tradeagent data import FILE --market BTC --interval 5m  your bars",
            "  tradeagent run btc_momentum --replay hyperliquid:BTC:5m --max-ticks 500",
        ]
    )
    session().output.document(made, text)


def demo(
    headless: Annotated[bool, typer.Option("--headless", help="no screen: run the ticks and print the result")] = False,
    ticks: Annotated[int, typer.Option(min=1, help="ticks of a headless demo")] = 50,
    seed: Annotated[int, typer.Option(help="seed of the synthetic market")] = 7,
) -> None:
    """See it work without anything: a throwaway workspace, a synthetic market, an agent with a rule-based model on paper."""
    from tradeagent.cli.demo import headless_demo, screen_demo

    if headless or not is_interactive():
        headless_demo(ticks, seed)
    else:
        screen_demo(seed)


def doctor() -> None:
    """Check Python, terminal, stores, keys, disk, clock, venue, model servers, leases; print the fix for each failure.

    What is on the network is asked for two seconds in all. Exit 1 when something is wrong.
    """
    from tradeagent.cli.doctor import checks

    found = checks(session())
    ok = all(check["ok"] for check in found)
    lines = [
        f"{'ok  ' if c['ok'] else 'FAIL'}  {c['name']}: {c['detail']}" + (f"\n      fix: {c['fix']}" if not c["ok"] else "") for c in found
    ]
    session().output.document({"ok": ok, "checks": found}, "\n".join(lines))
    if not ok:
        raise typer.Exit(1)


def status(watch: Annotated[bool, typer.Option("--watch", help="keep showing it as it changes; --jsonl for a stream")] = False) -> None:
    """Deployments, equity, day PnL, feeds and incidents at a glance."""
    from tradeagent.runtime.status import status_view

    current = session()
    if watch:
        current.require_lines("--watch")

    def look() -> dict[str, Any]:
        return status_view(current.workspace, current.clock)

    data = look()
    if not watch:
        current.output.document(data, _status_text(data))
        return
    seen, shown = current.ledger.data_version(), ""
    while True:
        text = _status_text(data)
        if text != shown:
            current.output.line(data, text, (lambda text: f"\x1b[H\x1b[2J{text}") if is_interactive() else str)
            shown = text
        while current.ledger.data_version() == seen:
            time.sleep(WATCH_EVERY_S / 5)
        seen = current.ledger.data_version()
        data = look()


def _status_text(data: dict[str, Any]) -> str:
    columns = [
        "id",
        "state",
        "mode",
        "network",
        "wallet",
        "ticks",
        "equity",
        "day_pnl",
        "open_positions",
        "last_tick_at",
        "feed_age_s",
        "incidents",
    ]
    right = ("ticks", "equity", "day_pnl", "open_positions", "feed_age_s", "incidents")
    empty = "no agent has run yet: `tradeagent run btc_momentum --mode dry-run`, or `tradeagent demo`"
    head = f"{data['workspace']}  network {data['network']}  incidents {data['incidents']}"
    if data["kill_switch"]:
        head += "  KILL SWITCH ON"
    return head + "\n\n" + table(data["deployments"], columns, right=right, empty=empty)


def tui() -> None:
    """Open the screen: deployments, the chosen agent's ticks as they stream, and the live account."""
    from tradeagent.domain.errors import InvalidInput

    if not is_interactive():
        raise InvalidInput("the screen needs a terminal", hint="use `tradeagent status --watch` here")
    from tradeagent.tui.app import open_screen

    open_screen(session().workspace, session().config)


def version() -> None:
    """The version, and that of Python."""
    import platform

    from tradeagent import __version__

    data = {"version": __version__, "python": platform.python_version(), "platform": platform.system()}
    session().output.document(data, f"tradeagent {__version__} (Python {data['python']}, {data['platform']})")
