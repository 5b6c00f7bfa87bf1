"""Putting an agent's run together: agent, version, wallet, lease, door, feed, model and files, each opened once and closed together."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from tradeagent.agents.folder import Agent, load_agent
from tradeagent.agents.sessions import Session, create_session, experiment_id, reserve_experiment
from tradeagent.domain.bars import parse_duration
from tradeagent.domain.clock import SimulatedClock, iso
from tradeagent.domain.errors import InvalidInput
from tradeagent.domain.names import DeploymentState, KillPolicy, RunMode
from tradeagent.execution.opening import Door, DoorMode, Tenant, instruments_of, open_door
from tradeagent.execution.playback import Playback
from tradeagent.execution.reading import limits_out
from tradeagent.ledger import notes, runs, wallets
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.ledger.store import Ledger
from tradeagent.ledger.wallets import WalletRow
from tradeagent.llm.contract import Model, TurnLimits
from tradeagent.llm.gateway import open_model
from tradeagent.llm.settings import ModelSettings, model_settings
from tradeagent.market.event_store import EventStore
from tradeagent.market.feed import WarehouseFeed
from tradeagent.market.warehouse import Warehouse
from tradeagent.runtime import lease
from tradeagent.runtime.agent_mind import AgentMind
from tradeagent.runtime.approvals import approver, nobody_watches
from tradeagent.runtime.ground import Ground, Pace, baseline_of, end_of_failed_start, ledger_for, started
from tradeagent.runtime.outside import outside_of_agent
from tradeagent.runtime.place import Place
from tradeagent.runtime.repair import adopt_directives, drop_commands, repair, settled_agent, stands_in_for, take_over
from tradeagent.runtime.sources import feed_for
from tradeagent.runtime.wallets import WalletRequest, create_wallet
from tradeagent.tools.context import Resources
from tradeagent.tools.known import known_to_agents
from tradeagent.tools.routines import routines_of
from tradeagent.turns.chat import ChatEngine, thread_of
from tradeagent.turns.files import AgentFiles
from tradeagent.turns.health import BUDGET
from tradeagent.turns.record import Baseline, Header
from tradeagent.turns.tick import TickEngine, TickSetup
from tradeagent.workspace.config import Config
from tradeagent.workspace.latch import arm
from tradeagent.workspace.transcript import Transcript

__all__ = ["Place", "Run", "RunRequest", "Stage", "assembled", "turn_limits"]


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A run of an agent as a person asked for it.

    One that `is_deployed` belongs on its wallet until it is stopped: `tradeagent up` starts it again.
    """

    slug: str
    pace: Pace
    wallet: str | None = None
    cash: str | None = None
    is_deployed: bool = False


@dataclass(frozen=True, slots=True)
class Stage(Ground):
    """What an agent's run stands on: the ground, the checked agent and its model."""

    agent: Agent
    model: Model
    is_deployed: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """An assembled run, ready to tick."""

    stage: Stage
    row: DeploymentRow
    session: Session | None
    door: Door
    ticks: TickEngine
    files: AgentFiles
    playback: Playback
    baseline: Baseline
    mind: AgentMind


