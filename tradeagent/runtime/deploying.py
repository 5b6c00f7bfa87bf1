"""How a deployment comes to be: its request checked, its row written as it fills the wallet's slot, its process started."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tradeagent.domain.errors import BusyError, Defect, InvalidInput, NotFound, RefusedError, TradeAgentError, VenueError
from tradeagent.domain.names import Actor, DeploymentState, EventKind
from tradeagent.execution.reading import limits_out
from tradeagent.ledger import algo_runs, events, runs, wallets
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.ledger.wallets import WalletRow
from tradeagent.runtime import lease
from tradeagent.runtime.deploy import DeployRequest
from tradeagent.runtime.place import Place
from tradeagent.runtime.stops import StopReason
from tradeagent.runtime.wanted import require_free

START_S, LOOK_S = 30.0, 0.05
_ERRORS: dict[int, type[TradeAgentError]] = {e.exit_code: e for e in (Defect, InvalidInput, RefusedError, NotFound, VenueError, BusyError)}


def deployed(place: Place, request: DeployRequest) -> dict[str, Any]:
    """Deploy in the background; the answer says what runs, in which process, and where that writes."""
    if request.kind == Actor.ALGO.value:
        row = recorded(place, request)
        with freed_on_error(place, row):
            return start(place, row.wallet, ["deploy", "resume", row.id], row.id)
    from tradeagent.runtime.agent_deploying import agent_command, checked_agent

    return start(place, request.wallet, agent_command(checked_agent(place, request)), request.wallet)


def recorded(place: Place, request: DeployRequest) -> DeploymentRow:
    """Check a request for an algo and write its row, which fills the wallet's slot. Nothing runs yet."""
    from tradeagent.runtime.algo_launch import checked

    with place.ledger.reading() as tx:
        wallet = wallets.get(tx, request.wallet)
    require_group(wallet, request)
    found = checked(place, request, wallet)
    launch, now = found.launch, place.clock.now_ms()
    require_unheld(place, wallet.name)
    with place.ledger.transaction() as tx:
        require_free(tx, wallet.name)
        number = algo_runs.next_number(tx, found.stored.name)
        row = DeploymentRow(
            id=f"{found.stored.name}_a{number}",
            kind=Actor.ALGO.value,
            slug=found.stored.name,
            wallet=wallet.name,
            version=found.stored.version or 0,
            mode=launch.pace.mode.value,
            state=DeploymentState.PROVISIONING.value,
            number=number,
            model="",
            markets=[launch.market],
            limits=limits_out(found.limits),
            source=launch.as_source(),
            equity_start=wallets.risk(tx, wallet.name).last_equity,
            ticks=0,
            failures=0,
            created_ms=now,
            ended_ms=None,
            last_tick_ms=None,
            next_tick_ms=None,
            stopped_because=None,
            boot_id=lease.boot_id(),
            pid=os.getpid(),
        )
        runs.add_deployment(tx, row)
        data = {"state": row.state, "algo": launch.algo, "market": launch.market, "params": launch.as_source()["params"]}
        events.append(tx, EventKind.DEPLOYMENT_STATE, now, wallet=row.wallet, deployment=row.id, actor=Actor.MANUAL, data=data)
    return row


@contextmanager
def freed_on_error(place: Place, row: DeploymentRow) -> Iterator[None]:
    """The slot of a deployment that never came to run is free again."""
    try:
        yield
    except BaseException:
        with place.ledger.transaction() as tx:
            if runs.get_deployment(tx, row.id).state == DeploymentState.PROVISIONING.value:
                values = {"state": DeploymentState.ERROR.value, "stopped_because": StopReason.FAILED.value}
                runs.update_deployment(tx, row.id, **values, ended_ms=place.clock.now_ms())
        raise


