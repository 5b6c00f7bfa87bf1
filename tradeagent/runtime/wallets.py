"""Making wallets and moving paper money, each under the wallet's lease."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal

from tradeagent.domain.clock import Clock
from tradeagent.domain.errors import InvalidInput, RefusedError
from tradeagent.domain.limits import parse_limit, resolve_limits
from tradeagent.domain.money import MICRO, parse_decimal, plain, trunc_micro
from tradeagent.domain.names import LimitKind, Rule
from tradeagent.domain.order import Rejection
from tradeagent.execution.opening import Door, DoorMode, Tenant, open_door
from tradeagent.execution.planning import LARGEST_NUMBER
from tradeagent.execution.recover import recover
from tradeagent.ledger import executors, trading, wallets
from tradeagent.ledger.store import Ledger
from tradeagent.ledger.wallets import WalletRow
from tradeagent.runtime import lease
from tradeagent.runtime.wanted import require_free
from tradeagent.workspace.config import Config
from tradeagent.workspace.names import check_wallet
from tradeagent.workspace.paths import Workspace

NETWORKS = {"paper": ("paper",), "hyperliquid": ("rehearsal", "testnet", "mainnet")}
GROUPS = ("agent", "algo")


@dataclass(frozen=True, slots=True)
class WalletRequest:
    """A wallet as a person asked for it; `limits` are KEY=VALUE."""

    name: str
    venue: str = "paper"
    network: str = "paper"
    group: str = "agent"
    cash: str | None = None
    limits: tuple[str, ...] = ()


def create_wallet(workspace: Workspace, config: Config, ledger: Ledger, clock: Clock, request: WalletRequest) -> WalletRow:
    """Make a wallet; a paper one gets its first deposit. InvalidInput names the field that is wrong."""
    row = _checked(config, clock, request)
    cash = parse_decimal(request.cash, "--cash") if request.cash is not None else config.decimal("paper.cash")
    if cash < 0:
        raise InvalidInput(f"--cash: {cash} is negative", hint="write 0 for an empty wallet")
    _require_handy(cash, "--cash")
    if row.venue != "paper" and request.cash is not None:
        raise InvalidInput("--cash is for paper wallets; a real account brings its own money", hint="leave --cash out")
    with ledger.transaction() as tx:
        wallets.create(tx, row)
    if row.venue == "paper" and cash > 0:
        with owned_door(workspace, config, ledger, clock, row) as door:
            _transfer(door, cash)
    return row


def move_cash(workspace: Workspace, config: Config, ledger: Ledger, clock: Clock, name: str, amount: str, sign: int) -> None:
    """Deposit (+1) or withdraw (−1) paper USDC. RefusedError beyond what is free, BusyError while a runner owns the wallet."""
    value = _amount(amount)
    wallet = _paper(ledger, name)
    with owned_door(workspace, config, ledger, clock, wallet) as door:
        if sign < 0:
            _require_free(door, name, value)
        _transfer(door, sign * value)


def transfer_cash(workspace: Workspace, config: Config, ledger: Ledger, clock: Clock, ends: tuple[str, str], amount: str) -> None:
    """Move paper USDC from one wallet to another, with both owned before either changes. Errors as `move_cash`."""
    source, target = ends
    value = _amount(amount)
    if source == target:
        raise InvalidInput(f"wallet: {source!r} is both ends of the transfer", hint="name two wallets")
    giver, taker = _paper(ledger, source), _paper(ledger, target)
    with (
        owned_door(workspace, config, ledger, clock, giver) as out,
        owned_door(workspace, config, ledger, clock, taker) as into,
    ):
        _require_free(out, source, value)
        _transfer(out, -value)
        _transfer(into, value)


def remove_wallet(workspace: Workspace, config: Config, ledger: Ledger, clock: Clock, name: str) -> None:
    """Take a wallet out of use; its history stays. RefusedError while anything is open on it, BusyError while something runs or is
    deployed there, NotFound when there is none."""
    with ledger.reading() as tx:
        wallet = wallets.get(tx, name)
        require_free(tx, name)
    with owned_door(workspace, config, ledger, clock, wallet) as door, door.engine.transaction() as tx:
        held = [row.market for row in trading.positions_of(tx, name) if row.size]
        resting = [order.market for order in trading.live_orders(tx, name)] + [row.market for row in trading.active_reservations(tx, name)]
        unknown = sorted(trading.unknown_markets(tx, name))
        alive = [row.market for row in executors.live(tx, name)]
        open_now = {"position": held, "order": resting, "unknown order": unknown, "executor": alive}
        found = [f"{what} in {', '.join(sorted(set(markets)))}" for what, markets in open_now.items() if markets]
        if found:
            raise RefusedError(
                f"wallet {name!r} has an open {'; '.join(found)}",
                hint=f"`tradeagent flatten {name}` first",
                code="wallet_in_use",
            )
        wallets.remove(tx, name, clock.now_ms())


def _amount(text: str) -> Decimal:
    value = parse_decimal(text, "amount")
    if value <= 0:
        raise InvalidInput(f"amount: {value} must be above 0", hint="write an amount like 100")
    _require_handy(value, "amount")
    if value != trunc_micro(value):
        raise InvalidInput(f"amount: {text} has more than 6 decimals", hint=f"write {plain(max(trunc_micro(value), MICRO))}")
    return value


def _require_handy(value: Decimal, field: str) -> None:
    """InvalidInput beyond what an order may name, where arithmetic would lose its last digits."""
    if value > LARGEST_NUMBER:
        raise InvalidInput(f"{field}: {value} is above {LARGEST_NUMBER:f}", hint=f"write {field} like 10000")


def _paper(ledger: Ledger, name: str) -> WalletRow:
    with ledger.reading() as tx:
        wallet = wallets.get(tx, name)
    if wallet.venue != "paper":
        raise InvalidInput(
            f"wallet {name!r} is on {wallet.venue}: only paper wallets take deposits here", hint=f"move money at {wallet.venue} itself"
        )
    return wallet


def _require_free(door: Door, name: str, value: Decimal) -> None:
    free = door.paper.free()
    if value > free:
        message = f"amount: {plain(value)} USDC is more than the {plain(free)} that is free in wallet {name!r}"
        refusal = Rejection(Rule.MARGIN, message, limit=plain(free), value=plain(value), max_ok=plain(free))
        hint = f"withdraw at most {plain(free)}, or close positions first"
        raise RefusedError(message, hint=hint, code=Rule.MARGIN.value, details=refusal.as_dict())


@contextmanager
def owned_door(
    workspace: Workspace, config: Config, ledger: Ledger, clock: Clock, wallet: WalletRow, tenant: Tenant | None = None
) -> Iterator[Door]:
    """The door of a free wallet for one command: lease taken, ledger and venue compared, and given back at the end."""
    held = lease.take(workspace, ledger, wallet.name, tenant.deployment if tenant else None, clock)
    try:
        door = open_door(workspace, config, ledger, wallet, clock, token=held.token, tenant=tenant, mode=DoorMode(in_thread=False))
        try:
            recover(door.engine)
            yield door
        finally:
            door.close()
    finally:
        held.release()


def _transfer(door: Door, amount: Decimal) -> None:
    with door.engine.gate.touching():
        door.paper.transfer(amount)
    with door.engine.transaction() as tx:
        door.engine.sync(tx)
        door.engine.book.flush(tx)


def _checked(config: Config, clock: Clock, request: WalletRequest) -> WalletRow:
    check_wallet(request.name)
    if request.venue not in NETWORKS:
        raise InvalidInput(f"--venue: {request.venue!r} is not a venue", hint=f"one of {', '.join(NETWORKS)}")
    if request.network not in NETWORKS[request.venue]:
        raise InvalidInput(
            f"--network: {request.network!r} does not go with {request.venue}", hint=f"one of {', '.join(NETWORKS[request.venue])}"
        )
    if request.group not in GROUPS:
        raise InvalidInput(f"--group: {request.group!r} is not a group", hint="agent or algo")
    written: dict[str, object] = {}
    for entry in request.limits:
        key, found, text = entry.partition("=")
        if not found:
            raise InvalidInput(f"--limit: {entry!r} is not KEY=VALUE", hint="--limit max_leverage=5")
        value = parse_limit(key.strip(), text.strip(), "--limit")
        written[key.strip()] = value if isinstance(value, bool) or value is None else str(value)
    row = WalletRow(request.name, request.venue, request.network, request.group, written, clock.now_ms())
    network = "live" if row.is_live else "paper"
    resolve_limits(
        LimitKind.MANUAL,
        {**config.section("manual", "limits"), **written},
        network="live" if network == "live" else "paper",
        ceilings=config.section("ceilings", network),
        where="--limit",
    )
    return row
