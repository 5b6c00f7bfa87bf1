"""Opening the door of a wallet: the right broker for its venue and mode, and the terms of everybody who may use it."""

from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal

from tradeagent.brokers.paper import PaperBroker
from tradeagent.brokers.refusing import RefusingBroker
from tradeagent.domain.clock import Clock
from tradeagent.domain.costs import FeeSchedule
from tradeagent.domain.errors import RefusedError, TradeAgentError
from tradeagent.domain.instrument import Instrument
from tradeagent.domain.limits import Limits, Network, resolve_limits, sharing
from tradeagent.domain.names import Actor, IncidentCode, Level, LimitKind, Rule
from tradeagent.execution.engine import ExecutionEngine
from tradeagent.execution.entry_times import EntryCalendar
from tradeagent.execution.setup import Approve, Costs, Setup, Terms
from tradeagent.execution.state import MANUAL_CONTROLLER, MarketState, Scope
from tradeagent.ledger import notes
from tradeagent.ledger.store import Ledger
from tradeagent.ledger.wallets import WalletRow
from tradeagent.market.instruments import instrument, known_markets
from tradeagent.workspace.config import Config
from tradeagent.workspace.disk import ROOM_KEY, Room, RoomWatch
from tradeagent.workspace.latch import Gate, arm
from tradeagent.workspace.paths import Workspace

SYSTEM_CONTROLLER = "system"
HYPERLIQUID = "hyperliquid"


@dataclass(frozen=True, slots=True)
class Tenant:
    """The deployment on whose behalf the door is opened, and what it may do."""

    deployment: str
    slug: str
    markets: frozenset[str]
    limits: Limits
    budget_cap: Decimal | None = None
    approve: Approve | None = None
    actor: Actor = Actor.AGENT


@dataclass(frozen=True, slots=True)
class DoorMode:
    """`dry_run` refuses every write; `durable` off and `in_thread` off suit a replay."""

    dry_run: bool = False
    durable: bool = True
    in_thread: bool = True
    wall: Clock | None = None


@dataclass(frozen=True, slots=True)
class Door:
    """An opened engine with the paper account behind it, which the playback drives."""

    engine: ExecutionEngine
    paper: PaperBroker
    calendar: EntryCalendar
    disk: RoomWatch

    def refresh(self) -> None:
        """Notice a calendar that changed and a disk that filled, before the next admission."""
        before, room = self.engine.entry_times.room, self.disk.room()
        self.engine.entry_times = replace(self.calendar.refresh(self.engine.clock.now_ms()), room=room)
        if room != before:
            _tell_room(self.engine, room)

    def close(self) -> None:
        self.paper.close()
        self.engine.gate.close()


def network_of(wallet: WalletRow) -> Network:
    return "live" if wallet.is_live else "paper"


def instruments_of(config: Config) -> dict[str, Instrument]:
    """Every market known here: the built-in table and what config.yml adds."""
    extra = {path[1]: config.section("instruments", path[1]) for path in config.values if path[:1] == ("instruments",)}
    names = dict.fromkeys((*known_markets(), *extra))
    return {symbol: instrument(HYPERLIQUID, symbol, extra) for symbol in names}


def costs_of(config: Config) -> Costs:
    """Simulated costs from config.yml."""
    taker, maker = config.decimal("paper.taker_fee_bps") / 10_000, config.decimal("paper.maker_fee_bps") / 10_000
    return Costs(FeeSchedule(taker, maker), config.decimal("paper.slippage_bps"))


def manual_limits(config: Config, wallet: WalletRow) -> Limits:
    """A person's limits on a wallet: defaults, then config.yml manual.limits, then the wallet's own."""
    network = network_of(wallet)
    written = {**config.section("manual", "limits"), **wallet.limits}
    return resolve_limits(LimitKind.MANUAL, written, network=network, ceilings=config.section("ceilings", network), where="manual.limits")