def resumable(place: Place, name: str) -> DeploymentRow:
    """A deployment that may go on: no other one has its wallet. NotFound, or InvalidInput for a run that was not deployed."""
    with place.ledger.reading() as tx:
        row = runs.get_deployment(tx, name)
        require_free(tx, row.wallet, row.id)
    if not row.source.get("deployed"):
        raise InvalidInput(f"{row.id} was run, not deployed", hint=f"`tradeagent run {row.slug}` takes over what it left open")
    return row


def log_of(place: Place, name: str) -> Path:
    """Where a process in the background writes what it says."""
    return place.workspace.logs_dir / f"{name}.log"


def spawn(place: Place, words: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """A command of this product in a session of its own, so that no terminal ends it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tradeagent", "--workspace", str(place.workspace.root), *words, "--json"]
    with log.open("ab") as written:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=written, stderr=written, start_new_session=True)


def start(place: Place, wallet: str, words: Sequence[str], name: str) -> dict[str, Any]:
    """Start a run in the background and wait until it runs, or has ended. What it refused to start for is raised here."""
    log = log_of(place, name)
    begin = log.stat().st_size if log.exists() else 0
    process = spawn(place, words, log)
    deadline = place.clock.monotonic() + START_S
    while (row := _running(place, wallet, process.pid)) is None:
        code = process.poll()
        if code is not None:
            row = _ended(place, wallet, process.pid)
            if row is None or code not in (0, 3):
                raise _why(log, begin, code)
            break
        if place.clock.monotonic() > deadline:
            raise BusyError(f"the run has not begun after {START_S:g} s; it may still", hint=f"`tradeagent status`, or see {log}")
        with suppress(subprocess.TimeoutExpired):
            process.wait(LOOK_S)
    threading.Thread(target=process.wait, daemon=True).start()  # it outlives a short command, and a long one buries it
    return {
        "deployment": row.id,
        "kind": row.kind,
        "slug": row.slug,
        "version": row.version or None,
        "wallet": row.wallet,
        "markets": row.markets,
        "mode": row.mode,
        "replay": row.source.get("replay"),
        "state": row.state,
        "pid": process.pid,
        "log": str(log),
    }


def _running(place: Place, wallet: str, pid: int) -> DeploymentRow | None:
    """The deployment that this process drives, once it does."""
    with place.ledger.reading() as tx:
        held = runs.lease(tx, wallet)
        row = runs.find_deployment(tx, held["deployment"]) if held is not None and held["deployment"] else None
    is_up = row is not None and row.pid == pid and row.state != DeploymentState.PROVISIONING.value
    return row if is_up else None


def _ended(place: Place, wallet: str, pid: int) -> DeploymentRow | None:
    """The deployment that this process drove to its end already."""
    with place.ledger.reading() as tx:
        return next((row for row in runs.all_deployments(tx, wallet=wallet, limit=5) if row.pid == pid and row.ended_ms is not None), None)


def _why(log: Path, begin: int, code: int) -> TradeAgentError:
    """The error that a process has printed."""
    with log.open("rb") as file:
        file.seek(begin)
        text = file.read().decode("utf-8", errors="replace")
    for line in reversed(text.splitlines()):
        try:
            error = json.loads(line)["error"]
        except (ValueError, KeyError, TypeError):
            continue
        made = _ERRORS.get(code, Defect)
        return made(error["message"], hint=error["hint"], code=error["code"], details=error.get("details"))
    return Defect(f"the run ended with {code} before it began: {text[-400:].strip()}", hint=f"see {log}")


def require_unheld(place: Place, wallet: str) -> None:
    """BusyError that says who has the wallet."""
    if lease.is_held(place.workspace, wallet):
        lease.take(place.workspace, place.ledger, wallet, None, place.clock).release()


def require_group(wallet: WalletRow, request: DeployRequest) -> None:
    """InvalidInput for an agent on a wallet for algos, and the other way round."""
    if wallet.kind == request.kind:
        return
    raise InvalidInput(
        f"--wallet: {wallet.name!r} is a wallet for {wallet.kind}s, and {request.name} is an {request.kind}",
        hint=f"tradeagent wallet new {wallet.name}_{request.kind} --group {request.kind}",
    )
