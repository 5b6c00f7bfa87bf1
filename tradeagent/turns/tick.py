"""One scheduled turn of an agent, as a list of named steps: look, check, build the prompt, ask, persist.

Nothing here decides a trade: the model proposes through tools, the door disposes, and what happened is recorded before it is shown.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from tradeagent.agents.folder import Agent
from tradeagent.agents.journal_lines import ExecutorLine
from tradeagent.agents.suggestions import SuggestionBox
from tradeagent.domain.clock import Clock, age_text, day_start_ms, minute_text
from tradeagent.domain.names import Actor, DeploymentState, EventKind, IncidentCode, Level, ReconcilePhase, Rule, RunMode
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.execution.rules import daily_loss_cap, most_mark_age_ms
from tradeagent.execution.state import RiskState
from tradeagent.ledger import events, executors, notes, runs, suggestions, trading
from tradeagent.ledger.store import Ledger
from tradeagent.llm.contract import Model, TurnLimits
from tradeagent.llm.loop import TurnControl
from tradeagent.llm.usage import Budget, Usage, by_model
from tradeagent.market.feed import MarketFeed
from tradeagent.tools.context import AgentContext, Resources, TurnNotes
from tradeagent.tools.journal import UPDATE_REFLECTION
from tradeagent.tools.mcp_tools import Outside, joined
from tradeagent.tools.registry import tools_for
from tradeagent.turns.executors import journal_lines, live_lines
from tradeagent.turns.files import AgentFiles, Written
from tradeagent.turns.incidents import TurnIncidents
from tradeagent.turns.inputs import History, HistoryReader, Occasion, prompt_inputs, providers_of, with_resources
from tradeagent.turns.prompt import Prompt, build_prompt
from tradeagent.turns.prompt_inputs import Providers
from tradeagent.turns.record import Baseline, Figures, Header, Looked, TickRecord, TickState, blocked_snapshot, figures_of, turn_record
from tradeagent.turns.reflecting import Reflecting
from tradeagent.turns.timings import Timings
from tradeagent.turns.turn import TurnResult, TurnSetup, converse
from tradeagent.workspace.transcript import Transcript


@dataclass(frozen=True, slots=True)
class TickSetup:
    """Everything one agent's ticks share. `venue_url` is where market data of this moment is read, None in a replay.

    So is `outside`, which gives each turn its MCP servers: they know no other time than now.
    """

    agent: Agent
    deployment: str
    mode: RunMode
    model: Model
    engine: ExecutionEngine
    ledger: Ledger
    clock: Clock
    files: AgentFiles
    transcript: Transcript
    limits: TurnLimits
    header: Header
    baseline: Baseline
    resources: Resources = field(default_factory=Resources)
    portfolio_strategy: str = ""
    venue_url: str | None = None
    outside: Callable[[], Outside] | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What of the user's words a tick's prompt has shown, by id: directives, and answers to suggestions."""

    directives: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """Why a tick asks no model."""

    rule: Rule
    message: str


