"""What `doctor` checks: each with what it found and the fix when that is wrong. Keys are named, never shown."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tradeagent.cli.doctor_reach import Reached
from tradeagent.cli.session import Session
from tradeagent.domain.errors import DataError, InvalidConfig, ModelError, TradeAgentError


def checks(session: Session) -> list[dict[str, Any]]:
    """Every check, in order; one that needs what an earlier one missed says so."""
    reached = Reached(session)
    named: tuple[tuple[str, Callable[[Session], tuple[bool, str, str]]], ...] = (
        ("python", _python),
        ("terminal", _terminal),
        ("packages", _packages),
        ("workspace", _workspace),
        ("config", _config),
        ("ledger", _ledger),
        ("disk", _disk),
        ("clock", lambda _: reached.clock()),
        ("venue", lambda _: reached.venue()),
        ("market data", _data),
        ("results", _results),
        ("news and events", _events),
        ("agents", _agents),
        ("models", _models),
        ("model servers", lambda _: reached.models()),
        ("leases", _leases),
        ("reconciliation", _reconciliation),
    )
    return [_checked(name, check, session) for name, check in named]


def _checked(name: str, check: Callable[[Session], tuple[bool, str, str]], session: Session) -> dict[str, Any]:
    try:
        ok, detail, fix = check(session)
    except TradeAgentError as error:
        ok, detail, fix = False, error.message, error.hint
    return {"name": name, "ok": ok, "detail": detail, "fix": "" if ok else fix}


def _python(_session: Session) -> tuple[bool, str, str]:
    found = ".".join(map(str, sys.version_info[:3]))
    return (3, 11) <= sys.version_info[:2] < (3, 15), found, "use Python 3.11 to 3.14"


def _terminal(_session: Session) -> tuple[bool, str, str]:
    name = os.environ.get("TERM", "none")
    size = shutil.get_terminal_size()
    detail = f"TERM={name}, {size.columns}×{size.lines}" + (", in tmux" if os.environ.get("TMUX") else "")
    if not sys.stdout.isatty():
        return True, f"{detail}, not a terminal here", ""
    return name != "dumb" and size.columns >= 80 and size.lines >= 24, detail, "use a terminal of at least 80×24"


def _packages(_session: Session) -> tuple[bool, str, str]:
    """Lines in .pth files that run code at every start: one of LiteLLM's releases carried a thief there."""
    odd = []
    for folder in {Path(entry) for entry in sys.path if entry.endswith("site-packages")}:
        for file in folder.glob("*.pth"):
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            if any(line.startswith(("import ", "import\t")) for line in lines) and not file.name.startswith(
                ("_virtualenv", "distutils-", "__editable__", "a1_coverage", "coverage")
            ):
                odd.append(file.name)
    return (
        not odd,
        f"unexpected executable .pth files: {', '.join(odd)}" if odd else "no unexpected executable .pth files",
        "reinstall from the lock",
    )


def _workspace(session: Session) -> tuple[bool, str, str]:
    session.workspace.require_writable()
    return True, str(session.workspace.root), ""


def _config(session: Session) -> tuple[bool, str, str]:
    rows = list(session.config.rows())
    own = sum(1 for _, _, origin in rows if origin != "default")
    return True, f"{own} of {len(rows)} settings are yours", ""


def _ledger(session: Session) -> tuple[bool, str, str]:
    from tradeagent.ledger.version import SCHEMA_VERSION

    with session.ledger.reading() as tx:
        found = tx.exec_driver_sql("PRAGMA quick_check").scalar_one()
    return found == "ok", f"schema {SCHEMA_VERSION}, quick_check {found}", "restore the ledger from a backup"


def _disk(session: Session) -> tuple[bool, str, str]:
    from tradeagent.workspace.disk import ROOM_KEY, free_mib

    free, least = free_mib(session.workspace.state_dir), session.config.whole(ROOM_KEY)
    return free >= least, f"{free} MiB free", f"free at least {least} MiB: below that no entry is placed ({ROOM_KEY})"


