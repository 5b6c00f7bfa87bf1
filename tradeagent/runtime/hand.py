"""A person's order on a wallet: at its own market clock when a replay drives it, moved there first when asked."""

from dataclasses import dataclass
from typing import Any

from tradeagent.domain.clock import Clock, SimulatedClock, iso
from tradeagent.domain.errors import BusyError, InvalidInput
from tradeagent.domain.order import Proposal
from tradeagent.execution.opening import Door, instruments_of
from tradeagent.execution.playback import Playback
from tradeagent.ledger import runs, wallets
from tradeagent.ledger.trading import NET, positions_of
from tradeagent.ledger.wallets import REPLAY, WALL, RiskRow
from tradeagent.market.feed import WarehouseFeed
from tradeagent.market.replay import ReplaySource, parse_replay
from tradeagent.market.stored_feed import finest
from tradeagent.market.warehouse import Warehouse
from tradeagent.runtime.control import execute_proposal, submit
from tradeagent.runtime.lease import is_held
from tradeagent.runtime.place import Place
from tradeagent.runtime.wallets import owned_door


@dataclass(frozen=True, slots=True)
class Moment:
    """Where on imported bars an order is placed."""

    replay: str
    at_ms: int


def submit_by_hand(place: Place, wallet_name: str, proposal: Proposal, moment: Moment | None) -> dict[str, Any]:
    """The verdict of a person's order, close or cancel, as JSON. BusyError when a replay is asked for on a running wallet."""
    with place.ledger.reading() as tx:
        wallet = wallets.get(tx, wallet_name)
        risk = wallets.risk(tx, wallet_name)
    if is_held(place.workspace, wallet_name):
        if moment is not None:
            raise BusyError(f"wallet {wallet_name!r} is running: its market clock is the runner's", hint="stop it first, or leave --at out")
        with place.ledger.reading() as tx:
            held = runs.lease(tx, wallet_name)
        return submit(place, wallet_name, held["deployment"] if held else None, proposal)
    clock, target_ms = _clock(place, risk, moment)
    sources = parse_replay(moment.replay) if moment else _sources(place, wallet_name, proposal)
    with owned_door(place.workspace, place.config, place.ledger, clock, wallet) as door:
        tape = begin(place, door, clock, sources)
        if tape is not None:
            tape.play(target_ms)
        verdict = execute_proposal(door.engine, proposal)
        with door.engine.transaction() as tx:
            door.engine.book.flush(tx)
    return verdict.as_dict()


def _clock(place: Place, risk: RiskRow, moment: Moment | None) -> tuple[Clock, int]:
    """The clock to judge by, standing where the wallet is, and the instant to move it to."""
    at = risk.market_clock_ms
    if moment is not None:
        return clock_for(risk, moment.at_ms, "--at"), moment.at_ms
    if risk.clock_source == REPLAY and at is not None:
        return SimulatedClock(at), at
    return place.clock, place.clock.now_ms()


def clock_for(risk: RiskRow, at_ms: int, field: str) -> SimulatedClock:
    """A replay's clock that stands where the wallet is, or at the instant when it never had one. InvalidInput when that is a step back."""
    at = risk.market_clock_ms
    if at is not None and at_ms < at:
        raise InvalidInput(
            f"{field}: the wallet is at {iso(at)} already, and its market clock only moves forward", hint=f"{field} {iso(at)} or later"
        )
    return SimulatedClock(at if at is not None else at_ms)


def _sources(place: Place, wallet: str, proposal: Proposal) -> tuple[ReplaySource, ...]:
    """Imported bars of what the order is about and of what is held, so that marks and stops are current."""
    warehouse = Warehouse(place.workspace.warehouse_dir)
    with place.ledger.reading() as tx:
        held = [row.market for row in positions_of(tx, wallet) if row.controller_id == NET and row.size]
    return tuple(finest(warehouse, market) for market in dict.fromkeys([proposal.market, *held]) if market)


@dataclass(frozen=True, slots=True)
class Tape:
    """The bars of an open door's wallet, played as far as its clock stands."""

    door: Door
    clock: Clock
    playback: Playback

    def play(self, target_ms: int) -> None:
        """Bring the wallet to the instant over the bars there are.

        What is asked of it there is judged at that instant. But where bars end before it, the wallet stays at the last of them: its clock
        cannot go back, and what it holds must meet the bars that are imported later.
        """
        self.playback.advance(target_ms)
        if isinstance(self.clock, SimulatedClock):
            self.clock.advance_to(target_ms)
            if self.playback.is_fresh(target_ms):
                self.door.engine.book.settle_clock(target_ms)


def begin(place: Place, door: Door, clock: Clock, sources: tuple[ReplaySource, ...]) -> Tape | None:
    """Bars of the sources whose markets are known, from where the wallet is; None when there are none."""
    known = instruments_of(place.config)
    usable = [found for found in sources if found.market in known]
    if not usable:
        return None
    feed = WarehouseFeed(Warehouse(place.workspace.warehouse_dir), usable, known, wait=True)
    feed.refresh()
    playback = Playback(door.engine, door.paper, feed, clock.advance_to if isinstance(clock, SimulatedClock) else _stay)
    playback.start(clock.now_ms(), REPLAY if isinstance(clock, SimulatedClock) else WALL)
    return Tape(door, clock, playback)


def _stay(_now_ms: int) -> None:
    """The wall clock moves by itself."""