class TickEngine:
    """Runs ticks of one deployment. `feed` is None while there are no bars at all."""

    def __init__(self, setup: TickSetup, feed: MarketFeed | None) -> None:
        self._s = setup
        self.feed = feed
        self._pending_usage: list[Usage] = []
        self.budget = Budget(setup.agent.definition.budget.max_cost_per_day_usd, self._spent, self._pending_usage.append)
        self._volume = Decimal(0)
        self._fill_cursor = 0
        self._seen_fees = Decimal(-1)
        self._told_ms = 0
        self._history = HistoryReader(setup.deployment)
        self._reflecting = Reflecting(setup.agent.slug) if _reflects(setup) else None
        self._incidents = TurnIncidents(setup.clock, setup.engine.wallet.name, setup.deployment)

    @property
    def setup(self) -> TickSetup:
        return self._s

    async def tick(self, number: int, interval_ms: int, next_ms: int | None = None, *, resolve_s: float = 0.0) -> TickRecord:
        """One tick: seven steps, each timed. Raises only what the runner must know about; a model's failure is in the record.

        `resolve_s` is what the runner took to bring feed, venue and wallet to this instant.
        """
        timings = Timings(self._s.clock)
        timings.add("resolve", resolve_s)
        started = self._s.clock.now_ms()
        tick_id = self._s.clock.new_id()
        with timings.step("risk"):
            state, directives, history = await self._s.engine.alone(lambda: self._begin(tick_id, number, started, timings))
            block = self._blocked(state)
        base = TickRecord(tick_id, number, started, TickState.BLOCKED, block.message if block else "", block.rule.value if block else None)
        self._s.transcript.add(f"\n\n## tick {number} · {minute_text(started)} UTC\n\n")
        if block is not None:
            self._s.transcript.add(f"> **blocked** {block.rule.value}: {block.message}\n")
            self._s.transcript.flush()
            record = replace(base, figures=self._figures(state))
            if not self._s.header.is_session:
                providers = providers_of(state, history, self.feed, self._s.agent.definition.markets, started)
                record = replace(record, snapshot=blocked_snapshot(self._s.header, record, Looked(state, providers), timings.by_step))
        else:
            texts = tuple(row["text"] for row in directives)
            base = replace(base, directives=texts)
            occasion = Occasion(self._s.deployment, self._s.mode, number, started, interval_ms, entries_barred(state) or "", texts)
            record = await self._ask(base, state, history, occasion, timings)
        told = Told(tuple(row["id"] for row in directives), tuple(row.id for row in history.answers)) if block is None else Told()
        await self._s.engine.alone(lambda: self._persist(record, told, next_ms))
        return record

    async def _ask(self, base: TickRecord, state: RiskState, history: History, occasion: Occasion, timings: Timings) -> TickRecord:
        """Prompt, turn, and the account after it."""
        prompt, providers = await self._s.engine.alone(lambda: self._prompt(state, history, occasion, timings))
        with timings.step("turn"):
            turn, written = await self._turn(prompt, state, occasion)
        after = state
        if written.verdicts:
            with timings.step("look"):
                after = await self._s.engine.alone(self._look)
        base = replace(base, figures=self._figures(after))
        return turn_record(self._s.header, base, Looked(state, providers), prompt, turn, written, timings.by_step)

    def _figures(self, state: RiskState) -> Figures:
        if state.risk.fees != self._seen_fees:
            with self._s.ledger.reading() as tx:
                added, self._fill_cursor = trading.volume_after(tx, self._s.deployment, self._fill_cursor)
            self._volume += added
            self._seen_fees = state.risk.fees
        return figures_of(state, self._s.baseline, self._volume)

    def _begin(self, tick_id: str, number: int, started: int, timings: Timings) -> tuple[RiskState, list[dict[str, str]], History]:
        """Say that the tick has begun, and read what it starts from, in one look at the ledger."""
        if self._s.mode is RunMode.DRY_RUN:
            with self._s.ledger.reading() as tx:
                return self._read(tx, started, timings)
        with self._s.ledger.transaction(durable=False) as tx:
            values = {"id": tick_id, "deployment": self._s.deployment, "number": number, "state": TickState.RUNNING.value, "action": ""}
            runs.start_tick(tx, {**values, "started_ms": started, "market_ms": self._s.engine.book.risk.market_clock_ms or started})
            found = self._read(tx, started, timings)
            begun = [self._event(EventKind.TICK_STARTED, started, {"tick": number})]
            if self._blocked(found[0]) is None:
                begun.append(self._event(EventKind.TURN_STARTED, started, {"kind": "tick", "tick": number}))
            events.append_all(tx, begun)
            return found

    def _blocked(self, state: RiskState) -> Block | None:
        return blocked(state, self._s.agent.definition.markets, self.feed)

    def _event(self, kind: EventKind, now: int, data: dict[str, Any], actor: Actor = Actor.SYSTEM, subject: str = "") -> dict[str, Any]:
        wallet = self._s.engine.wallet.name
        return events.event(kind, now, wallet=wallet, deployment=self._s.deployment, actor=actor, subject=subject, data=data)

    def _read(self, tx: Connection, started: int, timings: Timings) -> tuple[RiskState, list[dict[str, str]], History]:
        engine = self._s.engine
        with timings.step("drain"):
            directives = runs.waiting_directives(tx, self._s.deployment)
            answers = tuple(suggestions.untold(tx, self._s.agent.slug))
        state, cursor = engine.state(tx, Actor.AGENT), engine.book.risk.activity_cursor
        with timings.step("providers"):
            history = replace(self._history.read(tx, started, cursor), executors=live_lines(tx, state))
            due = self._reflecting.due(tx, started, cursor) if self._reflecting else ()
        return state, directives, replace(history, answers=answers, reflection_due=due)

    def _look(self) -> RiskState:
        with self._s.ledger.reading() as tx:
            return self._s.engine.state(tx, Actor.AGENT)

    def _prompt(self, state: RiskState, history: History, occasion: Occasion, timings: Timings) -> tuple[Prompt, Providers]:
        with timings.step("read"):
            remembered = with_resources(self._s.files.remembered(), self._s.agent, self._s.resources, occasion.now_ms)
        with timings.step("providers"):
            inputs = prompt_inputs(self._s.agent, state, history, self.feed, occasion, remembered, self._s.portfolio_strategy)
        with timings.step("prompt"):
            return build_prompt(inputs), inputs.providers

    async def _turn(self, prompt: Prompt, state: RiskState, occasion: Occasion) -> tuple[TurnResult, TurnNotes]:
        definition = self._s.agent.definition
        written = TurnNotes()
        context = AgentContext(
            actor=Actor.AGENT,
            deployment=self._s.engine.terms[Actor.AGENT].scope.controller_id,  # a dry run acts in the name of who holds
            slug=self._s.agent.slug,
            markets=definition.markets,
            clock=self._s.clock,
            ledger=self._s.ledger,
            engine=self._s.engine,
            feed=self.feed,
            notes=written,
            read_journal=self._s.files.journal_text,
            suggestions=self._box(occasion.number),
            venue_url=self._s.venue_url,
            resources=self._s.resources,
            waking=self._s.engine.waking(),
        )
        own = tools_for(definition.tools or (), entries_barred=bool(occasion.entries_barred))
        async with joined(self._s.outside, own) as (tools, permit):
            setup = TurnSetup(self._s.model, tools, self._s.limits, TurnControl(self.budget), permit)
            return await converse(prompt, setup, context, self._s.clock, self._s.transcript), written

    def _box(self, tick: int) -> SuggestionBox:
        keeps = self._s.mode is not RunMode.DRY_RUN
        return SuggestionBox(self._s.agent, self._s.ledger, self._s.clock, self._s.deployment, tick, keeps)

    def _spent(self) -> Decimal:
        """Recorded spend of the agent on this real day plus what this turn has used, USD; a chat beside it records at once."""
        with self._s.ledger.reading() as tx:
            recorded = notes.spent_on(tx, self._s.agent.slug, day_start_ms(self._s.engine.wall.now_ms()))
        return recorded + sum((usage.cost_usd or Decimal(0) for usage in self._pending_usage), Decimal(0))

    def _persist(self, record: TickRecord, told: Told, next_ms: int | None) -> None:
        """One ledger transaction, then the files rendered from the same record."""
        if self._s.mode is not RunMode.DRY_RUN:
            with self._s.engine.transaction() as tx:
                record = replace(record, executors=self._executors(tx))
                self._write(tx, record, told, next_ms)
        else:
            with self._s.ledger.transaction() as tx:
                self._write_usage(tx, record)
        self._pending_usage.clear()
        written = self._s.files.write(record)
        if written.conflicts or written.learned:
            self._note_files(written)

    def _executors(self, tx: Connection) -> tuple[ExecutorLine, ...]:
        """The journal lines of executors that are alive, or ended since the tick before."""
        since_ms, self._told_ms = self._told_ms, self._s.clock.now_ms()
        rows = executors.of_deployment(tx, self._s.deployment, ended_since_ms=since_ms)
        return journal_lines(tx, self._s.engine.state(tx, Actor.AGENT), rows) if rows else ()

    def _write(self, tx: Connection, record: TickRecord, told: Told, next_ms: int | None) -> None:
        engine, deployment, now = self._s.engine, self._s.deployment, self._s.clock.now_ms()
        engine.book.point(tx, now)
        engine.book.flush(tx)
        runs.finish_tick(
            tx,
            record.tick_id,
            state=record.state.value,
            rule=record.rule,
            action=record.action,
            ended_ms=now,
            record=record.to_bytes(),
        )
        runs.update_deployment(tx, deployment, ticks=record.number, last_tick_ms=record.started_ms, next_tick_ms=next_ms, failures=0)
        engine.intents.beat(tx)
        runs.deliver_directives(tx, list(told.directives), record.number)
        suggestions.tell(tx, told.answers, now)
        if record.reflection and self._reflecting:
            self._reflecting.done(tx)
        self._write_usage(tx, record)
        events.append_all(tx, self._events(record, now))
        self._incidents.of_tick(tx, record, self._s.resources, now)

    def _events(self, record: TickRecord, now: int) -> list[dict[str, Any]]:
        """What the feed says about a tick: its tool calls, the end of its turn, and its own."""
        rows = []
        for call in record.calls:
            told = {"tick": record.number, "status": call["status"], "duration_ms": call["duration_ms"]}
            rows.append(self._event(EventKind.TOOL_CALLED, now, told, Actor.AGENT, call["name"]))
        if record.state is TickState.BLOCKED:
            return [*rows, self._event(EventKind.TICK_BLOCKED, now, record.headline())]
        ended = {"kind": "tick", "tick": record.number, "reason": record.reason}
        return [*rows, self._event(EventKind.TURN_FINISHED, now, ended), self._event(EventKind.TICK_FINISHED, now, record.headline())]

    def _write_usage(self, tx: Connection, record: TickRecord) -> None:
        if record.state is TickState.BLOCKED:
            return
        for model, (calls, used) in by_model(self._pending_usage, self._s.model.id).items():
            values = {"slug": self._s.agent.slug, "deployment": self._s.deployment, "turn_kind": "tick", "model": model, "calls": calls}
            counted = {"tokens_in": used.tokens_in, "tokens_out": used.tokens_out, "cost_usd": used.cost_usd}
            notes.add_usage(tx, {"time_ms": self._s.engine.wall.now_ms(), **values, **counted})

    def _note_files(self, written: Written) -> None:
        """Provenance of learned lines, and an incident for each conflict with a person's edit."""
        now = self._s.clock.now_ms()
        with self._s.ledger.transaction(durable=False) as tx:
            for line in written.learned:
                notes.remember_line(tx, self._s.agent.slug, line, self._s.deployment, now)
            for message in written.conflicts:
                self._incidents.add(tx, IncidentCode.EDIT_CONFLICT, Level.WARNING, message, now)