def _data(session: Session) -> tuple[bool, str, str]:
    keys = session.warehouse.series_keys()
    detail = f"{len(keys)} series: {', '.join(key.text for key in keys[:6])}" if keys else "none"
    return True, detail if keys else "none yet: tradeagent data import FILE --market BTC --interval 5m, or tradeagent demo", ""


def _results(session: Session) -> tuple[bool, str, str]:
    from tradeagent.research.store import FILE_NAME, opened

    file = session.workspace.warehouse_dir / FILE_NAME
    if not file.exists():
        return True, "none stored yet", ""
    try:
        with opened(file, write=False) as connection:
            row = connection.execute("SELECT count(*) FROM backtests").fetchone()
    except DataError as error:
        return False, error.message, f"move {file} away: results can be made again"
    return True, f"{row[0] if row else 0:,} backtests", ""


def _events(session: Session) -> tuple[bool, str, str]:
    from tradeagent.domain.clock import iso
    from tradeagent.execution.entry_times import LOCKOUT_KEY
    from tradeagent.market.event_store import EventStore, Window

    store, now, minutes = EventStore(session.warehouse.root), session.clock.now_ms(), session.config.whole(LOCKOUT_KEY)
    store.events(Window(as_of=now, limit=1), ())
    if not minutes:
        return True, "readable" if store.signature() else "none stored yet", ""
    ahead = store.scheduled(now)
    if not ahead:
        detail = f"{LOCKOUT_KEY} is {minutes}, and the calendar holds no high-impact event ahead: nothing locks entries"
        return False, detail, f"tradeagent calendar import FILE, or tradeagent config set {LOCKOUT_KEY} 0"
    return True, f"{len(ahead)} high-impact events ahead, {LOCKOUT_KEY} {minutes}, the next at {iso(ahead[0].time)}", ""


def _agents(session: Session) -> tuple[bool, str, str]:
    from tradeagent.agents.folder import list_agents, load_agent
    from tradeagent.tools.known import known_to_agents

    folders = list_agents(session.workspace.agents_dir)
    for folder in folders:
        load_agent(folder, known_to_agents(session.config))
    return bool(folders), f"{len(folders)} agents, all valid" if folders else "none", "tradeagent agent new NAME"


def _models(session: Session) -> tuple[bool, str, str]:
    from tradeagent.agents.folder import list_agents, load_agent
    from tradeagent.llm.gateway import open_model
    from tradeagent.llm.settings import model_settings
    from tradeagent.tools.known import known_to_agents

    settings = model_settings(session.config, os.environ)
    wanted = {load_agent(f, known_to_agents(session.config)).definition.model for f in list_agents(session.workspace.agents_dir)}
    missing = []
    for model in sorted(wanted):
        try:
            open_model(model, settings)
        except (InvalidConfig, ModelError) as error:
            missing.append(error.message)
    if missing:
        return False, "; ".join(missing), "put the key in the environment, or use an offline/ model"
    return True, ", ".join(sorted(wanted)) or "no agent asks for one", ""


def _leases(session: Session) -> tuple[bool, str, str]:
    from tradeagent.ledger import runs
    from tradeagent.runtime.status import live_state

    with session.ledger.reading() as tx:
        rows = runs.all_deployments(tx)
    dead = [row.id for row in rows if live_state(session.workspace, row).value == "interrupted" and row.state != "interrupted"]
    return (
        not dead,
        f"no process behind {', '.join(dead)}" if dead else "every running deployment has its process",
        "run the agent again: starting is recovering",
    )


def _reconciliation(session: Session) -> tuple[bool, str, str]:
    from tradeagent.ledger import events, wallets

    with session.ledger.reading() as tx:
        phases = {row.name: events.last_phase(tx, row.name).value for row in wallets.all_wallets(tx)}
    bad = [f"{name} {phase}" for name, phase in phases.items() if phase != "consistent"]
    return not bad, "; ".join(bad) or f"{len(phases)} wallets consistent", "see `tradeagent incidents`"