@contextmanager
def assembled(place: Place, request: RunRequest) -> Iterator[Run]:
    """Open everything a run needs, and close it again. Errors are the person's, and name what to change."""
    pace = request.pace
    with ExitStack() as stack:
        folder = place.workspace.agent_dir(request.slug)
        agent = settled_agent(place.ledger, place.clock, folder, known_to_agents(place.config))
        model = open_model(agent.definition.model, _model_settings(place, agent))
        ledger = ledger_for(place, pace.replay, stack)
        feed = feed_for(Warehouse(place.workspace.warehouse_dir), agent, pace.replay, instruments_of(place.config))
        wallet = _wallet_for(place, request, ledger)
        at = _wallet_instant(ledger, wallet)
        start = _start_of(place, pace, agent, feed, at)
        begin = start if at is None or pace.mode is RunMode.DRY_RUN else min(at, start)  # a dry run plays no bar on its way
        clock = place.clock if pace.replay is None else SimulatedClock(begin, pace.seed)
        stage = Stage(place, pace, wallet, feed, clock, start, ledger, agent, model, request.is_deployed)
        token = 0
        if not stage.is_dry:
            asked_ms = place.clock.now_ms()
            held = lease.take(place.workspace, ledger, wallet.name, None, place.clock)
            stack.callback(held.release)
            token = held.token
            repair(place.workspace, ledger, place.clock, agent, wallet.name, _files_of(stage))
            drop_commands(ledger, place.clock, wallet.name, asked_ms)
        session, row = _deployment_for(stage)
        stack.callback(end_of_failed_start, ledger, row.id)
        if token:
            adopt_directives(ledger, place.clock, agent.slug, row.id)
            with ledger.transaction(durable=False) as tx:
                runs.name_lease(tx, wallet.name, token, row.id)
            arm(place.workspace.kill_dir, wallet.name, KillPolicy(agent.definition.on_kill_switch))
        door = _door_for(stage, stands_in_for(ledger, row) if stage.is_dry else row.id, token)
        stack.callback(door.close)
        playback = started(stage, door)
        baseline = baseline_of(door)
        files = _files_of(stage)(session)
        if not stage.is_dry:
            take_over(door.engine, row, files.note)
        ticks = _ticks(stage, row, session, door, files, baseline)
        keep = place.config.whole("snapshots.keep")
        mind = AgentMind(agent, row.id, ledger, session, ticks, _chats(stage, ticks), files, keep, not stage.is_replay)
        yield Run(stage, row, session, door, ticks, files, playback, baseline, mind)


@contextmanager
def observed(place: Place, row: DeploymentRow) -> Iterator[ChatEngine]:
    """A run that nobody drives, to talk about: its wallet, prompt and reading tools at the last marks; nothing can act."""
    agent = load_agent(place.workspace.agent_dir(row.slug), known_to_agents(place.config))
    model = open_model(agent.definition.model, _model_settings(place, agent))
    feed = feed_for(Warehouse(place.workspace.warehouse_dir), agent, None, instruments_of(place.config))
    with place.ledger.reading() as tx:
        wallet = wallets.get(tx, row.wallet)
    stage = Stage(place, Pace(RunMode.DRY_RUN), wallet, feed, place.clock, place.clock.now_ms(), place.ledger, agent, model)
    door = _door_for(stage, row.id, 0)
    try:
        started(stage, door)
        baseline = baseline_of(door)
        ticks = _ticks(stage, row, None, door, _files_of(stage)(None), baseline)
        yield _chats(stage, ticks)
    finally:
        door.close()


def _chats(stage: Stage, ticks: TickEngine) -> ChatEngine:
    """What answers people; in a dry run it only reads."""
    file = stage.place.workspace.threads_dir / f"{thread_of(ticks.setup.deployment)}.md"
    return ChatEngine(ticks, Transcript(file, stage.place.clock, live=True), reads_only=stage.is_dry)


def _model_settings(place: Place, agent: Agent) -> ModelSettings:
    """What the configuration says about the agent's models; an `acp:` agent gets this workspace's tools from a child of ours."""
    tools = (sys.executable, "-m", "tradeagent", "mcp", "serve", "--workspace", str(place.workspace.root))
    cache_file = place.workspace.model_cache_file
    return model_settings(place.config, os.environ, agent.definition.fallback_models, cache_file=cache_file, acp_server=tools)


def _wallet_for(place: Place, request: RunRequest, ledger: Ledger) -> WalletRow:
    """The wallet named, or a paper wallet named after the agent, made on first use."""
    name = request.wallet or request.slug
    with ledger.reading() as tx:
        found = wallets.find(tx, name)
    if found is None:
        return create_wallet(place.workspace, place.config, ledger, place.clock, WalletRequest(name, cash=request.cash))
    if request.cash is not None:
        raise InvalidInput(
            f"--cash: wallet {name!r} exists already", hint=f"`tradeagent wallet deposit {name} AMOUNT`, or another --wallet"
        )
    return found