def _reflects(setup: TickSetup) -> bool:
    """Whether a run may keep notes on its closed trades: it has a memory, the tool, and is no dry run."""
    definition = setup.agent.definition
    if setup.mode is RunMode.DRY_RUN or definition.context.memory == "none":
        return False
    return any(tool.name == UPDATE_REFLECTION for tool in tools_for(definition.tools or (), entries_barred=False))


def blocked(state: RiskState, markets: Sequence[str], feed: MarketFeed | None) -> Block | None:
    """Why no model is asked: kill switch, halt, pause, budget, no fresh bars, or entries barred with nothing open."""
    return _stopped(state) or _unreadable(state, markets, feed) or _barred_and_flat(state)


def _stopped(state: RiskState) -> Block | None:
    """Somebody or something stopped it."""
    if state.kill_switch:
        return Block(Rule.KILL_SWITCH, "the kill switch is on")
    if state.risk.halt is not None or state.deployment_state is DeploymentState.HALTED:
        return Block(Rule.HALTED, f"halted ({state.risk.halt or 'by a person'})")
    if state.deployment_state is DeploymentState.PAUSED:
        return Block(Rule.PAUSED, "paused by a person")
    if state.deployment_state is DeploymentState.STOPPING:
        return Block(Rule.PAUSED, "stopped by a person")
    spend = state.spend
    if spend.cap is not None and spend.used > 0 and spend.used >= spend.cap:
        return Block(Rule.BUDGET, f"model spend today {spend.used} USD has reached {spend.cap}")
    return None


