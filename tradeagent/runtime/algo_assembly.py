"""Putting an algo's run together on the row that its deployment was given: wallet, lease, door, feed and state machine."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tradeagent.domain.bars import interval_text
from tradeagent.domain.clock import SimulatedClock, iso
from tradeagent.domain.errors import InvalidInput, NotFound
from tradeagent.domain.names import Actor, DeploymentState, EventKind, IncidentCode, KillPolicy, Level, RunMode
from tradeagent.execution.opening import Door, DoorMode, Tenant, open_door
from tradeagent.execution.playback import Playback
from tradeagent.execution.reading import limits_in
from tradeagent.execution.rules import most_mark_age_ms
from tradeagent.ledger import events, notes, runs, wallets
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.market.feed import WarehouseFeed
from tradeagent.runtime import lease
from tradeagent.runtime.algo_launch import Launch, feed_of, launch_of, pinned, spec_of
from tradeagent.runtime.algo_mind import AlgoMind
from tradeagent.runtime.ground import Ground, baseline_of, end_of_failed_start, ledger_for, started
from tradeagent.runtime.place import Place
from tradeagent.runtime.repair import drop_commands, take_over
from tradeagent.turns.record import Baseline
from tradeagent.workspace.latch import arm


@dataclass(frozen=True, slots=True)
class AlgoRun:
    """An assembled run of an algo, ready to step."""

    stage: Ground
    row: DeploymentRow
    door: Door
    playback: Playback
    baseline: Baseline
    mind: AlgoMind
    launch: Launch


@contextmanager
def assembled_algo(place: Place, deployment: str) -> Iterator[AlgoRun]:
    """Open everything that the run of a deployment needs, at its first start and at every later one, and close it again."""
    with ExitStack() as stack:
        with place.ledger.reading() as tx:
            row = runs.find_deployment(tx, deployment)
            if row is None or row.kind != Actor.ALGO.value:
                raise NotFound(f"no deployment of an algo {deployment!r}", hint="`tradeagent status` lists what is deployed")
            wallet, at = wallets.get(tx, row.wallet), wallets.risk(tx, row.wallet).market_clock_ms
        launch = launch_of(row)
        spec = spec_of(launch, pinned(place, launch))
        ledger = ledger_for(place, launch.pace.replay, stack)
        feed = feed_of(place, launch)
        start = _start_of(place, launch, feed, at)
        clock = place.clock if launch.pace.replay is None else SimulatedClock(start if at is None else min(at, start), launch.pace.seed)
        ground = Ground(place, launch.pace, wallet, feed, clock, start, ledger)
        asked_ms = place.clock.now_ms()
        held = lease.take(place.workspace, ledger, row.wallet, row.id, place.clock)
        stack.callback(held.release)
        drop_commands(ledger, place.clock, row.wallet, asked_ms)
        launch, row = _begun(ground, row, launch)
        stack.callback(end_of_failed_start, ledger, row.id)
        arm(place.workspace.kill_dir, row.wallet, KillPolicy.FLATTEN_ALL)
        tenant = Tenant(row.id, row.slug, frozenset(row.markets), limits_in(row.limits), actor=Actor.ALGO)
        mode = DoorMode(durable=not ground.is_replay, in_thread=not ground.is_replay, wall=place.clock)
        door = open_door(place.workspace, place.config, ledger, wallet, clock, token=held.token, tenant=tenant, mode=mode)
        stack.callback(door.close)
        if at is not None and door.paper.played_ms > at:
            ground = _caught_up(ground, door)
        playback = started(ground, door)
        door.engine.before_send = _stay_closed
        baseline = baseline_of(door)
        take_over(door.engine, row, _said_by_the_feed)
        yield AlgoRun(ground, row, door, playback, baseline, AlgoMind(ground, row, launch, spec, door.engine), launch)


def _start_of(place: Place, launch: Launch, feed: WarehouseFeed, at: int | None) -> int:
    """The instant of the start. In a replay never before the wallet's own instant `at`: its clock only moves forward."""
    if launch.pace.replay is None:
        return place.clock.now_ms()
    if launch.begin_ms is not None and at is not None:
        return at
    if launch.pace.from_ms is not None and at is not None and launch.pace.from_ms < at:
        raise InvalidInput(
            f"--from: the wallet is at {iso(at)} already, and its market clock only moves forward",
            hint="leave --from out to go on, or use another wallet: --wallet NAME",
        )
    first = feed.first_open + feed.interval_ms(launch.market)  # a wallet's clock begins with a price
    start = max(first, launch.pace.from_ms if launch.pace.from_ms is not None else at or 0)
    if launch.pace.mode is RunMode.RUN_ONCE and launch.pace.from_ms is None:
        return min(start + launch.interval_ms, feed.last_close) if at is not None else feed.last_close
    if start >= feed.last_close:
        raise InvalidInput(
            f"--replay: no bars are left after {iso(start)}, the last one closed at {iso(feed.last_close)}",
            hint="use another wallet: --wallet NAME",
        )
    return start


def _begun(ground: Ground, row: DeploymentRow, launch: Launch) -> tuple[Launch, DeploymentRow]:
    """Say in the ledger that it runs from here on. A pause outlives the process; a process that ended without saying so is an incident."""
    is_first = launch.begin_ms is None
    if is_first:
        # A single run decides on the newest bar that FRESHNESS takes for new; a loop waits for the first that closes while it runs.
        late_ms = most_mark_age_ms(launch.interval_ms) if launch.pace.mode is RunMode.RUN_ONCE else 0
        launch = replace(launch, begin_ms=ground.start_ms - late_ms - 1)
    was_cut = row.ended_ms is None and not is_first
    kept = (DeploymentState.PAUSED.value, DeploymentState.HALTED.value)
    now = ground.place.clock.now_ms()
    values: dict[str, Any] = {
        "state": row.state if row.state in kept else DeploymentState.RUNNING.value,
        "source": launch.as_source(),
        "pid": os.getpid(),
        "boot_id": lease.boot_id(),
        "ended_ms": None,
        "stopped_because": None,
        "next_tick_ms": ground.start_ms,
    }
    with ground.ledger.transaction() as tx:
        if is_first:
            values["equity_start"] = wallets.risk(tx, row.wallet).last_equity
        runs.update_deployment(tx, row.id, **values)
        data = {"state": values["state"], "market": launch.market, "interval": interval_text(launch.interval_ms)}
        events.append(tx, EventKind.DEPLOYMENT_STATE, now, wallet=row.wallet, deployment=row.id, actor=Actor.SYSTEM, data=data)
        if was_cut:
            message = f"{row.id} ended without saying so; it goes on from its ledger and its bars"
            incident = notes.Incident(IncidentCode.INTERRUPTED, Level.WARNING, message, row.wallet, row.id)
            notes.open_incident(tx, ground.place.clock.new_id(), incident, now)
        return launch, runs.get_deployment(tx, row.id)


def _caught_up(ground: Ground, door: Door) -> Ground:
    """The venue had played more than the ledger knew when the process died. Deciding again on bars before what it did there would decide
    otherwise, so the run goes on at the venue's instant."""
    played = door.paper.played_ms
    door.engine.book.settle_clock(played)
    if isinstance(ground.clock, SimulatedClock):
        ground.clock.advance_to(played)
    return replace(ground, start_ms=max(ground.start_ms, played))


def _stay_closed() -> None:
    """What is decided at a close fills at the next open, which is played when its bar has closed: as in a backtest."""


def _said_by_the_feed(mark: str, now_ms: int, text: str) -> None:
    """What is taken over is in the event feed, with both names."""