def _wallet_instant(ledger: Ledger, wallet: WalletRow) -> int | None:
    with ledger.reading() as tx:
        return wallets.risk(tx, wallet.name).market_clock_ms


def _start_of(place: Place, pace: Pace, agent: Agent, feed: WarehouseFeed, at: int | None) -> int:
    """The instant of the first tick. In a replay never before the wallet's own instant `at`: its clock only moves forward."""
    if pace.replay is None:
        return place.clock.now_ms()
    start = pace.from_ms
    if start is not None and at is not None and start < at:
        raise InvalidInput(
            f"--from: the wallet is at {iso(at)} already, and its market clock only moves forward",
            hint="leave --from out to go on, or use another wallet: --wallet NAME",
        )
    if start is None:
        start = _default_start(agent, feed, pace.mode, at)
    start = max(start, feed.first_open)
    if start >= feed.last_close and pace.mode is RunMode.LOOP:
        raise InvalidInput(
            f"--replay: no bars are left after {iso(start)}, the last one closed at {iso(feed.last_close)}",
            hint="use another wallet: --wallet NAME" if pace.from_ms is None else f"write --from before {iso(feed.last_close)}",
        )
    if pace.to_ms is not None and pace.to_ms < start:
        raise InvalidInput(
            f"--to: {iso(pace.to_ms)} is before {iso(start)}, where this replay starts", hint=f"write --to after {iso(start)}"
        )
    return start