def open_paper(workspace: Workspace, config: Config, wallet: str, clock: Clock, *, durable: bool = True) -> PaperBroker:
    """The paper account of a wallet."""
    costs = costs_of(config)
    return PaperBroker(
        workspace.paper_file(wallet),
        instruments_of(config),
        clock,
        fees=costs.fees,
        slippage_bps=costs.slippage_bps,
        path=config.text("paper.path") or "adverse",
        volume_cap=cap if isinstance(cap := config.get("fills.volume_cap"), Decimal) else None,
        durable=durable,
    )


def open_door(
    workspace: Workspace,
    config: Config,
    ledger: Ledger,
    wallet: WalletRow,
    clock: Clock,
    *,
    token: int,
    tenant: Tenant | None = None,
    mode: DoorMode | None = None,
) -> Door:
    """Open the door of a wallet for its lease holder. Only paper wallets open in this version: RefusedError LIVE_GATE otherwise."""
    if wallet.venue != "paper":
        raise RefusedError(
            f"wallet {wallet.name} is on {wallet.venue} {wallet.network}: only paper wallets can trade in this version",
            hint="use a paper wallet, or --mode dry-run on one",
            code=Rule.LIVE_GATE.value,
        )
    mode = mode or DoorMode()
    paper = open_paper(workspace, config, wallet.name, clock, durable=mode.durable)
    markets = {symbol: MarketState(known) for symbol, known in instruments_of(config).items()}
    if not mode.dry_run:
        with suppress(OSError):  # a disk too full to prepare a kill is no reason to stay in the market
            arm(workspace.kill_dir, wallet.name)
    setup = Setup(
        wallet=wallet,
        token=token,
        terms=_terms(config, wallet, tenant),
        markets=markets,
        gate=Gate(workspace.kill_dir, wallet.name),
        costs=costs_of(config),
        dry_run=mode.dry_run,
        in_thread=mode.in_thread,
        wall=mode.wall,
    )
    broker = RefusingBroker(paper) if mode.dry_run else paper
    engine = ExecutionEngine(ledger, broker, clock, setup)
    for row in engine.book.rows:  # the last marks, so that what is held can be closed without any feed
        if row.mark is not None and row.market in markets:
            markets[row.market] = MarketState(markets[row.market].instrument, row.mark, row.mark_ms or 0)
    disk = RoomWatch(workspace.state_dir, config.whole(ROOM_KEY), clock.monotonic)
    door = Door(engine, paper, EntryCalendar(workspace, config), disk)
    door.refresh()
    return door


def _tell_room(engine: ExecutionEngine, room: Room) -> None:
    """Keep one incident open while the disk is short. One that cannot be written is told when the room changes again."""
    wallet, now = engine.wallet.name, engine.clock.now_ms()
    try:
        with engine.ledger.reading() as tx:
            is_told = notes.is_open(tx, IncidentCode.DISK_FULL, wallet)
        if engine.dry_run or is_told == room.is_short or not (room.is_short or room.is_ample):
            return
        with engine.ledger.transaction() as tx:
            if room.is_short:
                message = f"less than {room.least_mib} MiB are free on the workspace's disk: entries wait for space, exits go on"
                notes.open_incident(tx, engine.clock.new_id(), notes.Incident(IncidentCode.DISK_FULL, Level.ERROR, message, wallet), now)
            else:
                notes.close_incidents(tx, IncidentCode.DISK_FULL, now, wallet=wallet)
    except TradeAgentError:
        return


def _terms(config: Config, wallet: WalletRow, tenant: Tenant | None) -> dict[Actor, Terms]:
    by_hand = manual_limits(config, wallet)
    if tenant is not None:
        by_hand = sharing(by_hand, tenant.limits)
    deployment = tenant.deployment if tenant else None
    terms: dict[Actor, Terms] = {
        Actor.MANUAL: Terms(Scope(Actor.MANUAL, MANUAL_CONTROLLER, None, deployment), by_hand),
        Actor.SYSTEM: Terms(Scope(Actor.SYSTEM, SYSTEM_CONTROLLER, None, deployment), tenant.limits if tenant else by_hand),
    }
    if tenant is not None:
        scope = Scope(tenant.actor, tenant.deployment, tenant.markets, tenant.deployment)
        terms[tenant.actor] = Terms(scope, tenant.limits, tenant.slug, tenant.budget_cap, tenant.approve)
    return terms