def _unreadable(state: RiskState, markets: Sequence[str], feed: MarketFeed | None) -> Block | None:
    """The risk state cannot be computed from what is known."""
    if state.phase is not ReconcilePhase.CONSISTENT:
        return Block(Rule.RECONCILING, f"ledger and venue are not consistent ({state.phase.value})")
    stale = _stale(state, markets, feed)
    if stale:
        return Block(Rule.FRESHNESS, stale)
    if state.equity <= 0:
        return Block(Rule.MARGIN, f"equity is {state.equity} USDC; deposit first")
    return None


def _barred_and_flat(state: RiskState) -> Block | None:
    barred = entries_barred(state)
    own = state.scope.controller_id
    manages = any(row.controller_id == own and row.size for row in state.positions) or any(o.controller_id == own for o in state.orders)
    manages = manages or state.live_executors > 0
    rule, _, why = (barred or "").partition(": ")
    return Block(Rule(rule), why) if barred and not manages else None


def entries_barred(state: RiskState) -> str | None:
    """`RULE: why` when nothing may be entered until a person or a new day; None otherwise."""
    risk = state.risk.rolled(state.now_ms, state.risk.last_equity)
    cap, key = daily_loss_cap(state.limits, risk)
    if cap is not None and state.day_pnl <= -cap:
        return f"{Rule.DAILY_LOSS}: day PnL {state.day_pnl} USDC reached {key} −{cap}"
    most = state.limits.number("max_drawdown_pct")
    if state.risk.lockout_ms is not None:
        return f"{Rule.LOCKOUT}: entries are locked after a drawdown"
    if most is not None and state.drawdown_pct >= most:
        return f"{Rule.DRAWDOWN}: drawdown {state.drawdown_pct:.2f} % reached {most} %"
    return None


def _stale(state: RiskState, markets: Sequence[str], feed: MarketFeed | None) -> str:
    """Why no market has fresh bars; empty when one has."""
    reasons = []
    for market in markets:
        seen = state.markets.get(market)
        if seen and state.now_ms - seen.mark_ms <= most_mark_age_ms(seen.interval_ms):
            return ""
        close = feed.newest_close(market, state.now_ms) if feed else None  # not always played: stale bars wait
        age = None if close is None else age_text(state.now_ms - close)
        reasons.append(f"the newest {market} bar closed {age} ago" if age else f"{market} has no bars")
    return "; ".join(reasons)