def _default_start(agent: Agent, feed: WarehouseFeed, mode: RunMode, at: int | None) -> int:
    """Without --from a wallet goes on where it is. A fresh one begins when the prompt has its bars; a dry run on it looks at the newest."""
    if mode is RunMode.DRY_RUN:
        return feed.last_close if at is None else at
    step = agent.definition.interval_ms or parse_duration("1m")
    if at is not None:
        return at if mode is RunMode.LOOP else min(at + step, feed.last_close)
    bars = agent.definition.context.bars
    shown = parse_duration(bars.interval) * bars.lookback if bars else 0
    return min(-(-(feed.first_open + shown) // step) * step, feed.last_close)


def _deployment_for(stage: Stage) -> tuple[Session | None, DeploymentRow]:
    """Number the run, freeze its configuration, and record it."""
    agent, pace, place = stage.agent, stage.pace, stage.place
    durable = not stage.is_replay
    with stage.ledger.transaction() as tx:
        version = notes.save_version(tx, agent.slug, agent.payload, agent.payload_hash, "used by a run", place.clock.now_ms())
        equity = wallets.risk(tx, stage.wallet.name).last_equity
        last = runs.last_number(tx, agent.slug, is_session=pace.mode is RunMode.LOOP)
    session = create_session(agent.folder, _frozen(stage, version), durable=durable, after=last) if pace.mode is RunMode.LOOP else None
    number = session.number if session else reserve_experiment(agent.folder, durable=durable, after=last)
    row = DeploymentRow(
        id=session.agent_id if session else experiment_id(agent.slug, number),
        kind="agent",
        slug=agent.slug,
        wallet=stage.wallet.name,
        version=version,
        mode=pace.mode.value,
        state=DeploymentState.RUNNING.value,
        number=number,
        model=agent.definition.model,
        markets=list(agent.definition.markets),
        limits=limits_out(agent.limits),
        source=pace.as_source() | {"deployed": stage.is_deployed, BUDGET: _spend_cap(agent)},
        equity_start=equity,
        ticks=0,
        failures=0,
        created_ms=place.clock.now_ms(),
        ended_ms=None,
        last_tick_ms=None,
        next_tick_ms=stage.start_ms,
        stopped_because=None,
        boot_id=lease.boot_id(),
        pid=os.getpid(),
    )
    with stage.ledger.transaction() as tx:
        runs.add_deployment(tx, row)
    return session, row


def _spend_cap(agent: Agent) -> str | None:
    cap = agent.definition.budget.max_cost_per_day_usd
    return None if cap is None else str(cap)


def _files_of(stage: Stage) -> Callable[[Session | None], AgentFiles]:
    """Makes the files of a session of this agent, with the provenance of learnings from the ledger."""
    ledger, slug = stage.ledger, stage.agent.slug

    def agent_wrote(line: str) -> bool:
        with ledger.reading() as tx:
            return notes.line_hash(line) in notes.written_by_agent(tx, slug)

    def files(session: Session | None) -> AgentFiles:
        keep, durable = stage.place.config.whole("snapshots.keep"), not stage.is_replay
        return AgentFiles(stage.agent, session, mode=stage.pace.mode, keep=keep, durable=durable, agent_wrote=agent_wrote)

    return files


def _frozen(stage: Stage, version: int) -> Mapping[str, Any]:
    """What session_N/config.yml keeps."""
    definition, pace = stage.agent.definition, stage.pace
    return {
        "agent": stage.agent.slug,
        "version": version,
        "model": definition.model,
        "markets": list(definition.markets),
        "schedule": definition.tick_interval or definition.cron,
        "wallet": stage.wallet.name,
        "network": stage.wallet.network,
        "replay": pace.replay,
        "seed": pace.seed,
        "configs": {key: str(value) for key, value in stage.agent.configs.items()},
        "limits": stage.agent.limits.as_dict(),
    }


def _door_for(stage: Stage, holder: str, token: int) -> Door:
    agent, place = stage.agent, stage.place
    approve = None
    if agent.definition.approval == "copilot":
        watched = not stage.is_replay or stage.pace.speed > 0
        approve = approver(stage.ledger, place.clock, stage.wallet.name, holder) if watched else nobody_watches
    markets = frozenset(agent.definition.markets)
    tenant = Tenant(holder, agent.slug, markets, agent.limits, agent.definition.budget.max_cost_per_day_usd, approve)
    mode = DoorMode(dry_run=stage.is_dry, durable=not stage.is_replay, in_thread=not stage.is_replay, wall=place.clock)
    return open_door(place.workspace, place.config, stage.ledger, stage.wallet, stage.clock, token=token, tenant=tenant, mode=mode)


def turn_limits(agent: Agent, config: Config) -> TurnLimits:
    """Bounds of one turn of an agent: its own budget and timeout, the workspace's timers."""
    definition = agent.definition
    return TurnLimits(
        max_tool_calls=definition.budget.max_tool_calls_per_turn,
        max_tokens=definition.budget.max_tokens_per_turn,
        deadline_s=definition.timeout_ms / 1000,
        first_token_timeout_s=float(config.decimal("turn.first_token_timeout_s")),
        idle_timeout_s=float(config.decimal("turn.idle_timeout_s")),
    )


def _ticks(stage: Stage, row: DeploymentRow, session: Session | None, door: Door, files: AgentFiles, baseline: Baseline) -> TickEngine:
    agent, config, pace = stage.agent, stage.place.config, stage.pace
    setup = TickSetup(
        agent=agent,
        deployment=row.id,
        mode=pace.mode,
        model=stage.model,
        engine=door.engine,
        ledger=stage.ledger,
        clock=stage.clock,
        files=files,
        transcript=Transcript(stage.place.workspace.threads_dir / f"{row.id}.md", stage.clock, live=not stage.is_replay or pace.speed > 0),
        limits=turn_limits(agent, config),
        header=Header(row.id, pace.mode, agent.definition.model, agent.agent_hash, agent.config_hash, session is not None, row.number),
        baseline=baseline,
        resources=_resources(stage),
        portfolio_strategy=config.text("portfolio_strategy") or "",
        venue_url=None if stage.is_replay else config.text("hyperliquid.url"),
        outside=None if stage.is_replay or not agent.definition.mcp_servers else outside_of_agent(stage.place, agent),
    )
    return TickEngine(setup, stage.feed)


def _resources(stage: Stage) -> Resources:
    """The user's routines, the agent's before the workspace's, and stored news and events."""
    workspace, config, agent = stage.place.workspace, stage.place.config, stage.agent
    routines = routines_of(workspace, agent.folder, config)
    return Resources(agent.configs, routines, EventStore(workspace.warehouse_dir), stage.is_dry)
